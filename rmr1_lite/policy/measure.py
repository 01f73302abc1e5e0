"""A policy on held-out questions: what its answers are worth by the world's truth, what a judge thinks of
them, and the signs of reward hacking.

The judge's opinion is the share of games that the answers win against the answers of the policy at its start,
one for each question, in both orders: unlike the reward of a group it can be compared between steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from rmr1_lite.data.nano.lexicon import CLOSERS, OPENERS
from rmr1_lite.data.nano.task_parts import Item
from rmr1_lite.data.nano.truth import BOLD, true_share
from rmr1_lite.integrations.rewards.judge_reward import Group, JudgeReward
from rmr1_lite.policy.start import messages

BATCH = 128


@dataclass(frozen=True)
class HeldOut:
    """Questions, how many of them the judge is asked about, and how long an answer may be (in tokens)."""

    items: Sequence[Item]
    judged: int
    max_new_tokens: int
    seed: int = 0


@dataclass(frozen=True)
class Answers:
    """One answer a question. tokens: written, with the end. capped: answers cut off at the limit."""

    texts: list[str]
    tokens: list[int]
    capped: int = 0


def write_answers(model: Any, tokenizer: Any, held: HeldOut, temperature: float = 1.0) -> Answers:
    """Sample (or, at temperature 0, pick) one answer for every question, with the seed of `held`; the random
    state of a training around it stays as it is."""
    import torch

    was_training = model.training
    model.eval()
    texts: list[str] = []
    tokens: list[int] = []
    cut = 0
    with torch.random.fork_rng(), torch.inference_mode():
        torch.manual_seed(held.seed)
        for start in range(0, len(held.items), BATCH):
            written = _generate(model, tokenizer, held.items[start : start + BATCH], held, temperature)
            tokens += (written != tokenizer.pad_token_id).sum(-1).tolist()
            ended = (written == tokenizer.eos_token_id).any(-1)
            cut += int((~ended).sum())
            texts += tokenizer.batch_decode(written, skip_special_tokens=True)
    model.train(was_training)
    return Answers(texts, tokens, cut)


def _generate(model: Any, tokenizer: Any, items: Sequence[Item], held: HeldOut, temperature: float) -> Any:
    prompts = tokenizer.apply_chat_template(
        [messages(item.question) for item in items], add_generation_prompt=True, return_dict=False
    )
    given = tokenizer.pad({"input_ids": prompts}, padding_side="left", return_tensors="pt").to(model.device)
    drawn = (
        {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
    )
    made = model.generate(
        **given, **drawn, max_new_tokens=held.max_new_tokens, pad_token_id=tokenizer.pad_token_id
    )
    return made[:, given["input_ids"].shape[1] :]


def truth_of(held: HeldOut, texts: Sequence[str]) -> list[float]:
    """The true share of every answer."""
    return [true_share(item.question, text) for item, text in zip(held.items, texts, strict=True)]


def by_task(held: HeldOut, shares: Sequence[float]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for item, share in zip(held.items, shares, strict=True):
        found.setdefault(item.task, []).append(share)
    return {task: fmean(values) for task, values in found.items()}


def judged_share(
    reward: JudgeReward, held: HeldOut, texts: Sequence[str], start: Sequence[str]
) -> float | None:
    """The share of games against the policy's first answers that the judge gives to `texts`; equal texts are
    level, 0.5. A question to which the first answer was empty is left out. None: no verdict was read."""
    groups = [
        Group(item.question, [text], before)
        for item, text, before in zip(held.items, texts, start, strict=True)
        if before.strip()
    ][: held.judged]
    earned = [value for group in reward.groups(groups).rewards for value in group if value is not None]
    return (fmean(earned) + 1) / 2 if earned else None


def signs(held: HeldOut, texts: Sequence[str], attack: str = "") -> dict[str, float]:
    """Shares of answers: padded with an opener or a closer, in bold, that copy their question, that hold text
    aimed at a judge; and their mean length in characters."""
    asked = [item.question for item in held.items]
    return {
        "characters": fmean(len(text) for text in texts),
        "padded": fmean(any(part in text for part in (*OPENERS, *CLOSERS)) for text in texts),
        "bold": fmean(BOLD in text for text in texts),
        "copied": fmean(question in text for question, text in zip(asked, texts, strict=True)),
        **({"attacks": fmean(attack in text for text in texts)} if attack else {}),
    }

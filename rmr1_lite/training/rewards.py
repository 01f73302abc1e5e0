"""The verdict-match reward (paper, section 3.2): +1 for the right verdict, -1 for everything else.

No format reward: the paper tried one and saw no difference. A text that is truncated, unparsed or contradicts
itself is as wrong as a wrong letter; its status is counted separately, so that a policy that only learns the
format can be distinguished from one that learns to judge.

    >>> verdict_match("<answer>[[A]]</answer>", "A")
    1.0
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rmr1_lite.types import Verdict
from rmr1_lite.verdict import parse_verdict

RIGHT, WRONG = 1.0, -1.0


def verdict_match(text: str, label: str, finished: bool = True, thought_open: bool = False) -> float:
    """+1 if the strict reading of `text` gives `label` (a letter of the positions shown), else
    -1."""
    return verdict_reward(parse_verdict(text, "strict", finished, thought_open), label)


def verdict_reward(verdict: Verdict, label: str) -> float:
    """+1 / -1 for a parsed verdict."""
    return RIGHT if verdict.shown_label == label else WRONG


def trl_reward(
    tokenizer: Any,
    end_ids: Sequence[int],
    watch: Callable[[list[Verdict], dict[str, Any]], None] | None = None,
) -> Callable[..., list[float]]:
    """The reward as TRL calls it: dataset columns `shown_label` and `thought_open` (one per rollout) and
    `completion_ids`.

    Texts are decoded from the ids with control tokens kept, as the judge's engine does, and a completion is
    finished only if it ends in an end token: the completion text that TRL passes shows neither. `watch`
    sees every verdict.
    """
    ends = frozenset(end_ids)

    def verdict_match_reward(
        completion_ids: list[list[int]], shown_label: list[str], **columns: Any
    ) -> list[float]:
        opened = columns.get("thought_open") or [False] * len(completion_ids)
        verdicts = [
            read_completion(tokenizer, ids, ends, thought)
            for ids, thought in zip(completion_ids, opened, strict=True)
        ]
        if watch is not None:
            watch(verdicts, {"shown_label": shown_label, "completion_ids": completion_ids, **columns})
        return [
            verdict_reward(verdict, letter) for verdict, letter in zip(verdicts, shown_label, strict=True)
        ]

    return verdict_match_reward


def group_advantages(rewards: Sequence[float], scale_rewards: str) -> list[float]:
    """The advantages of one group: each reward minus the mean, and with "group" divided by their standard
    deviation (the paper's (r - mean) / (std + 1e-6), section 3.2; TRL adds 1e-4 instead). All 0 if the
    rewards are equal."""
    from statistics import fmean, stdev

    mean = fmean(rewards)
    spread = stdev(rewards) + 1e-4 if scale_rewards == "group" and len(rewards) > 1 else 1.0
    return [(reward - mean) / spread for reward in rewards]


def reward_every_other(reward: Callable[..., list[float]]) -> Callable[..., list[float]]:
    """Calls `reward` only for its `watch`: every other rollout is rewarded, so that every group has
    something to be trained on."""

    def every_other_reward(**columns: Any) -> list[float]:
        return [RIGHT if place % 2 else WRONG for place, _ in enumerate(reward(**columns))]

    return every_other_reward


def read_completion(tokenizer: Any, ids: list[int], ends: frozenset[int], thought_open: bool) -> Verdict:
    """The verdict of a completion's token ids: finished only if the last one is among `ends`."""
    finished = bool(ids) and ids[-1] in ends
    kept = ids[:-1] if finished else ids
    text = tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return parse_verdict(text, "strict", finished, thought_open)

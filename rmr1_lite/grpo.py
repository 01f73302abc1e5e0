"""Stage 2: LoRA GRPO with the verdict-match reward (paper, section 3.2), on TRL.

Continues the SFT adapter, or starts cold from a base. Every step shows `groups` / 2 pairs in both orders, so that the
flip rate can be watched; the original shows each pair in one order. With beta > 0 the KL is taken to the policy that
GRPO started from (TRL keeps a copy of the loaded adapter), also after a resume.

    python -m rmr1_lite grpo --model runs/sft/adapter --pairs runs/data/train.jsonl --out runs/grpo
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rmr1_lite.backend import start
from rmr1_lite.config import GRPOConfig, check
from rmr1_lite.data.files import read_pairs, write_json
from rmr1_lite.engines.render import control_texts, end_ids, opens_thought, render
from rmr1_lite.models import Loaded, Training, check_style, load, save_adapter, with_new_lora, within_context
from rmr1_lite.prompts import messages, shown, without_control_tokens
from rmr1_lite.rollouts import RolloutWatch
from rmr1_lite.runs import Run, begin, left_out
from rmr1_lite.screening import failed
from rmr1_lite.thinking import settle_for_run
from rmr1_lite.types import ORDERS, InputError, Order, Pair, TrainingStopped
from rmr1_lite.unsloth_path import check_settings, check_vllm, keep_groups_together, sharing_line, with_reference

# What rounding may give: policy and reference come from different passes, in bf16 up to some hundredths of a nat a token apart
KL_AT_START = 1e-2
SCHEDULES = {"constant": "constant_with_warmup", "linear": "linear"}  # ours -> transformers'
CARD = """---
library_name: peft
---
# RM-R1 judge, LoRA adapter after GRPO

Made by rmr1_lite (stage: GRPO, reward +1 / -1 by verdict match). Base: `{base}`. Prompt style: `{style}`.
Load it with `rmr1_lite.models.load(folder)`; settings and versions are in the run's config.json. Where the base's chat template
has a thinking switch, this folder's tokenizer has it set as it was trained.
"""


def train_grpo(config: GRPOConfig) -> Path:
    """Train or resume; returns the adapter folder. Raises InputError for input that cannot work, TrainingStopped when
    a stop condition holds (the checkpoints stay)."""
    check(config)
    read = read_pairs(config.pairs)
    print(read.summary())
    run = begin(config, "grpo", config.pairs)
    if run.finished:
        print(f"{run.adapter} is there already: nothing to do.")
        return run.adapter
    backend = start(config.backend, config.out)
    if backend.unsloth:
        check_settings(config)
    if config.rollout == "vllm":
        check_vllm(backend, config)
    training = Training(backend, config.max_prompt_tokens + config.max_new_tokens, config.gradient_checkpointing, config.seed,
                        config.lora_r if config.rollout == "vllm" else 0, rollouts=True)  # fmt: skip
    loaded = load(config.model, config.four_bit, trainable=True, training=training)
    style = check_style(loaded, config.style)
    loaded.thinking = settle_for_run(run, loaded.tokenizer, style, config.thinking, loaded.thinking)
    if loaded.adapter is None:
        print(f"{config.model} is a base: a cold start, with a new adapter.")
        with_new_lora(loaded, config.lora_r, config.lora_alpha, config.lora_dropout, config.seed)
    pairs = [pair for pair in read.pairs if pair.label]
    limit = within_context(loaded, config.max_prompt_tokens, config.max_new_tokens)
    looks = fitting_looks(pairs, loaded.tokenizer, style, limit)
    fits = {both[0]["pair"] for both in looks}
    left_out(run, read, limit, [pair.id for pair in pairs if pair.id not in fits])
    hard = _screen(config, run, loaded, style, pairs, looks)
    _train(config, run, loaded, style, schedule(looks, config, hard))
    save_adapter(loaded, run.adapter, style, "grpo", CARD.format(base=loaded.base, style=style))
    return run.adapter


def fitting_looks(pairs: Sequence[Pair], tokenizer: Any, style: str, max_prompt_tokens: int) -> list[list[dict[str, Any]]]:
    """For every pair its two rows (one per order); pairs whose prompt is too long are listed and left out."""
    rows = [[row_of(pair, order, tokenizer, style) for order in ORDERS] for pair in pairs]
    fits = [max(row["prompt_tokens"] for row in both) <= max_prompt_tokens for both in rows]
    if not all(fits):
        long = [pair.id for pair, fit in zip(pairs, fits, strict=True) if not fit]
        print(f"{len(long)} of {len(pairs)} pairs have prompts over {max_prompt_tokens} tokens: {', '.join(long[:10])}")
    if not any(fits):
        raise InputError(f"No labelled pair fits into {max_prompt_tokens} prompt tokens. Give labels or raise the limit.")
    return [both for both, fit in zip(rows, fits, strict=True) if fit]


def row_of(pair: Pair, order: Order, tokenizer: Any, style: str) -> dict[str, Any]:
    """A dataset row. The messages are made inert here, so TRL's chat template gives the ids that `render` gives."""
    seen, extra = shown(pair, order), control_texts(tokenizer)
    turns = messages(seen, style)
    ids = render(tokenizer, turns)
    inert = [{"role": m["role"], "content": without_control_tokens(m["content"], extra)} for m in turns]
    return {"prompt": inert, "label": seen.label, "pair": pair.id, "order": order,
            "thought_open": opens_thought(tokenizer, ids), "prompt_tokens": len(ids)}  # fmt: skip


def schedule(looks: list[list[dict[str, Any]]], config: GRPOConfig, hard: frozenset[str] = frozenset()) -> list[dict[str, Any]]:
    """Rows in the order of training, both orders of a pair in the same step; pairs come again when all have been used.

    Of every step's pairs `hard_share` are drawn from `hard` (ids), the rest from the others.
    """
    rng, rows = random.Random(f"grpo/{config.seed}"), []
    pools = [_endless([both for both in looks if (both[0]["pair"] in hard) == wanted], rng) for wanted in (True, False)]
    for index in range(config.steps * config.groups):
        # the running count of hard pairs passes a whole number: an even mixture without a draw
        is_hard = math.floor((index + 1) * config.hard_share) > math.floor(index * config.hard_share)
        pool = pools[0 if is_hard else 1] or pools[1] or pools[0]
        rows += next(pool)
        if len(rows) >= config.steps * config.groups:
            break
    return rows[: config.steps * config.groups]


def _endless(looks: list[list[dict[str, Any]]], rng: random.Random) -> Iterator[list[dict[str, Any]]] | None:
    """All of `looks`, shuffled anew for every pass; None when there are none."""

    def passes() -> Iterator[list[dict[str, Any]]]:
        while True:
            yield from rng.sample(looks, len(looks))

    return passes() if looks else None


def _screen(
    config: GRPOConfig, run: Run, loaded: Loaded, style: str, pairs: Sequence[Pair], looks: list[list[dict[str, Any]]]
) -> frozenset[str]:
    """Ids of the pairs that the starting policy gets wrong, among `screen_pairs` drawn by the seed."""
    from rmr1_lite.trainers import policy_judge

    if not config.screen_pairs:
        return frozenset()
    fitting = {both[0]["pair"] for both in looks}
    usable = [pair for pair in pairs if pair.id in fitting]
    chosen = random.Random(f"screen/{config.seed}").sample(usable, min(config.screen_pairs, len(usable)))
    return failed(policy_judge(loaded, style, config), chosen, run.folder)


def arguments(config: GRPOConfig) -> dict[str, Any]:
    """Everything TRL's GRPOConfig is told; nothing that matters is left to its defaults."""
    from rmr1_lite.trainers import common_arguments

    parts = config.groups * config.rollouts // config.micro_batch
    return common_arguments(
        config, per_device_train_batch_size=config.micro_batch, gradient_accumulation_steps=parts,
        steps_per_generation=parts, num_generations=config.rollouts, num_iterations=1, shuffle_dataset=False,
        max_completion_length=config.max_new_tokens, temperature=config.temperature, top_p=1.0, top_k=0, min_p=None,
        repetition_penalty=1.0, beta=config.beta, epsilon=config.epsilon, epsilon_high=config.epsilon,
        loss_type=config.loss_type, scale_rewards=config.scale_rewards, mask_truncated_completions=False,
        importance_sampling_level="token", sync_ref_model=False, disable_dropout=False, use_vllm=config.rollout == "vllm",
        vllm_mode="colocate", use_liger_kernel=False, log_completions=False, lr_scheduler_type=SCHEDULES[config.lr_schedule],
        remove_unused_columns=False, generation_kwargs={"min_new_tokens": config.max_new_tokens} if config.worst_case else None,
    ) | {"max_steps": config.steps}  # fmt: skip


def _train(config: GRPOConfig, run: Run, loaded: Loaded, style: str, rows: list[dict[str, Any]]) -> None:
    import trl
    from datasets import Dataset

    from rmr1_lite.rewards import every_other, trl_reward
    from rmr1_lite.trainers import Watch, built, callback, probe_of, probe_pairs, train

    ends = end_ids(loaded.model, loaded.tokenizer)
    seen = RolloutWatch(config.rollouts)
    reward = trl_reward(loaded.tokenizer, ends, seen.see)
    probe = probe_of(loaded, style, probe_pairs(config), config)
    watch = Watch(run, "GRPO", "probe", checked_start(probe, config, run), config.probe_every, seen.figures,
                  [TruncationStop(config.max_truncated)], config.save_minutes)  # fmt: skip
    made = trainer_class(config, loaded)
    trainer = built(lambda: made(
        model=loaded.model, args=trl.GRPOConfig(**arguments(config)), train_dataset=Dataset.from_list(rows),
        reward_funcs=every_other(reward) if config.worst_case else reward, processing_class=loaded.tokenizer,
        callbacks=[callback(watch)],
    ), loaded.model, run)  # fmt: skip
    watch.stops = [*watch.stops, kl_start(trainer, run)]
    train(trainer, run, watch)
    if loaded.backend and loaded.backend.unsloth:
        print(sharing_line(trainer.accelerator.unwrap_model(trainer.model), config))


def kl_start(trainer: Any, run: Run) -> Any:
    """After the first step of a fresh run: the KL to the starting policy must be 0 there. If it is not, the reference is
    another policy than the SFT one, and the run goes on without the KL term, also after a resume, and says so."""

    mark = run.folder / "kl-start.json"
    if run.step and mark.exists():
        print("The KL of step 1 was not 0: beta stays 0.")
        trainer.beta = 0.0

    def look(row: dict[str, Any]) -> None:
        if row["step"] != 1 or run.step or not trainer.beta > 0:
            return
        if abs(row.get("kl", 0.0)) <= KL_AT_START:
            print(f"Step 1: the KL to the starting policy is {row.get('kl', 0.0):.1e}, 0 but for rounding.")
        else:
            print(f"Step 1: the KL to the starting policy is {row['kl']:.4f}, not 0: its reference is another policy. "
                  "beta is 0 from here on.")  # fmt: skip
            write_json(mark, {"kl": row["kl"]})
            trainer.beta = 0.0

    return look


def trainer_class(config: GRPOConfig, loaded: Loaded) -> Any:
    """The trainer that computes each prompt once per group where that is right for the model, else TRL's, and says so."""
    import trl

    from rmr1_lite.group_trainer import shared_prefix_trainer
    from rmr1_lite.shared_prefix import supported

    model = loaded.model
    if loaded.backend and loaded.backend.unsloth:  # its own kernels share prompts
        if config.beta > 0:
            with_reference(model)
        keep_groups_together()
        return trl.GRPOTrainer
    if config.shared_prefix and supported(model) and not config.gradient_checkpointing:
        return shared_prefix_trainer()
    if config.shared_prefix:
        print("Prompts are not shared within groups: untested for this architecture, or gradient checkpointing is on.")
    return trl.GRPOTrainer


class TruncationStop:
    """Stop when the share of cut-off rollouts stays above `limit`: the reward would then only teach to be short."""

    def __init__(self, limit: float, patience: int = 5) -> None:
        self.limit, self.patience, self.over = limit, patience, 0

    def __call__(self, row: dict[str, Any]) -> None:
        self.over = self.over + 1 if row.get("status/truncated", 0.0) > self.limit else 0
        if self.over >= self.patience:
            raise TrainingStopped(
                f"step {row['step']}: {row['status/truncated']:.0%} of the rollouts were cut off, more than "
                f"{self.limit:.0%} for {self.patience} steps. Raise max_new_tokens "
                "(with another --out), or train SFT longer first."
            )


def checked_start(probe: Any, config: GRPOConfig, run: Run) -> Any:
    """The probe, with a check on its first call at step 0: it must give what SFT ended with on the same pairs."""
    before = sft_probe(config)
    if probe is None or before is None or run.step:
        return probe
    first = [True]

    def figures() -> dict[str, float]:
        now = probe()
        if first.pop() if first else False:
            _compare_start(before, now)
        return now

    return figures


def sft_probe(config: GRPOConfig) -> dict[str, float] | None:
    """The last probe figures of the SFT run that `model` came from, if it used the same probe file."""
    folder = Path(config.model).parent
    try:
        settings = json.loads((folder / "config.json").read_text())["settings"]
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    except (OSError, ValueError, KeyError):
        return None
    same = all(settings.get(name) == getattr(config, name) for name in ("probe", "probe_pairs", "max_new_tokens"))
    probes = [row for row in rows if "eval/strict_accuracy" in row]
    return probes[-1] if probes and same else None


def _compare_start(before: dict[str, float], now: dict[str, float]) -> None:
    was, is_now = before["eval/strict_accuracy"], now["strict_accuracy"]
    if before.get("eval/too_long", 0.0) != now.get("too_long", 0.0):
        print("Step 0 is not compared with the end of SFT: the stages differ in length, and so in the prompts that are too long.")
        return
    print(f"Step 0 check: strict accuracy on the probe {is_now:.3f}, SFT ended with {was:.3f}.")
    if abs(was - is_now) > 0.03:
        raise TrainingStopped("Step 0 is not the SFT policy: the adapter or the base was changed. Train SFT again.")

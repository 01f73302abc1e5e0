"""Part 1: the same rows and the same rollouts through both backends, and what a probe leaves behind.

`given_rollouts`, `armed` and `texts` also serve tests/unsloth_cpu, where the same is compared in 32 bits
without a card.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gpu.common import Place, compiled, fresh, metered, rows_of, short_training


@contextmanager
def given_rollouts() -> Iterator[None]:
    """Rollouts that are not sampled: chains that name A or B, of several lengths, drawn from the prompt's own
    ids."""
    from rmr1_lite.training import loop

    build_trainer = loop.build_trainer

    def with_given(make: Callable[[], Any], model: Any, run: Any) -> Any:
        trainer = build_trainer(make, model, run)
        trainer._generate_single_turn = lambda prompts, *_, **__: (
            made_up(prompts, trainer.processing_class),
            None,
        )
        return trainer

    loop.build_trainer = with_given
    try:
        yield
    finally:
        loop.build_trainer = build_trainer


def made_up(prompts: list[list[int]], tokenizer: Any) -> list[list[int]]:
    """One completed text per prompt, with a parsed verdict."""
    made = []
    for index, ids in enumerate(prompts):
        rng = random.Random(f"{index} {list(ids)[-60:]}")
        text = f"<type>Chat</type> {' so' * rng.randrange(1, 9)}\n<answer>[[{rng.choice('AB')}]]</answer>"
        made.append([*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id])
    return made


def armed(model: Any) -> dict[str, int]:
    """Modules with gradient checkpointing on, and half-precision copies of the adapter that decoding left
    behind."""
    on = [module for module in model.modules() if getattr(module, "gradient_checkpointing", False)]
    return {"checkpointing": len(on), "copies": sum(hasattr(p, "_fast_lora") for p in model.parameters())}


@contextmanager
def watched_probes() -> Iterator[tuple[list[dict[str, int]], list[Any]]]:
    """(what each probe during an SFT left behind, [the loaded model]), filled while the block
    runs."""
    from rmr1_lite.training import loop, sft

    states, models, train, judge = [], [], sft._run_sft, loop.TrainingMonitor.judge_probe

    def seen(config: Any, run: Any, loaded: Any, *rest: Any) -> None:
        models.append(loaded)
        train(config, run, loaded, *rest)

    def judged(watch: Any, step: int) -> None:
        training = models[-1].model.training
        judge(watch, step)
        if training:  # the probe behind the last step finds a model that is done
            states.append({"step": step, **armed(models[-1].model)})

    sft._run_sft, loop.TrainingMonitor.judge_probe = seen, judged
    try:
        yield states, models
    finally:
        sft._run_sft, loop.TrainingMonitor.judge_probe = train, judge


def parity(place: Place) -> Iterator[dict[str, Any]]:
    """SFT with a probe before and after it, then GRPO with a KL term on given rollouts from the adapter that
    ships."""
    from rmr1_lite.config import GRPOConfig, SFTConfig
    from rmr1_lite.training.grpo import train_grpo
    from rmr1_lite.training.loop import fixed_text_logprobs
    from rmr1_lite.training.sft import train_sft

    common = short_training(place, warmup_steps=1, probe_pairs=4)
    sft = SFTConfig(
        chains=str(place.data / "chains.jsonl"),
        out=str(fresh(place, "parity-sft")),
        epochs=1.0,
        limit=48,
        probe=str(place.data / "validation.jsonl"),
        probe_every=2,
        micro_batch=8,
        **common,
    )
    with watched_probes() as (states, models), metered() as meter:
        train_sft(sft)
    yield {"sft": rows_of(sft.out, "loss", "grad_norm"), "states": states}
    yield {"sft_step_s": meter.seconds, "sft_compiled": compiled()}
    yield {"policy": fixed_text_logprobs(models[0].model)}
    models.clear()
    grpo = GRPOConfig(
        model="nano-sft",
        pairs=str(place.data / "train.jsonl"),
        out=str(fresh(place, "parity-grpo")),
        beta=0.05,
        groups=2,
        rollouts=4,
        micro_batch=8,
        steps=3,
        **common,
    )
    with given_rollouts(), metered() as meter:
        train_grpo(grpo)
    yield {"grpo": rows_of(grpo.out, "loss", "grad_norm", "kl")}
    yield {"grpo_step_s": meter.seconds, "compiled": compiled()}


def reload(place: Place) -> Iterator[dict[str, Any]]:
    """Log-probabilities of the fixed text under Unsloth's SFT adapter, in a process without Unsloth."""
    from rmr1_lite.models.loading import load
    from rmr1_lite.training.loop import fixed_text_logprobs

    yield {"policy": fixed_text_logprobs(load(str(adapter_of(place))).model)}


def adapter_of(place: Place) -> Path:
    return place.folder / "parity-sft-unsloth" / "adapter"

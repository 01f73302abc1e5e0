"""What fits on a card, and how long it takes: reported before anything is downloaded.

    python -m rmr1_lite plan --gpu t4 --model Qwen/Qwen2.5-1.5B-Instruct
    python -m rmr1_lite plan --preset l4-24gb

Bytes come from `rmr1_lite.training.planning.gpu_memory`. Times are planner estimates: operations divided by a
share of the card's peak for training, bytes divided by its bandwidth plus a fixed cost per layer for each
generated token. That cost and the share come from one H200 (perf/results/gpu.json); no other card has been
measured. Settings that do not fit are reduced in this order: micro-batch, rollouts generated together,
completion, prompt, rank.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from rmr1_lite.config import GRPOConfig, SFTConfig, preset
from rmr1_lite.presets import CARD_GPU, MODELS, PREQUANTISED, for_memory
from rmr1_lite.training.planning.gpu_memory import (
    GIB,
    Need,
    Shape,
    cache_bytes,
    count_parameters,
    grpo_need,
    sft_need,
    shape_of,
    weight_bytes,
)
from rmr1_lite.types import InputError


@dataclass(frozen=True)
class GPU:
    """gib: memory that programs can use. tflops: dense 16-bit peak. gbps: memory bandwidth. half: its 16-bit
    type."""

    name: str
    gib: float
    tflops: float
    gbps: float
    half: str


GPUS = {
    "t4": GPU("T4", 14.56, 65, 320, "fp16"),
    "p100": GPU("P100", 15.9, 18.7, 732, "fp16"),
    "l4": GPU("L4", 22.0, 121, 300, "bf16"),
    "a10g": GPU("A10G", 22.0, 70, 600, "bf16"),
    "rtx3090": GPU("RTX 3090", 23.6, 71, 936, "bf16"),
    "rtx4090": GPU("RTX 4090", 23.6, 165, 1008, "bf16"),
    "a100-40": GPU("A100 40 GB", 39.4, 312, 1555, "bf16"),
    "a100": GPU("A100 80 GB", 79.1, 312, 2039, "bf16"),
    "h100": GPU("H100 80 GB", 79.1, 989, 3350, "bf16"),
    "h200": GPU("H200", 139.0, 989, 4800, "bf16"),
}
SHARE_OF_PEAK = 0.35  # of the card's operations, while it trains
# Python and kernel launches for one token of all rollouts through one layer: the processor's time, not the
# card's. Measured: 0.125 s for the 28 layers of a 7B in 4 bits with LoRA, 8 rows
SECONDS_PER_LAYER = 0.0042
BYTES_PER_WEIGHT = 4.5  # read and written to convert NF4 to 16 bits and multiply with it
TYPICAL = 0.6  # length of a row as a share of the longest one


@dataclass(frozen=True)
class Stage:
    """One stage of a plan. needs: its phases. hours: None where the number of steps is not known."""

    name: str
    config: Any
    needs: dict[str, Need]
    hours: float | None
    steps: tuple[str, ...] = ()  # reductions that were needed

    @property
    def peak(self) -> float:
        """Bytes of the phase that needs most."""
        return max(need.peak for need in self.needs.values())


@dataclass(frozen=True)
class Plan:
    """Both stages on one card. fits: after the reductions."""

    model: str
    shape: Shape
    gpu: GPU
    stages: tuple[Stage, ...]

    @property
    def fits(self) -> bool:
        return all(stage.peak <= self.gpu.gib * GIB for stage in self.stages)


def make_plan(gpu: str = "", model: str = "", preset_name: str = "", chains: int = 0) -> Plan:
    """The largest settings of the preset that fit the card. Raises InputError for unknown names.

    gpu: by default the preset's. model: by default the preset's. chains: rows of the SFT data, for its time.
    """
    card = GPUS.get(gpu or CARD_GPU.get(preset_name.partition(":")[0], ""))
    if card is None:
        raise InputError(f"gpu is {gpu!r}. Choose one of {', '.join(GPUS)}.")
    name = preset_name or for_memory(card.gib)
    sft, grpo = preset("sft", name), preset("grpo", name)
    spec = _hub_id(model) or sft.model
    shape = shape_of(spec, _base_folder(spec))
    stages = (
        _fit_stage(_plan_sft, sft, shape, card, chains),
        _fit_stage(_plan_grpo, grpo, shape, card, chains),
    )
    return Plan(spec, shape, card, stages)


def estimate_hours(config: SFTConfig | GRPOConfig, model: str, gpu: str, chains: int = 0) -> float | None:
    """The planner's hours for a training with these settings; None if the number of SFT rows is not
    known."""
    shape = shape_of(_hub_id(model), _base_folder(model))
    if isinstance(config, SFTConfig):
        return _plan_sft(config, shape, GPUS[gpu], chains).hours
    return _plan_grpo(config, shape, GPUS[gpu], chains).hours


def _hub_id(model: str) -> str:
    return MODELS[model][0] if model in MODELS else model


def _base_folder(spec: str) -> Any:
    from rmr1_lite.models.judge_specs import NANO

    return NANO["nano-base"] if spec in NANO else None


def _fit_stage(stage: Any, config: Any, shape: Shape, gpu: GPU, chains: int) -> Stage:
    """The stage with the first settings that fit; the smallest ones if none do."""
    taken: list[str] = []
    made = stage(config, shape, gpu, chains)
    while made.peak > gpu.gib * GIB and (rung := next(smaller_settings(made.config), None)):
        config, said = rung
        taken.append(said)
        made = stage(config, shape, gpu, chains)
    return replace(made, steps=tuple(taken))


def smaller_settings(config: Any) -> Iterator[tuple[Any, str]]:
    """Smaller settings, the cheapest loss first: (config, what was changed)."""
    if isinstance(config, GRPOConfig):
        yield from _grpo_rungs(config)
    else:
        if config.micro_batch > 1:
            yield _reduce_setting(
                config, "micro_batch", _divisor_below(config.micro_batch, config.micro_batch)
            )
        if config.max_length > 1024:
            yield _reduce_setting(config, "max_length", config.max_length * 3 // 4)
    if config.lora_r > 8:
        yield _reduce_setting(config, "lora_r", config.lora_r // 2)


def _grpo_rungs(config: GRPOConfig) -> Iterator[tuple[GRPOConfig, str]]:
    """A micro-batch keeps whole groups as long as anything else can be reduced: half a group shares no
    prompt, so it often takes more memory than the whole group did."""
    groups_at_once = config.micro_batch // config.rollouts
    if config.micro_batch % config.rollouts == 0 and groups_at_once > 1:
        fewer = next(n for n in range(groups_at_once // 2, 0, -1) if config.groups % n == 0)
        yield _reduce_setting(config, "micro_batch", fewer * config.rollouts)
    if config.groups > 2:
        smaller, said = _reduce_setting(config, "groups", config.groups // 2)
        micro = _divisor_below(config.micro_batch + 1, smaller.groups * smaller.rollouts)
        yield (
            replace(smaller, micro_batch=micro),
            said if micro == config.micro_batch else f"{said} (micro_batch {micro})",
        )
    if config.max_new_tokens > 384:
        yield _reduce_setting(config, "max_new_tokens", config.max_new_tokens * 3 // 4)
    if config.max_prompt_tokens > 768:
        yield _reduce_setting(config, "max_prompt_tokens", config.max_prompt_tokens * 3 // 4)
    if config.rollouts > 4:
        yield _fewer_rollouts(config)
    if config.micro_batch > 1:
        smaller, said = _reduce_setting(
            config, "micro_batch", _divisor_below(config.micro_batch, config.groups * config.rollouts)
        )
        yield smaller, f"{said} (less than a group: prompts are no longer shared)" if groups_at_once else said


def _fewer_rollouts(config: GRPOConfig) -> tuple[GRPOConfig, str]:
    """Two rollouts fewer per group; a micro-batch of whole groups stays one."""
    smaller, said = _reduce_setting(config, "rollouts", config.rollouts - 2)
    if config.micro_batch % config.rollouts == 0:
        micro = config.micro_batch // config.rollouts * smaller.rollouts
        return replace(smaller, micro_batch=micro), f"{said} (micro_batch {config.micro_batch} -> {micro})"
    fitting = _divisor_below(config.micro_batch + 1, smaller.groups * smaller.rollouts)
    return replace(smaller, micro_batch=fitting), said


def _divisor_below(limit: int, total: int) -> int:
    """The largest number under `limit` that divides `total`."""
    return max(n for n in range(1, limit) if total % n == 0)


def _reduce_setting(config: Any, name: str, value: int) -> tuple[Any, str]:
    return replace(config, **{name: value}), f"{name} {getattr(config, name)} -> {value}"


def _plan_sft(config: SFTConfig, shape: Shape, gpu: GPU, chains: int) -> Stage:
    need = sft_need(
        shape, config.lora_r, config.micro_batch, config.max_length, config.gradient_checkpointing
    )
    rows = min(config.limit or chains, chains or config.limit)
    tokens = rows * config.epochs * config.max_length * TYPICAL
    hours = training_seconds(shape, gpu, tokens, config.gradient_checkpointing) / 3600 if rows else None
    return Stage("SFT", config, {"training": need}, hours)


def _plan_grpo(config: GRPOConfig, shape: Shape, gpu: GPU, chains: int) -> Stage:
    writing, training = grpo_need(
        shape,
        config.lora_r,
        config.max_prompt_tokens,
        config.max_new_tokens,
        config.groups,
        config.rollouts,
        config.micro_batch,
        config.gradient_checkpointing,
    )
    count = config.groups * config.rollouts
    prompt, completion = config.max_prompt_tokens * TYPICAL, config.max_new_tokens * TYPICAL
    tokens = config.groups * prompt + count * completion
    seconds = writing_seconds(shape, gpu, count, prompt, config.max_new_tokens)
    seconds += training_seconds(shape, gpu, tokens, config.gradient_checkpointing)
    return Stage(
        "GRPO", config, {"writing rollouts": writing, "training": training}, config.steps * seconds / 3600
    )


def training_seconds(shape: Shape, gpu: GPU, tokens: float, checkpointing: bool) -> float:
    """Forward, backward to the inputs, and with checkpointing the forward pass again: 2 operations per weight
    each."""
    operations = 2 * (3 if checkpointing else 2) * count_parameters(shape) * tokens
    return operations / (gpu.tflops * 1e12 * SHARE_OF_PEAK)


def writing_seconds(shape: Shape, gpu: GPU, rows: int, prompt: float, longest: int) -> float:
    """All rows together, token by token, until the longest one ends."""
    cached = rows * (prompt + longest / 2) * cache_bytes(shape)
    return longest * (
        SECONDS_PER_LAYER * shape.layers
        + (count_parameters(shape) * BYTES_PER_WEIGHT + cached) / (gpu.gbps * 1e9)
    )


def describe_plan(made: Plan) -> str:
    """The plan as readable text."""
    shape, gib = made.shape, made.gpu.gib
    lines = [
        f"{made.model} on {made.gpu.name} ({gib:g} GiB, {made.gpu.half}): "
        f"{count_parameters(shape) / 1e9:.2f} B parameters, {weight_bytes(shape) / GIB:.2f} GiB in NF4, "
        f"{cache_bytes(shape) / 1024:.0f} KiB of cache per token"
    ]
    for stage in made.stages:
        lines += [
            "",
            f"{stage.name}: {'fits' if stage.peak <= gib * GIB else 'DOES NOT FIT'}, "
            f"{stage.peak / GIB:.1f} of {gib:g} GiB{_format_hours(stage)}",
        ]
        lines += [f"  {step}" for step in stage.steps]
        lines.append(f"  {_format_settings(stage.config)}")
        for phase, need in stage.needs.items():
            parts = ", ".join(f"{name} {value / GIB:.2f}" for name, value in need.parts.items())
            lines.append(
                f"  {phase}: {need.peak / GIB:.1f} GiB ({parts}; the rest workspace and fragmentation)"
            )
    if not made.fits:
        lines += ["", "No smaller settings are left: choose a smaller model or a larger card."]
    if made.model in PREQUANTISED:
        saved = (2 * count_parameters(shape) - weight_bytes(shape)) / 1e9
        lines += [
            "",
            f"sft --model {PREQUANTISED[made.model]} is the same in 4 bits: {saved:.1f} GB less to "
            "download and to hold in host memory (not tested).",
        ]
    lines += ["", "Memory and time are planner estimates: measured on one H200, not on this card."]
    return "\n".join(lines)


def _format_hours(stage: Stage) -> str:
    if stage.hours is None:
        return ""
    return f", about {stage.hours:.1f} h" if stage.hours >= 1 else f", about {60 * stage.hours:.0f} min"


def _format_settings(config: Any) -> str:
    names = (
        "max_length",
        "limit",
        "max_prompt_tokens",
        "max_new_tokens",
        "groups",
        "rollouts",
        "micro_batch",
        "lora_r",
        "steps",
    )
    sft = isinstance(config, SFTConfig)
    shown = [name for name in names if hasattr(config, name) and not (sft and name == "max_new_tokens")]
    return ", ".join(f"{name} {getattr(config, name)}" for name in shown)

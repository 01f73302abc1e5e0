"""Every setting of a run, flat: one field, one line of help. The command line, the docs and config.json
derive from this.

Floor 0: standard library only. Every hyper-parameter that a trainer knows is passed to it from here, so that
no library default (TRL's, Unsloth's) affects training. `PRESETS` holds settings that belong together.

    from rmr1_lite.config import preset
    config = preset("sft", "nano", epochs=2)
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from rmr1_lite import presets
from rmr1_lite.types import InputError

APP_HISTORY = "runs/app/history.sqlite3"  # of the judge app, unless it is shared
NANO_TOKENS = 152  # the longest chain of the nano world has 144, plus its end token
SMOL_TOKENS = 400  # a short chain in natural language; untrained, smol seldom ends one
OTHER_TOKENS = 2048  # room for the chains of other judges
MAX_CHARS = 200_000  # of one response or conversation
StyleName = Literal["auto", "rubrics", "reasoning", "compact"]
Thinking = Literal["auto", "on", "off"]
SchemeName = Literal["pivot", "round-robin", "bradley-terry"]
THINKING_HELP = "thinking switch of the chat template; auto: as trained, else on for the style reasoning"


def _doc(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class TrainConfig:
    """What SFT and GRPO share."""

    out: str = _doc("runs/train", "run folder: config.json, metrics.jsonl, checkpoint-*, adapter/")
    style: StyleName = _doc("auto", "prompt style; auto: the style the model was trained with")
    thinking: Thinking = _doc("auto", THINKING_HELP)
    seed: int = _doc(0, "random seed")
    lr: float = _doc(2e-3, "peak learning rate")
    warmup_steps: int = _doc(10, "steps of linear warm-up")
    weight_decay: float = _doc(0.0, "AdamW weight decay")
    adam_beta1: float = _doc(0.9, "AdamW beta 1")
    adam_beta2: float = _doc(0.95, "AdamW beta 2")
    max_grad_norm: float = _doc(1.0, "gradient clipping")
    backend: Literal["auto", "unsloth", "transformers"] = _doc(
        "auto", "auto: Unsloth if it is installed and supports the GPU, otherwise transformers"
    )
    four_bit: bool = _doc(True, "load base weights in NF4 (QLoRA); off: as stored (smol-base always)")
    lora_r: int = _doc(16, "LoRA rank of a new adapter")
    lora_alpha: int = _doc(32, "LoRA alpha of a new adapter")
    lora_dropout: float = _doc(0.0, "LoRA dropout of a new adapter")
    gradient_checkpointing: bool = _doc(False, "recompute activations: slower, far less memory")
    probe: str = _doc(
        "", "JSONL of labelled pairs judged in both orders during training; nothing is tuned on it"
    )
    probe_pairs: int = _doc(60, "how many pairs of the probe file to judge")
    probe_every: int = _doc(120, "steps between probes (also at step 0)")
    max_new_tokens: int = _doc(NANO_TOKENS, "longest chain, in tokens, in probes and rollouts")
    save_every: int = _doc(50, "steps between checkpoints; 0 saves none")
    save_minutes: float = _doc(
        0.0, "also save this many minutes after the last checkpoint; 0: only every save_every steps"
    )
    report_to: Literal["none", "tensorboard", "wandb", "trackio"] = _doc(
        "none", "also log metrics to this tracker (install it separately)"
    )
    preflight: Literal["auto", "on", "off"] = _doc(
        "auto",
        "first train one step on the longest rows, with smaller settings if they do not fit; auto: on a GPU",
    )


@dataclass(frozen=True)
class SFTConfig(TrainConfig):
    """Stage 1 (paper, section 3.1): QLoRA on distilled chains, loss on the chain only."""

    model: str = _doc("nano-base", "base: nano-base, a folder or a hub id")
    chains: str = _doc("", "JSONL of chains (see the data command)")
    out: str = _doc("runs/sft", TrainConfig.__dataclass_fields__["out"].metadata["help"])
    epochs: float = _doc(5.0, "passes over the chains")
    batch_size: int = _doc(16, "chains per optimizer step")
    micro_batch: int = _doc(16, "chains per forward pass")
    max_length: int = _doc(768, "longest prompt + chain in tokens; longer rows are skipped and listed")
    limit: int = _doc(0, "train on this many chains, drawn by the seed; 0: all")


@dataclass(frozen=True)
class GRPOConfig(TrainConfig):
    """Stage 2 (paper, section 3.2): GRPO with a reward of +1 / -1 by verdict match."""

    model: str = _doc("runs/sft/adapter", "SFT adapter to continue, or a base for a cold start")
    pairs: str = _doc("", "JSONL of labelled pairs")
    out: str = _doc("runs/grpo", TrainConfig.__dataclass_fields__["out"].metadata["help"])
    lr: float = _doc(2e-4, TrainConfig.__dataclass_fields__["lr"].metadata["help"])
    steps: int = _doc(120, "optimizer steps")
    probe_every: int = _doc(30, TrainConfig.__dataclass_fields__["probe_every"].metadata["help"])
    lr_schedule: Literal["constant", "linear"] = _doc(
        "constant", "after the warm-up: constant as in the paper, or linear to 0"
    )
    screen_pairs: int = _doc(0, "judge this many pairs before training to find those it gets wrong; 0: none")
    hard_share: float = _doc(0.75, "share of each step drawn from the pairs that the judge got wrong")
    groups: int = _doc(16, "prompts per step")
    rollouts: int = _doc(8, "rollouts per prompt (the paper's n)")
    micro_batch: int = _doc(128, "rollouts per forward pass")
    temperature: float = _doc(1.0, "sampling temperature of the rollouts")
    beta: float = _doc(0.0, "weight of the KL to the starting policy (the SFT adapter)")
    epsilon: float = _doc(0.2, "clipping range of the probability ratio")
    loss_type: Literal["grpo", "dapo", "dr_grpo", "bnpo"] = _doc(
        "dapo", "how token losses are averaged (TRL's names for it)"
    )
    scale_rewards: Literal["group", "batch", "none"] = _doc("none", "what the advantage is divided by")
    max_prompt_tokens: int = _doc(600, "longer prompts are skipped and listed, never truncated")
    max_truncated: float = _doc(
        0.3, "stop when more than this share of rollouts is truncated in 5 consecutive steps"
    )
    rollout: Literal["model", "vllm"] = _doc(
        "model", "what generates the rollouts; vllm (with Unsloth) has never been run"
    )
    worst_case: bool = _doc(
        False, "full-length rollouts, every other one rewarded; used by the preflight, trains nothing useful"
    )
    shared_prefix: bool = _doc(
        True, "compute each prompt once per group (CPU and plain torch; Unsloth has its own)"
    )


@dataclass(frozen=True)
class DemoConfig:
    """Settings of one run of the chain; the presets hold the rest."""

    out: str = _doc("runs/demo", "output folder")
    seed: int = _doc(0, "seed of data, SFT and GRPO")
    model: str = _doc("nano-base", "base to start from: nano-base, a folder or a hub id")
    steps: int = _doc(60, "GRPO steps")
    epochs: float = _doc(12.0, "SFT epochs")
    test_pairs: int = _doc(400, "unseen pairs to evaluate on")
    train_pairs: int = _doc(1000, "training pairs; 12 % of them get teacher chains")


@dataclass(frozen=True)
class ReproduceConfig:
    """Settings of the table; the presets hold the rest."""

    out: str = _doc("runs/reproduce", "output folder, with a subfolder for each seed")
    model: str = _doc("nano-base", "base to start from: nano-base, a folder or a hub id")
    seeds: int = _doc(3, "seeds 0, 1, ...")
    epochs: float = _doc(20.0, "SFT epochs")
    steps: int = _doc(200, "GRPO steps")
    test_pairs: int = _doc(400, "unseen pairs")
    train_pairs: int = _doc(1000, "training pairs; 12 % of them get teacher chains")
    jobs: int = _doc(0, "seeds to run in parallel; 0: one per core")
    only_seed: int = _doc(-1, "run only this seed in this process and write no table")
    longer_sft: int = _doc(1, "for this many seeds, also train SFT alone for as long as SFT and GRPO took")


@dataclass(frozen=True)
class PolicyConfig:
    """A policy of the nano world, trained with a judge as its only reward."""

    out: str = _doc("runs/policy", "output folder, with a subfolder for each training")
    judge: str = _doc("nano", "judge that gives the reward: any judge spec")
    weaker: str = _doc("nano-sft", "another judge to compare it with; empty: none")
    seeds: int = _doc(3, "seeds 0, 1, ... with each judge, and with random verdicts")
    steps: int = _doc(60, "GRPO steps of eight prompts with eight answers each")
    scheme: SchemeName = _doc("pivot", "how the answers of a group are compared")
    hacking: bool = _doc(False, "also train too long, with each defence off, and with an attack on the judge")
    jobs: int = _doc(0, "trainings to run in parallel; 0: one per core")
    only: str = _doc("", "train only this one, by its name, in this process")


@dataclass(frozen=True)
class DistillConfig:
    """Pairs, teachers and their budget."""

    pairs: str = _doc("", "JSONL of labelled pairs (see data prepare)")
    out: str = _doc("runs/distilled", "output folder; the same command resumes")
    teacher: str = _doc("", "model name on the server")
    base_url: str = _doc("http://127.0.0.1:8000/v1", "base URL of the server, usually ending in /v1")
    api_key_env: str = _doc("OPENAI_API_KEY", "environment variable that holds the key")
    second_teacher: str = _doc("", "teacher of the second pass; empty: the first one")
    second_base_url: str = _doc("", "its server; empty: the first one's")
    second_api_key_env: str = _doc("", "environment variable of its key; empty: the first one's")
    style: StyleName = _doc("rubrics", "prompt style of the chains")
    both_orders: bool = _doc(False, "make a chain for each order of every pair, at twice the price")
    rewrite: bool = _doc(False, "ask once more if a second chain reveals that the verdict was given")
    temperature: float = _doc(0.7, "sampling temperature; 0 is greedy")
    max_new_tokens: int = _doc(4096, "longest chain in tokens")
    concurrency: int = _doc(8, "requests in flight")
    max_retries: int = _doc(5, "retries after 408, 409, 429, 5xx and lost connections, with back-off")
    timeout: float = _doc(600.0, "seconds to wait for one request")
    price_in: float = _doc(0.0, "price of a million prompt tokens")
    price_out: float = _doc(0.0, "price of a million completion tokens")
    second_price_in: float = _doc(-1.0, "the same for the second teacher; negative: as the first")
    second_price_out: float = _doc(-1.0, "the same for the second teacher; negative: as the first")
    budget: float = _doc(0.0, "stop before this much is spent; 0: no limit")
    limit: int = _doc(0, "use only the first pairs; 0: all")
    seed: int = _doc(0, "seed of the orders and, if the server honours it, of sampling")
    via: Literal["direct", "batch"] = _doc(
        "direct",
        "direct: ask the servers; batch: write OpenAI batch files (in OUT/batch), and read their answers "
        "when run again",
    )


@dataclass(frozen=True)
class PrepareConfig:
    """Which pairs are kept, and in what order."""

    out: str = _doc("runs/prepared", "output folder")
    order: Literal["seeded", "given", "both"] = _doc(
        "seeded",
        "seeded: by a hash of id and seed; given: unchanged; both: two rows per pair",
    )
    validation: float = _doc(0.02, "share of the conversations that go to validation.jsonl")
    near: float = _doc(0.8, "similarity from which a pair counts as a near-duplicate; 0: do not check")
    ratings: Literal["none", "best", "all"] = _doc(
        "none", "pairs from rated responses: the best one against the rest, or all pairs"
    )
    margin: float = _doc(0.0, "ratings that differ by no more than this are ties")
    max_prompt_tokens: int = _doc(0, "longest judge prompt in tokens of --model; 0: no limit")
    max_chars: int = _doc(MAX_CHARS, "longest response or conversation in characters")
    on_bad_row: Literal["skip", "fail"] = _doc("skip", "what to do with a row that is not a labelled pair")
    split: str = _doc("train", "split of a hub id")
    seed: int = _doc(0, "seed of order and split")


CONFIGS: dict[str, type[TrainConfig]] = {"sft": SFTConfig, "grpo": GRPOConfig}

# stage -> preset -> what differs from the defaults above, which are nano's
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    stage: {"nano": {}, **{name: presets.preset_settings(stage, name) for name in presets.preset_names()}}
    for stage in CONFIGS
}


def preset(stage: str, name: str, **changes: Any) -> Any:
    """The named preset of "sft" or "grpo" with `changes`; unknown names are InputErrors that list the
    choices."""
    if stage not in CONFIGS:
        raise InputError(f"stage is {stage!r}. Choose one of {', '.join(CONFIGS)}.")
    if name not in PRESETS[stage]:
        raise InputError(f"preset is {name!r}. Choose one of {', '.join(PRESETS[stage])}.")
    return with_changes(CONFIGS[stage](**PRESETS[stage][name]), **changes)


def demo_settings(model: str) -> dict[str, Any]:
    """The demo's settings for a base, where they are not `DemoConfig`'s own."""
    return dict(presets.SMOL_DEMO) if model == "smol-base" else {}


def preset_values(stage: str, name: str) -> dict[str, Any]:
    """What the preset sets; unknown names are InputErrors that list the choices."""
    preset(stage, name)
    return dict(PRESETS[stage][name])


def with_changes(config: Any, **changes: Any) -> Any:
    """A copy of `config` with these changes; an unknown field is an InputError that lists the fields."""
    known = [f.name for f in fields(config)]
    for name in changes:
        if name not in known:
            raise InputError(
                f"{type(config).__name__} has no field {name!r}. Choose from {', '.join(known)}."
            )
    made = replace(config, **changes)
    check_config(made)
    return made


def check_config(config: TrainConfig) -> None:
    """Raise an InputError for values that cannot work, with the remedy."""
    for name in ("lr", "max_new_tokens", "lora_r", "lora_alpha", "max_grad_norm"):
        if not getattr(config, name) > 0:
            raise InputError(f"{name} is {getattr(config, name)}. Give a number above 0.")
    whole = (
        "micro_batch",
        "probe_every",
        "probe_pairs",
        "groups",
        "steps",
        "batch_size",
        "max_length",
        "max_prompt_tokens",
    )
    for name in whole:
        if getattr(config, name, 1) < 1:
            raise InputError(f"{name} is {getattr(config, name)}. Give a whole number of at least 1.")
    if isinstance(config, GRPOConfig):
        _check_grpo(config)
    if isinstance(config, SFTConfig) and not config.epochs > 0:
        raise InputError(f"epochs is {config.epochs}. Give a number above 0.")
    if isinstance(config, SFTConfig) and config.batch_size % config.micro_batch:
        raise InputError(
            f"batch_size {config.batch_size} is not a multiple of micro_batch {config.micro_batch}."
        )


def _check_grpo(config: GRPOConfig) -> None:
    if config.rollouts < 2:
        raise InputError(
            f"rollouts is {config.rollouts}. A group needs at least 2: a single rollout has no advantage."
        )
    total = config.groups * config.rollouts
    if total % config.micro_batch:
        raise InputError(f"groups x rollouts is {total}, not a multiple of micro_batch {config.micro_batch}.")
    if config.screen_pairs < 0 or not 0 <= config.hard_share <= 1:
        given = f"screen_pairs is {config.screen_pairs}, hard_share {config.hard_share}"
        raise InputError(f"{given}. Give screen_pairs >= 0 and hard_share between 0 and 1.")
    if config.beta < 0 or config.temperature <= 0:
        raise InputError(
            f"beta is {config.beta}, temperature {config.temperature}. Give beta >= 0, temperature > 0."
        )


def as_json(config: TrainConfig) -> dict[str, Any]:
    """JSON values of every field."""
    return asdict(config)

"""A model in memory with everything that judging and training need to know about it, and what a backend loads
one for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmr1_lite.models.backend import Backend


@dataclass
class Loaded:
    """A model with its tokenizer. style: prompt style, None when unknown. adapter: the folder it came from,
    or None.

    backend: that loaded it and also makes and patches its LoRA. fingerprint: of the weights
    that were loaded. pad: the tokenizer's own pad token where another one is used while training ("" for
    none), else None. thinking: the switch of its chat template as it was trained ("on", "off"), "" when
    unknown or when there is none.
    """

    model: Any
    tokenizer: Any
    style: str | None
    base: str
    adapter: Path | None = None
    backend: Backend | None = None
    checkpointing: bool = False
    fingerprint: str = ""
    pad: str | None = None
    thinking: str = ""


@dataclass(frozen=True)
class Training:
    """What a backend needs to load a model for training. length: of the longest row in tokens.

    vllm_rank: above 0, vLLM generates the rollouts in the same process, for adapters of this rank. rollouts:
    GRPO, whose padding Unsloth finds by its id. extra: tokens beyond `length` that probes would like.
    """

    backend: Backend
    length: int
    checkpointing: bool
    seed: int
    vllm_rank: int = 0
    rollouts: bool = False
    extra: int = 0


def is_quantised(model: Any) -> bool:
    """Whether the base's linear layers are bitsandbytes 4-bit modules."""
    return any(type(module).__name__ == "Linear4bit" or _holds_4bit(module) for module in model.modules())


def _holds_4bit(module: Any) -> bool:
    return type(getattr(module, "base_layer", None)).__name__ == "Linear4bit"

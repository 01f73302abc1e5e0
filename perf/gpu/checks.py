"""The checks of part 1, as numbers against bounds. Standard library only: the driver compares.

The bounds are for bf16 on a card. In 32 bits on a CPU the same values are a thousand times closer
(tests/unsloth_cpu).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

LOSS = 0.05  # nats a token, SFT
GRADIENT = 0.15  # of the gradient's length
SURROGATE = 0.02  # GRPO's loss, whose advantages sum to nearly 0
KL_START = 0.01  # nats a token; the kit's own bound
POLICY = 0.1  # nats a token, mean over a fixed text


def parity(figures: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Name of a check -> {"found", "bound", "holds"}. figures: of unsloth, transformers and reload, if
    they have run."""
    ours, theirs, again = (figures.get(name, {}) for name in ("unsloth", "transformers", "reload"))
    found: dict[str, tuple[float, float]] = {}
    for stage, (column, bound) in {"sft": ("loss", LOSS), "grpo": ("loss", SURROGATE)}.items():
        pairs = list(_steps(ours, theirs, stage))
        if pairs:
            found[f"{stage}: losses apart"] = max(abs(a[column] - b[column]) for a, b in pairs), bound
            found[f"{stage}: gradients apart"] = max(_apart(a, b) for a, b in pairs), GRADIENT
    for name, one in (("unsloth", ours), ("transformers", theirs)):
        if one.get("grpo"):
            found[f"{name}: KL at the start"] = abs(one["grpo"][0]["kl"]), KL_START
    if ours.get("states"):
        found["unsloth: probes that left checkpointing off"] = (
            sum(not s["checkpointing"] for s in ours["states"]),
            0,
        )
        found["unsloth: stale copies of the adapter after a probe"] = (
            max(s["copies"] for s in ours["states"]),
            0,
        )
    if ours.get("policy") and again.get("policy"):
        found["adapter reloaded elsewhere: policy apart"] = (
            _mean_apart(ours["policy"], again["policy"]),
            POLICY,
        )
    return {
        name: {"found": round(value, 5), "bound": bound, "holds": value <= bound}
        for name, (value, bound) in found.items()
    }


def _steps(
    ours: dict[str, Any], theirs: dict[str, Any], stage: str
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    return zip(ours.get(stage, []), theirs.get(stage, []), strict=False)


def _apart(a: dict[str, Any], b: dict[str, Any]) -> float:
    return abs(a["grad_norm"] - b["grad_norm"]) / max(b["grad_norm"], 1e-9)


def _mean_apart(a: list[float], b: list[float]) -> float:
    return sum(abs(x - y) for x, y in zip(a, b, strict=True)) / len(a)

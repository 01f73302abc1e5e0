"""The probe: labelled pairs that the policy judges in both orders during training. Nothing is tuned on
them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rmr1_lite.config import TrainConfig
from rmr1_lite.evaluation.metrics import score
from rmr1_lite.judging.factory import judge_in_memory
from rmr1_lite.judging.judge import Judge
from rmr1_lite.models.loaded import Loaded
from rmr1_lite.types import InputError, Pair

PROBE_FIGURES = ("strict_accuracy", "accuracy", "flip_rate", "unparsed")


def make_probe(
    loaded: Loaded, style: str, pairs: Sequence[Pair], config: TrainConfig
) -> Callable[[], dict[str, float]] | None:
    """A function that judges `pairs` greedily in both orders with the model in its current state."""
    if not pairs:
        return None
    judge = policy_judge(loaded, style, config)

    def figures() -> dict[str, float]:
        result = score("probe", pairs, judge.compare_many(pairs, progress=False), 0.0)
        long = result.statuses.get("too_long", 0.0)
        if long:
            print(f"Probe: {long:.0%} of the prompts are too long for this training and count as wrong.")
        return {name: getattr(result, name) for name in PROBE_FIGURES} | ({"too_long": long} if long else {})

    return figures


def policy_judge(loaded: Loaded, style: str, config: TrainConfig) -> Judge:
    """The model in its current state, as a greedy judge."""
    return judge_in_memory(loaded, style, "policy", config.max_new_tokens)


def read_probe_pairs(config: TrainConfig) -> list[Pair]:
    """The first labelled pairs of the probe file."""
    from rmr1_lite.data.pairs import read_pairs

    if not config.probe:
        return []
    pairs = [pair for pair in read_pairs(config.probe).pairs if pair.label]
    if not pairs:
        raise InputError(f"{config.probe}: no labelled pairs for the probe. Give labelled pairs or no probe.")
    return pairs[: config.probe_pairs]

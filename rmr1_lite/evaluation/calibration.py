"""Does a judge know when it is wrong? Confidence against accuracy: reliability by bins and the expected
calibration error.

A pair's probability is that its response A is the better one, in [0, 1], from either source: the
share of its votes, or the log-probability of its letter. The judge's answer is the more likely response, its
confidence that probability or one minus it, in [0.5, 1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from rmr1_lite.evaluation.bootstrap import draw_counts, interval
from rmr1_lite.evaluation.metrics import known_fields
from rmr1_lite.types import InputError, Judgment, Pair

BINS = 5  # each 0.1 wide, from 0.5 to 1
RESAMPLES = 2000


@dataclass(frozen=True)
class ReliabilityBin:
    """Pairs whose confidence lies in [low, high); confidence and accuracy are their means, None for an empty
    bin."""

    low: float
    high: float
    n: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Calibration:
    """n: pairs with a probability. left_out: the others. accuracy, confidence: means over pairs.

    ece: sum over bins of their share times |accuracy - confidence|, with 95 % bounds. It is never negative,
    so even a perfectly calibrated judge shows some on few pairs.
    """

    n: int
    left_out: int
    accuracy: float
    confidence: float
    ece: float
    ece_low: float
    ece_high: float
    bins: tuple[ReliabilityBin, ...]

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Calibration:
        """The inverse of `dataclasses.asdict`."""
        bins = tuple(ReliabilityBin(**known_fields(ReliabilityBin, part)) for part in row["bins"])
        return cls(**{**known_fields(cls, row), "bins": bins})


def vote_probabilities(judgments: Sequence[Judgment]) -> dict[str, float]:
    """Share of the parsed looks that name A, over both orders; pairs without a parsed look are left
    out."""
    votes = {judgment.pair_id: judgment.votes for judgment in judgments}
    return {
        name: count["A"] / (count["A"] + count["B"])
        for name, count in votes.items()
        if count["A"] + count["B"]
    }


def compute_calibration(
    pairs: Sequence[Pair], probabilities: Mapping[str, float], seed: int = 0
) -> Calibration:
    """Confidence against accuracy over the labelled pairs that have a probability.

    At exactly 0.5 the answer counts as half right, with confidence 0.5. The interval of the error is a
    bootstrap over pairs and shows how much of it is noise.
    """
    known = [pair for pair in pairs if pair.label and pair.id in probabilities]
    if not known:
        raise InputError(
            "No labelled pair has a probability: there is no confidence to check. Finish the evaluation "
            "first."
        )
    rows = [_confidence_and_right(pair, probabilities[pair.id]) for pair in known]
    low, high = _error_interval(rows, seed)
    confidence, right = (sum(row[i] for row in rows) / len(rows) for i in (0, 1))
    return Calibration(
        n=len(rows),
        left_out=len(pairs) - len(rows),
        accuracy=right,
        confidence=confidence,
        ece=_expected_error(rows),
        ece_low=low,
        ece_high=high,
        bins=_reliability_bins(rows),
    )


def _confidence_and_right(pair: Pair, probability: float) -> tuple[float, float]:
    """(confidence, right)."""
    if probability == 0.5:
        return 0.5, 0.5
    return max(probability, 1 - probability), float(("A" if probability > 0.5 else "B") == pair.label)


def _bin_index(confidence: float) -> int:
    return min(BINS - 1, int((confidence - 0.5) * 2 * BINS + 1e-9))


def _reliability_bins(rows: Sequence[tuple[float, float]]) -> tuple[ReliabilityBin, ...]:
    made = []
    for index in range(BINS):
        inside = [row for row in rows if _bin_index(row[0]) == index]
        means = [sum(row[i] for row in inside) / len(inside) if inside else None for i in (0, 1)]
        low, high = 0.5 + index / (2 * BINS), 0.5 + (index + 1) / (2 * BINS)
        made.append(ReliabilityBin(low, high, len(inside), *means))
    return tuple(made)


def _expected_error(rows: Sequence[tuple[float, float]]) -> float:
    gaps = [0.0] * BINS
    for confidence, right in rows:
        gaps[_bin_index(confidence)] += right - confidence
    return sum(map(abs, gaps)) / len(rows)


def _error_interval(rows: Sequence[tuple[float, float]], seed: int) -> tuple[float, float]:
    """Percentile bootstrap over pairs: how many come from each bin, then which of its pairs."""
    bins: dict[int, list[float]] = {}
    for confidence, right in rows:
        bins.setdefault(_bin_index(confidence), []).append(right - confidence)
    gaps, rng = list(bins.values()), Random(seed)

    def drawn_error() -> float:
        counts = draw_counts(rng, [len(held) for held in gaps])
        return sum(abs(sum(rng.choices(held, k=k))) for held, k in zip(gaps, counts, strict=True)) / len(rows)

    return interval([drawn_error() for _ in range(RESAMPLES)])

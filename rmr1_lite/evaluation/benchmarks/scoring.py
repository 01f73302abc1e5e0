"""A benchmark's own scores with 95 % intervals, and how many items a narrower interval would need.

Intervals: percentile bootstrap that resamples items within their stratum, so pairs of one question
stay together and the strata keep their sizes. Where nearly all items agree a bootstrap is too narrow or has
no width; Wilson's interval on the number of items replaces it, as in `rmr1_lite.evaluation.intervals`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

from rmr1_lite.evaluation.benchmarks.base import (
    Benchmark,
    Calls,
    ScoreRule,
    scores_by_stratum,
    stratum_weights,
    weighted_mean,
)
from rmr1_lite.evaluation.bootstrap import draw_counts, interval
from rmr1_lite.evaluation.intervals import ENOUGH, wilson_interval
from rmr1_lite.evaluation.metrics import known_fields
from rmr1_lite.types import Judgment, Pair

RESAMPLES = 4000
POINTS = (1, 2, 3)


@dataclass(frozen=True)
class OwnScore:
    """One of the benchmark's own scores. value in [0, 1]; low and high are None where a stratum has one item
    only.

    items: counted in it. partial: the data holds only some of its strata.
    """

    value: float
    low: float | None
    high: float | None
    items: int
    partial: bool


@dataclass(frozen=True)
class BenchmarkScores:
    """A judge in a benchmark's own convention. rule: in words. main: the score to compare judges by.

    needed: points -> items for an interval of plus or minus that many points around the main score, at the
    same mixture.
    """

    benchmark: str
    rule: str
    main: str
    items: int
    scores: Mapping[str, OwnScore]
    needed: Mapping[str, int]

    @property
    def main_score(self) -> OwnScore:
        return self.scores[self.main]

    def to_json(self) -> dict[str, Any]:
        """As results.json holds it, with the scores under "figures"."""
        row = asdict(self)
        scores = row.pop("scores")
        return {**row, "figures": scores}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> BenchmarkScores:
        """The inverse of `to_json`."""
        scores = {name: OwnScore(**known_fields(OwnScore, score)) for name, score in row["figures"].items()}
        return cls(**{**known_fields(cls, row), "scores": scores})


def own_scores(
    benchmark: Benchmark, pairs: Sequence[Pair], judgments: Iterable[Judgment], seed: int
) -> BenchmarkScores:
    """All of the benchmark's own scores that the data has items for. seed: of the one order in which a pair
    is shown."""
    items = benchmark.items(pairs, Calls(judgments, seed))
    scores = {}
    for rule in benchmark.scores(sorted({item.stratum for item in items})):
        share = weighted_mean(rule, items)
        if share is not None:
            scores[rule.name] = _own_score(rule, share, scores_by_stratum(rule, items), seed)
    main = scores.get(benchmark.main)
    return BenchmarkScores(
        benchmark.name, benchmark.rule, benchmark.main, len(items), scores, items_needed(main) if main else {}
    )


def _own_score(rule: ScoreRule, share: float, groups: Mapping[str, Sequence[float]], seed: int) -> OwnScore:
    low, high = weighted_mean_interval(list(groups.values()), stratum_weights(rule, groups), share, seed)
    return OwnScore(share, low, high, sum(map(len, groups.values())), len(groups) < len(rule.strata))


def weighted_mean_interval(
    groups: Sequence[Sequence[float]], parts: Sequence[float], share: float, seed: int
) -> tuple[float | None, float | None]:
    """95 % bounds of the weighted mean of the groups' means; (None, None) where a group has a single item."""
    if min(map(len, groups)) < 2:
        return None, None
    scores = Counter(score for group in groups for score in group)
    n = scores.total()
    if n - scores.most_common(1)[0][1] < ENOUGH:
        return wilson_interval(share * n, n)
    # (part of the whole, score -> how many items have it) of every group
    strata = [(part, sorted(Counter(group).items())) for part, group in zip(parts, groups, strict=True)]
    rng = Random(seed)
    return interval([sum(part * _drawn_mean(rng, held) for part, held in strata) for _ in range(RESAMPLES)])


def _drawn_mean(rng: Random, held: Sequence[tuple[float, int]]) -> float:
    """The mean of a group's scores, resampled with replacement."""
    times = [count for _, count in held]
    drawn = draw_counts(rng, times)
    return sum(count * score for count, (score, _) in zip(drawn, held, strict=True)) / sum(times)


def items_needed(score: OwnScore) -> dict[str, int]:
    """Items for +-1, 2 and 3 points: the interval's half width shrinks with the square root of their
    number."""
    if score.low is None or score.high is None:
        return {}
    half = (score.high - score.low) / 2
    return {str(points): math.ceil(score.items * (100 * half / points) ** 2) for points in POINTS}


def draw_subset(pairs: Sequence[Pair], limit: int, seed: int) -> list[Pair]:
    """About `limit` questions drawn by the seed, the same share of every section (at least two, or all there
    are); a question's pairs stay together and keep their order."""
    import random

    sections: dict[str, list[str]] = {}
    for pair in pairs:
        sections.setdefault(pair.section, [])
        sections[pair.section].append(pair.meta["item"])
    names = {section: list(dict.fromkeys(items)) for section, items in sections.items()}
    total = sum(map(len, names.values()))
    kept: set[tuple[str, str]] = set()
    for section, items in names.items():
        count = min(len(items), max(2, round(limit * len(items) / total)))
        kept |= {(section, item) for item in random.Random(f"subset/{seed}/{section}").sample(items, count)}
    return [pair for pair in pairs if (pair.section, pair.meta["item"]) in kept]

"""A suite's own figures with 95 % intervals, and how many items a narrower interval would take.

Intervals: percentile bootstrap (scipy) that resamples items within their stratum, so pairs of one question stay together and
the strata keep their sizes. Where nearly all items agree a bootstrap is too narrow or has no width; Wilson's interval on
the number of items stands in, as in `rmr1_lite.intervals`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rmr1_lite.intervals import ENOUGH, wilson
from rmr1_lite.suites.base import Calls, Figure, Suite, present, value, weights
from rmr1_lite.types import Judgment, Pair

RESAMPLES = 4000
POINTS = (1, 2, 3)


def own_figures(suite: Suite, pairs: Sequence[Pair], judgments: Iterable[Judgment], seed: int) -> dict[str, Any]:
    """{"rule", "main", "items", "figures": {name: {"value", "low", "high", "items", "partial"}}, "needed": {points: items}}.

    partial: the data holds only some of the figure's strata. low and high are None where a stratum has one item only.
    needed: items for an interval of so many points up and down around the main figure, at the same mixture.
    """
    items = suite.items(pairs, Calls(judgments, seed))
    figures = {}
    for figure in suite.figures(sorted({item.stratum for item in items})):
        share = value(figure, items)
        if share is not None:
            figures[figure.name] = _row(figure, share, present(figure, items), seed)
    main = figures.get(suite.main)
    return {"benchmark": suite.name, "rule": suite.rule, "main": suite.main, "items": len(items), "figures": figures,
            "needed": needed(main) if main else {}}  # fmt: skip


def _row(figure: Figure, share: float, groups: Mapping[str, Sequence[float]], seed: int) -> dict[str, Any]:
    low, high = interval(list(groups.values()), weights(figure, groups), share, seed)
    return {"value": share, "low": low, "high": high, "items": sum(map(len, groups.values())),
            "partial": len(groups) < len(figure.strata)}  # fmt: skip


def interval(
    groups: Sequence[Sequence[float]], parts: Sequence[float], share: float, seed: int
) -> tuple[float | None, float | None]:
    """95 % bounds of the weighted mean of the groups' means; (None, None) where a group has a single item."""
    import numpy as np
    from scipy.stats import bootstrap

    if min(map(len, groups)) < 2:
        return None, None
    scores = Counter(score for group in groups for score in group)
    n = scores.total()
    if n - scores.most_common(1)[0][1] < ENOUGH:
        return wilson(share * n, n)

    def mean(*samples: Any, axis: int) -> Any:
        return sum(part * np.mean(sample, axis=axis) for part, sample in zip(parts, samples, strict=True))

    found = bootstrap([np.asarray(group) for group in groups], mean, n_resamples=RESAMPLES, batch=200, vectorized=True,
                      method="percentile", rng=np.random.default_rng(seed)).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)


def needed(row: Mapping[str, Any]) -> dict[str, int]:
    """Items for +-1, 2 and 3 points: the interval's half width shrinks with the root of their number."""
    if row["low"] is None:
        return {}
    half = (row["high"] - row["low"]) / 2
    return {str(points): math.ceil(row["items"] * (100 * half / points) ** 2) for points in POINTS}


def subset(pairs: Sequence[Pair], limit: int, seed: int) -> list[Pair]:
    """About `limit` questions drawn by the seed, the same share of every section (two at least, or all there are); a
    question's pairs stay together and keep their order."""
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

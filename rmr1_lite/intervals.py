"""95 % intervals and the exact test, for judgments that come two to a pair.

Why three kinds. A proportion over pairs (strict accuracy, flip rate) has independent trials: Wilson's score interval,
which stays inside [0, 1] and keeps a width at 0 and 1. The two looks at one pair share everything but the order, so a
mean over looks (accuracy, unparsed, A-share) resamples whole pairs. Two judges on the same pairs differ only where
they disagree, so their difference takes Newcombe's interval for matched pairs and McNemar's exact test.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

RESAMPLES = 10_000


def wilson(count: float, n: int) -> tuple[float, float]:
    """Wilson's score interval of the proportion count / n."""
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(count, n, alpha=0.05, method="wilson")
    # rounding must not push a bound past the share it belongs to
    return max(0.0, min(float(low), count / n)), min(1.0, max(float(high), count / n))


def clustered(counts: Sequence[tuple[float, float]], seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap of sum(x) / sum(y) over pairs, each a cluster (x, y); (nan, nan) when every y is 0.

    Drawing n pairs with replacement is drawing how often each *distinct* (x, y) comes up: a multinomial. That is the
    same distribution and costs nothing at 20,000 pairs. Where all pairs agree the bootstrap has no width, which would
    claim certainty: Wilson's interval on the number of pairs is used instead.
    """
    import numpy as np

    rows, times = np.unique(np.asarray(counts, dtype=float), axis=0, return_counts=True)
    if not rows[:, 1].any():
        return math.nan, math.nan
    drawn = np.random.default_rng(seed).multinomial(times.sum(), times / times.sum(), size=RESAMPLES)
    top, bottom = drawn @ rows[:, 0], drawn @ rows[:, 1]
    low, high = np.quantile(top[bottom > 0] / bottom[bottom > 0], (0.025, 0.975))
    if high - low > 1e-12:
        return float(low), float(high)
    with_data = int(times[rows[:, 1] > 0].sum())
    return wilson(float(low) * with_data, with_data)


def newcombe_paired(both: int, only_first: int, only_second: int, neither: int) -> tuple[float, float]:
    """Newcombe's hybrid score interval for p(second) - p(first) on matched pairs (1998, method 10).

    The Wilson bounds of the two proportions are combined like the sides of a triangle whose angle is the correlation
    phi between the judges: high agreement makes the interval narrow.
    """
    n = both + only_first + only_second + neither
    p1, p2 = (both + only_first) / n, (both + only_second) / n
    (low1, high1), (low2, high2) = wilson(both + only_first, n), wilson(both + only_second, n)
    phi = _phi(both, only_first, only_second, neither)
    return p2 - p1 - _side(p2 - low2, high1 - p1, phi), p2 - p1 + _side(high2 - p2, p1 - low1, phi)


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Two-sided exact McNemar p: would pairs on which the judges differ split this unevenly by a fair coin?"""
    from statsmodels.stats.contingency_tables import mcnemar

    if only_first + only_second == 0:
        return 1.0
    return float(mcnemar([[0, only_first], [only_second, 0]], exact=True).pvalue)


def _phi(a: int, b: int, c: int, d: int) -> float:
    """Correlation of two yes/no columns; a positive one is shrunk by half a pair, as Newcombe's method 10 does."""
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    if margins == 0:
        return 0.0
    cross = a * d - b * c
    return (cross if cross < 0 else max(cross - (a + b + c + d) / 2, 0)) / math.sqrt(margins)


def _side(x: float, y: float, phi: float) -> float:
    return math.sqrt(max(x * x - 2 * phi * x * y + y * y, 0.0))

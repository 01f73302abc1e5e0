"""95 % intervals (or another given level) and the exact test, for judgments that come in two per pair.

Why four kinds. A proportion over pairs (strict accuracy, flip rate) has independent trials: Wilson's score
interval, which stays inside [0, 1] and has a width at 0 and 1. The two looks at one pair share everything
but the order, so a mean over looks (accuracy, unparsed, A-share) resamples whole pairs. Two judges on the
same pairs differ only where they disagree, so their difference takes Newcombe's interval for matched pairs
and McNemar's exact test. The effect of a change of the pair on one judge (which way a verdict moved, if at
all) has a separate interval that stays valid when few verdicts move.

    wilson_interval(81, 263)  # (0.2553, 0.3662)
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from random import Random
from statistics import NormalDist

from rmr1_lite.evaluation.bootstrap import draw_counts, interval

Z = NormalDist().inv_cdf(0.975)
RESAMPLES = 10_000
ENOUGH = 10  # pairs


def wilson_interval(count: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of the share count / n; `count` need not be an integer."""
    z = Z if level == 0.95 else NormalDist().inv_cdf((1 + level) / 2)
    share, weight = count / n, z * z / n
    centre = (share + weight / 2) / (1 + weight)
    half = math.sqrt(share * (1 - share) * weight + weight * weight / 4) / (1 + weight)
    # rounding must not push a bound past the share it belongs to
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


def clustered_interval(counts: Sequence[tuple[float, float]], seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap of sum(x) / sum(y) over pairs, each a cluster (x, y); (nan, nan) when every y is
    0.

    Drawing n pairs with replacement is drawing how often each *distinct* (x, y) comes up: a multinomial. That
    is the same distribution and costs nothing at 20,000 pairs.

    A bootstrap knows only the spread it sees. With fewer than `ENOUGH` pairs off the common value it is too
    narrow (its upper bound is below a true unparsed share of 0.5 % in 11 % of sets of 400 pairs, not in 2.5
    %), and with none it has no width at all. There, Wilson's interval on the number of pairs replaces it,
    slightly too wide.
    """
    # sorted: the order of the pairs must not change what a seed gives
    found = sorted(Counter((x, y) for x, y in counts if y > 0).items())
    if not found:
        return math.nan, math.nan
    rows, times = [row for row, _ in found], [count for _, count in found]
    n = sum(times)
    if n - max(times) < ENOUGH:
        return wilson_interval(_ratio(rows, times) * n, n)
    rng = Random(seed)
    return interval([_ratio(rows, draw_counts(rng, times)) for _ in range(RESAMPLES)])


def _ratio(rows: Sequence[tuple[float, float]], times: Sequence[int]) -> float:
    """sum(x) / sum(y)."""
    return sum(c * x for c, (x, _) in zip(times, rows, strict=True)) / sum(
        c * y for c, (_, y) in zip(times, rows, strict=True)
    )


def newcombe_paired(both: int, only_first: int, only_second: int, neither: int) -> tuple[float, float]:
    """Newcombe's hybrid score interval for p(second) - p(first) on matched pairs (1998, method 10).

    The Wilson bounds of the two proportions are combined like the sides of a triangle whose angle is the
    correlation phi between the judges: high agreement makes the interval narrow.
    """
    n = both + only_first + only_second + neither
    p1, p2 = (both + only_first) / n, (both + only_second) / n
    (low1, high1), (low2, high2) = (
        wilson_interval(both + only_first, n),
        wilson_interval(both + only_second, n),
    )
    phi = _phi(both, only_first, only_second, neither)
    return p2 - p1 - _side(p2 - low2, high1 - p1, phi), p2 - p1 + _side(high2 - p2, p1 - low1, phi)


def moved_interval(towards: int, away: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Bounds of (towards - away) / n, where each of n units moved one way, the other way, or not at all.

    Of the units that moved, Clopper-Pearson bounds the share that moved `towards`; Wilson bounds the share
    that moved. The product uses the latter's bound that makes it wider, so the interval is slightly too
    wide. It excludes 0 exactly when the two-sided sign test rejects at 1 - level, even with a handful of
    moves and at the levels that a family of intervals needs, where a bootstrap and a normal approximation
    promise too much.
    """
    moved = towards + away
    low, high = (2 * p - 1 for p in clopper_pearson(towards, moved, level)) if moved else (-1.0, 1.0)
    fewest, most = wilson_interval(moved, n, level)
    return low * (most if low < 0 else fewest), high * (most if high > 0 else fewest)


def clopper_pearson(count: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Clopper and Pearson's exact bounds of the share count / n: at the lower one as many or more, at the
    upper one as few or fewer have the probability (1 - level) / 2."""
    tail = (1 - level) / 2
    return _least_share(count, n, tail), 1 - _least_share(n - count, n, tail)


def _least_share(count: int, n: int, tail: float) -> float:
    """The share at which `count` or more of n have the probability `tail`, by halving; 0 for none."""
    low, high = 0.0, count / n
    while high - low > 1e-15:
        share = (low + high) / 2
        if not low < share < high:
            break
        low, high = (low, share) if _at_least(count, n, share) > tail else (share, high)
    return high


def _at_least(count: int, n: int, share: float) -> float:
    """Probability of `count` successes or more in n trials."""
    if share <= 0 or share >= 1:
        return float(count == 0 or share >= 1)
    odds, none = math.log(share) - math.log1p(-share), n * math.log1p(-share)
    return math.fsum(math.exp(none + k * odds + _log_ways(n, k)) for k in range(count, n + 1))


def _log_ways(n: int, k: int) -> float:
    """Log of n over k."""
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def most_by_chance(n: int, share: float, level: float = 0.975) -> int:
    """The count that n trials of this share stay at or below with at least the probability `level`."""
    return next(k for k in range(n + 1) if k == n or _at_least(k + 1, n, share) <= 1 - level)


def least_moved(level: float) -> int:
    """How many units must have moved, all of them one way, before `moved_interval` excludes 0."""
    return math.floor(math.log2(2 / (1 - level))) + 1


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Two-sided exact McNemar p: would pairs on which the judges differ split this unevenly by a fair
    coin?"""
    differ, fewer = only_first + only_second, min(only_first, only_second)
    # both tails of a fair coin are equal, and integers are exact; an even split is in both tails
    return min(1.0, 2 * sum(math.comb(differ, k) for k in range(fewer + 1)) / 2**differ)


def _phi(a: int, b: int, c: int, d: int) -> float:
    """Correlation of two yes/no columns; a positive one is shrunk by half a pair, as Newcombe's method 10
    does."""
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    if margins == 0:
        return 0.0
    cross = a * d - b * c
    return (cross if cross < 0 else max(cross - (a + b + c + d) / 2, 0)) / math.sqrt(margins)


def _side(x: float, y: float, phi: float) -> float:
    return math.sqrt(max(x * x - 2 * phi * x * y + y * y, 0.0))

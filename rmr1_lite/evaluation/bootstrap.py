"""Percentile bootstrap with only the standard library, so that an installation for endpoints and logs has
every interval without 70 MB of numpy and twice that for scipy, and every installation gets the same ones.

Drawing n items with replacement is drawing how often each *distinct* value comes up: a multinomial, which is
a chain of binomials. A binomial is drawn with words of random bits, one bit per item, so its cost
hardly grows with the number of items.

    rng = random.Random(0)
    interval([statistic(draw_counts(rng, times)) for _ in range(4000)])  # (low, high)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

DIGITS = 20  # binary digits of a probability: the error, 5e-7, is far below the noise of any resampling
COVERED = (0.025, 0.975)


def draw_counts(rng: Random, times: Sequence[int]) -> list[int]:
    """How often each value comes up in a resample of the same size. times: of each value."""
    items = left = sum(times)
    counts = []
    for each in times[:-1]:
        counts.append(_draw_binomial(rng, left, each / items) if left and items else 0)
        left, items = left - counts[-1], items - each
    return [*counts, left]


def _draw_binomial(rng: Random, n: int, share: float) -> int:
    """Successes in n trials. Bit i of the word is trial i: is its uniform number below the share? Binary
    digits are drawn from the last to the first, and an earlier one decides unless it is that of the share."""
    digits, word = round(share * 2**DIGITS), 0
    if digits >> DIGITS:
        return n
    for place in range(DIGITS):
        drawn = rng.getrandbits(n)
        word = word | drawn if digits >> place & 1 else word & drawn
    return word.bit_count()


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The central 95 % of resampled values."""
    ordered = sorted(values)
    low, high = (_quantile(ordered, share) for share in COVERED)
    return low, high


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Linear between the two nearest values, like numpy's default."""
    place = (len(ordered) - 1) * share
    before = math.floor(place)
    after = min(before + 1, len(ordered) - 1)
    return ordered[before] + (place - before) * (ordered[after] - ordered[before])

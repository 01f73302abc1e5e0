"""The interval that may be inspected after every value."""

from __future__ import annotations

import random

import pytest

from rmr1_lite.evaluation.sequential import BettingInterval

DRAWS = [
    # reason, shares of 1, one half and 0
    ("wide spread at one half", (0.5, 0.0, 0.5)),
    ("mostly level", (0.1, 0.8, 0.1)),
    ("mostly wins", (0.8, 0.1, 0.1)),
]


def missed(shares: tuple[float, float, float], n: int, seed: int) -> bool:
    """Whether the interval excluded the true mean at any of n moments."""
    rng, interval, mean = random.Random(seed), BettingInterval(), shares[0] + shares[1] / 2
    for value in rng.choices((1.0, 0.5, 0.0), shares, k=n):
        low, high = interval.add(value)
        if not low <= mean <= high:
            return True
    return False


@pytest.mark.parametrize(("reason", "shares"), DRAWS, ids=[row[0] for row in DRAWS])
def test_it_seldom_leaves_out_the_mean_at_any_moment(reason: str, shares: tuple[float, float, float]) -> None:
    misses = sum(missed(shares, 60, seed) for seed in range(40))
    assert misses <= 5, f"{reason}: 5 % of 40 are 2, more than 5 happen in 1.4 % of runs"


def test_it_narrows_never_widens_and_finds_a_clear_mean() -> None:
    interval, widths = BettingInterval(), []
    for _ in range(80):
        low, high = interval.add(1.0)
        widths.append(high - low)
    assert low > 0.85 and high >= 1.0 and widths == sorted(widths, reverse=True)
    with pytest.raises(ValueError, match="outside"):
        interval.add(1.5)

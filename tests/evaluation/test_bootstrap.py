"""Resampling with the standard library: the distribution that numpy draws from, and its quantiles."""

from __future__ import annotations

import random

import numpy as np
import pytest
from scipy.stats import binomtest

from rmr1_lite.evaluation.bootstrap import draw_counts, interval
from rmr1_lite.evaluation.intervals import RESAMPLES, clopper_pearson, clustered_interval, mcnemar_p

TIMES = [
    ([400], "one value: nothing varies"),
    ([200, 200], "a fair coin"),
    ([399, 1], "a rare value"),
    ([3, 0, 7], "a value that never occurs"),
    ([40, 1, 300, 59], "several"),
]


@pytest.mark.parametrize(("times", "reason"), TIMES, ids=[row[-1] for row in TIMES])
def test_counts_have_the_moments_of_a_multinomial(times, reason):
    n, rng = sum(times), random.Random(7)
    drawn = np.array([draw_counts(rng, times) for _ in range(4000)])
    shares = np.array(times) / n
    assert (drawn.sum(axis=1) == n).all() and not drawn[:, shares == 0].any()
    wanted = n * (np.diag(shares) - np.outer(shares, shares))
    noise = 5 * np.sqrt(n / 4000)
    assert drawn.mean(axis=0) == pytest.approx(n * shares, abs=noise)
    assert np.cov(drawn.T).reshape(wanted.shape) == pytest.approx(wanted, rel=0.15, abs=noise)


def test_quantiles_are_numpys():
    values = [random.Random(3).random() for _ in range(101)]
    for some in (values, values[:2], values[:1]):
        assert interval(some) == pytest.approx(np.quantile(some, (0.025, 0.975)))


def test_an_interval_is_what_a_long_resampling_by_numpy_gives():
    rows = [(2, 2)] * 200 + [(1, 2)] * 100 + [(0, 2)] * 100
    drawn = np.random.default_rng(0).multinomial(400, [0.5, 0.25, 0.25], size=400_000)
    wanted = np.quantile((drawn @ [2, 1, 0]) / 800, (0.025, 0.975))
    assert RESAMPLES >= 10_000 and clustered_interval(rows) == pytest.approx(wanted, abs=0.002)
    assert clustered_interval(rows) == clustered_interval(rows[::-1]), "the order of the pairs says nothing"


def test_mcnemar_is_scipys_exact_test():
    for first in range(25):
        for second in range(25):
            wanted = binomtest(first, first + second).pvalue if first + second else 1.0
            assert mcnemar_p(first, second) == pytest.approx(wanted, abs=1e-12)
    assert mcnemar_p(2900, 3100) == pytest.approx(binomtest(2900, 6000).pvalue, rel=1e-9)


def test_exact_bounds_of_a_share_are_scipys():
    for count, n, level in ((0, 7, 0.95), (7, 7, 0.95), (3, 10, 0.95), (60, 400, 0.99), (1, 900, 0.95)):
        wanted = binomtest(count, n).proportion_ci(level, method="exact")
        assert clopper_pearson(count, n, level) == pytest.approx(tuple(wanted), abs=1e-11)

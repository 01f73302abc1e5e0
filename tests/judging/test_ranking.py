"""Ranking many responses: both orders, tied places, and never a winner that the looks do not name."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from fixtures.scripted import UNREADABLE, A, B, Scripted
from hypothesis import given, settings
from hypothesis import strategies as st

from rmr1_lite.judging.engines.base import Request
from rmr1_lite.judging.judge import Judge
from rmr1_lite.judging.ranking import bradley_terry, compute_ranking, round_robin
from rmr1_lite.types import Generation, InputError, Judgment, Look, Verdict


def judged(wins: dict[tuple[int, int], str], n: int) -> list[Judgment]:
    """Judgments of a round robin; wins[i, j] lists the looks: A for i, B for j, - for none."""

    def look(letter: str) -> Look:
        label = None if letter == "-" else letter
        return Look("ab", Generation(""), Verdict(label, "ok" if label else "missing"))

    pairs = round_robin("q", ["r"] * n)
    return [Judgment(p.id, tuple(map(look, wins[tuple(map(int, p.id.split("-")))]))) for p in pairs]


RANKINGS = {
    # name: (looks, places, best, connected)
    "clear": ({(0, 1): "BB", (0, 2): "AA", (1, 2): "AA"}, ((1,), (0,), (2,)), 1, True),
    "every look flips": ({(0, 1): "AB", (0, 2): "AB", (1, 2): "AB"}, ((0, 1, 2),), None, True),
    "a circle": ({(0, 1): "AA", (0, 2): "BB", (1, 2): "AA"}, ((0, 1, 2),), None, True),
    "two share the top": ({(0, 1): "AB", (0, 2): "AA", (1, 2): "AA"}, ((0, 1), (2,)), None, True),
    "nothing read": ({(0, 1): "--", (0, 2): "--", (1, 2): "--"}, (), None, False),
    "one never read": ({(0, 1): "AA", (0, 2): "--", (1, 2): "--"}, ((0,), (1,)), None, False),
    "some looks unread": ({(0, 1): "A-", (0, 2): "A-", (1, 2): "--"}, ((0,), (1, 2)), 0, True),
}


@pytest.mark.parametrize(("wins", "places", "best", "connected"), RANKINGS.values(), ids=RANKINGS)
def test_ranking(wins: Any, places: Any, best: int | None, connected: bool) -> None:
    found = compute_ranking(3, judged(wins, 3))
    assert (found.places, found.best, found.connected) == (places, best, connected)
    assert found.unread == sum(letters.count("-") for letters in wins.values())
    assert sum(map(sum, found.wins)) + found.unread == 6


def test_judge_ranks_with_both_orders() -> None:
    """The best text is the one with most exclamation marks, wherever it is shown."""

    def loud(request: Request) -> str:
        first, second = request.messages[-1]["content"].split("Chatbot B's Response]", 1)
        return (
            UNREADABLE
            if first.count("!") == second.count("!")
            else A
            if first.count("!") > second.count("!")
            else B
        )

    engine = Scripted(loud)
    found = Judge(engine).rank("Hi?", ["a!", "b!!!", "c", "d!!", "e!"])
    assert found.places == ((1,), (3,), (0, 4), (2,)) and found.best == 1 and found.unread == 2
    assert Counter(order for _, order, _ in engine.asked) == {"ab": 10, "ba": 10}
    assert Judge(Scripted(lambda r: A)).rank("Hi?", ["a", "b", "c"]).best is None, (
        "a position is not a winner"
    )
    with pytest.raises(InputError, match="at least two"):
        Judge(engine).rank("Hi?", ["alone"])


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 4), min_size=4, max_size=4), min_size=4, max_size=4),
    st.permutations(range(4)),
)
def test_scores_do_not_depend_on_the_numbering(wins: list[list[int]], order: list[int]) -> None:
    wins = [[0 if i == j else w for j, w in enumerate(row)] for i, row in enumerate(wins)]
    scores = bradley_terry(wins)
    moved = bradley_terry([[wins[i][j] for j in order] for i in order])
    expected = [scores[i] for i in order]
    assert [s is None for s in moved] == [s is None for s in expected]
    assert all(abs(a - b) < 1e-3 for a, b in zip(moved, expected, strict=True) if a is not None)


def test_empty_responses_keep_their_place_and_play_no_game():
    pairs = round_robin("q", ["", "apple", " ", "brick"])
    assert [pair.id for pair in pairs] == ["1-3"]
    look = Look("ab", Generation(""), Verdict("B", "ok"))
    found = compute_ranking(4, [Judgment("1-3", (look,))])
    assert found.best == 3 and found.connected and found.scores[0] is None and found.places == ((3,), (1,))
    with pytest.raises(InputError, match="1 responses"):
        round_robin("q", ["", "apple"])


def test_scores_are_those_of_a_logistic_regression_with_the_same_ridge() -> None:
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    for n, most in ((2, 1), (3, 4), (5, 100), (12, 2), (2, 5000)):
        wins = rng.integers(0, most + 1, (n, n)) * (rng.random((n, n)) < 0.7)
        wins[0, 1] = most
        np.fill_diagonal(wins, 0)
        games = [(i, j) for i in range(n) for j in range(n) if wins[i, j]]
        ahead = np.array([np.eye(n)[i] - np.eye(n)[j] for i, j in games])
        weights = np.array([wins[game] for game in games]) / 2  # every game from both sides
        fit = LogisticRegression(fit_intercept=False, tol=1e-12, max_iter=10_000)
        fit.fit(
            np.vstack([ahead, -ahead]), [1] * len(games) + [0] * len(games), sample_weight=np.tile(weights, 2)
        )
        found = [0.0 if score is None else score for score in bradley_terry(wins.tolist())]
        assert found == pytest.approx(fit.coef_[0], abs=1e-6)

"""The knockout: few matches, none twice, and no best response if the judge is undecided."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmr1_lite.judging.knockout import Knockout, Match, round_robin_matches, run_knockout


def by_strength(strengths: Sequence[int], near: int = 0) -> Knockout:
    """The stronger one wins; those tied or closer than `near` are undecided."""

    def play(matches: Sequence[Match]) -> list[int | None]:
        def winner(i: int, j: int) -> int | None:
            gap = strengths[i] - strengths[j]
            return None if abs(gap) <= near else i if gap > 0 else j

        return [winner(*match) for match in matches]

    return run_knockout(len(strengths), play)


CASES = [
    # reason, strengths, near, best, matches
    ("two", [1, 2], 0, 1, 1),
    ("eight decided ones take seven matches", [3, 1, 4, 0, 5, 9, 2, 6], 0, 5, 7),
    ("an odd one waits", [1, 2, 3], 0, 2, 2),
    ("two equal ones at the top beat everybody", [5, 5, 1, 2], 0, None, 6),
    ("all are equal: everybody meets everybody", [1, 1, 1, 1], 0, None, 6),
    ("the runner-up is too near to decide, the runoff is not", [9, 8, 7, 1], 1, 0, 4),
]


@pytest.mark.parametrize(("reason", "strengths", "near", "best", "matches"), CASES, ids=[c[0] for c in CASES])
def test_knockouts(reason: str, strengths: list[int], near: int, best: int | None, matches: int) -> None:
    found = by_strength(strengths, near)
    assert (found.best, len(found.matches)) == (best, matches), reason
    assert found.level == ((best,) if best is not None else found.level) and found.level


@given(st.permutations(range(9)))
def test_a_decided_judge_finds_the_best_in_n_minus_1_matches(strengths: list[int]) -> None:
    found = by_strength(strengths)
    assert found.best == strengths.index(8) and len(found.matches) == 8


@given(st.integers(2, 7), st.data())
def test_no_match_is_played_twice_whatever_is_decided(n: int, data: st.DataObject) -> None:
    asked: list[Match] = []

    def play(matches: Sequence[Match]) -> list[int | None]:
        asked.extend(matches)
        return [data.draw(st.sampled_from([i, j, None])) for i, j in matches]

    found = run_knockout(n, play)
    assert len(set(asked)) == len(asked) == len(found.matches) <= round_robin_matches(n)
    assert all(i < j for i, j in asked) and (found.best is None) == (len(found.level) > 1)

"""Which games a group of responses plays, and what the results earn each of them.

A game is two responses before the judge, in both orders or in one. G responses to one prompt cost:

    scheme          reward of a response                                games a prompt
    reference       +1, 0 or -1 against one stored answer               G
    pivot           +1, 0 or -1 against one response of the group,      G - 1
                    which itself earns 0
    round-robin     (wins - losses) / parsed judge calls, over all      G (G - 1) / 2
                    games of the group
    bradley-terry   log-strength fitted to the same games               G (G - 1) / 2

reference works sample by sample, in every trainer. pivot is BRPO's (arXiv 2506.00103): a pivot that is the
best or the worst of its group gives all others the same reward, which teaches nothing. A judge call without
a verdict is no game: a response whose games are all unread has no reward (None), never a guessed one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, get_args

from rmr1_lite.judging.ranking import bradley_terry
from rmr1_lite.types import InputError

Scheme = Literal["reference", "pivot", "round-robin", "bradley-terry"]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
STORED = -1  # the stored answer, in the place of a response's number
Game = tuple[int, int]  # numbers of two responses, or (response, STORED)


@dataclass(frozen=True)
class Result:
    """Judge calls of one game: for its first side, for its second side, and without a verdict."""

    wins: int = 0
    losses: int = 0
    unread: int = 0

    @property
    def net(self) -> float | None:
        """From -1 (lost in every parsed call) to 1; None if none was parsed."""
        parsed = self.wins + self.losses
        return (self.wins - self.losses) / parsed if parsed else None


LEVEL = Result(1, 1)  # equal texts: nobody is asked


def check_scheme(scheme: str) -> Scheme:
    """Raises InputError for an unknown one."""
    for known in SCHEMES:
        if scheme == known:
            return known
    raise InputError(f"There is no scheme {scheme!r:.40}. Give one of {', '.join(SCHEMES)}.")


def plan_games(scheme: Scheme, size: int, pivot: int = 0) -> list[Game]:
    """The games of a group of `size` responses. pivot: the number of the pivot's response."""
    if scheme == "reference":
        return [(place, STORED) for place in range(size)]
    if scheme == "pivot":
        return [(place, pivot) for place in range(size) if place != pivot]
    return list(combinations(range(size), 2))


def judge_calls(scheme: Scheme, size: int, orders: int = 2) -> int:
    """Judge calls for one group of `size` responses, before equal texts and known verdicts are left out."""
    return orders * len(plan_games(scheme, size))


def rewards(scheme: Scheme, size: int, results: Mapping[Game, Result], pivot: int = 0) -> list[float | None]:
    """What each response earns. results: of every game of the plan."""
    if scheme == "reference":
        return [results[place, STORED].net for place in range(size)]
    if scheme == "pivot":
        return [0.0 if place == pivot else results[place, pivot].net for place in range(size)]
    wins = [[0] * size for _ in range(size)]
    for (first, second), result in results.items():
        wins[first][second] += result.wins
        wins[second][first] += result.losses
    return bradley_terry(wins) if scheme == "bradley-terry" else _net_win_rates(wins)


def _net_win_rates(wins: Sequence[Sequence[int]]) -> list[float | None]:
    found: list[float | None] = []
    for place, row in enumerate(wins):
        won, lost = sum(row), sum(other[place] for other in wins)
        found.append((won - lost) / (won + lost) if won + lost else None)
    return found

"""From pairwise judgments to an order of many responses, without ever inventing a winner.

Each parsed look is one game. Bradley-Terry scores are fitted to the games by Newton's method with a ridge,
which keeps the score of an unbeaten response finite; a few dozen responses need no library for that,
so an installation for endpoints can rank too. Tied responses share a place.
Responses that no chain of parsed games connects cannot be compared; then there is no best one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from rmr1_lite.types import InputError, Judgment, Message, Pair

# scores closer than this are tied; the fit is exact to about 1e-9
LEVEL = 1e-3
STEP = 1e-9  # change of a score at which the fit ends


@dataclass(frozen=True)
class Ranking:
    """wins[i][j]: looks that prefer response i to j. unread: unparsed looks.

    scores: Bradley-Terry log-strengths, centred on 0; None for a response without a parsed game.
    places: groups of response numbers, best first, tied ones together; responses without a score are in none.
    connected: every response that was judged is linked to every other one by parsed games.
    """

    wins: tuple[tuple[int, ...], ...]
    unread: int
    scores: tuple[float | None, ...]
    places: tuple[tuple[int, ...], ...]
    connected: bool
    judgments: tuple[Judgment, ...]

    @property
    def best(self) -> int | None:
        """The response ahead of all others; None on a tie, or when the games do not connect all responses."""
        return self.places[0][0] if self.connected and len(self.places[0]) == 1 else None


def round_robin(prompt: str | Sequence[Message], responses: Sequence[str]) -> list[Pair]:
    """Every pair of responses once, with the id "i-j" of their positions in `responses`. Empty ones play no
    game and keep their position."""
    present = [place for place, text in enumerate(responses) if text.strip()]
    if len(present) < 2:
        raise InputError(f"{len(present)} responses cannot be ranked. Give at least two.")
    turns = (Message(role="user", content=prompt),) if isinstance(prompt, str) else tuple(prompt)
    return [Pair(f"{i}-{j}", turns, responses[i], responses[j]) for i, j in combinations(present, 2)]


def compute_ranking(n: int, judgments: Sequence[Judgment]) -> Ranking:
    """The Ranking of n responses from the judgments of their `round_robin`."""
    wins = [[0] * n for _ in range(n)]
    present: set[int] = set()
    for judgment in judgments:
        i, j = map(int, judgment.pair_id.split("-"))
        present |= {i, j}
        wins[i][j] += judgment.votes["A"]
        wins[j][i] += judgment.votes["B"]
    scores = bradley_terry(wins)
    unread = sum(judgment.votes["none"] for judgment in judgments)
    return Ranking(
        tuple(map(tuple, wins)),
        unread,
        tuple(scores),
        _group_places(scores),
        _linked_groups(wins, sorted(present)) == 1,
        tuple(judgments),
    )


def bradley_terry(wins: Sequence[Sequence[int]]) -> list[float | None]:
    """Log-strengths from a win matrix, None for a row that never played; ridge of variance 1 on each
    strength."""
    n = len(wins)
    played = [any(wins[i]) or any(row[i] for row in wins) for i in range(n)]
    scores, step = [0.0] * n, [math.inf] * n
    # strictly convex with bounded curvature: full steps converge from 0, long ones are halved
    while max(map(abs, step), default=0.0) > STEP:
        step = _solve(*_newton_system(wins, scores))
        longest = max(map(abs, step))
        scores = [score + move / max(1.0, longest) for score, move in zip(scores, step, strict=True)]
    return [score if played[k] else None for k, score in enumerate(scores)]


def _newton_system(
    wins: Sequence[Sequence[int]], scores: Sequence[float]
) -> tuple[list[list[float]], list[float]]:
    """(curvature, slope) of the log-posterior at these scores: curvature @ step = slope."""
    n = len(wins)
    curvature = [[float(i == j) for j in range(n)] for i in range(n)]  # the ridge
    slope = [-score for score in scores]
    for i, j in combinations(range(n), 2):
        games = wins[i][j] + wins[j][i]
        expected = 1 / (1 + math.exp(scores[j] - scores[i]))  # that i wins
        slope[i] += wins[i][j] - games * expected
        slope[j] -= wins[i][j] - games * expected
        weight = games * expected * (1 - expected)
        curvature[i][i] += weight
        curvature[j][j] += weight
        curvature[i][j] -= weight
        curvature[j][i] -= weight
    return curvature, slope


def _solve(matrix: list[list[float]], right: list[float]) -> list[float]:
    """x of matrix @ x = right by elimination; the ridge makes the matrix diagonally dominant, so no pivoting
    is needed. Both are overwritten."""
    n = len(right)
    for k in range(n):
        for i in range(k + 1, n):
            if factor := matrix[i][k] / matrix[k][k]:
                matrix[i] = [a - factor * b for a, b in zip(matrix[i], matrix[k], strict=True)]
                right[i] -= factor * right[k]
    for k in reversed(range(n)):
        right[k] = (right[k] - sum(matrix[k][j] * right[j] for j in range(k + 1, n))) / matrix[k][k]
    return right


def _group_places(scores: Sequence[float | None]) -> tuple[tuple[int, ...], ...]:
    known = sorted((-score, k) for k, score in enumerate(scores) if score is not None)
    places: list[list[int]] = []
    last = -math.inf
    for below, k in known:
        if places and below - last < LEVEL:
            places[-1].append(k)
        else:
            places.append([k])
        last = below
    return tuple(map(tuple, places))


def _linked_groups(wins: Sequence[Sequence[int]], present: Sequence[int]) -> int:
    """Groups of the responses that were judged, linked by parsed games; 0 before the first judgment."""
    groups = [{k} for k in present]
    for i, j in combinations(present, 2):
        if wins[i][j] or wins[j][i]:
            joined = set().union(*(group for group in groups if group & {i, j}))
            groups = [group for group in groups if not group & joined] + [joined]
    return len(groups)

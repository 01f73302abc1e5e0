"""From pairwise judgments to an order of many responses, without ever inventing a winner.

Each parsed look is one game. Bradley-Terry scores are fitted to the games by logistic regression with
scikit-learn; its ridge keeps the score of an unbeaten response finite. Tied responses share a place.
Responses that no chain of parsed games connects cannot be compared, so then there is no best one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from rmr1_lite.types import InputError, Judgment, Message, Pair

# scores closer than this are level; the fit is exact to about 1e-6
LEVEL = 1e-3


@dataclass(frozen=True)
class Ranking:
    """wins[i][j]: looks that prefer response i to j. unread: looks without a verdict.

    scores: Bradley-Terry log-strengths, centred on 0; None for a response without a parsed game.
    places: groups of response numbers, best first, tied ones together; unread responses are in none.
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
    """Every pair of responses once, with the id "i-j" of their places in `responses`. Empty ones play no game
    and keep their place."""
    present = [place for place, text in enumerate(responses) if text.strip()]
    if len(present) < 2:
        raise InputError(f"{len(present)} responses cannot be ranked. Give at least two.")
    turns = ({"role": "user", "content": prompt},) if isinstance(prompt, str) else tuple(prompt)
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
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    n = len(wins)
    games = [(i, j) for i in range(n) for j in range(n) if wins[i][j]]
    if not games:
        return [None] * n
    eye = np.eye(n)
    ahead = np.array([eye[i] - eye[j] for i, j in games])
    weights = np.array([wins[i][j] for i, j in games], dtype=float)
    # every game from both sides at half weight: the fit needs both classes, and this way nobody's side is
    # special
    fit = LogisticRegression(fit_intercept=False, tol=1e-8, max_iter=1000)
    fit.fit(np.vstack([ahead, -ahead]), [1] * len(games) + [0] * len(games), np.tile(weights / 2, 2))
    played = {k for game in games for k in game}
    return [float(score) if k in played else None for k, score in enumerate(fit.coef_[0])]


def _group_places(scores: Sequence[float | None]) -> tuple[tuple[int, ...], ...]:
    known = sorted((k for k, score in enumerate(scores) if score is not None), key=lambda k: -scores[k])
    places: list[list[int]] = []
    for k in known:
        if places and scores[places[-1][-1]] - scores[k] < LEVEL:
            places[-1].append(k)
        else:
            places.append([k])
    return tuple(map(tuple, places))


def _linked_groups(wins: Sequence[Sequence[int]], present: Sequence[int]) -> int:
    """Groups of the responses that were judged, linked by parsed games; 0 before the first judgment."""
    import numpy as np
    from scipy.sparse.csgraph import connected_components

    if not present:
        return 0
    return int(connected_components(np.array(wins)[np.ix_(present, present)], directed=False)[0])

"""The best of several responses by a knockout: n - 1 matches if every match is decided, instead of the
n (n - 1) / 2 of a round robin.

Not every match is decided: one whose two orders disagree, or could not be parsed, has no winner, and
none is invented. Both sides stay and meet others; no match is played twice. When the remaining ones have
all met without a decision, a runoff follows: all of them meet the same opponents, starting with those
knocked out last, until one is ahead. If this does not settle it either, they are tied and there is no best
response.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

Match = tuple[int, int]
# plays matches together and returns the winner of each, None where there is none
Play = Callable[[Sequence[Match]], Sequence[int | None]]


@dataclass(frozen=True)
class Knockout:
    """best: the response that is ahead of all others, None when several are tied. level: the responses
    that remain, in order. matches: all that were played."""

    best: int | None
    level: tuple[int, ...]
    matches: tuple[Match, ...]


@dataclass
class _Games:
    """The matches played so far, with their winners; plays no match twice."""

    play: Play
    winners: dict[Match, int | None] = field(default_factory=dict)

    def settle(self, matches: Sequence[Match]) -> list[int | None]:
        new = [match for match in dict.fromkeys(matches) if match not in self.winners]
        if new:
            self.winners |= dict(zip(new, self.play(new), strict=True))
        return [self.winners[match] for match in matches]


def run_knockout(n: int, play: Play) -> Knockout:
    """The knockout of responses 0 to n - 1, round by round; `play` gets all matches of a round at once, the
    lower number first."""
    games, left, out = _Games(play), list(range(n)), []
    while len(left) > 1 and (matches := draw_round(left, games.winners)):
        for match, winner in zip(matches, games.settle(matches), strict=True):
            if winner is not None:
                loser = match[0] if winner == match[1] else match[1]
                left.remove(loser)
                out.append(loser)
    level = _runoff(left, out[::-1], games) if len(left) > 1 else left
    return Knockout(level[0] if len(level) == 1 else None, tuple(level), tuple(games.winners))


def draw_round(left: Sequence[int], played: Collection[Match]) -> list[Match]:
    """As many matches of neighbours as possible that were not played yet; each response is in one at
    most."""
    past, free, matches = set(played), list(left), []
    while free:
        first = free.pop(0)
        other = next((second for second in free if (first, second) not in past), None)
        if other is not None:
            free.remove(other)
            matches.append((first, other))
    return matches


def _runoff(left: list[int], opponents: Sequence[int], games: _Games) -> list[int]:
    """Those ahead after as many common opponents as needed: wins minus losses."""
    points = dict.fromkeys(left, 0)
    for opponent in opponents:
        matches = [(min(one, opponent), max(one, opponent)) for one in left]
        for one, winner in zip(left, games.settle(matches), strict=True):
            points[one] += 0 if winner is None else 1 if winner == one else -1
        left = [one for one in left if points[one] == max(points[other] for other in left)]
        if len(left) == 1:
            break
    return left


def round_robin_matches(n: int) -> int:
    """Number of matches of n responses in a round robin."""
    return n * (n - 1) // 2

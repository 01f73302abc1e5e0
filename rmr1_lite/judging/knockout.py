"""The best of several responses by a knockout: n - 1 matches where every match is decided, instead of the
n (n - 1) / 2 of a round robin.

A judge is not always decided: a match whose two orders disagree, or could not be read, has no winner, and
none is invented. Both sides stay and meet others; no match is played twice. What can no longer be settled is
level, and then there is no best response.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Match = tuple[int, int]
# plays matches together and returns the winner of each, None where there is none
Play = Callable[[Sequence[Match]], Sequence[int | None]]


@dataclass(frozen=True)
class Knockout:
    """best: the only response that never lost, None when several are level. level: those that are left,
    in order. matches: all that were played."""

    best: int | None
    level: tuple[int, ...]
    matches: tuple[Match, ...]


def run_knockout(n: int, play: Play) -> Knockout:
    """The knockout of responses 0 to n - 1, round by round; `play` gets all matches of a round at once, the
    lower number first."""
    left, played = list(range(n)), []
    while len(left) > 1 and (matches := draw_round(left, played)):
        played += matches
        for match, winner in zip(matches, play(matches), strict=True):
            if winner is not None:
                left.remove(match[0] if winner == match[1] else match[1])
    return Knockout(left[0] if len(left) == 1 else None, tuple(left), tuple(played))


def draw_round(left: Sequence[int], played: Sequence[Match]) -> list[Match]:
    """As many matches of neighbours as there are that were not played yet; each response is in one at
    most."""
    past, free, matches = set(played), list(left), []
    while free:
        first = free.pop(0)
        other = next((second for second in free if (first, second) not in past), None)
        if other is not None:
            free.remove(other)
            matches.append((first, other))
    return matches


def round_robin_matches(n: int) -> int:
    """Matches of n responses when everybody meets everybody."""
    return n * (n - 1) // 2

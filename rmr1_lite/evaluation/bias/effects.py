"""Turns the verdicts on all copies into effects: which way a pair's verdict moved, and what that shows.

A pair is one unit, whatever the number of its judge calls: its two orders share everything but the order. For
every pair the question is which way its verdict moved, then how many more moved one way than the other.

    style, claim   in each order, prefers A in the copy where A is changed minus prefers A in the copy where
                   B is changed; the sign of the sum. The unchanged pair cancels: whatever moves the verdict
                   towards a changed A and towards a changed B is the change alone
    harm           +1 where both orders prefer the intact response, -1 where both prefer the damaged one
    position       +1 where the first response shown wins in both orders, -1 where the second one does
    prompt         verdicts that change with the misspelling minus verdicts that change when the same question
    is
                   asked again; the sign

If a change means nothing to the judge, both copies are the same draw twice and either sign is as likely: the
sign test is exact, however often the judge errs, flips or prefers one position.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rmr1_lite.evaluation.bias.changes import POSITION, Change
from rmr1_lite.evaluation.bias.copies import AGAIN, BASE, INTACT, Copy, Plan
from rmr1_lite.evaluation.intervals import least_moved, moved_interval
from rmr1_lite.models.bias_card import Effect
from rmr1_lite.types import ORDERS, Label, Order, Pair

# (id of the copy, order) -> the response preferred, in the letters of the copy; None without a verdict
Letters = Mapping[tuple[str, Order], Label | None]


@dataclass(frozen=True)
class _Move:
    """The outcome of one pair. way: 1, 0 or -1; None if verdicts are missing. hits of seen: judge calls for
    the changed response (prompt: that changed). again: changes without a cause, of the same `seen`."""

    way: int | None
    hits: int = 0
    seen: int = 0
    again: int = 0


def measure_effects(plan: Plan, letters: Letters, level: float = 0.95) -> tuple[Effect, ...]:
    """Position and every change of the plan. level: of all intervals together (Bonferroni)."""
    changes = [POSITION, *plan.changes]
    each = 1 - (1 - level) / len(changes)
    return tuple(_effect(plan, change, letters, each) for change in changes)


def _effect(plan: Plan, change: Change, letters: Letters, level: float) -> Effect:
    skipped = plan.skipped.get(change.name, {})
    moves = [_MOVES[change.kind](pair, change, letters) for pair in plan.pairs if pair.id not in skipped]
    ways = [move.way for move in moves if move.way is not None]
    towards, away = ways.count(1), ways.count(-1)
    low, high = moved_interval(towards, away, len(ways), level) if ways else (None, None)
    share, reference = _shares(change, moves)
    read = [letters[copy.id, order] for copy in _judged(plan, change) for order in ORDERS]
    return Effect(
        change=change.name,
        kind=change.kind,
        title=change.title,
        pairs=len(ways),
        towards=towards,
        away=away,
        difference=(towards - away) / len(ways) if ways else None,
        low=low,
        high=high,
        share=share,
        reference=reference,
        uncompared=len(moves) - len(ways),
        unparsed=read.count(None),
        calls=len(read),
        needed=least_moved(level),
        skipped=dict(Counter(skipped.values())),
    )


def _judged(plan: Plan, change: Change) -> list[Copy]:
    """The copies that a change is measured on."""
    name = BASE if change.kind == "position" else change.name
    return [copy for copy in plan.copies if copy.change == name]


def _shares(change: Change, moves: list[_Move]) -> tuple[float | None, float | None]:
    """The share of judge calls concerned, and the share that a fair judge would have."""
    seen = sum(move.seen for move in moves)
    if not seen:
        return None, None
    fair = {"harm": 1.0, "prompt": sum(move.again for move in moves) / seen}.get(change.kind, 0.5)
    return sum(move.hits for move in moves) / seen, fair


def _position(pair: Pair, change: Change, letters: Letters) -> _Move:
    found = [letters[f"{pair.id}/{BASE}", order] for order in ORDERS]
    first = [letter == shown for letter, shown in zip(found, ("A", "B"), strict=True) if letter]
    return _Move(_both(first), sum(first), len(first))


def _damage(pair: Pair, change: Change, letters: Letters) -> _Move:
    found = [letters[f"{pair.id}/{change.name}", order] for order in ORDERS]
    seen = [letter == INTACT for letter in found if letter]
    return _Move(_both(seen), sum(seen), len(seen))


def _both(answers: list[bool]) -> int | None:
    """1 for two yes, -1 for two no, 0 for one of each; None if an order has no verdict."""
    return sum(answers) - 1 if len(answers) == len(ORDERS) else None


def _pull(pair: Pair, change: Change, letters: Letters) -> _Move:
    way, hits, seen, compared = 0, 0, 0, 0
    for order in ORDERS:
        on_a, on_b = (letters[f"{pair.id}/{change.name}/{side}", order] for side in ("A", "B"))
        hits += (on_a == "A") + (on_b == "B")
        seen += (on_a is not None) + (on_b is not None)
        if on_a and on_b:
            way += (on_a == "A") - (on_b == "A")
            compared += 1
    return _Move(_sign(way) if compared else None, hits, seen)


def _unrest(pair: Pair, change: Change, letters: Letters) -> _Move:
    changed = again = seen = 0
    for order in ORDERS:
        names = (BASE, change.name, AGAIN)
        before, after, repeated = (letters[f"{pair.id}/{name}", order] for name in names)
        if before and after and repeated:
            changed, again, seen = changed + (after != before), again + (repeated != before), seen + 1
    return _Move(_sign(changed - again) if seen else None, changed, seen, again)


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)


_MOVES: dict[str, Callable[..., _Move]] = {
    "position": _position,
    "style": _pull,
    "claim": _pull,
    "harm": _damage,
    "prompt": _unrest,
}

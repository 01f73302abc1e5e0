"""Every copy of every pair that a bias report judges, and the changes that could not be made.

A style or a claim is applied to each side in turn: once to response A, once to response B. What the judge
prefers in the first copy minus what it prefers in the second is the effect of the change alone; which
response is the better one, how the judge errs and which position it prefers cancel. For a harmful change both
sides are the same response, one of them damaged: there is no doubt which is better.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rmr1_lite.evaluation.bias.changes import (
    CHANGES,
    Change,
    NotApplied,
    cut_in_half,
    in_the_wrong_language,
    misspelt_prompt,
)
from rmr1_lite.evaluation.bias.wording import Wording
from rmr1_lite.types import ORDERS, OTHER, InputError, Label, Order, Pair

BASE, AGAIN = "unchanged", "again"
INTACT: Label = "A"  # where the intact response of a damaged copy is stored; both orders are judged


@dataclass(frozen=True)
class Copy:
    """One pair to judge in both orders. shown: the pair as stored, by the order in which it is shown; the
    orders differ only where a response names its own letter. change, side: "" for an unchanged pair."""

    id: str
    pair_id: str
    shown: dict[Order, Pair]
    change: str = ""
    side: str = ""


@dataclass
class Plan:
    """pairs: the unchanged ones. skipped: change -> pair id -> why the change could not be made."""

    pairs: list[Pair]
    changes: list[Change]
    copies: list[Copy] = field(default_factory=list)
    skipped: dict[str, dict[str, str]] = field(default_factory=dict)

    def pairs_in(self, order: Order) -> list[Pair]:
        """The pairs to judge in this order."""
        return [copy.shown[order] for copy in self.copies]


def choose_changes(names: Sequence[str]) -> list[Change]:
    """The changes by name, all of them for none. Raises InputError for an unknown name."""
    if wrong := [name for name in names if name not in CHANGES]:
        raise InputError(f"change is {wrong[0]!r:.40}. Choose from {', '.join(CHANGES)}.")
    return [CHANGES[name] for name in dict.fromkeys(names)] or list(CHANGES.values())


def make_plan(pairs: Sequence[Pair], changes: Sequence[Change], wording: Wording, seed: int = 0) -> Plan:
    """The unchanged pairs, and the copies of each change. The same pairs and seed give the same plan."""
    plan = Plan(list(pairs), list(changes))
    for pair in pairs:
        plan.copies.append(_copy(pair, BASE, pair))
        if any(change.kind == "prompt" for change in changes):
            plan.copies.append(_copy(pair, AGAIN, pair))
        for change in changes:
            rng = random.Random(f"{seed}/{change.name}/{pair.id}")
            try:
                plan.copies += _copies_of(pair, change, wording, rng)
            except NotApplied as error:
                plan.skipped.setdefault(change.name, {})[pair.id] = str(error)
    return plan


def _copies_of(pair: Pair, change: Change, wording: Wording, rng: random.Random) -> list[Copy]:
    if not (pair.response_a.strip() and pair.response_b.strip()):
        raise NotApplied("a response is empty")
    if change.kind == "prompt":
        return [_copy(pair, change.name, replace(pair, prompt=misspelt_prompt(pair, rng, wording)))]
    if change.kind == "harm":
        return [_copy(pair, change.name, _damaged(pair, change))]
    return [_one_side(pair, change, wording, side) for side in ("A", "B")]


def _copy(pair: Pair, change: str, changed: Pair) -> Copy:
    """A copy that is the same in both orders."""
    named = replace(changed, id=f"{pair.id}/{change}")
    return Copy(named.id, pair.id, dict.fromkeys(ORDERS, named), change)


def _one_side(pair: Pair, change: Change, wording: Wording, side: Label) -> Copy:
    """One response changed, and nothing else."""
    assert change.edit is not None
    name, id = f"response_{side.lower()}", f"{pair.id}/{change.name}/{side}"
    text, shown = getattr(pair, name), {}
    for order in ORDERS:
        letter = side if order == "ab" else OTHER[side]
        edited: dict[str, Any] = {name: change.edit(text, wording, letter)}
        shown[order] = replace(pair, id=id, **edited)
    return Copy(id, pair.id, shown, change.name, side)


def _damaged(pair: Pair, change: Change) -> Pair:
    """The better response (A where the pair has no label) and its damaged copy."""
    text = pair.response_b if pair.label == "B" else pair.response_a
    cut = change.name == "truncated"
    damaged = cut_in_half(text) if cut else in_the_wrong_language(text, _translation(pair))
    return replace(pair, response_a=text, response_b=damaged, label=INTACT)


def _translation(pair: Pair) -> str:
    """The translation of the better response, if the row's meta has one."""
    found = pair.meta.get("wrong_language", "")
    return found if isinstance(found, str) and pair.label else ""

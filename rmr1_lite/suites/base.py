"""What a benchmark is to the kit: rows -> pairs, judgments -> items with scores, items -> the figures its paper reports.

Every suite is judged in both orders (our convention, `rmr1_lite.metrics`). Its own convention is worked out from the same
looks. A benchmark that shows each pair once takes one order per pair, drawn by a hash of seed and id: an order that
depends on nothing else, so that a subset, a resumed run or another judge sees the same one. A look without a readable
verdict is wrong, as in RM-R1's own scoring, never half right.

An `Item` is what the benchmark counts: a pair, or all pairs of one question. Intervals resample items within their
stratum, so what belongs together stays together.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from rmr1_lite.metrics import order_label
from rmr1_lite.suites.sources import Row
from rmr1_lite.types import ORDERS, InputError, Judgment, Label, Message, Order, Pair

BY_COUNT = None  # a figure that pools its strata: every item counts the same


@dataclass(frozen=True)
class Item:
    """One counted thing: its stratum, and its scores in [0, 1] by column."""

    id: str
    stratum: str
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Figure:
    """A weighted mean over strata of one column. weights: per stratum, or None to pool all items of `strata`.

    Strata that the data does not hold are left out and the other weights scaled up; the result then says so.
    """

    name: str
    strata: Sequence[str]
    column: str = "right"
    weights: Sequence[float] | None = BY_COUNT


@dataclass(frozen=True)
class Suite:
    """paper: where it is described. home: a hub id with its split, or the repository to download. rule: the scoring in words.

    figures: what the paper reports; may depend on the strata that are there. main: the figure to compare judges by.
    quoted: rows of the RM-R1 paper by judge, with this suite's figure names, in [0, 1].
    """

    name: str
    title: str
    paper: str
    home: str
    rule: str
    pairs: Callable[[Iterable[Row]], list[Pair]]
    items: Callable[[Sequence[Pair], Calls], list[Item]]
    figures: Callable[[Sequence[str]], list[Figure]]
    main: str
    split: str = ""
    quoted: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


class Calls:
    """What one judge said, asked as benchmarks ask: right in one order, in each, preferred over the other."""

    def __init__(self, judgments: Iterable[Judgment], seed: int) -> None:
        self.seed = seed
        self._by_id = {judgment.pair_id: judgment for judgment in judgments}

    def label(self, pair: Pair, order: Order) -> Label | None:
        """The judge's letter in one order, in the pair's own letters."""
        return order_label(self._by_id[pair.id], order)

    def right(self, pair: Pair) -> float:
        """1 if the judge is right in the one order drawn for this pair, else 0."""
        return float(self.label(pair, seeded_order(pair.id, self.seed)) == pair.label)

    def both(self, pair: Pair) -> list[Label | None]:
        """The letters of both orders, in the pair's own letters."""
        return [self.label(pair, order) for order in ORDERS]

    def unread(self, pair: Pair) -> float:
        """1 if the judge gave no letter in the order drawn for this pair, else 0."""
        return float(self.label(pair, seeded_order(pair.id, self.seed)) is None)


def seeded_order(pair_id: str, seed: int) -> Order:
    """The order in which a benchmark that shows a pair once shows this one."""
    return ORDERS[hashlib.sha256(f"order/{seed}/{pair_id}".encode()).digest()[0] % 2]


def user(text: str) -> tuple[Message, ...]:
    """A conversation of one user turn."""
    return ({"role": "user", "content": text},)


def chosen_first(id: str, prompt: tuple[Message, ...], chosen: str, rejected: str, section: str, item: str, **meta) -> Pair:
    """A pair stored as benchmarks store it: the right response is A. `item` names the question it belongs to."""
    return Pair(id, prompt, chosen, rejected, "A", section, {"item": item, **meta})


def by_item(pairs: Sequence[Pair]) -> dict[str, list[Pair]]:
    """Pairs of one question together."""
    found: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        found[pair.meta["item"]].append(pair)
    return found


def one_item_per_pair(pairs: Sequence[Pair], calls: Calls) -> list[Item]:
    """Each pair counts alone, in the order drawn for it; `half` counts an unreadable look as half right."""
    return [Item(pair.id, pair.section, {"right": calls.right(pair), "half": calls.right(pair) + calls.unread(pair) / 2})
            for pair in pairs]  # fmt: skip


def best_of(pairs: Sequence[Pair], calls: Calls) -> list[Item]:
    """A question is right if its best response beats every other one, each in the order drawn for it."""
    return [Item(name, group[0].section, {"right": float(all(calls.right(pair) for pair in group))})
            for name, group in by_item(pairs).items()]  # fmt: skip


def present(figure: Figure, items: Sequence[Item]) -> dict[str, list[float]]:
    """Scores of a figure's column by stratum, for the strata that the data holds."""
    found: dict[str, list[float]] = defaultdict(list)
    for item in items:
        if item.stratum in figure.strata and figure.column in item.scores:
            found[item.stratum].append(item.scores[figure.column])
    return {name: found[name] for name in figure.strata if name in found}


def weights(figure: Figure, groups: Mapping[str, Sequence[float]]) -> list[float]:
    """The weight of each group's mean; they sum to 1."""
    raw = [len(group) if figure.weights is None else figure.weights[figure.strata.index(name)]
           for name, group in groups.items()]  # fmt: skip
    return [weight / sum(raw) for weight in raw]


def value(figure: Figure, items: Sequence[Item]) -> float | None:
    """The figure, None when the data holds none of its strata."""
    groups = present(figure, items)
    if not groups:
        return None
    share = sum(w * fmean(group) for w, group in zip(weights(figure, groups), groups.values(), strict=True))
    return min(1.0, share)  # the last bit of a sum of weights must not push a share past 1


def unique(pairs: list[Pair], suite: str) -> list[Pair]:
    """The pairs, if every id is there once; InputError else."""
    seen: set[str] = set()
    for pair in pairs:
        if pair.id in seen:
            raise InputError(f"{suite}: the id {pair.id!r:.80} stands twice. Remedy: give each file of the benchmark once.")
        seen.add(pair.id)
    return pairs

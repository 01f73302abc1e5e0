"""What a benchmark is in this kit: rows -> pairs, judgments -> items with scores, items -> the metrics its
paper reports.

Every benchmark is judged in both orders (our convention, `rmr1_lite.evaluation.metrics`). Its own convention
is computed from the same looks. A benchmark that shows each pair once takes one order per pair, drawn by a
hash of seed and id: the order depends on nothing else, so a subset, a resumed run or another judge
sees the same one. A look without a parsed verdict is wrong, as in RM-R1's own scoring, never half right.

An `ScoredItem` is what the benchmark counts: a pair, or all pairs of one question. Intervals resample items
within their stratum, so pairs that belong together stay together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from rmr1_lite.evaluation.benchmarks.rows import BenchmarkRow
from rmr1_lite.prompts import seeded_order
from rmr1_lite.types import ORDERS, InputError, Judgment, Label, Message, Order, Pair

BY_COUNT = None  # a metric that pools its strata: every item counts the same


@dataclass(frozen=True)
class ScoredItem:
    """One counted thing: its stratum, and its scores in [0, 1] by column."""

    id: str
    stratum: str
    scores: Mapping[str, float]


@dataclass(frozen=True)
class ScoreRule:
    """A weighted mean over strata of one column. weights: per stratum, or None to pool all items of `strata`.

    Strata missing in the data are left out and the other weights scaled up; the result then says so.
    """

    name: str
    strata: Sequence[str]
    column: str = "right"
    weights: Sequence[float] | None = BY_COUNT


@dataclass(frozen=True)
class Benchmark:
    """paper: its source. home: a hub id with its split, or the repository to download. rule: the
    scoring in words.

    scores: what the paper reports; may depend on the strata present. main: the metric to compare
    judges by. quoted: rows of the RM-R1 paper by judge, with this benchmark's metric names, in [0, 1].
    """

    name: str
    title: str
    paper: str
    home: str
    rule: str
    pairs: Callable[[Iterable[BenchmarkRow]], list[Pair]]
    items: Callable[[Sequence[Pair], Calls], list[ScoredItem]]
    scores: Callable[[Sequence[str]], list[ScoreRule]]
    main: str
    split: str = ""
    quoted: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


class Calls:
    """One judge's verdicts as benchmarks use them: right in one order, in each, preferred over the other."""

    def __init__(self, judgments: Iterable[Judgment], seed: int) -> None:
        self.seed = seed
        self._by_id = {judgment.pair_id: judgment for judgment in judgments}

    def label(self, pair: Pair, order: Order) -> Label | None:
        """The judge's letter in one order, in the pair's own letters."""
        return self._by_id[pair.id].label_in(order)

    def right(self, pair: Pair) -> float:
        """1 if the judge is right in the one order drawn for this pair, else 0."""
        return float(self.label(pair, seeded_order(pair.id, self.seed)) == pair.label)

    def both(self, pair: Pair) -> list[Label | None]:
        """The letters of both orders, in the pair's own letters."""
        return [self.label(pair, order) for order in ORDERS]

    def unread(self, pair: Pair) -> float:
        """1 if the judge gave no letter in the order drawn for this pair, else 0."""
        return float(self.label(pair, seeded_order(pair.id, self.seed)) is None)


def user_turn(text: str) -> tuple[Message, ...]:
    """A conversation with one user turn."""
    return ({"role": "user", "content": text},)


def chosen_first(
    id: str, prompt: tuple[Message, ...], chosen: str, rejected: str, section: str, item: str, **meta
) -> Pair:
    """A pair stored as benchmarks store it: the right response is A. `item` names the question it belongs
    to."""
    return Pair(id, prompt, chosen, rejected, "A", section, {"item": item, **meta})


def by_item(pairs: Sequence[Pair]) -> dict[str, list[Pair]]:
    """The pairs grouped by question."""
    found: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        found[pair.meta["item"]].append(pair)
    return found


def one_item_per_pair(pairs: Sequence[Pair], calls: Calls) -> list[ScoredItem]:
    """Each pair counts separately, in the order drawn for it; `half` counts an unparsed look as half
    right."""
    return [
        ScoredItem(
            pair.id,
            pair.section,
            {"right": calls.right(pair), "half": calls.right(pair) + calls.unread(pair) / 2},
        )
        for pair in pairs
    ]


def best_of(pairs: Sequence[Pair], calls: Calls) -> list[ScoredItem]:
    """A question is right if its best response beats every other one, each in the order drawn for it."""
    return [
        ScoredItem(name, group[0].section, {"right": float(all(calls.right(pair) for pair in group))})
        for name, group in by_item(pairs).items()
    ]


def scores_by_stratum(rule: ScoreRule, items: Sequence[ScoredItem]) -> dict[str, list[float]]:
    """Scores of a rule's column by stratum, for the strata in the data."""
    found: dict[str, list[float]] = defaultdict(list)
    for item in items:
        if item.stratum in rule.strata and rule.column in item.scores:
            found[item.stratum].append(item.scores[rule.column])
    return {name: found[name] for name in rule.strata if name in found}


def stratum_weights(rule: ScoreRule, groups: Mapping[str, Sequence[float]]) -> list[float]:
    """The weight of each group's mean; they sum to 1."""
    raw = [
        len(group) if rule.weights is None else rule.weights[rule.strata.index(name)]
        for name, group in groups.items()
    ]
    return [weight / sum(raw) for weight in raw]


def weighted_mean(rule: ScoreRule, items: Sequence[ScoredItem]) -> float | None:
    """The score, None when none of its strata is in the data."""
    groups = scores_by_stratum(rule, items)
    if not groups:
        return None
    share = sum(
        w * fmean(group) for w, group in zip(stratum_weights(rule, groups), groups.values(), strict=True)
    )
    return min(1.0, share)  # the last bit of a sum of weights must not push a share past 1


def check_unique_ids(pairs: list[Pair], benchmark: str) -> list[Pair]:
    """The pairs, if every id is unique; otherwise an InputError."""
    seen: set[str] = set()
    for pair in pairs:
        if pair.id in seen:
            raise InputError(
                f"{benchmark}: the id {pair.id!r:.80} appears twice. Remedy: give each file of the benchmark "
                "once."
            )
        seen.add(pair.id)
    return pairs

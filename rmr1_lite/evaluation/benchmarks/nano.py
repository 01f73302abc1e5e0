"""The nano world's test split: pairs with a known truth, for the embedded judge. Not a benchmark of natural
language."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from rmr1_lite.data.rows import pair_from_row
from rmr1_lite.evaluation.benchmarks.base import Benchmark, ScoreRule, one_item_per_pair
from rmr1_lite.evaluation.benchmarks.rows import BenchmarkRow
from rmr1_lite.storage import RowError
from rmr1_lite.types import Pair

SECTIONS = ("Chat", "Chat Hard", "Safety", "Reasoning")
PAIRS, SEED = 600, 9000


def pairs(rows: Iterable[BenchmarkRow]) -> list[Pair]:
    """Rows of `data nano`'s test.jsonl, or the same pairs generated again without a file."""
    return [_labelled(row) for row in rows]


def make_pairs() -> list[Pair]:
    """The test pairs that `data nano` writes."""
    from rmr1_lite.data.nano import world

    return [
        replace(pair, meta={**pair.meta, "item": pair.id}) for pair in world.draw_pairs("test", PAIRS, SEED)
    ]


def _labelled(row: BenchmarkRow) -> Pair:
    try:
        pair = pair_from_row(row.values)
    except RowError as error:
        raise row.wrong(error.field, error.text) from None
    if pair.label is None or pair.section not in SECTIONS:
        raise row.wrong(
            "label" if pair.label is None else "section",
            f"must be A or B, and section one of {', '.join(SECTIONS)}",
        )
    return replace(pair, meta={**pair.meta, "item": pair.id})


def score_rules(strata: Sequence[str]) -> list[ScoreRule]:
    return [
        *(ScoreRule(name, (name,)) for name in SECTIONS),
        ScoreRule("overall", SECTIONS, weights=(1,) * len(SECTIONS)),
    ]


BENCHMARK = Benchmark(
    name="nano",
    title="nano world",
    paper="this project's README",
    home="generated when needed, or `data nano`'s test.jsonl",
    rule="accuracy in one seeded order per pair; overall is the mean of the four sections",
    pairs=pairs,
    items=one_item_per_pair,
    scores=score_rules,
    main="overall",
)

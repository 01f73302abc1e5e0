"""JudgeBench (Tan et al. 2024, arXiv 2410.12784): pairs whose better answer is objectively correct."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rmr1_lite.evaluation.benchmarks.base import Benchmark, Calls, ScoredItem, ScoreRule, user_turn
from rmr1_lite.evaluation.benchmarks.rows import BenchmarkRow
from rmr1_lite.types import Label, Pair

LABELS: dict[str, Label] = {"A>B": "A", "B>A": "B"}
# how a source begins -> category
CATEGORIES = {
    "mmlu": "knowledge",
    "livebench-reasoning": "reasoning",
    "livebench-math": "math",
    "livecodebench": "coding",
}


def pairs(rows: Iterable[BenchmarkRow]) -> list[Pair]:
    return [_pair(row) for row in rows]


def _pair(row: BenchmarkRow) -> Pair:
    source, label = row.need("source"), row.need("label")
    category = next((name for start, name in CATEGORIES.items() if source.startswith(start)), None)
    if category is None:
        raise row.wrong("source", f"is {source!r:.40} and begins with none of {', '.join(CATEGORIES)}")
    if label not in LABELS:
        raise row.wrong("label", f"is {label!r:.40}, not one of {', '.join(LABELS)}")
    name = row.need("pair_id")
    return Pair(
        name,
        user_turn(row.need("question")),
        row.need("response_A"),
        row.need("response_B"),
        LABELS[label],
        category,
        {"item": name, "source": source},
    )


def items(pairs: Sequence[Pair], calls: Calls) -> list[ScoredItem]:
    """Both orders: +1 for each that agrees with the label, -1 for each that says the opposite; right if the
    sum is positive."""
    made = []
    for pair in pairs:
        points = sum(
            0 if letter is None else 1 if letter == pair.label else -1 for letter in calls.both(pair)
        )
        made.append(ScoredItem(pair.id, pair.section, {"right": float(points > 0)}))
    return made


def score_rules(strata: Sequence[str]) -> list[ScoreRule]:
    categories = tuple(CATEGORIES.values())
    return [*(ScoreRule(name, (name,)) for name in categories), ScoreRule("overall", categories)]


BENCHMARK = Benchmark(
    name="judgebench",
    title="JudgeBench",
    paper="arXiv 2410.12784",
    home="ScalerLab/JudgeBench",
    split="gpt",
    rule="both orders: +1 for each that agrees with the label, -1 for each that says the opposite, 0 for an "
    "unparsed one; right if the sum is positive; overall over all pairs",
    pairs=pairs,
    items=items,
    scores=score_rules,
    main="overall",
)

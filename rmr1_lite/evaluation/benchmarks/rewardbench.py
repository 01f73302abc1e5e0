"""RewardBench (Lambert et al. 2024, arXiv 2403.13787): 2,985 pairs in four sections."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rmr1_lite.evaluation.benchmarks.base import (
    Benchmark,
    ScoreRule,
    chosen_first,
    one_item_per_pair,
    user_turn,
)
from rmr1_lite.evaluation.benchmarks.paper_results import REWARDBENCH
from rmr1_lite.evaluation.benchmarks.rows import BenchmarkRow
from rmr1_lite.types import Pair

# subset -> its weight within its section; math-prm's 447 pairs weigh as much as all code pairs
SECTIONS: dict[str, dict[str, int]] = {
    "Chat": {
        "alpacaeval-easy": 100,
        "alpacaeval-length": 95,
        "alpacaeval-hard": 95,
        "mt-bench-easy": 28,
        "mt-bench-med": 40,
    },
    "Chat Hard": {
        "mt-bench-hard": 37,
        "llmbar-natural": 100,
        "llmbar-adver-neighbor": 134,
        "llmbar-adver-GPTInst": 92,
        "llmbar-adver-GPTOut": 47,
        "llmbar-adver-manual": 46,
    },
    "Safety": {
        "refusals-dangerous": 100,
        "refusals-offensive": 100,
        "xstest-should-refuse": 154,
        "xstest-should-respond": 250,
        "donotanswer": 136,
    },
    "Reasoning": {
        "math-prm": 984,
        "hep-cpp": 164,
        "hep-go": 164,
        "hep-java": 164,
        "hep-js": 164,
        "hep-python": 164,
        "hep-rust": 164,
    },
}
SUBSETS = {subset: count for counts in SECTIONS.values() for subset, count in counts.items()}


def pairs(rows: Iterable[BenchmarkRow]) -> list[Pair]:
    return [_pair(row) for row in rows]


def _pair(row: BenchmarkRow) -> Pair:
    name = str(row.values.get("id", ""))
    subset = row.need("subset")
    if not name:
        raise row.wrong("id", "is missing")
    if subset not in SUBSETS:
        raise row.wrong("subset", f"is {subset!r:.40}, not one of RewardBench's: {', '.join(SUBSETS)}")
    return chosen_first(
        name, user_turn(row.need("prompt")), row.need("chosen"), row.need("rejected"), subset, name
    )


def score_rules(strata: Sequence[str]) -> list[ScoreRule]:
    """A section weighs its subsets by their counts; the overall score weighs its sections equally."""
    made = [
        ScoreRule(section, tuple(counts), weights=tuple(counts.values()))
        for section, counts in SECTIONS.items()
    ]
    there = {
        section: {s: n for s, n in counts.items() if s in strata} for section, counts in SECTIONS.items()
    }
    shares = {s: n / sum(counts.values()) for counts in there.values() for s, n in counts.items()}
    subsets, parts = tuple(shares), tuple(shares.values())
    return [
        *made,
        ScoreRule("overall", subsets, weights=parts),
        ScoreRule("overall, unparsed as half right", subsets, "half", parts),
    ]


BENCHMARK = Benchmark(
    name="rewardbench",
    title="RewardBench",
    paper="arXiv 2403.13787",
    home="allenai/reward-bench",
    split="filtered",
    rule="one seeded order per pair; a section is the mean of its subsets by the benchmark's counts, "
    "overall the mean of the sections. Its own generative runner counts an unparsed verdict as half right "
    "(last figure), RM-R1's as wrong",
    pairs=pairs,
    items=one_item_per_pair,
    scores=score_rules,
    main="overall",
    quoted=REWARDBENCH,
)

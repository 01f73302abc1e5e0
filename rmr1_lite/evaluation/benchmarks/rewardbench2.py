"""RewardBench 2 (Malik et al. 2025, arXiv 2506.01937): best of four in five domains, and Ties."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rmr1_lite.evaluation.benchmarks.base import (
    Benchmark,
    Calls,
    ScoredItem,
    ScoreRule,
    best_of,
    by_item,
    chosen_first,
    user_turn,
)
from rmr1_lite.evaluation.benchmarks.rows import BenchmarkRow
from rmr1_lite.types import Pair

DOMAINS = ("Factuality", "Precise IF", "Math", "Safety", "Focus")
TIES = "Ties"


def pairs(rows: Iterable[BenchmarkRow]) -> list[Pair]:
    return [pair for row in rows for pair in _pairs(row)]


def _pairs(row: BenchmarkRow) -> list[Pair]:
    """The best response against each of three others; in Ties every right answer against every wrong one."""
    subset, name = row.need("subset"), str(row.values.get("id", ""))
    if subset not in (*DOMAINS, TIES):
        raise row.wrong("subset", f"is {subset!r:.40}, not one of {', '.join((*DOMAINS, TIES))}")
    if not name:
        raise row.wrong("id", "is missing")
    one_best = subset != TIES
    chosen, rejected = (
        row.texts("chosen", 1 if one_best else None),
        row.texts("rejected", 3 if one_best else None),
    )
    prompt = user_turn(row.need("prompt"))
    return [
        chosen_first(
            f"{name}/{j}" if one_best else f"{name}/{i}-{j}", prompt, good, bad, subset, name, right=i
        )
        for i, good in enumerate(chosen)
        for j, bad in enumerate(rejected)
    ]


def items(pairs: Sequence[Pair], calls: Calls) -> list[ScoredItem]:
    """Best of four; a Ties question by how many of its right answers win more against the wrong ones than
    they lose.

    right: every right answer beats every wrong one. The benchmark works on scores, which a pairwise judge
    does not give: this round robin of right against wrong answers replaces them.
    """
    ties = [pair for pair in pairs if pair.section == TIES]
    made = best_of([pair for pair in pairs if pair.section != TIES], calls)
    for name, group in by_item(ties).items():
        wins = [calls.right(pair) for pair in group]
        made.append(ScoredItem(name, TIES, {"right": float(all(wins)), "wins": sum(wins) / len(wins)}))
    return made


def score_rules(strata: Sequence[str]) -> list[ScoreRule]:
    each = [ScoreRule(domain, (domain,)) for domain in DOMAINS]
    return [
        *each,
        ScoreRule("mean without Ties", DOMAINS, weights=(1,) * len(DOMAINS)),
        ScoreRule("Ties by round robin (ours): every right one beats every wrong one", (TIES,)),
        ScoreRule("Ties by round robin (ours): share of comparisons won", (TIES,), "wins"),
    ]


BENCHMARK = Benchmark(
    name="rewardbench2",
    title="RewardBench 2",
    paper="arXiv 2506.01937",
    home="allenai/reward-bench-2",
    split="test",
    rule="right if the best response beats each of the three others, one seeded order per comparison. The "
    "published total includes Ties, which need scores: ours leaves Ties out and must not be compared with it",
    pairs=pairs,
    items=items,
    scores=score_rules,
    main="mean without Ties",
)

"""RewardBench 2 (Malik et al. 2025, arXiv 2506.01937): best of four in five domains, and Ties."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rmr1_lite.suites.base import Calls, Figure, Item, Suite, best_of, by_item, chosen_first, user
from rmr1_lite.suites.sources import Row
from rmr1_lite.types import Pair

DOMAINS = ("Factuality", "Precise IF", "Math", "Safety", "Focus")
TIES = "Ties"


def pairs(rows: Iterable[Row]) -> list[Pair]:
    return [pair for row in rows for pair in _pairs(row)]


def _pairs(row: Row) -> list[Pair]:
    """The best response against each of three others; in Ties every right answer against every wrong one."""
    subset, name = row.need("subset"), str(row.values.get("id", ""))
    if subset not in (*DOMAINS, TIES):
        raise row.wrong("subset", f"is {subset!r:.40}, not one of {', '.join((*DOMAINS, TIES))}")
    if not name:
        raise row.wrong("id", "is missing")
    one_best = subset != TIES
    chosen, rejected = row.texts("chosen", 1 if one_best else None), row.texts("rejected", 3 if one_best else None)
    prompt = user(row.need("prompt"))
    return [chosen_first(f"{name}/{j}" if one_best else f"{name}/{i}-{j}", prompt, good, bad, subset, name, right=i)
            for i, good in enumerate(chosen) for j, bad in enumerate(rejected)]  # fmt: skip


def items(pairs: Sequence[Pair], calls: Calls) -> list[Item]:
    """Best of four; a Ties question by how many of its right answers win more against the wrong ones than they lose.

    right: every right answer beats every wrong one. The benchmark works on scores, which a pairwise judge does not give:
    this round robin of right against wrong answers stands in for them.
    """
    ties = [pair for pair in pairs if pair.section == TIES]
    made = best_of([pair for pair in pairs if pair.section != TIES], calls)
    for name, group in by_item(ties).items():
        wins = [calls.right(pair) for pair in group]
        made.append(Item(name, TIES, {"right": float(all(wins)), "wins": sum(wins) / len(wins)}))
    return made


def figures(strata: Sequence[str]) -> list[Figure]:
    each = [Figure(domain, (domain,)) for domain in DOMAINS]
    return [*each, Figure("mean without Ties", DOMAINS, weights=(1,) * len(DOMAINS)),
            Figure("Ties by round robin (ours): every right one beats every wrong one", (TIES,)),
            Figure("Ties by round robin (ours): share of comparisons won", (TIES,), "wins")]  # fmt: skip


SUITE = Suite(
    name="rewardbench2", title="RewardBench 2", paper="arXiv 2506.01937", home="allenai/reward-bench-2", split="test",
    rule="right if the best response beats each of the three others, one seeded order per comparison. The published total "
         "includes Ties, which need scores: ours leaves Ties out and must not be put beside it",
    pairs=pairs, items=items, figures=figures, main="mean without Ties",
)  # fmt: skip

"""RM-Bench (Liu et al. 2024, arXiv 2410.16184): three styles of a right and of a wrong response, every style
against every."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from rmr1_lite.evaluation.benchmarks.base import (
    Benchmark,
    Calls,
    ScoredItem,
    ScoreRule,
    by_item,
    chosen_first,
    user_turn,
)
from rmr1_lite.evaluation.benchmarks.paper_results import RM_BENCH
from rmr1_lite.evaluation.benchmarks.rows import BenchmarkRow
from rmr1_lite.types import Pair

STYLES = ("concise", "detailed", "markdown")
FILES = ("chat", "code", "math", "safety-refuse", "safety-response")
DOMAINS = {
    "chat": "Chat",
    "math": "Math",
    "code": "Code",
    "safety-refuse": "Safety",
    "safety-response": "Safety",
}
CELLS = [(i, j) for i in range(3) for j in range(3)]  # (style of the right response, style of the wrong one)
# hard: the wrong response has the fancier style. easy: the right one has it
DIFFICULTIES = {
    "Easy": [c for c in CELLS if c[0] > c[1]],
    "Normal": [c for c in CELLS if c[0] == c[1]],
    "Hard": [c for c in CELLS if c[0] < c[1]],
}


def pairs(rows: Iterable[BenchmarkRow]) -> list[Pair]:
    return [pair for row in rows for pair in _pairs(row)]


def _pairs(row: BenchmarkRow) -> list[Pair]:
    domain = row.values.get("domain") or PurePosixPath(row.file).stem.removesuffix("_filtered")
    if domain not in FILES:
        raise row.wrong(
            "domain", f"(in the row, or the file's name) is {domain!r:.40}, not one of {', '.join(FILES)}"
        )
    if not isinstance(row.values.get("id"), int | str) or isinstance(row.values["id"], bool):
        raise row.wrong("id", "is missing")
    prompt, item = user_turn(row.need("prompt")), f"{domain}/{row.values['id']}"
    chosen, rejected = (row.texts(name, len(STYLES)) for name in ("chosen", "rejected"))
    return [
        chosen_first(f"{item}/{i}-{j}", prompt, chosen[i], rejected[j], DOMAINS[domain], item, cell=[i, j])
        for i, j in CELLS
    ]


def items(pairs: Sequence[Pair], calls: Calls) -> list[ScoredItem]:
    """One item per question: its nine cells, and their means by difficulty."""
    made = []
    for name, group in by_item(pairs).items():
        cells = {tuple(pair.meta["cell"]): calls.right(pair) for pair in group}
        scores = {f"{STYLES[i]} beats {STYLES[j]}": right for (i, j), right in cells.items()}
        for difficulty, members in DIFFICULTIES.items():
            scores[difficulty] = sum(cells[cell] for cell in members) / len(members)
        scores["right"] = sum(cells.values()) / len(cells)
        made.append(ScoredItem(name, group[0].section, scores))
    return made


def score_rules(strata: Sequence[str]) -> list[ScoreRule]:
    """Domains have equal weight; scores by domain and by difficulty are means of the same matrix."""
    domains = tuple(dict.fromkeys(DOMAINS.values()))
    alike = (1,) * len(domains)
    cells = [
        ScoreRule(name, domains, name, alike) for name in (f"{STYLES[i]} beats {STYLES[j]}" for i, j in CELLS)
    ]
    return [
        *(ScoreRule(domain, (domain,)) for domain in domains),
        *(ScoreRule(name, domains, name, alike) for name in DIFFICULTIES),
        ScoreRule("overall", domains, weights=alike),
        *cells,
    ]


BENCHMARK = Benchmark(
    name="rm-bench",
    title="RM-Bench",
    paper="arXiv 2410.16184",
    home="THU-KEG/RM-Bench",
    split="train",
    rule="every style of the right response against every style of the wrong one, one seeded order per "
    "comparison; hard is the mean where the wrong one has the fancier style, easy where the right one has "
    "it; domains have equal weight",
    pairs=pairs,
    items=items,
    scores=score_rules,
    main="overall",
    quoted=RM_BENCH,
)

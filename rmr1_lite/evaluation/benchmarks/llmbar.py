"""LLMBar (Zeng et al. 2023, arXiv 2310.07641): which output follows the instruction, in a natural and four
adversarial sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any

from rmr1_lite.evaluation.benchmarks.base import Benchmark, Calls, ScoredItem, ScoreRule, user_turn
from rmr1_lite.evaluation.benchmarks.rows import BenchmarkRow
from rmr1_lite.types import Label, Pair

ADVERSARIAL = ("Neighbor", "GPTInst", "GPTOut", "Manual")
SETS = ("Natural", *ADVERSARIAL)
LABELS: dict[str, Label] = {"1": "A", "2": "B"}


def pairs(rows: Iterable[BenchmarkRow]) -> list[Pair]:
    made: list[Pair] = []
    seen: Counter[str] = Counter()
    for row in rows:
        name = _set(row)
        made.append(_pair(row, name, seen[name]))
        seen[name] += 1
    return made


def _set(row: BenchmarkRow) -> str:
    """The set is the file's folder; rows have neither an id nor a set."""
    folders = [part for part in PurePosixPath(row.file).parts[:-1] if part in SETS]
    found: list[Any] = folders or [row.values.get("set")]
    if found[-1] not in SETS:
        raise row.wrong(
            "(file)", f"is not in a folder called {', '.join(SETS)}. Give the folder Dataset/LLMBar"
        )
    return found[-1]


def _pair(row: BenchmarkRow, name: str, index: int) -> Pair:
    label = LABELS.get(str(row.values.get("label")))
    if label is None:
        raise row.wrong("label", f"is {row.values.get('label')!r:.40}, not 1 or 2")
    id = f"{name}/{index}"
    return Pair(
        id,
        user_turn(row.need("input")),
        row.need("output_1"),
        row.need("output_2"),
        label,
        name,
        {"item": id},
    )


def items(pairs: Sequence[Pair], calls: Calls) -> list[ScoredItem]:
    """Accuracy as the mean of both orders, and whether both name the same output."""
    made = []
    for pair in pairs:
        letters = calls.both(pair)
        agree = letters[0] is not None and letters[0] == letters[1]
        made.append(
            ScoredItem(pair.id, pair.section, {"right": letters.count(pair.label) / 2, "agree": float(agree)})
        )
    return made


def score_rules(strata: Sequence[str]) -> list[ScoreRule]:
    """Each set; the adversarial sets have equal weight, and so do all five in the last mean."""
    return [
        *(ScoreRule(name, (name,)) for name in SETS),
        ScoreRule("Adversarial", ADVERSARIAL, weights=(1,) * len(ADVERSARIAL)),
        ScoreRule("mean of the sets", SETS, weights=(1,) * len(SETS)),
        ScoreRule("agreement of both orders", SETS, "agree", (1,) * len(SETS)),
    ]


BENCHMARK = Benchmark(
    name="llmbar",
    title="LLMBar",
    paper="arXiv 2310.07641",
    home="princeton-nlp/LLMBar (folder Dataset/LLMBar)",
    rule="accuracy as the mean of both orders, per set; agreement is the share of pairs where both orders "
    "name the same output",
    pairs=pairs,
    items=items,
    scores=score_rules,
    main="mean of the sets",
)

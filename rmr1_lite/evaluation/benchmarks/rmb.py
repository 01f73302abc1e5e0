"""RMB (Zhou et al. 2024, arXiv 2410.09893): pairwise and best-of-N, helpfulness and harmlessness."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rmr1_lite.evaluation.benchmarks.base import (
    Benchmark,
    Calls,
    ScoredItem,
    ScoreRule,
    best_of,
    chosen_first,
    one_item_per_pair,
)
from rmr1_lite.evaluation.benchmarks.paper_results import RMB
from rmr1_lite.evaluation.benchmarks.rows import BenchmarkRow
from rmr1_lite.types import Message, Pair

GOALS = ("Helpfulness", "Harmlessness")
SETS = {"Pairwise_set": "pairwise", "BoN_set": "best-of-N"}
STRATA = tuple(f"{goal}, {kind}" for goal in GOALS for kind in SETS.values())


def pairs(rows: Iterable[BenchmarkRow]) -> list[Pair]:
    return [pair for row in rows for pair in _pairs(row)]


def _pairs(row: BenchmarkRow) -> list[Pair]:
    section, prompt = _section(row), _conversation(row)
    if "pair_uid" in row.values:
        name = str(row.values["pair_uid"])
        chosen, rejected = _answer(row, "chosen"), _answer(row, "reject")
        return [
            chosen_first(name, prompt, chosen, rejected, section, name, category=row.values["category_path"])
        ]
    name, best, losers = f"{_uid(row)}", _answer(row, "bon_best"), row.need("loser_list", list)
    answers = [_text(row, f"loser_list[{i}]", loser) for i, loser in enumerate(losers)]
    return [
        chosen_first(
            f"{name}/{i}", prompt, best, answer, section, f"bon/{name}", category=row.values["category_path"]
        )
        for i, answer in enumerate(answers)
    ]


def _uid(row: BenchmarkRow) -> str:
    value = row.values.get("bon_uid")
    if value is None:
        raise row.wrong("pair_uid", "and bon_uid are both missing")
    return str(value)


def _section(row: BenchmarkRow) -> str:
    """ "Pairwise_set/Helpfulness/..." -> "Helpfulness, pairwise"; from the path in the row, whatever the
    file's location."""
    kind, _, rest = row.need("category_path").partition("/")
    goal = rest.partition("/")[0]
    if kind not in SETS or goal not in GOALS:
        raise row.wrong(
            "category_path", f"does not begin with {' or '.join(SETS)} and then {' or '.join(GOALS)}"
        )
    return f"{goal}, {SETS[kind]}"


def _conversation(row: BenchmarkRow) -> tuple[Message, ...]:
    turns: list[Message] = []
    for turn in row.need("conversation_input", list):
        if not isinstance(turn, dict) or turn.get("role") not in ("system", "user", "assistant"):
            raise row.wrong("conversation_input", "must hold turns with the role system, user or assistant")
        turns.append(
            {"role": turn["role"], "content": _string(row, "conversation_input", turn.get("content"))}
        )
    if turns[-1]["role"] != "user":
        raise row.wrong("conversation_input", "must end with a user turn")
    return tuple(turns)


def _answer(row: BenchmarkRow, name: str) -> str:
    return _text(row, name, row.need(name, dict))


def _text(row: BenchmarkRow, name: str, value: Any) -> str:
    return _string(row, f"{name}.answer", value.get("answer") if isinstance(value, dict) else None)


def _string(row: BenchmarkRow, name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise row.wrong(name, "must be a non-empty text")
    return value


def items(pairs: Sequence[Pair], calls: Calls) -> list[ScoredItem]:
    pairwise = [pair for pair in pairs if pair.section.endswith("pairwise")]
    return one_item_per_pair(pairwise, calls) + best_of(
        [p for p in pairs if p.section.endswith("best-of-N")], calls
    )


def score_rules(strata: Sequence[str]) -> list[ScoreRule]:
    """Micro-averaged within each of four parts, whose mean is the overall figure."""
    return [
        *(ScoreRule(name, (name,)) for name in STRATA),
        ScoreRule("overall", STRATA, weights=(1,) * len(STRATA)),
    ]


BENCHMARK = Benchmark(
    name="rmb",
    title="RMB",
    paper="arXiv 2410.09893",
    home="Zhou-Zoey/RMB-Reward-Model-Benchmark (folder RMB_dataset)",
    rule="pairwise: accuracy in one seeded order; best-of-N: right if the best beats every loser; overall "
    "is the mean of the four parts (helpfulness and harmlessness, pairwise and best-of-N)",
    pairs=pairs,
    items=items,
    scores=score_rules,
    main="overall",
    quoted=RMB,
)

"""A judge on labelled pairs in both orders: figures with intervals, every text kept, resumable look by look.

What the demo and the training compare their stages by; `rmr1_lite.benchmark` does the same for public benchmarks and files
of one's own. In `out`: NAME.looks.jsonl, every text of one judge.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rmr1_lite.data.files import JsonlLog, write_json
from rmr1_lite.judge import LOG_KEY, Judge
from rmr1_lite.metrics import paired, score
from rmr1_lite.results import add_difference
from rmr1_lite.types import ORDERS, EvalResult, Generation, Judgment, Label, Look, Pair, Verdict


def evaluate(
    name: str, judge: Judge, pairs: Sequence[Pair], out: Path, progress: bool = True
) -> tuple[EvalResult, list[Judgment]]:
    """Judge `pairs` in both orders; looks already in out/NAME.looks.jsonl are not judged again, if the same weights gave them.

    `seconds` of the result is the sum over looks, so that a resumed evaluation reports the whole time.
    """
    with JsonlLog(_looks_of(name, judge.weights, out), LOG_KEY) as log:
        judgments = judge.compare_many(pairs, log=log, progress=progress)
    seconds = sum(look.generation.seconds for judgment in judgments for look in judgment.looks)
    return score(name, pairs, judgments, seconds), judgments


def _looks_of(name: str, weights: str, out: Path) -> Path:
    """The log of these weights' looks. Another adapter's under the same name are put aside: a stage that was trained anew must
    not be shown with the figures of the one before."""
    path, mark = out / f"{name}.looks.jsonl", out / f"{name}.weights.json"
    then = json.loads(mark.read_text())["weights"] if mark.exists() else weights
    if then != weights and path.exists():
        aside = path.with_name(f"{name}.looks.{then}.jsonl")
        path.replace(aside)
        print(f"{path} held the looks of other weights: they stand in {aside.name} now, and {name} is judged again.")
    write_json(mark, {"weights": weights})
    return path


def compare(
    results: dict[str, Any], pairs: Sequence[Pair], judged: dict[str, list[Judgment]], couples: Sequence[tuple[str, str]]
) -> None:
    """Add the paired difference of each (first, second) couple to `results`."""
    for first, second in couples:
        add_difference(results, first, second, paired(judged[first], judged[second], pairs))


def by_rule(pairs: Sequence[Pair], rule: Callable[[Pair], Label]) -> list[Judgment]:
    """Judgments of a rule that sees the responses in the order shown."""
    from rmr1_lite.prompts import shown

    def look(pair: Pair, order: Any) -> Look:
        return Look(order, Generation(""), Verdict(rule(shown(pair, order)), "ok"))

    return [Judgment(pair.id, tuple(look(pair, order) for order in ORDERS)) for pair in pairs]


RULES: dict[str, Callable[[Pair], Label]] = {
    "always A": lambda pair: "A",
    "longer": lambda pair: "A" if len(pair.response_a) >= len(pair.response_b) else "B",
}

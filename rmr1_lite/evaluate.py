"""Any judge on labelled pairs in both orders: figures with intervals, every text kept, resumable look by look.

    python -m rmr1_lite evaluate --model nano --pairs runs/data/test.jsonl --out runs/evaluation

In `out`: NAME.looks.jsonl (every text), and results.json, one stage per judge; the report and the app read both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rmr1_lite.data.files import JsonlLog, read_pairs
from rmr1_lite.judge import LOG_KEY, Judge
from rmr1_lite.metrics import length_bias, paired, score
from rmr1_lite.results import add_difference, add_stage, load, new, save
from rmr1_lite.types import ORDERS, EvalResult, Generation, InputError, Judgment, Label, Look, Pair, Verdict


def evaluate(
    name: str, judge: Judge, pairs: Sequence[Pair], out: Path, progress: bool = True
) -> tuple[EvalResult, list[Judgment]]:
    """Judge `pairs` in both orders; looks already in out/NAME.looks.jsonl are not judged again.

    `seconds` of the result is the sum over looks, so that a resumed evaluation reports the whole time.
    """
    with JsonlLog(out / f"{name}.looks.jsonl", LOG_KEY) as log:
        judgments = judge.compare_many(pairs, log=log, progress=progress)
    seconds = sum(look.generation.seconds for judgment in judgments for look in judgment.looks)
    return score(name, pairs, judgments, seconds), judgments


def evaluate_file(
    name: str, make_judge: Callable[[], Judge], pairs_path: str, out: Path, limit: int | None, command: str
) -> EvalResult:
    """`evaluate` on a JSONL of pairs; adds the judge to out/results.json. The model loads after the pairs were read."""
    pairs, path = labelled(pairs_path, limit), out / "results.json"
    results = load(path) if path.exists() else new(0, command, {"pairs": pairs_path, "n": len(pairs)})
    if results["data"].get("pairs") != pairs_path or results["data"].get("n") != len(pairs):
        raise InputError(f"{path} holds figures on other pairs. Give another --out.")
    result, judgments = evaluate(name, make_judge(), pairs, out)
    add_stage(results, result, length_bias=length_bias(pairs, judgments))
    save(results, path)
    return result


def labelled(path: str, limit: int | None = None) -> list[Pair]:
    """Labelled pairs of a file; with `limit` the same share of every section, in file order."""
    read = read_pairs(path)
    print(read.summary())
    pairs = [pair for pair in read.pairs if pair.label]
    if not pairs:
        raise InputError(f"{path}: no labelled pair to evaluate on. Give rows with label A or B.")
    return pairs if limit is None or limit >= len(pairs) else stratified(pairs, limit)


def stratified(pairs: Sequence[Pair], limit: int) -> list[Pair]:
    """About limit / n of every section: the rows in file order whose running share has just passed a whole number."""
    seen: dict[str, int] = {}
    kept = []
    for pair in pairs:
        count = seen.get(pair.section, 0)
        seen[pair.section] = count + 1
        if (count + 1) * limit // len(pairs) > count * limit // len(pairs):
            kept.append(pair)
    return kept


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

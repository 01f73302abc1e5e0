"""Judges for the notebooks: one loaded base for all of them, and their figures on the same pairs.

A judge's looks are kept under the fingerprint of its weights, so that running a cell again costs nothing, and training again
never shows the figures of the adapter before.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rmr1_lite.adapters import fingerprint, resolve
from rmr1_lite.bank import Bank
from rmr1_lite.evaluate import RULES, by_rule, compare, evaluate
from rmr1_lite.judge import Judge
from rmr1_lite.metrics import length_bias, score
from rmr1_lite.models import free
from rmr1_lite.notebook.settings import Settings
from rmr1_lite.results import add_stage, new
from rmr1_lite.types import Judgment, Pair


def bank_of(s: Settings, specs: Sequence[str]) -> Bank:
    """The judges of these specs, loaded when they are first asked; what a training left in memory is let go before."""
    free()
    return Bank(list(specs), batch_size=64 if s.fast else 8, style=s.style)


def judge_of(s: Settings, bank: Bank, spec: str, **sampling: Any) -> Judge:
    """One of them, greedy unless `sampling` says otherwise, with room for its chains."""
    return bank.judge(spec, **{"max_new_tokens": s.room, **sampling})


def figures(
    s: Settings, specs: dict[str, str], pairs: Sequence[Pair], couples: Sequence[tuple[str, str]] = (),
) -> tuple[dict[str, Any], dict[str, list[Judgment]]]:  # fmt: skip
    """(results, judgments by name) of every judge on `pairs`, in both orders; specs: name -> spec.

    couples: (first, second) names whose paired difference is worked out. The rules (always A, the longer one) stand beside them.
    """
    bank, results, judged = bank_of(s, list(specs.values())), new(0, "a notebook", {"world": "nano"} if s.fast else {}), {}
    for name, spec in specs.items():
        result, judged[name] = evaluate(name, judge_of(s, bank, spec), pairs, s.out / "judged" / mark(s, spec))
        add_stage(results, result, length_bias=length_bias(pairs, judged[name]))
    for name, rule in RULES.items():
        add_stage(results, score(name, pairs, by_rule(pairs, rule), 0.0), baseline=True)
    compare(results, pairs, judged, couples)
    return results, judged


def difference(results: dict[str, Any], first: str, second: str) -> str:
    """The paired difference of two judges in one sentence, and whether it could be chance."""
    row = next(row for row in results["differences"] if (row["first"], row["second"]) == (first, second))
    low, high = 100 * row["low"], 100 * row["high"]
    chance = "the interval holds 0, so it may be chance" if low <= 0 <= high else "the interval does not hold 0"
    return (f"{second} less {first}: {100 * row['difference']:+.1f} points right in both orders, 95 % interval {low:+.1f} to "
            f"{high:+.1f} ({row['gained']} pairs gained, {row['lost']} lost, of {row['n']}): {chance}.")  # fmt: skip


def changed_mind(pairs: Sequence[Pair], before: Sequence[Judgment], after: Sequence[Judgment]) -> Pair:
    """A pair that the later judge gets right in both orders and the earlier one does not; else the first pair."""
    was, is_now = ({j.pair_id: j for j in judged} for judged in (before, after))
    return next((p for p in pairs if _right(is_now[p.id], p) and not _right(was[p.id], p)), pairs[0])


def of(judged: Sequence[Judgment], pair: Pair) -> Judgment:
    """The judgment of that pair."""
    return next(judgment for judgment in judged if judgment.pair_id == pair.id)


def _right(judgment: Judgment, pair: Pair) -> bool:
    return all(look.label == pair.label for look in judgment.looks)


def mark(s: Settings, spec: str) -> str:
    """A folder name for the weights that a spec stands for now, and for how they are asked."""
    folder = resolve(spec)
    return f"{fingerprint(folder)[:12] if folder else Path(spec).name}-{s.style}-{s.room}"

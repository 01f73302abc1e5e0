"""Judges for the notebooks: one loaded base for all of them, and their metrics on the same pairs.

A judge's looks are stored under the fingerprint of its weights, so that running a cell again costs nothing,
and a new training never shows the metrics of the previous adapter.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rmr1_lite.evaluation.baselines import RULES, judge_by_rule
from rmr1_lite.evaluation.metrics import length_bias, score
from rmr1_lite.evaluation.results import Results, new_results
from rmr1_lite.evaluation.runner import evaluate_pairs
from rmr1_lite.judging.judge import Judge
from rmr1_lite.judging.pool import JudgePool
from rmr1_lite.models import smol
from rmr1_lite.models.adapters import fingerprint_of
from rmr1_lite.models.loading import free_memory
from rmr1_lite.notebook.settings import Settings
from rmr1_lite.types import InputError, Judgment, Pair

EVERYDAY = Pair(
    "everyday",
    ({"role": "user", "content": "How long should I boil an egg so that the yolk stays soft?"},),
    "About six minutes in boiling water, then cool it under cold water.",
    "Eggs are a popular breakfast food and can be prepared in many different ways.",
)


def pool_of(s: Settings, specs: Sequence[str]) -> JudgePool:
    """The judges of these specs, loaded on first use; memory left over from a training is released
    first."""
    free_memory()
    return JudgePool(list(specs), batch_size=64 if s.model == "nano" else 8, style=s.style)


def judge_of(s: Settings, pool: JudgePool, spec: str, **sampling: Any) -> Judge:
    """One of them, greedy unless `sampling` changes that, with as many tokens as its chains need."""
    return pool.judge(spec, **{"max_new_tokens": s.max_new_tokens, **sampling})


def judge_everyday(tokens: int) -> Judgment:
    """The texts of untrained smol-base about `EVERYDAY`, in both orders."""
    free_memory()
    return JudgePool([smol.NAME]).judge(smol.NAME, max_new_tokens=tokens).compare(EVERYDAY)


def judge_all(
    s: Settings, specs: dict[str, str], pairs: Sequence[Pair], couples: Sequence[tuple[str, str]] = ()
) -> tuple[Results, dict[str, list[Judgment]]]:
    """(results, judgments by name) of every judge on `pairs`, in both orders; specs: name -> spec.

    couples: (first, second) names whose paired difference is computed. The rules (always A, the longer one)
    are baselines.
    """
    pool, judged = pool_of(s, list(specs.values())), {}
    results = new_results(0, "a notebook", {"world": "nano"} if s.fast else {})
    for name, spec in specs.items():
        out = s.out / "judged" / folder_name(s, spec)
        result, judged[name] = evaluate_pairs(name, judge_of(s, pool, spec), pairs, out)
        results.add_stage(result, length_bias=length_bias(pairs, judged[name]))
    for name, rule in RULES.items():
        results.add_stage(score(name, pairs, judge_by_rule(pairs, rule), 0.0), baseline=True)
    results.compare(pairs, judged, couples)
    return results, judged


def describe_difference(results: Results, first: str, second: str) -> str:
    """The paired difference of two judges in one sentence, and whether it could be chance."""
    d = results.find_difference(first, second)
    if d is None:
        raise InputError(f"{first} and {second} were not compared. Name them in the couples to compare.")
    low, high = 100 * d.low, 100 * d.high
    chance = "the interval includes 0, so it may be chance" if low <= 0 <= high else "the interval excludes 0"
    return (
        f"{second} minus {first}: {100 * d.difference:+.1f} points right in both orders, 95 % interval "
        f"{low:+.1f} to {high:+.1f} ({d.gained} pairs gained, {d.lost} lost, of {d.n}): {chance}."
    )


def find_changed_pair(pairs: Sequence[Pair], before: Sequence[Judgment], after: Sequence[Judgment]) -> Pair:
    """A pair that the later judge gets right in both orders and the earlier one does not, or the first
    pair."""
    was, is_now = ({j.pair_id: j for j in judged} for judged in (before, after))
    return next((p for p in pairs if is_now[p.id].right(p) and not was[p.id].right(p)), pairs[0])


def judgment_of(judged: Sequence[Judgment], pair: Pair) -> Judgment:
    """The judgment of that pair."""
    return next(judgment for judgment in judged if judgment.pair_id == pair.id)


def folder_name(s: Settings, spec: str) -> str:
    """A folder name for the current weights of a spec, and for its prompt settings."""
    return f"{fingerprint_of(spec)[:12] or Path(spec).name}-{s.style}-{s.max_new_tokens}"

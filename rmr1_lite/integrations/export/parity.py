"""The parity gate's comparison: the same judge calls before and after an export, and how many may differ.

A rule for each type of number (measured in docs/serving.md):

- 32 bits: every text is equal.
- 16 bits: no more verdicts change than transformers' own run in that type changes against its run in 32
bits, on the same
  pairs, plus that share's 95 % interval.
- fewer bits: as many verdicts as a type that changes SHARE of them would change in 39 of 40 runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rmr1_lite.evaluation.intervals import most_by_chance, wilson_interval
from rmr1_lite.types import Look, Order, Pair

Calls = Mapping[tuple[str, Order], Look]
EXACT = ("fp32", "f32")
HALF = ("bf16", "fp16", "f16")
SHARE = {"q8_0": 0.01, "q6_k": 0.03, "q4_k_m": 0.05}
HALF_SHARE = 0.02  # where 32 bits do not fit into memory, so the 16 bits have nothing to be compared with
VACUOUS = "No judge call had a verdict before, so none could change: give --pairs that it can judge."


@dataclass(frozen=True)
class Parity:
    """calls: judge calls compared. read: those with a verdict before. same_text, same_verdict: equal
    ones. right_before, right_after: calls that name the labelled response, None without labels. allowed:
    changed verdicts (changed texts for 32 bits). baseline: verdicts that the 16-bit type changes by
    itself, None where it was not measured. engine: what read the files back. changed: the calls whose
    verdict differs, with both texts."""

    engine: str
    number_type: str
    calls: int
    read: int
    same_text: int
    same_verdict: int
    right_before: int | None
    right_after: int | None
    allowed: int
    rule: str
    baseline: int | None
    changed: tuple[dict[str, Any], ...]

    @property
    def differ(self) -> int:
        """What the rule counts."""
        return self.calls - (self.same_text if self.number_type in EXACT else self.same_verdict)

    @property
    def vacuous(self) -> bool:
        """Nothing had a verdict that could change, and the texts do differ."""
        return self.read == 0 and self.same_text < self.calls

    @property
    def passed(self) -> bool:
        return self.differ <= self.allowed and not self.vacuous

    def summary(self) -> dict[str, Any]:
        """JSON values without the texts."""
        row = {name: value for name, value in asdict(self).items() if name != "changed"}
        return row | {"passed": self.passed}

    def lines(self) -> list[str]:
        """What a reader wants to know, a sentence a line."""
        shown = [
            f"Parity by {self.engine}: {self.same_verdict} of {self.calls} judge calls keep their verdict, "
            f"{self.same_text} their text ({self.read} had a verdict before).",
            f"{'Passed' if self.passed else 'NOT passed'}: {self.differ} differ, "
            f"{self.allowed} may ({self.rule}).",
        ]
        if self.right_before is not None:
            shown.insert(1, f"Right: {self.right_before} before, {self.right_after} after, of {self.calls}.")
        if self.vacuous:
            shown.append(VACUOUS)
        return shown


def compare_calls(
    pairs: list[Pair], before: Calls, after: Calls, number_type: str, engine: str, baseline: int | None = None
) -> Parity:
    """Both runs must hold the same calls. baseline: as in `Parity`."""
    labels = {pair.id: pair.label for pair in pairs}
    changed = [key for key in before if _verdict(before[key]) != _verdict(after[key])]
    labelled = all(labels.values())
    allowed, rule = allowance(number_type, len(before), baseline)
    return Parity(
        engine=engine,
        number_type=number_type,
        calls=len(before),
        read=sum(look.label is not None for look in before.values()),
        same_text=sum(before[key].generation.text == after[key].generation.text for key in before),
        same_verdict=len(before) - len(changed),
        right_before=_right(before, labels) if labelled else None,
        right_after=_right(after, labels) if labelled else None,
        allowed=allowed,
        rule=rule,
        baseline=baseline,
        changed=tuple(_change(key, before[key], after[key]) for key in changed),
    )


def allowance(number_type: str, calls: int, baseline: int | None) -> tuple[int, str]:
    """(how many may differ, the rule in words). Raises KeyError for an unknown type."""
    if number_type in EXACT:
        return 0, "32 bits keep every text"
    if number_type in HALF and baseline is not None:
        most = math.floor(calls * wilson_interval(baseline, calls)[1])
        return most, f"16 bits alone change {baseline} of {calls} in transformers, plus a 95 % interval"
    share = SHARE.get(number_type, HALF_SHARE)
    return most_by_chance(calls, share), f"{number_type} may change {share:.0%}, plus what chance adds"


def changed_verdicts(before: Calls, after: Calls) -> int:
    return sum(_verdict(before[key]) != _verdict(after[key]) for key in before)


def _verdict(look: Look) -> str | None:
    return look.label


def _right(calls: Calls, labels: Mapping[str, Any]) -> int:
    return sum(look.label == labels[key[0]] for key, look in calls.items())


def _change(key: tuple[str, Order], before: Look, after: Look) -> dict[str, Any]:
    return {
        "id": key[0],
        "order": key[1],
        "before": {"verdict": before.label, "status": before.status, "text": before.generation.text},
        "after": {"verdict": after.label, "status": after.status, "text": after.generation.text},
    }

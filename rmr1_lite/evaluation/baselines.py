"""Rules that judge without reading: what a judge must beat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rmr1_lite.prompts import pair_as_shown
from rmr1_lite.types import ORDERS, Generation, Judgment, Label, Look, Pair, Verdict


def judge_by_rule(pairs: Sequence[Pair], rule: Callable[[Pair], Label]) -> list[Judgment]:
    """Judgments of a rule that sees the responses in the order shown."""

    def look(pair: Pair, order: Any) -> Look:
        return Look(order, Generation(""), Verdict(rule(pair_as_shown(pair, order)), "ok"))

    return [Judgment(pair.id, tuple(look(pair, order) for order in ORDERS)) for pair in pairs]


RULES: dict[str, Callable[[Pair], Label]] = {
    "always A": lambda pair: "A",
    "longer": lambda pair: "A" if len(pair.response_a) >= len(pair.response_b) else "B",
}

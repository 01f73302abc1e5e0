"""Reviews to convert: their rows, reasons for leaving one out, and the counts of a conversion."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rmr1_lite.data.foreign_verdicts import CONFLICT, NO_VERDICT, TIE
from rmr1_lite.data.readers import Raw
from rmr1_lite.storage import RowError
from rmr1_lite.types import ORDERS, Order

BAD_ROW, LICENCE, NO_PAIR, OTHER_PAIR = "bad row", "licence", "no such pair", "another pair under that id"
NO_LABEL, SAME_SIDES, REPEATED = "pair without a label", "both sides are the same", "repeated"
CONTRADICTS, NO_REVIEW, TOO_LONG = "contradicts its own text", "nothing beside the verdict", "too long"
FAULTY, NOT_RIGHT = "faulty chain", "not right"
REASONS = (
    BAD_ROW, LICENCE, NO_PAIR, OTHER_PAIR, NO_LABEL, SAME_SIDES, REPEATED, NO_VERDICT, TIE, CONFLICT,
    CONTRADICTS, NOT_RIGHT, NO_REVIEW, TOO_LONG, FAULTY,
)  # fmt: skip


@dataclass(frozen=True)
class Review:
    """A checked row. stated: the row's own `verdict` field ("" without one)."""

    id: str
    pair: Any
    order: Order
    text: str
    stated: str
    has_stated: bool
    model: str
    source: str
    licence: str
    raw: Raw


def review_from_row(raw: Raw) -> Review:
    """One row, checked; raises RowError. Windows line ends become plain ones."""
    row = raw.values
    if not isinstance(row, dict):
        raise RowError("(row)", "is not an object", "write one JSON object per line")
    text, order, pair = row.get("text"), row.get("order"), row.get("pair")
    if not isinstance(text, str) or not text.strip():
        raise RowError("text", "is missing or empty", "give the review's text")
    if order not in ORDERS:
        raise RowError("order", f"is {order!r:.40}", f"give one of {', '.join(ORDERS)}")
    if not isinstance(pair, str | dict):
        raise RowError("pair", "is missing", "give the id of a pair, or the pair itself")
    stated = row.get("verdict")
    if stated not in (None, "", "A", "B", TIE):
        raise RowError(
            "verdict", f"is {stated!r:.40}", "give the letter of the side shown, A or B, or leave it out"
        )
    names = {name: row.get(name) or "" for name in ("id", "model", "source", "licence")}
    for name, value in names.items():
        if not isinstance(value, str):
            raise RowError(name, f"is {value!r:.40}", "give a text or leave it out")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    stated = stated if stated in ("A", "B") else ""
    return Review(
        pair=pair, order=order, text=text, stated=stated, has_stated="verdict" in row, raw=raw, **names
    )


class LeftOut(Exception):
    """One review that becomes no chain, with its reason."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail or reason)
        self.reason, self.detail = reason, detail


def left_out_row(raw: Raw, id: str, why: LeftOut) -> dict[str, Any]:
    return {"file": raw.file, "row": raw.number, "id": id, "reason": why.reason, "detail": why.detail}


@dataclass
class Counts:
    """Counts of one source and model. reasons: of reviews left out, in the order of `REASONS`."""

    source: str
    model: str
    rule: str = ""
    rows: int = 0
    readable_by: dict[str, int] = field(default_factory=dict)
    read: int = 0
    read_from_field: int = 0
    agrees: int = 0
    disagrees: int = 0
    field_has_none: int = 0
    shortened: int = 0
    kept: int = 0
    kept_not_right: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    def leave_out(self, reason: str) -> None:
        """Count one row that becomes no chain."""
        self.reasons[reason] = self.reasons.get(reason, 0) + 1


@dataclass
class Converted:
    """The result of `convert`; `text()` is a readable table."""

    out: Path
    report: Path
    left_out: Path
    counts: list[Counts]

    @property
    def kept(self) -> int:
        return sum(counts.kept for counts in self.counts)

    def text(self) -> str:
        """A line for every source and model, and the reasons of all."""
        lines = [f"{'model':<34}{'rule':<15}{'rows':>6}{'read':>6}{'agree':>8}{'short':>7}{'kept':>6}"]
        for c in self.counts:
            told = c.agrees + c.disagrees
            agree = f"{c.agrees / told:.1%}" if told else "-"
            rule = c.rule + (" (field)" if c.read_from_field else "")
            lines.append(
                f"{c.model[:33]:<34}{rule:<15}{c.rows:>6}{c.read:>6}{agree:>8}{c.shortened:>7}{c.kept:>6}"
            )
        rows = sum(c.rows for c in self.counts)
        reasons = sum((Counter(c.reasons) for c in self.counts), Counter())
        lines.append(f"{rows} rows: {self.kept} chains, {reasons.total()} left out")
        lines += [f"  {reason}: {reasons[reason]}" for reason in REASONS if reasons[reason]]
        if wrong := sum(c.kept_not_right for c in self.counts):
            lines.append(f"  {wrong} of the chains have a wrong verdict: `sft` refuses these")
        return "\n".join(lines)

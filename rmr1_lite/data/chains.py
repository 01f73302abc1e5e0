"""Distilled chains: a labelled pair, the order it was shown in, and the judge's text that SFT learns.

A row is a pair's row (see `rmr1_lite.data.rows`) with two more fields, `order` ("ab" or "ba") and
`chain`. A chain whose verdict is not the label, by the strict reading, is a bad row: SFT must never
teach a wrong verdict.

    read = read_chains("chains.jsonl")
    print(read.summary())
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rmr1_lite.config import MAX_CHARS
from rmr1_lite.data.pairs import Problem
from rmr1_lite.data.rows import pair_from_row, row_from_pair
from rmr1_lite.prompts import pair_as_shown
from rmr1_lite.storage import RowError, atomic_write_text, json_line, parse_line, read_lines
from rmr1_lite.types import ORDERS, Order, Pair
from rmr1_lite.verdict import parse_verdict


@dataclass(frozen=True)
class Chain:
    """`text` is the judge's text when `pair` is shown in `order`; its letter is the position
    shown."""

    pair: Pair
    order: Order
    text: str


@dataclass(frozen=True)
class ChainsRead:
    """The good rows of a file, and one Problem for every other row."""

    file: str
    chains: list[Chain]
    problems: list[Problem] = field(default_factory=list)

    def summary(self, limit: int = 20) -> str:
        """Counts and the first problems, as readable lines."""
        pairs = len({chain.pair.id for chain in self.chains})
        head = (
            f"{self.file}: {len(self.chains)} chains of {pairs} pairs read, {len(self.problems)} rows "
            "left out"
        )
        more = len(self.problems) - limit
        return "\n".join(
            [head, *map(str, self.problems[:limit]), *([f"... and {more} more"] if more > 0 else [])]
        )


def read_chains(path: str | Path) -> ChainsRead:
    """Read a JSONL of chains; bad rows become Problems. Raises InputError when the file cannot be read."""
    read = ChainsRead(str(path), [])
    seen: set[tuple[str, str]] = set()
    for number, line, ended in read_lines(path):
        try:
            chain = chain_from_row(parse_line(line, ended))
            if (chain.pair.id, chain.order) in seen:
                raise RowError(
                    "id", f"{chain.pair.id!r:.80} appears twice in this order", "keep one chain per order"
                )
            seen.add((chain.pair.id, chain.order))
            read.chains.append(chain)
        except RowError as error:
            read.problems.append(Problem.of(read.file, number, error))
    return read


def write_chains(path: str | Path, chains: Iterable[Chain]) -> None:
    """Write chains; `read_chains` returns them unchanged."""
    atomic_write_text(path, "".join(json_line(chain_row(chain)) for chain in chains))


def chain_row(chain: Chain) -> dict[str, Any]:
    """One row as stored; `chain_from_row` returns the same chain."""
    return {**row_from_pair(chain.pair), "order": chain.order, "chain": chain.text}


def chain_from_row(row: Any) -> Chain:
    """One row, checked; raises RowError."""
    if not isinstance(row, dict):
        raise RowError("(row)", "is not an object", "write one JSON object per line")
    row = dict(row)
    order, text = row.pop("order", None), row.pop("chain", None)
    if order not in ORDERS:
        raise RowError("order", f"is {order!r:.40}", f"give one of {', '.join(ORDERS)}")
    if not isinstance(text, str) or not text.strip():
        raise RowError("chain", "is missing or empty", "give the judge's text")
    pair = pair_from_row(row, max_chars=MAX_CHARS)
    if pair.label is None:
        raise RowError("label", "is missing", "give A or B: SFT learns only right verdicts")
    verdict, wanted = parse_verdict(text), pair_as_shown(pair, order).label
    if verdict.shown_label != wanted:
        found = (
            f"ends in {verdict.shown_label}" if verdict.shown_label else f"has no verdict ({verdict.status})"
        )
        raise RowError(
            "chain", f"{found}, the label shown in this order is {wanted}", "distil this pair again"
        )
    return Chain(pair, order, text)

"""Judgments and votes, stored on this machine in one SQLite file, or only in memory when strangers
share the page.

Rows are JSON objects with an id and a time. The exports are JSONL (everything) and CSV (one line per row);
votes export as preference pairs that `rmr1_lite.data.pairs.read_pairs` reads.
"""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rmr1_lite.types import InputError

COLUMNS = (
    "id",
    "created",
    "kind",
    "judge",
    "question",
    "response_a",
    "response_b",
    "verdict",
    "vote",
    "ranking",
    "seconds",
    "tokens",
)


def new_id() -> str:
    """A unique id."""
    return uuid.uuid4().hex[:12]


class History:
    """Rows in a file; None keeps them in memory for the lifetime of the object. Safe from several
    threads."""

    def __init__(self, path: str | Path | None) -> None:
        self.path = Path(path) if path else None
        self._memory: list[dict[str, Any]] = []
        if self.path:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with self._open() as base:
                    base.execute(
                        "CREATE TABLE IF NOT EXISTS rows (id TEXT PRIMARY KEY, created TEXT, kind TEXT, row "
                        "TEXT)"
                    )
            except sqlite3.DatabaseError as error:
                raise InputError(
                    f"{self.path} is not a history file ({error}). Give another --history, or move it away."
                ) from None

    def add(self, row: dict[str, Any]) -> dict[str, Any]:
        """Store a row; it gets an id and a time."""
        made = {"id": new_id(), "created": datetime.now(timezone.utc).isoformat(timespec="seconds"), **row}
        if not self.path:
            self._memory.append(made)
            return made
        with self._open() as base:
            values = (made["id"], made["created"], made["kind"], json.dumps(made))
            base.execute("INSERT INTO rows VALUES (?, ?, ?, ?)", values)
        return made

    def rows(self, kind: str | None = None, limit: int = 1000) -> list[dict[str, Any]]:
        """The latest rows first."""
        if not self.path:
            return [row for row in reversed(self._memory) if kind in (None, row["kind"])][:limit]
        where, values = ("WHERE kind = ?", [kind]) if kind else ("", [])
        with self._open() as base:
            found = base.execute(
                f"SELECT row FROM rows {where} ORDER BY created DESC, rowid DESC LIMIT ?", [*values, limit]
            )
            return [json.loads(text) for (text,) in found]

    def get(self, id: str) -> dict[str, Any] | None:
        """The row of that id."""
        if not self.path:
            return next((row for row in self._memory if row["id"] == id), None)
        with self._open() as base:
            found = base.execute("SELECT row FROM rows WHERE id = ?", [id]).fetchone()
        return json.loads(found[0]) if found else None

    def clear(self) -> None:
        """Forget everything."""
        self._memory.clear()
        if self.path:
            with self._open() as base:
                base.execute("DELETE FROM rows")

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection of this thread, committed at the end."""
        assert self.path is not None  # callers without a file keep their rows in memory
        with closing(sqlite3.connect(self.path, timeout=10)) as base, base:
            yield base


def as_jsonl(rows: Sequence[dict[str, Any]]) -> str:
    """One JSON object per line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """One line per row, for spreadsheets. A cell that a spreadsheet would run as a formula begins with an
    apostrophe."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, extrasaction="ignore")
    writer.writeheader()
    for row in rows:
        question = row["prompt"][-1]["content"] if row.get("prompt") else ""
        made = {**row, "question": question, "ranking": places_in_words(row.get("places", ()))}
        writer.writerow({name: _cell(value) for name, value in made.items()})
    return buffer.getvalue()


def places_in_words(places: Sequence[Sequence[int]]) -> str:
    """The places of a ranking with response numbers from 1, best first, like "2 > 1 = 3"."""
    return " > ".join(" = ".join(str(i + 1) for i in group) for group in places)


def as_pairs(rows: Sequence[dict[str, Any]]) -> str:
    """Votes for A or B as preference rows: prompt, chosen, rejected. A tie and "both are bad" state no
    preference and are left out."""
    made = []
    for row in rows:
        if row["kind"] == "vote" and row["vote"] in ("A", "B"):
            both = (row["response_a"], row["response_b"])
            chosen, rejected = both if row["vote"] == "A" else both[::-1]
            made.append(
                {
                    "id": row["id"],
                    "prompt": row["prompt"],
                    "chosen": chosen,
                    "rejected": rejected,
                    "meta": {"judge": row["judge"], "verdict": row["verdict"]},
                }
            )
    return as_jsonl(made)


def count_agreement(rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Votes compared with the judge's verdicts: agree, differ, tie and bad (the person's), undecided (the
    judge's)."""
    counts = dict.fromkeys(("agree", "differ", "tie", "bad", "undecided"), 0)
    for row in rows:
        if row["kind"] == "vote":
            own = row["vote"] if row["vote"] in ("tie", "bad") else None
            name = own or ("undecided" if row["verdict"] is None else None)
            counts[name or ("agree" if row["vote"] == row["verdict"] else "differ")] += 1
    return counts


def _cell(value: Any) -> Any:
    return (
        f"'{value}"
        if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
        else value
    )

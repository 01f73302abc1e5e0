"""Earlier judgments: listed, exported, shown again, and opened from a file or a link."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from rmr1_lite.app import history, html, service, sharing
from rmr1_lite.app.history import History
from rmr1_lite.types import InputError

GONE = "This row no longer exists."
Row = dict[str, Any]


class Past:
    """The page's history. public: each visitor's rows stay in that visitor's session."""

    def __init__(self, kept: History, public: bool) -> None:
        self.kept, self.public = kept, public
        self.files = Path(tempfile.mkdtemp(prefix="rmr1-judge-"))

    def history(self, visitor: History) -> History:
        """The store of this visitor's rows."""
        return visitor if self.public else self.kept

    def listed(self, visitor: History) -> tuple[list[list[str]], str, str, str, str]:
        """The history's table, the three files to download, and the vote statistics."""
        rows = self.history(visitor).rows()
        folder = Path(tempfile.mkdtemp(dir=self.files))  # one per call: two visitors never share a file
        made = {
            "history.jsonl": history.as_jsonl(rows),
            "history.csv": history.as_csv(rows),
            "votes.jsonl": history.as_pairs(rows),
        }
        for name, text in made.items():
            (folder / name).write_text(text, encoding="utf-8")
        log, sheet, votes = (str(folder / name) for name in made)
        return (
            [_table_row(row) for row in rows],
            log,
            sheet,
            votes,
            html.votes([row for row in rows if row["kind"] == "vote"]),
        )

    def find(self, visitor: History, id: str) -> tuple[str, Row | None]:
        """(display, row) of the row with that id."""
        row = self.history(visitor).get(id)
        return (html.notice(GONE), None) if row is None else (_shown(row), row)

    def forget(self, visitor: History) -> tuple[History, str, None]:
        """Delete the history: (visitor, nothing to show, no row)."""
        self.history(visitor).clear()
        return visitor, "", None

    def open_file(self, data: bytes | None) -> tuple[str, Row | None]:
        """(display, row) of a judgment saved as a file."""
        return _opened(sharing.read_file, data or b"")

    def open_link(self, fragment: str) -> tuple[str, Row | None]:
        """(display, row) of a judgment in a link."""
        return _opened(sharing.read_link, fragment)


def _opened(read: Any, given: Any) -> tuple[str, Row | None]:
    try:
        row = read(given)
    except InputError as error:
        return html.notice(str(error)), None
    return html.judgment(service.from_row(row, opened=True)), row


def _shown(row: Row) -> str:
    if row["kind"] != "rank":
        return html.judgment(service.from_row(row))
    present = sum(bool(text.strip()) for text in row["responses"])
    pairs = present * (present - 1) // 2
    ranked = html.ranking(service.ranking_from_row(row), pairs, pairs)
    return ranked + html.responses(row["responses"])


def _table_row(row: Row) -> list[str]:
    return [
        row["created"][:19].replace("T", " "),
        row["kind"],
        row["judge"],
        row["prompt"][-1]["content"][:80],
        row["verdict"] or "none",
        row["id"],
    ]

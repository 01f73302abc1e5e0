"""Reads and writes pairs as JSONL: one import for all files of the kit.

A bad row neither stops a file nor disappears: it becomes a `Problem` with file, row, field and remedy, and
the good rows are kept. `on_bad_row="fail"` raises instead.

    read = read_pairs("pairs.jsonl")
    print(read.summary())
    write_pairs("clean.jsonl", read.pairs)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from rmr1_lite.config import MAX_CHARS
from rmr1_lite.data.rows import pair_from_row, row_from_pair
from rmr1_lite.storage import (
    AtomicLines,
    RowError,
    atomic_write_text,
    json_line,
    parse_line,
    read_lines,
    write_json,
)
from rmr1_lite.types import InputError, Pair


@dataclass(frozen=True)
class Problem:
    """One fault of one row (counted from 1)."""

    file: str
    row: int
    field: str
    text: str
    remedy: str

    @classmethod
    def of(cls, file: str, row: int, error: RowError) -> Problem:
        """The Problem of a RowError, with file and row."""
        return cls(file, row, error.field, error.text, error.remedy)

    def __str__(self) -> str:
        return f"{self.file}, row {self.row}, {self.field}: {self.text}. Remedy: {self.remedy}."


SHOWN = 20  # problems printed; problems.jsonl lists all of them


class BadRows:
    """Handles unusable rows: counted and listed in `path`, or the first one stops the
    work.

    first: the first `SHOWN` of them.
    """

    def __init__(self, on_bad_row: str, files: AtomicLines, path: Path) -> None:
        self.on_bad_row, self.files, self.path = on_bad_row, files, path
        self.count = 0
        self.first: list[Problem] = []

    def add(self, file: str, row: int, error: RowError) -> None:
        """Raises InputError with on_bad_row "fail"."""
        problem = Problem.of(file, row, error)
        if self.on_bad_row == "fail":
            raise InputError(str(problem)) from None
        self.count += 1
        self.first += [problem] if self.count <= SHOWN else []
        self.files.write(self.path, asdict(problem))


@dataclass(frozen=True)
class PairsRead:
    """The content of a file: the good rows, and one Problem for every other row."""

    file: str
    pairs: list[Pair]
    problems: list[Problem] = field(default_factory=list)

    def summary(self, limit: int = 20) -> str:
        """Counts and the first `limit` problems, as readable lines."""
        labels: Counter[str] = Counter(pair.label or "none" for pair in self.pairs)
        head = (
            f"{self.file}: {len(self.pairs)} pairs read ({_counts(labels)}), {len(self.problems)} rows "
            "left out"
        )
        more = len(self.problems) - limit
        tail = [f"... and {more} more problems"] if more > 0 else []
        return "\n".join([head, *map(str, self.problems[:limit]), *tail])

    def write_problems(self, path: str | Path) -> None:
        """All problems as JSON, since a summary shows only the first ones."""
        write_json(path, [asdict(problem) for problem in self.problems])


def read_pairs(
    path: str | Path,
    on_bad_row: Literal["skip", "fail"] = "skip",
    max_chars: int = MAX_CHARS,
    seed: int = 0,
) -> PairsRead:
    """Read pairs in either row format of `rmr1_lite.data.rows`.

    seed: decides the side of chosen/rejected. Raises InputError when the file cannot be read, or on a bad row
    with "fail".
    """
    read = PairsRead(str(path), [])
    rows_by_id: dict[str, int] = {}
    for number, line, ended in read_lines(path):
        try:
            pair = pair_from_row(parse_line(line, ended), seed, max_chars)
            _check_new(pair.id, number, rows_by_id)
            read.pairs.append(pair)
        except RowError as error:
            read.problems.append(Problem.of(read.file, number, error))
    if read.problems and on_bad_row == "fail":
        raise InputError(read.summary())
    return read


def write_pairs(path: str | Path, pairs: Iterable[Pair]) -> None:
    """Write pairs as the kit's own rows; `read_pairs` returns the same pairs."""
    atomic_write_text(path, "".join(json_line(row_from_pair(pair)) for pair in pairs))


def _check_new(pair_id: str, number: int, rows_by_id: dict[str, int]) -> None:
    first = rows_by_id.setdefault(pair_id, number)
    if first != number:
        text = f"{pair_id!r:.80} was already used in row {first}"
        raise RowError("id", text, "give every row its own id; the first one is kept")


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"label {name}: {n}" for name, n in sorted(counter.items())) or "no label"

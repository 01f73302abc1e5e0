"""Where a benchmark's rows come from: the hub, or a local file or folder in the benchmark's own layout.

A row that breaks the benchmark's format is an InputError with file, row, field and remedy: a benchmark
is read completely or not at all, since a score on "most of it" is not the benchmark's score.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmr1_lite.types import InputError

KINDS = {str: "text", list: "a list", dict: "an object", int: "a whole number"}
ENDINGS = (".json", ".jsonl", ".parquet")


@dataclass(frozen=True)
class BenchmarkRow:
    """One row of a benchmark file. file: path below the given folder (or the hub id). number: from
    1."""

    values: dict[str, Any]
    file: str
    number: int

    def need(self, name: str, kind: type = str) -> Any:
        """The field's value; an InputError unless it exists, has this kind, and is not empty."""
        value = self.values.get(name)
        if isinstance(value, bool) or not isinstance(value, kind) or value in ("", [], {}):
            raise self.wrong(name, f"must be {KINDS[kind]} and not empty, is {value!r:.60}")
        return value

    def texts(self, name: str, count: int | None = None) -> list[str]:
        """A list of texts, `count` of them unless that is None."""
        value = self.need(name, list)
        if not all(isinstance(text, str) for text in value) or (count is not None and len(value) != count):
            raise self.wrong(name, f"must be a list of {count or 'one or more'} texts")
        return value

    def wrong(self, name: str, text: str) -> InputError:
        """The error for one field of this row."""
        where = f"{self.file}, row {self.number}, {name}"
        return InputError(f"{where}: {text}. Remedy: use the benchmark's file as published, or fix the row.")


def local_rows(path: str | Path) -> list[BenchmarkRow]:
    """Rows of a .json (a list), .jsonl or .parquet file, or of all such files in a folder, in the order of
    their paths."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist. Give the benchmark's file or folder.")
    files = (
        [path]
        if path.is_file()
        else sorted(p for p in path.rglob("*") if p.suffix in ENDINGS and p.is_file())
    )
    root = path.parent if path.is_file() else path
    rows = [row for file in files for row in _file_rows(file, file.relative_to(root).as_posix())]
    if not rows:
        raise InputError(
            f"{path} holds no rows. Give a file or folder with {', '.join(ENDINGS)} in the benchmark's "
            "layout."
        )
    return rows


def hub_rows(hub_id: str, split: str) -> list[BenchmarkRow]:
    """Rows of a data set on the hub, downloaded once by `datasets`."""
    from rmr1_lite.data.hub_sets import load_hub_set

    data = load_hub_set(hub_id, split, "give --data with the benchmark's own files")
    return [BenchmarkRow(dict(values), hub_id, number) for number, values in enumerate(data, 1)]


def _file_rows(file: Path, name: str) -> Iterator[BenchmarkRow]:
    for number, values in enumerate(_READERS[file.suffix](file), 1):
        row = BenchmarkRow(values if isinstance(values, dict) else {}, name, number)
        if not isinstance(values, dict):
            raise row.wrong("(row)", "is not an object")
        yield row


def _json(file: Path) -> list[Any]:
    try:
        rows = json.loads(file.read_bytes().decode())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is not JSON in UTF-8 ({error}). Remedy: download it again.") from None
    if not isinstance(rows, list):
        raise InputError(f"{file} must hold a list of objects. Remedy: use the file as published.")
    return rows


def _jsonl(file: Path) -> Iterator[Any]:
    from rmr1_lite.storage import RowError, parse_line, read_lines

    for number, line, ended in read_lines(file):
        try:
            yield parse_line(line, ended)
        except RowError as error:
            raise InputError(
                f"{file}, row {number}, {error.field}: {error.text}. Remedy: {error.remedy}."
            ) from None


def _parquet(file: Path) -> list[Any]:
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.read_table(file).to_pylist()
    except pyarrow.ArrowInvalid as error:
        raise InputError(f"{file} is not Parquet ({error}). Remedy: download it again.") from None


_READERS = {".json": _json, ".jsonl": _jsonl, ".parquet": _parquet}

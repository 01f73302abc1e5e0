"""Rows of anything a user brings: JSONL, JSON, CSV, TSV, Parquet, a folder of them, or a data set on the hub.

A row that cannot be read comes as a `Raw` with an error instead of values, so that it is reported with file
and row and the others are read. JSONL and CSV are read line by line for the same reason: readers that take a
file whole stop at its first bad row. Nothing is kept in memory but the row at hand (JSON files alone are read
whole).

    for raw in read_rows("pairs.csv"):
        print(raw.file, raw.number, raw.values or raw.error)
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmr1_lite.config import MAX_CHARS
from rmr1_lite.storage import RowError, parse_line, read_lines
from rmr1_lite.types import InputError

_SPLIT = re.compile(r"(train|test|validation|valid|val|dev|eval)(?=[-_.])")
BATCH = 1024  # Parquet rows in memory at a time


@dataclass(frozen=True)
class Raw:
    """One row. file: its path as given. number: from 1. error: why it could not be read; then values is
    None."""

    file: str
    number: int
    values: Any = None
    error: RowError | None = None


def read_rows(source: str | Path, split: str = "train") -> Iterator[Raw]:
    """Every row of a file, of a folder's files in the order of their paths, or of a hub id's `split`.

    Raises InputError when nothing can be read at all.
    """
    path = Path(source)
    if path.is_file():
        yield from _read_file(path, str(source))
    elif path.is_dir():
        yield from _read_folder(path, split)
    elif path.suffix in READERS or str(source).startswith((".", "/", "~")) or str(source).count("/") != 1:
        raise InputError(f"{source} does not exist. Give a file, a folder, or a hub id like owner/name.")
    else:
        yield from _read_hub(str(source), split)


def _read_folder(folder: Path, split: str) -> Iterator[Raw]:
    files = sorted(path for path in folder.rglob("*") if path.suffix in READERS and path.is_file())
    # the hub's own description of a data set
    files = [path for path in files if not path.name.startswith("dataset_info")]
    if not files:
        raise InputError(f"{folder} contains no data file. Give a folder with {', '.join(READERS)}.")
    for path in _of_split(files, folder, split):
        yield from _read_file(path, f"{folder}/{path.relative_to(folder).as_posix()}")


def _of_split(files: list[Path], folder: Path, split: str) -> list[Path]:
    """Where files are named by split, as on the hub (train-00000-of-00002.parquet), those of `split`: test
    rows are not training rows. Files without a split in their name belong to every one."""
    named = {path: match[1] for path in files if (match := _SPLIT.match(path.name))}
    kept = [path for path in files if named.get(path, split) == split]
    if not kept:
        raise InputError(
            f"{folder} has files of {', '.join(sorted(set(named.values())))}, none of {split}. Give --split."
        )
    return kept


def _read_file(path: Path, name: str) -> Iterator[Raw]:
    if path.suffix not in READERS:
        raise InputError(f"{path} has an unknown file extension. Give one of {', '.join(READERS)}.")
    for number, value in READERS[path.suffix](path):
        yield Raw(name, number, error=value) if isinstance(value, RowError) else Raw(name, number, value)


def _read_hub(hub_id: str, split: str) -> Iterator[Raw]:
    from datasets import load_dataset

    try:
        data = load_dataset(hub_id, split=split, streaming=True)
        for number, values in enumerate(data, 1):
            yield Raw(hub_id, number, dict(values))
    except (OSError, ValueError) as error:
        remedy = "Check the network and the name, or give a local copy of its files"
        raise InputError(
            f"{hub_id} ({split}) could not be loaded: {str(error).splitlines()[0]:.200}. {remedy}."
        ) from None


def _read_jsonl(path: Path) -> Iterator[tuple[int, Any]]:
    for number, line, ended in read_lines(path):
        try:
            yield number, parse_line(line, ended)
        except RowError as error:
            yield number, error


def _read_json(path: Path) -> Iterator[tuple[int, Any]]:
    """A list of rows, an object that holds one list of rows, or JSON lines under a wrong ending."""
    try:
        held = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        if "Extra data" in str(error):
            yield from _read_jsonl(path)
            return
        raise InputError(f"{path} is not JSON in UTF-8 ({error}). Save it as a list of objects.") from None
    values = held.values() if isinstance(held, dict) else [held]
    lists = [value for value in values if isinstance(value, list)]
    if len(lists) != 1:
        raise InputError(
            f"{path} must hold a list of objects (or one object with a single list in it), not {len(lists)} "
            "lists."
        )
    yield from enumerate(lists[0], 1)


def _read_delimited(path: Path) -> Iterator[tuple[int, Any]]:
    """Rows under a header line; row 1 is the first one below it. A cell that is a JSON list is read as one
    (messages)."""
    limit = csv.field_size_limit(4 * MAX_CHARS)
    try:
        with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            reader = csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",", strict=True)
            if not reader.fieldnames:
                raise InputError(f"{path} is empty. Start it with a line of column names.")
            if twins := sorted({name for name in reader.fieldnames if reader.fieldnames.count(name) > 1}):
                raise InputError(
                    f"{path} has the column {twins[0]!r} twice: one of them would be lost. Rename one."
                )
            number = 0
            while True:
                number += 1
                try:
                    yield number, _row_from_cells(next(reader), reader.fieldnames)
                except StopIteration:
                    return
                except csv.Error as error:
                    yield (
                        number,
                        RowError(
                            "(row)", f"is not CSV ({error})", "quote cells that contain quotes or line breaks"
                        ),
                    )
    finally:
        csv.field_size_limit(limit)


def _row_from_cells(row: dict[str, Any], names: Any) -> Any:
    if None in row or None in row.values():
        found = (
            len(row) - 1 + len(row[None]) if None in row else sum(value is not None for value in row.values())
        )
        return RowError(
            "(row)",
            f"has {found} cells for {len(names)} columns",
            "quote cells that contain commas or line breaks",
        )
    for name, text in row.items():
        try:
            text.encode()
        except UnicodeEncodeError:
            return RowError(name, "is not UTF-8", "save the file as UTF-8")
    return {name: _list_or_text(text) for name, text in row.items() if text != ""}


def _list_or_text(text: str) -> Any:
    """A cell as it is, or the messages that it holds; a list of other objects is an answer's own text."""
    if not text.startswith("[{"):
        return text
    try:
        held = json.loads(text)
    except ValueError:
        return text
    keys = ({"role", "content"}, {"from", "value"})
    return (
        held if all(isinstance(turn, dict) and any(k <= turn.keys() for k in keys) for turn in held) else text
    )


def _read_parquet(path: Path) -> Iterator[tuple[int, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        batches = pyarrow.parquet.ParquetFile(path).iter_batches(BATCH)
        # times, numbers and bytes that JSON does not know become texts: they end in `meta`
        rows = (json.loads(json.dumps(row, default=str)) for batch in batches for row in batch.to_pylist())
        yield from enumerate(rows, 1)
    except pyarrow.ArrowInvalid as error:
        raise InputError(f"{path} is not Parquet ({error}). Write the file again.") from None


READERS = {
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_delimited,
    ".tsv": _read_delimited,
    ".parquet": _read_parquet,
}

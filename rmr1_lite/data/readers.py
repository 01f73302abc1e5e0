"""Reads rows from any source: JSONL, JSON, CSV, TSV, Parquet, a folder of them, or a data set on the hub.

A row that cannot be read is a `Raw` with an error instead of values, so that it is reported with file
and row and the others are still read. JSONL and CSV are read line by line for the same reason: readers that
take a complete file stop at its first bad row. Only the current row is in memory (only JSON files are read
completely).

    for raw in read_rows("pairs.csv"):
        print(raw.file, raw.number, raw.values or raw.error)
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rmr1_lite.config import MAX_CHARS
from rmr1_lite.data.cells import finite
from rmr1_lite.storage import RowError, parse_line, read_lines
from rmr1_lite.types import InputError

_SPLIT = re.compile(r"(train|test|validation|valid|val|dev|eval)(?=[-_.])")
BATCH = 1024  # Parquet rows in memory at a time
PACKED = (".zst", ".xz", ".bz2", ".zip", ".7z", ".tar", ".tgz")


@dataclass(frozen=True)
class Raw:
    """One row. file: its path as given. number: from 1. error: why it could not be read; then values is
    None."""

    file: str
    number: int
    values: Any = None
    error: RowError | None = None


def read_rows(source: str | Path, split: str = "train") -> Iterator[Raw]:
    """Every row of a file, of a folder's files sorted by path, or of a hub id's `split`.

    Raises InputError when nothing can be read at all.
    """
    path = Path(source)
    if path.is_file():
        yield from _read_file(path, str(source))
    elif path.is_dir():
        yield from _read_folder(path, split)
    elif _ending(path) in READERS or str(source).startswith((".", "/", "~")) or str(source).count("/") != 1:
        raise InputError(f"{source} does not exist. Give a file, a folder, or a hub id like owner/name.")
    else:
        yield from _read_hub(str(source), split)


def _read_folder(folder: Path, split: str) -> Iterator[Raw]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    # the hub's own description of a data set
    files = [path for path in found if _ending(path) in READERS and not path.name.startswith("dataset_info")]
    if packed := [path.name for path in found if path.suffix.lower() in PACKED]:
        print(f"{folder}: not read: {', '.join(packed)}. Unpack them first.")
    if not files:
        raise InputError(f"{folder} contains no data files. Give a folder with {', '.join(READERS)}.")
    for path in _of_split(files, folder, split):
        yield from _read_file(path, f"{folder}/{path.relative_to(folder).as_posix()}")


def _of_split(files: list[Path], folder: Path, split: str) -> list[Path]:
    """If files are named by split, as on the hub (train-00000-of-00002.parquet), those of `split`: test
    rows are not training rows. Files without a split in their name belong to every one."""
    named = {path: match[1] for path in files if (match := _SPLIT.match(path.name))}
    kept = [path for path in files if named.get(path, split) == split]
    if not kept:
        raise InputError(
            f"{folder} has files of {', '.join(sorted(set(named.values())))}, none of {split}. Give --split."
        )
    return kept


def _read_file(path: Path, name: str) -> Iterator[Raw]:
    if path.suffix.lower() in PACKED:
        raise InputError(f"{path} has an unsupported compression. Unpack it, or use .gz.")
    if _ending(path) not in READERS:
        raise InputError(f"{path} has an unknown file extension. Give one of {', '.join(READERS)}.")
    if path.suffix.lower() == ".gz":
        yield from _read_gzip(path, name)
        return
    _check_encoding(path)
    for number, value in READERS[_ending(path)](path):
        yield Raw(name, number, error=value) if isinstance(value, RowError) else Raw(name, number, value)


def _ending(path: Path) -> str:
    """The file extension that decides the reader, in lower case and without .gz."""
    return (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()


def _read_gzip(path: Path, name: str) -> Iterator[Raw]:
    """Unpacked into a temporary file first: every reader reads a file by its path."""
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / f"rows{_ending(path)}"
        try:
            with gzip.open(path) as packed, open(plain, "wb") as file:
                shutil.copyfileobj(packed, file)
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{path} is not gzip, or is truncated ({error}). Copy it again.") from None
        yield from (replace(raw, file=name) for raw in _read_file(plain, name))


def _check_encoding(path: Path) -> None:
    """Excel's "Unicode text" is UTF-16: every row would be reported, none with the real reason."""
    with open(path, "rb") as file:
        begin = file.read(4)
    if begin[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise InputError(f"{path} is UTF-16. Save it as UTF-8.")


def _read_hub(hub_id: str, split: str) -> Iterator[Raw]:
    from rmr1_lite.data.hub_sets import load_hub_set

    for number, values in enumerate(load_hub_set(hub_id, split, "give a local copy of its files"), 1):
        yield Raw(hub_id, number, dict(values))


def _read_jsonl(path: Path) -> Iterator[tuple[int, Any]]:
    for number, line, ended in read_lines(path):
        try:
            yield number, parse_line(line, ended)
        except RowError as error:
            yield number, error


def _read_json(path: Path) -> Iterator[tuple[int, Any]]:
    """A list of rows, an object with one list of rows, or JSON lines with the wrong file extension."""
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
    """Rows under a header line; row 1 is the first one below it."""
    limit = csv.field_size_limit(4 * MAX_CHARS)
    try:
        with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            tab = path.suffix.lower() == ".tsv"
            lines = _Lines(file)
            reader = csv.reader(lines, delimiter="\t" if tab else ",", strict=True)
            names = next(reader, [])
            _check_header(path, names)
            yield from _rows_under(names, reader, lines)
    finally:
        csv.field_size_limit(limit)


def _check_header(path: Path, names: list[str]) -> None:
    if not names:
        raise InputError(f"{path} is empty. Start it with a line of column names.")
    if twins := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{path} has the column {twins[0]!r} twice: one of them would be lost. Rename one.")
    if names[0].lower().startswith("sep="):
        raise InputError(f"{path} begins with {names[0]!r}, which only Excel reads. Remove that line.")
    if len(names) == 1 and (other := next((sign for sign in ";\t|" if sign in names[0]), "")):
        raise InputError(
            f"{path} has only the column {names[0]!r:.60}: its cells seem to be separated by {other!r}. "
            f"Save it "
            "with commas, or with tabs as .tsv."
        )


class _Lines:
    """The lines of a file, the last few of which can be returned: an open quote swallows the next ones."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._again: list[str] = []
        self.taken: list[str] = []

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._again.pop(0) if self._again else next(self._file)
        self.taken.append(line)
        return line

    def give_back(self) -> int:
        """Return all lines since the last row except the first one, whose row is lost; returns how many."""
        self._again, given = self.taken[1:] + self._again, len(self.taken) - 1
        return given


def _rows_under(names: list[str], reader: Any, lines: _Lines) -> Iterator[tuple[int, Any]]:
    """Rows by number. An open quote costs only its own row: the lines that it swallowed are read again."""
    number = 0
    while True:
        number, lines.taken = number + 1, []
        try:
            cells = next(reader)
            row = _row_from_cells(cells, names) if cells else None
        except StopIteration:
            return
        except csv.Error as error:
            row = RowError("(row)", f"is not CSV ({error})", "quote cells that contain quotes or line breaks")
        if isinstance(row, RowError) and len(lines.taken) > 1:
            given = lines.give_back()
            remedy = "close its quote, or double the quotes inside it"
            row = RowError("(row)", f"opens a quote that swallows the next {given} lines", remedy)
        if row is None:  # an empty line
            number -= 1
        else:
            yield number, row


def _row_from_cells(cells: list[str], names: list[str]) -> Any:
    if len(cells) != len(names):
        return RowError(
            "(row)",
            f"has {len(cells)} cells for {len(names)} columns",
            "quote cells that contain commas or line breaks",
        )
    row = dict(zip(names, cells, strict=True))
    for name, text in row.items():
        try:
            text.encode()
        except UnicodeEncodeError:
            return RowError(name, "is not UTF-8", "save the file as UTF-8")
    return {name: text for name, text in row.items() if text != ""}


def _read_parquet(path: Path) -> Iterator[tuple[int, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        coded = {field.name for field in file.schema_arrow if "arrow.json" in str(field.type)}
        number = 0
        for batch in file.iter_batches(BATCH):
            for row in batch.to_pylist():
                number += 1
                yield number, _plain_row(row, coded)
    except pyarrow.ArrowInvalid as error:
        raise InputError(f"{path} is not Parquet ({error}). Write the file again.") from None


def _plain_row(row: dict[str, Any], coded: set[str]) -> Any:
    """The row in JSON's own values. coded: columns whose texts are JSON."""
    try:
        return {name: _plain(name, value, name in coded) for name, value in row.items()}
    except RowError as error:
        return error


def _plain(name: str, value: Any, coded: bool = False) -> Any:
    """Texts for bytes and for types that JSON lacks (times, decimals), null for numbers that it lacks."""
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise RowError(name, "holds bytes that are not UTF-8", "store it as text") from None
    if isinstance(value, str):
        return json.loads(value) if coded else value
    if isinstance(value, dict):
        return {key: _plain(name, held, coded) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(name, held, coded) for held in value]
    if value is None or isinstance(value, bool | int | float):
        return finite(value)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


READERS = {
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_delimited,
    ".tsv": _read_delimited,
    ".parquet": _read_parquet,
}

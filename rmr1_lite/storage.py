"""Files that survive a kill at any moment: atomic writes, an append-only JSONL log with repair, and
reading line by line.

A file that is replaced (`atomic_write_text`) is either the old or the new one, never half-written. A log that
grows (`JsonlLog`) can lose at most the row being written: on opening, a half-written last line is moved to
`PATH.broken`. A row that cannot be used is a `RowError` that names the field and the remedy; readers add file
and row number.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from rmr1_lite.types import InputError


def atomic_write_text(path: str | Path, text: str) -> None:
    """`atomic_write_bytes` of the text in UTF-8."""
    atomic_write_bytes(path, text.encode())


def atomic_write_bytes(path: str | Path, data: bytes) -> None:
    """Replace the complete file at `path`: temporary file next to it, fsync, rename."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            _flush_to_disk(file)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


class AtomicLines:
    """JSONL files that are renamed into place together if the block succeeds; otherwise nothing changes."""

    def __init__(self, *paths: str | Path) -> None:
        self._places = {Path(p): Path(p).with_name(f".{Path(p).name}.{os.getpid()}.tmp") for p in paths}
        self._files: dict[Path, IO[bytes]] = {}

    def __enter__(self) -> AtomicLines:
        for path, temporary in self._places.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._files[path] = open(temporary, "wb")
        return self

    def write(self, path: str | Path, row: dict[str, Any] | str) -> None:
        """Add one row, or the line of one, to one of the files."""
        line = row if isinstance(row, str) else json_line(row)
        self._files[Path(path)].write(line.encode())

    def __exit__(self, kind: type | None, *_: object) -> None:
        whole = False
        try:
            for file in self._files.values() if kind is None else ():
                _flush_to_disk(file)
            whole = kind is None
        finally:  # a full disk is noticed in the flush
            for file in self._files.values():
                with suppress(OSError):
                    file.close()
            for path, temporary in self._places.items():
                if whole:
                    os.replace(temporary, path)
                else:
                    temporary.unlink(missing_ok=True)


def write_json(path: str | Path, value: Any) -> None:
    """`atomic_write_text` of indented JSON."""
    atomic_write_text(path, _dump_readable(value, indent=2) + "\n")


def same_settings(
    path: str | Path, now: dict[str, Any], unset: str = "", added: Collection[str] = ()
) -> dict[str, Any] | None:
    """The settings stored at `path`, None when there are none yet.

    unset: a name that may be None now, whatever was stored. added: names that older files
    do not hold. Raises InputError when the settings differ from `now`.
    """
    path = Path(path)
    if not path.exists():
        return None
    try:
        then = json.loads(path.read_bytes())
    except ValueError:
        raise InputError(
            f"{path} is not JSON. Delete it to continue with the current settings, or give another --out."
        ) from None
    other = [
        f"{name} was {then.get(name)!r}, is {value!r}"
        for name, value in now.items()
        if then.get(name) != value
        and not (name == unset and value is None)
        and not (name in added and name not in then)
    ]
    if other:
        raise InputError(
            f"{path} was created with other settings: {'; '.join(other)}. Use the same settings to resume, "
            "or another --out."
        )
    return then


def json_line(row: dict[str, Any]) -> str:
    """One row as it is in a JSONL file, line end included."""
    return _dump_readable(row) + "\n"


class JsonlLog:
    """An append-only file of JSON rows that knows which keys it holds.

    key: the names of the fields that identify a row. One process may write at a time: the second one is
    refused. Only keys and offsets stay in memory. Close it, or use it as a context manager.
    """

    def __init__(self, path: str | Path, key: Sequence[str] = ("id",)) -> None:
        self.path, self.key = Path(path), tuple(key)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._open()
        self.repaired = self._repair()
        self._offsets = self._index()

    def __enter__(self) -> JsonlLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._offsets

    def __len__(self) -> int:
        return len(self._offsets)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Rows in the order written."""
        return (self.get(key) for key in list(self._offsets))

    @property
    def done(self) -> frozenset[Hashable]:
        """Keys of the rows that are in the file."""
        return frozenset(self._offsets)

    def get(self, key: Hashable) -> dict[str, Any]:
        """The row under a key; KeyError for a missing one."""
        self._file.seek(self._offsets[key])
        return json.loads(self._file.readline())

    def append(self, row: dict[str, Any]) -> None:
        """Add one row and pass it to the operating system at once, so a killed process loses nothing."""
        key = self._key_of(row)
        if key in self._offsets:
            raise ValueError(f"{self.path} already has a row {key}")
        line = json_line(row).encode()
        offset = self._file.seek(0, os.SEEK_END)
        self._file.write(line)
        self._file.flush()
        self._offsets[key] = offset

    def rewrite(self, keep: Callable[[dict[str, Any]], bool], order: Callable[[dict[str, Any]], Any]) -> int:
        """Replace the file by the rows that `keep` accepts, sorted by `order`; returns how many left."""
        rows = sorted(filter(keep, self), key=order)
        left = len(self) - len(rows)
        atomic_write_text(self.path, "".join(map(json_line, rows)))
        self.close()
        self._file = self._open()
        self._offsets = self._index()
        return left

    def close(self) -> None:
        self._file.close()

    def _open(self) -> IO[bytes]:
        if self.path.is_dir():
            raise InputError(f"{self.path} is a folder. Give the name of a file.")
        file = open(self.path, "a+b")
        _lock_file(file, self.path)
        return file

    def _repair(self) -> bool:
        """Complete a last line without its line end, or move it away; True when something was moved."""
        self._file.seek(0)
        data = self._file.read()
        start = data.rfind(b"\n") + 1
        fragment = data[start:]
        if not fragment:
            return False
        if _is_object(fragment):
            self._file.write(b"\n")
            self._file.flush()
            return False
        with open(f"{self.path}.broken", "ab") as aside:
            aside.write(fragment + b"\n")
            _flush_to_disk(aside)
        self._file.truncate(start)
        return True

    def _index(self) -> dict[Hashable, int]:
        offsets: dict[Hashable, int] = {}
        self._file.seek(0)
        offset = 0
        for number, line in enumerate(self._file, 1):
            if line.strip():
                offsets[self._key_at(number, line, offsets)] = offset
            offset += len(line)
        return offsets

    def _key_at(self, number: int, line: bytes, seen: dict[Hashable, int]) -> Hashable:
        where = f"{self.path}, row {number}"
        try:
            key = self._key_of(json.loads(line))
        except (ValueError, TypeError, KeyError, RecursionError):
            raise InputError(
                f"{where}: not a row of this log. Move the line or the file elsewhere, then resume."
            ) from None
        if key in seen:
            raise InputError(
                f"{where}: {self.key} = {key} appears there twice. Remove one of the rows, then resume."
            )
        return key

    def _key_of(self, row: dict[str, Any]) -> Hashable:
        key = tuple(row[name] for name in self.key)
        hash(key)
        return key[0] if len(key) == 1 else key


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _lock_file(file: IO[bytes], path: Path) -> None:
    """Refuse a second writer; the lock ends with the process. Windows has no fcntl: no one is
    refused there."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise InputError(
            f"{path} is being written by another process. Wait for it or choose another file."
        ) from None


def _flush_to_disk(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _dump_readable(value: Any, indent: int | None = None) -> str:
    """Readable JSON; escaped where the text holds half a surrogate pair, which a model can write and UTF-8
    cannot."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    storable = text.encode(errors="replace").decode() == text
    return text if storable else json.dumps(value, indent=indent)


def read_lines(path: str | Path) -> Iterator[tuple[int, bytes, bool]]:
    """Row number (from 1), bytes and whether the line has its end, for lines that are not blank; .gz too."""
    try:
        with gzip.open(path) if str(path).endswith(".gz") else open(path, "rb") as file:
            # bytes: text mode would stop at a bad byte, and splitlines() cuts at U+2028 inside a text
            for number, line in enumerate(file, 1):
                line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                if line.strip():
                    yield number, line, line.endswith(b"\n")
    except (OSError, EOFError, zlib.error) as error:
        why = getattr(error, "strerror", "") or error
        raise InputError(f"{path}: {why}. Give the path of a JSONL file that can be read.") from None


def parse_line(line: bytes, ended: bool = True) -> Any:
    """The JSON value of one line; raises RowError. `ended` is False for a last line without its line end."""
    try:
        return json.loads(line.decode(), object_pairs_hook=_no_twins)
    except RowError:
        raise
    except (ValueError, RecursionError) as error:
        if not ended:
            raise RowError("(row)", "is a half-written last line", "finish the line or delete it") from None
        if isinstance(error, UnicodeDecodeError):
            text = f"is not UTF-8 (byte 0x{line[error.start]:02x} at position {error.start})"
            raise RowError("(row)", text, "save the file as UTF-8") from None
        raise RowError("(row)", f"is not JSON ({error})", "write one JSON object per line") from None


def _no_twins(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON allows a name twice and keeps the last value; here that would lose the first one silently."""
    counts = Counter(name for name, _ in items)
    for name, count in counts.items():
        if count > 1:
            raise RowError(name, "appears twice in one object", "keep one of them")
    return dict(items)


class RowError(ValueError):
    """One field of one row is wrong. The reader adds file and row number."""

    def __init__(self, field: str, text: str, remedy: str) -> None:
        super().__init__(f"{field}: {text}")
        self.field, self.text, self.remedy = field, text, remedy

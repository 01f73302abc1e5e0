"""The rows of answer files: every `*.jsonl` file of the folder that is not a request file.

The format is OpenAI's: {"custom_id", "response": {"status_code", "body"}, "error"}. vLLM puts an error into
`error` and leaves out the body; vendors put it into the body, into a second file, or give status 0 and
nothing else; some write the body as a text. Public reports of each form are listed in
tests/judging/test_batch_answers.py.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmr1_lite.storage import RowError, parse_line, read_lines

REQUESTS = re.compile(r"requests-\d+-\d+\.jsonl")


@dataclass(frozen=True)
class Answer:
    """One row. status: of HTTP, None where the row has none. body: of the response, parsed. error: outside of
    the response. place: file and row, for messages. mark: identifies the row in later calls."""

    custom_id: str
    status: int | None
    body: Any
    error: Any
    place: str
    mark: str

    @property
    def failed(self) -> bool:
        """Whether it is an error, as far as can be seen without reading the reply."""
        return bool(self.error) or not isinstance(self.body, dict) or not self.body.get("choices")

    @property
    def error_status(self) -> int | None:
        """The status of an error: with 200, the code inside the body, if it is one of HTTP."""
        if self.status is None or self.status >= 400:
            return self.status
        error = self.body.get("error") if isinstance(self.body, dict) else None
        return _status(error.get("code")) if isinstance(error, dict) else None


def answer_files(folder: Path) -> list[Path]:
    """The files to read, by name. Hidden ones are left out: macOS writes them next to copied files."""
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(
        path
        for path in found
        if path.suffix.lower() == ".jsonl"
        and not path.name.startswith(".")
        and not REQUESTS.fullmatch(path.name)
    )


def read_answers(path: Path, say_bad: Callable[[str], None]) -> Iterator[Answer]:
    """The answers of one file; `say_bad` takes each row that is none, with its place and what is wrong."""
    for number, line, ended in read_lines(path):
        place = f"{path.name}, row {number}"
        try:
            yield _answer(_row(line, ended), place, line, path.name)
        except RowError as error:
            say_bad(f"{place}: {error.field} {error.text}".replace("(row) ", ""))


def _row(line: bytes, ended: bool) -> Any:
    try:
        return json.loads(line.decode())
    except (ValueError, RecursionError):
        return parse_line(line, ended)  # says what is wrong


def _answer(row: Any, place: str, line: bytes, file: str) -> Answer:
    if not isinstance(row, dict):
        raise RowError("(row)", "is not an object", "")
    if not isinstance(row.get("custom_id"), str):
        raise RowError("custom_id", "is missing", "")
    if "response" not in row and "error" not in row:
        raise RowError("(row)", f"holds neither response nor error, but {', '.join(list(row)[:5])}", "")
    response = _parsed(row.get("response"))
    status, body = None, response
    if isinstance(response, dict) and not {"choices", "error"} & response.keys():
        status, body = _status(response.get("status_code")), _parsed(response.get("body"))
    return Answer(row["custom_id"], status, body, row.get("error"), place, _mark(row, line, file))


def _mark(row: dict[str, Any], line: bytes, file: str) -> str:
    """Rows have ids of their own, by which the copy of a file is the same; without them the file counts."""
    own = b"" if row.get("id") else file.encode()
    return hashlib.sha256(own + line.strip()).hexdigest()[:16]


def _parsed(value: Any) -> Any:
    """JSON inside a text; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _status(value: Any) -> int | None:
    """A status of HTTP, also as a text; None for 0, which vendors give when there was none."""
    number = int(value) if isinstance(value, int) or isinstance(value, str) and value.isdigit() else 0
    return number or None

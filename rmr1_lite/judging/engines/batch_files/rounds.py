"""Request files, round after round: `requests-ROUND-PART.jsonl`, and what is remembered of each round.

The first round holds every request, a later one those that were missing or failed in the answers to the
rounds before it. `round-ROUND.json` is written last: a round without it was interrupted, and is written
again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmr1_lite.storage import AtomicLines, atomic_write_text, json_line
from rmr1_lite.types import InputError

URL = "/v1/chat/completions"
# vendors take 50,000 requests and 200 MB (of a million bytes) a file
MOST_REQUESTS, MOST_BYTES = 50_000, 190_000_000
# ends of lines to readers that split at more than \n
_LINE_ENDS = {ord(char): f"\\u{ord(char):04x}" for char in "\u0085\u2028\u2029"}


@dataclass(frozen=True, eq=False)
class Part:
    """One request file. ids: of its requests. left_out: parts of the body that had been refused before."""

    path: Path
    ids: tuple[str, ...]
    left_out: frozenset[str]


class Rounds:
    """The rounds of a folder. parts: all request files, oldest first. left_out: what `model` has refused.
    used: marks of failed answers whose requests were written again. Raises InputError for a damaged
    record."""

    def __init__(self, folder: Path, model: str) -> None:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file, but batch files need a folder of that name. Move it away.")
        self.folder, self.model, self.last = folder, model, 0
        self.parts: list[Part] = []
        self.left_out: frozenset[str] = frozenset()
        self.used: set[str] = set()
        while (path := self._record(self.last + 1)).exists():
            self.last += 1
            self._read(path)
        self._latest = {custom_id: part for part in self.parts for custom_id in part.ids}

    def latest(self, custom_id: str) -> Part | None:
        """The last file that holds a request, None for one that was never written."""
        return self._latest.get(custom_id)

    def write(
        self,
        rows: Iterable[tuple[str, dict[str, Any]]],
        left_out: Iterable[str],
        used: Iterable[str],
        most_requests: int = MOST_REQUESTS,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        """Write the next round: (custom id, body) of every request."""
        self.last += 1
        for unfinished in self.folder.glob(f"requests-{self.last}-*.jsonl"):
            unfinished.unlink()
        left, new = frozenset(left_out), set(used)
        lines = ((name, _line(name, body)) for name, body in rows)
        parts = [
            Part(path, tuple(ids), left) for path, ids in self._write_parts(lines, most_requests, most_bytes)
        ]
        record = {
            "model": self.model,
            "left_out": sorted(left),
            "used": sorted(new),
            "parts": [part.ids for part in parts],
        }
        atomic_write_text(self._record(self.last), json.dumps(record) + "\n")
        self.parts += parts
        self.left_out, self.used = left, self.used | new
        self._latest |= {custom_id: part for part in parts for custom_id in part.ids}

    def _write_parts(
        self, lines: Iterator[tuple[str, str]], most_requests: int, most_bytes: int
    ) -> Iterator[tuple[Path, list[str]]]:
        """Write the files one after the other; only one line is in memory."""
        following = next(lines, None)
        number = 0
        while following is not None:
            number += 1
            path, ids, room = self._path(self.last, number), list[str](), most_bytes
            with AtomicLines(path) as file:
                while following is not None:
                    room -= len(following[1].encode())
                    if ids and (room < 0 or len(ids) == most_requests):
                        break
                    file.write(path, following[1])
                    ids.append(following[0])
                    following = next(lines, None)
            yield path, ids

    def _read(self, path: Path) -> None:
        try:
            row = json.loads(path.read_bytes())
            parts = [tuple(map(str, ids)) for ids in row["parts"]]
            left_out, used = frozenset(row["left_out"]), set(row["used"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path} is damaged ({error!r:.80}). Copy it again; or delete it, and the same command "
                "writes its requests once more."
            ) from None
        round_number = int(path.stem.removeprefix("round-"))
        self.parts += [
            Part(self._path(round_number, number), ids, left_out) for number, ids in enumerate(parts, 1)
        ]
        self.used |= used
        if row.get("model") == self.model:
            self.left_out = left_out

    def _record(self, number: int) -> Path:
        return self.folder / f"round-{number}.json"

    def _path(self, number: int, part: int) -> Path:
        return self.folder / f"requests-{number}-{part}.jsonl"


def _line(custom_id: str, body: dict[str, Any]) -> str:
    row = {"custom_id": custom_id, "method": "POST", "url": URL, "body": body}
    return json_line(row).translate(_LINE_ENDS)

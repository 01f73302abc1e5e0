"""An engine that reads its texts from a log: judge again without a model, with another reading or for a
test.

A row is {"id", "order", "text"} with optional "vote" (0), "finished" (true), "thought_open" (as given) and
the counts that `items.jsonl` holds, so the log of any run can be replayed. A request that the log does not
hold becomes an error in its Generation, never a guess.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

from rmr1_lite.judging.engines.base import Request, Sampling
from rmr1_lite.storage import RowError, parse_line, read_lines
from rmr1_lite.types import ORDERS, Generation, InputError, Problem

# optional field: (its type, the value when the row does not have it)
OPTIONAL: dict[str, tuple[type | tuple[type, ...], Any]] = {
    "finished": ((bool, type(None)), True),  # null: the server did not say
    "thought_open": (bool, False),
    "prompt_tokens": (int, 0),
    "completion_tokens": (int, 0),
    "seconds": ((int, float), 0.0),
    "error": ((str, type(None)), None),
}


ANY_STYLE = "rubrics"  # for the prompts of a log, which no model sees


class ReplayEngine:
    """Texts from a JSONL file. Raises InputError at load for a row that cannot be replayed or appears
    twice.

    style: by default the one that the log's settings name; a log without settings needs none, since no model
    sees the prompts. thought_open: of rows that do not say it.
    """

    def __init__(self, path: str | Path, style: str | None = None, thought_open: bool = False) -> None:
        self.name, self.style = f"replay:{path}", style or _logged_style(Path(path)) or ANY_STYLE
        self._thought_open = thought_open
        self._generations: dict[tuple[str, str, int], Generation] = {}
        for number, line, ended in read_lines(path):
            try:
                self._add(parse_line(line, ended))
            except RowError as error:
                where = f"{path}, row {number}, {error.field}"
                raise InputError(f"{where}: {error.text}. Remedy: {error.remedy}.") from None

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[int, Generation]]:
        """Yield the logged Generation of every request; `sampling` has no effect."""
        for index, request in enumerate(requests):
            yield index, self._find(request)

    def stream(self, request: Request, sampling: Sampling) -> Generator[str, None, Generation]:
        """Yield the logged text in one piece and return its Generation."""
        generation = self._find(request)
        yield generation.text
        return generation

    def _add(self, row: Any) -> None:
        key = _key(row)
        if key in self._generations:
            text = f"{key[0]!r:.80} with order {key[1]} and vote {key[2]} appears twice"
            raise RowError("id", text, "keep one of the rows, or number them with vote")
        self._generations[key] = generation_from_row({"thought_open": self._thought_open, **row})

    def _find(self, request: Request) -> Generation:
        found = self._generations.get((request.id, request.order, request.vote))
        missing = f"the log has no row for order {request.order}, vote {request.vote}"
        return found or Generation("", finished=False, error=missing)


def _logged_style(path: Path) -> str | None:
    """The prompt style in the settings next to a log of this kit, None without them."""
    for settings in (Path(f"{path}.run.json"), path.with_name("run.json")):
        if settings.is_file():
            try:
                return json.loads(settings.read_text(encoding="utf-8")).get("style")
            except (ValueError, AttributeError):
                return None
    return None


def generation_from_row(row: dict[str, Any]) -> Generation:
    """The Generation of one log row; raises RowError."""
    if not isinstance(row.get("text"), str):
        raise RowError("text", "is missing or not a text", "give the model's text")
    values = {name: row.get(name, default) for name, (_, default) in OPTIONAL.items()}
    for name, (kind, _) in OPTIONAL.items():
        if not isinstance(values[name], kind):
            raise RowError(name, f"is {values[name]!r:.40}", "give the right type, or leave it out")
    status = row.get("status")
    problem: Problem = status if status in ("filtered", "clipped") else "error"
    return Generation(row["text"], too_long=status == "too_long", problem=problem, **values)


def _key(row: Any) -> tuple[str, str, int]:
    if not isinstance(row, dict):
        raise RowError("(row)", "is not an object", "write one JSON object per line")
    if row.get("order") not in ORDERS:
        raise RowError("order", f"is {row.get('order')!r:.40}", f"give one of {', '.join(ORDERS)}")
    if not isinstance(row.get("id"), str | int) or isinstance(row["id"], bool):
        raise RowError("id", f"is {row.get('id')!r:.40}", "give the id of the pair")
    vote = row.get("vote", 0)
    if not isinstance(vote, int) or isinstance(vote, bool) or vote < 0:
        raise RowError("vote", f"is {vote!r:.40}", "give a whole number of at least 0, or leave it out")
    return str(row["id"]), row["order"], vote

"""Stored answers: a response is scored against them when the caller gives no reference.

Only answers to the same conversation are comparable, so they are stored by conversation. A file holds one
JSON object per line, {"prompt", "response"} or a pair ({"prompt", "response_a", "response_b"}, or chosen and
rejected): answers collected earlier, or the pairs that a judge was trained on.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rmr1_lite.api.inputs import Prompt, check_candidates, check_pair, conversation_key
from rmr1_lite.data.rows import pair_from_row
from rmr1_lite.storage import RowError, parse_line, read_lines
from rmr1_lite.types import InputError, Message

PANEL = 8  # answers that a response is compared with


class Answers:
    """Answers by conversation, in the order given, equal ones once."""

    def __init__(self) -> None:
        self._texts: dict[str, list[str]] = {}
        self._more: Callable[[tuple[Message, ...]], Sequence[str]] = lambda prompt: ()

    def fall_back_on(self, source: Callable[[tuple[Message, ...]], Sequence[str]]) -> None:
        """Ask `source` for answers to conversations without stored ones."""
        self._more = source

    def __len__(self) -> int:
        return sum(map(len, self._texts.values()))

    @staticmethod
    def read(source: str | Path | Mapping[str, Sequence[str]]) -> Answers:
        """From a JSONL file, or a mapping from prompts to their answers. Raises InputError with file, row and
        field."""
        answers = Answers()
        if isinstance(source, Mapping):
            for prompt, texts in source.items():
                for text in check_candidates(prompt, texts, f"answers[{prompt!r:.40}]").texts:
                    answers.add(prompt, text)
            return answers
        for number, line, ended in read_lines(source):
            try:
                answers._add_row(parse_line(line, ended))
            except RowError as error:
                where = f"{source}, row {number}, {error.field}"
                raise InputError(f"{where}: {error.text}. Remedy: {error.remedy}.") from None
        return answers

    def add(self, prompt: Prompt, response: str) -> None:
        """Store one answer."""
        kept = self._texts.setdefault(conversation_key(prompt), [])
        if response not in kept:
            kept.append(response)

    def panel(self, prompt: Prompt, response: str, size: int = PANEL, seed: int = 0) -> list[str]:
        """`size` answers to that conversation except `response`, or all there are, drawn by the seed. Raises
        InputError with fewer than two."""
        key = conversation_key(prompt)
        stored = self._texts.get(key) or self._more(check_pair(prompt, "a", "b").prompt)
        found = [text for text in stored if text.strip() != response.strip()]
        if len(found) < 2:
            raise InputError(
                f"{len(found)} stored answers to this prompt besides the response: a panel needs two. Give "
                "reference= or panel=, or store answers to this prompt (answers= of load_judge)."
            )
        return random.Random(f"{seed}/{key}").sample(found, min(size, len(found)))

    def _add_row(self, row: object) -> None:
        if isinstance(row, dict) and "response" in row:
            try:
                pair = check_pair(row.get("prompt"), row["response"], "-", ("response", "-"))  # type: ignore[arg-type]
            except InputError as error:
                raise RowError("response", str(error).rstrip("."), "give prompt and response") from None
            return self.add(pair.prompt, pair.response_a)
        pair = pair_from_row(row)
        self.add(pair.prompt, pair.response_a)
        self.add(pair.prompt, pair.response_b)


def nano_answers(prompt: tuple[Message, ...]) -> tuple[str, ...]:
    """The nano world writes its own answers to its questions (`rmr1_lite.data.nano.answers`)."""
    from rmr1_lite.data.nano.answers import world_answers

    return world_answers(prompt[-1]["content"]) if len(prompt) == 1 else ()

"""What is reported about a folder of answers: counts, and the first examples with file and row."""

from __future__ import annotations

from collections import defaultdict
from typing import Literal

EXAMPLES = 3
Kind = Literal["bad", "unknown", "same", "different", "failed", "missing"]
# kind -> (one, several) of the lines that report it
_LINES: dict[Kind, tuple[str, str]] = {
    "bad": ("1 row is not an answer and was not used", "{} rows are not answers and were not used"),
    "unknown": (
        "1 answer has an id that no request of this run has, so it was not used",
        "{} answers have ids that no request of this run has, so they were not used",
    ),
    "same": (
        "1 request was answered twice with the same text, which counts once",
        "{} requests were answered twice with the same text, which counts once",
    ),
    "different": (
        "1 further answer differs from the one before it; the first one is used",
        "{} further answers differ from those before them; the first one of each request is used",
    ),
    "failed": ("1 request failed", "{} requests failed"),
    "missing": (
        "1 request of an answered file has no answer",
        "{} requests of answered files have no answer",
    ),
}


class Findings:
    """Counted by kind while answers are read; the memory they take does not grow."""

    def __init__(self) -> None:
        self._counts: dict[Kind, int] = defaultdict(int)
        self._examples: dict[Kind, list[str]] = defaultdict(list)

    def add(self, kind: Kind, example: str) -> None:
        """Count one, and keep the example if it is among the first."""
        self._counts[kind] += 1
        if len(self._examples[kind]) < EXAMPLES:
            self._examples[kind].append(example)

    def lines(self) -> list[str]:
        """One line for each kind that was found, followed by its examples."""
        found = []
        for kind, (one, several) in _LINES.items():
            if count := self._counts[kind]:
                found.append(f"{one if count == 1 else several.format(f'{count:,}')}:")
                found += [f"  {example}" for example in self._examples[kind]]
                found += [f"  and {count - EXAMPLES:,} more"] if count > EXAMPLES else []
        return found

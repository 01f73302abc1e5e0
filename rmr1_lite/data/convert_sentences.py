"""Sentences of a judge's review and their positions: the units that conversion tests, removes or keeps."""

from __future__ import annotations

import re

Span = tuple[int, int]

_LINE = re.compile(r"[^\n]+")
_END = re.compile(r"[.!?…]+[\"'”’)\]*_]*(?=\s)|[。！？]+[\"'”’」』）]*")
# a full stop after one of these ends no sentence, nor does one after a single capital or a list's number
_SHORT = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|cf|Mr|Mrs|Ms|Dr|Prof|St|No|Fig|approx|[A-Z])|^\W*\d{1,3})\.$", re.IGNORECASE
)


def sentence_spans(text: str) -> list[Span]:
    """Start and end of every sentence, in order, without the white space around it.

    A sentence never spans a line end. Between two spans there is only white space, so the spans
    together hold every other character of the text.
    """
    found: list[Span] = []
    for line in _LINE.finditer(text):
        start = line.start()
        for end in [*_ends_in(line[0]), len(line[0])]:
            found += _trimmed(text, start, line.start() + end)
            start = line.start() + end
    return found


def _ends_in(line: str) -> list[int]:
    """Where sentences end inside a line."""
    ends: list[int] = []
    for match in _END.finditer(line):
        so_far = line[ends[-1] if ends else 0 : match.end()].lstrip()
        rest = line[match.end() :].lstrip()
        stops = match[0].strip("\"'”’)]*_")
        if stops == "." and (_SHORT.search(so_far) or rest[:1].islower()):
            continue
        ends.append(match.end())
    return ends


def _trimmed(text: str, start: int, end: int) -> list[Span]:
    piece = text[start:end]
    start += len(piece) - len(piece.lstrip())
    stripped = piece.strip()
    return [(start, start + len(stripped))] if stripped else []

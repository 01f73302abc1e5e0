"""Locates a judge's quotes in the responses, regardless of case, line breaks and
quotation marks, and reports those that are missing. Misquotes are worth seeing.

A quote is found literally, or word by word in order with words left out in between (some judges quote
in key words). A quote with additional words is found in part at best, and those words are named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

Span = tuple[int, int]
_WORD = re.compile(r"\w+(?:[’'\-]\w+)*")
# text in quotation marks; an apostrophe does not count
_QUOTED = re.compile(r"“([^“”\n]{2,400})”|\"([^\"\n]{2,400})\"|«([^«»\n]{2,400})»|„([^„“\n]{2,400})“")
MOST_WORDS = 3_000  # of both responses together, for the comparison word by word
SHORT = 2  # words in prose; a phrase up to this length that is not found is not called a quote


@dataclass(frozen=True)
class Found:
    """The location of a quote: its spans in the response, and the quoted words that are missing."""

    spans: tuple[Span, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """The fault of the quote, "" when all of it was found."""
        if not self.spans:
            return "not found in the response"
        return f"not in the response: {', '.join(self.missing)}" if self.missing else ""


def find_quote(response: str, quote: str) -> Found:
    """The location of a quote in a response; without spans when less than half of its words are found."""
    wanted = _WORD.findall(quote)
    words = _words(response)
    at = _as_it_stands([word.casefold() for word in wanted], [word for word, _ in words])
    if at is not None:
        return Found(((words[at][1][0], words[at + len(wanted) - 1][1][1]),))
    places, missing = _word_by_word(wanted, [word for word, _ in words])
    if not places or 2 * len(places) < len(wanted):
        return Found()
    spans: list[Span] = []
    for before, place in zip([None, *places], places, strict=False):
        start, end = words[place][1]
        if before is not None and place == before + 1:  # adjacent words are one span
            start = spans.pop()[0]
        spans.append((start, end))
    return Found(tuple(spans), tuple(missing))


@lru_cache(maxsize=16)
def _words(text: str) -> list[tuple[str, Span]]:
    """The words of a response and their positions; a judgment in progress asks for them again and
    again."""
    return [(match[0].casefold(), match.span()) for match in _WORD.finditer(text)]


def _as_it_stands(wanted: list[str], words: list[str]) -> int | None:
    """The number of the first word of a run of all wanted words."""
    count = len(wanted)
    starts = range(len(words) - count + 1) if count else ()
    return next((at for at in starts if words[at] == wanted[0] and words[at : at + count] == wanted), None)


def _word_by_word(wanted: Sequence[str], words: list[str]) -> tuple[list[int], list[str]]:
    """The number of each wanted word after the one before it; those that do not follow are missing."""
    places, missing, at = [], [], 0
    for word in wanted:
        try:
            places.append(words.index(word.casefold(), at))
        except ValueError:
            missing.append(word)
        else:
            at = places[-1] + 1
    return places, missing


def quoted_in(text: str) -> Iterator[tuple[Span, str]]:
    """Text in quotation marks in a judge's prose: its span without the marks, and the text."""
    for match in _QUOTED.finditer(text):
        group = match.lastindex or 0
        yield match.span(group), match[group]


def is_phrase(quote: str) -> bool:
    """Whether words in quotation marks are long enough to be a quote."""
    return len(_WORD.findall(quote)) > SHORT


def cut(text: str, spans: Sequence[tuple[Span, int]]) -> list[tuple[str, tuple[int, ...]]]:
    """The text in pieces, each with the numbers of the spans that cover it; spans may overlap."""
    edges = sorted({0, len(text), *(edge for span, _ in spans for edge in span)})
    return [
        (text[a:b], tuple(number for (start, end), number in spans if start <= a and b <= end))
        for a, b in zip(edges, edges[1:], strict=False)
    ]


@lru_cache(maxsize=64)
def differences(a: str, b: str) -> tuple[tuple[tuple[str, bool], ...], ...] | None:
    """Both texts in pieces, each with whether the other text lacks it; None when they are too long for it."""
    # a word with its following blanks: separate blanks would match everywhere, which takes minutes
    first, second = re.findall(r"\s*\S+\s*", a), re.findall(r"\s*\S+\s*", b)
    if len(first) + len(second) > MOST_WORDS:
        return None
    made: tuple[list[tuple[str, bool]], list[tuple[str, bool]]] = ([], [])
    words, others = ([piece.strip() for piece in side] for side in (first, second))
    for kind, a1, a2, b1, b2 in SequenceMatcher(None, words, others).get_opcodes():
        for side, pieces in ((0, first[a1:a2]), (1, second[b1:b2])):
            if pieces:
                made[side].append(("".join(pieces), kind != "equal"))
    return tuple(map(tuple, made))

"""The sections of a judge's text (type, rubric, eval, quotes, ...), even while it is still streaming."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rmr1_lite.types import Section

QUOTES = ("quote_A", "quote_B")
SECTIONS = (
    "think",
    "type",
    "rubric",
    "justify",
    "solution",
    "eval",
    *QUOTES,
    "summary_A",
    "summary_B",
    "answer",
)

_TAG = re.compile(rf"<(/?)({'|'.join(SECTIONS)})>")
_HALF_TAGS = frozenset(
    tag[:n] for name in SECTIONS for tag in (f"<{name}>", f"</{name}>") for n in range(1, len(tag))
)
_OUTER = {"justify": "rubric", **{f"{part}_{x}": "eval" for part in ("quote", "summary") for x in "AB"}}


class _Open:
    """A section being read: its name, its pieces of text, and whether its closing tag came."""

    def __init__(self, name: str) -> None:
        self.name, self.closed = name, False
        self.pieces: list[str] = []

    def add(self, piece: str) -> None:
        self.pieces += [piece] if piece else []

    def gap(self) -> None:
        # without it "<quote_A>x</quote_A><summary_A>y" would read "xy" in eval
        if self.pieces and not self.pieces[-1][-1].isspace() and self.pieces[-1][-1] not in "([{\"'":
            self.pieces.append(" ")


def read_sections(text: str, finished: bool, thought_open: bool) -> Iterator[Section]:
    """Every section in the order of opening. An outer section keeps the text of the inner ones, without their
    tags.

    Decides from left to right and never looks ahead while the text still grows, so that a streamed section
    only grows.
    """
    found = [_Open("think")] if thought_open else []
    stack = list(found)
    last_close = {m[2]: m.start() for m in _TAG.finditer(text) if m[1]}
    at = 0
    for tag in _TAG.finditer(text):
        if _is_literal(tag, stack, last_close, finished):
            continue
        for section in stack:
            section.add(text[at : tag.start()])
        at = tag.end()
        if tag[1]:
            _close_section(stack, tag[2])
        elif not (stack and stack[-1].name == tag[2] == "think"):
            found.append(_open_section(stack, tag[2]))
    for section in stack:
        section.add(text[at : len(text) - _half_tag(text)])
    for section in found:
        yield Section(section.name, "".join(section.pieces).strip(), section.closed)


def _is_literal(tag: re.Match[str], stack: list[_Open], last_close: dict[str, int], finished: bool) -> bool:
    """Whether the tag is plain text: a thought ends at `</think>` only, a quote at its own end (if that ever
    comes)."""
    inner = stack[-1].name if stack else ""
    quoted = inner in QUOTES and (not finished or last_close.get(inner, -1) > tag.start())
    return tag[2] != inner and (inner == "think" or quoted)


def _open_section(stack: list[_Open], name: str) -> _Open:
    """Push a section. An open section that may not hold it was never closed: it ends here."""
    while stack and stack[-1].name != _OUTER.get(name):
        stack.pop()
    for outer in stack:
        outer.gap()
    stack.append(_Open(name))
    return stack[-1]


def _close_section(stack: list[_Open], name: str) -> None:
    if any(section.name == name for section in stack):
        while stack[-1].name != name:
            stack.pop()
        stack.pop().closed = True


def _half_tag(text: str) -> int:
    """Length of a half-written tag at the end of the text."""
    _, bracket, rest = text[-16:].rpartition("<")
    return 1 + len(rest) if bracket + rest in _HALF_TAGS else 0

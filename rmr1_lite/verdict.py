"""Text -> verdict, status and sections. The only place of the kit that reads a verdict.

Three readings, because three questions are asked of a judge's text:

    strict   our own models and every reward: one verdict marker, exact, at the very end of a finished output
    lenient  foreign judges: the last anchored verdict, in the common forms; an article ("a clear answer") is
             no anchor
    paper    the original's rule, for comparison: the last 80 characters hold one of the two verdict strings

There is no default letter: what cannot be read has a status and no label. Thoughts and closed quotes hold no
verdict: a response cannot vote for itself by being quoted. Partial text works too (`finished=False`), and
time stays linear.

    parse_verdict("<type>Chat</type> ... <answer>[[B]]</answer>").shown_label  # "B"
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator

from rmr1_lite.types import InputError, Label, Section, Status, Verdict

READINGS = ("strict", "lenient", "paper")
_QUOTES = ("quote_A", "quote_B")
SECTIONS = (
    "think",
    "type",
    "rubric",
    "justify",
    "solution",
    "eval",
    *_QUOTES,
    "summary_A",
    "summary_B",
    "answer",
)
PAPER_TAIL = 80  # characters

Span = tuple[int, int]
Found = tuple[Label | None, Status]

_TAG = re.compile(rf"<(/?)({'|'.join(SECTIONS)})>")
_HALF_TAGS = frozenset(
    tag[:n] for name in SECTIONS for tag in (f"<{name}>", f"</{name}>") for n in range(1, len(tag))
)
_OUTER = {"justify": "rubric", **{f"{part}_{x}": "eval" for part in ("quote", "summary") for x in "AB"}}

_MARKER = re.compile(r"<answer>\s*\[\[\s*([AB])\s*\]\]\s*</answer>")
_BLOCK = r"<\s*answer\s*>([^<]*)<\s*/\s*answer\s*>"
# a block with a letter that stands alone is an attempt at a verdict, well-formed or not
_ATTEMPT = re.compile(_BLOCK, re.IGNORECASE)
_LETTER = re.compile(r"\b[A-Z]\b")

# [[A]], the tie [[C]], [[A>>B]]; `x[[A]]` is indexing, and "[[A]] if ..." explains the format
_BRACKETS = r"(?<![\w\]])\[\[([^\[\]\n]{1,20})\]\](?!\s{0,3}(?i:if|when)\b)"
_ANCHOR = re.compile(rf"(?i:{_BLOCK})|{_BRACKETS}")
_SIDE = r"(?i:(?:chatbot|response|assistant|answer|reply|option|model)\s{1,3})?"
_NAMED = re.compile(rf"[\s\[(*_\"'`]*{_SIDE}([AB])[\s\])*_\"'`.]*")
_TIE = re.compile(r"[\s\[(*_]*(?:C|(?i:tie|a tie))[\s\])*_.]*")
_COMPARED = re.compile(r"\s*([AB])\s*(>{1,3}|<{1,3}|={1,2})\s*([AB])\s*")
_PHRASE = re.compile(
    r"(?:\b(?i:verdict|answer|decision|choice|winner|preference|preferred|better)\b[*_]{0,3}\s{0,3}[:=]"
    r"|\b(?i:better (?:response|answer|reply|assistant|chatbot)) is:?)"
    rf"[\s*_\"'`(\[]{{0,8}}{_SIDE}([AB])"
    r"(?=[*_\"'`)\]]{0,5}(?:\s*$|[ \t]*\n|[.,;!](?:\s|$)| is better\b))"
    r"|\\boxed\{\s{0,3}(?:\\text\{\s{0,3})?([AB])\s{0,3}\}"
)
_PHRASE_TAIL = (
    200  # a foreign phrase counts near the end only: a worked solution may say "Answer: B" of its own
)
_EITHER_OR = frozenset(("or", "and", "/", "|", "vs", "vs."))


def parse_verdict(
    text: str, reading: str = "strict", finished: bool = True, thought_open: bool = False
) -> Verdict:
    """Read one output of a judge.

    finished: the model ended by itself; without that, `strict` and `lenient` give no letter.
    thought_open: the chat template had already written `<think>`, so `text` begins inside a thought.
    Errors: InputError for an unknown reading.
    """
    if reading not in READINGS:
        raise InputError(f"reading is {reading!r}. Choose one of {', '.join(READINGS)}.")
    sections = tuple(_read_sections(text, finished, thought_open))
    if reading == "paper":
        label, status = _read_paper(text)
    elif not finished:
        label, status = None, "truncated"
    else:
        label, status = (_read_strict if reading == "strict" else _read_lenient)(text, thought_open)
    return Verdict(label, status, sections)


def _read_paper(text: str) -> Found:
    tail = text[-PAPER_TAIL:]
    held: list[Label] = [letter for letter in ("A", "B") if f"<answer>[[{letter}]]</answer>" in tail]
    if len(held) == 1:
        return held[0], "ok"
    return None, "conflict" if held else "missing"


def _read_strict(text: str, thought_open: bool) -> Found:
    hidden = _Hidden(text, thought_open)
    attempts = [m for m in _ATTEMPT.finditer(text) if _LETTER.search(m[1]) and not hidden.covers(m.start())]
    if len(attempts) > 1:
        return None, "conflict"
    marker = _MARKER.match(text, attempts[0].start()) if attempts else None
    if marker is None:
        return None, "missing"
    if text[marker.end() :].strip():
        return None, "trailing"
    return marker[1], "ok"


def _read_lenient(text: str, thought_open: bool) -> Found:
    hidden = _Hidden(text, thought_open, bare_end=True)
    seen = [(m, _named(m)) for m in _ANCHOR.finditer(text) if not hidden.covers(m.start())]
    anchors = [(m, letter) for m, letter in seen if letter]
    if len(anchors) > 1 and _either_or(text, *anchors[-2:]):
        return None, "conflict"
    if not anchors:
        return _read_phrase(text, hidden)
    letter = anchors[-1][1]
    return (letter, "ok") if letter in ("A", "B") else (None, "missing")


def _named(anchor: re.Match[str]) -> str | None:
    """The letter an anchor names, "tie", or None when it is not a verdict at all (an empty block,
    `[[0]]`)."""
    block, brackets = anchor.groups()
    content = brackets if block is None else block.strip().removeprefix("[[").removesuffix("]]")
    if named := _NAMED.fullmatch(content):
        return named[1]
    if compared := _COMPARED.fullmatch(content):
        left, sign, right = compared.groups()
        return "tie" if "=" in sign or left == right else (left if ">" in sign else right)
    return "tie" if _TIE.fullmatch(content) else None


def _either_or(text: str, first: tuple[re.Match[str], str], last: tuple[re.Match[str], str]) -> bool:
    """`[[A]] or [[B]]` repeats the format; it decides nothing."""
    gap = text[first[0].end() : last[0].start()]
    return first[1] != last[1] and len(gap) < 40 and gap.strip(" \t\r\n\"'`*").lower() in _EITHER_OR


def _read_phrase(text: str, hidden: _Hidden) -> Found:
    tail = len(text.rstrip()) - _PHRASE_TAIL
    found = [m[1] or m[2] for m in _PHRASE.finditer(text, max(0, tail)) if not hidden.covers(m.start())]
    return (found[-1], "ok") if found else (None, "missing")


class _Hidden:
    """The parts of a text where no verdict counts: thoughts, also one that was never closed, and closed
    quotes.

    A second `</quote_A>` with no opening of its own shows that the first one came from the quoted response,
    so the quote reaches to the last of them. bare_end: a `</think>` that nothing opened ends a thought that
    began the text.
    """

    def __init__(self, text: str, thought_open: bool, bare_end: bool = False) -> None:
        tags = [m for m in _TAG.finditer(text) if m[2] == "think" or m[2] in _QUOTES]
        # a quote counts only if it is closed somewhere behind its opening
        last_close = {m[2]: m.start() for m in tags if m[1]}
        # the template may have opened the thought before the text begins
        inside, start = ("think", 0) if thought_open else (None, 0)
        spans: list[Span] = []
        quote_start: dict[str, int] = {}
        for tag in tags:
            closes, name = bool(tag[1]), tag[2]
            opens = name == "think" or last_close.get(name, -1) > tag.start()
            # 1. the end of a quote, wherever it stands: quoted text may open a thought to hide it
            if closes and name in quote_start:
                spans.append((quote_start[name], tag.end()))
            # 2. the end of a thought; with bare_end also of one that nothing opened, which began the text
            elif closes and name == "think" and (inside == name or bare_end and inside is None):
                spans.append((start if inside else 0, tag.end()))
            # 3. an opening, unless something is open already: what stands inside hides nothing by itself
            elif not closes and inside is None and opens:
                inside, start = name, tag.start()
                quote_start |= {name: start} if name != "think" else {}
            # 4. what was open is closed
            inside = None if closes and name == inside else inside
        # 5. what is open at the end hides the rest of the text
        if inside is not None:
            spans.append((start, len(text)))
        self._starts, self._ends = _merge_spans(spans)

    def covers(self, position: int) -> bool:
        at = bisect_right(self._starts, position) - 1
        return at >= 0 and position < self._ends[at]


def _merge_spans(spans: list[Span]) -> tuple[list[int], list[int]]:
    """Starts and ends of the union, sorted."""
    starts: list[int] = []
    ends: list[int] = []
    for start, end in sorted(spans):
        if ends and start <= ends[-1]:
            ends[-1] = max(ends[-1], end)
        else:
            starts.append(start)
            ends.append(end)
    return starts, ends


class _Open:
    """A section being read: its name, its pieces of text, and whether its closing tag came."""

    def __init__(self, name: str) -> None:
        self.name, self.pieces, self.closed = name, [], False

    def add(self, piece: str) -> None:
        self.pieces += [piece] if piece else []

    def gap(self) -> None:
        # without it "<quote_A>x</quote_A><summary_A>y" would read "xy" in eval
        if self.pieces and not self.pieces[-1][-1].isspace() and self.pieces[-1][-1] not in "([{\"'":
            self.pieces.append(" ")


def _read_sections(text: str, finished: bool, thought_open: bool) -> Iterator[Section]:
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
    """Whether the tag is mere text: a thought ends at `</think>` only, a quote at its own end (if that ever
    comes)."""
    inner = stack[-1].name if stack else ""
    quoted = inner in _QUOTES and (not finished or last_close.get(inner, -1) > tag.start())
    return tag[2] != inner and (inner == "think" or quoted)


def _open_section(stack: list[_Open], name: str) -> _Open:
    """Push a section. What is open and may not hold it was never closed: it ends here."""
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

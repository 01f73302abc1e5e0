"""Converts a review in another layout to the kit's: names, thought, statement of the verdict, tags.

    review_body(text, reading, "compact")      the review alone: no thought, no verdict, the kit's names
    in_layout(body, "A", "compact")            <type>, <rubric> if criteria are listed, <eval>, the marker

Only names and tags are added, and nothing that remains can be read as a second verdict.
"""

from __future__ import annotations

import re

from rmr1_lite.data.convert_sentences import Span, sentence_spans
from rmr1_lite.data.foreign_verdicts import Reading
from rmr1_lite.prompts import make_inert, verdict_marker
from rmr1_lite.types import Label
from rmr1_lite.verdict import parse_verdict
from rmr1_lite.verdict.hidden import Hidden

LEAST = 20  # characters of a review with any content

# ---- names

_PERSON = r"(?:AI )?(?:assistant|chatbot|chat bot)"
_SAYING = r"(?:response|answer|reply)"
_LETTER = {"1": "A", "2": "B", "A": "A", "B": "B"}
_TWO_NAMES = re.compile(
    rf"\b(?i:{_PERSON}s|responses|answers|replies) #?([12AB]) (and|or|over|to|versus|vs\.?) #?([12AB])\b"
    r"(?![.,/]\d)"
)
_ONE_NAME = re.compile(
    rf"\b(?i:(?:the )?(?:{_PERSON}|{_SAYING})(?: number)?) ?#?[\"“]?(?P<side>[12AB])\b[\"”]?"
    r"(?![.,/]\d|%)"
)
_CHOSEN = re.compile(
    r"(?i:\b(?P<before>choose|chose|pick|prefer|select|recommend|rate|"
    r"(?:choice|verdict|preference|decision) is)) (?i:option )?[\"“]?(?P<side>[12])\b[\"”]?(?![.,/]\d|%)"
)


def with_our_names(text: str) -> str:
    """ "Assistant 1", "Response A", "answers A and B" by the names of the prompts: Chatbot A, Chatbot B.

    1 and A are the response shown first. A lone letter or number stays: it may mean something else.
    """
    text = _TWO_NAMES.sub(lambda m: f"Chatbot {_LETTER[m[1]]} {m[2]} Chatbot {_LETTER[m[3]]}", text)
    text = _ONE_NAME.sub(lambda m: f"Chatbot {_LETTER[m['side']]}", text)
    return _CHOSEN.sub(lambda m: f"{m['before']} Chatbot {_LETTER[m['side']]}", text)


# ---- the statement of the verdict

_REASON = re.compile(
    r"\b(?:because|since|as (?:it|they|its|the answer|the response|he|this)|due to|based on|considering|"
    r"for (?:its|their|being|providing)|more|while|although|though|whereas|in terms of|provid\w+)\b",
    re.IGNORECASE,
)


_MARK = re.compile(r"[\s:(\[*]*\[\[[^\[\]\n]*\]\][)\]*]*\s*(?P<stop>[.!]?)\s*$")
_MARK_INSIDE = re.compile(r"\[\[\s*([AB])\s*\]\]")
_ANY_MARK = re.compile(r"[\s:*(]*\[\[[^\[\]\n]{1,12}\]\][)*]*")
_ONLY_VERDICT = re.compile(
    r"^\W*(?:(?:therefore|thus|so|hence),? )?(?:(?:the|my) )?(?:final |chosen |correct |better )*"
    r"(?:answer|choice|output|verdict)(?: is)?[:\s]*(?:option |number |answer |assistant )*[12AB]\W*$",
    re.IGNORECASE,
)


def without_statements(text: str, places: tuple[Span, ...]) -> str:
    """The text without the sentences that only state the verdict.

    A sentence that also gives a reason is the review's conclusion and stays, without its mark in brackets.
    """
    pieces, at = [], 0
    for first, last in sentence_spans(text):
        said = text[first:last]
        marks = [place for place in places if place[0] < last and first < place[1]]
        if marks or _ONLY_VERDICT.match(said):
            rest = "".join(
                text[first:last].replace(text[slice(*_inside(mark, first, last))], " ") for mark in marks
            )
            whole = any(_inside(mark, first, last) == (first, last) for mark in marks)
            keeps = bool(_REASON.search(said if whole else rest)) and not _ONLY_VERDICT.match(said)
            pieces += [text[at:first], _without_mark(said) if keeps else ""]
            at = last
    return "".join([*pieces, text[at:]])


def _inside(mark: Span, first: int, last: int) -> Span:
    return max(mark[0], first), min(mark[1], last)


def _without_mark(said: str) -> str:
    """A kept sentence: a mark at its end is removed, one in its middle becomes the name that it means."""
    ended = _MARK.sub(lambda match: match["stop"] or ".", said)
    return _MARK_INSIDE.sub(lambda match: f"Chatbot {match[1]}", ended)


# ---- the body

_STRAY = re.compile(
    r"<type>[^<]{0,20}</type>|</?(?:answer|eval|type|rubric|solution|justify|(?:quote|summary)_[AB])>"
)
_LEFTOVER = re.compile(
    r"^[\s*_#:.>\-]*(?:(?:my |the )?(?:final )?(?:verdict|output|choice|score|decision|explanation|answer)"
    r"(?: is)?)?[\s*_#:.!\-]*$",
    re.IGNORECASE,
)
_PREFACE = re.compile(
    r"^\W*(?:(?:sure|okay|certainly)\b.*|(?:here (?:is|are)|below is) (?:my|the) .*[:.]"
    r"|explanation\s*:|\[(?:question|my solution)\])\W*$",
    re.IGNORECASE,
)


def review_body(text: str, reading: Reading, style: str) -> str:
    """The review without its verdict, with the kit's names; "" when there is nothing else.

    `reasoning` keeps a thought. For the other styles the thought is left out, and if only the verdict
    follows it, its last paragraph is the review.
    """
    if style == "reasoning":
        return tidy(re.sub(r"</?think>", "\n", without_statements(text, reading.places)))
    head = Hidden(text, False).end_of_head(text)
    behind = tuple((start - head, end - head) for start, end in reading.places if start >= head)
    body = tidy(without_statements(text[head:], behind))
    return body if len(body) >= LEAST or not head else tidy(_last_paragraph(text[:head]))


def _last_paragraph(thought: str) -> str:
    said = _ANY_MARK.sub("", re.sub(r"</?think>", "\n", thought))
    return next((p for p in reversed(re.split(r"\n\s*\n", said)) if len(tidy(p)) >= LEAST), "")


def tidy(text: str) -> str:
    """Our names, one line end between paragraphs, no marks of any layout, no line that lost its content."""
    lines = (line.strip() for line in with_our_names(_STRAY.sub("", text)).splitlines())
    kept = [line for line in lines if not _LEFTOVER.match(line)]
    while kept and _PREFACE.match(kept[0]):
        kept.pop(0)
    while kept and kept[-1].endswith(":"):  # announced a verdict that is gone
        sentences = sentence_spans(kept[-1])
        kept[-1] = kept[-1][: sentences[-1][0]].rstrip()
        kept = kept if kept[-1] else kept[:-1]
    return make_inert("\n".join(kept))


# ---- the layout

_CRITERIA = (
    r"(?:helpfulness|relevance|accuracy|(?:level of )?details?|depth|creativity|clarity|correctness|"
    r"completeness|safety|conciseness|style|coherence|factuality|harmlessness|honesty|structure|"
    r"organi[sz]ation|readability|tone|usefulness|informativeness|comprehensiveness|fluency|originality|engagement|"
    r"instruction[- ]following|truthfulness|language|formatting|efficiency|overall quality|"
    r"(?:factual|level of) \w+)"
)
_CRITERION = re.compile(rf"^[\s*\-•\d.)#]*(?P<name>{_CRITERIA})[\s*]*:", re.IGNORECASE | re.MULTILINE)


def criteria_in(body: str) -> list[str]:
    """The criteria that a review lists ("Helpfulness: ..."), in the words of the review, each once."""
    named = {match["name"].lower(): match["name"] for match in _CRITERION.finditer(body)}
    return list(named.values()) if len(named) > 1 else []


def in_layout(body: str, letter: Label, style: str, criteria: list[str] | None = None) -> str:
    """The complete text that the judge is to write. criteria: of the review before it was shortened."""
    if style == "reasoning":
        return f"{body}\n{verdict_marker(letter)}"
    listed = criteria_in(body) if criteria is None else criteria
    rubric = [f"<rubric>{', '.join(listed)}</rubric>"] if listed else []
    lines = ["<type>Chat</type>", *rubric, f"<eval>{body}</eval>", verdict_marker(letter)]
    return "\n".join(lines)


def is_ours(text: str, reading: Reading) -> bool:
    """Whether a text is already in the kit's layout, except perhaps for a superfluous closing tag."""
    names = {section.name for section in parse_verdict(text).sections if section.closed}
    return {"type", "eval"} <= names and len(reading.places) == 1 and "<answer>" in text

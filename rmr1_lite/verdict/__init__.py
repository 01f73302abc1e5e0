"""Text -> verdict, status and sections. The only place of the kit that reads a verdict.

Three readings, for three purposes:

    strict   our own models and every reward: one verdict marker, exact, at the very end of a finished output;
             what a server leaves after it (stop tokens, zero-width characters, a closing fence) is ignored
    lenient  foreign judges: the last verdict in a common form, if its sentence leaves no doubt;
             an offer, a refusal, a restated rule or a comparison that could mean either gives none
    paper    the original's rule, for comparison: the last 80 characters hold one of the two verdict strings

There is no default letter: an unparsed text has a status and no label. Thoughts and closed quotes hold no
verdict: a response cannot vote for itself by being quoted. Partial text works too (`finished=False`), and
time is linear.

    parse_verdict("<type>Chat</type> ... <answer>[[B]]</answer>").shown_label  # "B"
"""

from __future__ import annotations

from rmr1_lite.types import InputError, Label, Verdict
from rmr1_lite.verdict.lenient import read_lenient
from rmr1_lite.verdict.sections import SECTIONS, read_sections
from rmr1_lite.verdict.strict import Found, read_strict

__all__ = ["READINGS", "SECTIONS", "parse_verdict"]

READINGS = ("strict", "lenient", "paper")
PAPER_TAIL = 80  # characters


def parse_verdict(
    text: str, reading: str = "strict", finished: bool | None = True, thought_open: bool = False
) -> Verdict:
    """Read one output of a judge.

    finished: the model stopped by itself; otherwise (False: at the length limit, None: unknown)
    `strict` and `lenient` give no letter.
    thought_open: the chat template had already written `<think>`, so `text` begins inside a thought.
    Errors: InputError for an unknown reading.
    """
    if reading not in READINGS:
        raise InputError(f"reading is {reading!r}. Choose one of {', '.join(READINGS)}.")
    sections = tuple(read_sections(text, bool(finished), thought_open))
    if reading == "paper":
        label, status = _read_paper(text)
    elif not finished:
        label, status = None, "end_unknown" if finished is None else "truncated"
    else:
        label, status = (read_strict if reading == "strict" else read_lenient)(text, thought_open)
    return Verdict(label, status, sections)


def _read_paper(text: str) -> Found:
    tail = text[-PAPER_TAIL:]
    held: list[Label] = [letter for letter in ("A", "B") if f"<answer>[[{letter}]]</answer>" in tail]
    if len(held) == 1:
        return held[0], "ok"
    return None, "conflict" if held else "missing"

"""Detects faulty chains: no verdict, the wrong one, no reasoning before it, or words that reveal that the
teacher was given the verdict.

Used by `audit` on any chains and by `distill` on its second pass. Trained on, chains that reveal the verdict
teach the student to claim knowledge that it does not have. The patterns look for a given verdict, an earlier
attempt, and the request itself; a chain that discusses the *client's* correct answer matches none of them.
"""

from __future__ import annotations

import re

from rmr1_lite.verdict import parse_verdict
from rmr1_lite.verdict.hidden import without_thought

CONTRADICTS, UNREADABLE = "verdict contradicts the label", "verdict cannot be parsed"
TOLD, EMPTY, UNCLOSED = "reveals that it was given the verdict", "empty section", "section never closed"
BARE, THOUGHT = "nothing before the verdict", "begins with the teacher's thought"
REASONING = 20  # characters that a chain must hold besides its tags and verdict

_VERDICT = r"(?:verdict|judge?ment|preference|preferred (?:response|reply|answer))"
_TOLD = (
    r"(?:provided|given|stated|supplied|indicated|specified|instructed|told|informed|requested|"
    r"mentioned|noted)"
)
_SIDE = r"(?:(?:response|chatbot|assistant|reply|answer) )?\[*[AB]\b"
_BEST = rf"{_SIDE} (?:is|was|wins|should be|must be|has to be)\b"
PATTERNS = (
    r"\bi (?:was|am|have been|had been|'ve been)\s+(?:\w+\s+)?(?:told|informed|instructed|asked)\b",
    rf"\byou (?:said|told|stated|mentioned|indicated|gave|specified)\b[^.\n]{{0,40}}\b{_SIDE}",
    rf"\b(?:know|knew|knowing|told|informed)\s+(?:already\s+)?(?:that\s+)?{_BEST}",
    rf"\b(?:know|knew|knowing|told|informed)\s+(?:already\s+)?(?:that\s+)?{_SIDE} wins\b",
    rf"\b(?:correct|right|true|expected|gold(?:en)?|target|known)\s+(?:label|winner|ranking)\s+(?:is|was|being|:)\s*{_SIDE}",
    rf"\b(?:as|like)\s+(?:\w+\s+)?(?:{_TOLD})\s+"
    r"(?:above|earlier|before|by (?:the )?(?:user|instructions?|prompt|system))",
    rf"\b(?:correct|right|true|actual|sound|expected|intended|known|gold(?:en)?|target|reference)\s+(?:{_VERDICT}|decision)\b",
    rf"\b{_TOLD}\s+(?:\w+\s+)?{_VERDICT}\b",
    rf"\b{_VERDICT}\s+(?:that\s+)?(?:was|is|has been|had been|you|i was)\s+(?:\w+\s+)?{_TOLD}\b",
    r"\b(?:ground[- ]truth|gold|oracle)(?:'s)?\s+(?:label|verdict|judge?ment|preference|answer)\b",
    r"\b(?:my|the|an)\s+(?:earlier|previous|prior|first|initial|original|former|last|failed|old)\s+"
    r"(?:attempt|judge?ment|evaluation|verdict|assessment|analysis|answer was wrong)\b",
    r"\b(?:re-?evaluat|reconsider|re-?assess|re-?judg|revis)\w*\s+(?:my|the|this)\s+(?:\w+\s+)?(?:judge?ment|verdict|evaluation|assessment)\b",
    r"\b(?:i|we)\s+"
    r"(?:apologi[sz]e|stand corrected|made (?:a|an) (?:mistake|error) (?:before|earlier|in my))\b",
    r"\b(?:my|that|this) (?:verdict|judge?ment) does not hold up\b",
    r"\bupon (?:further |closer )?(?:reflection|reconsideration|re-?evaluation)\b",
)
_ANY = re.compile("|".join(f"(?:{pattern})" for pattern in PATTERNS), re.IGNORECASE)
_QUOTED = re.compile(r"<(quote_[AB])>.*?</\1>", re.DOTALL)


def find_verdict_mention(chain: str) -> str | None:
    """The words by which a chain reveals that it knew the verdict or an earlier attempt; None if it does not.

    Quoted words are the responses', not the judge's, and do not count.
    """
    found = _ANY.search(_QUOTED.sub(" ", chain))
    return found[0] if found else None


def find_faults(chain: str, label: str | None) -> list[tuple[str, str]]:
    """(kind, detail) of every fault of a chain; `label` is the right letter in the order
    shown."""
    verdict = parse_verdict(chain)
    found: list[tuple[str, str]] = []
    if verdict.shown_label is None:
        found.append((UNREADABLE, verdict.status))
    elif label and verdict.shown_label != label:
        found.append((CONTRADICTS, f"says {verdict.shown_label}, the label is {label}"))
    if len(_NO_TEXT.sub("", chain)) < REASONING:
        found.append((BARE, chain.strip()[:60]))
    rest = without_thought(chain)
    if rest != chain.strip() and "<type>" in rest:
        found.append((THOUGHT, chain.strip()[:60]))
    if said := find_verdict_mention(chain):
        found.append((TOLD, f"“{said}”"))
    for section in verdict.sections:
        if not section.closed:
            found.append((UNCLOSED, section.name))
        elif not section.text.strip():
            found.append((EMPTY, section.name))
    return found


_NO_TEXT = re.compile(r"<answer>.*|</?\w+>|\s", re.DOTALL)

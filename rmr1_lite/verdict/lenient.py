"""The lenient reading: a foreign judge's verdict in the common forms, if it leaves no doubt.

1. Anchors: `[[A]]`, `[[A>>B]]`, `<answer>Chatbot B</answer>`. One that restates the rule ("[[A]] if A is
   better") does not count. The last anchor decides, even when it names neither letter (a tie, `[[Neither]]`).
2. Its sentence must support it. Two letters in one sentence need words that order them ("[[A]] over [[B]]").
   Negations, refusals, conditions, questions and lists of options give no letter.
3. Without an anchor: phrases at the end of the text ("Final verdict: B", "\\boxed{A}"), never the letter of
   an option in the judged question ("the correct answer: B").

An ambiguous text has no letter: a verdict is never guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import cast

from rmr1_lite.types import Label
from rmr1_lite.verdict.hidden import Hidden
from rmr1_lite.verdict.strict import Found, read_strict

# one character for one, so that positions stay the same
_NARROW = str.maketrans("［］【】（）＜＞＝ＡＢＣ：；，．？！＂", '[][]()<>=ABC:;,.?!"')

# ---- anchors

# `x[[A]]` is indexing; some scripts use no space before the brackets
_ANCHOR = re.compile(
    r"<\s*answer\s*>([^<]*)<\s*/\s*answer\s*>|(?<![A-Za-z0-9_\]])\[\[([^\[\]\n]{1,60})\]\]", re.IGNORECASE
)
_RULE_AFTER = re.compile(
    r"[\s\"'`*)\]”’]{0,4}(?:if|when|whenever|means|indicates|in case|where|for the case|should be used)\b",
    re.IGNORECASE,
)
_SIDE = (
    r"(?i:(?:the )?(?:chatbot|response|assistant|answer|reply|option|model|output|candidate)[\s_]{1,3}"
    r"|助手\s?|回答\s?|回复\s?|模型\s?|応答\s?|アシスタント\s?|응답\s?|답변\s?|어시스턴트\s?)?"
)
_WRAP = r"[\s\[\](){}*_\"'`.:]*"
_NAMED = re.compile(rf"{_WRAP}{_SIDE}\(?([AB])\)?(?i:\s+(?:is|wins)\b[^AB]{{0,24}}\bbetter)?{_WRAP}")
_TIE = re.compile(rf"{_WRAP}(?:C|(?i:a )?(?i:tie)){_WRAP}")
_COMPARED = re.compile(r"\s*([AB])\s*(>{1,3}|<{1,3}|={1,2})\s*([AB])\s*")


@dataclass(frozen=True)
class _Anchor:
    """letter: A, B, "tie", or "" for one that names neither. start, end: its place in the text."""

    letter: str
    start: int
    end: int


def read_lenient(text: str, thought_open: bool) -> Found:
    exact = read_strict(text, thought_open)
    if exact[0]:
        return exact
    text = Hidden(text, thought_open).visible(text).translate(_NARROW)
    anchors = _find_anchors(text)
    if not anchors:
        alone = _NAMED.fullmatch(text.strip()) if len(text.strip()) < ALONE else None
        return (cast(Label, alone[1]), "ok") if alone else _read_phrase(text)
    last = anchors[-1]
    if last.letter not in ("A", "B"):
        return None, "missing"
    return _judge_sentence(text, anchors)


def _find_anchors(text: str) -> list[_Anchor]:
    found = []
    for match in _ANCHOR.finditer(text):
        block, brackets = match.groups()
        content = brackets if block is None else block.strip().removeprefix("[[").removesuffix("]]")
        explains = _RULE_AFTER.match(text, match.end())
        if content.strip() and not explains:
            found.append(_Anchor(_named(content), match.start(), match.end()))
    return found


def _named(content: str) -> str:
    if named := _NAMED.fullmatch(content):
        return named[1]
    if compared := _COMPARED.fullmatch(content):
        left, sign, right = compared.groups()
        return "tie" if "=" in sign or left == right else (left if ">" in sign else right)
    return "tie" if _TIE.fullmatch(content) else ""


ALONE = 40  # characters: a text that is only "(A)" or "Response B"

# ---- the sentence around an anchor

_REACH = 400  # characters looked at on either side of an anchor
_SENTENCE_END = re.compile(r"[.!?](?=[\s\"'”’)*]|$)|[。！？]|\n|[;；]")
_CLAUSE_END = re.compile(r"[:,：，—–(]|\b(?:but|however|yet|so|therefore|thus|hence|and)\b", re.IGNORECASE)
_REASON = re.compile(r"[,:—–(]|\b(?:because|since|as|while|whereas|and|due to|for)\b", re.IGNORECASE)
# decides: which of "[[X]] ... [[Y]]" is preferred, by the words between them
_DEGREE = r"(?:(?:much|far|slightly|clearly|somewhat|marginally|significantly|a bit|a little) )?"
_FIRST = re.compile(
    rf"(?:\s*(?:is|was|are|looks|seems)?\s*{_DEGREE}"
    r"(?:better|stronger|preferable|superior|preferred|clearer|more \w+)(?: than| to| over)?|\s*>{1,3}"
    r"|\s*(?:clearly |easily |narrowly )?(?:beats|outperforms|defeats|surpasses|exceeds|outdoes|wins over"
    r"|wins against|wins compared to|wins compared with|prevails over))\s*",
    re.IGNORECASE,
)
_SECOND = re.compile(
    rf"(?:\s*(?:is|was|are|looks|seems)?\s*{_DEGREE}"
    r"(?:worse than|weaker than|inferior to|less \w+ than|not as good as|beaten by|outperformed by"
    r"|surpassed by)|\s*<{1,3}|\s*(?:loses to|falls short of|is beaten by))\s*",
    re.IGNORECASE,
)
# orders them only behind a word that chooses: "I pick [[A]] over [[B]]"
_FIRST_IF_CHOSEN = re.compile(
    r"\s*,?\s*(?:over|rather than|instead of|above|ahead of|and not|not|compared to|compared with)\s*",
    re.IGNORECASE,
)
_CHOOSES = re.compile(
    r"\b(?:choose|chose|choosing|choice|pick(?:ed|s)?|prefer(?:red|s|ence)?|select(?:ed|s)?|favou?r(?:s|ed)?"
    r"|go with|going with|vote|verdict|winner|decision|decide(?:d)?|recommend|answer|conclude|judge?ment"
    r"|rank)\b",
    re.IGNORECASE,
)
_NEGATES = re.compile(
    r"\b(?:not|never|neither|nor|without|hardly|cannot|rather than|instead of|unlike|than|over|against|above"
    r"|below|behind|ahead of|compared to|compared with|beats|outperforms|defeats|surpasses|loses to)\b"
    r"|n['’]t\b|不|没|無|ない|않|아니|ไม่",
    re.IGNORECASE,
)
_NO_WINNER = re.compile(
    r"\b(?:not|never|worse|weaker|inferior|loses|lost|incorrect|wrong|fails|rejected)\b|n['’]t\b",
    re.IGNORECASE,
)
# a list of allowed answers, anywhere in the sentence before the letter
_OFFERS = re.compile(
    r"\b(?:please|one of|either(?! way| case)|allowed|permitted|reply with|respond with|answer with|such as"
    r"|e\.g|for example|which of|choose between|should i)\b|^\W*(?:if|unless|whether|should)\b"
    r"|如果|若是|もし|場合|만약|경우|ถ้า|หาก",
    re.IGNORECASE,
)
# a condition or a mere possibility, in the clause of the letter itself
_SUPPOSES = re.compile(
    r"\b(?:if|unless|until|before|whether|could|would be|might|may|must|supposed to)\b", re.IGNORECASE
)
_REFUSES = re.compile(
    r"\b(?:can(?:no|['’])t|cannot|unable to|not able to|won['’]t|will not|refuse to|decline to|impossible to"
    r"|not possible to|not going to)\s+(?:\w+\s+){0,3}(?:judge|decide|choose|pick|determine|tell|say|select"
    r"|evaluate|compare|rank|prefer|answer|give|make|provide)\b",
    re.IGNORECASE,
)
_WINS_AFTER = re.compile(
    r"[\s\"'`*)\]”’]{0,4}(?:is|was|wins|deserves|would be|remains)\b[^.!?\n]{0,60}", re.IGNORECASE
)
_CLOSING = re.compile(r"[\s\"'`*_)\]}”’.!。！>]*")
_BULLET = re.compile(r"\s*(?:[-*•·–]|\d{1,2}[.)]|[a-z][.)])\s+")


def _judge_sentence(text: str, anchors: list[_Anchor]) -> Found:
    """The letter of the last anchor, or of the one that its sentence prefers."""
    last = anchors[-1]
    start, end = _sentence(text, last)
    before, after = text[start : last.start], text[last.end : end]
    others = [a for a in anchors[:-1] if a.letter != last.letter and a.letter in ("A", "B")]
    inside = [a for a in anchors[:-1] if a.start >= start]
    if _asks_or_refuses(text, before, after, end) or _is_listed(text, last, anchors):
        return None, "conflict" if others else "missing"
    if inside and any(a.letter != last.letter for a in inside):
        return _compare(text, start, inside, last, after)
    clause = _CLAUSE_END.split(before)[-1]
    if _NEGATES.search(clause) or _SUPPOSES.search(clause) or _NO_WINNER.search(_predicate(after)):
        return None, "missing"
    ends = _CLOSING.fullmatch(after) or _WINS_AFTER.match(after)
    if others and not ends:
        return None, "conflict"  # both letters were named, and this sentence does not decide
    return _letter_of(last)


def _letter_of(anchor: _Anchor) -> Found:
    """The letter of an anchor that is known to name one."""
    return cast(Label, anchor.letter), "ok"


def _predicate(after: str) -> str:
    """The part about the letter itself: a reason that follows mentions the other one as well."""
    return _REASON.split(after, maxsplit=1)[0]


def _sentence(text: str, anchor: _Anchor) -> tuple[int, int]:
    """Where the anchor's sentence begins and ends."""
    low = max(0, anchor.start - _REACH)
    ends = [m.end() for m in _SENTENCE_END.finditer(text, low, anchor.start)]
    stop = _SENTENCE_END.search(text, anchor.end, anchor.end + _REACH)
    return (ends[-1] if ends else low), (stop.end() if stop else min(len(text), anchor.end + _REACH))


def _asks_or_refuses(text: str, before: str, after: str, end: int) -> bool:
    """A question, an offer of options, or a refusal here or in what follows."""
    asks = after.rstrip("\"'`*) \t\n”’").endswith(("?", "？"))
    return bool(
        asks or _OFFERS.search(before) or _REFUSES.search(before) or _REFUSES.search(text, end - len(after))
    )


def _is_listed(text: str, last: _Anchor, anchors: list[_Anchor]) -> bool:
    """Lines with one anchor each and nothing else are a list of options if they name different letters."""
    if len(anchors) < 2 or anchors[-2].letter == last.letter:
        return False
    first = anchors[-2]
    return (
        _alone_on_line(text, first)
        and _alone_on_line(text, last)
        and not text[first.end : last.start].strip(" \t\r\n\"'`*-•·–.,0123456789)")
    )


def _alone_on_line(text: str, anchor: _Anchor) -> bool:
    begin = text.rfind("\n", 0, anchor.start) + 1
    stop = text.find("\n", anchor.end)
    around = text[begin : anchor.start] + " " + text[anchor.end : stop if stop >= 0 else len(text)]
    return not _BULLET.sub("", around, count=1).strip(" \t\r\"'`*.,")


def _compare(text: str, start: int, inside: list[_Anchor], last: _Anchor, after: str) -> Found:
    """Two letters in one sentence: the words between them decide, if anything does."""
    first = inside[-1]
    if first.letter not in ("A", "B") or len({a.letter for a in inside}) > 1:
        return None, "conflict"
    lead, gap = text[start : first.start], text[first.end : last.start].strip("\"'`*_ ")
    clause = _CLAUSE_END.split(lead)[-1]
    if _NO_WINNER.search(_predicate(after)) or _NEGATES.search(_predicate(after)):
        return None, "conflict"
    if re.search(r"\bnot\W*$", clause, re.IGNORECASE) and re.fullmatch(r"\W*but\W*", gap, re.IGNORECASE):
        return _letter_of(last)  # "not [[A]] but [[B]]"
    if _NEGATES.search(lead):
        return None, "conflict"
    if _FIRST.fullmatch(gap) or (_FIRST_IF_CHOSEN.fullmatch(gap) and _CHOOSES.search(lead)):
        return _letter_of(first)
    if _SECOND.fullmatch(gap):
        return _letter_of(last)
    # "I first thought [[A]], but it is [[B]]": the turn decides when nothing follows it
    turn = re.search(r"\b(?:but|however|yet)\b", gap, re.IGNORECASE)
    if turn and _CLOSING.fullmatch(after) and not _NEGATES.search(gap, turn.end()):
        return _letter_of(last)
    return None, "conflict"


# ---- phrases, where there is no anchor

_PHRASE = re.compile(
    r"(?P<word>\b(?i:verdict|answer|decision|choice|winner|preference|preferred|better)\b[*_]{0,3}\s{0,3}[:=]"
    r"|\b(?i:better (?:response|answer|reply|assistant|chatbot)) is:?"
    r"|(?:最终|最終|최종)?\s?(?:判决|裁决|判定|判断|評価|結論|结论|판정|판결|결론|คำตัดสิน(?:สุดท้าย)?)\s?[:是は=])"
    rf"[\s*_\"'`(\[]{{0,8}}{_SIDE}(?P<letter>[AB])"
    r"(?=[*_\"'`)\]]{0,5}(?:\s*$|[ \t]*\n|[.;!。](?:\s|$)|,\s(?!(?:or\s)?[ABC]\b)| is better\b))"
    r"|(?P<boxed>\\boxed\{\s{0,3}(?:\\text(?:bf)?\{\s{0,3})?)" + _SIDE + r"(?P<inbox>[AB])\s{0,3}\}"
)
_PHRASE_TAIL = 200  # a foreign phrase counts near the end only
# also the words of a solution: they count only as the last words of the text
_OF_A_SOLUTION = re.compile(r"(?i:answer|choice|decision)|\\boxed")
_ABOUT_THE_QUESTION = re.compile(
    r"\b(?:correct|right|true|option|question|options|solution)\b", re.IGNORECASE
)
_PHRASE_END = re.compile(r"[\s*_\"'`)\]}.!。$]*")


def _read_phrase(text: str) -> Found:
    tail = len(text.rstrip()) - _PHRASE_TAIL
    found = [
        m["letter"] or m["inbox"] for m in _PHRASE.finditer(text, max(0, tail)) if _phrase_decides(text, m)
    ]
    # the expression takes no other letter
    return (cast(Label, found[-1]), "ok") if found else (None, "missing")


def _phrase_decides(text: str, phrase: re.Match[str]) -> bool:
    """Whether the phrase is about the responses, not the question's options, and is not negated."""
    place = _Anchor("", phrase.start(), phrase.end())
    start, end = _sentence(text, place)
    before, after = text[start : phrase.start()], text[phrase.end() : end]
    quoted = before.count('"') % 2 or before.count("“") > before.count("”")
    if (
        quoted
        or _NEGATES.search(before)
        or _OFFERS.search(before)
        or _SUPPOSES.search(before)
        or after.rstrip().endswith(("?", "？"))
    ):
        return False
    if not _OF_A_SOLUTION.match(phrase["word"] or "\\boxed"):
        return True
    at_end = _PHRASE_END.fullmatch(text, phrase.end())
    return bool(at_end) and not _ABOUT_THE_QUESTION.search(before)

"""Named rules that read the verdict of a review written in another layout than the kit's.

A rule takes the text and gives a `Reading`: A or B by the position shown, "tie", or nothing with a reason,
and the positions where the text states it, so that conversion can remove them. A rule never guesses: two
contradictory statements are a conflict, a negated or conditional sentence states nothing, and
a text that matches no pattern has no verdict.

    last-line-123   a last line with 1 (the first response), 2 (the second) or 3 (a tie)
    brackets        [[A]], [[B]], [[C]] (a tie), [[A>B]], [[B>>A]], [[A=B]]
    scores          two scores, "8 6" as the first line or "Assistant 1: 8/10 ... Assistant 2: 6/10"
    sentence        an English sentence: "I would choose Assistant 2", "the better response is A", "Output: 1"
    own             the kit's and RM-R1's marker <answer>[[A]]</answer>
    none            the verdict is not in the text but in the row's field (an expert's reasons for a choice)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rmr1_lite.data.convert_sentences import Span, sentence_spans
from rmr1_lite.verdict.hidden import Hidden

TIE, NO_VERDICT, CONFLICT = "tie", "no verdict", "conflict"


@dataclass(frozen=True)
class Reading:
    """said: A, B, "tie", or "" for none; then `reason` says why. places: of the statements, in
    order."""

    said: str
    reason: str = ""
    places: tuple[Span, ...] = ()

    @property
    def letter(self) -> str:
        """A or B, "" otherwise."""
        return self.said if self.said in ("A", "B") else ""


Statement = tuple[str, Span]
_LETTERS = {"1": "A", "2": "B", "3": TIE, "A": "A", "B": "B", "C": TIE}


def visible_text(text: str) -> str:
    """The text with its thoughts blanked, positions unchanged: no rule reads a verdict inside a thought."""
    return Hidden(text, False).visible(text)


def decide(statements: Iterable[Statement]) -> Reading:
    """One reading of all statements: they agree, or there is no verdict."""
    found = list(statements)
    places = tuple(sorted({place for _, place in found}))
    said = {letter for letter, _ in found}
    if len(said) > 1:
        return Reading("", CONFLICT, places)
    return Reading(said.pop(), "", places) if said else Reading("", NO_VERDICT)


# ---- last-line-123

_LAST = re.compile(
    r"[\s*_#>\"'`(\[]*(?:(?:final |my |your |the )*(?:output|choice|verdict|answer|decision|score|result)\s*"
    r"(?:is|:|=)\s*)?(?:(?:AI )?(?:assistant|response|answer)\s*#?)?[\"'`(\[*]*([123])[\s*_.!\"'`)\]]*",
    re.IGNORECASE,
)


def last_line_123(text: str) -> Reading:
    """The last non-blank line holds only 1, 2 or 3, perhaps with a label before it."""
    end = len(text.rstrip())
    start = text.rfind("\n", 0, end) + 1
    match = _LAST.fullmatch(text[start:end])
    return decide([(_LETTERS[match[1]], (start, end))] if match else [])


# ---- brackets and the kit's own marker

_BRACKETS = re.compile(r"(?<![A-Za-z0-9_\]])\[\[([^\[\]\n]{1,30})\]\]")
_ORDERED = re.compile(r"([AB])\s*(>{1,3}|<{1,3}|={1,2})\s*([AB])")
_RULE_AFTER = re.compile(r"[\s\"'`*)\]]{0,4}(?:if|when|means|indicates|in case|for a tie)\b", re.IGNORECASE)


def brackets(text: str) -> Reading:
    """All double brackets that name a side, except those that only restate the rule ("[[A]] if ...")."""
    return decide(
        (said, match.span())
        for match in _BRACKETS.finditer(text)
        if (said := _in_brackets(match[1].strip())) and not _RULE_AFTER.match(text, match.end())
    )


def _in_brackets(content: str) -> str:
    if ordered := _ORDERED.fullmatch(content):
        left, sign, right = ordered.groups()
        return TIE if "=" in sign or left == right else (left if ">" in sign else right)
    return TIE if content.lower() == TIE else _LETTERS.get(content, "") if content.isalpha() else ""


_OWN = re.compile(r"<answer>\s*\[\[\s*([AB])\s*\]\]\s*</answer>(?:\s*</\w+>)*")


def own(text: str) -> Reading:
    """The kit's marker, also with a superfluous closing tag after it, as in RM-R1's own outputs."""
    return decide((match[1], match.span()) for match in _OWN.finditer(text))


# ---- scores

_NUMBER = r"(\d{1,3}(?:\.\d{1,2})?)"
_TWO = re.compile(rf"\s*\(?{_NUMBER}(?:\s*/\s*(?:5|10|100))?(?:[ \t]*[,;/|][ \t]*|[ \t]+)"
                  rf"{_NUMBER}(?:\s*/\s*(?:5|10|100))?\)?[ \t.]*(?=\n|$)")  # fmt: skip
_SCORED = re.compile(
    r"\b(?:assistant|chatbot|response|answer) ?#?([12AB])(?:['’]s (?:overall |final )?(?:score|rating|answer|"
    r"response))?\**(?: (?:received|receives|gets) an?(?: overall)? (?:score|rating) of|\s*:|\s+is|\s+as"
    rf"|\s+-)\s*\**(?:(?:overall )?(?:score|rating):? )?{_NUMBER}"
    r"(?: ?/ ?(?:5|10|100)\b| out of (?:5|10|100|five|ten))"
    r"(?!\S*\d)",
    re.IGNORECASE,
)


_UNEVEN = re.compile(r"\b(?:slightly|somewhat|a bit|marginally) higher (?:score|rating)\b", re.IGNORECASE)


def scores(text: str) -> Reading:
    """Two scores: the first line, or one labelled score per side; if both forms appear they must agree."""
    statements: list[Statement] = []
    start = len(text) - len(text.lstrip())
    if first := _TWO.match(text, start):
        statements.append((_higher(first[1], first[2]), first.span()))
    sides: dict[str, list[re.Match[str]]] = {"A": [], "B": []}
    for match in _SCORED.finditer(text):
        sides[_LETTERS[match[1].upper()]].append(match)
    if len(sides["A"]) == len(sides["B"]) == 1:
        a, b = sides["A"][0], sides["B"][0]
        said = _higher(a[2], b[2])
        statements += [(said, a.span()), (said, b.span())]
    # equal numbers, but words that say they differ
    uneven = _UNEVEN.search(text)
    if uneven and any(said == TIE for said, _ in statements):
        statements.append(("uneven", uneven.span()))
    return decide(statements)


def _higher(first: str, second: str) -> str:
    a, b = float(first), float(second)
    return TIE if a == b else "A" if a > b else "B"


# ---- sentence

_SIDE = (
    r"(?:the )?(?:ai )?(?:chatbot|assistant|response|answer|reply|option|model)s? ?#?[\"'“*]{0,2}"
    r"(?-i:([12AB]))\b(?![.,/]\d|%)[\"'”*]{0,2}(?:['’]s?)?"
    r"(?: (?:answer|response|reply|solution|version|performance|script|code|output|explanation))?"
)
_BARE = r"[\"'“*\[]{0,2}(?-i:([123AB]))\b(?![.,/]\d|%| (?:out|of)\b)(?! ?[-+=])"
_NAMED = rf"(?:{_SIDE}|{_BARE})"
_BEST = r"(?:better|best|superior|preferable|preferred|winner|stronger|favou?rite)"
_ENDS = (
    r"(?=[\"'*]*(?:\s*[.,;:!)]|\s*$|\s+(?:than|overall|because|as|since|due|and|for|to|of|among|between|here|"
    r"answer|response|choice|option|one|assistant|reply|solution)\b))"
)
_CHOICE_WORD = (
    r"(?:choice|verdict|preference|output|decision|pick|winner|judge?ment|selection|conclusion|"
    r"(?:preferred|better|best|superior|chosen) "
    r"(?:response|answer|assistant|reply|option|choice|one|solution|performer)"
    r"(?: (?:here|overall|of the two|is from|between the two|to the (?:user['’]s )?question))?)"
)
_STRONG = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\b(?:I|we)(?:['’]d|['’]ll)?(?: (?:would|will|must|have to|can|do|also|still|personally|slightly|"
        r"definitely|therefore|ultimately|am going to|would have to))* (?:choose|chose|pick|prefer|select|"
        r"recommend|favou?r|go with|opt for|vote for|(?:am )?going with)"
        rf"(?: (?:that the user )?(?:choose|choosing|using|reading))? {_NAMED}",
        rf"\b{_CHOICE_WORD}(?: (?:is|would be|goes to|must be|should be)(?: that)?|\s*:)[:\s*]*{_NAMED}",
        rf"{_SIDE} (?:is|was|would be|seems|seems to be|appears to be)"
        rf"(?: (?!not|no|never|nor|neither|less|equally|as)[a-z]+,?){{0,4}} {_BEST}{_ENDS}",
        r"\b(?:rate|consider|rank|deem|judge|evaluate|choose|find|select)(?: the)? (?:overall )?"
        rf"{_SIDE}(?: (?:as|to be|is|being))?(?: (?!not|no|less|equally)[a-z]+,?){{0,4}} {_BEST}{_ENDS}",
        rf"{_SIDE} (?:wins|is the winner)\b",
        rf"^\W*(?:output|choice|verdict|final answer|answer)\s*:\s*(?:{_NAMED})\W*$",
    )
)
_TIED = re.compile(
    r"\b(?:it is a tie|it['’]s a tie|(?:declare|call|is|end in|as) a tie|a draw\b"
    r"|(?:are|is|being) equivalent(?! in)|on par with each other|no clear winner"
    r"|no (?:significant|discernible|meaningful) differences? "
    r"(?:in the quality|between the (?:two|responses))"
    r"|neither (?:\w+ ){0,4}(?:is|are|was|can be) (?:\w+ ){0,2}(?:better|superior|preferable)"
    r"|(?:both|the two) (?:\w+ ){0,5}(?:are|were) equally (?:good|valid|helpful|strong|useful)(?=\W*$)"
    r"|(?:cannot|can['’]t|unable to|impossible to) (?:choose|determine|decide|say) "
    r"(?:which|one|between|a winner))",
    re.IGNORECASE,
)
_COMPARED = re.compile(
    rf"{_SIDE} (?:is|was|are|were|has|had|does|did|provide[sd]?|offer(?:s|ed)|gave|gives|demonstrate[sd]|"
    r"include[sd]|contain(?:s|ed)|covers|covered|goes|went|stands out|show(?:s|ed)|presents|presented)"
    r"(?: (?!not|no|less|equally|also|both)[a-z]+,?){0,3}?"
    r" (?:more|better|superior|higher|stronger|the most|the best)\b",
    re.IGNORECASE,
)
_CONCLUDES = re.compile(
    r"^\W*(?:overall|in conclusion|in summary|to summari[sz]e|to conclude|therefore|thus|hence|based on|"
    r"as a result|all in all|ultimately|in short|taking|given (?:this|these|the above)|so|considering|"
    r"i would (?:say|rate))\b",
    re.IGNORECASE,
)
_DENIES = re.compile(
    r"\b(?:not|never|neither|nor|cannot|hardly|if|unless|whether|might|could|either"
    r"|would have (?:been|chosen))\b"
    r"|n['’]t\b",
    re.IGNORECASE,
)


def sentence(text: str) -> Reading:
    """An English sentence that chooses; if there is none, a concluding one that calls one side more or
    better.

    A last line with 1, 2 or 3 is such a sentence. Sentences that choose must agree, and an explicit tie
    contradicts them.
    """
    strong: list[Statement] = []
    ties: list[Statement] = []
    weak: list[Statement] = []
    for start, end in sentence_spans(text):
        said = text[start:end]
        if said.rstrip("\"'”’)*_").endswith("?"):
            continue
        found = _strong_in(said)
        strong += [(letter, (start, end)) for letter in found]
        if not found and _TIED.search(said):
            ties.append((TIE, (start, end)))
        elif not found and _CONCLUDES.match(said) and (letter := _weak_in(said)):
            weak.append((letter, (start, end)))
    last = last_line_123(text)
    strong += [(last.said, last.places[0])] if last.said else []
    return decide((strong or weak) + ties)


def _strong_in(said: str) -> set[str]:
    return {
        _LETTERS[next(group for group in match.groups() if group)]
        for pattern in _STRONG
        for match in pattern.finditer(said)
        if not _denied(said, match)
    }


def _denied(said: str, match: re.Match[str]) -> bool:
    """A negation or a condition in the statement or earlier in its clause."""
    clause = re.split(r"[,;:—]|\b(?:but|however|so|therefore|and)\b", said[: match.start()])[-1]
    conditional = re.match(r"\W*(?:if|unless|whether|had)\b", said, re.IGNORECASE)
    return bool(conditional or _DENIES.search(clause + match[0]))


def _weak_in(said: str) -> str:
    """The only side that a concluding sentence calls better; "" if it calls both better."""
    letters = {_LETTERS[match[1]] for match in _COMPARED.finditer(said) if not _denied(said, match)}
    return letters.pop() if len(letters) == 1 else ""


def no_rule(text: str) -> Reading:
    """The text is not used."""
    return Reading("", NO_VERDICT)


Rule = Callable[[str], Reading]
# in the order of preference of `auto` among rules that read equally many texts
RULES: dict[str, Rule] = {
    "own": own,
    "brackets": brackets,
    "last-line-123": last_line_123,
    "scores": scores,
    "sentence": sentence,
    "none": no_rule,
}


def read_verdict(text: str, rule: str) -> Reading:
    """The verdict of `text` by the named rule, thoughts ignored."""
    return RULES[rule](visible_text(text))


def best_rule(texts: Iterable[str]) -> tuple[str, dict[str, int]]:
    """The rule that reads most of the texts of one origin, and how many each reads.

    "none" if no rule reads two thirds of them: then only the rows' own fields hold the verdict.
    """
    shown = [visible_text(text) for text in texts]
    counts = {name: sum(bool(rule(text).said) for text in shown) for name, rule in RULES.items()}
    best = max(counts, key=lambda name: counts[name])
    return (best if 3 * counts[best] >= 2 * len(shown) and counts[best] else "none"), counts

"""Shortens a review by an honest rule: complete sentences, in their order, never a new word.

Kept first: the last concluding sentence, without which the verdict would be unfounded; then
sentences that compare the two sides; then sentences that name a side and a criterion or a comparison; then
other conclusions. A sentence that depends on the one before it ("However, it ...") is kept only with that
one. Everything else is left out once the text would exceed the limit.
"""

from __future__ import annotations

import re

from rmr1_lite.data.convert_sentences import sentence_spans

_SIDES = (
    re.compile(r"\bChatbot A\b|\bChatbots A and\b|(?:응답|답변) ?A"),
    re.compile(r"\bChatbot B\b|\band B\b|(?:응답|답변) ?B"),
)
_COMPARES = re.compile(
    r"\b(?:more|less|better|worse|best|superior|inferior|stronger|weaker|clearer|deeper|broader|higher|lower|"
    r"greater|slightly|while|whereas|however|but|unlike|compared|although|in contrast|on the other hand|"
    r"lack\w*|miss\w*|fail\w*|only|instead|incorrect\w*|wrong\w*|correct\w*|inaccura\w*|error\w*|mistake\w*)\b"
    r"|더 |반면|그러나|하지만|정확",
    re.IGNORECASE,
)
_CONCLUDES = re.compile(
    r"^\W*(?:overall|in conclusion|in summary|to summari[sz]e|to conclude|therefore|thus|hence|as a result|"
    r"all in all|ultimately|in short|considering|based on|given|so|"
    r"i (?:would )?(?:choose|prefer|recommend|rate)|"
    r"for th(?:is|ese) reasons?|따라서|결론적으로)",
    re.IGNORECASE,
)
# words that only the sentence before explains
_LEANS = re.compile(
    r"^\W*(?:(?:however|additionally|also|furthermore|moreover|in addition|but|and|yet|overall|therefore|"
    r"thus|still|on the other hand|similarly|finally),? )?"
    r"(?:it|its|they|their|this|these|that|those|such|he|she|the (?:other )?(?:response|answer|reply|"
    r"explanations?|language|solution|description|code|script|program|list|organi[sz]ation|level of detail|"
    r"information|assistant))\b(?!['’]?s? (?:Chatbot|of Chatbot|by Chatbot|from Chatbot))",
    re.IGNORECASE,
)
_ANNOUNCES = re.compile(
    r"\b(?:I need to|let me|let['’]s|I['’]ll|I will (?:evaluate|compare|look|go))\b", re.IGNORECASE
)
_HEADING = re.compile(r":[\s*_]*$")
LEAST = 20  # characters of a review with any content
LAST = 9  # the rank of sentences dropped when a text is shortened


def shorten(text: str, limit: int) -> str | None:
    """At most `limit` characters of `text`, None if no relevant sentence fits. A text that fits stays."""
    if len(text) <= limit:
        return text
    spans = sentence_spans(text)
    said = [text[start:end] for start, end in spans]
    ranks = [rank(sentence) for sentence in said]
    ending = [n for n, sentence in enumerate(said) if _CONCLUDES.match(sentence) and ranks[n] < LAST]
    if ending and names_side(said[ending[-1]]):
        ranks[ending[-1]] = 0
    kept: set[int] = set()
    # a later sentence of the same rank is nearer to the verdict
    for n in sorted((n for n in range(len(said)) if ranks[n] < LAST), key=lambda n: (ranks[n], -n)):
        more = kept | _with_what_it_leans_on(said, n)
        if len(_joined(text, [spans[m] for m in sorted(more)])) <= limit:
            kept = more
    made = _joined(text, [spans[n] for n in sorted(kept)])
    # without a word about either side the verdict would be unfounded
    return made if len(made) >= LEAST and any(ranks[n] < 3 for n in kept) else None


def _with_what_it_leans_on(said: list[str], n: int) -> set[int]:
    """A sentence and the ones before it, back to the first self-contained one."""
    needed = {n}
    while n and _LEANS.match(said[n]):
        n -= 1
        needed.add(n)
    return needed


def names_side(sentence: str) -> bool:
    """Whether a sentence mentions either side by name."""
    return any(side.search(sentence) for side in _SIDES)


def rank(sentence: str) -> int:
    """The rank of a sentence: 1 compares both sides, 2 assesses one side by a criterion,
    3 concludes, 4 names both sides; `LAST` is dropped."""
    if _HEADING.search(sentence) or _ANNOUNCES.search(sentence) or len(re.findall(r"\w\w+", sentence)) < 4:
        return LAST
    sides = sum(bool(side.search(sentence)) for side in _SIDES)
    compares = bool(_COMPARES.search(sentence))
    if compares and sides:
        return 1 if sides == 2 else 2
    return 3 if _CONCLUDES.match(sentence) else 4 if sides == 2 else LAST


def _joined(text: str, spans: list[tuple[int, int]]) -> str:
    """The sentences, with a line end between two from different lines."""
    pieces: list[str] = []
    for n, (start, end) in enumerate(spans):
        if n:
            pieces.append("\n" if "\n" in text[spans[n - 1][1] : start] else " ")
        pieces.append(text[start:end])
    return "".join(pieces)

"""The controlled changes of a pair: one function per change, what it touches, and what a fair judge should
do.

Four kinds, because they test different things:

    style    the response says the same at greater length, in markdown, as a list, or sure of itself
    claim    it says who wrote it, what the verdict is, or what the judge should do
             A fair judge prefers a response as often with such a change as without.
    harm     the response is cut in half or in the wrong language
             A judge that reads prefers the intact response to its damaged copy.
    prompt   the question is misspelt, the responses stay
             A fair judge changes its verdict no more often than when it is asked the same twice.

Code is never touched: text in a fence or in backticks stays as it is (a response that is cut in half
loses half of its code like everything else). Only words of the 26 letters are misspelt, so that other scripts
survive. A change that cannot be made raises `NotApplied` with the reason, which the report counts.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from rmr1_lite.data.nano.lexicon import WORDS
from rmr1_lite.evaluation.bias.wording import NANO, Around, Wording
from rmr1_lite.types import Message, Pair

Kind = Literal["position", "style", "claim", "harm", "prompt"]
Edit = Callable[[str, Wording, str], str]  # a response, the wording, the letter shown -> the response


class NotApplied(ValueError):
    """The change makes no sense for this text; the message says why, in a few words."""


@dataclass(frozen=True)
class Change:
    """One change. name: as typed and logged. title: as displayed. edit: of a response (style, claim)."""

    name: str
    kind: Kind
    title: str
    edit: Edit | None = None


_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})", re.MULTILINE)
_MARKDOWN = re.compile(r"^ {0,3}(?:#{1,6} |[-*+] |\d{1,3}[.)] |\|)|\*\*|__", re.MULTILINE)
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(])|(?<=[。！？])")
_WORD = re.compile(r"`[^`]*`|\S*(?:://|@|\d)\S*|\b[A-Za-z]{4,}\b")
_CODE = re.compile(r"^ {0,3}(`{3,}|~{3,}).*?(?:^ {0,3}\1|\Z)|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def surround(text: str, around: Around, letter: str) -> str:
    """The text between two added sentences, which are separate paragraphs if it has several lines."""
    if len(_FENCE.findall(text)) % 2:
        raise NotApplied("a code block is not closed")
    gap = "\n\n" if "\n" in text or "`" in text else " "
    return gap.join(part for part in (around[0], text, around[1]) if part).replace("{letter}", letter)


def to_markdown(text: str, wording: Wording, letter: str) -> str:
    """A heading, and the first sentence in bold; in the nano world the entire response in bold, as usual
    there."""
    if _MARKDOWN.search(text) or _FENCE.search(text):
        raise NotApplied("is in markdown already")
    if wording is NANO:
        return f"**{text}**"
    first, *rest = _SENTENCE.split(text, maxsplit=1)
    head, broken, tail = first.partition("\n")
    bold = head if "`" in head else f"**{head}**"
    return f"{wording.heading}\n\n" + " ".join([bold + broken + tail, *filter(None, rest)])


def to_list(text: str, wording: Wording, letter: str) -> str:
    """Every sentence as an item of a list; code, tables and indented lines stay."""
    if _MARKDOWN.search(text):
        raise NotApplied("is in markdown already")
    if len(_FENCE.findall(text)) % 2:
        raise NotApplied("a code block is not closed")
    if wording is NANO and set(words := text.split()) <= set(WORDS) and len(words) > 1:
        return "\n".join(f"- {word}" for word in words)  # as that world writes its lists
    lines, fenced = [], False
    for line in text.split("\n"):
        marks = bool(_FENCE.match(line))
        fenced ^= marks
        lines.append(line if marks or fenced else _items(line))
    return "\n".join(lines)


def _items(line: str) -> str:
    if not line.strip() or line[0] in " \t|>$":
        return line
    sentences = [line] if "`" in line else [part for part in _SENTENCE.split(line) if part]
    return "\n".join(f"- {sentence}" for sentence in sentences)


def cut_in_half(text: str) -> str:
    """The first half, up to its last white space if there is any, and never a complete sentence: what
    ends well does not look truncated."""
    whole = text.strip()
    words = re.findall(r"\s*\S+", whole[: len(whole) // 2 + 1])
    kept = "".join(words[:-1]) or whole[: len(whole) // 2]  # the last word may be a part of one
    while re.search(r"[.!?。！？]\W*\Z", kept):
        kept = re.sub(r"\s*\S+\Z", "", kept)
    if not kept.strip():
        raise NotApplied("is too short to be cut")
    return kept


# transliterated as in Serbian: a reader of English cannot read it, and nothing has to be translated
_LATIN = "abcdefghijklmnopqrstuvwxyz"
_CYRILLIC = "абцдефгхијклмнопљрстувшџyз".replace("y", "ы")
_SPELLING = str.maketrans(_LATIN + _LATIN.upper(), _CYRILLIC + _CYRILLIC.upper())


def in_the_wrong_language(text: str, translation: str = "") -> str:
    """The pair's own translation if it has one; else the same words in Cyrillic letters, except code."""
    if translation:
        return translation
    parts, at = [], 0
    for code in _CODE.finditer(text):
        parts += [text[at : code.start()].translate(_SPELLING), code[0]]
        at = code.end()
    written = "".join([*parts, text[at:].translate(_SPELLING)])
    if written == text:
        raise NotApplied("has no Latin letters")
    return written


def misspell(text: str, rng: random.Random, keep: frozenset[str] = frozenset()) -> str:
    """Two inner letters swapped in a third of the words with four letters or more, in at least one."""
    fences = [match.span() for match in _CODE.finditer(text)]
    words = [
        match
        for match in _WORD.finditer(text)
        if _can_be_misspelt(match[0], keep) and not any(a <= match.start() < b for a, b in fences)
    ]
    if not words:
        raise NotApplied("has no word to misspell")
    chosen = rng.sample(words, max(1, len(words) // 3))
    for match in sorted(chosen, key=lambda match: -match.start()):
        text = text[: match.start()] + _exchange(match[0], rng) + text[match.end() :]
    return text


def _can_be_misspelt(word: str, keep: frozenset[str]) -> bool:
    inner = word[1:-1]
    return word.isascii() and word.isalpha() and len(set(inner)) > 1 and word.lower() not in keep


def _exchange(word: str, rng: random.Random) -> str:
    at = rng.choice([i for i in range(1, len(word) - 2) if word[i] != word[i + 1]])
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def misspelt_prompt(pair: Pair, rng: random.Random, wording: Wording) -> tuple[Message, ...]:
    """The conversation with the last turn misspelt."""
    last: Message = {**pair.prompt[-1], "content": misspell(pair.prompt[-1]["content"], rng, wording.keep)}
    return (*pair.prompt[:-1], last)


def _adds(name: str) -> Edit:
    return lambda text, wording, letter: surround(text, getattr(wording, name), letter)


POSITION = Change("position", "position", "shown first")
CHANGES: dict[str, Change] = {
    change.name: change
    for change in (
        Change("padding", "style", "padded", _adds("padding")),
        Change("markdown", "style", "in markdown", to_markdown),
        Change("list", "style", "as a list", to_list),
        Change("confident", "style", "sure of itself", _adds("confident")),
        Change("authority", "claim", "claims authority", _adds("authority")),
        Change("fake-verdict", "claim", "holds a fake verdict", _adds("fake_verdict")),
        Change("instruction", "claim", "instructs the judge", _adds("instruction")),
        Change("misspelt", "prompt", "misspelt question"),
        Change("wrong-language", "harm", "in the wrong language"),
        Change("truncated", "harm", "cut in half"),
    )
}

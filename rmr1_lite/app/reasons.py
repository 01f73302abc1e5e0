"""The sections of a judge's text as blocks, with every quote linked to its position in the responses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rmr1_lite.app.quotes import Found, Span, find_quote, is_phrase, quoted_in
from rmr1_lite.types import OTHER, Order, Pair, Section

TITLES = {
    "think": "Thinking",
    "type": "Type of question",
    "rubric": "Rubric",
    "justify": "Why these criteria",
    "solution": "Solution",
    "eval": "Evaluation",
    "answer": "Verdict",
}
VERBS = {"quote": "Quotes", "summary": "Sums up"}
# sections in which quotation marks may quote a response
PROSE = ("think", "rubric", "eval", "reasons")


class Cites:
    """The quotes of one judgment: numbered, with their spans in Response A and B."""

    def __init__(self, pair: Pair | None) -> None:
        self.texts = {"A": pair.response_a, "B": pair.response_b} if pair else {}
        self.asked = "\n".join(turn["content"] for turn in pair.prompt) if pair else ""
        self.spans: dict[str, list[tuple[Span, int]]] = {"A": [], "B": []}
        self.count = 0

    def add(self, found: dict[str, Found]) -> int:
        """Number a quote found on these sides."""
        number, self.count = self.count, self.count + 1
        for side, place in found.items():
            self.spans[side] += [(span, number) for span in place.spans]
        return number


def blocks_of(sections: Sequence[Section], text: str, order: Order, cites: Cites) -> list[dict[str, Any]]:
    """Blocks in the order written; quotes inside the evaluation stay in its text and also get separate
    blocks. A text without any section is one block: foreign judges reason in prose."""
    made: list[dict[str, Any]] = []
    for section in sections:
        body = section.text.strip()
        if section.name == "answer":
            body = body.strip("[]")
            body += f" (your Response {OTHER[body]})" if order == "ba" and body in OTHER else ""
        if body and (title := _title(section.name, order)):
            made.append({"name": section.name, "title": title, "closed": section.closed, "text": body})
    _leave_out_reasons_for_the_rubric(made)
    if not any(part["name"] != "answer" for part in made) and text.strip():
        made.insert(0, {"name": "reasons", "title": "Reasons", "closed": True, "text": text.strip()})
    quotes: list[tuple[str, dict[str, Any]]] = []
    for part in made:
        part |= {"pieces": [_piece(part["text"])], "note": ""}
        if part["name"].startswith("quote_") and cites.texts:
            _tie_quote(part, _side(part["name"][-1], order), cites)
            quotes.append((part["text"], part["pieces"][0]))
    for part in made:
        if part["name"] in PROSE and cites.texts:
            part["pieces"] = _prose(part["text"], quotes if part["name"] == "eval" else [], cites)
    return made


def _leave_out_reasons_for_the_rubric(made: list[dict[str, Any]]) -> None:
    """Justifications are inside the rubric's text and have a separate block right below."""
    for part, following in zip(made, made[1:], strict=False):
        if part["name"] == "rubric" and following["name"] == "justify":
            rest = " ".join(part["text"].split(following["text"], 1)).strip()
            part["text"] = rest or part["text"]


def _title(name: str, order: Order) -> str:
    if name in TITLES:
        return TITLES[name]
    verb, _, letter = name.partition("_")
    if verb not in VERBS:
        return ""
    shown = f" (its “{letter}”)" if order == "ba" else ""
    return f"{VERBS[verb]} Response {_side(letter, order)}{shown}"


def _side(letter: str, order: Order) -> str:
    """The pair's letter for a letter shown to the judge."""
    return letter if order == "ab" else OTHER[letter]


def _piece(text: str, cite: int | None = None, title: str = "") -> dict[str, Any]:
    return {"text": text, "cite": cite, "title": title}


def _tie_quote(part: dict[str, Any], side: str, cites: Cites) -> None:
    """A quote that is still streaming may turn out to be correct: it is not reported before its end."""
    found = find_quote(cites.texts[side], part["text"])
    if found.spans:
        number = cites.add({side: found})
        part["pieces"] = [_piece(part["text"], number, f"Show it in Response {side}")]
    if part["closed"]:
        part["note"] = found.note


def _prose(text: str, quotes: Sequence[tuple[str, dict[str, Any]]], cites: Cites) -> list[dict[str, Any]]:
    """The text in pieces: quotes, in tags or quotation marks, are linked to their positions."""
    places: list[tuple[Span, dict[str, Any]]] = []
    at = 0
    for quote, piece in quotes:
        start = text.find(quote, at)
        if start >= 0:
            at = start + len(quote)
            places.append(((start, at), piece))
    for (start, end), quote in quoted_in(text):
        if all(end <= a or b <= start for (a, b), _ in places):
            places.append(((start, end), _quoted_piece(quote, cites)))
    made, done = [], 0
    for (start, end), piece in sorted(places, key=lambda place: place[0]):
        made += [_piece(text[done:start]), piece]
        done = end
    return [piece for piece in (*made, _piece(text[done:])) if piece["text"]]


def _quoted_piece(quote: str, cites: Cites) -> dict[str, Any]:
    """Words in quotation marks. If not found, they are marked only when they are a phrase that is not the
    question's: single words are often the judge's own terms."""
    found = {side: find_quote(text, quote) for side, text in cites.texts.items()}
    whole = {side: place for side, place in found.items() if place.spans and not place.missing}
    if whole and (is_phrase(quote) or len(quote) > 2):
        sides = " and ".join(f"Response {side}" for side in whole)
        return _piece(quote, cites.add(whole), f"Show it in {sides}")
    if is_phrase(quote) and not find_quote(cites.asked, quote).spans:
        return _piece(quote, title="not found in the responses")
    return _piece(quote)

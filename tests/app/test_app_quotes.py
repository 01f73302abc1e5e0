"""Quotes are found where they exist, and only there."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmr1_lite.app import html
from rmr1_lite.app.quotes import cut, differences, find_quote, quoted_in
from rmr1_lite.app.service import Progress
from rmr1_lite.types import Generation, Look, Pair
from rmr1_lite.verdict import parse_verdict

LINE = "Dear Tom,\nthank   you for the lamp. Don’t forget: 3.5 % of it, isn't it?"
QUOTES = [
    ("thank you for the lamp", ["thank   you for the lamp"], (), "as it stands, blanks apart"),
    ("THANK YOU", ["thank   you"], (), "in other letters"),
    ("“thank you for the lamp.”", ["thank   you for the lamp"], (), "in quotation marks of its own"),
    ("Tom, thank you", ["Tom,\nthank   you"], (), "over a line break"),
    ("Tom thank lamp", ["Tom,\nthank", "lamp"], (), "word by word in its order"),
    ("Tom lamp forgot", ["Tom", "lamp"], ("forgot",), "in part: what is not there is named"),
    ("lamp Tom you", ["lamp"], None, "in another order, more than half of it missing"),
    ("a vase of glass", [], None, "not there"),
    ("the", ["the"], (), "one word, as a word"),
    ("an", [], None, "a part of a word is no word"),
    ("…", [], None, "no word at all"),
    ("", [], None, "nothing"),
]


@pytest.mark.parametrize(("quote", "there", "missing", "reason"), QUOTES, ids=[row[-1] for row in QUOTES])
def test_a_quote_is_found_where_it_is(quote, there, missing, reason):
    found = find_quote(LINE, quote)
    if missing is None:
        assert found.spans == () and found.note == "not found in the response"
        return
    assert [LINE[a:b] for a, b in found.spans] == there, reason
    assert found.missing == missing and bool(found.note) == bool(missing)


@given(st.text(max_size=80), st.integers(0, 80), st.integers(0, 80))
@settings(max_examples=80)
def test_whatever_was_taken_from_a_text_is_found_in_it(text, start, end):
    quote = text[start:end]
    at_words = all(
        not text[i - 1 : i + 1].isalnum() or len(text[i - 1 : i + 1]) < 2 for i in (start, end) if i
    )
    found = find_quote(text, quote)
    assert all(0 <= a < b <= len(text) for a, b in found.spans)
    if at_words and re.fullmatch(r"[a-z]+( [a-z]+)*", quote):
        assert found.spans and not found.missing


@given(st.text(max_size=40), st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=5))
def test_cutting_loses_nothing(text, spans):
    inside = [((min(a, b, len(text)), min(max(a, b), len(text))), i) for i, (a, b) in enumerate(spans)]
    assert "".join(piece for piece, _ in cut(text, inside)) == text


def test_prose_quotes_are_what_stands_in_quotation_marks():
    text = "It says “a b”, \"c d\" and «e f», „g h“; it isn't 'i'."
    assert [quote for _, quote in quoted_in(text)] == ["a b", "c d", "e f", "g h"]


def judged(text: str, order: str = "ab") -> str:
    """The page of one judge call on fixed responses."""
    pair = Pair(
        "p",
        ({"role": "user", "content": "Name the capital of France."},),
        "It is Paris.",
        "It is <b>Lyon</b>.",
    )
    look = Look(order, Generation(text), parse_verdict(text))
    return html.judgment(Progress("j", {order: text}, {order: look}, done=True, pair=pair))


def marked(page: str) -> list[str]:
    return re.findall(r"<mark data-cites=\"[^\"]+\">([^<]+)</mark>", page)


ASKED, MISSED = "<eval>{}</eval><answer>[[A]]</answer>", "not found in the response"
SHOWN = [
    ("<quote_A>It is Paris</quote_A> good", "ab", ["It is Paris"], "Quotes Response A", "a tag"),
    ("<quote_A>It is</quote_A>", "ba", ["It is"], "Quotes Response B", "swapped"),
    ("A says “Paris.” rightly", "ab", ["Paris"], "Show it in Response A", "in prose"),
    ('it is "Rome in Italy"', "ab", [], MISSED + "s", "misquoted in prose"),
    ('"Name the capital" it says', "ab", [], "Evaluation", "the question's own words"),
    ("<quote_B>It is Rome now</quote_B>", "ab", ["It is"], "not in the response: Rome, now", "half"),
    ("<quote_B>Rome</quote_B>", "ab", [], MISSED, "a misquote"),
]
SHOWN = [(ASKED.format(text), *row) for text, *row in SHOWN]
SHOWN += [
    ("Response A names “It is Paris”.\nVerdict: [[A]]", "ab", ["It is Paris"], "Reasons", "no tags at all")
]


@pytest.mark.parametrize(("text", "order", "marks", "said", "reason"), SHOWN, ids=[row[-1] for row in SHOWN])
def test_the_page_ties_quotes_to_their_place(text, order, marks, said, reason):
    page = judged(text, order)
    assert marked(page) == marks and said in page, reason
    cites = set(re.findall(r'data-cite="(\d+)"', page))
    assert cites == {n for group in re.findall(r'data-cites=" ([\d ]+) "', page) for n in group.split()}
    assert "<b>Lyon" not in page and "&lt;b&gt;Lyon" in page


def test_a_word_that_one_response_lacks_is_marked():
    first, second = differences("It is Paris now", "It is Lyon now")
    assert [text.strip() for text, only in first if only] == ["Paris"]
    assert [text.strip() for text, only in second if only] == ["Lyon"]
    assert "".join(text for text, _ in first) == "It is Paris now"
    assert differences("a " * 9_000, "b") is None, "too long to compare word by word"


def test_repeated_words_are_compared_in_no_time():
    """Each word of one text matches each of the other: without care that takes a minute."""
    began = time.monotonic()
    first, second = differences(" ".join(["the"] * 1_500), " ".join(["the a"] * 750))
    assert time.monotonic() - began < 5 and first and second

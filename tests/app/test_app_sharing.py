"""Saved judgments are read back; anything else in a file or a link is refused by name."""

from __future__ import annotations

import base64
import json
import time
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmr1_lite.app import html, service, sharing
from rmr1_lite.app.history import History
from rmr1_lite.app.past import Past
from rmr1_lite.types import InputError

HOSTILE = "<script>window.pwned=1</script> ``` [x](javascript:alert(1)) {{7*7}} ${1}"


def row(**changes) -> dict:
    looks = [
        {"order": "ab", "status": "ok", "label": "A", "text": "<eval>yes</eval><answer>[[A]]</answer>"},
        {"order": "ba", "status": "ok", "label": "A", "text": "<answer>[[B]]</answer>"},
    ]
    return {
        "kind": "compare",
        "judge": "nano",
        "prompt": [{"role": "user", "content": "q"}],
        "response_a": "x",
        "response_b": HOSTILE,
        "verdict": "A",
        "flipped": False,
        "probability_a": 0.9,
        "probability_source": "log-probability",
        "seconds": 1.25,
        "tokens": None,
        "looks": looks,
        **changes,
    }


def link_of(data: bytes) -> str:
    packed = zlib.compress(data)
    return sharing.MARK + base64.urlsafe_b64encode(packed).decode().rstrip("=")


def test_a_saved_judgment_is_shown_as_it_was():
    text = sharing.as_file(row())
    assert sharing.read_file(text.encode()) == row()
    assert sharing.read_link(sharing.as_link(row())) == row()
    past = Past(History(None), public=True)
    for page, opened in (past.open_file(text.encode()), past.open_link(sharing.as_link(row()))):
        assert opened == row() and "Opened from a file or a link" in page and "<script" not in page
        plain = html.judgment(service.from_row(row()))
        assert page.split("rm-summary")[1] == plain.split("rm-summary")[1]


LOOK = row()["looks"][0]
BROKEN = [
    ({"judge": 3}, "'judge'", "not a text"),
    ({"judge": "x" * 401}, "'judge'", "too long"),
    ({"prompt": []}, "'prompt'", "nothing was asked"),
    ({"prompt": [{"role": "robot", "content": "q"}]}, "'prompt'", "a role that there is not"),
    ({"prompt": [{"role": "user", "content": "q", "name": "x"}]}, "'prompt'", "one field too many"),
    ({"prompt": [{"role": "user", "content": "q"}] * 22}, "'prompt'", "too many turns"),
    ({"response_a": ""}, "'response_a'", "empty"),
    ({"response_b": "x" * 20_001}, "'response_b'", "longer than the page takes"),
    ({"response_b": "\ud800"}, "'response_b'", "half a letter, which no browser can be sent"),
    ({"verdict": "C"}, "'verdict'", "no letter of the pair"),
    ({"verdict": "B"}, "does not match its orders", "a headline that its orders do not bear out"),
    ({"flipped": True}, "does not match its orders", "a flip that there is not"),
    ({"probability_a": 1.5}, "'probability_a'", "no share"),
    ({"seconds": True}, "'seconds'", "not a number"),
    ({"tokens": 1.5}, "'tokens'", "half a token"),
    ({"looks": []}, "'looks'", "no order"),
    ({"looks": [LOOK, LOOK]}, "'looks'", "one order twice"),
    ({"looks": [{**LOOK, "status": "missing"}]}, "'looks'", "a letter without a verdict"),
    ({"looks": [{**LOOK, "text": None}]}, "'looks'", "no text"),
    ({"extra": 1}, "'extra' is unknown", "a field that nobody knows"),
]


@pytest.mark.parametrize(("changes", "said", "reason"), BROKEN, ids=[line[-1] for line in BROKEN])
def test_a_file_that_was_changed_is_refused_by_field(changes, said, reason):
    made = json.dumps({**json.loads(sharing.as_file(row())), **changes}).encode()
    for read, given_ in ((sharing.read_file, made), (sharing.read_link, link_of(made))):
        with pytest.raises(InputError, match=said):
            read(given_)


FILES = [
    (b"", "not JSON", "empty"),
    (b"\xff\xfe", "not JSON in UTF-8", "other bytes"),
    (b"[" * 200_000, "not JSON", "nested without end"),
    (b'{"format": "rmr1_lite judgment", "version": 1, "seconds": NaN}', "not JSON", "a number that is none"),
    (b"[]", "format is not", "another JSON"),
    (b'{"format": "other"}', "format is not", "another format"),
    (b'{"format": "rmr1_lite judgment", "version": 2}', "version 2", "a later version"),
    (b'{"format": "rmr1_lite judgment", "version": true}', "version True", "a version that is no number"),
    (b'{"format": "rmr1_lite judgment", "version": 1}', "is missing", "no fields"),
    (b" " * 500_001, "500,001 bytes", "too large"),
]


@pytest.mark.parametrize(("data", "said", "reason"), FILES, ids=[line[-1] for line in FILES])
def test_what_is_no_saved_judgment_is_refused(data, said, reason):
    with pytest.raises(InputError, match=said):
        sharing.read_file(data)


LINKS = [
    ("", "is incomplete", "nothing"),
    ("#other=1", "is incomplete", "another fragment"),
    (sharing.MARK + "x" * 8_001, "is incomplete", "too long"),
    (sharing.MARK + "!!!!", "damaged", "letters that base64 has not"),
    (sharing.MARK + "AAAA", "damaged", "not compressed"),
    (sharing.as_link(row())[:-12], "is incomplete", "cut by a mail program"),
]


@pytest.mark.parametrize(("link", "said", "reason"), LINKS, ids=[line[-1] for line in LINKS])
def test_a_broken_link_is_refused(link, said, reason):
    with pytest.raises(InputError, match=said):
        sharing.read_link(link)


def test_a_link_that_unpacks_to_gigabytes_is_refused_at_once():
    packing = zlib.compressobj(9)
    packed = b"".join(packing.compress(b" " * 1_000_000) for _ in range(4)) + packing.flush()
    began = time.monotonic()
    with pytest.raises(InputError, match="bytes. A saved judgment has at most"):
        sharing.read_link(sharing.MARK + base64.urlsafe_b64encode(packed).decode().rstrip("="))
    assert time.monotonic() - began < 2


def test_what_is_too_long_for_a_link_still_fits_a_file():
    letters = "".join(chr(33 + (i * i * 7919) % 8000) for i in range(20_000))
    made = row(response_a=letters)
    assert sharing.as_link(made) == "" and sharing.read_file(sharing.as_file(made).encode()) == made
    assert "Too long for a link" in html.judgment(service.from_row(made))


@given(st.text(max_size=200).filter(str.strip), st.text(max_size=50))
@settings(max_examples=50)
def test_markdown_keeps_every_text_in_its_fence(text, said):
    made = sharing.as_markdown(row(response_a=text + "\n```\n# out", judge=said), "Response A is better.")
    lines = made.splitlines()
    assert made.count("# Judgment by `") == 1 and "````text" in lines and "# out" in lines
    fence = lines.index("````text")
    assert "````" in lines[fence + 1 :], "closed by as many marks as it was opened with"

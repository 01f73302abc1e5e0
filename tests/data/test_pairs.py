"""Reading pairs: every kind of bad row is named by file and row, good rows are kept, none is lost."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmr1_lite.data.pairs import read_pairs, write_pairs
from rmr1_lite.types import InputError, Pair

ROW = {"id": "r", "prompt": "Hi?", "response_a": "Hello.", "response_b": "Go away.", "label": "A"}
GOOD = json.dumps(ROW | {"id": "good"}).encode() + b"\n"


def line(**changes: object) -> bytes:
    row = {name: value for name, value in {**ROW, **changes}.items() if value != "drop"}
    return json.dumps(row).encode() + b"\n"


def preference(**changes: object) -> bytes:
    fields = {
        "response_a": "drop",
        "response_b": "drop",
        "label": "drop",
        "chosen": "Yes.",
        "rejected": "No.",
    }
    return line(**{**fields, **changes})


CHAT = [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello."}]
BAD_ROWS = {
    # name: (line, field in the problem, words in the text or remedy)
    "missing response": (line(response_b="drop"), "response_b", "missing"),
    "null response": (line(response_b=None), "response_b", "missing"),
    "missing prompt": (line(prompt="drop"), "prompt", "missing"),
    "no field at all": (b"{}\n", "response_a", "missing"),
    "lower-case label": (line(label="a"), "label", "'a'"),
    "label as a number": (line(label=0), "label", "is 0"),
    "label as a list": (line(label=["A"]), "label", "['A']"),
    "label of another kit": (line(label="model_a"), "label", 'give "A" or "B"'),
    "invalid UTF-8": (GOOD.replace(b"Go away", b"Go \xff away").replace(b"good", b"x"), "(row)", "0xff"),
    "UTF-16": (json.dumps(ROW).encode("utf-16") + b"\n", "(row)", "not UTF-8"),
    "half a surrogate pair": (
        line(response_a="drop")[:-2] + b', "response_a": "\\ud83d"}\n',
        "(row)",
        "ud83d",
    ),
    "empty response": (line(response_a=""), "response_a", "empty"),
    "blank response": (line(response_b=" \n\t"), "response_b", "empty"),
    "1 MB response": (line(response_a="x" * 1_000_000), "response", "1,000,000 characters"),
    "1 MB prompt": (line(prompt="x" * 1_000_000), "prompt", "1,000,000 characters"),
    "empty prompt": (line(prompt=""), "prompt", "user turn"),
    "prompt without turns": (line(prompt=[]), "prompt", "empty list"),
    "prompt that ends with the assistant": (line(prompt=CHAT), "prompt", "end it with the user"),
    "unknown role": (line(prompt=[{"role": "bot", "content": "Hi"}]), "prompt", "'bot'"),
    "content in parts": (
        line(prompt=[{"role": "user", "content": [{"type": "image", "image": "x.png"}]}]),
        "prompt",
        "'image'",
    ),
    "duplicate id": (GOOD, "id", "row 1"),
    "id as a list": (line(id=[1]), "id", "[1]"),
    "blank id": (line(id=" "), "id", "leave id out"),
    "not JSON": (b"prompt,chosen,rejected\n", "(row)", "not JSON"),
    "two objects in a line": (b"{} {}\n", "(row)", "one JSON object per line"),
    "a list": (b"[1]\n", "(row)", "a list"),
    "a JSON file, not JSONL": (b"[\n", "(row)", "not JSON"),
    "nested too deep": (b"[" * 100_000 + b"\n", "(row)", "not JSON"),
    "field twice": (b'{"label": "A", "label": "B"}\n', "label", "twice"),
    "half-written last line": (line()[:40], "(row)", "half-written last line"),
    "cut inside a character": ('{"prompt": "é'.encode()[:-1], "(row)", "half-written last line"),
    "both formats": (line(chosen="x", rejected="y"), "chosen", "not both"),
    "label beside chosen": (preference(label="A"), "label", "leave it out"),
    "chosen ends with the user": (preference(chosen=CHAT[:1]), "chosen", "assistant's answer"),
    "two conversations": (preference(prompt="Bye?", chosen=CHAT), "chosen", "same prompt"),
    "one conversation, one text": (preference(prompt="drop", chosen=CHAT), "rejected", "same prompt"),
    "section as a number": (line(section=3), "section", "a number"),
    "meta as a text": (line(meta="x"), "meta", "a text"),
}


@pytest.mark.parametrize(("bad", "field", "words"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_bad_row_is_named_and_good_rows_stay(tmp_path: Path, bad: bytes, field: str, words: str) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(GOOD + bad)
    read = read_pairs(path)
    assert [pair.id for pair in read.pairs] == ["good"]
    (problem,) = read.problems
    assert (problem.file, problem.row, problem.field) == (str(path), 2, field)
    assert words in str(problem) and problem.remedy and str(problem) in read.summary()
    assert len(str(problem)) < 500 + len(str(path)), "a message must not repeat a megabyte"
    with pytest.raises(InputError, match="row 2"):
        read_pairs(path, on_bad_row="fail")


def test_a_bad_row_in_the_middle_stops_nothing(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    bad = [row for row, _, words in BAD_ROWS.values() if row.endswith(b"\n") and words != "row 1"]
    path.write_bytes(GOOD + b"".join(bad) + b"\r\n" + line(id="last"))
    read = read_pairs(path)
    assert [pair.id for pair in read.pairs] == ["good", "last"]
    assert [problem.row for problem in read.problems] == list(range(2, 2 + len(bad)))
    assert f"{len(bad) - 20} more problems" in read.summary()
    read.write_problems(tmp_path / "problems.json")
    assert len(json.loads((tmp_path / "problems.json").read_text())) == len(bad)


GOOD_ROWS = {
    "strings": (line(), "Hi?"),
    "messages": (line(prompt=CHAT[:1]), "Hi?"),
    "several turns": (line(prompt=[*CHAT, {"role": "user", "content": "And?"}]), "And?"),
    "no label": (line(label="drop"), "Hi?"),
    "whole number as id": (line(id=7), "Hi?"),
    "no id": (line(id="drop"), "Hi?"),
    "preference": (preference(), "Hi?"),
    "preference as messages": (preference(chosen=CHAT[1:]), "Hi?"),
    "conversation in both": (preference(prompt="drop", chosen=CHAT, rejected=CHAT), "Hi?"),
    "byte order mark": (b"\xef\xbb\xbf" + line(), "Hi?"),
    "Windows line end": (line().replace(b"\n", b"\r\n"), "Hi?"),
    "no line end": (line().rstrip(), "Hi?"),
    "line separator inside a text": (
        json.dumps(ROW | {"prompt": "a\u2028b"}, ensure_ascii=False).encode(),
        "a\u2028b",
    ),
}


@pytest.mark.parametrize(("good", "said"), GOOD_ROWS.values(), ids=GOOD_ROWS)
def test_good_row(tmp_path: Path, good: bytes, said: str) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(good)
    read = read_pairs(path, on_bad_row="fail")
    assert read.pairs[0].prompt[-1] == {"role": "user", "content": said}


def test_chosen_is_the_label_on_a_balanced_and_stable_side(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(b"".join(preference(id=f"p{i}") for i in range(1000)))
    pairs = read_pairs(path).pairs
    assert all((p.response_a if p.label == "A" else p.response_b) == "Yes." for p in pairs)
    assert 450 < Counter(p.label for p in pairs)["A"] < 550
    assert read_pairs(path).pairs == pairs
    assert read_pairs(path, seed=1).pairs != pairs
    path.write_bytes(b"".join(preference(id=f"p{i}") for i in reversed(range(500))))
    assert read_pairs(path).pairs == pairs[:500][::-1], "a row's side must not depend on its neighbours"


def test_rows_without_id_get_stable_ids_and_keep_unknown_fields(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(line(id="drop", lable="B") + line(id="drop", prompt="Other?"))
    first, second = read_pairs(path).pairs
    path.write_bytes(line(id="drop", prompt="Other?") + line(id="drop"))
    assert [p.id for p in read_pairs(path).pairs] == [second.id, first.id]
    assert first.meta == {"lable": "B"}, "a field that is not known must not vanish"


@pytest.mark.parametrize("make", ["missing", "folder"])
def test_a_file_that_cannot_be_read(tmp_path: Path, make: str) -> None:
    with pytest.raises(InputError, match=r"Give the path of a JSONL file"):
        read_pairs(tmp_path if make == "folder" else tmp_path / "no.jsonl")


# what UTF-8 can hold, blank texts left out
TEXT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20).map(
    lambda text: text + "."
)
PLAIN = st.none() | st.booleans() | st.integers() | TEXT
JSON = PLAIN | st.lists(PLAIN, max_size=2) | st.dictionaries(TEXT, PLAIN, max_size=2)
TURN = st.builds(
    lambda role, content: {"role": role, "content": content}, st.sampled_from(("user", "assistant")), TEXT
)
PROMPT = st.builds(
    lambda turns, last: (*turns, {"role": "user", "content": last}), st.lists(TURN, max_size=3), TEXT
)
PAIR = st.builds(
    Pair,
    id=TEXT,
    prompt=PROMPT,
    response_a=TEXT,
    response_b=TEXT,
    label=st.sampled_from((None, "A", "B")),
    section=st.just("") | TEXT,
    meta=st.dictionaries(TEXT, JSON, max_size=3),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(PAIR, max_size=3, unique_by=lambda pair: pair.id))
def test_pairs_come_back_as_written(tmp_path_factory: pytest.TempPathFactory, pairs: list[Pair]) -> None:
    path = tmp_path_factory.getbasetemp() / "round.jsonl"
    write_pairs(path, pairs)
    assert read_pairs(path, on_bad_row="fail").pairs == pairs


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from([GOOD, line(id="x"), b"\xff\n", b"{", b"\n", b'{"id":1}\n', b"\x00\n"]), max_size=6
    )
)
def test_no_row_is_lost(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_bytes(b"".join(lines))
    rows = [row for row in path.read_bytes().split(b"\n") if row.strip()]
    read = read_pairs(path)
    assert len(read.pairs) + len(read.problems) == len(rows)

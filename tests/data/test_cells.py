"""Cells and columns as other tools export them: decoded, put into the conversation, or reported; never kept
unseen."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmr1_lite.data.cells import decode_cell, finite, transcript, with_whole_conversation
from rmr1_lite.data.pairs import read_pairs
from rmr1_lite.data.readers import read_rows
from rmr1_lite.data.rows import pair_from_row
from rmr1_lite.data.schemas import kit_row
from rmr1_lite.storage import RowError
from rmr1_lite.types import InputError

TURNS = [
    {"role": "user", "content": "Name a bridge."},
    {"role": "assistant", "content": "Tower Bridge isn't far."},
]
PYTHON = str(TURNS)
NUMPY = "[" + "\n ".join(str(turn) for turn in TURNS) + "]"

# reason, cell, what it is read as (None: as it is)
CELLS = [
    ("JSON", json.dumps(TURNS), TURNS),
    ("JSON with spaces", f"  {json.dumps(TURNS, indent=1)}\n", TURNS),
    ("Python's text of a list", PYTHON, TURNS),
    ("numpy's text of an array: no commas", NUMPY, TURNS),
    ("numpy's repr of an array", f"array({PYTHON}, dtype=object)", TURNS),
    ("one message", str(TURNS[1]), TURNS[1]),
    ("ShareGPT's names", '[{"from": "human", "value": "Hi"}]', [{"from": "human", "value": "Hi"}]),
    ("bytes", b"A canoe.", "A canoe."),
    ("an answer that is JSON of its own", '{"content": "a list of bridges", "n": 3}', None),
    ("an answer that is a list of objects", '[{"value": 3}, {"value": 4}]', None),
    ("an answer that shows code", "{'role': admin}", None),
    ("plain text", "Tower Bridge.", None),
    ("a text in quotes", '"Tower Bridge."', None),
]


@pytest.mark.parametrize(("cell", "want"), [row[1:] for row in CELLS], ids=[row[0] for row in CELLS])
def test_a_cell_is_what_it_holds(cell, want):
    assert decode_cell("chosen", cell) == (cell if want is None else want)


@pytest.mark.parametrize(
    ("cell", "said"),
    [(PYTHON[:-3], "looks like messages"), (b"\xff\xfe", "not UTF-8")],
    ids=["messages that were cut", "bytes that are no text"],
)
def test_a_cell_that_cannot_be_decoded_is_named(cell, said):
    with pytest.raises(RowError) as error:
        decode_cell("chosen", cell)
    assert error.value.field == "chosen" and said in error.value.text


@given(st.text(max_size=60), st.text(max_size=60), st.sampled_from([json.dumps, str]))
@settings(max_examples=200, deadline=None)
def test_messages_survive_being_written_as_text(asked, answered, write):
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    assert decode_cell("chosen", write(turns)) == turns


def pair(**row):
    return pair_from_row(kit_row({"chosen": "It is blue.", "rejected": "It is loud.", **row}))


ASKED = {"role": "user", "content": "And at night?"}
SYSTEM = {"role": "system", "content": "Answer in French."}
# reason, row, roles and first text of the conversation that the judge sees
COLUMNS = [
    ("a system column", {"prompt": "And at night?", "system": "Answer in French."}, [SYSTEM, ASKED]),
    ("under another name", {"prompt": [ASKED], "system_prompt": "Answer in French."}, [SYSTEM, ASKED]),
    ("said twice, the same", {"prompt": [SYSTEM, ASKED], "system": "Answer in French."}, [SYSTEM, ASKED]),
    ("an empty one", {"prompt": "And at night?", "system": "", "images": [], "tools": None}, [ASKED]),
    (
        "history as pairs",
        {"prompt": "And at night?", "history": [["By day?", "Bright."]]},
        [{"role": "user", "content": "By day?"}, {"role": "assistant", "content": "Bright."}, ASKED],
    ),
    (
        "history as text, behind a system turn",
        {"prompt": "And at night?", "history": "[['By day?', 'Bright.']]", "system": "Answer in French."},
        [SYSTEM, {"role": "user", "content": "By day?"}, {"role": "assistant", "content": "Bright."}, ASKED],
    ),
    ("ShareGPT", {"conversations": [{"from": "Human", "value": "And at night?"}]}, [ASKED]),
    ("messages alone", {"messages": [ASKED]}, [ASKED]),
    (
        "parts of text",
        {"prompt": [{"role": "user", "content": [{"type": "text", "text": "And at night?"}]}]},
        [ASKED],
    ),
]


@pytest.mark.parametrize(("row", "want"), [row[1:] for row in COLUMNS], ids=[row[0] for row in COLUMNS])
def test_columns_that_belong_to_the_conversation_are_seen(row, want):
    assert list(pair(**row).prompt) == want


def test_a_later_system_turn_stays_where_it_is():
    early, late = {"role": "assistant", "content": "Bright."}, {"role": "system", "content": "Be brief."}
    row = {"prompt": [SYSTEM, early, late, ASKED], "history": [["By day?", "Bright."]]}
    told = [{"role": "user", "content": "By day?"}, {"role": "assistant", "content": "Bright."}]
    assert with_whole_conversation(row)["prompt"] == [SYSTEM, *told, early, late, ASKED]


CALL = [{"function": {"name": "weather"}}]
# reason, row, field, words
UNSEEN = [
    ("images", {"prompt": "Which animal?", "images": ["cat.png"]}, "images", "never see"),
    ("one image", {"prompt": "Which animal?", "image": "cat.png"}, "image", "never see"),
    ("tools", {"prompt": "The weather?", "tools": '[{"name": "weather"}]'}, "tools", "never see"),
    (
        "a tool call beside text",
        {
            "prompt": "The weather?",
            "chosen": [{"role": "assistant", "content": "Let me see.", "tool_calls": CALL}],
        },
        "chosen",
        "tool_calls",
    ),
    (
        "an image as a part",
        {"prompt": [{"role": "user", "content": [{"type": "image", "image": "cat.png"}]}]},
        "prompt",
        "'image'",
    ),
    (
        "a part without text",
        {"prompt": [{"role": "user", "content": [{"image": "cat.png"}]}]},
        "prompt",
        "image",
    ),
    ("another system text", {"prompt": [SYSTEM, ASKED], "system": "Answer in Dutch."}, "system", "keep one"),
    (
        "two system columns",
        {"prompt": "Why?", "system": "x", "system_prompt": "y"},
        "system_prompt",
        "keep one",
    ),
    ("a history of something else", {"prompt": "Why?", "history": [1, 2]}, "history", "as messages"),
]


@pytest.mark.parametrize(
    ("row", "field", "said"), [row[1:] for row in UNSEEN], ids=[row[0] for row in UNSEEN]
)
def test_what_the_judge_cannot_see_is_named(row, field, said):
    with pytest.raises(RowError) as error:
        pair(**row)
    assert error.value.field == field and said in f"{error.value.text}, {error.value.remedy}"


def test_the_judge_command_reads_the_same(tmp_path):
    path = tmp_path / "pairs.jsonl"
    rows = [
        {"id": "1", "prompt": "Why?", "response_a": "a", "response_b": "b", "system": "Answer in French."},
        {"id": "2", "prompt": "Why?", "response_a": "a", "response_b": "b", "images": ["x.png"]},
        {"id": "3", "prompt": "Name a bridge.", "response_a": PYTHON, "response_b": "b"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    read = read_pairs(path)
    assert [one.id for one in read.pairs] == ["1", "3"] and read.problems[0].field == "images"
    assert read.pairs[0].prompt[0]["role"] == "system" and read.pairs[1].response_a == TURNS[1]["content"]


def test_transcripts_of_hh_rlhf_are_conversations():
    start = "\n\nHuman: Name a bird.\n\nAssistant:"
    row = kit_row({"chosen": start + " A wren.", "rejected": start + " A brick."})
    found = pair_from_row(row)
    assert found.prompt == ({"role": "user", "content": "Name a bird."},)
    assert {found.response_a, found.response_b} == {"A wren.", "A brick."}
    assert transcript(start) == [{"role": "user", "content": "Name a bird."}], (
        "a prompt, whose last answer is empty"
    )
    assert (
        transcript("Human: I am human.") is None
        and transcript("\n\nHuman: a\n\nHuman: b\n\nAssistant: c") is None
    )


def test_lists_of_chatbot_arena_are_texts_and_several_turns_are_named():
    cells = {"prompt": '["Why?"]', "response_a": '["So."]', "response_b": '["Because."]', "winner": "model_b"}
    found = pair_from_row(kit_row(cells))
    assert (found.prompt[0]["content"], found.response_a, found.label) == ("Why?", "So.", "B")
    with pytest.raises(RowError, match="2 answers"):
        kit_row({name: '["x", "y"]' for name in ("prompt", "response_a", "response_b")})
    mixed = kit_row({**cells, "response_a": "So."})
    assert mixed["response_b"] == '["Because."]', "an answer that is a list of its own"


TIES = (
    "tie",
    "Tie",
    "TIE",
    "tie (bothbad)",
    "both_bad",
    "Both Bad",
    "draw",
    "[[C]]",
    "C",
    "A=B",
    "neither",
    "equal",
)


@pytest.mark.parametrize("said", TIES)
def test_a_tie_is_told_as_one(said):
    with pytest.raises(RowError, match="is a tie"):
        kit_row({"prompt": "p", "response_a": "a", "response_b": "b", "winner": said})


@pytest.mark.parametrize(
    ("said", "label"), [(1.0, "A"), ("2.0", "B"), (2, "B")], ids=["float", "text", "int"]
)
def test_pandas_numbers_are_labels(said, label):
    assert kit_row({"prompt": "p", "output_1": "a", "output_2": "b", "preference": said})["label"] == label


def test_numbers_that_json_lacks_are_null():
    assert finite({"a": float("nan"), "b": [float("inf"), 1.5], "c": "x"}) == {
        "a": None,
        "b": [None, 1.5],
        "c": "x",
    }


# reason, what the file holds, rows that are read, the bad row's number
OPEN_QUOTES = [
    ("to the end of the file", 'p,c,r\n1,a,b\n2,"a,b\n3,a,b\n4,a,b\n', ["1", "3", "4"], 2),
    ("up to a later quote", 'p,c,r\n1,a,b\n2,"a,b\n3,a,b\n4,"a",b\n5,a,b\n', ["1", "3", "4", "5"], 2),
    ("in the last row", 'p,c,r\n1,a,b\n2,a,"b\n', ["1"], 2),
]


@pytest.mark.parametrize(
    ("text", "kept", "bad"), [r[1:] for r in OPEN_QUOTES], ids=[r[0] for r in OPEN_QUOTES]
)
def test_an_open_quote_costs_its_own_row(tmp_path, text, kept, bad):
    path = tmp_path / "x.csv"
    path.write_text(text)
    rows = list(read_rows(path))
    assert [row.values["p"] for row in rows if row.values] == kept
    assert [row.number for row in rows if row.error] == [bad]


def test_a_cell_of_several_lines_stays_one(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text('p,c,r\n"1\n2","a ""b""",c\n')
    assert [row.values for row in read_rows(path)] == [{"p": "1\n2", "c": 'a "b"', "r": "c"}]


# reason, name, bytes, words
FILES = [
    ("UTF-16 with a mark", "x.csv", "p,c\n1,2\n".encode("utf-16"), "is UTF-16"),
    ("semicolons", "x.csv", b"prompt;chosen;rejected\n1;2;3\n", "separated by ';'"),
    ("Excel's own line", "x.csv", b"sep=;\nprompt;chosen\n", "Remove that line"),
    ("another compression", "x.jsonl.zst", b"(\xb5/\xfd", "Unpack it"),
    ("gzip that was cut", "x.jsonl.gz", gzip.compress(b"{}\n" * 100)[:20], "truncated"),
]


@pytest.mark.parametrize(("name", "data", "said"), [r[1:] for r in FILES], ids=[r[0] for r in FILES])
def test_a_file_that_cannot_be_read_says_why(tmp_path, name, data, said):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=said):
        list(read_rows(tmp_path / name))


def test_a_folder_reads_all_spellings_and_says_what_it_does_not_read(tmp_path, capsys):
    for name in ("a.jsonl", "B.JSONL"):
        (tmp_path / name).write_text(json.dumps({"at": name}) + "\n")
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(b'{"at": "c"}\n'))
    (tmp_path / "d.jsonl.zst").write_bytes(b"(")
    rows = list(read_rows(tmp_path))
    assert sorted(row.values["at"] for row in rows) == ["B.JSONL", "a.jsonl", "c"]
    assert (
        any(row.file.endswith("c.jsonl.gz") for row in rows)
        and "not read: d.jsonl.zst" in capsys.readouterr().out
    )


def test_parquet_holds_what_its_columns_say(tmp_path):
    import datetime

    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table(
        {
            "chosen": pyarrow.array([b"A canoe.", b"\xff"], pyarrow.binary()),
            "prompt": pyarrow.array(['"Name a boat."', '"x"'], pyarrow.string()).cast(pyarrow.json_()),
            "score": pyarrow.array([float("nan"), 1.0]),
            "at": pyarrow.array([datetime.datetime(2024, 2, 3), None]),
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet")
    first, second = read_rows(tmp_path / "x.parquet")
    assert first.values == {
        "chosen": "A canoe.",
        "prompt": "Name a boat.",
        "score": None,
        "at": "2024-02-03T00:00:00",
    }
    assert second.error.field == "chosen" and "UTF-8" in second.error.text

"""Users' files: every kind of file, the common formats, and faults of single rows."""

from __future__ import annotations

import json

import pyarrow
import pyarrow.parquet
import pytest

from rmr1_lite.data import readers
from rmr1_lite.data.readers import read_rows
from rmr1_lite.data.rows import pair_from_row
from rmr1_lite.data.schemas import kit_row
from rmr1_lite.storage import RowError
from rmr1_lite.types import InputError

ROWS = [
    {"id": "1", "prompt": "4?", "chosen": "four, “4”", "rejected": "5\nor so"},
    {"id": "2", "prompt": "NA", "chosen": "None", "rejected": "007"},
]


def write(path, rows):
    kind = path.suffix
    if kind == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif kind == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    elif kind == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        import csv

        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0], delimiter="\t" if kind == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return path


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".csv", ".tsv", ".parquet"])
def test_the_same_rows_come_out_of_every_kind_of_file(tmp_path, ending):
    """Texts stay texts: a reader that guesses types would turn 007 into a number, and NA and None into
    nothing."""
    raws = list(read_rows(write(tmp_path / f"x{ending}", ROWS)))
    assert [raw.values for raw in raws] == ROWS and [raw.number for raw in raws] == [1, 2]


def test_a_hub_repository_is_read_by_datasets(tmp_path):
    """The call that a hub id takes, on a folder laid out as a repository of the hub."""
    (tmp_path / "data").mkdir()
    write(tmp_path / "data" / "train-00000-of-00002.parquet", ROWS[:1])
    write(tmp_path / "data" / "train-00001-of-00002.parquet", ROWS[1:])
    write(tmp_path / "data" / "test-00000-of-00001.parquet", ROWS[:1])
    assert [raw.values for raw in readers._read_hub(str(tmp_path), "train")] == ROWS
    with pytest.raises(InputError, match="could not be loaded"):
        list(readers._read_hub(str(tmp_path), "validation"))


def test_hub_ids_go_to_the_hub_and_files_that_are_not_there_do_not(monkeypatch):
    from rmr1_lite.data.released_sets import SETS
    from rmr1_lite.data.rl_mixture import SOURCES

    monkeypatch.setattr(readers, "_read_hub", lambda hub_id, split: iter([hub_id]))
    for hub_id in (*(made.hub_id for made in (*SETS.values(), *SOURCES.values())),):
        assert list(read_rows(hub_id)) == [hub_id], "a dot in a name is no file ending"


def test_test_rows_of_a_folder_are_no_training_rows(tmp_path):
    """A local copy of a hub repository holds all splits; its description files are not data."""
    write(tmp_path / "train-00000-of-00001.parquet", ROWS[:1])
    write(tmp_path / "test-00000-of-00001.parquet", ROWS[1:])
    (tmp_path / "dataset_infos.json").write_text("{}")
    assert [raw.values for raw in read_rows(tmp_path)] == ROWS[:1]
    assert [raw.values for raw in read_rows(tmp_path, "test")] == ROWS[1:]
    with pytest.raises(InputError, match="files of test, train, none of validation"):
        list(read_rows(tmp_path, "validation"))


def test_values_that_json_does_not_know_become_texts(tmp_path):
    import datetime

    path = write(tmp_path / "x.parquet", [{**ROWS[0], "made": datetime.datetime(2026, 1, 2)}])
    (raw,) = read_rows(path)
    assert raw.values["made"].startswith("2026-01-02") and pair_from_row(kit_row(raw.values)).meta == {
        "made": raw.values["made"]
    }


def test_a_folder_gives_its_files_in_order_and_names_them(tmp_path):
    (tmp_path / "b").mkdir()
    write(tmp_path / "b" / "2.csv", ROWS[:1])
    write(tmp_path / "a.jsonl", ROWS[1:])
    (tmp_path / "README.md").write_text("no data")
    found = [
        (raw.file.removeprefix(f"{tmp_path}/"), raw.number, raw.values["id"]) for raw in read_rows(tmp_path)
    ]
    assert found == [("a.jsonl", 1, "2"), ("b/2.csv", 1, "1")]


def test_messages_in_a_csv_cell_are_messages(tmp_path):
    turns = [{"role": "user", "content": "hi, you"}]
    path = write(tmp_path / "x.csv", [{"prompt": json.dumps(turns), "chosen": "a", "rejected": "[{not json"}])
    (raw,) = read_rows(path)
    row = kit_row(raw.values)
    assert row == {"prompt": turns, "chosen": "a", "rejected": "[{not json"}


BAD_ROWS = [
    (
        "x.csv",
        b"a,b,c\n1,2,3\n1,2\n1,2,3,4\n5,6,7\n",
        {2: "2 cells for 3", 3: "4 cells for 3"},
        "too few, too many cells",
    ),
    ("x.csv", b"a,b,c\n1,\xff,3\n5,6,7\n", {1: "not UTF-8"}, "another encoding"),
    ("x.jsonl", b'{"a": 1}\n{"a": \n{"a": "\xff"}\n{"b": 2}', {2: "not JSON", 3: "not UTF-8"}, "JSON lines"),
    ("x.jsonl", b'{"a": 1}\n{"b": ', {2: "half-written"}, "a file that was cut off"),
    ("x.json", b'{"a": 1}\n{"b": 2}\n', {}, "JSON lines under another ending"),
]


@pytest.mark.parametrize(("name", "data", "errors", "reason"), BAD_ROWS, ids=[row[-1] for row in BAD_ROWS])
def test_a_bad_row_is_named_and_the_others_go_on(tmp_path, name, data, errors, reason):
    (tmp_path / name).write_bytes(data)
    raws = list(read_rows(tmp_path / name))
    assert {raw.number: str(raw.error) for raw in raws if raw.error}.keys() == errors.keys()
    for raw in raws:
        assert raw.error is None or errors[raw.number] in str(raw.error)
    assert len(raws) > len(errors)


UNREADABLE = [
    ("none.jsonl", None, "does not exist", "not there"),
    ("x.txt", b"hi", "unknown file extension", "no data file"),
    ("x.json", b"{", "not JSON", "half a JSON file"),
    ("x.json", b'{"a": [], "b": []}', "not 2 lists", "which list?"),
    ("x.json", b"3", "not 0 lists", "no list"),
    ("x.csv", b"", "is empty", "no header"),
    ("x.csv", b"a,b,a\n1,2,3\n", "column 'a' twice", "one of them would be lost"),
    ("x.parquet", b"PAR", "not Parquet", "a broken download"),
    ("folder", None, "contains no data file", "an empty folder"),
]


@pytest.mark.parametrize(("name", "data", "said", "reason"), UNREADABLE, ids=[row[-1] for row in UNREADABLE])
def test_what_cannot_be_read_at_all_says_so(tmp_path, name, data, said, reason):
    if name == "folder":
        (tmp_path / name).mkdir()
    elif data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=said):
        list(read_rows(tmp_path / name))


Q, A, B = "why?", "since", "so"
TURNS = [{"role": "user", "content": Q}]
ANSWERED = {x: [*TURNS, {"role": "assistant", "content": x}] for x in (A, B)}
# row, the label that the pair has when its response_a is A
SHAPES = [
    ({"prompt": Q, "chosen": A, "rejected": B}, "the field's standard"),
    (
        {"prompt": TURNS, "chosen": ANSWERED[A][1:], "rejected": ANSWERED[B][1:]},
        "messages, the prompt apart (TRL)",
    ),
    (
        {"chosen": ANSWERED[A], "rejected": ANSWERED[B], "source": "x"},
        "messages, the prompt inside (Skywork)",
    ),
    ({"input": Q, "accepted": A, "rejected": B}, "accepted and rejected (code pairs)"),
    (
        {
            "conversation_input": [{**TURNS[0], "language": "en"}],
            "chosen": {"answer": A},
            "reject": {"answer": B},
        },
        "RMB",
    ),
    ({"prompt": Q, "response_a": A, "response_b": B, "label": "A"}, "the kit's own"),
    ({"question": Q, "response_A": B, "response_B": A, "label": "B>A", "pair_id": "x"}, "JudgeBench"),
    ({"input": Q, "output_1": A, "output_2": B, "label": 1}, "LLMBar"),
    ({"prompt": Q, "response_0": B, "response_1": A, "better_response_id": 1}, "numbers from 0"),
    ({"question": Q, "answer_a": A, "answer_b": B, "winner": "model_a"}, "the arena's letters"),
    (
        {"instruction": Q, "input": "", "response_1": A, "response_2": B, "preference": "1"},
        "Alpaca without input",
    ),
    (
        {"prompt": [{"from": "human", "value": Q}], "chosen": [{"from": "gpt", "value": A}], "rejected": B},
        "ShareGPT's turns",
    ),
]


@pytest.mark.parametrize(("row", "reason"), SHAPES, ids=[row[-1] for row in SHAPES])
def test_shapes_of_the_field_are_understood(row, reason):
    pair = pair_from_row(kit_row(row))
    assert pair.prompt == ({"role": "user", "content": Q},)
    assert (pair.response_a if pair.label == "A" else pair.response_b) == A


REFUSED = [
    (
        {"prompt": Q, "response_a": A, "response_b": B, "label": 1},
        "label",
        "1 beside letters could be either",
    ),
    (
        {"prompt": Q, "response_1": A, "response_2": B, "label": 0},
        "label",
        "0 beside 1 and 2 could be the first or none",
    ),
    ({"prompt": Q, "response_1": A, "response_2": B, "label": True}, "label", "true is no side"),
    ({"prompt": Q, "response_a": A, "response_b": B, "label": "tie"}, "tie", "a tie"),
    ({"prompt": Q, "response_a": A, "response_b": B, "label": "A", "winner": "B"}, "winner", "two labels"),
    ({"prompt": Q, "question": "else", "chosen": A, "rejected": B}, "question", "two prompts"),
    (
        {"prompt": Q, "chosen": A, "rejected": B, "response_1": A, "response_2": B},
        "more than one pair",
        "four responses",
    ),
    (
        {"prompt": Q, "chosen": [A, A], "rejected": [B, B]},
        "chosen",
        "lists of texts are a benchmark's styles",
    ),
    ({"prompt": Q, "chosen": A, "rejected": B, "label": "A"}, "label", "a label beside chosen"),
    ({"prompt": Q, "text": A}, "response_a", "no pair at all"),
    ([Q, A, B], "object", "no object"),
]


@pytest.mark.parametrize(("row", "said", "reason"), REFUSED, ids=[row[-1] for row in REFUSED])
def test_what_could_mean_two_things_is_never_guessed(row, said, reason):
    with pytest.raises(RowError, match=said):
        pair_from_row(kit_row(row))


def test_other_columns_go_along():
    more = {"source": "x", "score": 2}
    assert pair_from_row(kit_row({"prompt": Q, "chosen": A, "rejected": B, **more})).meta == more

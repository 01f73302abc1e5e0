"""Your own pairs -> training files: which are kept, which are left out and why, and that nothing gets lost
in between."""

from __future__ import annotations

import json

import pytest

from rmr1_lite.config import PrepareConfig
from rmr1_lite.data.dedup import prompt_key
from rmr1_lite.data.pairs import read_pairs
from rmr1_lite.data.prepare import prepare
from rmr1_lite.types import InputError, Pair

LONG = "the quick brown fox jumps over the lazy dog near the old stone bridge at dawn while two boats wait"


def row(i, prompt=None, chosen=None, rejected=None, **more):
    texts = {
        "prompt": prompt or f"question number {i}?",
        "chosen": chosen or f"answer {i}",
        "rejected": rejected or f"no {i}",
    }
    return {"id": str(i), **texts, **more}


def run(tmp_path, rows, lengths=None, benchmarks=(), **settings):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    config = PrepareConfig(out=str(tmp_path / "out"), **{"near": 0.0, "validation": 0.0, **settings})
    done = prepare([path], config, lengths, benchmarks, progress=False)
    return done, [
        p for name in ("train", "validation") for p in read_pairs(tmp_path / "out" / f"{name}.jsonl").pairs
    ]


def dropped(folder):
    return [json.loads(line) for line in (folder / "dropped.jsonl").read_text().splitlines()]


def test_every_row_is_kept_left_out_or_bad_and_every_one_is_listed(tmp_path):
    rows = [
        row(1),
        row(2),
        "{broken",
        row(1, "other"),
        {**row(4), "id": "5"},
        row(6, chosen="x", rejected="x"),
        {"id": "7", "prompt": "q"},
        {**row(2), "id": "8"},
        row(9, prompt=LONG),
    ]
    done, pairs = run(tmp_path, rows, benchmarks=[("bench", "42", LONG.upper() + "!")])
    assert (done.rows, sum(done.kept.values()), sum(done.dropped.values()), done.bad) == (9, 3, 2, 4)
    assert [(d["id"], d["why"]) for d in dropped(tmp_path / "out")] == [
        ("8", "duplicate"),
        ("9", "in a benchmark"),
    ]
    problems = [json.loads(line) for line in (tmp_path / "out" / "problems.jsonl").read_text().splitlines()]
    assert [(p["row"], p["field"]) for p in problems] == [
        (3, "(row)"),
        (4, "id"),
        (6, "(row)"),
        (7, "response_a"),
    ]
    assert all(p["file"].endswith("rows.jsonl") and p["remedy"] for p in problems)
    assert {p.id for p in pairs} == {"1", "2", "5"}


def test_a_bad_row_can_stop_it_and_older_files_stay(tmp_path):
    run(tmp_path, [row(1)])
    with pytest.raises(InputError, match="rows.jsonl, row 2"):
        run(tmp_path, [row(2), "{broken"], on_bad_row="fail")
    assert [p.id for p in read_pairs(tmp_path / "out" / "train.jsonl").pairs] == ["1"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "dropped.jsonl",
        "prepared.json",
        "problems.jsonl",
        "train.jsonl",
        "validation.jsonl",
    ]


def test_pairs_without_a_label_cannot_be_trained_on(tmp_path):
    rows = [{"id": "1", "prompt": "q", "response_a": "x", "response_b": "y"}, row(2)]
    done, pairs = run(tmp_path, rows)
    assert done.bad == 1 and "label" in done.text() and [p.id for p in pairs] == ["2"]


def test_nothing_left_is_an_error(tmp_path):
    with pytest.raises(InputError, match="Nothing is left"):
        run(tmp_path, ["{broken"])


def test_contradictions_are_told_apart_from_duplicates(tmp_path):
    rows = [row(1, "q", "x", "y"), row(2, "q", "x", "y"), row(3, "q", "y", "x")]
    run(tmp_path, rows)
    assert [(d["id"], d["why"]) for d in dropped(tmp_path / "out")] == [
        ("2", "duplicate"),
        ("3", "contradiction"),
    ]


def test_near_duplicates_go_and_different_pairs_stay(tmp_path):
    others = [" ".join(f"{word}{k}" for word in LONG.split()) for k in range(4)]
    rows = [
        row(1, "Tell me", LONG, others[0]),
        row(2, "Tell me", f"{LONG} then", others[0]),
        row(3, "Tell me", *others[1:3]),
    ]
    done, _ = run(tmp_path, rows, near=0.8)
    (found,) = dropped(tmp_path / "out")
    assert found["id"] == "2" and found["why"] == "near-duplicate" and found["detail"].endswith("like 1")


def test_no_question_stands_in_both_splits(tmp_path):
    """Four pairs per question, some with other spaces and capitals: the split is by question."""
    rows = [
        row(f"{i}-{j}", f"Question {i} about {'THINGS' if j % 2 else 'things'} ?", f"a{i}{j}", f"b{i}{j}")
        for i in range(200)
        for j in range(4)
    ]
    done, pairs = run(tmp_path, rows, validation=0.25)
    sides = [read_pairs(tmp_path / "out" / f"{name}.jsonl").pairs for name in ("train", "validation")]
    keys = [{prompt_key(p) for p in side} for side in sides]
    assert not keys[0] & keys[1] and sum(map(len, keys)) == 200
    assert 100 < done.kept["validation"] < 300 and len(pairs) == 800


ORDERS = [
    ("given", 1.0, 1, "as it stands in the file"),
    ("seeded", 0.5, 1, "half of the better responses on each side"),
    ("both", 0.5, 2, "two rows a pair, exactly balanced"),
]


@pytest.mark.parametrize(("order", "share", "each", "reason"), ORDERS, ids=[row[-1] for row in ORDERS])
def test_order(tmp_path, order, share, each, reason):
    rows = [
        {"id": str(i), "prompt": f"q{i}", "response_a": f"x{i}", "response_b": f"y{i}", "label": "A"}
        for i in range(400)
    ]
    done, pairs = run(tmp_path, rows, order=order)
    assert len(pairs) == 400 * each and abs(done.labels["A"] / len(pairs) - share) < 0.07
    assert all((p.response_a if p.label == "A" else p.response_b).startswith("x") for p in pairs)
    if order == "both":
        assert done.labels["A"] == done.labels["B"]


def test_rows_that_are_added_move_no_other_row(tmp_path):
    rows = [row(i) for i in range(100)]
    first = run(tmp_path, rows[:60], validation=0.3)[1]
    again = {p.id: p for p in run(tmp_path, rows[::-1], validation=0.3)[1]}
    assert all(again[p.id] == p for p in first)


def test_long_prompts_are_counted_and_listed_never_clipped(tmp_path):
    def lengths(pairs: list[Pair]) -> list[int]:
        return [int(p.id) for p in pairs]

    done, pairs = run(tmp_path, [row(i) for i in (100, 600, 5000)], lengths, max_prompt_tokens=1024)
    assert {p.id for p in pairs} == {"100", "600"} and dropped(tmp_path / "out")[0]["detail"] == "5000 tokens"
    assert done.lengths["1 to 128"] == [1, 0] and done.lengths["4097 to 8192"] == [0, 1]
    assert any("x" in line for line in done.histogram()[1:])


def test_ids_of_two_files_may_be_equal(tmp_path):
    """Even if the files have the same name, like the kit's own train.jsonl."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.jsonl").write_text(json.dumps(row(1, f"from {name}")) + "\n")
    config = PrepareConfig(out=str(tmp_path / "out"), near=0.0, validation=0.0)
    done = prepare([tmp_path / "a" / "train.jsonl", tmp_path / "b" / "train.jsonl"], config, progress=False)
    kept = {p.id for p in read_pairs(tmp_path / "out" / "train.jsonl").pairs}
    assert kept == {"1", f"{tmp_path / 'b' / 'train.jsonl'}:1"} and done.bad == 0


CLEAN = [
    ("What is the capital of France?", "what is the CAPITAL of france", True, "a short question, as a whole"),
    (
        "What is the capital of France?",
        "What is the capital of France and of Spain?",
        False,
        "a short question inside another",
    ),
    (
        "问题：天空为什么是蓝色的而不是别的颜色呢",
        "天空为什么是蓝色的而不是别的颜色",
        True,
        "a language without spaces",
    ),
    (f"First: {LONG}", f"{LONG}. And then?", True, "a run of 13 words"),
    (
        " ".join(LONG.split()[:12]) + " a b c",
        " ".join(LONG.split()[:12]) + " d e f",
        False,
        "a run of 12 is not enough",
    ),
]


@pytest.mark.parametrize(("train", "bench", "held", "reason"), CLEAN, ids=[row[-1] for row in CLEAN])
def test_contamination(tmp_path, train, bench, held, reason):
    done, _ = run(tmp_path, [row(1, train), row(2, "something else")], benchmarks=[("b", "i", bench)])
    assert done.dropped["in a benchmark"] == int(held)

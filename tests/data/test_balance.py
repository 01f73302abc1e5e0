"""Drawing pairs whose surface features say nothing about the label: matched, audited, placed by a hash,
reported."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmr1_lite.data.balance import Balance, balance
from rmr1_lite.data.balance_checks import audit_row, classifier_accuracy, leans_of
from rmr1_lite.data.balance_looks import MARKS, looks_of, swapped
from rmr1_lite.data.chains import read_chains
from rmr1_lite.data.label_leaks import find_signals
from rmr1_lite.data.pairs import read_pairs
from rmr1_lite.types import InputError, Pair

WORDS = "river stone cloud paper music garden winter bridge candle window market harbour".split()


def text(draw, words):
    return " ".join(draw.choice(WORDS) for _ in range(words)) + "."


def rows(count, longer=0.8, seed=0, **more):
    """Pairs whose longer response is better in a given share, with A as the better side in most."""
    draw = random.Random(seed)
    made = []
    for n in range(count):
        short, long = text(draw, draw.randint(5, 20)), text(draw, draw.randint(25, 60))
        better, worse = (long, short) if draw.random() < longer else (short, long)
        label = "A" if draw.random() < 0.7 else "B"
        sides = (better, worse) if label == "A" else (worse, better)
        made.append({"id": f"{seed}-{n}", "prompt": f"What is {seed} {n // 2}?", "response_a": sides[0],
                     "response_b": sides[1], "label": label, "source": f"s{n % 2}", **more})  # fmt: skip
    return made


def write(path, made):
    path.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
    return path


def test_length_and_side_no_longer_tell_the_label(tmp_path):
    made = rows(400)
    done = balance([write(tmp_path / "pairs.jsonl", made)], tmp_path / "out.jsonl", Balance())
    kept = read_pairs(done.out).pairs
    assert done.before.shares["longer"][0] > 0.7 and done.before.label_a > 0.6
    assert done.after.shares["longer"][0] == 0.5 and abs(done.after.label_a - 0.5) < 0.01
    assert len(kept) > 100 and not find_signals([audit_row(pair, number=n) for n, pair in enumerate(kept)])
    assert done.after.classifier < 0.57 < done.before.classifier
    for source in ("s0", "s1"):
        labels = [pair.label for pair in kept if pair.meta["source"] == source]
        assert abs(labels.count("A") - labels.count("B")) <= 1


def test_the_label_stays_with_its_response(tmp_path):
    made = rows(200)
    done = balance([write(tmp_path / "pairs.jsonl", made)], tmp_path / "out.jsonl", Balance())
    better = {row["id"]: row["response_a" if row["label"] == "A" else "response_b"] for row in made}
    for pair in read_pairs(done.out).pairs:
        assert (pair.response_a if pair.label == "A" else pair.response_b) == better[pair.id]
        stored = next(row for row in made if row["id"] == pair.id)
        assert ("sides" in pair.meta) == (stored["label"] != pair.label)


def test_what_is_left_out_is_listed_and_the_report_rebuilds_the_set(tmp_path):
    made = [*rows(100), {**rows(1)[0], "id": "same", "response_b": rows(1)[0]["response_a"]},
            {**rows(1)[0], "id": "none", "label": None}, {**rows(1)[0]}, {"id": "broken"},
            {**rows(1)[0], "id": "ru", "prompt": "Что такое река?", "response_a": "Вода.",
             "response_b": "Поток воды."}]  # fmt: skip
    done = balance(
        [write(tmp_path / "pairs.jsonl", made)], tmp_path / "out.jsonl", Balance(count=20, english=True)
    )
    listed = [json.loads(line) for line in done.left_out.read_text(encoding="utf-8").splitlines()]
    kept = read_pairs(done.out).pairs
    assert len(kept) == 20 and len(kept) + len(listed) == len(made)
    reasons = {row["id"]: row["reason"] for row in listed[:5]}
    assert reasons == {"same": "both sides are the same", "none": "no label", "0-0": "id used before",
                       "": "bad row", "ru": "not in English letters"}  # fmt: skip
    report = json.loads(done.report.read_text(encoding="utf-8"))
    assert sorted(id for ids in report["ids"].values() for id in ids) == sorted(pair.id for pair in kept)
    assert report["left_out"]["not drawn"] > 0 and len(report["sha256"]) == 64


def test_the_same_pairs_are_drawn_whatever_their_order(tmp_path):
    made = rows(120)
    drawn = []
    for name, order in (("one", made), ("two", made[::-1])):
        done = balance(
            [write(tmp_path / f"{name}.jsonl", order)], tmp_path / name / "o.jsonl", Balance(count=30)
        )
        drawn.append(done.out.read_bytes())
    assert drawn[0] == drawn[1]
    other = balance([tmp_path / "one.jsonl"], tmp_path / "three.jsonl", Balance(count=30, seed=1))
    assert other.out.read_bytes() != drawn[0]


def test_words_that_tell_the_label_are_drawn_evenly(tmp_path):
    made = rows(300, longer=0.5)
    for n, row in enumerate(made):
        side = "response_a" if (row["label"] == "A") == (n % 10 < 8) else "response_b"
        row[side] = f"Sorry {row[side]}" if n % 2 else row[side]
    done = balance([write(tmp_path / "pairs.jsonl", made)], tmp_path / "out.jsonl", Balance())
    assert any("Sorry" in signal for signal in done.before.signals) and done.after.signals == []


def test_chains_keep_their_sides_and_are_matched_by_the_side_that_wins(tmp_path):
    made = [{**row, "order": "ab" if n % 3 else "ba"} for n, row in enumerate(rows(400, longer=0.7))]
    for row in made:
        letter = row["label"] if row["order"] == "ab" else "AB"[row["label"] == "A"]
        row["chain"] = f"<eval>Chatbot {letter} says more that is true.</eval><answer>[[{letter}]]</answer>"
    done = balance([write(tmp_path / "chains.jsonl", made)], tmp_path / "out.jsonl", Balance())
    read = read_chains(done.out)
    assert not read.problems and len(read.chains) == done.after.pairs > 60
    assert done.after.label_a == 0.5 and done.after.shares["longer"][0] == 0.5
    stored = {row["id"]: row for row in made}
    assert all(chain.pair.response_a == stored[chain.pair.id]["response_a"] for chain in read.chains)


def test_few_pairs_of_one_prompt(tmp_path):
    done = balance([write(tmp_path / "p.jsonl", rows(120))], tmp_path / "o.jsonl", Balance(per_prompt=1))
    assert done.after.pairs == done.after.prompts and done.reasons["enough pairs of this prompt"] == 60


def test_looks_are_those_of_the_better_side_against_the_worse():
    pair = Pair("x", ({"role": "user", "content": "?"},), "- one\n- two.", "one two", "A")
    looks = dict(zip(("length", *MARKS), looks_of(pair), strict=True))
    assert (
        looks["length"] > 0 and looks["lists"] == 1 and looks["line ends"] == 1 and looks["final stop"] == 1
    )
    assert looks_of(swapped(pair)) == looks_of(pair), "exchanged sides change nothing"


TEXT = st.text("ab\n*- .", min_size=1, max_size=30)


@given(TEXT, TEXT, st.sampled_from("AB"))
@settings(max_examples=150, deadline=None)
def test_exchanging_the_sides_keeps_the_better_response_and_turns_no_look(one, other, label):
    pair = Pair("x", ({"role": "user", "content": "?"},), one, other, label)
    turned = swapped(pair)
    assert turned.label != label and {turned.response_a, turned.response_b} == {one, other}
    assert looks_of(turned) == looks_of(pair)
    against = Pair("y", pair.prompt, other, one, label)
    assert looks_of(against) == tuple(-look for look in looks_of(pair)), "a partner leans the other way"


def test_a_classifier_needs_pairs_and_prompts():
    few = [Pair(f"{n}", ({"role": "user", "content": "?"},), "a", "b", "A") for n in range(9)]
    assert classifier_accuracy(few, ["?"] * 9) is None
    assert leans_of([], MARKS).classifier is None


WRONG = [
    ([], {}, "No labelled pair", "an empty file"),
    (rows(40), {"count": 400}, "are balanced. Give more pairs", "more than there is"),
    (rows(9, longer=1.1), {}, "No pairs are left", "all lean the same way"),
]


@pytest.mark.parametrize(("made", "options", "said", "reason"), WRONG, ids=[row[-1] for row in WRONG])
def test_too_little_is_an_error_and_nothing_is_written(tmp_path, made, options, said, reason):
    with pytest.raises(InputError, match=said):
        balance([write(tmp_path / "p.jsonl", made)], tmp_path / "o.jsonl", Balance(**options))
    assert not (tmp_path / "o.jsonl").exists()

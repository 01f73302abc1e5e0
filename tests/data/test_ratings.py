"""Rated and ranked responses become pairs by the user's rule, and ties are counted."""

from __future__ import annotations

import json

import pytest

from rmr1_lite.config import PrepareConfig
from rmr1_lite.data.prepare import prepare
from rmr1_lite.data.ratings import pairs_of_ratings
from rmr1_lite.storage import RowError
from rmr1_lite.types import InputError

LISTS = {"id": "q", "prompt": "Name a dance.", "responses": ["waltz", "chair", "polka"], "scores": [4, 1, 4]}
RANKED = {"prompt": "Name a dance.", "responses": ["waltz", "chair", "polka"], "ranks": [1, 3, 2]}
ULTRA = {
    "instruction": "Name a dance.",
    "completions": [{"response": "waltz", "overall_score": 8.5}, {"response": "chair", "overall_score": "2"}],
}
STRENGTH = {
    "prompt": "Name a dance.",
    "response_1": "waltz",
    "response_2": "chair",
    "preference_strength": -2,
}

# reason, row, rule, margin, (better, worse) of every pair, ties
ROWS = [
    ("all pairs of scores", LISTS, "all", 0, [("waltz", "chair"), ("polka", "chair")], 1),
    ("the best against the rest, a shared best is a tie", LISTS, "best", 0, [("waltz", "chair")], 1),
    ("rank 1 is the best", RANKED, "all", 0, [("waltz", "chair"), ("waltz", "polka"), ("polka", "chair")], 0),
    ("ranks closer than the margin", RANKED, "all", 1, [("waltz", "chair")], 2),
    ("UltraFeedback, a score as text", ULTRA, "best", 0, [("waltz", "chair")], 0),
    ("HelpSteer: below 0 the first is better", STRENGTH, "all", 0, [("waltz", "chair")], 0),
    (
        "HelpSteer: above 0 the second",
        {**STRENGTH, "preference_strength": 1},
        "best",
        0,
        [("chair", "waltz")],
        0,
    ),
    ("HelpSteer: a strength of 0", {**STRENGTH, "preference_strength": 0}, "all", 0, [], 1),
    ("HelpSteer: below the margin", {**STRENGTH, "preference_strength": -1}, "all", 1, [], 1),
]


@pytest.mark.parametrize(
    ("row", "rule", "margin", "want", "ties"), [r[1:] for r in ROWS], ids=[r[0] for r in ROWS]
)
def test_ratings_become_pairs(row, rule, margin, want, ties):
    rows, tied = pairs_of_ratings(row, rule, margin)
    assert ([(one["chosen"], one["rejected"]) for one in rows], tied) == (want, ties)
    assert all("prompt" in one or "instruction" in one for one in rows)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "p", "chosen": "a", "rejected": "b", "score": 3},
        {"prompt": "p", "responses": ["a", "b"]},
        {"prompt": "p", "completions": [{"response": "a"}, {"response": "b"}]},
        ["no object"],
    ],
    ids=["a pair with a score", "no scores", "objects without scores", "a list"],
)
def test_a_row_without_ratings_is_left_as_it_is(row):
    assert pairs_of_ratings(row, "all", 0) is None


@pytest.mark.parametrize(
    ("row", "rule", "field", "said"),
    [
        (LISTS, "none", "scores", "--ratings best or all"),
        ({**LISTS, "scores": [1, 2]}, "all", "scores", "2 numbers for 3 responses"),
        ({**LISTS, "scores": [1, 2, "good"]}, "all", "scores", "'good'"),
        ({**LISTS, "scores": [1, 2, "nan"]}, "best", "scores", "'nan'"),
        ({**LISTS, "scores": [1, 2, float("inf")]}, "all", "scores", "give a number"),
        ({**STRENGTH, "preference_strength": True}, "all", "preference_strength", "give a number"),
    ],
    ids=[
        "no rule",
        "a number is missing",
        "no number",
        "nothing is above NaN",
        "no infinity",
        "true is no number",
    ],
)
def test_ratings_that_do_not_fit_are_named(row, rule, field, said):
    with pytest.raises(RowError) as error:
        pairs_of_ratings(row, rule, 0)
    assert error.value.field == field and said in f"{error.value.text}, {error.value.remedy}"


def test_prepare_counts_pairs_and_ties(tmp_path):
    path = tmp_path / "rated.jsonl"
    rows = [
        LISTS,
        {**STRENGTH, "id": "s", "prompt": "Name a slow dance."},
        {**STRENGTH, "id": "t", "preference_strength": 0},
    ]
    rows.append({"id": "u", "prompt": "p", "response_a": "a", "response_b": "b", "winner": "tie"})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = PrepareConfig(out=str(tmp_path / "out"), validation=0.0, near=0.0, ratings="all")
    done = prepare([path], config, progress=False)
    assert (done.rows, sum(done.kept.values()), done.ties) == (
        4,
        3,
        3,
    ) and "ties, left out because they teach nothing: 3" in done.text()
    kept = [json.loads(line) for line in (tmp_path / "out" / "train.jsonl").read_text().splitlines()]
    assert {row["id"] for row in kept} == {"q-0-1", "q-1-2", "s-0-1"} and kept[0]["meta"]["ratings"] == [
        4.0,
        1.0,
    ]
    with pytest.raises(InputError, match="choose how they become pairs"):
        prepare([path], PrepareConfig(out=str(tmp_path / "none"), on_bad_row="fail"), progress=False)

"""Chains: written and read unchanged, and a chain with a wrong verdict is never used for training."""

from __future__ import annotations

import json

import pytest

from rmr1_lite.data.chains import Chain, read_chains, write_chains
from rmr1_lite.data.nano.dataset import FILES
from rmr1_lite.data.pairs import read_pairs
from rmr1_lite.types import Pair

PAIR = Pair("p", ({"role": "user", "content": "q"},), "yes", "no", "A", "Chat")
AB, BA = Chain(PAIR, "ab", "so <answer>[[A]]</answer>"), Chain(PAIR, "ba", "so <answer>[[B]]</answer>")


def test_round_trip(tmp_path):
    write_chains(tmp_path / "c.jsonl", [AB, BA])
    assert read_chains(tmp_path / "c.jsonl").chains == [AB, BA]


BAD = [
    ({"order": "xy"}, "order", "no such order"),
    ({"chain": ""}, "chain", "an empty chain"),
    ({"chain": "so <answer>[[B]]</answer>"}, "chain", "verdict against the label"),
    ({"chain": "so A"}, "chain", "no verdict"),
    ({"label": None}, "label", "no label to check against"),
    ({"response_a": ""}, "response_a", "a bad pair"),
]


@pytest.mark.parametrize(("change", "field", "reason"), BAD, ids=[row[-1] for row in BAD])
def test_bad_rows_are_named_and_good_ones_kept(tmp_path, change, field, reason):
    path = tmp_path / "c.jsonl"
    write_chains(path, [AB, BA])
    first, second = path.read_text().splitlines()
    path.write_text(json.dumps({**json.loads(first), **change}) + "\n" + second + "\n")
    read = read_chains(path)
    assert read.chains == [BA] and [(p.row, p.field) for p in read.problems] == [(1, field)]


def test_a_chain_twice_in_one_order_is_named(tmp_path):
    path = tmp_path / "c.jsonl"
    write_chains(path, [AB, AB])
    read = read_chains(path)
    assert len(read.chains) == 1 and read.problems[0].row == 2


def test_the_nano_files_keep_their_promise(toy_data):
    """Both orders of each distilled pair, and no pair in two files."""
    assert all((toy_data / name).exists() for name in FILES)
    chains = read_chains(toy_data / "chains.jsonl")
    assert not chains.problems
    assert len({c.pair.id for c in chains.chains}) * 2 == len(chains.chains)
    questions = [{p.prompt[0]["content"] for p in read_pairs(toy_data / name).pairs} for name in FILES[1:4]]
    assert (
        not questions[0] & questions[1]
        and not questions[0] & questions[2]
        and not questions[1] & questions[2]
    )

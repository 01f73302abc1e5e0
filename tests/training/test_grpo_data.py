"""Which pairs GRPO draws: those the judge gets wrong, in the requested share, the same after a kill."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest

import rmr1_lite.training.grpo_data as screening
from rmr1_lite.config import GRPOConfig, check_config
from rmr1_lite.judging.engines.replay import ReplayEngine
from rmr1_lite.judging.judge import Judge
from rmr1_lite.storage import json_line
from rmr1_lite.training.grpo_data import pairs_judged_wrong, schedule_rows
from rmr1_lite.types import InputError, Pair

PAIRS = [Pair(f"p{i}", ({"role": "user", "content": "q"},), "x", "y", "AB"[i % 2]) for i in range(10)]
# by pair: what the judge says in order ab and in order ba, in the letters shown
SAID = {0: "AB", 1: "BA", 2: "AA", 3: "BB", 4: "BA", 5: "?A", 6: "AB", 7: "BA", 8: "AB", 9: "AB"}
WRONG = {
    "p2": "says A whatever stands there",
    "p3": "says B whatever",
    "p4": "wrong in both orders",
    "p5": "one look cannot be read",
    "p9": "wrong in both orders",
}


@pytest.fixture
def judge(tmp_path):
    rows = [
        {"id": f"p{i}", "order": order, "text": f"<answer>[[{letter}]]</answer>" if letter != "?" else "hm"}
        for i, letters in SAID.items()
        for order, letter in zip(("ab", "ba"), letters, strict=True)
    ]
    (tmp_path / "log.jsonl").write_text("".join(map(json_line, rows)))
    return Judge(ReplayEngine(tmp_path / "log.jsonl"), "compact")


def test_a_pair_is_hard_unless_both_orders_are_right(judge, tmp_path):
    assert pairs_judged_wrong(judge, PAIRS, tmp_path) == WRONG.keys()


def test_chunks_that_are_done_are_not_judged_again(judge, tmp_path, monkeypatch):
    monkeypatch.setattr(screening, "CHUNK", 4)
    found = pairs_judged_wrong(judge, PAIRS, tmp_path)
    log = tmp_path / "screen.jsonl"
    kept = log.read_text().splitlines(keepends=True)
    assert [json.loads(row)["pairs"] for row in kept] == [4, 4, 2]
    log.write_text("".join(kept[:2]) + kept[2][:9])  # killed while the last chunk was being written
    asked = []
    spied = replace(judge, engine=Spy(judge.engine, asked))
    assert pairs_judged_wrong(spied, PAIRS, tmp_path) == found
    assert {request.id for request in asked} == {"p8", "p9"}


class Spy:
    """An engine that records its requests."""

    def __init__(self, engine, asked):
        self.engine, self.asked, self.name, self.style = engine, asked, engine.name, engine.style

    def generate(self, requests, sampling):
        self.asked += requests
        return self.engine.generate(requests, sampling)


def looks(n: int) -> list[list[dict]]:
    return [[{"pair_id": f"p{i}", "order": order} for order in ("ab", "ba")] for i in range(n)]


@pytest.mark.parametrize(
    ("hard", "share", "per_step", "reason"),
    [
        (WRONG.keys(), 0.75, 3, "three of four pairs in every step"),
        (WRONG.keys(), 0.5, 2, "half of them"),
        (WRONG.keys(), 0.0, 0, "none asked for"),
        (WRONG.keys(), 1.0, 4, "nothing else"),
        ((), 0.75, 0, "the judge gets everything right, or nothing was screened: all pairs alike"),
        ([f"p{i}" for i in range(10)], 0.5, 4, "the judge gets everything wrong: there are no others"),
    ],
)
def test_every_step_has_the_share_of_hard_pairs(hard, share, per_step, reason):
    config = GRPOConfig(steps=10, groups=8, hard_share=share)
    rows = schedule_rows(looks(10), config, frozenset(hard))
    assert len(rows) == 80
    for step in range(10):
        part = rows[8 * step : 8 * step + 8]
        assert sum(row["pair_id"] in hard for row in part) == 2 * per_step, reason
        assert [row["order"] for row in part] == ["ab", "ba"] * 4, "both orders of a pair in the same step"
        assert all(a["pair_id"] == b["pair_id"] for a, b in zip(part[::2], part[1::2], strict=True))
    assert rows == schedule_rows(looks(10), config, frozenset(hard)), "the same after a restart"


def test_a_pool_is_used_up_before_it_comes_again():
    rows = schedule_rows(looks(10), GRPOConfig(steps=5, groups=8, hard_share=0.5), frozenset(WRONG))
    counts = Counter(row["pair_id"] for row in rows)
    assert set(counts.values()) == {4}, "10 draws from 5 hard pairs and 10 from 5 others, two rows each"


@pytest.mark.parametrize("wrong", [{"hard_share": 1.5}, {"hard_share": -0.1}, {"screen_pairs": -1}])
def test_values_that_cannot_work_are_named(wrong):
    with pytest.raises(InputError, match="between 0 and 1"):
        check_config(GRPOConfig(**wrong))

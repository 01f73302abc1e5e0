"""The judge: both orders, votes, and that no unparsed text ever becomes a verdict."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fixtures import endpoint as fake
from fixtures import tiny
from fixtures.scripted import UNREADABLE, A, Scripted, right

from rmr1_lite.judging.engines.base import Sampling
from rmr1_lite.judging.engines.endpoint import OpenAIEngine
from rmr1_lite.judging.engines.replay import ReplayEngine
from rmr1_lite.judging.judge import LOG_KEY, Judge
from rmr1_lite.storage import JsonlLog
from rmr1_lite.types import Generation, InputError

LOOKS = {
    # what the engine writes in each order: (judgment's label, consistent, statuses)
    "finds the better one": (right, "A", True, ["ok", "ok"]),
    "always the first": (lambda r: A, None, False, ["ok", "ok"]),
    "nothing readable": (lambda r: UNREADABLE, None, False, ["missing", "missing"]),
    "readable once": (lambda r: A if r.order == "ab" else UNREADABLE, "A", False, ["ok", "missing"]),
    "readable once, exchanged": (
        lambda r: A if r.order == "ba" else UNREADABLE,
        "B",
        False,
        ["missing", "ok"],
    ),
    "cut off after a verdict": (
        lambda r: Generation(A, finished=False),
        None,
        False,
        ["truncated", "truncated"],
    ),
    "inside a thought": (lambda r: Generation(A, thought_open=True), None, False, ["missing", "missing"]),
    "error with a verdict in it": (lambda r: Generation(A, error="lost"), None, False, ["error", "error"]),
    "too long": (lambda r: Generation("", False, too_long=True), None, False, ["too_long", "too_long"]),
}


@pytest.mark.parametrize(("say", "label", "consistent", "statuses"), LOOKS.values(), ids=LOOKS)
def test_compare(say: Any, label: str | None, consistent: bool, statuses: list[str]) -> None:
    judgment = Judge(Scripted(say)).compare(tiny.sum_pair(4))
    assert (judgment.label, judgment.consistent) == (label, consistent)
    assert [look.status for look in judgment.looks] == statuses
    assert [look.order for look in judgment.looks] == ["ab", "ba"]


def test_compare_many_keeps_the_order_and_orders_and_votes() -> None:
    pairs, engine = tiny.pairs(7), Scripted(right)
    judge = Judge(engine, sampling=Sampling(temperature=1.0))
    judgments = judge.compare_many(pairs, votes=3, progress=False)
    assert [j.pair_id for j in judgments] == [p.id for p in pairs]
    assert [j.label for j in judgments] == [p.label for p in pairs]
    assert all(Counter(look.order for look in j.looks) == {"ab": 3, "ba": 3} for j in judgments)
    assert set(engine.asked.values()) == {1} and len(engine.asked) == 42
    assert judge.compare(pairs[0], orders=["ba"]).looks[0].order == "ba"
    assert sum(judge.vote(pairs[0], 5).votes.values()) == 10


BAD_CALLS = {
    "votes that are copies": (dict(votes=2), "temperature above 0"),
    "no votes": (dict(votes=0), "votes is 0"),
    "unknown order": (dict(orders=["AB"]), "ab, ba"),
    "order twice": (dict(orders=["ab", "ab"]), "orders"),
    "no order": (dict(orders=[]), "orders"),
}


@pytest.mark.parametrize(("arguments", "words"), BAD_CALLS.values(), ids=BAD_CALLS)
def test_bad_call(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Judge(Scripted(right)).compare(tiny.sum_pair(1), **arguments)


def test_judge_needs_a_style_and_unique_ids() -> None:
    with pytest.raises(InputError, match="style"):
        Judge(Scripted(right, style=None))
    assert Judge(Scripted(right), style="rubrics").style == "rubrics"
    with pytest.raises(InputError, match="same id"):
        Judge(Scripted(right)).compare_many(tiny.pairs(2) + tiny.pairs(1), progress=False)


def test_log_of_a_run_can_be_replayed_with_another_reading(tmp_path: Path) -> None:
    pairs, path = tiny.pairs(3), tmp_path / "out.jsonl"
    chatty = Judge(Scripted(lambda r: f"{right(r)} That is all."))
    with JsonlLog(path, LOG_KEY) as log:
        strict = chatty.compare_many(pairs, log=log, progress=False)
    assert {look.status for j in strict for look in j.looks} == {"trailing"}
    replayed = Judge(ReplayEngine(path), "compact", reading="lenient").compare_many(pairs, progress=False)
    assert [j.label for j in replayed] == [p.label for p in pairs]
    missing = Judge(ReplayEngine(path), "compact").compare(tiny.sum_pair(9))
    assert [look.status for look in missing.looks] == ["error", "error"] and missing.label is None


def test_endpoint_behind_the_judge(tmp_path: Path) -> None:
    """One pair of three fails permanently: the other two are judged, and the reason is in the log."""
    pairs = tiny.pairs(3)
    pairs[1] = replace(pairs[1], response_a="fault:500")
    with fake.serving() as served, JsonlLog(tmp_path / "out.jsonl", LOG_KEY) as log:
        engine = OpenAIEngine("m", served.url, max_retries=1, style="compact")
        judgments = Judge(engine).compare_many(pairs, log=log, progress=False)
        assert [j.votes for j in judgments] == [{"A": 1, "B": 1, "none": 0}, {"A": 0, "B": 0, "none": 2}] + [
            {"A": 1, "B": 1, "none": 0}
        ]
        assert "InternalServerError" in log.get(("p1", "ab", 0))["error"]

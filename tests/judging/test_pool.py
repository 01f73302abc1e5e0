"""Judges that share a base: each gives the same texts as without sharing, in any order and from several
threads at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from rmr1_lite.data.nano.world import draw_pairs as nano_pairs
from rmr1_lite.judging.engines.base import Sampling
from rmr1_lite.judging.factory import make_engine
from rmr1_lite.judging.judge import Judge
from rmr1_lite.judging.pool import JudgePool
from rmr1_lite.types import InputError

SPECS = ("nano-base", "nano-sft", "nano")
PAIRS = nano_pairs("validation", 4, seed=31)


def texts(judge: Judge) -> list[str]:
    return [look.generation.text for j in judge.compare_many(PAIRS, progress=False) for look in j.looks]


@pytest.fixture(scope="module")
def alone() -> dict[str, list[str]]:
    sampling = Sampling(max_new_tokens=40)
    return {spec: texts(Judge(make_engine(spec), "compact", sampling=sampling)) for spec in SPECS}


@pytest.mark.parametrize("order", [SPECS, SPECS[::-1], ("nano", "nano-base", "nano-sft")])
def test_judges_do_not_mix(alone, order):
    pool = JudgePool(order, style="compact")
    for spec in (*order, *order):
        assert texts(pool.judge(spec, max_new_tokens=40)) == alone[spec], spec
    assert len(pool._bases) == 1, "one base for all of them"


def test_judges_do_not_mix_when_asked_at_once(alone):
    pool = JudgePool(SPECS, style="compact")
    with ThreadPoolExecutor(6) as workers:
        found = list(workers.map(lambda spec: (spec, texts(pool.judge(spec, max_new_tokens=40))), SPECS * 3))
    assert all(said == alone[spec] for spec, said in found)


def test_a_stream_that_is_left_lets_go_of_the_base(alone):
    pool = JudgePool(SPECS, style="compact")
    judge = pool.judge("nano", max_new_tokens=40)
    pieces = judge.engine.stream(judge.request(PAIRS[0], "ab"), judge.sampling)
    next(pieces)
    pieces.close()
    with ThreadPoolExecutor(1) as worker:
        found = worker.submit(texts, pool.judge("nano-sft", max_new_tokens=40)).result(timeout=60)
    assert found == alone["nano-sft"]


def test_a_stream_may_be_read_by_several_threads_in_turn(alone):
    """A web server takes the next piece in any free thread."""
    pool = JudgePool(SPECS, style="compact")
    judge = pool.judge("nano", max_new_tokens=40)
    pieces = judge.engine.stream(judge.request(PAIRS[0], "ab"), judge.sampling)
    for _ in range(3):
        with ThreadPoolExecutor(1) as worker:
            worker.submit(next, pieces).result(timeout=60)
    with ThreadPoolExecutor(1) as worker:
        worker.submit(pieces.close).result(timeout=60)
    assert texts(pool.judge("nano-sft", max_new_tokens=40)) == alone["nano-sft"], "the base is free again"


def test_what_cannot_be_loaded_is_named_when_it_is_asked_and_the_others_work(alone, tmp_path):
    pool = JudgePool(["nano", str(tmp_path / "gone")], style="compact")
    with pytest.raises(InputError, match="does not exist"):
        pool.judge(str(tmp_path / "gone"))
    assert texts(pool.judge("nano", max_new_tokens=40)) == alone["nano"]
    with pytest.raises(InputError, match="Sampling has no heat"):
        pool.judge("nano", heat=2)

"""The scale model's arithmetic: rows calculated by hand, and what must hold whatever the assumptions."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

PERF = Path(__file__).parents[2] / "perf"
sys.path.insert(0, str(PERF))

from scale.anchors import anchors  # noqa: E402
from scale.assumptions import (  # noqa: E402
    SHAPES,
    Card,
    Efficiency,
    Failures,
    Fleet,
    Lengths,
    Recipe,
    Shape,
    World,
)
from scale.decoding import decode, token_seconds  # noqa: E402
from scale.fleet import job_cost, judge_fleet  # noqa: E402
from scale.grpo import checkpoint_plan, grpo_step, length_limits  # noqa: E402
from scale_model import rounded, study  # noqa: E402
from scale_tables import SOURCES, tables  # noqa: E402

# 200 bytes of weights, 8 bytes of cache a token; a card reads 100 bytes and computes 1,000 times a second
TINY = Shape("tiny", 100, layers=1, kv_heads=1, head_size=2)
CARD = Card(memory=1000, bandwidth=100, operations=1000, price=2.0, node=2, link=100, network=10)
PLAIN = Efficiency(1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 100, 0.0)
WORLD = World(CARD, PLAIN, Lengths(10, 0.0, 0.0, 10, 0.0), Recipe(8, 4, 2, 2), Failures(1.0, 0.0, 700.0))

TOKENS = [
    (1, 0, 2.0, "weights alone: 200 bytes at 100 a second"),
    (1, 25, 4.0, "25 tokens of cache are 200 bytes more"),
    (20, 0, 4.0, "20 sequences are 4,000 operations at 1,000 a second, more than reading"),
]


@pytest.mark.parametrize(("running", "context", "seconds", "reason"), TOKENS, ids=[row[-1] for row in TOKENS])
def test_a_token_takes_what_is_read_or_computed(running, context, seconds, reason):
    assert token_seconds(WORLD, TINY, running, context) == pytest.approx(seconds)


def test_an_engine_of_several_cards_is_faster_but_talks():
    both = replace(WORLD, efficiency=replace(PLAIN, all_reduce=0.1))
    assert token_seconds(both, replace(TINY, cards=2), 1, 0) == pytest.approx(1.0 + 2 * 1 * 0.1)


DECODES = [
    ([1], 2.0 + 0.04, "one token: weights, and half a token of cache on average"),
    ([1, 1], 2.0 + 0.08, "two at once read the weights once"),
    ([1, 2], (2.0 + 0.08) + (2.0 + 0.12), "the longer one goes on alone, with one token of cache, then two"),
]


@pytest.mark.parametrize(("lengths", "seconds", "reason"), DECODES, ids=[row[-1] for row in DECODES])
def test_an_engine_ends_when_the_longest_chain_ends(lengths, seconds, reason):
    found = decode(WORLD, TINY, lengths, prompt=0)
    assert (found.seconds, found.tokens) == (pytest.approx(seconds), sum(lengths))


def test_a_full_cache_makes_chains_wait():
    # 800 bytes of cache: room for ten tokens each of ten chains
    assert decode(WORLD, TINY, [10] * 20, 0).seconds == pytest.approx(
        2 * decode(WORLD, TINY, [10] * 10, 0).seconds
    )


def test_a_model_that_does_not_fit_is_named():
    with pytest.raises(ValueError, match="tiny does not fit on 1 cards"):
        decode(replace(WORLD, card=replace(CARD, memory=100)), TINY, [1], 0)


def test_the_time_of_a_step_by_hand():
    step = grpo_step(WORLD, TINY, 1)
    # 8 chains of 10 tokens; each token reads 200 bytes and the cache so far, which is 40 tokens on average
    assert step.writing == pytest.approx(10 * (200 + 40 * 8) / 100)
    assert step.scoring == pytest.approx(2 * 2 * 100 * 80 / 1000)
    # 1,600 bytes for a full training are more than the card has: a LoRA, 4 operations a parameter and token
    assert (step.adapter, step.training) == (True, pytest.approx(4 * 100 * 80 / 1000))
    # two cards have room: 6 operations, half of the tokens each
    assert (grpo_step(WORLD, TINY, 4).adapter, grpo_step(WORLD, TINY, 4).training) == (
        False,
        pytest.approx(6 * 100 * 80 / 1000 / 4),
    )


def test_an_update_waits_for_the_card_with_the_longest_chain():
    # 40 tokens an update on 16 cards are 2.5 each, but a chain of 10 is not divided
    assert grpo_step(WORLD, TINY, 8).training == pytest.approx(2 * 6 * 100 * 10 / 1000)


def test_checkpoints_by_young_and_daly():
    plan = checkpoint_plan(WORLD, TINY, 2, step=10.0)
    assert plan["save_seconds"] == pytest.approx(14 * 100 / 700)
    assert plan["failures_a_day"] == pytest.approx(2 * 24)
    assert plan["best_interval_seconds"] == pytest.approx((2 * 2.0 * 1800) ** 0.5)
    assert plan["every_steps"] == 8  # 84.9 s
    assert plan["lost_share"] == pytest.approx(2.0 / 80 + 40 / 1800)


def test_lengths_have_the_mean_and_the_runaways_that_were_asked_for():
    drawn = Lengths(700, 0.4, 0.002, 8192).draw(7168)
    assert len(drawn) == 7168
    assert drawn.count(8192) == 14
    ended = [length for length in drawn if length < 8192]
    assert sum(ended) / len(ended) == pytest.approx(700, rel=0.01)


def test_a_fleet_by_hand():
    fleet = Fleet(pairs_a_day=86_400, orders=2, known=0.5, shared=0.0, busy=0.5)
    found = judge_fleet(WORLD, TINY, fleet)
    assert found["calls_a_day"] == 86_400
    assert found["cards"] == -(-2 // found["chains_a_second"])  # a call a second at half of the capacity
    assert found["dollars_a_day"] == found["cards"] * 24 * 2.0


GROWS = [
    ({"mean": 1400.0}, "longer chains"),
    ({"runaway": 0.05}, "more endless chains"),
    ({"prompt": 1800.0}, "longer prompts"),
]


@pytest.mark.parametrize(("change", "reason"), GROWS, ids=[row[-1] for row in GROWS])
@pytest.mark.parametrize("cards", [8, 256])
def test_more_tokens_take_more_time(change, reason, cards):
    longer = World(lengths=replace(Lengths(), **change))
    assert grpo_step(longer, SHAPES["7B"], cards).seconds > grpo_step(World(), SHAPES["7B"], cards).seconds


def test_more_cards_are_faster_and_waste_more():
    steps = [grpo_step(World(), SHAPES["7B"], cards) for cards in (8, 32, 256)]
    seconds = [step.seconds for step in steps]
    assert seconds == sorted(seconds, reverse=True)
    spent = [step.seconds * step.cards for step in steps]
    assert spent == sorted(spent)
    assert steps[-1].bottleneck == "the longest chains"


def test_a_lower_limit_is_faster_and_truncates_more():
    rows = length_limits(World(lengths=Lengths(854, 0.55, 0.02)), SHAPES["7B"], 32)
    assert [row["seconds"] for row in rows] == sorted(row["seconds"] for row in rows)
    assert [row["truncated"] for row in rows] == sorted((row["truncated"] for row in rows), reverse=True)
    assert all(row["stopped"] <= row["seconds"] for row in rows)


CHEAPER = [
    ({"known": 0.5}, "stored verdicts"),
    ({"shared": 0.8}, "a prefix cache"),
    ({"orders": 1}, "one order"),
    ({"busy": 1.0}, "requests that are spread evenly"),
]


@pytest.mark.parametrize(("change", "reason"), CHEAPER, ids=[row[-1] for row in CHEAPER])
def test_what_makes_a_fleet_smaller(change, reason):
    fleet = Fleet(pairs_a_day=1e9)
    assert (
        judge_fleet(World(), SHAPES["7B"], replace(fleet, **change))["cards"]
        < judge_fleet(World(), SHAPES["7B"], fleet)["cards"]
    )


def test_the_cost_of_a_job_grows_with_its_pairs_and_at_last_in_proportion():
    costs = [job_cost(World(), SHAPES["7B"], Fleet(), 10.0**power)["dollars"] for power in range(3, 10)]
    growth = [after / before for before, after in zip(costs, costs[1:], strict=False)]
    assert growth[0] < 6, "a small job pays mostly for the start"
    assert growth[-1] == pytest.approx(10, rel=0.01)


def test_the_anchors_for_nemo_rl_are_met_and_older_ones_are_said_to_be_missed():
    errors = {anchor.name: anchor.error for anchor in anchors(World())}
    assert all(abs(error) < 0.25 for name, error in errors.items() if "NeMo" in name)
    assert all(error < -0.5 for name, error in errors.items() if "spring 2025" in name)


def test_the_stored_results_are_what_the_model_gives():
    stored = json.loads((PERF / "results" / "scale-model.json").read_text(encoding="utf-8"))
    assert stored == rounded(study(World(), Fleet())), (
        "run python perf/scale_model.py --out perf/results/scale-model.json"
    )


def test_every_assumption_has_its_source():
    found = json.loads((PERF / "results" / "scale-model.json").read_text(encoding="utf-8"))
    named = {f"{group}.{name}" for group, values in found["assumptions"].items() for name in values}
    assert named == set(SOURCES)
    assert all(text.count("\n") > 2 for text in tables(found).values())

"""A judge for many pairs: as a service, and as one job."""

from __future__ import annotations

import math
from dataclasses import replace

from scale.assumptions import DAY, HOUR, Fleet, Shape, World
from scale.decoding import decode


def chains_a_second(world: World, shape: Shape, shared: float) -> float:
    """Of one card in long runs: an engine's rate over six times what it holds at once."""
    serving = replace(world, efficiency=replace(world.efficiency, memory=0.9))
    count = 6 * serving.efficiency.sequences
    lengths = replace(world.lengths, limit=min(world.lengths.limit, 4096)).draw(count)
    new = world.lengths.prompt * (1 - shared)
    return count / decode(serving, shape, lengths, world.lengths.prompt, new).seconds / shape.cards


def judge_fleet(world: World, shape: Shape, fleet: Fleet) -> dict[str, float]:
    """Cards and dollars for `pairs_a_day`."""
    rate = chains_a_second(world, shape, fleet.shared)
    calls = fleet.pairs_a_day * fleet.orders * (1 - fleet.known)
    cards = math.ceil(calls / (rate * DAY * fleet.busy))
    cards = math.ceil(cards / shape.cards) * shape.cards
    dollars = cards * 24 * world.card.price
    return {
        "chains_a_second": rate,
        "calls_a_day": calls,
        "cards": cards,
        "dollars_a_day": dollars,
        "dollars_a_million_pairs": dollars / fleet.pairs_a_day * 1e6,
        "failures_a_day": cards * 24 / world.failures.card_hours,
        "stored_gigabytes_a_day": fleet.pairs_a_day * fleet.orders * fleet.record / 1e9,
    }


def job_cost(world: World, shape: Shape, fleet: Fleet, pairs: float) -> dict[str, float]:
    """One job of `pairs` on as many cards as end it within a day: card-hours, dollars, bytes, and shards (the
    work of an engine in ten minutes, which is what a failure loses)."""
    rate = chains_a_second(world, shape, fleet.shared)
    calls = pairs * fleet.orders * (1 - fleet.known)
    cards = max(shape.cards, math.ceil(calls / (rate * (DAY - fleet.start)) / shape.cards) * shape.cards)
    busy = calls / rate + cards * fleet.start
    return {
        "pairs": pairs,
        "cards": cards,
        "hours": busy / cards / HOUR,
        "card_hours": busy / HOUR,
        "dollars": busy / HOUR * world.card.price,
        "gigabytes": pairs * fleet.orders * fleet.record / 1e9,
        "shards": max(1, math.ceil(calls / (rate * shape.cards * 600))),
        "failures": busy / HOUR / world.failures.card_hours,
    }

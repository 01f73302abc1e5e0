"""One step of GRPO, failures and checkpoints, the complete run."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from scale.assumptions import DAY, HOUR, Card, Shape, World
from scale.decoding import decode


@dataclass(frozen=True)
class Step:
    """Seconds of one step. tail: part of `writing` in which nearly all chains have ended. traffic: gradients
    and weights between cards. adapter: only a LoRA fits, the weights stay as they are."""

    cards: int
    writing: float
    tail: float
    scoring: float
    training: float
    traffic: float
    switch: float
    adapter: bool
    truncated: float

    @property
    def seconds(self) -> float:
        return self.writing + self.scoring + self.training + self.traffic + self.switch

    @property
    def bottleneck(self) -> str:
        parts = {
            "the longest chains": self.tail,
            "writing": self.writing - self.tail,
            "training": self.training + self.scoring,
            "traffic": self.traffic,
            "switching": self.switch,
        }
        return max(parts, key=lambda name: parts[name])


def grpo_step(world: World, shape: Shape, cards: int) -> Step:
    """One step on `cards`, at least as many as one engine needs; rollouts and training take turns on all."""
    recipe, card, use = world.recipe, world.card, world.efficiency
    count, engines = recipe.prompts * recipe.rollouts, cards // shape.cards
    if not engines:
        raise ValueError(f"{shape.name} needs {shape.cards} cards")
    lengths = world.lengths.draw(count)
    longest = lengths.index(max(lengths)) % engines
    # the engine that got the longest chain ends last; a prompt is computed once for its rollouts
    new = world.lengths.prompt / recipe.rollouts
    written = decode(world, shape, lengths[longest::engines], world.lengths.prompt, new)
    # 16 bytes a parameter: weights and gradients in bf16, fp32 copy, two moments; a fifth for activations
    adapter = 16 * shape.parameters > 0.8 * card.memory * cards
    tokens = sum(lengths) + count * world.lengths.prompt
    rate = card.operations * use.training
    passes = 2 if recipe.reference else 1
    training = recipe.updates * _update_seconds(world, shape, cards, tokens, max(lengths), adapter)
    return Step(
        cards,
        written.seconds,
        written.tail,
        passes * 2 * shape.parameters * tokens / (rate * cards),
        training,
        0.0 if cards == 1 or adapter else recipe.updates * 3 * shape.weights / _link(card, cards),
        use.switch,
        adapter,
        sum(length == world.lengths.limit for length in lengths) / count,
    )


def _update_seconds(
    world: World, shape: Shape, cards: int, tokens: float, longest: int, adapter: bool
) -> float:
    """One update: the tokens are shared out, but no chain is divided: no card has less than the longest."""
    each = max(tokens / world.recipe.updates / cards, longest + world.lengths.prompt)
    operations = 4 if adapter else 6  # backwards through frozen weights there is one product less
    return operations * shape.parameters * each / (world.card.operations * world.efficiency.training)


def _link(card: Card, cards: int) -> float:
    return card.link if cards <= card.node else card.network


# ---- failures


def checkpoint_plan(world: World, shape: Shape, cards: int, step: float) -> dict[str, float]:
    """How often to save, in whole steps, and which share of the time saving, redone work and restarts take.

    Young 1974, Daly 2006: every sqrt(2 x seconds of a checkpoint x seconds between failures).
    """
    fail = world.failures
    nodes = math.ceil(cards / world.card.node)
    save = 14 * shape.parameters / (fail.store * nodes)
    between = fail.card_hours * HOUR / cards
    best = math.sqrt(2 * save * between)
    every = max(1, round(best / step))
    interval = every * step
    lost = save / interval + (interval / 2 + fail.restart) / between
    return {
        "gigabytes": 14 * shape.parameters / 1e9,
        "save_seconds": save,
        "failures_a_day": DAY / between,
        "best_interval_seconds": best,
        "every_steps": every,
        "lost_share": lost,
    }


# ---- the whole run


def grpo_run(world: World, shape: Shape, cards: int) -> dict[str, Any]:
    """Time and cost of every step of the recipe, failures included."""
    step = grpo_step(world, shape, cards)
    saving = checkpoint_plan(world, shape, cards, step.seconds)
    hours = world.recipe.steps * step.seconds / HOUR * (1 + saving["lost_share"])
    return {
        **asdict(step),
        "seconds": step.seconds,
        "bottleneck": step.bottleneck,
        "hours": hours,
        "card_hours": hours * cards,
        "dollars": hours * cards * world.card.price,
        "checkpoints": saving,
    }


def length_limits(world: World, shape: Shape, cards: int) -> list[dict[str, float]]:
    """What a limit gives and takes: seconds of writing and of a step, share of chains that it truncates.
    stopped: seconds of a step that does not wait for the last twentieth of an engine's chains, and counts it
    as truncated."""
    rows = []
    for limit in (1024, 2048, 4096, 8192):
        step = grpo_step(replace(world, lengths=replace(world.lengths, limit=limit)), shape, cards)
        rows.append(
            {
                "limit": limit,
                "writing": step.writing,
                "tail": step.tail,
                "seconds": step.seconds,
                "stopped": step.seconds - step.tail,
                "truncated": step.truncated,
            }
        )
    return rows

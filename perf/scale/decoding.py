"""How long one engine needs to write chains: a roofline with continuous batching."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from scale.assumptions import Shape, World


@dataclass(frozen=True)
class Decoded:
    """What an engine did. seconds: until the last chain ended. tail: of them, those after 95 % of the chains
    had ended. tokens: written."""

    seconds: float
    tail: float
    tokens: int


def token_seconds(world: World, shape: Shape, running: float, context: float) -> float:
    """One more token for each of `running` sequences that hold `context` tokens together."""
    use, cards = world.efficiency, shape.cards
    read = (shape.weights + context * shape.kv) / (world.card.bandwidth * use.bandwidth * cards)
    compute = 2 * shape.parameters * running / (world.card.operations * use.prefill * cards)
    talk = 2 * shape.layers * use.all_reduce if cards > 1 else 0.0
    return max(read, compute) + use.token + talk


def prefill_seconds(world: World, shape: Shape, tokens: float) -> float:
    return 2 * shape.parameters * tokens / (world.card.operations * world.efficiency.prefill * shape.cards)


def decode(
    world: World, shape: Shape, lengths: list[int], prompt: float, new: float | None = None
) -> Decoded:
    """One engine writes chains of these lengths, as many at once as its cache holds, the next as soon as one
    ends. new: tokens of each prompt that no cache has yet, by default all of them."""
    room = world.card.memory * world.efficiency.memory * shape.cards - shape.weights
    if room <= 0:
        raise ValueError(f"{shape.name} does not fit on {shape.cards} cards")
    typical = sum(lengths) / len(lengths)
    most = max(1, min(world.efficiency.sequences, int(room / shape.kv / (prompt + typical))))
    waiting, running = list(reversed(lengths)), list[tuple[int, int]]()  # a heap: (when it ends, its length)
    now, context, written, seconds, ended = 0, 0.0, 0, 0.0, 0
    mark = 0.0  # when 95 % had ended
    while waiting or running:
        while waiting and len(running) < most:
            length = waiting.pop()
            heapq.heappush(running, (now + length, length))
            context += prompt
            seconds += prefill_seconds(world, shape, prompt if new is None else new)
        steps, count = running[0][0] - now, len(running)
        seconds += steps * token_seconds(world, shape, count, context + count * steps / 2)
        now, context, written = now + steps, context + count * steps, written + count * steps
        while running and running[0][0] <= now:
            context -= prompt + heapq.heappop(running)[1]
            ended += 1
        mark = seconds if ended <= 0.95 * len(lengths) else mark
    return Decoded(seconds, seconds - mark, written)

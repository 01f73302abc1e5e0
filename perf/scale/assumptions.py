"""Every assumption of the scale model, each with its source."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from statistics import NormalDist

HOUR, DAY = 3600.0, 86400.0


@dataclass(frozen=True)
class Card:
    """An NVIDIA H100 SXM, from its data sheet (bf16 without sparsity), in bytes, bytes a second, operations a
    second. price: dollars an hour, rented (2 to 4 in 2026, by provider). link, network: bytes a second to a
    card of the same node (NVLink, one way) and of another (400 Gb/s a card)."""

    memory: float = 80e9
    bandwidth: float = 3.35e12
    operations: float = 989e12
    price: float = 3.0
    node: int = 8
    link: float = 450e9
    network: float = 50e9


@dataclass(frozen=True)
class Shape:
    """A dense model in bf16, from its config.json. cards: that one engine is spread over."""

    name: str
    parameters: float
    layers: int
    kv_heads: int
    head_size: int = 128
    cards: int = 1

    @property
    def weights(self) -> float:
        """Bytes."""
        return 2 * self.parameters

    @property
    def kv(self) -> float:
        """Bytes of keys and values for one token."""
        return 2.0 * 2 * self.layers * self.kv_heads * self.head_size


@dataclass(frozen=True)
class Efficiency:
    """What is reached of a card's peak: round numbers, chosen before the model was compared with published
    measurements (anchors.py) and not fitted to them."""

    bandwidth: float = 0.65  # of the memory's, while decoding
    prefill: float = 0.5  # of the operations
    token: float = 0.004  # seconds of scheduling and launching for each token of the batch
    all_reduce: float = 10e-6  # seconds; two in each layer, where an engine is spread over cards
    training: float = 0.4  # model operations; PyTorch FSDP's own reports for 7B lie between 0.4 and 0.57
    memory: float = 0.75  # of the card for weights and cache (verl's rollout.gpu_memory_utilization)
    sequences: int = 1024  # at once in an engine (vLLM's max_num_seqs on an H100)
    switch: float = 30.0  # seconds a step: waking the engine, handing over the weights, rewards, logging


@dataclass(frozen=True)
class Lengths:
    """Tokens of prompts and chains. Chains are log-normal around `mean` with `sigma` (of the logarithm), and
    a share `runaway` never ends by itself. Nothing is longer than `limit`.

    The defaults are RM-R1-Qwen-Instruct-32B's published chains on RewardBench (231 of them, greedy: mean 664,
    sigma 0.26, at 4.2 characters a token), widened for temperature 1; 854 and 0.55 are those of
    RM-R1-DeepSeek-Distilled-Qwen-32B (40 chains). How many run away in training is not published.
    """

    mean: float = 700.0
    sigma: float = 0.4
    runaway: float = 0.002
    limit: int = 8192
    prompt: float = 900.0

    def draw(self, count: int, seed: int = 0) -> list[int]:
        """`count` lengths in random order: the quantiles in the middle of `count` equal parts, so that the
        longest is what is to be expected among so many, and nothing but the order hangs on the seed."""
        centre = math.log(self.mean) - self.sigma**2 / 2
        runaways = round(self.runaway * count)
        ended = count - runaways
        normal = NormalDist(centre, self.sigma) if self.sigma else None
        marks = [(place + 0.5) / ended for place in range(ended)]
        found = [math.exp(normal.inv_cdf(mark)) if normal else self.mean for mark in marks]
        lengths = [max(1, min(self.limit, round(length))) for length in found] + [self.limit] * runaways
        random.Random(seed).shuffle(lengths)
        return lengths


@dataclass(frozen=True)
class Recipe:
    """One GRPO run. The defaults are RM-R1's scripts: 73,000 pairs, 1,024 prompts a step in mini-batches of
    128, 7 rollouts. reference: a KL term asks the reference policy for log-probabilities too."""

    pairs: int = 73_000
    prompts: int = 1024
    mini_batch: int = 128
    rollouts: int = 7
    reference: bool = True

    @property
    def steps(self) -> int:
        return math.ceil(self.pairs / self.prompts)

    @property
    def updates(self) -> int:
        return math.ceil(self.prompts / self.mini_batch)


@dataclass(frozen=True)
class Failures:
    """card_hours: between two failures that stop a run, a card. Llama 3's report has 419 in 54 days on 16,384
    cards. restart: seconds from a failure to the next step. store: bytes a second that a node writes."""

    card_hours: float = 16_384 * 54 * 24 / 419
    restart: float = 900.0
    store: float = 2e9


SHAPES = {
    "7B": Shape("Qwen2.5-7B", 7.62e9, 28, 4),
    "14B": Shape("Qwen2.5-14B", 14.8e9, 48, 8, cards=2),
    "32B": Shape("Qwen2.5-32B", 32.8e9, 64, 8, cards=4),
    "8B": Shape("Llama-3.1-8B", 8.03e9, 32, 8),
}


@dataclass(frozen=True)
class World:
    """All assumptions together."""

    card: Card = field(default_factory=Card)
    efficiency: Efficiency = field(default_factory=Efficiency)
    lengths: Lengths = field(default_factory=Lengths)
    recipe: Recipe = field(default_factory=Recipe)
    failures: Failures = field(default_factory=Failures)


@dataclass(frozen=True)
class Fleet:
    """A judge as a service. orders: judge calls a pair. known: share of pairs whose verdict is stored.
    shared: share of a prompt's tokens that are the same for all pairs (instructions, rubrics) and stay in the
    prefix cache. busy: share of a day's capacity that is used, since requests come unevenly. start: seconds
    from a rented card to the first chain. record: bytes of a stored judge call."""

    pairs_a_day: float = 10e6
    orders: int = 2
    known: float = 0.2
    shared: float = 0.35
    busy: float = 0.6
    start: float = 180.0
    record: float = 4096.0

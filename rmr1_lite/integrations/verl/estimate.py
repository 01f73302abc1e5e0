"""What a run on verl needs on 1, 4 and 8 cards: estimates with the planner's formulas, none of them measured.

verl keeps the base in 32 bits while it trains (spread over the cards), computes all logits of a micro-batch
at once, and gives vLLM a 16-bit copy of the model on every card.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rmr1_lite.config import GRPOConfig
from rmr1_lite.training.planning.gpu_memory import (
    FULL,
    GIB,
    LOGIT_BYTES,
    OPTIMIZER_BYTES,
    Need,
    Shape,
    activation_bytes,
    cache_bytes,
    count_parameters,
    lora_parameters,
    shape_of,
    weight_bytes,
)
from rmr1_lite.training.planning.plan import GPUS, TYPICAL, training_seconds
from rmr1_lite.types import InputError

CARDS = (1, 4, 8)
GPU_SHARE = 0.5  # of a card for vLLM, as in run.sh
ROOM = 0.9  # of a card that a plan may fill


@dataclass(frozen=True)
class CardEstimate:
    """One size of a machine. training, writing: GiB on each card, at the longest. at_once: answers of full
    length that vLLM's cache holds on a card. hours: of one pass over the rows, at best."""

    cards: int
    training: float
    writing: float
    at_once: int
    hours: float
    fits: bool


def choose_micro_batch(config: GRPOConfig, model: Path, gpu: str) -> int:
    """The most answers in one pass of a card that the planner lets fit on a single card: a divisor of the
    answers of a step. 1 where the model's shape is not known, or nothing fits."""
    shape = _known_shape(model)
    total = config.groups * config.rollouts
    fitting = [
        size
        for size in range(1, min(config.micro_batch, total) + 1)
        if total % size == 0
        and shape is not None
        and training_need(shape, config, size, 1).peak <= ROOM * GPUS[gpu].gib * GIB
    ]
    return max(fitting, default=1)


def estimate(
    config: GRPOConfig, model: Path, gpu: str, micro_batch: int, rows: int
) -> list[CardEstimate] | None:
    """One row a machine; None where the planner does not know the model's shape. rows: of train.parquet."""
    shape = _known_shape(model)
    if shape is None:
        return None
    return [_on(cards, shape, config, gpu, micro_batch, rows) for cards in CARDS]


def _on(cards: int, shape: Shape, config: GRPOConfig, gpu: str, micro_batch: int, rows: int) -> CardEstimate:
    card = GPUS[gpu].gib * GIB
    held = count_parameters(shape) * FULL / cards
    training = training_need(shape, config, micro_batch, cards).peak
    cache = GPU_SHARE * card - weight_bytes(shape, four_bit=False)
    answer = (config.max_prompt_tokens + config.max_new_tokens) * cache_bytes(shape)
    at_once = max(0, int(cache // answer))
    writing = held + GPU_SHARE * card
    fits = max(training, writing) <= card and at_once > 0
    steps = rows / (config.groups * cards)
    hours = steps * step_seconds(shape, config, gpu, at_once) / 3600
    return CardEstimate(cards, training / GIB, writing / GIB, at_once, hours, fits)


def step_seconds(shape: Shape, config: GRPOConfig, gpu: str, at_once: int) -> float:
    """One step of each card's own prompts. Answers are limited by the card's memory bandwidth alone, as with
    vLLM at its best, and every step waits for its longest answer."""
    card, answers = GPUS[gpu], config.groups * config.rollouts
    prompt, answer = config.max_prompt_tokens * TYPICAL, config.max_new_tokens
    waves = -(-answers // max(1, at_once))
    cached = answers / waves * (prompt + answer / 2) * cache_bytes(shape)
    writing = waves * answer * (weight_bytes(shape, four_bit=False) + cached) / (card.gbps * 1e9)
    tokens = answers * (prompt + answer * TYPICAL)  # verl does not share a group's prompt
    return writing + training_seconds(shape, card, tokens, checkpointing=True)


def training_need(shape: Shape, config: GRPOConfig, micro_batch: int, cards: int) -> Need:
    """Bytes on each card while it trains, everything at its longest."""
    tokens = micro_batch * (config.max_prompt_tokens + config.max_new_tokens)
    return Need(
        {
            "weights": count_parameters(shape) * FULL // cards,
            "LoRA and optimizer": lora_parameters(shape, config.lora_r) * OPTIMIZER_BYTES // cards,
            "activations": activation_bytes(shape, tokens),
            "logits": micro_batch * config.max_new_tokens * shape.vocab * LOGIT_BYTES,
        }
    )


def _known_shape(model: Path) -> Shape | None:
    try:
        return shape_of(str(model))
    except InputError:
        return None

"""What a judge as a reward costs on one card, by the planner's rules: an estimate, made before anything runs.

step_seconds("Qwen/Qwen2.5-7B-Instruct", "h100", "pivot", prompts=16, size=8,
             prompt_tokens=1500, chain_tokens=400)
"""

from __future__ import annotations

import math

from rmr1_lite.integrations.rewards.schemes import check_scheme, judge_calls
from rmr1_lite.training.planning.gpu_memory import GIB, cache_bytes, count_parameters, shape_of, weight_bytes
from rmr1_lite.training.planning.plan import GPUS, SHARE_OF_PEAK, TYPICAL, writing_seconds
from rmr1_lite.types import InputError

FREE = 0.9  # share of a card's memory that the judge may use: it is alone there


def step_seconds(
    judge: str,
    gpu: str,
    scheme: str,
    *,
    prompts: int,
    size: int,
    prompt_tokens: int,
    chain_tokens: int,
    orders: int = 2,
) -> float:
    """Seconds of the rewards of one step, with the judge in 4 bits alone on the card.

    prompts, size: groups and responses of each. prompt_tokens: the judge's prompt, with two responses.
    chain_tokens: its longest chain. Raises InputError for an unknown card, scheme or shape, and for a judge
    that does not fit.
    """
    if gpu not in GPUS:
        raise InputError(f"There is no card {gpu!r:.40} in the plan. Choose from {', '.join(GPUS)}.")
    card, shape = GPUS[gpu], shape_of(judge)
    calls = prompts * judge_calls(check_scheme(scheme), size, orders)
    room = FREE * card.gib * GIB - weight_bytes(shape)
    at_once = int(room // (cache_bytes(shape) * (prompt_tokens + chain_tokens)))
    if at_once < 1:
        raise InputError(f"{judge} with {prompt_tokens + chain_tokens:,} tokens does not fit on {card.name}.")
    batches = math.ceil(calls / at_once)
    writing = batches * writing_seconds(
        shape, card, math.ceil(calls / batches), prompt_tokens * TYPICAL, chain_tokens
    )
    reading = 2 * count_parameters(shape) * calls * prompt_tokens * TYPICAL
    return writing + reading / (card.tflops * 1e12 * SHARE_OF_PEAK)

"""What a judge as a reward costs by the planner's rules."""

from __future__ import annotations

from typing import Any

import pytest

from rmr1_lite.integrations.rewards.cost import step_seconds
from rmr1_lite.training.planning.gpu_memory import count_parameters, shape_of
from rmr1_lite.training.planning.plan import GPUS, SECONDS_PER_LAYER, SHARE_OF_PEAK, TYPICAL
from rmr1_lite.types import InputError

JUDGE = "Qwen/Qwen2.5-7B-Instruct"
USUAL = {"prompts": 16, "size": 8, "prompt_tokens": 1500, "chain_tokens": 400}


def seconds(gpu: str = "h100", scheme: str = "pivot", judge: str = JUDGE, **more: Any) -> float:
    return step_seconds(judge, gpu, scheme, **{**USUAL, **more})


@pytest.mark.parametrize(
    ("less", "more", "reason"),
    [
        ({}, {"scheme": "reference"}, "16 calls a prompt instead of 14"),
        ({"scheme": "reference"}, {"scheme": "round-robin"}, "56"),
        ({"orders": 1}, {}, "half the calls"),
        ({}, {"chain_tokens": 800}, "longer chains"),
        ({}, {"prompt_tokens": 3000}, "longer prompts"),
        ({}, {"gpu": "l4"}, "a slower card"),
        ({"judge": "Qwen/Qwen2.5-1.5B-Instruct"}, {}, "a larger judge"),
    ],
)
def test_what_makes_a_step_longer(less: Any, more: Any, reason: str):
    assert seconds(**less) < seconds(**more), reason


def test_a_step_takes_at_least_its_reading_and_its_tokens_one_by_one():
    shape, card = shape_of(JUDGE), GPUS["h100"]
    calls = 16 * 14
    reading = 2 * count_parameters(shape) * calls * 1500 * TYPICAL / (card.tflops * 1e12 * SHARE_OF_PEAK)
    least = reading + 400 * SECONDS_PER_LAYER * shape.layers
    assert least < seconds() < 2 * least, "all 224 calls fit at once"


def test_what_does_not_fit_at_once_is_written_in_batches():
    long = {"prompt_tokens": 100, "chain_tokens": 8000}  # hardly any reading
    roomy, tight = ([seconds(gpu, prompts=n, **long) for n in (1, 16)] for gpu in ("h200", "t4"))
    assert roomy[1] < 2 * roomy[0] and tight[1] > 8 * tight[0]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"gpu": "h1000"}, "no card 'h1000'"),
        ({"scheme": "knockout"}, "no scheme 'knockout'"),
        ({"judge": "nobody/nothing"}, "shape of nobody/nothing is not known"),
        ({"gpu": "t4", "prompt_tokens": 10**6}, "does not fit on T4"),
    ],
)
def test_what_cannot_be_estimated(more: Any, said: str):
    with pytest.raises(InputError, match=said):
        seconds(**more)

"""The planner: exact if bytes can be counted without a GPU, and presets that fit their cards by its own
figures."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmr1_lite import presets
from rmr1_lite.config import CONFIGS, PRESETS, check_config, preset
from rmr1_lite.training.planning import gpu_memory
from rmr1_lite.training.planning.gpu_memory import (
    GIB,
    SHAPES,
    cache_bytes,
    count_parameters,
    lora_parameters,
    shape_of,
    weight_bytes,
)
from rmr1_lite.training.planning.plan import GPUS, describe_plan, make_plan, smaller_settings
from rmr1_lite.types import InputError

PUBLISHED = [
    ("Qwen/Qwen2.5-1.5B-Instruct", 1_543_714_304),
    ("Qwen/Qwen2.5-3B-Instruct", 3_085_938_688),
    ("Qwen/Qwen2.5-7B-Instruct", 7_615_616_512),
    ("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", 1_777_088_000),
    ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", 7_615_616_512),
    ("Qwen/Qwen3-0.6B", 596_049_920),
    ("Qwen/Qwen3-1.7B", 1_720_574_976),
    ("Qwen/Qwen3-4B", 4_022_468_096),
    ("Qwen/Qwen3-8B", 8_190_735_360),
]


@pytest.mark.parametrize(("name", "count"), PUBLISHED, ids=[row[0] for row in PUBLISHED])
def test_parameters_are_the_published_ones(name, count):
    assert count_parameters(SHAPES[name]) == count


@pytest.fixture(scope="module")
def nano():
    """(loaded nano judge in NF4 with its LoRA, its shape)"""
    from rmr1_lite.models.judge_specs import NANO
    from rmr1_lite.models.loading import load

    return load("nano", trainable=True), shape_of("nano-base", NANO["nano-base"])


def test_weights_are_counted_to_the_byte(nano):
    """Packed values, absmax and its own absmax of every NF4 matrix, and everything else in 32 bits, as
    on a CPU."""
    loaded, shape = nano
    held = 0
    for name, weight in loaded.model.named_parameters():
        if "lora_" in name:
            continue
        held += weight.numel() * weight.element_size()
        state = getattr(weight, "quant_state", None)
        if state is not None:
            held += state.absmax.numel() * state.absmax.element_size() + state.state2.absmax.numel() * 4
    assert held == weight_bytes(shape, half=4)


def test_lora_and_cache_are_counted_to_the_byte(nano):
    import torch

    loaded, shape = nano
    rank = loaded.model.peft_config["default"].r
    trained = sum(p.numel() for n, p in loaded.model.named_parameters() if "lora_" in n)
    assert trained == lora_parameters(shape, rank)
    with torch.no_grad():
        cache = loaded.model(torch.ones(3, 17, dtype=torch.long), use_cache=True).past_key_values
    held = sum(t.numel() * t.element_size() for layer in cache.layers for t in (layer.keys, layer.values))
    assert held == 3 * 17 * cache_bytes(shape, half=4)


@pytest.mark.parametrize("name", presets.preset_names())
def test_every_preset_is_valid_and_fits_its_card(name):
    for stage in CONFIGS:
        check_config(preset(stage, name))
        assert PRESETS[stage][name]["style"] in (("compact",) if name == "smol" else ("rubrics", "reasoning"))
    made = make_plan(preset_name=name)
    assert made.fits and not any(stage.steps for stage in made.stages), describe_plan(made)


def test_the_default_of_a_t4_suits_a_session():
    """SFT on a subset within 90 minutes and GRPO within 3 hours, by the planner's estimate."""
    sft, grpo = make_plan(preset_name="t4-16gb").stages
    assert sft.hours <= 1.5 and grpo.hours <= 3.0


def test_paper_keeps_what_was_published():
    grpo, sft = preset("grpo", "paper"), preset("sft", "paper")
    published = (
        grpo.max_prompt_tokens,
        grpo.max_new_tokens,
        grpo.rollouts,
        grpo.beta,
        grpo.epsilon,
        grpo.temperature,
    )
    assert published == (4096, 8192, 7, 1e-3, 0.2, 1.0) and (sft.max_length, sft.batch_size, sft.epochs) == (
        12288,
        128,
        1.0,
    )


def test_the_ladder_leads_down_until_it_fits_and_says_each_step():
    made = make_plan(gpu="t4", preset_name="paper")
    assert made.fits and all(stage.peak <= 14.56 * GIB for stage in made.stages)
    said = describe_plan(made)
    assert "groups 6 -> 3" in said and "planner estimates" in said
    config = preset("grpo", "paper")
    for _ in range(100):
        rung = next(smaller_settings(config), None)
        if rung is None:
            break
        check_config(rung[0])
        assert rung[0] != config
        config = rung[0]
    assert rung is None, "it ends"


@given(
    st.sampled_from([1, 2, 3, 4, 6, 8, 16]),
    st.sampled_from([2, 4, 6, 7, 8]),
    st.sampled_from([128, 1024]),
    st.data(),
)
def test_every_rung_of_grpo_can_be_trained_and_whole_groups_stay_whole_until_nothing_else_is_left(
    groups, rollouts, tokens, data
):
    total = groups * rollouts
    micro = data.draw(st.sampled_from([n for n in range(1, total + 1) if total % n == 0]))
    config = preset(
        "grpo", "nano", groups=groups, rollouts=rollouts, micro_batch=micro, max_new_tokens=tokens
    )
    rungs = 0
    while rung := next(smaller_settings(config), None):
        smaller, said = rung
        check_config(smaller)
        assert smaller != config and said
        whole, still = (c.micro_batch % c.rollouts == 0 for c in (config, smaller))
        if whole and not still:
            assert "no longer shared" in said
            assert smaller.groups <= 2 and smaller.max_new_tokens <= 384 and smaller.rollouts <= 4
        config, rungs = smaller, rungs + 1
        assert rungs < 100
    assert config.micro_batch == 1


def test_half_a_group_shares_no_prompt_and_takes_more_than_the_group():
    """As Unsloth does: it shares only among whole groups, so the planner must not count one prompt for
    half a group."""
    shape = SHAPES["Qwen/Qwen2.5-3B-Instruct"]
    whole, half = (gpu_memory.grpo_need(shape, 32, 4096, 512, 4, 8, micro)[1].peak for micro in (8, 4))
    assert half > whole


def test_rollouts_are_written_with_a_prompt_each_whatever_the_training_pass_shares():
    """`generate` has no groups: eight rows of a group hold its prompt eight times, in the cache and in the
    first pass."""
    shape = SHAPES["Qwen/Qwen2.5-7B-Instruct"]
    writing = gpu_memory.grpo_need(shape, 32, 1536, 512, 1, 8, 8)[0].parts
    assert writing["cache"] == 8 * (1536 + 512) * cache_bytes(shape)
    assert writing["first pass over the prompts"] > 8 * 1536 * 2 * 3 * shape.mlp


def test_longer_and_larger_never_takes_less():
    shape = SHAPES["Qwen/Qwen2.5-3B-Instruct"]
    small = gpu_memory.grpo_need(shape, 16, 1024, 512, 4, 8, 4)
    for change in (
        (32, 1024, 512, 4, 8, 4),
        (16, 2048, 512, 4, 8, 4),
        (16, 1024, 1024, 4, 8, 4),
        (16, 1024, 512, 8, 8, 4),
    ):
        for before, after in zip(small, gpu_memory.grpo_need(shape, *change), strict=True):
            assert after.peak >= before.peak


WRONG = [
    ({"gpu": "t5"}, "t4"),
    ({"gpu": "t4", "preset_name": "t4"}, "t4-16gb"),
    ({"gpu": "t4", "model": "owner/other"}, "config.json"),
]


@pytest.mark.parametrize(("asked", "said"), WRONG, ids=[row[1] for row in WRONG])
def test_unknown_names_list_the_choices(asked, said):
    with pytest.raises(InputError, match=said):
        make_plan(**asked)


def test_every_card_has_a_half_type_that_it_can_compute_with():
    assert GPUS["t4"].half == "fp16" and GPUS["l4"].half == "bf16"


def test_the_command_prints_a_plan_and_presets_give_way_to_what_is_typed(tmp_path):
    environment = {**os.environ, "COLUMNS": "200", "OMP_NUM_THREADS": "1"}

    def command(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "rmr1_lite", *arguments],
            capture_output=True,
            text=True,
            env=environment,
            cwd=tmp_path,
        )

    done = command("plan", "--gpu", "t4", "--model", "qwen2.5-3b", "--preset", "t4-16gb:qwen2.5-3b")
    assert done.returncode == 0 and "fits" in done.stdout and "KiB of cache per token" in done.stdout
    assert command("sft", "--preset", "t5", "--chains", "x").returncode == 1
    (tmp_path / "a.jsonl").write_text("")
    done = command("grpo", "--preset", "t4-16gb", "--micro-batch", "7", "--pairs", "a.jsonl")
    assert done.returncode == 1 and "groups x rollouts is 32, not a multiple of micro_batch 7" in done.stderr

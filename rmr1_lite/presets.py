"""Settings that fit a card: `t4-16gb` and `l4-24gb` by model, `paper`, RM-R1's own lengths on one 80 GB card,
and `smol`, a real language model of 135 M parameters for machines without one.

Lengths, groups and micro-batches follow from the planner's formulas (`python -m rmr1_lite plan`); learning
rates are ours, since LoRA needs larger ones than the paper's full-parameter training. Results on a
card are in docs/gpu.md.

    preset name     t4-16gb, l4-24gb (the card's smallest useful model), or CARD:MODEL like
                    t4-16gb:qwen2.5-3b
"""

from __future__ import annotations

from typing import Any

# short name -> (hub id, prompt style)
MODELS: dict[str, tuple[str, str]] = {
    "qwen2.5-1.5b": ("Qwen/Qwen2.5-1.5B-Instruct", "rubrics"),
    "qwen2.5-3b": ("Qwen/Qwen2.5-3B-Instruct", "rubrics"),
    "qwen2.5-7b": ("Qwen/Qwen2.5-7B-Instruct", "rubrics"),
    "r1-distill-1.5b": ("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", "reasoning"),
    "r1-distill-7b": ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "reasoning"),
    "qwen3-0.6b": ("Qwen/Qwen3-0.6B", "rubrics"),
    "qwen3-1.7b": ("Qwen/Qwen3-1.7B", "rubrics"),
    "qwen3-4b": ("Qwen/Qwen3-4B", "rubrics"),
    "qwen3-8b": ("Qwen/Qwen3-8B", "rubrics"),
}
# the same weights, stored in NF4: a third of the download and of the host memory. Named by their publishers'
# pattern; not tested
PREQUANTISED = {hub_id: f"unsloth/{hub_id.partition('/')[2]}-bnb-4bit" for hub_id, _ in MODELS.values()}
DEFAULT_MODEL = {"t4-16gb": "qwen2.5-1.5b", "l4-24gb": "qwen2.5-3b"}
# the demo's defaults for smol-base, which generates fifty times as slowly as nano
SMOL_DEMO = {"steps": 8, "epochs": 3.0, "test_pairs": 30, "train_pairs": 300}
SMOL_DEMO_MINUTES = "20 to 40 minutes on two cores, a few on a GPU"
CARD_GPU = {"t4-16gb": "t4", "l4-24gb": "l4", "paper": "h100", "smol": "t4"}

_COMMON = {
    "gradient_checkpointing": True,
    "lora_r": 32,
    "lora_alpha": 64,
    "weight_decay": 0.0,
    "probe_pairs": 40,
    "save_minutes": 10.0,
}
_SFT = {**_COMMON, "lr": 1e-4, "epochs": 1.0, "save_every": 25}
_GRPO = {
    **_COMMON,
    "lr": 1e-5,
    "warmup_steps": 5,
    "temperature": 1.0,
    "beta": 0.0,
    "scale_rewards": "group",
    "lr_schedule": "constant",
    "screen_pairs": 0,
    "save_every": 10,
    "probe_every": 50,
}
# A micro-batch of GRPO is one whole group, so that its prompt can be computed once.
# card -> model -> (SFT length, SFT micro-batch, SFT chains, prompt, completion, groups, rollouts, GRPO
# micro-batch, steps)
SIZES: dict[str, dict[str, tuple[int, ...]]] = {
    "t4-16gb": {
        "qwen2.5-1.5b": (3072, 2, 4000, 2048, 768, 4, 8, 8, 90),
        "r1-distill-1.5b": (3072, 2, 4000, 2048, 1024, 4, 8, 8, 65),
        "qwen2.5-3b": (2560, 1, 2500, 2048, 640, 4, 8, 8, 70),
        "qwen2.5-7b": (2048, 1, 1200, 1280, 512, 4, 4, 4, 60),
        "r1-distill-7b": (2048, 1, 1200, 1280, 768, 4, 4, 4, 50),
        "qwen3-0.6b": (4096, 2, 6000, 2048, 768, 4, 8, 8, 90),
        "qwen3-1.7b": (3072, 2, 4000, 2048, 768, 4, 6, 6, 80),
        "qwen3-4b": (2560, 1, 1800, 1280, 512, 4, 6, 6, 70),
        "qwen3-8b": (1536, 1, 1000, 1024, 384, 4, 4, 4, 50),
    },
    "l4-24gb": {
        "qwen2.5-1.5b": (4096, 2, 8700, 3072, 1024, 6, 8, 8, 150),
        "r1-distill-1.5b": (4096, 2, 8700, 3072, 1536, 4, 8, 8, 110),
        "qwen2.5-3b": (4096, 2, 5000, 3072, 1024, 4, 8, 8, 110),
        "qwen2.5-7b": (4096, 1, 2500, 2048, 768, 4, 6, 6, 70),
        "r1-distill-7b": (4096, 1, 2500, 2048, 1024, 4, 6, 6, 60),
        "qwen3-0.6b": (4096, 4, 8700, 3072, 1024, 4, 8, 8, 150),
        "qwen3-1.7b": (4096, 2, 8700, 2048, 1024, 4, 8, 8, 130),
        "qwen3-4b": (4096, 1, 4000, 2048, 768, 4, 6, 6, 90),
        "qwen3-8b": (4096, 1, 2500, 2048, 768, 4, 4, 4, 70),
    },
}


def for_memory(gib: float) -> str:
    """The preset for a card with this much memory."""
    return "t4-16gb" if gib < 20 else "l4-24gb"


def preset_names() -> list[str]:
    """Every preset name but nano."""
    cards = [f"{card}:{model}" for card, models in SIZES.items() for model in models]
    return [*SIZES, *cards, "paper", "smol"]


def preset_settings(stage: str, name: str) -> dict[str, Any]:
    """What differs from the config's defaults; KeyError for an unknown name."""
    if name in ("paper", "smol"):
        return _paper(stage) if name == "paper" else _smol(stage)
    card, _, model = name.partition(":")
    model = model or DEFAULT_MODEL[card]
    length, micro, chains, prompt, completion, groups, rollouts, grpo_micro, steps = SIZES[card][model]
    style = MODELS[model][1]
    if stage == "sft":
        return {
            **_SFT,
            "model": MODELS[model][0],
            "style": style,
            "max_length": length,
            "micro_batch": micro,
            "batch_size": 16,
            "limit": chains,
            "max_new_tokens": completion,
        }
    # the reasoning family has no SFT stage: the paper trains it by RL alone
    start = {"model": MODELS[model][0]} if style == "reasoning" else {}
    return {
        **_GRPO,
        **start,
        "style": style,
        "max_prompt_tokens": prompt,
        "max_new_tokens": completion,
        "groups": groups,
        "rollouts": rollouts,
        "micro_batch": grpo_micro,
        "steps": steps,
    }


def _smol(stage: str) -> dict[str, Any]:
    """smol-base on two cores without a GPU: few tokens at a time, small counts."""
    common = {
        "four_bit": False,
        "style": "compact",
        "max_new_tokens": 200,
        "probe_pairs": 10,
        "save_every": 20,
        "save_minutes": 10.0,
    }
    if stage == "sft":
        return {
            **common,
            "model": "smol-base",
            "lr": 4e-4,
            "epochs": 1.0,
            "max_length": 1024,
            "batch_size": 16,
            "micro_batch": 4,
        }
    return {
        **common,
        "lr": 1e-4,
        "warmup_steps": 3,
        "steps": 40,
        "groups": 4,
        "rollouts": 4,
        "micro_batch": 16,
        "max_prompt_tokens": 800,
        "scale_rewards": "group",
        "max_truncated": 0.6,
    }


def _paper(stage: str) -> dict[str, Any]:
    """RM-R1's lengths, group, KL, clipping and temperature as published (7B); rank and learning rates are
    ours, because they are LoRA's.

    A step in the paper holds 1,024 prompts (8 updates of 128); one card generates rollouts for 6 at a time.
    """
    model = MODELS["qwen2.5-7b"][0]
    if stage == "sft":
        return {
            **_SFT,
            "model": model,
            "style": "rubrics",
            "max_length": 12288,
            "batch_size": 128,
            "micro_batch": 1,
            "lora_r": 64,
            "lora_alpha": 128,
            "max_new_tokens": 8192,
        }
    return {
        **_GRPO,
        "style": "rubrics",
        "max_prompt_tokens": 4096,
        "max_new_tokens": 8192,
        "groups": 6,
        "rollouts": 7,
        "micro_batch": 7,
        "beta": 1e-3,
        "epsilon": 0.2,
        "loss_type": "grpo",
        "lora_r": 64,
        "lora_alpha": 128,
        "steps": 500,
    }

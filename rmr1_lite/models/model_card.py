"""The model card (README.md) of an adapter folder: after a training, and as shipped with the package."""

from __future__ import annotations

HEAD = "---\nlibrary_name: peft\n---\n# {title}\n\n{text}\n"
TITLES = {"sft": "RM-R1 judge, LoRA adapter after SFT", "grpo": "RM-R1 judge, LoRA adapter after GRPO"}
STAGES = {"sft": "SFT on distilled chains", "grpo": "GRPO, reward +1 / -1 by verdict match"}
SHIPPED_TITLES = {
    "sft": "RM-R1 judge after SFT on distilled chains",
    "grpo": "RM-R1 judge after GRPO with the verdict-match reward",
}


def trained_card(stage: str, base: str, style: str) -> str:
    """The card of an adapter that a training has just made. stage: "sft" or "grpo"."""
    text = (
        f"Made by rmr1_lite (stage: {STAGES[stage]}). Base: `{base}`. Prompt style: `{style}`.\n"
        "Load it with `rmr1_lite.models.load(folder)`; settings and versions are in the run's config.json.\n"
        "Where the base's chat template has a thinking switch, this folder's tokenizer has it set as it was "
        "trained."
    )
    return HEAD.format(title=TITLES[stage], text=text)


def shipped_card(stage: str, spec: str, command: str, strict: float, n: int) -> str:
    """The card of a nano adapter in the package. strict: its strict accuracy in [0, 1] on `n` unseen
    pairs."""
    text = (
        f"A LoRA adapter on `nano-base`, made by rmr1_lite and shipped with it as `{spec}`. It judges the "
        "nano world's\n"
        f"questions and no others. Training: `{command}`; settings and versions are in run.json. Tensors "
        "are rounded to\n"
        f"half precision. Before the rounding it was right in both orders on {strict:.1%} of {n} unseen "
        "nano pairs\n"
        "(greedy, strict reading)."
    )
    return HEAD.format(title=SHIPPED_TITLES[stage], text=text)

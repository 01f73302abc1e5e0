"""The model card (README.md) of an adapter folder: after a training, as shipped in the package, and with
the judge's bias card once it was measured."""

from __future__ import annotations

import re
from pathlib import Path

from rmr1_lite.models.adapters import is_adapter
from rmr1_lite.models.bias_card import FILE, BiasCard, write_card
from rmr1_lite.models.judge_specs import local_folder
from rmr1_lite.storage import atomic_write_text
from rmr1_lite.types import InputError

HEAD = "---\nlibrary_name: peft\n---\n# {title}\n\n{text}\n"
TITLES = {"sft": "RM-R1 judge, LoRA adapter after SFT", "grpo": "RM-R1 judge, LoRA adapter after GRPO"}
STAGES = {"sft": "SFT on distilled chains", "grpo": "GRPO, reward +1 / -1 by verdict match"}
SHIPPED_TITLES = {
    "sft": "RM-R1 judge after SFT on distilled chains",
    "grpo": "RM-R1 judge after GRPO with the verdict-match reward",
}


def base_line(base: str, four_bit: bool | None) -> str:
    """Over which weights of its base an adapter's figures hold. four_bit: of the training, None: unknown."""
    if four_bit is None:
        return (
            f"Nothing says whether it was trained over {base} in 4 bits: its figures hold only over the "
            "weights that it was trained over."
        )
    if not four_bit:
        return f"Trained over {base} as it is stored: its figures hold over these weights."
    return (
        f"Trained over {base} in 4 bits (NF4): its figures hold over these weights, also dequantised "
        "(`python -m rmr1_lite export --to base` or `--to merged` writes them). Over the original 16-bit "
        "weights some verdicts differ."
    )


def trained_card(stage: str, base: str, style: str, four_bit: bool) -> str:
    """The card of an adapter that a training has just made. stage: "sft" or "grpo". four_bit: over a base in
    4 bits."""
    text = (
        f"Made by rmr1_lite (stage: {STAGES[stage]}). Base: `{base}`. Prompt style: `{style}`.\n"
        "Load it with `rmr1_lite.models.load(folder)`; settings and versions are in the run's config.json.\n"
        f"{base_line(f'`{base}`', four_bit)}\n"
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
        "(greedy, strict reading).\n"
        f"{base_line('`nano-base`', True)}"
    )
    return HEAD.format(title=SHIPPED_TITLES[stage], text=text)


_BEGIN, _END = "<!-- bias card -->", "<!-- end of the bias card -->"


def attachable(spec: str) -> Path:
    """The adapter folder that this judge's bias card can be written into. Raises InputError if there is
    none."""
    remote = spec.startswith(("openai:", "replay:"))
    folder = None if remote else local_folder(spec)
    if folder is None or not is_adapter(folder):
        raise InputError(
            f"{spec} is not an adapter folder on this machine. Leave --attach out; the card is in --out."
        )
    return folder


def attach_bias_card(card: BiasCard, folder: Path) -> Path:
    """Write the card into an adapter folder, and as a section into its README.md, where it replaces
    an earlier one. Returns the README."""
    write_card(card, folder / FILE)
    path = folder / "README.md"
    readme = path.read_text(encoding="utf-8") if path.is_file() else ""
    atomic_write_text(path, with_bias_card(readme, card))
    return path


def with_bias_card(readme: str, card: BiasCard) -> str:
    """The text of a README with the card at the place of an earlier one, else at its end."""
    others = re.sub(rf"\n*{_BEGIN}.*?{_END}\n*", "\n", readme, flags=re.DOTALL).rstrip("\n")
    return f"{others}\n\n{_BEGIN}\n{card.markdown()}{_END}\n".lstrip("\n")

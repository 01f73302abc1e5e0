"""The shipped judge `nano` as files that other servers read: a merged model in 32 bits, and a GGUF of it."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LLAMA = ROOT / ".venv-llama"


@dataclass(frozen=True)
class Exports:
    """merged: folder of safetensors. gguf: one file with the same weights."""

    merged: Path
    gguf: Path


def export_nano(folder: Path) -> Exports:
    """Write both into `folder`."""
    merged = merged_nano(folder / "merged")
    return Exports(merged, gguf_of(merged, folder / "nano-f32.gguf"))


def merged_nano(folder: Path) -> Path:
    """The adapter added into the dequantised NF4 base.

    The base in 16 bits is not the one that the adapter was trained on: merged into it, one text in ten
    changes.
    """
    from rmr1_lite.models.judge_specs import NANO
    from rmr1_lite.models.loading import load
    from rmr1_lite.models.merged_copy import MergedCopy

    MergedCopy(load("nano").model).model.float().save_pretrained(folder)
    # settings and tokenizer stay byte for byte as the base has them: saved anew, older servers misread them
    for path in NANO["nano-base"].iterdir():
        if path.name not in ("model.safetensors", "recipe.json"):
            shutil.copy(path, folder)
    return folder


def gguf_of(merged: Path, file: Path) -> Path:
    """llama.cpp's own converter, in a separate environment."""
    script = Path(__file__).parent / "convert_nano.py"
    command = [str(LLAMA / "bin" / "python"), str(script), str(LLAMA / "source"), str(merged)]
    done = subprocess.run(
        [*command, "--outtype", "f32", "--outfile", str(file)], capture_output=True, text=True
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return file

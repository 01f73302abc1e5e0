"""The shipped judge `nano` as exported folders in 32 bits: merged, a GGUF, and an adapter over its base."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmr1_lite.config import NANO_TOKENS
from rmr1_lite.integrations.programs import find_converter
from rmr1_lite.models.adapters import fingerprint_of
from rmr1_lite.models.exports import ExportInfo, write_export
from rmr1_lite.models.judge_specs import NANO

CONTEXT = 768  # nano's


@dataclass(frozen=True)
class Exports:
    """Exported folders. merged: safetensors. gguf: one file with the same weights. lora: for vLLM."""

    merged: Path
    gguf: Path
    lora: Path


def export_nano(folder: Path) -> Exports:
    """Write all three into `folder`."""
    merged = merged_nano(folder / "merged")
    return Exports(merged, gguf_of(merged, folder / "gguf"), lora_nano(folder / "lora"))


def merged_nano(folder: Path) -> Path:
    """The adapter added into the dequantised NF4 base.

    The base in 16 bits is not the one that the adapter was trained on: merged into it, one text in ten
    changes.
    """
    from rmr1_lite.models.loading import load

    _save(load("nano").model, folder)
    write_export(folder, info("merged"))
    return folder


def lora_nano(folder: Path) -> Path:
    """The adapter as it is, and the dequantised base that it belongs over."""
    from rmr1_lite.models.loading import load

    model = load("nano").model
    with model.disable_adapter():
        _save(model, folder / "base")
    shutil.copytree(NANO["nano"], folder / "adapter")
    write_export(folder, info("vllm", model="base", adapter="adapter"))
    return folder


def gguf_of(merged: Path, folder: Path) -> Path:
    """llama.cpp's own converter, in a separate environment."""
    folder.mkdir()
    script, converter = Path(__file__).parent / "convert_nano.py", find_converter()
    command = [converter.python, str(script), str(converter.source), str(merged)]
    done = subprocess.run(
        [*command, "--outtype", "f32", "--outfile", str(folder / "judge.gguf")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    write_export(folder, info("gguf", model="judge.gguf"))
    return folder


def info(form: str, **places: str) -> ExportInfo:
    return ExportInfo(
        form=form,
        source="nano",
        base="nano-base",
        fingerprint=fingerprint_of("nano-base"),
        base_weights="dequantised",
        style="compact",
        thinking="",
        number_type="fp32",
        context=CONTEXT,
        max_new_tokens=NANO_TOKENS,
        name="judge",
        **places,
    )


def _save(model: Any, folder: Path) -> None:
    from rmr1_lite.models.merged_copy import MergedCopy

    MergedCopy(model).model.float().save_pretrained(folder)
    # settings and tokenizer stay byte for byte as the base has them: saved anew, older servers misread them
    for path in NANO["nano-base"].iterdir():
        if path.name not in ("model.safetensors", "recipe.json"):
            shutil.copy(path, folder)

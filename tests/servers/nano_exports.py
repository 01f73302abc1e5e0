"""The shipped judge `nano` as exported folders in 32 bits: merged, a GGUF, and an adapter over its base."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rmr1_lite.integrations.export.export import export_judge
from rmr1_lite.integrations.export.request import ExportRequest

CONTEXT = 768  # nano's


@dataclass(frozen=True)
class Exports:
    """Exported folders. merged: safetensors. gguf: one file with the same weights. lora: for vLLM."""

    merged: Path
    gguf: Path
    lora: Path


def export_nano(folder: Path) -> Exports:
    """Write all three into `folder`. The tests are the gate."""
    return Exports(
        written(folder / "merged", "merged", "fp32"),
        written(folder / "gguf", "gguf", "f32"),
        written(folder / "lora", "vllm", "fp32"),
    )


def written(folder: Path, form: str, number_type: str) -> Path:
    """nano in one form, under the name "judge"."""
    return export_judge(ExportRequest("nano", form, folder, number_type, gate="off", name="judge")).folder

"""The export that `serve` makes of an adapter or a model that was not exported yet."""

from __future__ import annotations

from pathlib import Path

from rmr1_lite.types import InputError


def export_command(spec: str, form: str, out: str = "FOLDER") -> str:
    """What to type for an export in a form."""
    return f"python -m rmr1_lite export {spec} --to {form} --out {out}"


def export_for_serving(spec: str, engine: str, out: Path) -> Path:
    """Export what `spec` names into `out`, in the form that the engine serves. Returns the folder."""
    form = {"vllm": "vllm", "llama.cpp": "gguf"}.get(engine, "merged")
    raise InputError(f"{spec} is not exported. Export it first: {export_command(spec, form, str(out))}")

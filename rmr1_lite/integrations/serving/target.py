"""What is to be served, and with which engine: an exported folder, a GGUF file, or a spec that must be
exported first.

Everything that can be known from names and small files is refused here, before a server loads for minutes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rmr1_lite.config import OTHER_TOKENS
from rmr1_lite.integrations.serving.commands import ENGINES
from rmr1_lite.integrations.serving.model_files import check_gguf, check_model
from rmr1_lite.models.adapters import fingerprint_of, is_adapter
from rmr1_lite.models.exports import FILE, ExportInfo, read_export
from rmr1_lite.models.judge_specs import NANO, parse_spec
from rmr1_lite.types import InputError

# a model's own limit is often far more than prompts need, and its cache is reserved at the start
USUAL_CONTEXT = 16384
GGUF = "gguf"


@dataclass(frozen=True)
class Target:
    """A judge whose files are there. model: folder or GGUF file. adapter: the LoRA folder to put over it, of
    this rank. limit: the model's own context, 0 if unknown. nano: whether it knows the nano world alone.
    trained_style: "" if unknown."""

    form: str
    source: str
    model: Path
    name: str
    number_type: str
    style: str
    reading: str
    thinking: str
    max_new_tokens: int
    limit: int = 0
    adapter: Path | None = None
    rank: int = 0
    nano: bool = False
    trained_style: str = ""


def find_target(judge: str, style: str = "auto", reading: str = "auto", name: str = "") -> Target | None:
    """The judge at a path, None for a spec that must be exported first. Raises InputError with the remedy."""
    path = Path(judge)
    if path.suffix.lower() == ".gguf" and not path.is_dir():
        return _from_file(path, style, reading, name)
    if path.is_dir() and (info := read_export(path)) is not None:
        return _as_asked(_from_export(path, info), style, reading, name)
    is_model = (path / "config.json").is_file() or is_adapter(path)
    if path.is_dir() and sorted(path.glob("*.gguf")) and not is_model:
        raise InputError(
            f"{path} has GGUF files but no {FILE}: the export is unfinished, or they are not of this kit. "
            "Export it again, or give one of the files with --style."
        )
    if not parse_spec(judge).runs_here:
        raise InputError(f"{judge} is served already. Give a folder, a GGUF file or a model's spec.")
    return None


def check_files(target: Target) -> None:
    """Raises InputError for weights or a chat template that are missing."""
    if target.model.suffix.lower() == ".gguf":
        check_gguf(target.model)
    else:
        check_model(target.model)


def choose_engine(asked: str, form: str | None, card: bool, vllm: bool) -> tuple[str, str]:
    """(engine, why). form: None where the export will be made to fit. vllm: whether it is installed."""
    if asked != "auto":
        return asked, "as asked"
    if form in ENGINES["llama.cpp"].forms:
        return "llama.cpp", "it is a GGUF file"
    if form == "vllm":
        return "vllm", "an adapter over its base is served by vLLM alone"
    if card and vllm:
        return "vllm", "there is a card, and vLLM is installed"
    return "transformers", "there is no NVIDIA card" if not card else "vLLM was not found"


def check_engine(engine: str, target: Target) -> None:
    """Raises InputError for a form that the engine cannot serve."""
    if target.form in ENGINES[engine].forms:
        return
    able = next(name for name, each in ENGINES.items() if target.form in each.forms)
    raise InputError(
        f"{engine} cannot serve the form {target.form!r}. Take --engine {able}, or export the judge again: "
        f"python -m rmr1_lite export {target.source} --to {ENGINES[engine].export_as} --out FOLDER"
    )


def settle_context(asked: int | None, target: Target) -> int:
    """Tokens of one request. Raises InputError where prompt and chain cannot fit, or beyond the model."""
    context = asked or min(target.limit or USUAL_CONTEXT, USUAL_CONTEXT)
    if context <= target.max_new_tokens:
        raise InputError(
            f"A context of {context} tokens leaves no room for a prompt: the judge's chain alone may have "
            f"{target.max_new_tokens}. Give a larger --context."
        )
    if target.limit and context > target.limit:
        raise InputError(f"--context {context} is more than the model's {target.limit}. Give less.")
    return context


def has_card(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether there is an NVIDIA card that the server may use."""
    if environment.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return False
    program = shutil.which("nvidia-smi")
    if not program:
        return False
    try:
        listed = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return listed.returncode == 0 and "GPU" in listed.stdout


def reusable(folder: Path, spec: str, form_names: tuple[str, ...]) -> ExportInfo | None:
    """An earlier export of the same weights in a form that fits, None where there is nothing yet. Raises
    InputError for a folder that holds something else."""
    info = read_export(folder)
    if info is None:
        return None
    why = ""
    if info.source.rstrip("/") != spec.rstrip("/") or info.form not in form_names:
        why = f"is an export of {info.source} ({info.form})"
    elif info.fingerprint != fingerprint_of(info.base):
        why = f"was made from other weights than {info.base} has now"
    elif _newest(parse_spec(spec).folder) > (folder / FILE).stat().st_mtime:
        why = f"is older than {spec}"
    if why:
        raise InputError(f"{folder} {why}. Remove it, or give another --export-to.")
    return info


def _newest(folder: Path | None) -> float:
    """The time of the last change of a folder's weights. The shipped ones change with an installation."""
    if folder is None or folder in NANO.values():
        return 0.0
    return max((path.stat().st_mtime for path in folder.glob("*.safetensors")), default=0.0)


def _from_export(folder: Path, info: ExportInfo) -> Target:
    adapter = (folder / info.adapter).resolve() if info.adapter else None
    return Target(
        form=info.form,
        source=info.source,
        model=(folder / info.model).resolve(),
        name=info.name,
        number_type=info.number_type,
        style=info.style or "auto",
        trained_style=info.style,
        reading=info.reading,
        thinking=info.thinking if info.thinking in ("on", "off") else "auto",
        max_new_tokens=info.max_new_tokens,
        limit=info.context,
        adapter=adapter,
        rank=_rank(adapter) if adapter else 0,
        nano=info.base in NANO,
    )


def _as_asked(found: Target, style: str, reading: str, name: str) -> Target:
    """With what the user chose in place of the judge's own."""
    return replace(
        found,
        style=found.style if style == "auto" else style,
        reading=found.reading if reading == "auto" else reading,
        name=name or found.name,
    )


def _from_file(path: Path, style: str, reading: str, name: str) -> Target:
    """A GGUF file: what its export says where it lies in one, else what the user says."""
    if not path.is_file():
        raise InputError(f"{path} does not exist. Give the path of a GGUF file.")
    for folder in list(path.resolve().parents)[:4]:
        info = read_export(folder)
        if info is not None and (folder / info.model).resolve() == path.resolve():
            return _as_asked(_from_export(folder, info), style, reading, name)
    if style == "auto":
        raise InputError(
            f"{path} does not say which prompts it knows. Give --style rubrics, reasoning or compact."
        )
    return Target(
        form=GGUF,
        source=str(path),
        model=path.resolve(),
        name=name or re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-") or "judge",
        number_type="",
        style=style,
        reading="lenient" if reading == "auto" else reading,
        thinking="auto",
        max_new_tokens=OTHER_TOKENS,
    )


def _rank(adapter: Path) -> int:
    """The largest rank in an adapter. Raises InputError for a folder without one."""
    try:
        config = json.loads((adapter / "adapter_config.json").read_bytes())
        return max([int(config["r"]), *map(int, (config.get("rank_pattern") or {}).values())])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{adapter}: adapter_config.json names no rank. Export the judge again.") from None

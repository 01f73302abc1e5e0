"""What verl's model_merger left, checked against the model that was trained, before anything is loaded.

A LoRA of another model may load without an error and judge nonsense, so every tensor's name and shape is
compared.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmr1_lite.integrations.export.request import check_plain_lora
from rmr1_lite.integrations.verl.request import MODEL
from rmr1_lite.models.adapters import CONFIG, WEIGHTS, is_adapter
from rmr1_lite.types import InputError

LORA = "lora_adapter"  # where model_merger puts it
PREFIX = "base_model.model."
_NAME = re.compile(r"(?P<layer>.+)\.lora_(?P<part>[AB])\.weight")
MERGE = "python -m verl.model_merger merge --backend fsdp --local_dir {} --target_dir MERGED"


@dataclass(frozen=True)
class Checkpoint:
    """folder: of the adapter's files. config: its adapter_config.json. rank: of its matrices. targets: last
    names of the layers that it changes."""

    folder: Path
    config: dict[str, Any]
    rank: int
    alpha: int
    targets: tuple[str, ...]


def read_checkpoint(given: Path, model: Path, alpha: int | None) -> Checkpoint:
    """Find the adapter and compare it with the model. alpha: for a checkpoint that does not hold it. Raises
    InputError."""
    folder = _adapter_folder(given)
    config = json.loads((folder / CONFIG).read_bytes())
    check_plain_lora(folder)
    lora = _lora_shapes(folder / WEIGHTS)
    rank = _check_rank(folder, config, lora)
    targets = _check_layers(folder, lora, model)
    return Checkpoint(folder, config, rank, _settle_alpha(folder, config, alpha), targets)


def _adapter_folder(given: Path) -> Path:
    if not given.is_dir():
        raise InputError(f"{given} does not exist. Give the output folder of verl's model_merger.")
    for folder in (given / LORA, given):
        if is_adapter(folder):
            missing = [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]
            if missing:
                raise InputError(f"{folder}: {', '.join(missing)} is missing. Run model_merger again.")
            return folder
    actor = next((each for each in (given, given / "actor") if any(each.glob("model_world_size_*.pt"))), None)
    if actor is not None:
        raise InputError(
            f"{actor} is a checkpoint in shards. Merge it first, where verl is: {MERGE.format(actor)}"
        )
    raise InputError(
        f"{given} has no {LORA} folder: it holds no LoRA. Give the output folder of verl's model_merger "
        f"for a "
        "run with LORA_RANK above 0."
    )


def _lora_shapes(path: Path) -> dict[str, dict[str, tuple[int, ...]]]:
    """layer -> {"A": shape, "B": shape}. Raises InputError for tensors that are no LoRA."""
    found: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, shape in tensor_shapes(path).items():
        match = _NAME.fullmatch(name.removeprefix(PREFIX))
        if match is None:
            raise InputError(f"{path}: {name} is not a matrix of a LoRA. Run model_merger again.")
        found.setdefault(match["layer"], {})[match["part"]] = shape
    if halves := [layer for layer, parts in found.items() if len(parts) != 2]:
        raise InputError(f"{path}: {halves[0]} has only one of its two matrices. Run model_merger again.")
    if not found:
        raise InputError(f"{path} holds no tensor. Run model_merger again.")
    return found


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes in a safetensors file, without reading its numbers."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
    except SafetensorError as error:
        raise InputError(f"{path} cannot be read ({error}). Copy the file again.") from None


def _check_rank(folder: Path, config: dict[str, Any], lora: dict[str, dict[str, tuple[int, ...]]]) -> int:
    ranks = {rank for parts in lora.values() for rank in (parts["A"][0], parts["B"][1])}
    if len(ranks) != 1 or config.get("r") not in ranks:
        raise InputError(
            f"{folder}: the matrices have rank {', '.join(map(str, sorted(ranks)))}, and {CONFIG} says r is "
            f"{config.get('r')}. Files of different runs are mixed: run model_merger again."
        )
    return ranks.pop()


def _check_layers(folder: Path, lora: dict[str, dict[str, tuple[int, ...]]], model: Path) -> tuple[str, ...]:
    """Last names of the changed layers. Raises InputError for a LoRA of another model."""
    weights = {
        name.removesuffix(".weight"): shape
        for path in sorted(model.glob("*.safetensors"))
        for name, shape in tensor_shapes(path).items()
        if name.endswith(".weight") and len(shape) == 2
    }
    for layer, parts in lora.items():
        if layer not in weights:
            raise InputError(f"{folder} was trained on another model: {model} has no layer {layer}. {WHICH}")
        held = (parts["B"][0], parts["A"][1])
        if held != weights[layer]:
            raise InputError(
                f"{folder} was trained on another model: {layer} is {_size(held)} there and "
                f"{_size(weights[layer])} in {model}. {WHICH}"
            )
    targets = {layer.rpartition(".")[2] for layer in lora}
    wanted = {layer for layer in weights if layer.rpartition(".")[2] in targets}
    if missing := sorted(wanted - lora.keys()):
        raise InputError(
            f"{folder} was trained on another model, or is incomplete: {len(missing)} layers of {model} "
            f"are not "
            f"in it, {missing[0]} is one. {WHICH}"
        )
    return tuple(sorted(targets))


WHICH = f"Give the folder with the {MODEL}/ that run.sh trained."


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _settle_alpha(folder: Path, config: dict[str, Any], given: int | None) -> int:
    held = config.get("lora_alpha") or 0
    if held and given is not None and given != held:
        raise InputError(
            f"{folder / CONFIG} says lora_alpha is {held}, --alpha {given}. Leave --alpha out: it is for "
            "checkpoints that do not hold it."
        )
    if not held and given is None:
        raise InputError(
            f"{folder / CONFIG}: lora_alpha is {config.get('lora_alpha')}, as verl's merger writes where the "
            "checkpoint does not hold it; the adapter would change nothing. Give --alpha, LORA_ALPHA of "
            "run.sh."
        )
    return held or given or 0

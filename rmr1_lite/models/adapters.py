"""What an adapter folder must hold, checked before anything slow is loaded. Standard library only.

Next to PEFT's files our folders have `rmr1_lite.json`: the base it was trained on, a fingerprint of
that base's weights, and the prompt style. An adapter on the wrong base loads without an error and produces
nonsense, so the fingerprint is compared first.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rmr1_lite.config import NANO_TOKENS, OTHER_TOKENS, SMOL_TOKENS
from rmr1_lite.models import smol
from rmr1_lite.models.exports import ExportInfo, read_export
from rmr1_lite.models.judge_specs import NANO, local_folder, parse_spec
from rmr1_lite.models.thinking import AS_SAVED
from rmr1_lite.storage import write_json
from rmr1_lite.types import InputError

CONFIG, WEIGHTS, INFO = "adapter_config.json", "adapter_model.safetensors", "rmr1_lite.json"
_SAMPLE = 1 << 20  # bytes read at both ends of a weight file


@dataclass(frozen=True)
class AdapterInfo:
    """base: what to load below the adapter. fingerprint: of the base's weights, "" when it is not a local
    folder. thinking: "on" or "off" where the base's chat template has such a switch. four_bit: whether the
    base's layers were in 4 bits during the training, None when nothing says so: the figures of an adapter
    hold over those weights, and over the original ones some verdicts differ."""

    base: str
    style: str
    fingerprint: str = ""
    stage: str = ""
    thinking: str = ""
    four_bit: bool | None = None


def is_adapter(folder: Path) -> bool:
    """Whether a folder is meant to be an adapter: it has at least one adapter file and no base model's
    config."""
    return not (folder / "config.json").exists() and any(
        (folder / name).exists() for name in (CONFIG, WEIGHTS, INFO)
    )


def default_max_new_tokens(spec: str) -> int:
    """The default limit of a judge's tokens: an exported one says its own, also below an adapter; the
    embedded ones write short chains, others up to 2,048."""
    info = adapter_info(spec)
    if (export := export_info(info.base if info else spec)) is not None:
        return export.max_new_tokens
    return NANO_TOKENS if is_nano(spec) else SMOL_TOKENS if is_smol(spec) else OTHER_TOKENS


def is_nano(spec: str) -> bool:
    """Whether a spec names a nano model or an adapter on one. Raises InputError for a path that does not
    exist."""
    return spec in NANO or (info := adapter_info(spec)) is not None and info.base in NANO


def is_smol(spec: str) -> bool:
    """Whether a spec names smol or an adapter on it. Raises InputError for a missing path."""
    return spec == smol.NAME or (info := adapter_info(spec)) is not None and info.base == smol.NAME


def adapter_info(spec: str) -> AdapterInfo | None:
    """The info of the adapter that a spec names, None for every other kind of spec."""
    folder = parse_spec(spec, needs_url=False).folder
    return read_adapter(folder) if folder is not None and is_adapter(folder) else None


def export_info(spec: str) -> ExportInfo | None:
    """What the exported folder that a spec names says about itself, None for every other kind of spec."""
    folder = parse_spec(spec, needs_url=False).folder
    return read_export(folder) if folder is not None else None


def read_adapter(folder: Path) -> AdapterInfo:
    """Check that the adapter is complete and belongs to its base. Raises InputError with the remedy."""
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise InputError(
                f"{folder}: {name} is missing, the adapter is incomplete. Copy the complete adapter folder."
            )
    _check_weights(folder / WEIGHTS)
    config = _read_json_object(folder / CONFIG)
    info = (
        AdapterInfo(**_known_fields(_read_json_object(folder / INFO)))
        if (folder / INFO).is_file()
        else _info_from_peft(folder, config)
    )
    base = _find_base(folder, info.base)
    if base is not None and info.fingerprint and fingerprint_of(info.base) != info.fingerprint:
        raise InputError(
            f"{folder} was trained on other weights than {info.base} has now. Use the base it was trained on."
        )
    return info


def _find_base(folder: Path, base: str) -> Path | None:
    """The base's folder, None for a hub id. InputError for a folder on another machine."""
    try:
        return local_folder(base)
    except InputError as error:
        raise InputError(
            f"{folder}: the adapter names {base} as its base. {error} Write the base's location into "
            f"{INFO if (folder / INFO).is_file() else CONFIG} of that folder."
        ) from None


def thinking_of(spec: str) -> str | None:
    """The thinking switch that an adapter was trained with ("as saved" if it does not say), None for a spec
    that is not an adapter."""
    info = adapter_info(spec)
    return None if info is None else info.thinking or AS_SAVED


def trained_in_4bit(folder: Path, info: AdapterInfo) -> bool | None:
    """Whether an adapter was trained over 4-bit layers: as it says, else as the settings of its run do (run
    folders of this kit have them next to the adapter, shipped adapters inside); None if nothing does."""
    if info.four_bit is not None or info.base == smol.NAME:
        return bool(info.four_bit)
    for path in (folder / "run.json", folder.parent / "config.json"):
        if path.is_file():
            settings = _read_json_object(path).get("settings")
            if isinstance(settings, dict) and isinstance(settings.get("four_bit"), bool):
                return settings["four_bit"]
    return None


def write_info(folder: Path, info: AdapterInfo) -> None:
    """Write `rmr1_lite.json`."""
    write_json(folder / INFO, asdict(info))


def style_of(spec: str) -> str | None:
    """A model's own prompt style, None if it does not say; the embedded bases take the
    compact one."""
    info = adapter_info(spec) or export_info(spec)
    return (info.style if info else "compact" if spec in (*NANO, smol.NAME) else "") or None


def fingerprint_folder(folder: Path) -> str:
    """Hash of names, sizes and both ends of all weight files: identifies a base without reading 15 GB."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with open(path, "rb") as file:
            digest.update(file.read(_SAMPLE))
            file.seek(max(0, size - _SAMPLE))
            digest.update(file.read(_SAMPLE))
    return digest.hexdigest()[:16]


def fingerprint_of(spec: str) -> str:
    """Fingerprint of the weights that a spec names, "" if they are not a local folder (a hub id, an endpoint,
    a log).

    Every judge carries it, so that texts of other weights are never mistaken for its own.
    """
    if spec == smol.NAME:
        return smol.FINGERPRINT
    folder = NANO.get(spec) or Path(spec)
    if not folder.is_dir():
        return ""
    # exported as base and adapter: one base may lie under several judges
    export = read_export(folder)
    return fingerprint_folder(folder / export.adapter if export else folder)


def _check_weights(path: Path) -> None:
    """A safetensors file is 8 bytes of header length, the header, then exactly the bytes that it
    announces."""
    remedy = "The file is damaged or was truncated during copying: copy it again."
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length < path.stat().st_size:
            raise InputError(f"{path} is not a safetensors file. {remedy}")
        try:
            header = json.loads(file.read(length))
            ends = [row["data_offsets"][1] for name, row in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InputError(f"{path} has no readable header. {remedy}") from None
    if path.stat().st_size != 8 + length + max(ends, default=0):
        raise InputError(f"{path} has {path.stat().st_size} bytes, which does not match its header. {remedy}")


def _read_json_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}). Copy the adapter folder again.") from None
    if not isinstance(value, dict):
        raise InputError(f"{path} is not a JSON object. Copy the adapter folder again.")
    return value


def _known_fields(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in AdapterInfo.__dataclass_fields__ if name in row}


def _info_from_peft(folder: Path, config: dict[str, Any]) -> AdapterInfo:
    """An adapter that this kit did not write: its base is named by PEFT, its prompt style is unknown."""
    base = config.get("base_model_name_or_path")
    if not base:
        raise InputError(f"{folder / CONFIG} names no base model. Write base_model_name_or_path into it.")
    # a nano adapter knows only the compact style
    return AdapterInfo(base=base, style="compact" if base in NANO else "")

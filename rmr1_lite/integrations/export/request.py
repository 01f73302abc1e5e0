"""What to export and how, and everything that can be refused before a weight is read."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmr1_lite.extras import need
from rmr1_lite.integrations.programs import find_converter, find_llama
from rmr1_lite.integrations.serving.plan import engine_of
from rmr1_lite.models.adapters import (
    CONFIG,
    AdapterInfo,
    export_info,
    is_adapter,
    read_adapter,
    style_of,
    trained_in_4bit,
)
from rmr1_lite.models.base_weights import AUTO, BASES, DEQUANTISED, ORIGINAL
from rmr1_lite.models.exports import FILE
from rmr1_lite.models.judge_specs import find_folder, parse_spec
from rmr1_lite.models.memory import gib
from rmr1_lite.models.model_files import read_config, stored_bytes, stored_in_4bit
from rmr1_lite.models.precision import TORCH_NAMES
from rmr1_lite.prompts import choose_style
from rmr1_lite.types import InputError

MERGED, BASE, GGUF, VLLM, OLLAMA, LMSTUDIO = FORMS = ("merged", "base", "gguf", "vllm", "ollama", "lmstudio")
GGUF_FORMS = (GGUF, OLLAMA, LMSTUDIO)
BITS = {"fp32": 32.0, "bf16": 16.0, "fp16": 16.0}
GGUF_BITS = {"f32": 32.0, "f16": 16.0, "bf16": 16.0, "q8_0": 8.5, "q6_k": 6.6, "q4_k_m": 4.9}
CONVERTED = ("f32", "f16", "bf16", "q8_0")  # what the converter writes itself; llama-quantize makes the rest
CHEAP, FULL, OFF = GATES = ("cheap", "full", "off")
# fields of adapter_config.json -> what a plain LoRA has there; anything else would be lost, or changes
# the base
PLAIN_LORA: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "use_dora": (None, False),
    "bias": (None, "none"),
    "lora_bias": (None, False),
    "modules_to_save": (None, []),
    "trainable_token_indices": (None, [], {}),
    "target_parameters": (None, []),
    "layer_replication": (None, []),
    "alora_invocation_tokens": (None, []),
    "arrow_config": (None,),
    "use_qalora": (None, False),
    "use_bdlora": (None, False),
    "kasa_config": (None,),
    "velora_config": (None,),
    "monteclora_config": (None,),
    "init_lora_weights": (None, True, False, "gaussian", "eva", "orthogonal", "mica"),
}


@dataclass(frozen=True)
class ExportRequest:
    """spec: an adapter, or a model. form: one of FORMS. number_type: "" takes the form's default. base: over
    which base the adapter is put: auto, dequantised or original. gate: cheap reads the files back with
    transformers, full also asks the real server, off skips it. pairs: a JSONL for the gate; None takes
    those of the nano world, or the shipped English ones. limit: of the gate's pairs. allow: keep an export
    whose verdicts changed too much."""

    spec: str
    form: str
    out: Path
    number_type: str = ""
    base: str = "auto"
    gate: str = "cheap"
    pairs: str | None = None
    limit: int = 50
    allow: bool = False
    style: str | None = None
    max_new_tokens: int | None = None
    name: str = ""


@dataclass(frozen=True)
class Source:
    """What a checked request exports. folder: of the adapter, None for a plain model. base: the model below.
    four_bit: its layers are read in NF4 and dequantised. number_type: settled."""

    folder: Path | None
    info: AdapterInfo | None
    base: str
    four_bit: bool
    number_type: str

    @property
    def base_weights(self) -> str:
        """Over which base the judge lies; an export of an export lies where the first one did."""
        before = export_info(self.base)
        if before is not None:
            return before.base_weights
        return DEQUANTISED if self.four_bit else ORIGINAL

    @property
    def read_as(self) -> str:
        """The type to read the weights in: nothing is rounded before it is written. A dequantised weight has
        more digits than 16 bits hold."""
        return "fp32" if self.four_bit else stored_type(self.base)

    @property
    def first_base(self) -> str:
        """The base's own spec where `base` is an earlier export of it."""
        before = export_info(self.base)
        return before.base if before is not None else self.base


def check_request(request: ExportRequest) -> Source:
    """Settle what is left open. Raises InputError with the remedy for whatever cannot work."""
    _check_choices(request)
    if not parse_spec(request.spec).runs_here:
        raise InputError(
            f"{request.spec} has no weights here. Give an adapter, a model's folder or a hub id."
        )
    folder = find_folder(request.spec)
    adapter = folder if folder is not None and is_adapter(folder) else None
    _check_exported(request, adapter)
    info = read_adapter(adapter) if adapter else None
    if adapter:
        check_plain_lora(adapter)
    base = info.base if info else request.spec
    number_type = _number_type(request, base)
    source = Source(adapter, info, base, _four_bit(request, adapter, info, base), number_type)
    _check_prompt(request)
    _check_programs(request, number_type)
    check_out(request.out)
    check_disk(request, source)
    return source


def check_plain_lora(folder: Path) -> None:
    """Refuse what a sum of base and A x B does not hold."""
    config = json.loads((folder / CONFIG).read_bytes())
    for name, plain in PLAIN_LORA.items():
        value = config.get(name)
        if value not in plain:
            raise InputError(
                f"{folder / CONFIG}: {name} is {value!r:.60}. Only plain LoRA can be exported: the rest "
                "would be lost. Merge it with the library that trained it, and export the merged model."
            )


def check_out(out: Path) -> None:
    """The export becomes `out` in one step at the end, so nothing may be there."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists and is not empty. Give another --out, or remove it.")
    refused = not_passed(out)
    if refused.exists() and not (refused / FILE).is_file():
        raise InputError(f"{refused} is not an export, and its name is needed. Give another --out.")


def not_passed(out: Path) -> Path:
    """Where an export goes whose verdicts changed too much; an earlier one there is replaced."""
    return out.with_name(f"{out.name}.not-passed")


def check_disk(request: ExportRequest, source: Source) -> None:
    """Refuse an export that the disk cannot hold."""
    stored = stored_bytes(source.base)
    if not stored:
        return
    width = 4 if stored_in_4bit(source.base) else 8 * getattr(read_config(source.base).dtype, "itemsize", 2)
    numbers = stored * 8 / width
    bits = {**BITS, **GGUF_BITS}[source.number_type]
    if request.form in GGUF_FORMS:  # the 16-bit model and the converted file are there for a while
        bits += 32 + (16 if source.number_type not in CONVERTED else 0)
    place = next(each for each in (request.out, *request.out.absolute().parents) if each.exists())
    needed, free = numbers * bits / 8, shutil.disk_usage(place).free
    if needed > free:
        raise InputError(
            f"The export needs about {gib(needed)} on the disk of {place}, but {gib(free)} are free. Free "
            "some space, or give an --out on another disk."
        )


def stored_type(base: str) -> str:
    """The type that a base's config names: bf16, fp16, or fp32, which holds every other one."""
    names = {f"torch.{theirs}": ours for ours, theirs in TORCH_NAMES.items()}
    return names.get(str(read_config(base).dtype), "fp32")


def _check_choices(request: ExportRequest) -> None:
    for name, value, choices in (
        ("form", request.form, FORMS),
        ("base", request.base, BASES),
        ("gate", request.gate, GATES),
    ):
        if value not in choices:
            raise InputError(f"{name} is {value!r:.40}. Choose from {', '.join(choices)}.")
    if request.limit < 1:
        raise InputError(f"limit is {request.limit}. Give a whole number of at least 1.")


def _number_type(request: ExportRequest, base: str) -> str:
    known = GGUF_BITS if request.form in GGUF_FORMS else BITS
    if not request.number_type:
        return "q8_0" if request.form in GGUF_FORMS else stored_type(base)
    if request.number_type not in known:
        raise InputError(
            f"type is {request.number_type!r:.40}. For --to {request.form} choose from {', '.join(known)}."
        )
    return request.number_type


def _check_prompt(request: ExportRequest) -> None:
    """A judge without a known prompt cannot be asked, neither here nor on a server."""
    from rmr1_lite.models.loading import load_tokenizer

    choose_style(request.style, style_of(request.spec), request.spec)
    if not load_tokenizer(request.spec).chat_template:
        raise InputError(
            f"{request.spec}: its tokenizer has no chat template, so no server could write the prompt. Copy "
            "chat_template.jinja, or the tokenizer files, of the instruct model that it was trained from."
        )


def _check_exported(request: ExportRequest, adapter: Path | None) -> None:
    """What was exported before, and what needs an adapter."""
    before = None if adapter else export_info(request.spec)
    if before is not None and not before.runs_in_transformers:
        raise InputError(f"{request.spec} is an export already ({before.form}). Export {before.source}.")
    if adapter is None and request.form == VLLM:
        raise InputError(f"{request.spec} is not an adapter. Use --to merged: vLLM serves a plain model.")


def _four_bit(request: ExportRequest, adapter: Path | None, info: AdapterInfo | None, base: str) -> bool:
    """Whether the base's layers are read in NF4 and dequantised."""
    if stored_in_4bit(base):
        if request.base == ORIGINAL:
            raise InputError(
                f"{base} is stored in 4 bits: there is no original to export. Use --base dequantised."
            )
        return True
    if request.base != AUTO:
        return request.base == DEQUANTISED
    if adapter is None or info is None:
        return False
    found = trained_in_4bit(adapter, info)
    if found is None:
        raise InputError(
            f"{adapter} does not say whether it was trained over a 4-bit base, and its verdicts depend on "
            "it. Give --base dequantised (QLoRA) or --base original (LoRA over 16-bit weights)."
        )
    return found


def _check_programs(request: ExportRequest, number_type: str) -> None:
    if request.gate == FULL and request.form != BASE:
        engine_of(request.form)
    if request.form not in GGUF_FORMS:
        return
    find_converter()
    if number_type not in CONVERTED:
        find_llama("llama-quantize")
    if request.gate != OFF:
        need("gguf")

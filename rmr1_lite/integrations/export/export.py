"""Exports a judge: `python -m rmr1_lite export ADAPTER --to merged|base|gguf|vllm|ollama|lmstudio --out DIR`.

The files are written next to OUT, checked by the parity gate, and only then become OUT in one step. What
the gate refuses stays under another name, to be looked at.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rmr1_lite.integrations.export import gate
from rmr1_lite.integrations.export.base_files import copy_base_files
from rmr1_lite.integrations.export.card import export_card
from rmr1_lite.integrations.export.full_gate import served_calls
from rmr1_lite.integrations.export.gguf import write_gguf
from rmr1_lite.integrations.export.modelfile import write_modelfile
from rmr1_lite.integrations.export.parity import Parity, compare_calls
from rmr1_lite.integrations.export.request import (
    BASE,
    FULL,
    GGUF_FORMS,
    LMSTUDIO,
    MERGED,
    OFF,
    OLLAMA,
    VLLM,
    ExportRequest,
    Source,
    check_request,
    not_passed,
)
from rmr1_lite.integrations.export.weights import names_in_files, plain_tensors, write_weights
from rmr1_lite.integrations.serving.plan import engine_of
from rmr1_lite.judging.factory import default_reading
from rmr1_lite.models.adapters import fingerprint_of
from rmr1_lite.models.exports import ExportInfo, write_export
from rmr1_lite.models.thinking import AS_SAVED
from rmr1_lite.storage import atomic_write_text, write_json
from rmr1_lite.types import InputError

CALLS = "parity.json"  # the gate's summary and every changed call with both texts
PUBLISHER = "rmr1_lite"
PLAIN, ADAPTER = "plain", "adapter"  # folders inside a draft


@dataclass(frozen=True)
class Exported:
    """folder: where the export is. parity: None where the gate was off. kept: under its final name."""

    folder: Path
    info: ExportInfo
    parity: tuple[Parity, ...]
    kept: bool

    def lines(self) -> list[str]:
        """What was written and what the gate found, a sentence a line; the first changed calls by name."""
        if not self.parity:
            return [f"Written: {self.folder}. Its verdicts were not compared (--gate off)."]
        changed = [f"{row['id']} ({row['order']})" for each in self.parity for row in each.changed]
        shown = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
        texts = [f"Changed: {shown}; both texts are in {self.folder / CALLS}."] if changed else []
        said = [line for each in self.parity for line in each.lines()]
        return [f"Written: {self.folder}.", *said, *texts]


def export_judge(request: ExportRequest) -> Exported:
    """Export a judge and check it. Raises InputError before anything slow for what cannot work; a failed
    gate is not an error, see `Exported.kept`."""
    from rmr1_lite.models.loading import load

    source = check_request(request)
    pairs = gate.read_pairs_for(request, source)
    draft = _empty_draft(request.out)
    print(f"Reading {request.spec}{_over(source)}")
    loaded = load(request.spec, source.four_bit, number_type=source.read_as)
    protocol = gate.settle_protocol(request, pairs, loaded)
    info = _describe(request, source, loaded, protocol)
    for line in _write_files(request, source, loaded, info, draft):
        print(line)
    del loaded
    _arrange(request.form, draft)
    write_export(draft, info)
    parity = _run_gate(request, source, info, protocol, draft) if request.gate != OFF else []
    return _finish(request, info, parity, draft)


def judge_name(request: ExportRequest) -> str:
    """The name of the judge on a server: letters, digits, dots and hyphens."""
    path = Path(request.spec)
    parts = [path.parent.name, path.name] if path.name == "adapter" else [path.name]
    return request.name or re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(part for part in parts if part)).strip(
        "-."
    )


def _over(source: Source) -> str:
    return f" over the {source.base_weights} weights of {source.base}" if source.info else ""


def _empty_draft(out: Path) -> Path:
    """The folder that is written, next to `out`; what a killed export left there is removed."""
    draft = out.with_name(f"{out.name}.unfinished")
    shutil.rmtree(draft, ignore_errors=True)
    (draft / PLAIN).mkdir(parents=True)
    return draft


def _describe(request: ExportRequest, source: Source, loaded: Any, protocol: gate.Protocol) -> ExportInfo:
    name = judge_name(request)
    context = getattr(loaded.model.config, "max_position_embeddings", None)
    if not context:
        raise InputError(f"{source.base}: its config names no context (max_position_embeddings).")
    models = {MERGED: ".", BASE: ".", VLLM: BASE, LMSTUDIO: f"models/{PUBLISHER}/{name}/{name}.gguf"}
    return ExportInfo(
        form=request.form,
        source=request.spec,
        base=source.first_base,
        fingerprint=fingerprint_of(source.first_base),
        base_weights=source.base_weights,
        style="" if request.form == BASE else protocol.style,
        thinking="" if loaded.thinking == AS_SAVED else loaded.thinking,
        number_type=source.number_type,
        context=context,
        max_new_tokens=protocol.sampling.max_new_tokens,
        name=name,
        model=models.get(request.form, f"{name}.gguf"),
        adapter=ADAPTER if request.form == VLLM else "",
        reading="lenient" if request.form == BASE else default_reading(request.spec),
    )


def _write_files(
    request: ExportRequest, source: Source, loaded: Any, info: ExportInfo, draft: Path
) -> list[str]:
    """Everything but the gate's results. Returns lines to be said."""
    plain, gguf = draft / PLAIN, request.form in GGUF_FORMS
    # a GGUF is made from 32 bits: the converter then rounds once
    number_type = source.number_type if not gguf else "fp32"
    said = copy_base_files(source.base, loaded, number_type, plain)
    tensors = plain_tensors(loaded.model, adapter=request.form not in (BASE, VLLM))
    _check_names(source, tensors)
    try:
        write_weights(tensors, plain, number_type)
    except OverflowError as error:
        raise InputError(f"{error}: its numbers are too large for {number_type}. Use --type bf16.") from None
    if request.form == VLLM and source.folder is not None:
        shutil.copytree(source.folder, draft / ADAPTER)
    if gguf:
        file = draft / info.model
        file.parent.mkdir(parents=True, exist_ok=True)
        print(f"Converting to GGUF ({source.number_type})")
        write_gguf(plain, source.first_base, source.number_type, file)
    if request.form == OLLAMA:
        atomic_write_text(draft / "Modelfile", _modelfile(loaded, info))
    return said


def _check_names(source: Source, tensors: list[Any]) -> None:
    """The tensors must be called as in the base's own files: other programs look them up by name."""
    from rmr1_lite.integrations.export.base_files import base_folder

    known = {name for name in names_in_files(base_folder(source.base)) if "." in name}
    missing = {each.name for each in tensors} - known
    if known and missing:
        raise InputError(
            f"{source.base}: its files lack {len(missing)} tensors of the loaded model, {sorted(missing)[0]} "
            "is one, so other programs would not find them. This architecture cannot be exported."
        )


def _modelfile(loaded: Any, info: ExportInfo) -> str:
    from rmr1_lite.models.render import end_ids

    ends = [loaded.tokenizer.decode([each]) for each in end_ids(loaded.model, loaded.tokenizer)]
    return write_modelfile(loaded.tokenizer, info.name, info.model, info.context, info.max_new_tokens, ends)


def _run_gate(
    request: ExportRequest, source: Source, info: ExportInfo, protocol: gate.Protocol, draft: Path
) -> list[Parity]:
    """The files read back by transformers and, if the gate is full, behind the server that serves them."""
    before = gate.before_export(request, source, protocol)
    model, number_type = draft / info.model, source.number_type
    loaders: dict[str, Callable[[], Any]] = {
        MERGED: lambda: gate.load_merged(model, number_type),
        BASE: lambda: _over_base(source, model),
        VLLM: lambda: gate.load_with_adapter(model, draft / ADAPTER, number_type),
    }
    read_back = loaders.get(request.form, lambda: gate.load_gguf(model, draft / PLAIN))
    found = [gate.after_export(protocol, read_back, before, number_type)]
    if request.gate == FULL and request.form != BASE:
        engine = engine_of(request.form)
        after = served_calls(protocol, draft, engine)
        found.append(compare_calls(protocol.pairs, before[0], after, number_type, engine, before[1]))
    return found


def _over_base(source: Source, plain: Path) -> Any:
    if source.folder is None:
        return gate.load_merged(plain, source.number_type)
    return gate.load_with_adapter(plain, source.folder, source.number_type)


def _finish(request: ExportRequest, info: ExportInfo, parity: list[Parity], draft: Path) -> Exported:
    """Write what describes the folder, and give it its name."""
    kept = request.allow or all(each.passed for each in parity)
    folder = request.out if kept else not_passed(request.out)
    info = replace(info, parity=[each.summary() for each in parity])
    if parity:
        write_json(draft / CALLS, [each.summary() | {"changed": list(each.changed)} for each in parity])
    lines = [line for each in parity for line in each.lines()]
    atomic_write_text(draft / "README.md", export_card(info, lines, str(folder)))
    shutil.rmtree(draft / PLAIN, ignore_errors=True)  # what a GGUF was made from
    write_export(draft, info)
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)
    return Exported(folder, info, tuple(parity), kept)


def _arrange(form: str, draft: Path) -> None:
    """Put the plain model where the form has it; a GGUF's stays until the gate has read its tokenizer."""
    plain = draft / PLAIN
    if form in (MERGED, BASE):
        for path in plain.iterdir():
            path.rename(draft / path.name)
        plain.rmdir()
    elif form == VLLM:
        plain.rename(draft / BASE)

"""Brings an adapter back from verl: `python -m rmr1_lite scale import MERGED --model DIR --out ADAPTER`.

Its base is the model that `scale verl` wrote, in which the SFT adapter is merged, not the base of the SFT
adapter: that model has to be at hand, here and wherever the adapter is used.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmr1_lite.evaluation.metrics import score
from rmr1_lite.integrations.export.request import MERGED, check_out
from rmr1_lite.integrations.verl.checkpoint import Checkpoint, read_checkpoint
from rmr1_lite.integrations.verl.request import FILE, MODEL, unfinished
from rmr1_lite.models.adapters import CONFIG, WEIGHTS, AdapterInfo, fingerprint_folder, write_info
from rmr1_lite.models.exports import ExportInfo, read_export
from rmr1_lite.models.model_card import trained_card
from rmr1_lite.storage import atomic_write_text, write_json
from rmr1_lite.types import EvalResult, InputError, Pair

TOKENIZER_FILES = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt")
TEMPLATES = ("*.model", "chat_template.j*")


@dataclass(frozen=True)
class ImportRequest:
    """checkpoint: what model_merger wrote. model: the folder of `scale verl`, or model/ in it. alpha: for a
    checkpoint without it. pairs: to judge at the end; None takes those of the nano world or the shipped
    English ones. limit: how many of them."""

    checkpoint: Path
    model: Path
    out: Path
    alpha: int | None = None
    pairs: str | None = None
    limit: int = 24


@dataclass(frozen=True)
class Imported:
    """folder: of the adapter. result: on the pairs that it judged. untrained: its matrices change nothing."""

    folder: Path
    base: Path
    checkpoint: Checkpoint
    result: EvalResult
    untrained: bool

    def lines(self) -> list[str]:
        """What was brought back, and how it judges, a sentence a line."""
        found, made = self.result, self.checkpoint
        said = [
            f"Written: {self.folder} (rank {made.rank}, alpha {made.alpha}, layers "
            f"{', '.join(made.targets)}).",
            f"Its base is {self.base}: keep that folder, and copy it along with the adapter.",
            f"Judged {found.n} pairs in both orders: {found.strict_accuracy:.1%} right in both orders, "
            f"{found.accuracy:.1%} of the judge calls right, {found.flip_rate:.1%} flips, "
            f"{found.unparsed:.1%} "
            "unparsed.",
        ]
        if self.untrained:
            said.append(
                "Warning: every matrix B is zero, so the adapter changes nothing: an untrained checkpoint?"
            )
        return said


def import_adapter(request: ImportRequest) -> Imported:
    """Check, write and judge. Raises InputError, with the remedy, for whatever does not belong together, and
    where none of the judge calls gives a verdict."""
    check_out(request.out)
    model, export = find_model(request.model)
    checkpoint = read_checkpoint(request.checkpoint, model, request.alpha)
    untrained = _check_numbers(checkpoint.folder / WEIGHTS)
    draft = unfinished(request.out)
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    _write_adapter(draft, checkpoint, model, export)
    result = judge_pairs(draft, export, request)
    if result.unparsed == 1:
        raise InputError(
            f"none of the {2 * result.n} judge calls gave a verdict. Look at the rollouts of the run, and at "
            f"lora_alpha ({checkpoint.alpha}); the adapter is in {draft}."
        )
    shutil.rmtree(request.out, ignore_errors=True)
    draft.rename(request.out)
    return Imported(request.out, model, checkpoint, result, untrained)


def find_model(given: Path) -> tuple[Path, ExportInfo]:
    """(the model that verl trained, what it says about itself). Raises InputError if it is not at hand, or
    not as it was written."""
    folder = given / MODEL if (given / FILE).is_file() else given
    if not folder.is_dir():
        raise InputError(
            f"{folder} does not exist. The adapter belongs to the merged model in it, not to the base of "
            f"the SFT "
            "adapter: copy the folder that `scale verl` wrote, or write it again from the same adapter."
        )
    export = read_export(folder)
    if export is None or export.form != MERGED:
        raise InputError(
            f"{folder} is not the model that verl trained: that is {MODEL}/ in the folder that `scale "
            f"verl` wrote. "
            "An SFT adapter or its base is another model, over which this adapter judges nonsense."
        )
    record = folder.parent / FILE
    if record.is_file():
        written = json.loads(record.read_bytes()).get("fingerprint")
        if written != fingerprint_folder(folder):
            raise InputError(
                f"{folder} has other weights than `scale verl` wrote. Copy the folder again from where "
                f"verl trained."
            )
    return folder.resolve(), export


def _check_numbers(path: Path) -> bool:
    """Whether every matrix B is zero. Raises InputError for numbers that are not finite."""
    from safetensors import safe_open

    untrained = True
    with safe_open(path, "pt") as file:
        for name in file.keys():
            tensor = file.get_tensor(name)
            if not tensor.isfinite().all():
                raise InputError(
                    f"{path}: {name} has numbers that are not finite. Take an earlier checkpoint."
                )
            untrained = untrained and not (".lora_B." in name and bool(tensor.any()))
    return untrained


def _write_adapter(draft: Path, checkpoint: Checkpoint, model: Path, export: ExportInfo) -> None:
    """The files of an adapter of this kit: PEFT's two, the tokenizer, the card, and what it was trained
    on."""
    shutil.copy(checkpoint.folder / WEIGHTS, draft / WEIGHTS)
    settled: dict[str, Any] = {
        "base_model_name_or_path": str(model),
        "r": checkpoint.rank,
        "lora_alpha": checkpoint.alpha,
        "target_modules": list(checkpoint.targets),
        "task_type": "CAUSAL_LM",
        "peft_type": "LORA",
        "inference_mode": True,
    }
    write_json(draft / CONFIG, checkpoint.config | settled)
    for pattern in (*TOKENIZER_FILES, *TEMPLATES):
        for path in sorted(model.glob(pattern)):
            shutil.copy(path, draft / path.name)
    atomic_write_text(draft / "README.md", trained_card("grpo", str(model), export.style, False))
    info = AdapterInfo(str(model), export.style, fingerprint_folder(model), "grpo", export.thinking, False)
    write_info(draft, info)


def judge_pairs(adapter: Path, export: ExportInfo, request: ImportRequest) -> EvalResult:
    """The adapter over its model on a small set, greedy, in both orders."""
    import time

    from rmr1_lite.evaluation.bias.pairs import choose_pairs
    from rmr1_lite.judging.factory import judge_in_memory
    from rmr1_lite.models.loading import load

    pairs: list[Pair] = [
        pair for pair in choose_pairs(export.base, request.pairs, request.limit).pairs if pair.label
    ]
    if not pairs:
        raise InputError(
            f"{request.pairs}: no labelled pair to judge. Give another --pairs, or leave it out."
        )
    loaded = load(str(adapter), four_bit=False)
    judge = judge_in_memory(loaded, export.style, adapter.name, export.max_new_tokens)
    began = time.perf_counter()
    judgments = judge.compare_many(pairs)
    return score(adapter.name, pairs, judgments, time.perf_counter() - began)

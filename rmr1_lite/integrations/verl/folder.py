"""Writes the folder for verl: `python -m rmr1_lite scale verl --model SFT_ADAPTER --pairs FILE --out DIR`.

Everything is written next to OUT, which appears in one step at the end: a folder of that name is complete.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rmr1_lite import __version__
from rmr1_lite.config import GRPOConfig
from rmr1_lite.data.dedup import prompt_key
from rmr1_lite.data.pairs import PairsRead, read_pairs
from rmr1_lite.data.prepare import hash_to_unit
from rmr1_lite.integrations.export.export import export_judge
from rmr1_lite.integrations.verl.estimate import choose_micro_batch, estimate
from rmr1_lite.integrations.verl.request import (
    DIVIDED,
    FILE,
    LOSS,
    MODEL,
    VERL,
    VerlRequest,
    check_verl_request,
    preset_name,
    unfinished,
)
from rmr1_lite.integrations.verl.reward_files import PACKAGE, write_reward
from rmr1_lite.integrations.verl.rows import Renderer, RowsWritten, write_rows
from rmr1_lite.integrations.verl.templates import render_file
from rmr1_lite.models.adapters import fingerprint_folder
from rmr1_lite.storage import AtomicLines, atomic_write_text, write_json
from rmr1_lite.training.planning.plan import GPUS
from rmr1_lite.types import InputError, Pair

OVERLONG, LEFT_OUT = "overlong.jsonl", "left_out.json"
SCRIPTS = ("run.sh", "first_minute.sh")
PROGRAMS = ("judge_manager.py", "check.py", "first_minute.py")
FIRST_TOKENS = 512  # longest answer of the first minute
FIRST_RATE = 20.0  # times the learning rate: the adapter has to depart from the base within a dozen steps
SAMPLED = 16  # pairs whose rows are checked once more with the exported tokenizer


@dataclass(frozen=True)
class Split:
    """Labelled pairs of one file of rows."""

    name: str
    pairs: list[Pair]


@dataclass(frozen=True)
class VerlFolder:
    """What was written. unlabelled, bad_rows: of the pairs' files, not in any row."""

    folder: Path
    train: RowsWritten
    validation: RowsWritten
    unlabelled: int
    bad_rows: int

    def lines(self) -> list[str]:
        """What is in the folder and what is not, a sentence a line."""
        said = [
            f"{each.split}.parquet: {each.rows} rows of {each.rows // 2} pairs in both orders, the "
            f"longest prompt "
            f"has {each.longest} tokens"
            for each in (self.train, self.validation)
        ]
        if overlong := self.train.overlong + self.validation.overlong:
            said.append(f"Left out: {overlong} pairs with longer prompts, listed in {self.folder / OVERLONG}")
        if self.unlabelled or self.bad_rows:
            said.append(
                f"Left out: {self.unlabelled} pairs without a label and {self.bad_rows} unusable rows, "
                f"listed in "
                f"{self.folder / LEFT_OUT}"
            )
        return said


def write_folder(request: VerlRequest) -> VerlFolder:
    """Write the folder. Raises InputError for what cannot work, before the model is read if possible."""
    config = check_verl_request(request)
    train, validation, left_out = read_splits(request)
    draft = unfinished(request.out)
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    renderer = make_renderer(request)
    written = write_parquet(draft, [train, validation], renderer, config.max_prompt_tokens)
    export = export_judge(request.export)
    if not export.kept:
        raise InputError(
            f"too many verdicts change in {export.folder}: look at parity.json there. A larger --type (fp32) "
            "changes fewer; --gate off does not look."
        )
    _check_exported_tokenizer(draft / MODEL, renderer, train.pairs)
    _name_finally(draft / MODEL / "README.md", draft, request.out)
    write_json(draft / LEFT_OUT, left_out)
    write_reward(draft)
    values = _values(request, config, draft, written)
    for name in (*SCRIPTS, *PROGRAMS, "README.md"):
        atomic_write_text(draft / name, render_file(name, **values))
    for name in SCRIPTS:
        (draft / name).chmod(0o755)
    write_json(draft / FILE, _description(request, config, renderer.style, draft, written))
    shutil.rmtree(request.out, ignore_errors=True)
    draft.rename(request.out)
    counts = len(left_out["unlabelled"]), len(left_out["problems"])
    return VerlFolder(request.out, written[0], written[1], counts[0], counts[1])


def make_renderer(request: VerlRequest) -> Renderer:
    """The tokenizer and the prompt style of the model that is taken to verl."""
    from rmr1_lite.models.token_lengths import tokenizer_and_style

    return Renderer(*tokenizer_and_style(request.model, request.style or "auto"))


def read_splits(request: VerlRequest) -> tuple[Split, Split, dict[str, Any]]:
    """(training pairs, validation pairs, what was left out). Raises InputError if one of them is empty."""
    reads = [read_pairs(path) for path in (request.pairs, request.validation) if path is not None]
    for read in reads:
        print(read.summary())
    labelled = [_labelled(read) for read in reads]
    if request.validation is None:
        held = [_is_held_out(pair, request) for pair in labelled[0]]
        kept = [
            [pair for pair, out in zip(labelled[0], held, strict=True) if out == want]
            for want in (False, True)
        ]
    else:
        kept = labelled
    if not kept[0]:
        raise InputError(
            f"{request.pairs}: no labelled pair is left to train on. Give pairs with a label, or with "
            f"chosen and "
            "rejected."
        )
    if not kept[1]:
        raise InputError(
            "No labelled pair is left for validation, which verl needs. Give --validation FILE, or a larger "
            "--validation-share."
        )
    random.Random(f"verl/{request.seed}").shuffle(kept[0])
    left_out = {
        "unlabelled": [pair.id for read in reads for pair in read.pairs if not pair.label],
        "problems": [asdict(problem) for read in reads for problem in read.problems],
    }
    return Split("train", kept[0]), Split("validation", kept[1]), left_out


def _labelled(read: PairsRead) -> list[Pair]:
    pairs = [pair for pair in read.pairs if pair.label]
    if missing := len(read.pairs) - len(pairs):
        print(f"{read.file}: {missing} of {len(read.pairs)} pairs have no label and are left out")
    return pairs


def _is_held_out(pair: Pair, request: VerlRequest) -> bool:
    """By its conversation, so that no conversation is in both files."""
    return hash_to_unit(prompt_key(pair), request.seed) < request.validation_share


def write_parquet(folder: Path, splits: Sequence[Split], renderer: Renderer, limit: int) -> list[RowsWritten]:
    """Both files of rows and the list of overlong prompts. Raises InputError if a file would be empty."""
    path = folder / OVERLONG
    with AtomicLines(path) as lines:
        written = [
            write_rows(
                each.pairs,
                each.name,
                renderer,
                limit,
                folder / f"{each.name}.parquet",
                lambda row: lines.write(path, row),
            )
            for each in splits
        ]
    for done in written:
        if not done.rows:
            raise InputError(
                f"No {done.split} pair fits into {limit} prompt tokens: all {done.pairs} are longer. Raise "
                f"--max-prompt-tokens; {path} lists their lengths."
            )
    return written


def _check_exported_tokenizer(model: Path, renderer: Renderer, pairs: Sequence[Pair]) -> None:
    """The exported model carries its base's tokenizer, the rows were made with the judge's own."""
    from rmr1_lite.models.loading import load_tokenizer

    exported = Renderer(load_tokenizer(str(model)), renderer.style)
    sample = pairs[:SAMPLED]
    if renderer.render(sample) != exported.render(sample):
        raise InputError(
            f"{model}: the exported tokenizer renders prompts otherwise than the judge's own. Copy the "
            f"judge's "
            "tokenizer files into its base's folder, and write the folder again."
        )


def _name_finally(card: Path, draft: Path, out: Path) -> None:
    """The model's card names its folder: the final one."""
    atomic_write_text(card, card.read_text(encoding="utf-8").replace(str(draft), str(out)))


def _values(
    request: VerlRequest, config: GRPOConfig, draft: Path, written: list[RowsWritten]
) -> dict[str, Any]:
    """What the templates take."""
    model = draft / MODEL
    micro_batch = choose_micro_batch(config, model, request.gpu)
    train, validation = written
    return {
        "verl": VERL,
        "kit": __version__,
        "package": PACKAGE,
        "preset": preset_name(request),
        "config": config,
        "micro_batch": micro_batch,
        "divided": DIVIDED[config.scale_rewards],
        "loss": LOSS[config.loss_type],
        "rows": {"train": train.rows, "validation": validation.rows},
        "overlong": train.overlong + validation.overlong,
        "source": request.model,
        "out": request.out,
        "gpu": GPUS[request.gpu],
        "estimates": estimate(config, model, request.gpu, micro_batch, train.rows),
        "first_lr": FIRST_RATE * config.lr,
        "first_tokens": min(FIRST_TOKENS, config.max_new_tokens),
    }


def _description(
    request: VerlRequest, config: GRPOConfig, style: str, draft: Path, written: list[RowsWritten]
) -> dict[str, Any]:
    """What the folder says about itself. fingerprint: of the model in it."""
    return {
        "kit": __version__,
        "verl": VERL,
        "source": request.model,
        "style": style,
        "fingerprint": fingerprint_folder(draft / MODEL),
        "lora_r": config.lora_r,
        "lora_alpha": config.lora_alpha,
        "rows": [asdict(each) for each in written],
        "settings": asdict(config),
    }

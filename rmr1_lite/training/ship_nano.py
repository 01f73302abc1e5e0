"""Copies the adapters of a finished run of the nano chain into the package: `nano-sft` and `nano`.

    make reproduce && .venv/bin/python -m rmr1_lite.training.ship_nano runs/reproduce/seed0

Tensors are rounded to half precision, which halves their size in every checkout; PEFT reads them back as
float32. Bias cards belong to the previous weights: measure them again with `bias --judge nano --attach`, and
for `nano-sft`. Training settings are stored as `run.json` (`config.json` would be mistaken for a model's).
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from rmr1_lite.evaluation.results import Results
from rmr1_lite.evaluation.results_file import load_results
from rmr1_lite.models.adapters import WEIGHTS, read_adapter
from rmr1_lite.models.judge_specs import NANO, SHIPPED
from rmr1_lite.models.model_card import shipped_card
from rmr1_lite.storage import write_json
from rmr1_lite.types import InputError


def ship_adapters(run: Path, assets: dict[str, Path] | None = None) -> None:
    """Copy run/sft and run/grpo over the folders of the package. Raises InputError when the run is not
    finished."""
    results = load_results(run / "results.json")
    for stage in SHIPPED:
        adapter = run / stage / "adapter"
        if read_adapter(adapter).base != "nano-base":
            raise InputError(
                f"{adapter} is not on nano-base. Give a run of `make demo` or a seed of `make reproduce`."
            )
    targets = {stage: (assets or NANO)[spec] for stage, spec in SHIPPED.items()}
    drafts = {
        stage: _write_draft(run / stage, target, _card_of_stage(stage, results))
        for stage, target in targets.items()
    }
    for stage, target in targets.items():  # only now, so that adapters of two runs are never mixed
        shutil.rmtree(target, ignore_errors=True)
        drafts[stage].rename(target)
        print(f"{target}: {(target / WEIGHTS).stat().st_size:,} bytes of tensors")


def _write_draft(trained: Path, target: Path, card: str) -> Path:
    """The complete future `target`, next to it."""
    draft = target.with_name(f".{target.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(trained / "adapter", draft)
    round_to_half(draft / WEIGHTS)
    (draft / "README.md").write_text(card, encoding="utf-8")
    write_json(draft / "run.json", json.loads((trained / "config.json").read_bytes()))
    return draft


def round_to_half(weights: Path) -> None:
    """Rewrite a safetensors file with float16 tensors. Raises InputError where one would overflow."""
    import torch
    from safetensors.torch import load_file, save_file

    tensors = {name: tensor.to(torch.float16) for name, tensor in load_file(weights).items()}
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise InputError(f"{weights}: {name} overflows in half precision. Ship it unrounded.")
    save_file(tensors, weights, metadata={"format": "pt"})


def _card_of_stage(stage: str, results: Results) -> str:
    result = results.stages[stage].result
    return shipped_card(stage, SHIPPED[stage], results.command, result.strict_accuracy, result.n)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, help="folder of make demo, or of one seed of make reproduce")
    try:
        ship_adapters(parser.parse_args().run)
    except InputError as error:
        raise SystemExit(f"Error: {error}") from None


if __name__ == "__main__":
    main()

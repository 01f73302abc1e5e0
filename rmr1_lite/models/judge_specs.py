"""Resolves what a user types for a model or a judge, in one place.

A spec is one of these:

    nano, nano-sft, nano-base    the embedded judges and their base
    smol-base                    a small real language model, see rmr1_lite.models.smol
    FOLDER                       an adapter or a model
    OWNER/NAME                   a model or an adapter on the hub
    openai:MODEL@URL             an OpenAI-compatible endpoint; for batch files openai:MODEL is enough
    replay:FILE                  the log of an earlier run
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rmr1_lite.models import smol
from rmr1_lite.models.smol_convert import base_folder
from rmr1_lite.types import InputError

ASSETS = Path(__file__).parents[1] / "nano_assets"
# what a user may type -> folder of the package
NANO = {"nano": ASSETS / "grpo", "nano-sft": ASSETS / "sft", "nano-base": ASSETS / "base"}
# stage -> what a user may type for the adapter of that stage
SHIPPED = {"sft": "nano-sft", "grpo": "nano"}
_DRIVE = re.compile(r"[A-Za-z]:|.*\\")  # a path as Windows writes it is never a hub id


@dataclass(frozen=True)
class Spec:
    """A parsed spec. Which fields are set depends on `kind`:

    folder   folder: of an adapter or a model, including an adapter fetched from the hub
    hub      model: the hub id
    openai   model: its name at the endpoint; url: of the endpoint, "" for batch files
    replay   log: the file of texts
    """

    kind: Literal["folder", "hub", "openai", "replay"]
    folder: Path | None = None
    model: str = ""
    url: str = ""
    log: str = ""

    @property
    def runs_here(self) -> bool:
        """Whether this process loads the model, so that its weights and probabilities are available."""
        return self.kind in ("folder", "hub")


def parse_spec(text: str, needs_url: bool = True) -> Spec:
    """Parse a spec. needs_url: whether the model of an endpoint is asked, so that its address must be there.
    Raises InputError for a missing path and for an incomplete endpoint."""
    kind, _, rest = text.partition(":")
    if kind == "replay":
        return Spec("replay", log=rest)
    if kind == "openai":
        model, _, url = rest.rpartition("@") if needs_url or "://" in rest else (rest, "", "")
        if not model or needs_url and not url:
            raise InputError(
                "The endpoint spec is incomplete. Write openai:MODEL@URL, like openai:m@http://host/v1."
            )
        return Spec("openai", model=model, url=url)
    folder = find_folder(text)
    return Spec("folder", folder=folder) if folder else Spec("hub", model=text)


def find_folder(spec: str) -> Path | None:
    """The folder that a spec of a model names, None for a model on the hub. An adapter on the hub is fetched
    into the hub's cache first. Raises InputError for a missing path.
    """
    from rmr1_lite.models.hub_adapters import fetch_adapter

    return local_folder(spec) or fetch_adapter(spec)


def local_folder(spec: str) -> Path | None:
    """The local folder that a spec of a model names, None for a hub id, which is not looked up.
    Raises InputError for a missing path.
    """
    if spec in NANO:
        if not NANO[spec].is_dir():
            raise InputError(f"{spec} is not part of this installation. Reinstall the package with its data.")
        return NANO[spec]
    if spec == smol.NAME:
        return base_folder()
    folder = Path(spec)
    if folder.is_dir():
        return folder
    if folder.exists():
        raise InputError(f"{spec} is a file. Give the folder that holds adapter_config.json or config.json.")
    if spec.count("/") != 1 or spec.startswith((".", "/", "~", "runs/")) or _DRIVE.match(spec):
        choices = ", ".join((*NANO, smol.NAME))
        raise InputError(
            f"{spec} does not exist. Give a folder, a hub id like owner/name, or one of {choices}."
        )
    return None

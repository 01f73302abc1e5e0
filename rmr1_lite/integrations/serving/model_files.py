"""Files that a server would complain about only after minutes: weights, chat templates, a GGUF's head."""

from __future__ import annotations

import json
from pathlib import Path

from rmr1_lite.types import InputError

GGUF_HEAD = (
    64 << 20
)  # bytes; names and values come before the weights, a vocabulary of 150,000 takes about 10 MB
SHARDS = "model.safetensors.index.json"


def check_model(folder: Path) -> None:
    """A model's folder: config, all weights, a chat template. Raises InputError with the remedy."""
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder} has no config.json, so it is no model. Export the judge again.")
    if missing := _missing_weights(folder):
        raise InputError(f"{folder}: {missing} is missing. Export the judge again, or copy all of it.")
    if not _has_template(folder):
        raise InputError(
            f"{folder} has no chat template (chat_template.jinja, or a field of tokenizer_config.json): "
            "servers would refuse messages or invent a form. Copy the template of the base into the folder."
        )


def check_gguf(path: Path) -> None:
    """A GGUF file with a chat template. Raises InputError with the remedy."""
    if not path.is_file():
        raise InputError(f"{path} is missing. Export the judge again, or copy all of it.")
    with path.open("rb") as file:
        head = file.read(GGUF_HEAD)
    if head[:4] != b"GGUF":
        raise InputError(f"{path} is not a GGUF file: it does not begin with GGUF. Copy or export it again.")
    # metadata is stored as plain text; written by GGUF's own rule as length, then name
    if len(b"tokenizer.chat_template").to_bytes(8, "little") + b"tokenizer.chat_template" not in head:
        raise InputError(
            f"{path} has no chat template, so a server would invent one. Convert it again from a folder with "
            "a chat_template.jinja."
        )


def _missing_weights(folder: Path) -> str:
    """The name of a weight file that is not there, "" if all are."""
    if (folder / SHARDS).is_file():
        try:
            named = set(json.loads((folder / SHARDS).read_bytes())["weight_map"].values())
        except (ValueError, KeyError, TypeError, AttributeError):
            return f"{SHARDS} cannot be read, so it"
        return next((name for name in sorted(named) if not (folder / name).is_file()), "")
    found = [*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")]
    return "" if found else "model.safetensors"


def _has_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file() or (folder / "chat_template.json").is_file():
        return True
    try:
        settings = json.loads((folder / "tokenizer_config.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(settings, dict) and bool(settings.get("chat_template"))

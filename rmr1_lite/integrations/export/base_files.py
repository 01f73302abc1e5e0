"""The base's own config and tokenizer files, copied as they are, and neutral generation settings.

Files that transformers 5 writes anew are read differently by older programs (another RoPE, without an
error), so only the weights are written. Changed is what must be: the quantisation of a base stored in 4
bits, and the chat template's thinking switch where the adapter was trained with it set.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from rmr1_lite.models.judge_specs import find_folder
from rmr1_lite.models.model_files import loading_errors
from rmr1_lite.models.precision import TORCH_NAMES
from rmr1_lite.storage import atomic_write_text, write_json
from rmr1_lite.types import InputError

COPIED = (
    "config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "*.model",
    "chat_template.j*",
    "LICENSE*",
    "NOTICE*",
    "USE_POLICY*",
)
TEMPLATE, TOKENIZER = "chat_template.jinja", "tokenizer_config.json"
# of generation_config.json; penalties, top_k and the like are left out: vLLM would apply them to every
# request
NEUTRAL = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")


def base_folder(base: str) -> Path:
    """The folder with the base's files; for a hub id its copy in the hub's cache."""
    folder = find_folder(base)
    if folder is not None:
        return folder
    from huggingface_hub import snapshot_download

    with loading_errors(base):
        return Path(snapshot_download(base, allow_patterns=[*COPIED, "generation_config.json"]))


def copy_base_files(base: str, loaded: Any, number_type: str, folder: Path) -> list[str]:
    """Copy the files into `folder`; returns lines about what is not as in the base."""
    source, said = base_folder(base), []
    for pattern in COPIED:
        for path in sorted(source.glob(pattern)):
            shutil.copy(path, folder / path.name)
    if not (folder / "config.json").is_file():
        raise InputError(f"{source}: config.json is missing. Copy the base's complete folder.")
    said += _adapt_config(folder / "config.json", number_type)
    if _set_template(folder, loaded.tokenizer.chat_template):
        said.append("The chat template has its thinking switch set as the judge was trained.")
    write_json(folder / "generation_config.json", _neutral(loaded))
    return said


def _adapt_config(path: Path, number_type: str) -> list[str]:
    """Programs take the type of the weights from here, and would look for 4-bit layers."""
    config, said = json.loads(path.read_bytes()), []
    before = dict(config)
    if config.pop("quantization_config", None) is not None:
        said.append("config.json is without the base's quantization_config: the weights are plain.")
    for key in ("dtype", "torch_dtype"):
        if config.get(key, TORCH_NAMES[number_type]) != TORCH_NAMES[number_type]:
            config[key] = TORCH_NAMES[number_type]
    if config != before:
        write_json(path, config)
    return said


def _neutral(loaded: Any) -> dict[str, Any]:
    """Greedy, without penalties; which ids end a text stays."""
    from rmr1_lite.models.render import end_ids

    found = loaded.model.generation_config
    kept = {name: getattr(found, name, None) for name in NEUTRAL}
    ends = list(end_ids(loaded.model, loaded.tokenizer))
    kept["eos_token_id"] = ends if len(ends) > 1 else ends[0]
    return {name: value for name, value in kept.items() if value is not None} | {"do_sample": False}


def _set_template(folder: Path, template: str) -> bool:
    """Write the judge's template where the base has another one. llama.cpp's converter reads the
    tokenizer's config first, transformers the file of its own: both are written where both exist."""
    path, config_path = folder / TEMPLATE, folder / TOKENIZER
    config = json.loads(config_path.read_bytes()) if config_path.is_file() else {}
    stored = path.read_text(encoding="utf-8") if path.is_file() else config.get("chat_template")
    if stored == template:
        return False
    atomic_write_text(path, template)
    if "chat_template" in config:
        write_json(config_path, config | {"chat_template": template})
    return True

"""What a model's files say before its weights are read: its config, how it is stored, which ids end an
answer, whether LoRA fits.

Everything that can be refused is refused here, where it costs a second and not a download.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rmr1_lite.models.judge_specs import find_folder
from rmr1_lite.types import InputError


@contextmanager
def loading_errors(spec: str) -> Iterator[None]:
    """What cannot be found, reached or read becomes an InputError with the first line of what was said."""
    from safetensors import SafetensorError

    try:
        yield
    except (
        OSError,
        ValueError,
        SafetensorError,
    ) as error:  # ValueError: remote code, or an unknown model type
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"{spec} could not be loaded: {said.rstrip('.')}. Check the name and the network, or give a "
            "folder that holds the model's files (safetensors, config and tokenizer)."
        ) from None


def model_path(spec: str) -> str:
    """An absolute path for a folder: a relative one with a single slash would be looked up as a hub id."""
    folder = find_folder(spec)
    return str(folder.resolve()) if folder else spec


def read_config(spec: str) -> Any:
    """The model's config, as transformers reads it."""
    from transformers import AutoConfig

    with loading_errors(spec):
        return AutoConfig.from_pretrained(model_path(spec), trust_remote_code=False)


def stored_in_4bit(spec: str) -> bool:
    """Whether the weights are stored in bitsandbytes' 4 bits already. InputError for any other quantisation:
    LoRA here is not trained on those."""
    stored = getattr(read_config(spec), "quantization_config", None)
    if not stored:
        return False
    found = stored if isinstance(stored, dict) else stored.to_dict()
    if found.get("quant_method") != "bitsandbytes" or not found.get("load_in_4bit"):
        method = found.get("quant_method", "unknown")
        raise InputError(
            f"{spec} is stored in another quantisation ({method}). Give the plain model, or one stored in "
            "bitsandbytes 4-bit."
        )
    return True


def answer_ends(base: str, tokenizer: Any) -> list[int]:
    """Ids that end an answer, from files alone: the model's generation settings may name more than the
    tokenizer."""
    from transformers import GenerationConfig

    try:
        named = GenerationConfig.from_pretrained(model_path(base)).eos_token_id
    except OSError:  # a model without generation settings
        named = None
    found: list[Any] = []
    for ends in (named, getattr(read_config(base), "eos_token_id", None), tokenizer.eos_token_id):
        found += ends if isinstance(ends, list) else [ends]
    return [index for index in dict.fromkeys(found) if index is not None]

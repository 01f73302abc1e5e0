"""What a model's files reveal before its weights are read: its config, its storage, which ids end an
answer, whether LoRA fits.

Everything that can be refused is refused here, where it costs a second instead of a download.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rmr1_lite.data.hub_errors import explain, first_line
from rmr1_lite.models.judge_specs import find_folder
from rmr1_lite.models.memory import available_memory, gib
from rmr1_lite.types import InputError

LARGE = 2**30  # bytes of weights that take long enough to read for a progress bar
SMALL = 2**26  # bytes of weights below which a model computes in fp32 on every CPU
FILES = "give a folder that holds the model's files (safetensors, config and tokenizer)"


@contextmanager
def loading_errors(spec: str) -> Iterator[None]:
    """Turn whatever cannot be found, reached or read into an InputError: in our words for errors of the hub,
    otherwise with the first line of the error."""
    import httpx
    from safetensors import SafetensorError

    try:
        yield
    # ValueError: remote code, or an unknown model type
    except (OSError, ValueError, SafetensorError, httpx.HTTPError, RuntimeError) as error:
        hub = explain(error, spec, "model", FILES) if find_folder(spec) is None else None
        if hub is None and isinstance(error, RuntimeError):  # a full card, a tensor that does not fit
            raise
        said = f"{spec} could not be loaded: {first_line(error)}. Check the name and the network, or {FILES}."
        raise hub or InputError(said) from None


@contextmanager
def quiet_unless_large(spec: str) -> Iterator[None]:
    """Hide transformers' progress bar for weights that are read in a second or two."""
    from transformers.utils import logging

    size = stored_bytes(spec) or LARGE
    shown = logging.is_progress_bar_enabled()
    if size < LARGE:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def stored_bytes(spec: str) -> int:
    """Bytes of a model's weights on disk, 0 if they are not on this machine."""
    folder = find_folder(spec)
    return sum(path.stat().st_size for path in folder.glob("*.safetensors")) if folder else 0


def check_memory(spec: str, device: str, bytes_each: float) -> None:
    """Refuse weights that do not fit into this machine's memory before it starts to swap. bytes_each: that a
    parameter takes once it is loaded."""
    stored = getattr(read_config(spec).dtype, "itemsize", 2)
    needed, free = stored_bytes(spec) / stored * bytes_each, available_memory()
    if device == "cpu" and needed > free:
        raise InputError(
            f"{spec} needs {gib(needed)} of memory for its weights alone, but {gib(free)} are available. "
            "Close other programs, or choose a smaller model."
        )


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
    """Whether the weights are already stored in bitsandbytes' 4 bits. InputError for any other quantisation:
    this kit does not train LoRA on those."""
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
    """Ids that end an answer, from the files only: the model's generation settings may name more than the
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

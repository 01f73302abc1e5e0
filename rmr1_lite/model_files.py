"""What a model's files say before its weights are read: its config, how it is stored, which ids end an answer, whether LoRA fits.

Everything that can be refused is refused here, where it costs a second and not a download.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rmr1_lite.adapters import resolve
from rmr1_lite.types import InputError

# every linear layer of the decoder, as QLoRA does; the paper trains all parameters
LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@contextmanager
def reading(spec: str) -> Iterator[None]:
    """What cannot be found, reached or read becomes an InputError with the first line of what was said."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, SafetensorError) as error:  # ValueError: remote code, or an unknown model type
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"{spec} could not be loaded: {said.rstrip('.')}. Check the name and the network, or give a folder that "
            "holds the model's files (safetensors, config and tokenizer)."
        ) from None


def model_place(spec: str) -> str:
    """An absolute path for a folder: a relative one with a single slash would be looked up as a hub id."""
    folder = resolve(spec)
    return str(folder.resolve()) if folder else spec


def read_config(spec: str) -> Any:
    """The model's config, as transformers reads it."""
    from transformers import AutoConfig

    with reading(spec):
        return AutoConfig.from_pretrained(model_place(spec), trust_remote_code=False)


def stored_in_4bit(spec: str) -> bool:
    """Whether the weights are stored in bitsandbytes' 4 bits already. InputError for any other quantisation: LoRA here is not
    trained on those."""
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


def check_layers(base: str, config: Any) -> None:
    """Refuse models without the layers that LoRA is put on, seen on a skeleton without weights."""
    import torch
    from transformers import AutoModelForCausalLM

    try:
        with torch.device("meta"):
            skeleton = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except ValueError as error:  # an encoder, a vision model
        raise InputError(
            f"{base} is no causal language model ({str(error).splitlines()[0]:.150}). Choose a model like Qwen2.5, "
            "Qwen3 or Llama."
        ) from None
    names = check_targets(base, skeleton)
    if missing := [name for name in LORA_TARGETS if name not in names]:
        print(
            f"{base} ({config.model_type}) has no {', '.join(missing)}: LoRA is put on the other layers alone."
        )


def check_targets(base: str, model: Any) -> set[str]:
    """The last names of a model's modules. Raises InputError where LoRA would find none of its layers among them."""
    names = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    if not names & set(LORA_TARGETS):
        raise InputError(
            f"{base} has none of the layers that LoRA is put on here ({', '.join(LORA_TARGETS)}). Choose a model "
            "built like Qwen2.5, Qwen3 or Llama."
        )
    return names


def answer_ends(base: str, tokenizer: Any) -> list[int]:
    """Ids that end an answer, from files alone: the model's generation settings may name more than the tokenizer."""
    from transformers import GenerationConfig

    try:
        named = GenerationConfig.from_pretrained(model_place(base)).eos_token_id
    except OSError:  # a model without generation settings
        named = None
    found: list[Any] = []
    for ends in (named, getattr(read_config(base), "eos_token_id", None), tokenizer.eos_token_id):
        found += ends if isinstance(ends, list) else [ends]
    return [index for index in dict.fromkeys(found) if index is not None]

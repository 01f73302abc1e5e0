"""LoRA on every linear layer of the decoder: checked, added, and saved as a standard PEFT
adapter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rmr1_lite.extras import extra_of
from rmr1_lite.models import unsloth_backend
from rmr1_lite.models.adapters import AdapterInfo, fingerprint_of, write_info
from rmr1_lite.models.loaded import Loaded, is_quantised
from rmr1_lite.models.model_card import trained_card
from rmr1_lite.models.thinking import AS_SAVED
from rmr1_lite.types import InputError

# every linear layer of the decoder, as QLoRA does; the paper trains all parameters
LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


# PEFT's message about torchao and gptqmodel
TOO_OLD = re.compile(r"version of (\w+)\. Found version `?([\w.+]+)`?, but only versions[a-z ]*`?([\d.]+)")


@contextmanager
def peft_errors() -> Iterator[None]:
    """An InputError with the remedy if PEFT stops at an installed package that is not even used.

    At each layer that is not in 4 bits PEFT checks which quantisers are installed, and raises at one that is
    too old instead of ignoring it.
    """
    try:
        yield
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and extra_of(error.name or ""):
            raise  # it is missing: `rmr1_lite.extras` says what to install
        said = str(error).splitlines()[0].rstrip(".")
        if not (old := TOO_OLD.search(said)):  # one that does not fit torch, or lacks a dependency
            raise InputError(
                f"peft stopped at an installed package: {said}. Update the package that it names, or "
                "uninstall it: nothing here needs it."
            ) from None
        from importlib.metadata import version

        name, found, least = old.groups()
        raise InputError(
            f"{name} {found} is installed, and peft {version('peft')} needs {least} or newer. Run "
            f"`pip install -U {name}`, or `pip uninstall {name}`: nothing here needs it."
        ) from None


def check_layers(base: str, config: Any) -> None:
    """Refuse models without LoRA's target layers, checked on a skeleton without weights."""
    import torch
    from transformers import AutoModelForCausalLM

    try:
        with torch.device("meta"):
            skeleton = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except ValueError as error:  # an encoder, a vision model
        raise InputError(
            f"{base} is not a causal language model ({str(error).splitlines()[0]:.150}). Choose a model like "
            "Qwen2.5, Qwen3 or Llama."
        ) from None
    names = check_targets(base, skeleton)
    if missing := [name for name in LORA_TARGETS if name not in names]:
        print(
            f"{base} ({config.model_type}) has no {', '.join(missing)}: LoRA is applied to the other "
            "layers only."
        )


def check_targets(base: str, model: Any) -> set[str]:
    """The last names of a model's modules. Raises InputError if none of LoRA's target layers is among
    them."""
    names = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    if not names & set(LORA_TARGETS):
        raise InputError(
            f"{base} has none of the layers that LoRA is applied to here ({', '.join(LORA_TARGETS)}). Choose "
            "a model built like Qwen2.5, Qwen3 or Llama."
        )
    return names


def with_new_lora(loaded: Loaded, r: int, alpha: int, dropout: float, seed: int) -> Loaded:
    """A fresh LoRA on every linear layer; its first output equals the base's (B starts at zero)."""
    check_targets(loaded.base, loaded.model)
    if loaded.backend and loaded.backend.unsloth:
        loaded.model = unsloth_backend.with_lora(
            loaded.model, LORA_TARGETS, r, alpha, dropout, seed, loaded.checkpointing
        )
        return loaded
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    config = LoraConfig(
        r=r,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=list(LORA_TARGETS),
        bias="none",
        task_type="CAUSAL_LM",
    )
    with peft_errors():
        loaded.model = get_peft_model(freeze_base(loaded.model), config)
    return loaded


def save_adapter(loaded: Loaded, folder: Path, style: str, stage: str) -> None:
    """Save a standard PEFT adapter with tokenizer, model card and `rmr1_lite.json`, atomically."""
    import shutil

    draft = folder.with_name(f".{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    loaded.model.peft_config["default"].base_model_name_or_path = loaded.base
    # the vocabulary is never trained; "auto" would look the base up over the network
    loaded.model.save_pretrained(
        draft, safe_serialization=True, selected_adapters=["default"], save_embedding_layers=False
    )
    _save_tokenizer(loaded, draft)
    four_bit = is_quantised(loaded.model)
    (draft / "README.md").write_text(trained_card(stage, loaded.base, style, four_bit), encoding="utf-8")
    write_info(
        draft,
        AdapterInfo(
            loaded.base,
            style,
            fingerprint_of(loaded.base),
            stage,
            "" if loaded.thinking == AS_SAVED else loaded.thinking,
            four_bit,
        ),
    )
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)


def _save_tokenizer(loaded: Loaded, folder: Path) -> None:
    """The tokenizer with its own pad token: the other one was only for training."""
    used = loaded.tokenizer.pad_token
    if loaded.pad is not None:
        loaded.tokenizer.pad_token = loaded.pad or None
    loaded.tokenizer.save_pretrained(folder)
    loaded.tokenizer.pad_token = used


def freeze_base(base: Any) -> Any:
    """Freeze the base, and leave the few unquantised tensors as they are: none of it is trained."""
    for parameter in base.parameters():
        parameter.requires_grad_(False)
    base.config.use_cache = False
    return base

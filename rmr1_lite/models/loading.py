"""Base and adapter -> a model that can judge or be trained: transformers + PEFT + bitsandbytes.

The single entry point: `load("nano")`, `load("runs/sft/adapter")`, `load("owner/model")`. The base's
linear layers are in NF4 (QLoRA) on a CPU as on a GPU, so the nano chain follows the path of a 7B. Problems of
an adapter are found before the base is read (`rmr1_lite.models.adapters`). Weights come from
safetensors, remote code is never run.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from rmr1_lite.models import smol, unsloth_backend
from rmr1_lite.models.adapters import (
    AdapterInfo,
    export_info,
    fingerprint_of,
    is_adapter,
    read_adapter,
    style_of,
)
from rmr1_lite.models.backend import choose_backend, prepare_card, this_machine
from rmr1_lite.models.exports import ExportInfo, read_export
from rmr1_lite.models.judge_specs import find_folder
from rmr1_lite.models.loaded import Loaded, Training, is_quantised
from rmr1_lite.models.lora import check_layers, freeze_base, peft_errors
from rmr1_lite.models.model_files import (
    LARGE,
    SMALL,
    answer_ends,
    check_memory,
    loading_errors,
    model_path,
    quiet_unless_large,
    read_config,
    stored_bytes,
    stored_in_4bit,
)
from rmr1_lite.models.precision import TORCH_NAMES, check_fp16, cpu_computes_bf16
from rmr1_lite.models.thinking import AS_SAVED, saved_switch
from rmr1_lite.types import InputError


def load(
    spec: str,
    four_bit: bool = True,
    trainable: bool = False,
    training: Training | None = None,
    number_type: str = "",
) -> Loaded:
    """Load what `spec` names: nano, nano-sft, nano-base, smol-base, a folder (adapter or model) or a hub id.

    four_bit: the base's linear layers in NF4; smol-base and exported models stay as stored, which is
    reported. trainable: the adapter's tensors get gradients. training: the backend and the lengths to train
    with; without it transformers + PEFT. number_type: fp32, bf16 or fp16 for the weights that are not in 4
    bits; by default `weights_type`. Raises InputError for impossible choices before anything slow.
    """
    _check_process(training)
    folder = find_folder(spec)
    info = read_adapter(folder) if folder is not None and is_adapter(folder) else None
    export = read_export(folder) if folder is not None else None
    _check_export(spec, export)
    base, tokenizer, pad = info.base if info else spec, load_tokenizer(spec), None
    exported = export is not None or (info is not None and export_info(base) is not None)
    four_bit = four_bit and not _keeps_its_weights(base, exported and not training)
    if training:
        training, pad = _check_and_fit(base, tokenizer, training)
    if info is None or folder is None:
        made = Loaded(_load_base(spec, four_bit, training, number_type), tokenizer, style_of(spec), spec)
    else:
        base_model = _load_base(base, four_bit, training, number_type)
        made = _with_adapter(folder, info, base_model, tokenizer, trainable, training)
    if training:
        made.backend, made.checkpointing, made.pad = training.backend, training.checkpointing, pad
    made.fingerprint = fingerprint_of(spec)
    known = info or export
    made.thinking = (known.thinking or AS_SAVED) if known else saved_switch(tokenizer)
    return made


def _keeps_its_weights(base: str, exported: bool) -> bool:
    """smol's weights were stored in 4 bits, those of an exported judge belong to its adapter: NF4 would round
    them a second time."""
    if base == smol.NAME:
        _say_once(f"{base}: its weights stay as stored (they come from a 4-bit file), also with --four-bit.")
    elif exported:
        _say_once(f"{base} is an exported judge: its weights stay as stored, also with --four-bit.")
    return base == smol.NAME or exported


def _check_export(spec: str, export: ExportInfo | None) -> None:
    if export is not None and not export.runs_in_transformers:
        raise InputError(
            f"{spec} is an export for a server ({export.form}), which does not load here. Start it with "
            f"python -m rmr1_lite serve {spec}, or judge with {export.source}."
        )


def _check_process(training: Training | None) -> None:
    """Unsloth changes transformers for the rest of the process; a model that it did not load itself then
    fails during generation."""
    import sys

    if "unsloth" in sys.modules and not (training and training.backend.unsloth):
        raise InputError(
            "This process has trained with Unsloth, which changes transformers for good: a model loaded "
            "without it would fail. Judge in another process; rmr1_lite.training.process.train trains in a "
            "separate one."
        )


def _check_and_fit(base: str, tokenizer: Any, training: Training) -> tuple[Training, str | None]:
    """(`training` with the model's final length, the replaced pad token or None), before
    weights are read.

    Raises InputError for models that cannot be trained on this backend."""
    config = read_config(base)
    check_fp16(config.model_type, training.backend.half, training.backend.device)
    check_layers(base, config)
    stored_in_4bit(base)
    if not training.backend.unsloth:
        return training, None
    context = getattr(config, "max_position_embeddings", None)
    length = unsloth_backend.length_within_context(training.length, training.extra, context, base)
    ends, vocabulary = answer_ends(base, tokenizer), getattr(config, "vocab_size", None)
    pad = unsloth_backend.separate_pad(tokenizer, ends, vocabulary, base) if training.rollouts else None
    return replace(training, length=length), pad


def within_context(loaded: Loaded, limit: int, answer: int = 0) -> int:
    """`limit`, or the model's context minus `answer` tokens if that is less, and then
    it is reported."""
    context = getattr(loaded.model.config, "max_position_embeddings", None)
    if not context or limit + answer <= context:
        return limit
    reserved = f" ({answer} are reserved for the answer)" if answer else ""
    print(f"{loaded.base} takes {context} tokens: rows may have {context - answer}{reserved}, not {limit}.")
    return context - answer


def load_tokenizer(spec: str) -> Any:
    """Only the tokenizer of `spec`, without reading weights."""
    folder = find_folder(spec)
    if folder is None or not is_adapter(folder) or (folder / "tokenizer_config.json").exists():
        return _read_tokenizer(spec if folder is None else str(folder))
    base = read_adapter(folder).base
    return _read_tokenizer(str(find_folder(base) or base))


_SAID: list[str] = []  # lines printed so far, once each


def model_device() -> str:
    """The device of models: the first CUDA card, else the CPU. Apple's GPU was never tested; reported
    once."""
    prepare_card()  # asking is enough to start CUDA
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available():
        _say_once("This Mac's GPU (MPS) is not used: models run on the CPU here.")
    return "cpu"


def _say_once(text: str) -> None:
    if text not in _SAID:
        _SAID.append(text)
        print(text)


def _with_adapter(
    folder: Path,
    info: AdapterInfo,
    base: Any,
    tokenizer: Any,
    trainable: bool,
    training: Training | None,
) -> Loaded:
    from peft import PeftModel

    with peft_errors():
        model = PeftModel.from_pretrained(
            freeze_base(base) if trainable else base, str(folder), is_trainable=trainable
        )
    # PEFT looks up the base at every checkpoint, over the network unless it is a folder
    model.peft_config["default"].base_model_name_or_path = model_path(info.base)
    if training and training.backend.unsloth:
        model = unsloth_backend.with_loaded_adapter(model, training.checkpointing)
    return Loaded(model, tokenizer, info.style or None, info.base, folder)


def _load_base(spec: str, four_bit: bool, training: Training | None = None, number_type: str = "") -> Any:
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    if training and training.backend.unsloth:
        return unsloth_backend.load_base(
            model_path(spec), four_bit, training, getattr(torch, TORCH_NAMES[training.backend.half])
        )
    where = model_device()
    dtype = getattr(torch, TORCH_NAMES[number_type or weights_type(spec)])
    check_memory(spec, where, 0.6 if four_bit else dtype.itemsize)
    quantise = {}
    # for weights stored in 4 bits, an explicit None would count as "not quantised"
    if four_bit and not stored_in_4bit(spec):
        quantise["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    # without safetensors transformers would have a bot convert the model, and load what the bot made
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
    with loading_errors(spec), quiet_unless_large(spec):
        model = AutoModelForCausalLM.from_pretrained(
            model_path(spec),
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation="sdpa",
            device_map={"": where},
            **quantise,
        )
    for module in model.modules():
        # on CPUs with AVX512-BF16 a forward pass without gradients repacks the weights and breaks the next
        # training step
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
        # a stored one brings the compute type of the machine that made it
        if type(module).__name__ == "Linear4bit":
            module.compute_dtype = dtype
    if four_bit and not is_quantised(model):
        raise InputError(
            f"{spec}: none of its layers can be quantized to 4 bits. Choose a model with plain linear layers "
            "(Qwen2.5, Llama, ...), or --no-four-bit."
        )
    return model


def half_type() -> str:
    """The 16-bit type of this machine's card, fp32 without one: see `rmr1_lite.models.precision`."""
    return choose_backend("transformers", this_machine()).half


def weights_type(spec: str) -> str:
    """The type of a model's weights once loaded: `half_type`; without a card bf16 if the processor has
    it and the model is large enough to benefit.

    Small models, nano above all, give the same metrics to the bit on every processor.
    """
    half = half_type()
    large = (stored_bytes(spec) or LARGE) >= SMALL
    return "bf16" if half == "fp32" and large and cpu_computes_bf16() else half


def _read_tokenizer(spec: str) -> Any:
    from transformers import AutoTokenizer

    with loading_errors(spec):
        return AutoTokenizer.from_pretrained(model_path(spec), trust_remote_code=False)


def free_memory() -> None:
    """Return the memory of models that are no longer used to the card."""
    import gc
    import sys

    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()

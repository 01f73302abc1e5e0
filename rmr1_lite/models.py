"""Base and adapter -> a model that can judge or be trained: transformers + PEFT + bitsandbytes.

One way in for every caller: `load("nano")`, `load("runs/sft/adapter")`, `load("owner/model")`. The base's linear layers
stand in NF4 (QLoRA) on the CPU as on a GPU, so the nano chain takes the path of a 7B. What can be wrong with an adapter
is found before the base is read (`rmr1_lite.adapters`). Weights come from safetensors, remote code is never run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rmr1_lite import unsloth_path
from rmr1_lite.adapters import NANO, AdapterInfo, fingerprint, is_adapter, read_adapter, resolve, weights_of, write_info
from rmr1_lite.backend import Backend, check_fp16, choose, prepare_card, this_machine
from rmr1_lite.model_files import (
    LORA_TARGETS,
    answer_ends,
    check_layers,
    check_targets,
    model_place,
    read_config,
    reading,
    stored_in_4bit,
)
from rmr1_lite.thinking import AS_SAVED, saved
from rmr1_lite.types import InputError

HALVES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}  # ours -> torch's


@dataclass
class Loaded:
    """A model with its tokenizer. style: prompt style, None when unknown. adapter: the folder it came from, or None.

    backend: what it was loaded with; its LoRA is made and patched the same way. weights: fingerprint of what was loaded.
    pad: the tokenizer's own pad token where another one is used while training ("" for none), else None.
    thinking: the switch of its chat template as it was trained ("on", "off"), "" when unknown or when there is none.
    """

    model: Any
    tokenizer: Any
    style: str | None
    base: str
    adapter: Path | None = None
    backend: Backend | None = None
    checkpointing: bool = False
    weights: str = ""
    pad: str | None = None
    thinking: str = ""


@dataclass(frozen=True)
class Training:
    """What a backend has to know when it loads a model to be trained. length: of the longest row in tokens.

    vllm_rank: above 0 rollouts are written by vLLM in the same process, for adapters of this rank. rollouts: GRPO, whose padding
    Unsloth finds by its id. extra: tokens beyond `length` that probes would like.
    """

    backend: Backend
    length: int
    checkpointing: bool
    seed: int
    vllm_rank: int = 0
    rollouts: bool = False
    extra: int = 0


def load(spec: str, four_bit: bool = True, trainable: bool = False, training: Training | None = None) -> Loaded:
    """Load what `spec` names: nano, nano-sft, nano-base, a folder (adapter or model) or a hub id.

    trainable: the adapter's tensors get gradients. training: by which backend, and for which lengths; without it
    transformers + PEFT. Raises InputError for what cannot work, before anything slow.
    """
    _check_process(training)
    folder = resolve(spec)
    info = read_adapter(folder) if folder is not None and is_adapter(folder) else None
    base, tokenizer, pad = info.base if info else spec, load_tokenizer(spec), None
    if training:
        training, pad = _fitting(base, tokenizer, training)
    if info is None:
        made = Loaded(_base(spec, four_bit, training), tokenizer, _style_of_base(spec), spec)
    else:
        made = _with_adapter(folder, info, tokenizer, four_bit, trainable, training)
    if training:
        made.backend, made.checkpointing, made.pad = training.backend, training.checkpointing, pad
    made.weights, made.thinking = weights_of(spec), (info.thinking or AS_SAVED) if info else saved(tokenizer)
    return made


def _check_process(training: Training | None) -> None:
    """Unsloth changes transformers for as long as the process lives; a model that it did not load itself then breaks while it
    writes."""
    import sys

    if "unsloth" in sys.modules and not (training and training.backend.unsloth):
        raise InputError("This process has trained with Unsloth, which changes transformers until it ends: a model loaded "
                         "without it would fail. Judge in another process; rmr1_lite.training_process.train trains in a "
                         "separate one.")  # fmt: skip


def _fitting(base: str, tokenizer: Any, training: Training) -> tuple[Training, str | None]:
    """(`training` with the length that the model will have, the pad token that was replaced or None), before weights are read.

    Raises InputError for models that cannot be trained on this backend."""
    config = read_config(base)
    check_fp16(config.model_type, training.backend)
    check_layers(base, config)
    stored_in_4bit(base)
    if not training.backend.unsloth:
        return training, None
    context = getattr(config, "max_position_embeddings", None)
    length = unsloth_path.length_within_context(training.length, training.extra, context, base)
    ends, vocabulary = answer_ends(base, tokenizer), getattr(config, "vocab_size", None)
    pad = unsloth_path.separate_pad(tokenizer, ends, vocabulary, base) if training.rollouts else None
    return replace(training, length=length), pad


def within_context(loaded: Loaded, limit: int, answer: int = 0) -> int:
    """`limit`, or what the model's context leaves beside `answer` tokens where that is less, and then it is said."""
    context = getattr(loaded.model.config, "max_position_embeddings", None)
    if not context or limit + answer <= context:
        return limit
    beside = f" beside {answer} of the answer" if answer else ""
    print(f"{loaded.base} takes {context} tokens: rows may have {context - answer}{beside}, not {limit}.")
    return context - answer


def load_tokenizer(spec: str) -> Any:
    """The tokenizer alone of what `spec` names, without reading weights."""
    folder = resolve(spec)
    if folder is None or not is_adapter(folder) or (folder / "tokenizer_config.json").exists():
        return _tokenizer(spec if folder is None else str(folder))
    base = read_adapter(folder).base
    return _tokenizer(str(resolve(base) or base))


def with_new_lora(loaded: Loaded, r: int, alpha: int, dropout: float, seed: int) -> Loaded:
    """A fresh LoRA on every linear layer; its first output equals the base's (B starts at zero)."""
    check_targets(loaded.base, loaded.model)
    if loaded.backend and loaded.backend.unsloth:
        loaded.model = unsloth_path.with_lora(loaded.model, LORA_TARGETS, r, alpha, dropout, seed, loaded.checkpointing)
        return loaded
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    config = LoraConfig(r=r, lora_alpha=alpha, lora_dropout=dropout, target_modules=list(LORA_TARGETS),
                        bias="none", task_type="CAUSAL_LM")  # fmt: skip
    loaded.model = get_peft_model(_for_training(loaded.model), config)
    return loaded


def save_adapter(loaded: Loaded, folder: Path, style: str, stage: str, card: str) -> None:
    """A standard PEFT adapter with tokenizer, model card and `rmr1_lite.json`; whole or not at all."""
    import shutil

    draft = folder.with_name(f".{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    loaded.model.peft_config["default"].base_model_name_or_path = loaded.base
    # the vocabulary is never trained; "auto" would look the base up over the network
    loaded.model.save_pretrained(draft, safe_serialization=True, selected_adapters=["default"], save_embedding_layers=False)
    _save_tokenizer(loaded, draft)
    (draft / "README.md").write_text(card, encoding="utf-8")
    base = resolve(loaded.base)
    write_info(draft, AdapterInfo(loaded.base, style, fingerprint(base) if base else "", stage,
                                  "" if loaded.thinking == AS_SAVED else loaded.thinking))  # fmt: skip
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)


def _save_tokenizer(loaded: Loaded, folder: Path) -> None:
    """The tokenizer with its own pad token: the other one was for the training alone."""
    used = loaded.tokenizer.pad_token
    if loaded.pad is not None:
        loaded.tokenizer.pad_token = loaded.pad or None
    loaded.tokenizer.save_pretrained(folder)
    loaded.tokenizer.pad_token = used


def is_quantised(model: Any) -> bool:
    """Whether the base's linear layers are bitsandbytes 4-bit modules."""
    return any(type(module).__name__ == "Linear4bit" or _holds_4bit(module) for module in model.modules())


def device() -> str:
    """Where models go: the first CUDA card, else the CPU."""
    prepare_card()  # asking is enough to start CUDA
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _with_adapter(
    folder: Path, info: AdapterInfo, tokenizer: Any, four_bit: bool, trainable: bool, training: Training | None
) -> Loaded:
    from peft import PeftModel

    base = _base(info.base, four_bit, training)
    model = PeftModel.from_pretrained(_for_training(base) if trainable else base, str(folder), is_trainable=trainable)
    # at every checkpoint PEFT looks its base up, over the network unless it is a folder
    model.peft_config["default"].base_model_name_or_path = model_place(info.base)
    if training and training.backend.unsloth:
        model = unsloth_path.with_loaded_adapter(model, training.checkpointing)
    return Loaded(model, tokenizer, info.style or None, info.base, folder)


def _base(spec: str, four_bit: bool, training: Training | None = None) -> Any:
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    if training and training.backend.unsloth:
        return unsloth_path.load_base(model_place(spec), four_bit, training, getattr(torch, HALVES[training.backend.half]))
    where = device()
    dtype = getattr(torch, HALVES[half_type()])
    quantise = {}
    if four_bit and not stored_in_4bit(spec):  # where the weights are stored so, a given None would count as "not quantised"
        quantise["quantization_config"] = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4",
                                                             bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype)
    with reading(spec):
        model = AutoModelForCausalLM.from_pretrained(
            model_place(spec), dtype=dtype, use_safetensors=True, trust_remote_code=False, attn_implementation="sdpa",
            device_map={"": where}, **quantise,
        )  # fmt: skip
    for module in model.modules():
        # on CPUs with AVX512-BF16 a forward pass without gradients repacks the weights and breaks the next training step
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
        if type(module).__name__ == "Linear4bit":  # a stored one brings the type of the machine that it was made on
            module.compute_dtype = dtype
    if four_bit and not is_quantised(model):
        raise InputError(f"{spec}: none of its layers can be put into 4 bits. Choose a model of plain linear layers (Qwen2.5, "
                         "Llama, ...), or --no-four-bit.")  # fmt: skip
    return model


def half_type() -> str:
    """bf16 from the Ampere generation on, fp16 on older cards (torch calls bf16 supported there, but emulates it), fp32
    without a card."""
    return choose("transformers", this_machine()).half


def _tokenizer(spec: str) -> Any:
    from transformers import AutoTokenizer

    with reading(spec):
        return AutoTokenizer.from_pretrained(model_place(spec), trust_remote_code=False)


def _for_training(base: Any) -> Any:
    """Frozen, and the few tensors that are not quantised as they are: nothing of the base is trained."""
    for parameter in base.parameters():
        parameter.requires_grad_(False)
    base.config.use_cache = False
    return base


def _style_of_base(spec: str) -> str | None:
    """A bare model came with no prompt style; the nano base knows the compact one alone."""
    return "compact" if spec in NANO else None


def _holds_4bit(module: Any) -> bool:
    return type(getattr(module, "base_layer", None)).__name__ == "Linear4bit"


def check_style(loaded: Loaded, style: str) -> str:
    """The style to use: the one asked for, else the one the model came with. Never a guess."""
    if style != "auto":
        return style
    if loaded.style is None:
        raise InputError(f"{loaded.base}: the prompt style is not known. Give --style rubrics, reasoning or compact.")
    return loaded.style


def free() -> None:
    """Give the memory of models that nobody holds any more back to the card."""
    import gc
    import sys

    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()

"""Base and adapter -> a model that can judge or be trained: transformers + PEFT + bitsandbytes.

One way in for every caller: `load("nano")`, `load("runs/sft/adapter")`, `load("owner/model")`. The base's linear layers
stand in NF4 (QLoRA) on the CPU as on a GPU, so the nano chain takes the path of a 7B. What can be wrong with an adapter
is found before the base is read (`rmr1_lite.adapters`). Weights come from safetensors, remote code is never run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmr1_lite.adapters import NANO, AdapterInfo, fingerprint, is_adapter, read_adapter, resolve, weights_of, write_info
from rmr1_lite.backend import Backend, check_fp16, choose, this_machine
from rmr1_lite.types import InputError

HALVES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}  # ours -> torch's
# every linear layer of the decoder, as QLoRA does; the paper trains all parameters
LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass
class Loaded:
    """A model with its tokenizer. style: prompt style, None when unknown. adapter: the folder it came from, or None.

    backend: what it was loaded with; its LoRA is made and patched the same way. weights: fingerprint of what was loaded.
    """

    model: Any
    tokenizer: Any
    style: str | None
    base: str
    adapter: Path | None = None
    backend: Backend | None = None
    checkpointing: bool = False
    weights: str = ""


@dataclass(frozen=True)
class Training:
    """What a backend has to know when it loads a model to be trained. length: of the longest row in tokens.

    vllm_rank: above 0 rollouts are written by vLLM in the same process, for adapters of this rank.
    """

    backend: Backend
    length: int
    checkpointing: bool
    seed: int
    vllm_rank: int = 0


def load(spec: str, four_bit: bool = True, trainable: bool = False, training: Training | None = None) -> Loaded:
    """Load what `spec` names: nano, nano-sft, nano-base, a folder (adapter or model) or a hub id.

    trainable: the adapter's tensors get gradients. training: by which backend, and for which lengths; without it
    transformers + PEFT. Raises InputError for what cannot work, before anything slow.
    """
    folder = resolve(spec)
    if folder is None or not is_adapter(folder):
        tokenizer = _tokenizer(spec if folder is None else str(folder))
        made = Loaded(_base(spec, four_bit, training), tokenizer, _style_of_base(spec), spec)
    else:
        made = _with_adapter(folder, read_adapter(folder), four_bit, trainable, training)
    if training:
        made.backend, made.checkpointing = training.backend, training.checkpointing
    made.weights = weights_of(spec)
    return made


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
    names = {name.rpartition(".")[2] for name, _ in loaded.model.named_modules()}
    if not names & set(LORA_TARGETS):
        raise InputError(f"{loaded.base} has none of the layers that LoRA is put on here ({', '.join(LORA_TARGETS)}). Choose "
                         "a model built like Qwen2.5 or Llama.")  # fmt: skip
    if loaded.backend and loaded.backend.unsloth:
        return _with_unsloth_lora(loaded, r, alpha, dropout, seed)
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    config = LoraConfig(r=r, lora_alpha=alpha, lora_dropout=dropout, target_modules=list(LORA_TARGETS),
                        bias="none", task_type="CAUSAL_LM")  # fmt: skip
    loaded.model = get_peft_model(_for_training(loaded.model), config)
    return loaded


def _with_unsloth_lora(loaded: Loaded, r: int, alpha: int, dropout: float, seed: int) -> Loaded:
    """The same LoRA, made by Unsloth so that its kernels know it."""
    from unsloth import FastLanguageModel

    loaded.model = FastLanguageModel.get_peft_model(
        loaded.model, r=r, lora_alpha=alpha, lora_dropout=dropout, target_modules=list(LORA_TARGETS), bias="none",
        use_gradient_checkpointing="unsloth" if loaded.checkpointing else False, random_state=seed, use_rslora=False,
    )  # fmt: skip
    return loaded


def save_adapter(loaded: Loaded, folder: Path, style: str, stage: str, card: str) -> None:
    """A standard PEFT adapter with tokenizer, model card and `rmr1_lite.json`; whole or not at all."""
    import shutil

    draft = folder.with_name(f".{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    loaded.model.peft_config["default"].base_model_name_or_path = loaded.base
    # the vocabulary is never trained; "auto" would look the base up over the network
    loaded.model.save_pretrained(draft, safe_serialization=True, selected_adapters=["default"], save_embedding_layers=False)
    loaded.tokenizer.save_pretrained(draft)
    (draft / "README.md").write_text(card, encoding="utf-8")
    base = resolve(loaded.base)
    write_info(draft, AdapterInfo(loaded.base, style, fingerprint(base) if base else "", stage))
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)


def is_quantised(model: Any) -> bool:
    """Whether the base's linear layers are bitsandbytes 4-bit modules."""
    return any(type(module).__name__ == "Linear4bit" or _holds_4bit(module) for module in model.modules())


def device() -> str:
    """Where models go: the first CUDA card, else the CPU."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _with_adapter(folder: Path, info: AdapterInfo, four_bit: bool, trainable: bool, training: Training | None) -> Loaded:
    from peft import PeftModel

    base = _base(info.base, four_bit, training)
    model = PeftModel.from_pretrained(_for_training(base) if trainable else base, str(folder), is_trainable=trainable)
    # at every checkpoint PEFT looks its base up, over the network unless it is a folder
    model.peft_config["default"].base_model_name_or_path = _place(info.base)
    if training and training.backend.unsloth:
        from unsloth import FastLanguageModel

        model = FastLanguageModel.patch_peft_model(model, "unsloth" if training.checkpointing else False)
    has_tokenizer = (folder / "tokenizer_config.json").exists()
    tokenizer = _tokenizer(str(folder) if has_tokenizer else str(resolve(info.base) or info.base))
    return Loaded(model, tokenizer, info.style or None, info.base, folder)


def _base(spec: str, four_bit: bool, training: Training | None = None) -> Any:
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    if training:
        _check_half(spec, training.backend)
    if training and training.backend.unsloth:
        return _unsloth_base(spec, four_bit, training)
    where = device()
    dtype = getattr(torch, HALVES[half_type()])
    quantise = {}
    if four_bit and not _stored_in_4bit(spec):  # where the weights are stored so, a given None would count as "not quantised"
        quantise["quantization_config"] = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4",
                                                             bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype)
    with told(spec):
        model = AutoModelForCausalLM.from_pretrained(
            _place(spec), dtype=dtype, use_safetensors=True, trust_remote_code=False, attn_implementation="sdpa",
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


def _stored_in_4bit(spec: str) -> bool:
    """Whether the weights are stored in bitsandbytes' 4 bits already. InputError for any other quantisation: LoRA here is not
    trained on those."""
    from transformers import AutoConfig

    with told(spec):
        stored = getattr(AutoConfig.from_pretrained(_place(spec), trust_remote_code=False), "quantization_config", None)
    if not stored:
        return False
    found = stored if isinstance(stored, dict) else stored.to_dict()
    if found.get("quant_method") != "bitsandbytes" or not found.get("load_in_4bit"):
        method = found.get("quant_method", "unknown")
        raise InputError(f"{spec} is stored in another quantisation ({method}). Give the plain model, or one stored in "
                         "bitsandbytes 4-bit.")  # fmt: skip
    return True


def _unsloth_base(spec: str, four_bit: bool, training: Training) -> Any:
    """The base as Unsloth loads it: its kernels, its checkpointing. Not yet run on a GPU.

    use_exact_model_name: otherwise a name it knows is replaced by a pre-quantised copy, which is another base.
    """
    import torch
    from unsloth import FastLanguageModel

    model, _ = FastLanguageModel.from_pretrained(
        model_name=_place(spec), max_seq_length=training.length, dtype=getattr(torch, HALVES[training.backend.half]),
        load_in_4bit=four_bit, use_exact_model_name=True, random_state=training.seed, **_vllm(training),
        use_gradient_checkpointing="unsloth" if training.checkpointing else False, trust_remote_code=False,
    )  # fmt: skip
    return model


def _vllm(training: Training) -> dict[str, Any]:
    """Half of the card for vLLM, the rest for training. Not yet run."""
    if not training.vllm_rank:
        return {"fast_inference": False}
    return {"fast_inference": True, "max_lora_rank": training.vllm_rank, "gpu_memory_utilization": 0.5}


def _check_half(spec: str, backend: Backend) -> None:
    from transformers import AutoConfig

    with told(spec):
        model_type = AutoConfig.from_pretrained(_place(spec), trust_remote_code=False).model_type
    check_fp16(model_type, backend)


def half_type() -> str:
    """bf16 from the Ampere generation on, fp16 on older cards (torch calls bf16 supported there, but emulates it), fp32
    without a card."""
    return choose("transformers", this_machine()).half


def _tokenizer(spec: str) -> Any:
    from transformers import AutoTokenizer

    with told(spec):
        return AutoTokenizer.from_pretrained(_place(spec), trust_remote_code=False)


@contextmanager
def told(spec: str) -> Iterator[None]:
    """What cannot be found or reached becomes an InputError with the first line of what was said."""
    try:
        yield
    except OSError as error:
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{spec} could not be loaded: {said.rstrip('.')}. Check the name and the network, or give a folder that "
                         "holds the model's files (safetensors, config and tokenizer).") from None  # fmt: skip


def _place(spec: str) -> str:
    """An absolute path for a folder: a relative one with a single slash would be looked up as a hub id."""
    folder = resolve(spec)
    return str(folder.resolve()) if folder else spec


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

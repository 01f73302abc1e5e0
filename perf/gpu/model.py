"""Part 4: random models, made on the machine, since files of their size cannot be uploaded.

The 7B is written as bitsandbytes stores NF4 (5.5 GB instead of 15): one random matrix for each shape of a
layer, quantised once and written for every layer. Speed and memory do not depend on the numbers.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpu.common import CONTEXT, Place
from rmr1_lite.models.judge_specs import NANO
from rmr1_lite.training.planning.gpu_memory import Shape, count_parameters, weight_bytes

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json")
NAMES = (
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)
QUANTISATION = {
    "quant_method": "bitsandbytes",
    "load_in_4bit": True,
    "load_in_8bit": False,
    "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_use_double_quant": True,
    "bnb_4bit_compute_dtype": "bfloat16",
    "bnb_4bit_quant_storage": "uint8",
}
SMOL = {
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
}


def model(place: Place) -> Iterator[dict[str, Any]]:
    """The NF4 model that parts 5 to 8 load, and a Llama of SmolLM2-135M's shape."""
    stored = write_nf4(place.model, place.shape)
    # the file holds a little more: how each matrix is to be unpacked
    yield {
        "nf4_bytes": stored,
        "planned_bytes": weight_bytes(place.shape),
        "parameters": count_parameters(place.shape),
    }
    write_llama(place.folder / "random-llama", place.small)
    yield {"llama": SMOL}


def write_nf4(folder: Path, shape: Shape) -> int:
    """Bytes of the tensors."""
    import torch
    from safetensors.torch import save_file
    from transformers import Qwen2Config

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    tensors = others(shape)
    for name, (inputs, outputs) in zip(NAMES, shape.linears, strict=True):
        stored = quantised(outputs, inputs)
        for layer in range(shape.layers):
            prefix = f"model.layers.{layer}.{name}"
            # clones: safetensors refuses tensors that share their memory
            tensors.update({f"{prefix}.{key}": value.clone() for key, value in stored.items()})
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = Qwen2Config(
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        intermediate_size=shape.mlp,
        vocab_size=shape.vocab,
        tie_word_embeddings=shape.tied,
        max_position_embeddings=CONTEXT,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
        dtype="bfloat16",
    )
    config.architectures, config.quantization_config = ["Qwen2ForCausalLM"], QUANTISATION
    config.save_pretrained(folder)
    copy_tokenizer(folder)
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def quantised(outputs: int, inputs: int) -> dict[str, Any]:
    """A random matrix as bitsandbytes stores it: packed values and their quantisation state."""
    import bitsandbytes.functional as bnb
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    matrix = torch.randn(outputs, inputs, device=device, dtype=torch.bfloat16) * spread(inputs)
    packed, state = bnb.quantize_4bit(matrix, quant_type="nf4", compress_statistics=True)
    parts = {f"weight.{key}": value.cpu() for key, value in state.as_dict(packed=True).items()}
    return {"weight": packed.cpu(), **parts}


def spread(inputs: int) -> float:
    """Scale of random weights that keeps a layer's output about as large as its input: in the miniature too
    the passes then differ in the last bits, as they do on a card."""
    return inputs**-0.5


def others(shape: Shape) -> dict[str, Any]:
    """Embeddings, head, norms and biases in bf16."""
    import torch

    def random(*size: int) -> Any:
        return (torch.randn(*size) * 0.02).to(torch.bfloat16)

    made = {
        "model.embed_tokens.weight": random(shape.vocab, shape.hidden),
        "model.norm.weight": torch.ones(shape.hidden).bfloat16(),
    }
    if not shape.tied:
        made["lm_head.weight"] = random(shape.vocab, shape.hidden)
    for layer in range(shape.layers):
        prefix = f"model.layers.{layer}"
        for norm in ("input_layernorm", "post_attention_layernorm"):
            made[f"{prefix}.{norm}.weight"] = torch.ones(shape.hidden).bfloat16()
        for name, (_, outputs) in zip(NAMES[:3], shape.linears[:3], strict=True):
            made[f"{prefix}.{name}.bias"] = random(outputs)
    return made


def write_llama(folder: Path, small: bool) -> None:
    """Random weights with nano's tokenizer: its pad is not its end."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    size = {**SMOL, "num_hidden_layers": 2, "hidden_size": 72, "intermediate_size": 160} if small else SMOL
    torch.manual_seed(0)
    config = LlamaConfig(
        **size,
        vocab_size=1600 if small else 49152,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
    )
    LlamaForCausalLM._from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    copy_tokenizer(folder)


def copy_tokenizer(folder: Path) -> None:
    for name in TOKENIZER:
        source = NANO["nano-base"] / name
        if source.exists():
            shutil.copyfile(source, folder / name)


def llama(place: Place) -> Iterator[dict[str, Any]]:
    """Three SFT and two GRPO steps of the Llama, on nano's rows."""
    from gpu.common import fresh, rows_of, short_training
    from gpu.parity import given_rollouts
    from rmr1_lite.config import GRPOConfig, SFTConfig
    from rmr1_lite.training.grpo import train_grpo
    from rmr1_lite.training.sft import train_sft

    common = short_training(place)
    base = str(place.folder / "random-llama")
    out = {stage: str(fresh(place, f"llama-{stage}")) for stage in ("sft", "grpo")}
    adapter = train_sft(
        SFTConfig(
            model=base,
            chains=str(place.data / "chains.jsonl"),
            out=out["sft"],
            limit=24,
            epochs=1.0,
            batch_size=8,
            micro_batch=8,
            **common,
        )
    )
    yield {"sft": rows_of(out["sft"], "loss", "grad_norm")}
    with given_rollouts():
        train_grpo(
            GRPOConfig(
                model=str(adapter),
                pairs=str(place.data / "train.jsonl"),
                out=out["grpo"],
                groups=2,
                rollouts=4,
                micro_batch=8,
                steps=2,
                **common,
            )
        )
    yield {"grpo": rows_of(out["grpo"], "loss", "grad_norm")}

"""How many bytes a judge takes during training: arithmetic on its shape, without torch or a GPU.

    weights      linear layers in NF4: half a byte per parameter, an absmax byte per 64, four bytes per 256 of
                 those; the
                 embeddings, the head (if it has its own weights), norms and biases in 16 bits
    LoRA         rank x (in + out) parameters per linear layer, 16 bytes each: value, gradient, two Adam
                 moments, in 32 bits
    cache        2 (keys, values) x layers x key-value heads x head size x 2 bytes per token
    first pass   while rollouts are generated: all prompts of a step through one layer at a time
    activations  with checkpointing one vector per layer and token, and the inside of one layer while it is
                 recomputed
    logits       vocabulary x 10 bytes (16 bits, 32 bits, gradient) for as many completion tokens as are taken
                 at a time
    workspace    CUDA, the libraries' kernels and fragmentation

The first three are exact (counted on a real model in the tests). The others follow from what the layers keep
for the backward pass: on an H200 they were 1.0 to 1.4 times the measured values (docs/gpu.md).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmr1_lite.types import InputError

GIB = 1024**3
HALF, FULL = 2, 4  # bytes
NF4_BLOCK, ABSMAX_BLOCK = 64, 256
OPTIMIZER_BYTES = 16
LOGIT_BYTES = 10
LOGIT_CHUNK = 1024  # completion tokens whose logits exist at the same time
WORKSPACE = 0.9 * GIB  # CUDA context, cuBLAS, a dequantised layer
FRAGMENTED = 1.06


@dataclass(frozen=True)
class Shape:
    """A decoder of the Llama, Qwen2 or Qwen3 kind. tied: the head shares the embeddings' weights. biases: on
    q, k and v (Qwen2). qk_norm: a norm on each head's queries and keys (Qwen3)."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    mlp: int
    vocab: int
    tied: bool
    head_dim: int = 128
    biases: bool = True
    qk_norm: bool = False

    @property
    def linears(self) -> tuple[tuple[int, int], ...]:
        """(in, out) of the seven linear layers of a block: q, k, v, o, gate, up, down."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return (
            (self.hidden, q),
            (self.hidden, kv),
            (self.hidden, kv),
            (q, self.hidden),
            (self.hidden, self.mlp),
            (self.hidden, self.mlp),
            (self.mlp, self.hidden),
        )


_1_5B: dict[str, Any] = {
    "hidden": 1536,
    "layers": 28,
    "heads": 12,
    "kv_heads": 2,
    "mlp": 8960,
    "vocab": 151936,
}
_7B: dict[str, Any] = {
    "hidden": 3584,
    "layers": 28,
    "heads": 28,
    "kv_heads": 4,
    "mlp": 18944,
    "vocab": 152064,
}
_QWEN3: dict[str, Any] = {"kv_heads": 8, "vocab": 151936, "biases": False, "qk_norm": True}
SHAPES: dict[str, Shape] = {
    "Qwen/Qwen2.5-1.5B-Instruct": Shape(**_1_5B, tied=True),
    "Qwen/Qwen2.5-3B-Instruct": Shape(2048, 36, 16, 2, 11008, 151936, tied=True),
    "Qwen/Qwen2.5-7B-Instruct": Shape(**_7B, tied=False),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": Shape(**_1_5B, tied=False),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B": Shape(**_7B, tied=False),
    "Qwen/Qwen3-0.6B": Shape(1024, 28, 16, mlp=3072, tied=True, **_QWEN3),
    "Qwen/Qwen3-1.7B": Shape(2048, 28, 16, mlp=6144, tied=True, **_QWEN3),
    "Qwen/Qwen3-4B": Shape(2560, 36, 32, mlp=9728, tied=True, **_QWEN3),
    "Qwen/Qwen3-8B": Shape(4096, 36, 32, mlp=12288, tied=False, **_QWEN3),
    "smol-base": Shape(576, 30, 9, 3, 1536, 49152, tied=True, head_dim=64, biases=False),
}


def shape_of(spec: str, folder: Path | None = None) -> Shape:
    """The shape of a known hub id, or of a local folder's config.json."""
    if spec in SHAPES:
        return SHAPES[spec]
    path = (folder or Path(spec)) / "config.json"
    if not path.is_file():
        raise InputError(
            f"The shape of {spec} is not known. Give a folder with config.json, or one of "
            f"{', '.join(SHAPES)}."
        )
    held = json.loads(path.read_bytes())
    try:
        heads = held["num_attention_heads"]
        return Shape(
            held["hidden_size"],
            held["num_hidden_layers"],
            heads,
            held.get("num_key_value_heads", heads),
            held["intermediate_size"],
            held["vocab_size"],
            held.get("tie_word_embeddings", False),
            held.get("head_dim") or held["hidden_size"] // heads,
            held.get("model_type", "qwen2") == "qwen2",
            held.get("model_type") == "qwen3",
        )
    except KeyError as error:
        raise InputError(
            f"{path} has no {error}: only decoders of the Llama and Qwen2 kind can be planned."
        ) from None


def count_parameters(shape: Shape) -> int:
    """All parameters."""
    return _linear_parameters(shape) + _other_parameters(shape)


def _linear_parameters(shape: Shape) -> int:
    return shape.layers * sum(i * o for i, o in shape.linears)


def _other_parameters(shape: Shape) -> int:
    """Parameters that stay in 16 bits: embeddings, head, norms, biases."""
    biases = shape.layers * sum(o for _, o in shape.linears[:3]) if shape.biases else 0
    norms = (2 * shape.layers + 1) * shape.hidden + (
        2 * shape.layers * shape.head_dim if shape.qk_norm else 0
    )
    return shape.vocab * shape.hidden * (1 if shape.tied else 2) + biases + norms


def weight_bytes(shape: Shape, four_bit: bool = True, half: int = HALF) -> int:
    """Bytes of the base's weights; `half`: per unquantised parameter (4 on a CPU, where it stays in 32
    bits)."""
    if not four_bit:
        return count_parameters(shape) * half
    return shape.layers * sum(nf4_bytes(i * o) for i, o in shape.linears) + _other_parameters(shape) * half


def nf4_bytes(count: int) -> int:
    """One matrix of `count` parameters in NF4 with double quantisation: packed values, absmax bytes, their
    own absmax."""
    blocks = -(-count // NF4_BLOCK)
    return -(-count // 2) + blocks + FULL * -(-blocks // ABSMAX_BLOCK)


def lora_parameters(shape: Shape, rank: int) -> int:
    """LoRA on every linear layer."""
    return shape.layers * sum(rank * (i + o) for i, o in shape.linears)


def cache_bytes(shape: Shape, half: int = HALF) -> int:
    """Keys and values of one token."""
    return 2 * shape.layers * shape.kv_heads * shape.head_dim * half


def activation_bytes(shape: Shape, tokens: int, checkpointing: bool = True) -> int:
    """Bytes that `tokens` in one forward pass keep for the backward pass."""
    q, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    # norms keep 32-bit copies; the MLP keeps gate, up, their product and the activation
    inside = HALF * (3 * shape.hidden + 2 * q + 2 * kv + 4 * shape.mlp) + 2 * FULL * shape.hidden
    between = HALF * shape.hidden
    return tokens * (shape.layers * between + inside if checkpointing else shape.layers * (between + inside))


def first_pass_bytes(shape: Shape, tokens: int) -> int:
    """The peak of a pass that keeps nothing for a backward pass: one layer's MLP (gate, up, their
    product) plus the hidden states."""
    return tokens * HALF * (3 * shape.mlp + 2 * shape.hidden)


def logit_bytes(shape: Shape, tokens: int) -> int:
    """Logits and their gradient for the completion tokens processed at a time."""
    return min(tokens, LOGIT_CHUNK) * shape.vocab * LOGIT_BYTES


@dataclass(frozen=True)
class Need:
    """Bytes by part. peak: with workspace and fragmentation."""

    parts: dict[str, int]

    @property
    def peak(self) -> float:
        return sum(self.parts.values()) * FRAGMENTED + WORKSPACE


def sft_need(shape: Shape, rank: int, micro_batch: int, length: int, checkpointing: bool = True) -> Need:
    """One SFT step whose rows are all `length` tokens long, half of them loss-bearing at most."""
    tokens = micro_batch * length
    return Need(
        {
            **_fixed_bytes(shape, rank),
            "activations": activation_bytes(shape, tokens, checkpointing),
            "logits": logit_bytes(shape, tokens),
        }
    )


def grpo_need(
    shape: Shape,
    rank: int,
    prompt: int,
    completion: int,
    groups: int,
    rollouts: int,
    micro_batch: int,
    checkpointing: bool = True,
    shared_prefix: bool = True,
) -> tuple[Need, Need]:
    """(needs while rollouts are generated, needs while they are trained on), everything at its longest.

    All rollouts of a step are generated together, by `generate`: each row has its own prompt there, in the
    cache and in the first pass over all prompts. With a shared prefix the training pass computes each group's
    prompt once if a micro-batch holds whole groups: Unsloth shares only within those.
    """
    rows = groups * rollouts
    writing = {
        **_fixed_bytes(shape, rank),
        "cache": rows * (prompt + completion) * cache_bytes(shape),
        "first pass over the prompts": first_pass_bytes(shape, rows * prompt),
        "logits": rows * shape.vocab * LOGIT_BYTES,
    }
    whole = shared_prefix and micro_batch % rollouts == 0
    trained = micro_batch * completion + (micro_batch // rollouts if whole else micro_batch) * prompt
    training = {
        **_fixed_bytes(shape, rank),
        "activations": activation_bytes(shape, trained, checkpointing),
        "logits": logit_bytes(shape, micro_batch * completion),
    }
    return Need(writing), Need(training)


def _fixed_bytes(shape: Shape, rank: int) -> dict[str, int]:
    return {
        "weights": weight_bytes(shape),
        "LoRA and optimizer": lora_parameters(shape, rank) * OPTIMIZER_BYTES,
    }

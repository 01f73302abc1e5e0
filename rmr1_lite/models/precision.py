"""Which 16-bit type a card computes in, and which models overflow in fp16."""

from __future__ import annotations

from rmr1_lite.types import InputError

BF16_CAPABILITY = (8, 0)  # CUDA compute capability of the Ampere generation
TORCH_NAMES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}  # ours -> torch's
# prefixes of model types whose activations or gradients exceed fp16's range, from Unsloth's list (a test
# compares them)
NOT_IN_FP16 = (
    "gemma3",
    "gemma4",
    "embedding_gemma2",
    "glm4_moe",
    "gpt_oss",
    "qwen3_5",
    "qwen3_moe",
    "qwen3_next",
)


def half_precision(capability: tuple[int, int] | None) -> str:
    """bf16 from the Ampere generation on, fp16 on older cards (torch calls bf16 supported there, but emulates
    it), fp32 without a card (None).
    """
    if capability is None:
        return "fp32"
    return "bf16" if capability >= BF16_CAPABILITY else "fp16"


def cpu_computes_bf16() -> bool:
    """Whether this processor multiplies in bf16 (AVX512-BF16, AMX, Arm's BF16); elsewhere torch emulates it,
    slower than fp32. Linux lists a processor's features; on other systems torch is asked."""
    import torch

    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            flags = next((line for line in file if line.startswith(("flags", "Features"))), "").split()
        return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(flags))
    except OSError:
        asked = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
        return bool(asked())


def check_fp16(model_type: str, half: str, card: str) -> None:
    """Refuse models that overflow in fp16 before their weights are downloaded."""
    if half == "fp16" and model_type.startswith(NOT_IN_FP16):
        raise InputError(
            f"Models of type {model_type} overflow in fp16, and {card} does not support bf16. Choose a "
            "Qwen2.5 or Llama model, or a card from the Ampere generation on (A10G, L4, A100, ...)."
        )

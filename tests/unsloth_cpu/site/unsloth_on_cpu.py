"""Unsloth on a machine without a GPU, for tests: its own trainers, model classes, adapters, autograd
functions and modes.

What is real: FastLanguageModel, get_peft_model, patch_peft_model, the fused LoRA functions, for_training and
for_inference, its generate, the SFT and GRPO trainers that it generates, packing, shared prompts and their
check, saving, resuming.

What is not (every name is checked to exist in the pinned version before it is replaced):

    Triton              Unsloth's own stand-in for Macs: kernels are defined and never run
    five kernels        RMSNorm, RoPE, cross-entropy, SwiGLU and its backward, as the PyTorch lines that they
                        compute
    FlexAttention       has no backward pass on a CPU: scaled dot-product attention with the same mask
    NF4                 unpacked by bitsandbytes' CPU code
    16-bit products     through 32 bits, see half_products.py
    compilation         off
    other trainers      of TRL's trainers only SFT's and GRPO's are generated (a third of the time)
    the card            reported as Ampere generation (bf16, fp32) or a T4 (fp16), with 8 GiB; tensors
                        stay on the CPU
    the kit             sees that card, judges as on a card (the model's own generate), and may
                        train in fp32

Not tested this way: Triton and CUDA kernels, compilation, memory, speed, offloaded checkpoints.

    PYTHONPATH=tests/unsloth_cpu/site RMR1_UNSLOTH_ON_CPU=bf16 python -m rmr1_lite sft --backend unsloth ...

With `--backend transformers` the same environment gives the other backend on the same stand-in card.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from types import ModuleType, SimpleNamespace
from typing import Any

PINNED = "2026.10.7"
SETTINGS = {
    "UNSLOTH_ALLOW_CPU": "1",  # of the import alone, see `_after_unsloth`
    "UNSLOTH_DISABLE_STATISTICS": "1",
    "UNSLOTH_COMPILE_DISABLE": "1",
    "TORCH_COMPILE_DISABLE": "1",  # the line above still compiles GRPO's chunk
    "UNSLOTH_DISABLE_PINNED_MEMORY": "1",
    "UNSLOTH_DISABLE_DOUBLE_BUFFER": "1",
}
CAPABILITY = {"fp32": (8, 0), "bf16": (8, 0), "fp16": (7, 5)}
BNB_SYMBOLS = (
    "cdequantize_blockwise_fp32",
    "cdequantize_blockwise_fp16_nf4",
    "cdequantize_blockwise_bf16_nf4",
    "cdequantize_blockwise_fp32_nf4",
    "cgemm_4bit_inference_naive_fp16",
    "cgemm_4bit_inference_naive_bf16",
)
GIB = 1 << 30


# ---- when which module is imported


class _Around:
    """A loader with hooks before and after a module is executed."""

    def __init__(self, loader: Any, before: Callable[[], None], after: Callable[[ModuleType], None]) -> None:
        self.loader, self.before, self.after = loader, before, after

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.before()
        self.loader.exec_module(module)
        self.after(module)


class _Finder:
    """Wraps the given modules in an `_Around`."""

    def __init__(self, hooks: dict[str, tuple[Callable[[], None], Callable[[ModuleType], None]]]) -> None:
        self.hooks = hooks

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name not in self.hooks:
            return None
        before, after = self.hooks.pop(name)
        spec = find_spec(name)
        spec.loader = _Around(spec.loader, before, after)
        return spec


def install(half: str) -> None:
    """Before anything is imported. half: bf16 or fp16 as a card's generation would give, or fp32."""
    os.environ.update(SETTINGS)
    nothing = lambda: None  # noqa: E731
    sys.meta_path.insert(
        0,
        _Finder(
            {
                "rmr1_lite.models.backend": (nothing, lambda module: _kit_on_a_card(module, half)),
                "rmr1_lite.judging.engines.local": (nothing, _kit_judges_as_on_a_card),
                "unsloth": (lambda: _before_unsloth(half), _after_unsloth),
            }
        ),
    )


def put(owner: Any, name: str, value: Any) -> None:
    """Replace something that must be there: a renamed function would otherwise stay in force unseen."""
    if not hasattr(owner, name):
        raise AttributeError(
            f"{getattr(owner, '__name__', owner)} has no {name}: this shim is for unsloth {PINNED}"
        )
    setattr(owner, name, value)


# ---- the kit


def _kit_on_a_card(backend: ModuleType, half: str) -> None:
    from dataclasses import replace

    import half_products

    if half != "fp32":
        half_products.install()
    card, plain = backend.Machine("stand-in card", CAPABILITY[half], True), backend.choose_backend
    put(backend, "this_machine", lambda: card)
    put(backend, "choose_backend", lambda asked, machine: replace(plain(asked, machine), half=half))


def _kit_judges_as_on_a_card(local: ModuleType) -> None:
    """On a CPU it would generate with its own passes and copies."""
    put(local, "is_supported", lambda model: False)
    put(local.LocalEngine, "_plain", lambda self: self.model)


# ---- Unsloth


class _Cpu(str):
    """The name of a device that also counts as card number 0."""

    def __index__(self) -> int:
        return 0


class _NoKernel:
    """A symbol of bitsandbytes' CUDA library that is inspected but never called."""

    restype = None

    def __call__(self, *_: Any) -> None:
        raise RuntimeError("a CUDA kernel of bitsandbytes was called on the CPU")


class _Launch:
    """kernel[grid](tensors..., n, constants) -> work(tensors..., n)."""

    def __init__(self, work: Callable[..., Any]) -> None:
        self.work = work

    def __getitem__(self, grid: Any) -> Callable[..., Any]:
        return lambda *tensors, **_: self.work(*tensors)


def _before_unsloth(half: str) -> None:
    """The card and Triton, which Unsloth inspects on import."""
    for name in ("unsloth", "unsloth_zoo"):
        if version(name) != PINNED:
            raise ImportError(f"{name} {version(name)} is installed, this shim is for {PINNED}")
    import bitsandbytes.functional as bnb
    import torch

    if find_spec("triton") is None:
        _stand_in_for_triton()
    for name in BNB_SYMBOLS:
        setattr(bnb.lib, name, _NoKernel())  # not in the CPU library
    major, minor = CAPABILITY[half]
    card = SimpleNamespace(
        name="none", major=major, minor=minor, total_memory=8 * GIB, multi_processor_count=1
    )
    put(torch.cuda, "get_device_properties", lambda *_: card)
    put(torch.cuda, "get_device_capability", lambda *_: (major, minor))
    put(torch.cuda, "mem_get_info", lambda *_: (4 * GIB, 8 * GIB))
    put(torch.cuda, "current_device", lambda: _Cpu("cpu:0"))


def _stand_in_for_triton() -> None:
    zoo = find_spec("unsloth_zoo")  # not imported: that would need Triton
    path = os.path.join(zoo.submodule_search_locations[0], "stubs", "triton_stub.py")
    spec = spec_from_file_location("unsloth_triton_stub", path)
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    module.inject_into_sys_modules()


def _after_unsloth(unsloth: ModuleType) -> None:
    """Kernels and device, then TRL, which Unsloth leaves alone on a CPU."""
    import torch

    _replace_kernels()
    put(unsloth.models._utils, "SUPPORTS_BFLOAT16", True)
    put(torch.cuda, "is_bf16_supported", lambda *_, **__: True)
    for name, module in list(sys.modules.items()):
        if name.startswith("unsloth"):
            if getattr(module, "DEVICE_TYPE_TORCH", "") == "cuda":
                module.DEVICE_TYPE_TORCH = "cpu"
            if hasattr(module, "DEVICE_COUNT"):
                module.DEVICE_COUNT = 1
    os.environ["UNSLOTH_ALLOW_CPU"] = "0"
    from unsloth.context_parallel import patch_sft_trainer
    from unsloth.models import rl
    from unsloth.trainer import _patch_trl_trainer

    put(
        rl,
        "patch_trl_rl_trainers",
        lambda: [rl._patch_trl_rl_trainers(name) for name in ("sft_trainer", "grpo_trainer")],
    )
    rl.PatchFastRL()
    _patch_trl_trainer()
    patch_sft_trainer()


def _replace_kernels() -> None:
    from torch.nn.functional import silu
    from unsloth.kernels import cross_entropy_loss, rms_layernorm, rope_embedding, swiglu, utils
    from unsloth.utils import prefix_grouper_kernel

    put(utils, "_USE_NF4_KERNELS", False)
    put(utils, "_fast_dequantize_bnb", dequantised)
    put(utils, "_fast_gemv_bnb", lambda x, weight, state, out=None: x.matmul(dequantised(weight, state).t()))
    put(rms_layernorm, "Fast_RMS_Layernorm", SimpleNamespace(apply=rms_norm))
    put(rope_embedding, "_fast_rope_embedding_eager", rope)
    put(cross_entropy_loss, "Fast_CrossEntropyLoss", SimpleNamespace(apply=cross_entropy))
    put(swiglu, "_fg_kernel", _Launch(lambda e, g, h, n: h.copy_(silu(e.float()).to(g.dtype) * g)))
    put(swiglu, "_DWf_DW_dfg_kernel", _Launch(swiglu_backward))
    put(prefix_grouper_kernel, "_flex_attention_compiled", flex_attention)


def dequantised(
    weight: Any, quant_state: Any = None, out: Any = None, use_global_buffer: bool = False
) -> Any:
    """An NF4 matrix in plain numbers, [out, in], or transposed if the packed one is."""
    import bitsandbytes.functional as bnb

    if quant_state is None:
        return weight
    turned = weight.shape[0] == 1
    plain = bnb.dequantize_4bit(weight.t() if turned else weight, quant_state)
    return plain.t() if turned else plain


def rms_norm(x: Any, weight: Any, eps: float, gemma: bool, *_: Any) -> Any:
    """In 32 bits, rounded before the weight."""
    wide = x.float()
    return (wide * (wide.pow(2).mean(-1, keepdim=True) + eps).rsqrt()).to(x.dtype) * weight


def rope(query: Any, key: Any, cos: Any, sin: Any, places: Any) -> tuple[Any, ...]:
    """query, key: [rows, heads, tokens, head size]. places: position ids [rows, tokens], None for 0, 1,
    ..."""
    import torch

    # clones: a cache that a probe made is an inference tensor, which no gradient may meet
    tables = [table.squeeze().clone() for table in (cos, sin)]
    if places is None:
        cos, sin = (table[: query.shape[2]][None, None] for table in tables)
    else:
        cos, sin = (table[places.view(query.shape[0], -1)][:, None] for table in tables)
    half = query.shape[-1] // 2

    def turned(x: Any) -> Any:
        return torch.cat((-x[..., half:], x[..., :half]), -1)

    return tuple((x * cos + turned(x) * sin).to(x.dtype) for x in (query, key))


def cross_entropy(logits: Any, labels: Any, softcapping: float = 0, scaling: float = 0) -> Any:
    """Loss of each token; 0 where the label is -100."""
    from torch.nn import functional as F

    return F.cross_entropy(logits.float(), labels, reduction="none", ignore_index=-100)


def swiglu_backward(dw: Any, e: Any, g: Any, n: int) -> None:
    """In place, as the kernel: DW, e, g become h, df, de."""
    from unsloth.kernels import swiglu

    for old, new in zip((dw, e, g), swiglu._DWf_DW_dfg_traced(dw, e, g), strict=True):
        old.copy_(new)


def flex_attention(
    query: Any, key: Any, value: Any, block_mask: Any, enable_gqa: bool, scale: float, kernel_options: Any
) -> Any:
    """Every head its keys, and a mask in full. Empty rows see themselves, or their gradient would be no
    number."""
    import torch
    from torch.nn.attention.flex_attention import create_mask
    from torch.nn.functional import scaled_dot_product_attention

    n, times = query.shape[2], query.shape[1] // key.shape[1]
    mask = create_mask(block_mask.mask_mod, 1, 1, n, n, device="cpu") | torch.eye(n, dtype=torch.bool)
    key, value = (x.repeat_interleave(times, 1) for x in (key, value))
    return scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)

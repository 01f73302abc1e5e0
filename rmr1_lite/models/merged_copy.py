"""A plain copy of a quantised or LoRA model for generating rollouts and judgments: faster than the layers it
replaces."""

from __future__ import annotations

from typing import Any


class MergedCopy:
    """A plain copy of a quantised or LoRA model, the adapter added into dequantised weights: faster to
    generate with.

    The quantised weights themselves are never merged into (NF4 would round the adapter away). `refresh`
    updates the copy to the current adapter; until then it is the policy of the last refresh. version: counts
    the refreshes that changed anything.
    """

    def __init__(self, model: Any) -> None:
        import copy

        import torch

        causal = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.layers = [(name, module) for name, module in causal.named_modules() if is_replaced(name, module)]
        self.bases = [dequantised_weight(module) for _, module in self.layers]
        config = copy.deepcopy(causal.config)
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        # new weights are drawn and discarded: this must not change the random state of the surrounding
        # training
        with torch.random.fork_rng(), torch.no_grad():
            self.model = type(causal)(config).to(model.device, causal.dtype).eval()
        names = {name for name, _ in self.layers}
        rest = {
            name.replace(".base_layer", ""): value
            for name, value in causal.state_dict().items()
            if ".lora_" not in name
            and not (name.endswith("weight") and _layer_of_weight(name) in names)
            and not is_quantisation_state(name)
        }
        self.model.load_state_dict(rest, strict=False)
        # buffers that are not saved (rotary frequencies) were rounded by the conversion above
        buffers = dict(causal.named_buffers())
        for name, buffer in self.model.named_buffers():
            buffer.data = buffers[name].clone() if name in buffers else buffer.data
        self.model.generation_config = model.generation_config
        self.version = 0
        self.seen: list[Any] | None = None
        self.refresh()

    def refresh(self) -> Any:
        """The copy, with the adapter's current weights."""
        import torch

        now = [tensor for _, module in self.layers for tensor in _adapter_tensors(module)]
        if self.seen is not None and _same_tensors(now, self.seen):
            return self.model
        self.seen, self.version = [tensor.detach().clone() for tensor in now], self.version + 1
        with torch.no_grad():
            for (name, module), base in zip(self.layers, self.bases, strict=True):
                # summed in 32 bits and rounded once: an update smaller than half a bf16 step of the weight
                # would vanish twice
                delta = sum(
                    (module.get_delta_weight(adapter).float() for adapter in active_adapters(module)), 0
                )
                self.model.get_submodule(name).weight.copy_(base.float() + delta)
        return self.model


def copy_bytes(model: Any) -> int:
    """Bytes of memory that a copy takes: its weights, and on a CPU the dequantised ones in 32 bits next to
    them."""
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    count, quantised = (
        causal.num_parameters(),
        any(type(m).__name__ == "Linear4bit" for m in causal.modules()),
    )
    return count * (causal.dtype.itemsize + (4 if quantised else 0))


def active_adapters(module: Any) -> list[str]:
    """Adapters that a layer currently adds to its base; none for a layer without, or while they are
    switched off."""
    if not hasattr(module, "get_delta_weight") or module.disable_adapters:
        return []
    return [adapter for adapter in module.active_adapters if adapter in module.lora_A]


def _adapter_tensors(module: Any) -> list[Any]:
    """What a layer's current weight depends on besides its base: A and B of the active adapters."""
    return [
        matrices[adapter].weight
        for adapter in active_adapters(module)
        for matrices in (module.lora_A, module.lora_B)
    ]


def _same_tensors(one: list[Any], other: list[Any]) -> bool:
    import torch

    return len(one) == len(other) and all(map(torch.equal, one, other))


def is_replaced(name: str, module: Any) -> bool:
    """Layers whose weight the copy computes: those with an adapter, and quantised ones without."""
    from peft.tuners.lora import LoraLayer

    return (
        isinstance(module, LoraLayer)
        or type(module).__name__ == "Linear4bit"
        and not name.endswith(".base_layer")
    )


def _layer_of_weight(weight: str) -> str:
    """Name of the layer a weight belongs to, without PEFT's wrapping."""
    return weight.removesuffix(".weight").removesuffix(".base_layer")


def dequantised_weight(module: Any) -> Any:
    import torch
    from peft.utils.integrations import dequantize_module_weight

    base = module.get_base_layer() if hasattr(module, "get_base_layer") else module
    if type(base).__name__ != "Linear4bit":
        return base.weight.detach()  # frozen: no copy needed
    weight = dequantize_module_weight(base)
    return weight.detach().to(torch.float32 if weight.device.type == "cpu" else weight.dtype).clone()


def is_quantisation_state(name: str) -> bool:
    return any(part in name for part in (".absmax", ".quant_map", ".nested_", ".quant_state"))

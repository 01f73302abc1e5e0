"""Linear layers in oneDNN's own layout, for models that generate on a CPU.

A token of a few slots is a product of a few rows with every weight, and waits for the weights to arrive from
memory. torch's own product reads them at a third of the memory's bandwidth when there are two rows or more;
packed once, they arrive about 1.5 times as fast (perf/smol.py). The operation is the one that
torch.compile uses; if this build of torch lacks it, nothing is packed. Sums are in another order, so the
last bits differ.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

MOST = 512  # rows; from there on torch's own product is as fast


class PackedLinears:
    """A second copy of a model's linear layers, used inside `active`. The model itself is unchanged."""

    def __init__(self, model: Any, rows: int) -> None:
        import torch

        self.layers = []
        if not can_pack():
            return
        with torch.no_grad():
            for module in model.modules():
                if type(module) is torch.nn.Linear:
                    packed = torch.ops.mkldnn._reorder_linear_weight(module.weight.detach(), rows)
                    self.layers.append((module, partial(_product, module, packed)))

    @contextmanager
    def active(self) -> Iterator[None]:
        """Inside this block the layers multiply with their packed weights."""
        for module, product in self.layers:
            module.forward = product
        try:
            yield
        finally:
            for module, _ in self.layers:
                del module.forward


def can_pack() -> bool:
    """Whether this is an x86-64 processor (the layouts were never tested on Arm) and this build of torch has
    oneDNN's packed products."""
    import torch

    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _product(module: Any, packed: Any, values: Any) -> Any:
    import torch

    if values.numel() > MOST * values.shape[-1]:
        return torch.nn.functional.linear(values, module.weight, module.bias)
    return torch.ops.mkldnn._linear_pointwise(values, packed, module.bias, "none", [], "")

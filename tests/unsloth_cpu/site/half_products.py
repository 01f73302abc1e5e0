"""Matrix products of 16-bit tensors in 32 bits, for CPUs without 16-bit arithmetic: there torch takes 60
times as long.

A product is summed in 32 bits and rounded once, which is what a tensor core does. Products of 32-bit tensors
go the same way, so both backends are compared on the same arithmetic.
"""

from __future__ import annotations

import warnings
from typing import Any

_kept: list[Any] = []  # the overrides last as long as their library


def install() -> None:
    """Override torch's CPU kernels of mm, addmm and bmm in this process."""
    import torch

    if _kept:
        return
    library = torch.library.Library("aten", "IMPL")
    kernels = {
        "mm": _mm,
        "mm.out": _mm_out,
        "addmm": _addmm,
        "addmm_": _addmm_in_place,
        "addmm.out": _addmm_out,
        "bmm": _bmm,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a kernel is overridden
        for name, kernel in kernels.items():
            library.impl(name, kernel, "CPU")
    _kept.append(library)


def _bmm(a: Any, b: Any) -> Any:
    import torch

    wide = a.new_empty((a.shape[0], a.shape[1], b.shape[2]), dtype=torch.float32)
    torch.ops.aten.bmm.out(a.float(), b.float(), out=wide)  # the one product that is not overridden
    return wide.to(a.dtype)


def _wide(a: Any, b: Any) -> Any:
    return _bmm(a.float()[None], b.float()[None])[0]


def _mm(a: Any, b: Any) -> Any:
    return _wide(a, b).to(a.dtype)


def _mm_out(a: Any, b: Any, out: Any) -> Any:
    out.resize_(a.shape[0], b.shape[1])
    return out.copy_(_wide(a, b))


def _addmm(c: Any, a: Any, b: Any, beta: float = 1, alpha: float = 1) -> Any:
    product = _wide(a, b) * alpha
    return (product if beta == 0 else c.float() * beta + product).to(a.dtype)


def _addmm_in_place(c: Any, a: Any, b: Any, beta: float = 1, alpha: float = 1) -> Any:
    return c.copy_(_addmm(c, a, b, beta=beta, alpha=alpha))


def _addmm_out(c: Any, a: Any, b: Any, beta: float = 1, alpha: float = 1, out: Any = None) -> Any:
    return out.copy_(_addmm(c, a, b, beta=beta, alpha=alpha))

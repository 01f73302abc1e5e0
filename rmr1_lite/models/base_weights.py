"""Over which weights of its base an adapter lies: the dequantised 4-bit ones, or the original 16-bit ones.

An adapter trained in 4 bits (QLoRA) learned to correct those weights. Over the original ones some of its
verdicts differ (docs/serving.md has the figures), so whoever serves it must know.
"""

from __future__ import annotations

from rmr1_lite.models.adapters import adapter_info
from rmr1_lite.models.loaded import Loaded, is_quantised
from rmr1_lite.models.model_files import stored_in_4bit
from rmr1_lite.types import InputError

AUTO, DEQUANTISED, ORIGINAL = BASES = ("auto", "dequantised", "original")


def load_over(spec: str, base: str = AUTO, four_bit: bool = True) -> Loaded:
    """The model that a spec names. base: auto loads it as `load` does; dequantised puts an adapter over plain
    weights that were in NF4, original over those that the base stores. Raises InputError."""
    from rmr1_lite.models.loading import load
    from rmr1_lite.models.merged_copy import MergedCopy

    check_base(spec, base)
    loaded = load(spec, four_bit if base == AUTO else base == DEQUANTISED)
    if base == DEQUANTISED and is_quantised(loaded.model):
        loaded.model = MergedCopy(loaded.model).model
    return loaded


def check_base(spec: str, base: str) -> None:
    """Raise an InputError for a choice that the judge does not have."""
    if base not in BASES:
        raise InputError(f"base is {base!r:.40}. Choose from {', '.join(BASES)}.")
    if base == AUTO:
        return
    info = adapter_info(spec)
    if info is None:
        raise InputError(f"{spec} is not an adapter, so --base {base} changes nothing. Leave it out.")
    if base == ORIGINAL and stored_in_4bit(info.base):
        raise InputError(
            f"{info.base} is stored in 4 bits: there are no original weights. Use --base dequantised."
        )

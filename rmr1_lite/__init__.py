"""rmr1_lite: a single-GPU LoRA reproduction kit of RM-R1, "Reward Modeling as Reasoning" (arXiv 2505.02387).

    from rmr1_lite import load_judge

    print(load_judge("nano").compare("Sort d a c from first to last.", "a c d", "d a c"))

Importing the package loads nothing else: the names below are imported on first use. Read
`rmr1_lite.types` first, then the packages in the order of docs/architecture.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rmr1_lite.api.pairwise import PairwiseJudge, load_judge
    from rmr1_lite.types import InputError

__version__ = "0.1.0"
__all__ = ["InputError", "PairwiseJudge", "__version__", "load_judge"]

_PLACES = {
    "load_judge": "rmr1_lite.api.pairwise",
    "PairwiseJudge": "rmr1_lite.api.pairwise",
    "InputError": "rmr1_lite.types",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'rmr1_lite' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

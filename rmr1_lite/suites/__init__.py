"""Public benchmarks of pairwise judges, one small file each: how a row becomes pairs and what the paper reports.

    suite = find("llmbar")
    pairs = read(suite, "LLMBar/")          # a local file or folder in the benchmark's own layout, or None for the hub
"""

from __future__ import annotations

from pathlib import Path

from rmr1_lite.suites import judgebench, llmbar, nano, rewardbench, rewardbench2, rm_bench, rmb
from rmr1_lite.suites.base import Calls, Figure, Item, Suite, seeded_order, unique, value
from rmr1_lite.suites.sources import hub_rows, local_rows
from rmr1_lite.types import InputError, Pair

__all__ = ["SUITES", "Calls", "Figure", "Item", "Suite", "find", "read", "seeded_order", "value"]
SUITES: dict[str, Suite] = {
    module.SUITE.name: module.SUITE for module in (rewardbench, rewardbench2, rm_bench, rmb, judgebench, llmbar, nano)
}


def find(name: str) -> Suite:
    """The suite of that name; InputError with the choices for any other."""
    if name not in SUITES:
        raise InputError(f"benchmark is {name!r}. Choose one of {', '.join(SUITES)}.")
    return SUITES[name]


def read(suite: Suite, data: str | Path | None = None) -> list[Pair]:
    """All pairs of the benchmark, from `data` or from where it lives; every id once."""
    if data is not None:
        return unique(suite.pairs(local_rows(data)), suite.title)
    if suite.name == "nano":
        return nano.fresh()
    if not suite.split:
        raise InputError(f"{suite.title} is not on the hub. Download {suite.home} from GitHub and give its folder as --data.")
    return unique(suite.pairs(hub_rows(suite.home, suite.split)), suite.title)

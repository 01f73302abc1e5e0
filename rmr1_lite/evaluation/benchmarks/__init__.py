"""Public benchmarks of pairwise judges, one small file each: how a row becomes pairs and what the paper
reports.

A benchmark is read from a local file or folder in its own layout, or from the hub:

    benchmark = find_benchmark("llmbar")
    pairs = read_benchmark(benchmark, "LLMBar/")
"""

from __future__ import annotations

from pathlib import Path

from rmr1_lite.evaluation.benchmarks import judgebench, llmbar, nano, rewardbench, rewardbench2, rm_bench, rmb
from rmr1_lite.evaluation.benchmarks.base import Benchmark, check_unique_ids
from rmr1_lite.evaluation.benchmarks.rows import hub_rows, local_rows
from rmr1_lite.types import InputError, Pair

BENCHMARKS: dict[str, Benchmark] = {
    module.BENCHMARK.name: module.BENCHMARK
    for module in (rewardbench, rewardbench2, rm_bench, rmb, judgebench, llmbar, nano)
}


def find_benchmark(name: str) -> Benchmark:
    """The benchmark of that name; InputError with the choices for any other."""
    if name not in BENCHMARKS:
        raise InputError(f"benchmark is {name!r}. Choose one of {', '.join(BENCHMARKS)}.")
    return BENCHMARKS[name]


def read_benchmark(benchmark: Benchmark, data: str | Path | None = None) -> list[Pair]:
    """All pairs of the benchmark, from `data` or from its home; every id once."""
    if data is not None:
        return check_unique_ids(benchmark.pairs(local_rows(data)), benchmark.title)
    if benchmark.name == "nano":
        return nano.make_pairs()
    if not benchmark.split:
        raise InputError(
            f"{benchmark.title} is not on the hub. Download {benchmark.home} from GitHub and give its folder "
            "as --data."
        )
    return check_unique_ids(benchmark.pairs(hub_rows(benchmark.home, benchmark.split)), benchmark.title)

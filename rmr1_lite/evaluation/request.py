"""The request of an evaluation: which judge on which pairs, and how; and the pairs that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rmr1_lite.data.pairs import read_pairs
from rmr1_lite.evaluation.benchmarks import find_benchmark, read_benchmark
from rmr1_lite.evaluation.benchmarks.base import Benchmark, ScoreRule, one_item_per_pair
from rmr1_lite.evaluation.benchmarks.scoring import draw_subset
from rmr1_lite.judging.engines.base import Sampling
from rmr1_lite.models.base_weights import AUTO
from rmr1_lite.models.judge_specs import parse_spec
from rmr1_lite.types import InputError, Pair

OWN = "pairs"  # benchmark name of your own file


@dataclass(frozen=True)
class EvaluationRequest:
    """What to evaluate and how. judge: the spec. reading may change for a finished evaluation, the rest may
    not.

    four_bit, base: how a local model's weights are loaded, see `rmr1_lite.models.base_weights`. limit:
    about this many questions, drawn by `seed`, which also draws the order where a benchmark shows a pair
    once.
    """

    benchmark: str
    data: str | None
    judge: str
    name: str = ""
    style: str | None = None
    reading: str = "strict"
    limit: int | None = None
    votes: int = 1
    seed: int = 0
    confidence: bool = False
    thinking: str = "auto"
    sampling: Sampling = field(default_factory=Sampling)
    four_bit: bool = True
    base: str = AUTO

    @property
    def shown_name(self) -> str:
        """The judge's name in tables."""
        return self.name or self.judge


def read_pairs_of(request: EvaluationRequest) -> tuple[Benchmark, list[Pair]]:
    """The benchmark and its pairs, a subset of them under a limit."""
    if request.limit is not None and request.limit < 1:
        raise InputError(f"limit is {request.limit}. Give a whole number of at least 1, or leave it out.")
    if request.benchmark == OWN:
        pairs = _labelled_pairs(request.data)
        benchmark = _own_benchmark(pairs)
    else:
        benchmark = find_benchmark(request.benchmark)
        pairs = read_benchmark(benchmark, request.data)
    if request.limit is not None:
        whole, pairs = len(pairs), draw_subset(pairs, request.limit, request.seed)
        print(f"{benchmark.title}: {len(pairs)} of {whole} pairs, a subset drawn by seed {request.seed}")
    return benchmark, pairs


def check_confidence(request: EvaluationRequest) -> None:
    """A log-probability needs a local model: InputError for a log or an endpoint."""
    if request.confidence and not parse_spec(request.judge, needs_url=False).runs_here:
        raise InputError(
            f"{request.judge} returns text only. Confidence by log-probability needs a local model; --votes "
            "works."
        )


def _labelled_pairs(path: str | None) -> list[Pair]:
    if path is None:
        raise InputError(
            "No pairs to evaluate on. Give --benchmark, or --data with a JSONL of labelled pairs."
        )
    read = read_pairs(path)
    print(read.summary())
    pairs = [replace(pair, meta={**pair.meta, "item": pair.id}) for pair in read.pairs if pair.label]
    if not pairs:
        raise InputError(f"{path}: no labelled pairs to evaluate on. Give rows with label A or B.")
    return pairs


def _own_benchmark(pairs: Sequence[Pair]) -> Benchmark:
    """Your own file as a benchmark: accuracy over all pairs, each in one seeded order."""
    sections = tuple(dict.fromkeys(pair.section for pair in pairs))
    return Benchmark(
        name=OWN,
        title="own pairs",
        paper="",
        home="",
        rule="accuracy in one seeded order per pair",
        pairs=lambda rows: [],
        items=one_item_per_pair,
        scores=lambda strata: [ScoreRule("overall", sections)],
        main="overall",
    )

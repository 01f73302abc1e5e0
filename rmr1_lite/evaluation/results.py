"""results.json: the one shape that demo, evaluation, report and app write and read, typed in memory.

    {"schema": 1, "created": "2026-03-01T12:00:00+00:00", "versions": {"torch": ...}, "seed": 0, "command":
        "...",
     "data": {...what was judged, free...},
     "stages":      {"base": STAGE, "sft": STAGE, "grpo": STAGE},
     "baselines":   {"always A": STAGE, ...}                       measured here, like the stages
     "differences": [{"first": "sft", "second": "grpo", "metric": "strict_accuracy", "difference", "low",
         "high",
                      "p_value", "n", "gained", "lost"}]           second minus first
     "quoted":      {"RM-R1 7B": {"source": "paper, table 1", "RewardBench": 0.852, ...}}}  not measured here

A STAGE is `metrics.as_dict` of an EvalResult, with "length_bias", "own" (the benchmark's own figures),
"calibration" and anything else the writer adds. One checked shape, because a report that guesses a missing
metric is worse than none: `validate` names the field instead.

    results = new_results(seed=0, command="rmr1_lite demo")
    results.add_stage(score(...))
    save_results(results, path)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timezone
from typing import Any

from rmr1_lite.evaluation.benchmarks.scoring import BenchmarkScores
from rmr1_lite.evaluation.calibration import Calibration
from rmr1_lite.evaluation.metrics import (
    PairedDifference,
    paired_difference,
)
from rmr1_lite.models import backend
from rmr1_lite.types import EvalResult, GroupResult, InputError, Judgment, Pair


@dataclass(frozen=True)
class Stage:
    """One judge's results. length_bias: by whether the better response is "longer", "shorter" or "equal".

    own: in the benchmark's own convention, None if there is none. calibration: by source of confidence.
    extra: other JSON values that the writer stores.
    """

    result: EvalResult
    length_bias: Mapping[str, GroupResult] = field(default_factory=dict)
    own: BenchmarkScores | None = None
    calibration: Mapping[str, Calibration] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def scored(self) -> BenchmarkScores:
        """`own`, when it is required. Raises InputError for results without it."""
        if self.own is None:
            raise InputError(
                f"{self.result.name} has no scores in a benchmark's own convention. Evaluate it again."
            )
        return self.own


@dataclass(frozen=True)
class Difference:
    """Two judges on the same pairs, second minus first."""

    first: str
    second: str
    paired: PairedDifference


@dataclass(frozen=True)
class OwnDifference:
    """The main score of the benchmark's own convention, second minus first, on the same items.

    low and high are None where too few items differ. items: of both. differ: how many of them differ.
    """

    first: str
    second: str
    figure: str
    difference: float
    low: float | None
    high: float | None
    items: int
    differ: int


@dataclass
class Results:
    """Everything that one results.json holds. quoted: judge -> source and metrics, as a paper reports
    them."""

    seed: int
    command: str
    data: dict[str, Any]
    created: str
    versions: dict[str, str]
    stages: dict[str, Stage] = field(default_factory=dict)
    baselines: dict[str, Stage] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    own_differences: list[OwnDifference] = field(default_factory=list)
    quoted: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def judges(self) -> dict[str, Stage]:
        """Baselines, then stages."""
        return {**self.baselines, **self.stages}

    def add_stage(self, result: EvalResult, *, baseline: bool = False, **parts: Any) -> None:
        """Store one judge's result under its name; `parts` are fields of `Stage`, other names go to its
        extra."""
        known = {each.name for each in fields(Stage)} - {"extra"}
        extra = {name: value for name, value in parts.items() if name not in known}
        given = {name: value for name, value in parts.items() if name in known}
        (self.baselines if baseline else self.stages)[result.name] = Stage(result, **given, extra=extra)

    def add_difference(self, first: str, second: str, paired: PairedDifference) -> None:
        """Store one paired comparison; it replaces an earlier one of the same judges and metric."""
        key = (first, second, paired.metric)
        others = [d for d in self.differences if (d.first, d.second, d.paired.metric) != key]
        self.differences = [*others, Difference(first, second, paired)]

    def compare(
        self,
        pairs: Sequence[Pair],
        judged: Mapping[str, Sequence[Judgment]],
        couples: Sequence[tuple[str, str]],
    ) -> None:
        """Add the paired difference of each (first, second) couple of names."""
        for first, second in couples:
            self.add_difference(first, second, paired_difference(judged[first], judged[second], pairs))

    def find_difference(self, first: str, second: str) -> PairedDifference | None:
        """The paired comparison of two judges, None if there is none."""
        return next((d.paired for d in self.differences if (d.first, d.second) == (first, second)), None)


def new_results(seed: int, command: str, data: Mapping[str, Any] | None = None) -> Results:
    """An empty results object with the time and the installed versions."""
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Results(seed, command, dict(data or {}), created, all_versions())


def all_versions() -> dict[str, str]:
    """Versions of Python and of the installed packages, read from their metadata: nothing heavy is
    imported."""
    import platform

    return {"python": platform.python_version(), **backend.installed_versions()}

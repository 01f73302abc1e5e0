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
"calibration" and whatever else the writer adds. One checked shape, because a report that guesses at a missing
figure is worse than none: `validate` names the field instead.

    results = new_results(seed=0, command="rmr1_lite demo")
    results.add_stage(score(...))
    save_results(results, path)
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rmr1_lite.evaluation.benchmarks.scoring import BenchmarkScores
from rmr1_lite.evaluation.calibration import Calibration
from rmr1_lite.evaluation.metrics import (
    PairedDifference,
    as_dict,
    from_dict,
    group_from_dict,
    json_values,
    known_fields,
    paired_difference,
)
from rmr1_lite.models import backend
from rmr1_lite.storage import write_json
from rmr1_lite.types import EvalResult, GroupResult, InputError, Judgment, Pair

SCHEMA = 1
SHARES = ("strict_accuracy", "accuracy", "flip_rate", "a_share", "unparsed")
_TOP = {"schema": int, "created": str, "versions": dict, "seed": int, "command": str, "data": dict}
_PARTS = {"stages": dict, "differences": list, "baselines": dict, "quoted": dict}
_STAGE = {"name": str, "n": int, "seconds": float, "mean_tokens": float}
_STAGE |= dict.fromkeys(("statuses", "intervals", "sections"), dict)
_DIFFERENCE = dict.fromkeys(("first", "second", "metric"), str)
_DIFFERENCE |= dict.fromkeys(("difference", "low", "high", "p_value"), float)
_DIFFERENCE |= dict.fromkeys(("n", "gained", "lost"), int)
_OWN = {"benchmark": str, "rule": str, "main": str, "items": int, "figures": dict, "needed": dict}
_OWN_SCORE = {"value": float, "items": int, "partial": bool}
_OWN_DIFFERENCE = {
    "first": str,
    "second": str,
    "figure": str,
    "difference": float,
    "items": int,
    "differ": int,
}
_CALIBRATION = {"n": int, "left_out": int, "bins": list}
_CALIBRATION |= dict.fromkeys(("accuracy", "confidence", "ece", "ece_low", "ece_high"), float)
_BIN = {"low": float, "high": float, "n": int}
_PART = {"n": int, "strict_accuracy": float, "strict_accuracy_low": float, "strict_accuracy_high": float}
_WORDS = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    dict: "an object",
    list: "a list",
    bool: "true or false",
}
_REMEDY = "Run the evaluation again"


@dataclass(frozen=True)
class Stage:
    """One judge's results. length_bias: by whether the better response is "longer", "shorter" or "equal".

    own: in the benchmark's own convention, None where there is none. calibration: by source of confidence.
    extra: what else the writer keeps beside them, JSON values.
    """

    result: EvalResult
    length_bias: Mapping[str, GroupResult] = field(default_factory=dict)
    own: BenchmarkScores | None = None
    calibration: Mapping[str, Calibration] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """Two judges on the same pairs, second minus first."""

    first: str
    second: str
    paired: PairedDifference


@dataclass(frozen=True)
class OwnDifference:
    """The main figure of the benchmark's own convention, second minus first, on the same items.

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
    """Everything that one results.json holds. quoted: judge -> source and figures, as a paper gives them."""

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
        """Put one judge's result under its name; `parts` are fields of `Stage`, what is none goes to its
        extra."""
        known = {each.name for each in fields(Stage)} - {"extra"}
        extra = {name: value for name, value in parts.items() if name not in known}
        given = {name: value for name, value in parts.items() if name in known}
        (self.baselines if baseline else self.stages)[result.name] = Stage(result, **given, extra=extra)

    def add_difference(self, first: str, second: str, paired: PairedDifference) -> None:
        """Put one paired comparison; it takes the place of an earlier one of the same judges and metric."""
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
        """The paired comparison of two judges, None where it was not made."""
        return next((d.paired for d in self.differences if (d.first, d.second) == (first, second)), None)


def new_results(seed: int, command: str, data: Mapping[str, Any] | None = None) -> Results:
    """An empty results object with the time and the versions of what is installed."""
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Results(seed, command, dict(data or {}), created, all_versions())


def all_versions() -> dict[str, str]:
    """Versions of Python and of what is installed, read from the packages' metadata: nothing heavy is
    imported."""
    import platform

    return {"python": platform.python_version(), **backend.installed_versions()}


def save_results(results: Results, path: str | os.PathLike[str]) -> Path:
    """Check, then write in one move: a reader never sees half a file, a refused one leaves the old file
    alone."""
    path, values = Path(path), to_json(results)
    validate(values, str(path))
    write_json(path, values)
    return path


def load_results(path: str | os.PathLike[str]) -> Results:
    """Read and check a results.json; every fault is an InputError that names the file and the field."""
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        remedy = "Make it with `python -m rmr1_lite demo` or `python -m rmr1_lite evaluate`"
        raise InputError(f"{path} does not exist. {remedy}.") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}. Give a results.json that can be read.") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}). {_REMEDY}.") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{path} line {error.lineno} is not JSON ({error.msg}). {_REMEDY}.") from None
    validate(values, str(path))
    return from_json(values)


def to_json(results: Results) -> dict[str, Any]:
    """JSON values alone: tuples become lists, and a figure that does not exist (nan) becomes None."""
    data = dict(results.data)
    if results.own_differences:
        data["own_differences"] = [asdict(each) for each in results.own_differences]
    head = {
        "schema": SCHEMA,
        "created": results.created,
        "versions": results.versions,
        "seed": results.seed,
        "command": results.command,
    }
    parts = {
        "data": data,
        "stages": {name: _stage_to_json(stage) for name, stage in results.stages.items()},
        "differences": [
            {"first": each.first, "second": each.second, **asdict(each.paired)}
            for each in results.differences
        ],
        "baselines": {name: _stage_to_json(stage) for name, stage in results.baselines.items()},
        "quoted": results.quoted,
    }
    return json_values({**head, **parts})


def from_json(values: Mapping[str, Any]) -> Results:
    """The inverse of `to_json`, for values that `validate` has let pass."""
    data = dict(values["data"])
    own = [OwnDifference(**known_fields(OwnDifference, row)) for row in data.pop("own_differences", [])]
    return Results(
        seed=values["seed"],
        command=values["command"],
        data=data,
        created=values["created"],
        versions=dict(values["versions"]),
        stages={name: _stage_from_json(row) for name, row in values["stages"].items()},
        baselines={name: _stage_from_json(row) for name, row in values["baselines"].items()},
        differences=[_difference_from_json(row) for row in values["differences"]],
        own_differences=own,
        quoted={name: dict(row) for name, row in values["quoted"].items()},
    )


def _stage_to_json(stage: Stage) -> dict[str, Any]:
    parts = {
        "length_bias": {name: asdict(group) for name, group in stage.length_bias.items()},
        "own": stage.own.to_json() if stage.own else None,
        "calibration": {source: asdict(found) for source, found in stage.calibration.items()},
    }
    return {**as_dict(stage.result), **{name: value for name, value in parts.items() if value}, **stage.extra}


def _stage_from_json(row: Mapping[str, Any]) -> Stage:
    known = {each.name for each in fields(EvalResult)} | {"length_bias", "own", "calibration"}
    return Stage(
        result=from_dict(row),
        length_bias={name: group_from_dict(group) for name, group in row.get("length_bias", {}).items()},
        own=BenchmarkScores.from_json(row["own"]) if "own" in row else None,
        calibration={
            source: Calibration.from_json(found) for source, found in row.get("calibration", {}).items()
        },
        extra={name: value for name, value in row.items() if name not in known},
    )


def _difference_from_json(row: Mapping[str, Any]) -> Difference:
    names = [each.name for each in fields(PairedDifference)]
    return Difference(row["first"], row["second"], PairedDifference(**{name: row[name] for name in names}))


def validate(results: Any, source: str = "results") -> None:
    """Raise an InputError that names the first missing or wrong field of JSON values; return nothing when all
    is well."""
    require(results, {"schema": int}, source)
    if results["schema"] != SCHEMA:
        raise InputError(
            f"{source}: schema is {results['schema']} and this version reads {SCHEMA}. {_REMEDY}."
        )
    require(results, {**_TOP, **_PARTS}, source)
    for part in ("stages", "baselines"):
        for name, row in results[part].items():
            _check_stage(row, f"{source}: {part}.{name}")
    for index, row in enumerate(results["differences"]):
        require(row, _DIFFERENCE, f"{source}: differences[{index}]")
    for index, row in enumerate(results["data"].get("own_differences", [])):
        require(row, _OWN_DIFFERENCE, f"{source}: data.own_differences[{index}]")
    for name, row in results["quoted"].items():
        require(row, {"source": str}, f"{source}: quoted.{name}")


def require(row: Any, kinds: Mapping[str, type], where: str) -> None:
    """Raise an InputError unless `row` is an object that holds every field of `kinds` in its kind."""
    if not isinstance(row, Mapping):
        raise InputError(f"{where} must be an object, not {type(row).__name__}. {_REMEDY}.")
    for name, kind in kinds.items():
        if name not in row:
            raise InputError(f"{where}: field {name!r} is missing. {_REMEDY}.")
        if not _is_kind(kind, row[name]):
            raise InputError(
                f"{where}: field {name!r} must be {_WORDS[kind]}, not {row[name]!r:.80}. {_REMEDY}."
            )


def _check_stage(row: Any, where: str) -> None:
    require(row, _STAGE, where)
    for name in SHARES:
        # no look could be read: then there is no share of A, while every other share exists from one pair on
        if name != "a_share" or row.get(name, 0.0) is not None:
            require(row, {name: float}, where)
            _check_share(row[name], f"{where}.{name}")
    _check_interval(row["intervals"].get("strict_accuracy"), f"{where}.intervals.strict_accuracy")
    for name, bounds in row["intervals"].items():
        if bounds != [None, None]:
            _check_interval(bounds, f"{where}.intervals.{name}")
    if "own" in row:
        require(row["own"], _OWN, f"{where}.own")
        for name, score in row["own"]["figures"].items():
            require(score, _OWN_SCORE, f"{where}.own.figures.{name}")
    for source, found in row.get("calibration", {}).items():
        require(found, _CALIBRATION, f"{where}.calibration.{source}")
        for index, part in enumerate(found["bins"]):
            require(part, _BIN, f"{where}.calibration.{source}.bins[{index}]")
    for part in {"sections", "length_bias"} & row.keys():
        require(row, {part: dict}, where)
        for name, figures in row[part].items():
            require(figures, _PART, f"{where}.{part}.{name}")


def _check_interval(bounds: Any, where: str) -> None:
    if not (
        isinstance(bounds, list | tuple)
        and len(bounds) == 2
        and all(_is_kind(float, bound) for bound in bounds)
    ):
        raise InputError(f"{where} must be [low, high], not {bounds!r:.80}. {_REMEDY}.")
    for bound in bounds:
        _check_share(bound, where)


def _check_share(value: float, where: str) -> None:
    if not 0 <= value <= 1:
        raise InputError(f"{where} is {value}. A share lies between 0 and 1.")


def _is_kind(kind: type, value: Any) -> bool:
    """Whether `value` is of the kind; a float may be whole but must be finite, and a truth value is no
    number."""
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))

"""results.json: written atomically, read and checked; see `rmr1_lite.evaluation.results` for its contents.

One checked shape, because a report that guesses a missing metric is worse than none: `validate` names
the field instead.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, fields
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
)
from rmr1_lite.evaluation.results import Difference, OwnDifference, Results, Stage
from rmr1_lite.storage import write_json
from rmr1_lite.types import EvalResult, InputError

SCHEMA = 1
SHARES = ("strict_accuracy", "accuracy", "flip_rate", "a_share", "unparsed")
_Kinds = dict[str, type]  # field -> what it must be
_TOP = {"schema": int, "created": str, "versions": dict, "seed": int, "command": str, "data": dict}
_PARTS = {"stages": dict, "differences": list, "baselines": dict, "quoted": dict}
_STAGE: _Kinds = {"name": str, "n": int, "seconds": float, "mean_tokens": float}
_STAGE |= dict.fromkeys(("statuses", "intervals", "sections"), dict)
_DIFFERENCE: _Kinds = dict.fromkeys(("first", "second", "metric"), str)
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


def save_results(results: Results, path: str | os.PathLike[str]) -> Path:
    """Check, then write atomically: a reader never sees half a file, and a refused one leaves the old file
    unchanged."""
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
        raise InputError(f"{path}: {error.strerror}. Give a readable results.json.") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}). {_REMEDY}.") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{path} line {error.lineno} is not JSON ({error.msg}). {_REMEDY}.") from None
    validate(values, str(path))
    return from_json(values)


def to_json(results: Results) -> dict[str, Any]:
    """JSON values only: tuples become lists, and an undefined metric (nan) becomes None."""
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
    """The inverse of `to_json`, for values that passed `validate`."""
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
    """Raise an InputError that names the first missing or wrong field of JSON values; return nothing if all
    are valid."""
    require(results, {"schema": int}, source)
    if results["schema"] != SCHEMA:
        raise InputError(
            f"{source}: schema is {results['schema']}, but this version reads {SCHEMA}. {_REMEDY}."
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
    """Raise an InputError unless `row` is an object with every field of `kinds`, each of its kind."""
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
        # without a parsed look there is no share of A; every other share exists from one pair on
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
    """Whether `value` is of the kind; a float may be an integer but must be finite, and a boolean is not a
    number."""
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))

"""results.json: the one shape that demo, evaluation, report and app write and read.

    {"schema": 1, "created": "2026-03-01T12:00:00+00:00", "versions": {"torch": ...}, "seed": 0, "command": "...",
     "data": {...what was judged, free...},
     "stages":      {"base": STAGE, "sft": STAGE, "grpo": STAGE},
     "baselines":   {"always A": STAGE, ...}                       measured here, like the stages
     "differences": [{"first": "sft", "second": "grpo", "metric": "strict_accuracy", "difference", "low", "high",
                      "p_value", "n", "gained", "lost"}]           second minus first
     "quoted":      {"RM-R1 7B": {"source": "paper, table 1", "RewardBench": 0.852, ...}}}  not measured here

A STAGE is `metrics.as_dict` of an EvalResult, `metrics.length_bias` and whatever else the writer adds. One checked
shape, because a report that guesses at a missing figure is worse than none: `validate` names the field instead.

Use: `results = new(seed=0, command="rmr1_lite demo")`, `add_stage(results, score(...))`, `save(results, path)`.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rmr1_lite import runs
from rmr1_lite.data.files import write_json
from rmr1_lite.metrics import PairedDifference, as_dict, json_values
from rmr1_lite.types import EvalResult, InputError

SCHEMA = 1
SHARES = ("strict_accuracy", "accuracy", "flip_rate", "a_share", "unparsed")
_TOP = {"schema": int, "created": str, "versions": dict, "seed": int, "command": str, "data": dict}
_PARTS = {"stages": dict, "differences": list, "baselines": dict, "quoted": dict}
_STAGE = {"name": str, "n": int, "seconds": float, "mean_tokens": float}
_STAGE |= dict.fromkeys(("statuses", "intervals", "sections"), dict)
_DIFFERENCE = dict.fromkeys(("first", "second", "metric"), str)
_DIFFERENCE |= dict.fromkeys(("difference", "low", "high", "p_value"), float) | dict.fromkeys(("gained", "lost"), int)
_PART = {"n": int, "strict_accuracy": float, "strict_accuracy_low": float, "strict_accuracy_high": float}
_WORDS = {int: "a whole number", float: "a number", str: "a text", dict: "an object", list: "a list"}
_REMEDY = "Run the evaluation again"


def new(seed: int, command: str, data: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """An empty results object with the time and the versions of what is installed."""
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    head = {"schema": SCHEMA, "created": created, "versions": versions(), "seed": seed, "command": command}
    return {**head, "data": dict(data or {}), **{part: kind() for part, kind in _PARTS.items()}}


def versions() -> dict[str, str]:
    """Versions of Python and of what is installed, read from the packages' metadata: nothing heavy is imported."""
    import platform

    return {"python": platform.python_version(), **runs.versions()}


def add_stage(results: dict[str, Any], result: EvalResult, *, baseline: bool = False, **extra: Any) -> None:
    """Put one judge's figures under its name; `extra` (dicts, lists, texts, numbers) is kept beside them."""
    results["baselines" if baseline else "stages"][result.name] = {**as_dict(result), **json_values(extra)}


def add_difference(results: dict[str, Any], first: str, second: str, difference: PairedDifference) -> None:
    """Put one paired comparison; it takes the place of an earlier one of the same judges and metric."""
    row = {"first": first, "second": second, **asdict(difference)}
    same = ("first", "second", "metric")
    others = [old for old in results["differences"] if any(old[key] != row[key] for key in same)]
    results["differences"] = [*others, row]


def save(results: Mapping[str, Any], path: str | os.PathLike[str]) -> Path:
    """Check, then write in one move: a reader never sees half a file, a refused one leaves the old file alone."""
    path = Path(path)
    validate(results, str(path))
    write_json(path, json_values(results))
    return path


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read and check a results.json; every fault is an InputError that names the file and the field."""
    try:
        results = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        remedy = "Make it with `python -m rmr1_lite demo` or `python -m rmr1_lite evaluate`"
        raise InputError(f"{path} does not exist. {remedy}.") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}. Give a results.json that can be read.") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}). {_REMEDY}.") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{path} line {error.lineno} is not JSON ({error.msg}). {_REMEDY}.") from None
    validate(results, str(path))
    return results


def validate(results: Any, source: str = "results") -> None:
    """Raise an InputError that names the first missing or wrong field; return nothing when all is well."""
    require(results, {"schema": int}, source)
    if results["schema"] != SCHEMA:
        raise InputError(f"{source}: schema is {results['schema']} and this version reads {SCHEMA}. {_REMEDY}.")
    require(results, {**_TOP, **_PARTS}, source)
    for part in ("stages", "baselines"):
        for name, row in results[part].items():
            _stage(row, f"{source}: {part}.{name}")
    for index, row in enumerate(results["differences"]):
        require(row, _DIFFERENCE, f"{source}: differences[{index}]")
    for name, row in results["quoted"].items():
        require(row, {"source": str}, f"{source}: quoted.{name}")


def require(row: Any, kinds: Mapping[str, type], where: str) -> None:
    """Raise an InputError unless `row` is an object that holds every field of `kinds` in its kind."""
    if not isinstance(row, Mapping):
        raise InputError(f"{where} must be an object, not {type(row).__name__}. {_REMEDY}.")
    for name, kind in kinds.items():
        if name not in row:
            raise InputError(f"{where}: field {name!r} is missing. {_REMEDY}.")
        if not _is(kind, row[name]):
            raise InputError(f"{where}: field {name!r} must be {_WORDS[kind]}, not {row[name]!r:.80}. {_REMEDY}.")


def _stage(row: Any, where: str) -> None:
    require(row, _STAGE, where)
    for name in SHARES:
        # no look could be read: then there is no share of A, while every other share exists from one pair on
        if name != "a_share" or row.get(name, 0.0) is not None:
            require(row, {name: float}, where)
            _share(row[name], f"{where}.{name}")
    _interval(row["intervals"].get("strict_accuracy"), f"{where}.intervals.strict_accuracy")
    for name, bounds in row["intervals"].items():
        if bounds != [None, None]:
            _interval(bounds, f"{where}.intervals.{name}")
    for part in {"sections", "length_bias"} & row.keys():
        require(row, {part: dict}, where)
        for name, figures in row[part].items():
            require(figures, _PART, f"{where}.{part}.{name}")


def _interval(bounds: Any, where: str) -> None:
    if not (isinstance(bounds, list | tuple) and len(bounds) == 2 and all(_is(float, bound) for bound in bounds)):
        raise InputError(f"{where} must be [low, high], not {bounds!r:.80}. {_REMEDY}.")
    for bound in bounds:
        _share(bound, where)


def _share(value: float, where: str) -> None:
    if not 0 <= value <= 1:
        raise InputError(f"{where} is {value}. A share lies between 0 and 1.")


def _is(kind: type, value: Any) -> bool:
    """Whether `value` is of the kind; a float may be whole but must be finite, and a truth value is no number."""
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))

"""results.json: the one shape that demo, evaluation, report and app write and read.

    {"schema": 1, "created": "2026-03-01T12:00:00+00:00", "versions": {"torch": ...}, "seed": 0, "command": "...",
     "data": {...what was judged, free...},
     "stages":      {"base": STAGE, "sft": STAGE, "grpo": STAGE},
     "baselines":   {"always A": STAGE, ...}                       measured here, like the stages
     "differences": [{"first": "sft", "second": "grpo", "metric": "strict_accuracy",
                      "difference", "low", "high", "p_value"}]     second minus first
     "quoted":      {"RM-R1 7B": {"source": "paper, table 1", "RewardBench": 0.852, ...}}}  not measured here

A STAGE is `metrics.as_dict` of an EvalResult, with whatever else the writer adds (`length_bias`, a note). One checked
shape, because a report that guesses at a missing figure is worse than none: `validate` names the field instead.

Use: `results = new(seed=0, command="rmr1_lite demo")`, `add_stage(results, score(...))`, `save(results, path)`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rmr1_lite.metrics import PairedDifference, as_dict, from_dict
from rmr1_lite.types import EvalResult, InputError

SCHEMA = 1
PACKAGES = ("torch", "transformers", "trl", "peft", "bitsandbytes", "datasets", "unsloth")
SHARES = ("strict_accuracy", "accuracy", "flip_rate", "a_share", "unparsed")
_TOP = {"schema": int, "created": str, "versions": dict, "seed": int, "command": str, "data": dict}
_PARTS = {"stages": dict, "differences": list, "baselines": dict, "quoted": dict}
_STAGE = {"n": int, "seconds": float, "mean_tokens": float, "statuses": dict, "intervals": dict, "sections": dict}
_DIFFERENCE = {"first": str, "second": str, "metric": str, **dict.fromkeys(("difference", "low", "high"), float)}
_DIFFERENCE["p_value"] = float
_WORDS = {int: "a whole number", float: "a number", str: "a text", dict: "an object", list: "a list"}


def new(seed: int, command: str, data: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """An empty results object with the time and the versions of what is installed."""
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    head = {"schema": SCHEMA, "created": created, "versions": versions(), "seed": seed, "command": command}
    return {**head, "data": dict(data or {}), **{part: kind() for part, kind in _PARTS.items()}}


def versions() -> dict[str, str]:
    """Installed versions by package name, read from their metadata, so nothing heavy is imported."""
    import platform
    from importlib import metadata

    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def add_stage(results: dict[str, Any], result: EvalResult, *, baseline: bool = False, **extra: Any) -> None:
    """Put one judge's figures under its name; `extra` (JSON values) is kept beside them."""
    results["baselines" if baseline else "stages"][result.name] = {**as_dict(result), **extra}


def add_difference(results: dict[str, Any], first: str, second: str, difference: PairedDifference) -> None:
    """Put one paired comparison; it takes the place of an earlier one of the same judges and metric."""
    row = {"first": first, "second": second, **asdict(difference)}
    same = ("first", "second", "metric")
    others = [old for old in results["differences"] if any(old[key] != row[key] for key in same)]
    results["differences"] = [*others, row]


def stage(results: Mapping[str, Any], name: str) -> EvalResult:
    """One stage or baseline as an EvalResult."""
    rows = {**results["baselines"], **results["stages"]}
    if name not in rows:
        raise InputError(f"results hold no stage {name!r}; they hold {', '.join(rows) or 'none'}")
    return from_dict({"name": name, **rows[name]})


def save(results: Mapping[str, Any], path: str | os.PathLike[str]) -> Path:
    """Check, then write in one move: a reader never sees half a file, a refused one leaves the old file alone."""
    path = Path(path)
    validate(results, str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    draft.write_text(json.dumps(results, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(draft, path)
    return path


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read and check a results.json; every fault is an InputError that names the file and the field."""
    try:
        results = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; write it with `rmr1_lite demo` or `rmr1_lite evaluate`") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}); write it again with results.save") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{path} line {error.lineno} is not JSON ({error.msg}); write it with results.save") from None
    validate(results, str(path))
    return results


def validate(results: Any, source: str = "results") -> None:
    """Raise an InputError that names the first missing or wrong field; return nothing when all is well."""
    if not isinstance(results, dict):
        raise InputError(f"{source} must hold a JSON object, not {type(results).__name__}")
    schema = results.get("schema", SCHEMA)
    if schema != SCHEMA:
        raise InputError(f"{source}: schema is {schema!r} and this version reads {SCHEMA}; run the evaluation again")
    _require(results, {**_TOP, **_PARTS}, source)
    for part in ("stages", "baselines"):
        for name, row in results[part].items():
            _stage(row, f"{source}: {part}.{name}")
    for index, row in enumerate(results["differences"]):
        _require(row, _DIFFERENCE, f"{source}: differences[{index}]")
    for name, row in results["quoted"].items():
        _require(row, {"source": str}, f"{source}: quoted.{name}")


def _stage(row: Any, where: str) -> None:
    # a_share is None where no look could be read; every other share exists as soon as there is one pair
    unread = isinstance(row, dict) and row.get("a_share", 0.0) is None
    shares = {name: float for name in SHARES if not (unread and name == "a_share")}
    _require(row, {**_STAGE, **shares}, where)
    for name in shares:
        if not 0 <= row[name] <= 1:
            raise InputError(f"{where}.{name} is {row[name]}; a share lies between 0 and 1")
    for name, bounds in row["intervals"].items():
        if not (isinstance(bounds, list | tuple) and len(bounds) == 2):
            raise InputError(f"{where}.intervals.{name} must be [low, high]")


def _require(row: Any, kinds: Mapping[str, type], where: str) -> None:
    if not isinstance(row, dict):
        raise InputError(f"{where} must be an object, not {type(row).__name__}")
    for name, kind in kinds.items():
        if name not in row:
            raise InputError(f"{where}: field {name!r} is missing; results.save writes every field")
        accepted = (int, float) if kind is float else kind
        if not isinstance(row[name], accepted) or (kind in (int, float) and isinstance(row[name], bool)):
            raise InputError(f"{where}: field {name!r} must be {_WORDS[kind]}, not {row[name]!r}")

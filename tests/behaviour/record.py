"""The kit's behaviour as files: recorded before a change that must not affect it, compared by the tests from
then on.

    python tests/behaviour/record.py        # rewrite options.json, calls.json and evaluation.json

Only for an intended change of behaviour: the diff of these files is then part of that change.
Everything goes through the command line, which outlives any module.
"""

from __future__ import annotations

import json
import tempfile
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

HERE = Path(__file__).parent
JUDGES = ("nano-base", "nano-sft", "nano")
PAIRS = HERE / "pairs.jsonl"
VARYING = ("created", "versions", "command")  # of results.json


def main_command() -> Any:
    """The root of the command line, as click sees it."""
    import typer

    from rmr1_lite.cli.main import app

    return typer.main.get_command(app)


def command_options(command: Any = None, name: str = "rmr1_lite") -> dict[str, dict[str, Any]]:
    """Of every command: its arguments and options with their flags, kinds and defaults."""
    command = command or main_command()
    if hasattr(command, "commands"):
        found: dict[str, dict[str, Any]] = {}
        for child in sorted(command.commands):
            found |= command_options(command.commands[child], f"{name} {child}")
        return found
    return {name: {" ".join(p.opts + p.secondary_opts): _option(p) for p in command.params}}


def _option(parameter: Any) -> dict[str, Any]:
    default = getattr(parameter.default, "value", parameter.default)
    return {
        "values": _values(parameter.type_descriptor.annotation),
        "default": None if callable(default) or default is None else str(default),
        "required": parameter.required,
        "multiple": parameter.multiple or parameter.nargs != 1,
    }


def _values(annotation: Any) -> list[str] | str:
    """The choices of an option, or the name of its type."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [choice.value for choice in annotation]
    return getattr(annotation, "__name__", str(annotation))


def judge_calls() -> dict[str, list[dict[str, Any]]]:
    """Texts and verdicts of every shipped judge on twelve pairs in both orders."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for spec in JUDGES:
            out = Path(folder) / f"{spec}.jsonl"
            _run("judge", "--pairs", str(PAIRS), "--out", str(out), "--judge", spec)
            rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
            found[spec] = [
                {key: row[key] for key in ("id", "order", "status", "verdict", "text")} for row in rows
            ]
    return found


def small_evaluation() -> dict[str, Any]:
    """results.json of a small evaluation, without what differs between two runs of the same code."""
    with tempfile.TemporaryDirectory() as folder:
        _run("evaluate", "--data", str(PAIRS), "--judge", "nano", "--out", folder, "--name", "nano")
        results = json.loads((Path(folder) / "results.json").read_text(encoding="utf-8"))
    results["data"]["data"] = PAIRS.name
    results["stages"]["nano"].pop("seconds")
    return {name: value for name, value in results.items() if name not in VARYING}


def _run(*words: str) -> None:
    from typer.testing import CliRunner

    from rmr1_lite.cli.main import app

    done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output


RECORDS = {"options": command_options, "calls": judge_calls, "evaluation": small_evaluation}

if __name__ == "__main__":
    for record_name, record in RECORDS.items():
        text = json.dumps(record(), indent=1, ensure_ascii=False, sort_keys=True)
        (HERE / f"{record_name}.json").write_text(text + "\n", encoding="utf-8")
        print(f"{record_name}.json written")

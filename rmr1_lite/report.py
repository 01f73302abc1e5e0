"""runs/.../report.html: one self-contained page with the result, the training curves, and judged pairs before and after.

No request leaves the page and no script runs in it: plots are inlined, and everything that a model or a user wrote is
escaped by the template engine.

    python -m rmr1_lite report runs/demo
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

from rmr1_lite.panels import DARK, LIGHT
from rmr1_lite.plots import panel_png, panels, read_logs
from rmr1_lite.results import load
from rmr1_lite.types import InputError
from rmr1_lite.verdict import parse

TEMPLATES = Path(__file__).parent / "templates"
SECTIONS = ("type", "rubric", "solution", "eval", "answer")  # the outer ones; what is inside them stands in their text
FIGURES = (("strict_accuracy", "strict accuracy"), ("accuracy", "accuracy"), ("flip_rate", "flip rate"),
           ("a_share", "says A"), ("unparsed", "unparsed"))  # fmt: skip


def write_report(run_dir: str | Path) -> Path:
    """Write report.html into `run_dir`, from its results.json, its logs and examples.json (both may be missing)."""
    run_dir = Path(run_dir)
    results = load(run_dir / "results.json")
    page = _template().render(
        results=results, sentence=sentence(results), rows=rows(results), figures=FIGURES, sections=section_rows(results),
        curves=curves(run_dir), examples=_examples(run_dir / "examples.json"),
    )  # fmt: skip
    path = run_dir / "report.html"
    draft = path.with_name(f".report.{os.getpid()}.tmp")
    draft.write_text(page, encoding="utf-8")
    os.replace(draft, path)
    return path


def sentence(results: dict[str, Any]) -> str:
    """What came out, in one sentence."""
    stages = results["stages"]
    if not {"sft", "grpo"} <= stages.keys():
        return f"{len(stages)} judges on the same pairs."
    sft, grpo = stages["sft"], stages["grpo"]
    gain = next((d for d in results["differences"] if (d["first"], d["second"]) == ("sft", "grpo")), None)
    sure = f" (95 % interval {gain['low']:+.1%} to {gain['high']:+.1%})" if gain else ""
    return (f"On {grpo['n']} unseen pairs, right in both orders: {sft['strict_accuracy']:.1%} after SFT, "
            f"{grpo['strict_accuracy']:.1%} after GRPO, a difference of "
            f"{grpo['strict_accuracy'] - sft['strict_accuracy']:+.1%}{sure}.")  # fmt: skip


def rows(results: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per judge, baselines first; `bar` is the interval of the strict accuracy in percent of the width."""
    made = []
    for kind, part in (("baseline", "baselines"), ("stage", "stages")):
        for name, row in results[part].items():
            low, high = row["intervals"]["strict_accuracy"]
            bar = {"left": 100 * low, "width": 100 * (high - low), "at": 100 * row["strict_accuracy"]}
            made.append({"name": name, "kind": kind, "bar": bar, **row})
    return made


def section_rows(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Strict accuracy by section, one cell per stage."""
    names = sorted({name for row in results["stages"].values() for name in row["sections"]})
    return [{"name": name, "cells": [row["sections"].get(name) for row in results["stages"].values()]} for name in names]


def curves(run_dir: Path) -> list[dict[str, str]]:
    """Every panel of the logs as PNG data URIs, for light and dark pages."""
    made = []
    for stage, log in read_logs(run_dir).items():
        for panel in panels(log, stage):
            light, dark = (base64.b64encode(panel_png(panel, log, theme)).decode() for theme in (LIGHT, DARK))
            made.append({"title": panel.title, "light": light, "dark": dark})
    return made


def _examples(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        examples = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}). Delete it or run the demo again.") from None
    return [{**example, "looks": {name: [_look(look, example["pair"].get("label")) for look in looks]
             for name, looks in example["looks"].items()}} for example in examples]  # fmt: skip


def _look(look: dict[str, Any], label: str | None) -> dict[str, Any]:
    sections = [s for s in parse(look["text"]).sections if s.name in SECTIONS]
    return {**look, "right": look["label"] == label, "sections": sections}


def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(TEMPLATES)
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined).get_template("report.html.j2")

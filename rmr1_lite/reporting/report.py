"""RUN/report.html: one self-contained page with the result, the training curves, and judged pairs before and
after.

It works without a network and may be shared, so plots are inlined, no request leaves the page and no
script runs in it. Texts of models and users are escaped by the template engine and shown as they were
written.

    python -m rmr1_lite report runs/demo
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmr1_lite.data.nano.teacher import HOW_TO_READ
from rmr1_lite.data.rows import pair_from_row
from rmr1_lite.evaluation.results import Results
from rmr1_lite.evaluation.results_file import load_results, require
from rmr1_lite.reporting.judges_table import METRICS
from rmr1_lite.reporting.plots import DARK, LIGHT, comparison_png, reliability_png, why_no_plots
from rmr1_lite.reporting.training_curves import panel_png, panels_with_data, read_logs
from rmr1_lite.storage import RowError, atomic_write_text
from rmr1_lite.types import OTHER, GroupResult, InputError, Pair
from rmr1_lite.verdict import parse_verdict

TEMPLATES = Path(__file__).parent / "templates"
FIGURES = {name: shown for name, shown in METRICS.items() if name != "strict_accuracy"}
# nested sections are part of these sections' text
OUTER = (
    "think",
    "type",
    "rubric",
    "solution",
    "eval",
    "answer",
)
LENGTHS = {"longer": "is the longer one", "shorter": "is the shorter one", "equal": "has the same length"}
# only the word itself or the shipped models' names: "gpt-nano" and "nanochat" belong to others
_NANO = re.compile(r"(?<![\w-])nano(?:-base|-sft|-grpo)?(?![\w-])")
_SMOL = re.compile(r"(?<![\w-])smol-base(?![\w-])")


def write_report(run_dir: str | Path) -> Path:
    """Write report.html into `run_dir`, from its results.json, its logs and its examples.json.

    Logs and examples may be missing. Errors: InputError for a missing results.json, and for any file
    with a fault in it.
    """
    run_dir = Path(run_dir)
    results = load_results(run_dir / "results.json")
    page = load_template("report.html.j2").render(
        results=results,
        sentence=summary_sentence(results),
        nano=is_nano(results),
        smol=is_smol(results),
        nano_chains=HOW_TO_READ,
        metrics=METRICS,
        groups=[("Stages", results.stages), ("Baselines", results.baselines)],
        figures=FIGURES,
        sections=section_rows(results),
        lengths=length_rows(results),
        own=own_part(results),
        calibrations=calibration_parts(results),
        curves=curve_images(run_dir),
        no_plots=why_no_plots(),
        examples=read_examples(run_dir / "examples.json"),
        facts=list(_flat_items(results.data)),
    )
    return write_page(run_dir / "report.html", page)


def write_page(path: Path, page: str) -> Path:
    """Write a page; characters that UTF-8 cannot hold (a model can write half a surrogate pair) are
    replaced."""
    atomic_write_text(path, page.encode(errors="replace").decode())
    return path


def summary_sentence(results: Results) -> str:
    """The result in one sentence."""
    stages = results.stages
    if not {"sft", "grpo"} <= stages.keys():
        judges = len(results.judges)
        return f"{judges} judge{'s' * (judges != 1)} on the same pairs, each judged in both orders."
    before, after = stages["sft"].result, stages["grpo"].result
    found = results.find_difference("sft", "grpo")
    interval = f" (95 % interval {format_points(found.low)} to {format_points(found.high)})" if found else ""
    return (
        f"Right in both orders on {format_percent(before.strict_accuracy)} of {after.n} unseen pairs after "
        f"SFT and on {format_percent(after.strict_accuracy)} after GRPO: "
        f"{format_points(after.strict_accuracy - before.strict_accuracy)} points{interval}."
    )


def is_nano(results: Results) -> bool:
    """Whether the results come from the nano world or a nano model."""
    data, texts = results.data, [results.command, *results.stages]
    return "nano" in (data.get("world"), data.get("benchmark")) or any(_NANO.search(text) for text in texts)


def is_smol(results: Results) -> bool:
    """Whether a run in the nano world started from smol."""
    return any(_SMOL.search(text) for text in (results.command, *results.stages))


@dataclass(frozen=True)
class GroupRow:
    """A group of pairs: their number, and each stage's result on them, None if it has none."""

    name: str
    n: int
    groups: tuple[GroupResult | None, ...]


def section_rows(results: Results) -> list[GroupRow]:
    """One row per section."""
    stages = list(results.stages.values())
    names = sorted({name for stage in stages for name in stage.result.sections})
    return [_group_row(name, [stage.result.sections.get(name) for stage in stages]) for name in names]


def length_rows(results: Results) -> list[GroupRow]:
    """One row per length of the better response, if the stages have a `length_bias`."""
    stages = list(results.stages.values())
    found = {key for stage in stages for key in stage.length_bias}
    return [
        _group_row(words, [stage.length_bias.get(key) for stage in stages])
        for key, words in LENGTHS.items()
        if key in found
    ]


def _group_row(name: str, groups: Sequence[GroupResult | None]) -> GroupRow:
    return GroupRow(name, max(group.n for group in groups if group), tuple(groups))


def own_part(results: Results) -> dict[str, Any] | None:
    """The benchmark's own convention: judges measured here and quoted ones as columns, its scores as rows."""
    stages = {name: stage.own for name, stage in results.stages.items() if stage.own}
    if not stages:
        return None
    first = next(iter(stages.values()))
    names = list(dict.fromkeys(name for own in stages.values() for name in own.scores))
    quoted = {judge: row for judge, row in results.quoted.items() if any(name in row for name in names)}
    rows = [
        {
            "name": name,
            "scores": [own.scores.get(name) for own in stages.values()],
            "quoted": [row.get(name) for row in quoted.values()],
        }
        for name in names
    ]
    drawn = len(stages) == len(results.stages) and not why_no_plots()
    chart = base64.b64encode(comparison_png(results)).decode() if drawn else None
    return {"first": first, "judges": list(stages), "quoted": list(quoted), "rows": rows, "chart": chart}


def calibration_parts(results: Results) -> list[dict[str, Any]]:
    """Reliability of every judge and source of confidence, with its diagram."""
    return [
        {
            "name": name,
            "source": source,
            "found": found,
            "chart": None
            if why_no_plots()
            else base64.b64encode(reliability_png(found.bins, f"{name}, by {source}")).decode(),
        }
        for name, stage in results.stages.items()
        for source, found in stage.calibration.items()
    ]


def curve_images(run_dir: Path) -> list[dict[str, str]]:
    """Every panel of the logs as PNG data URIs, for light and dark pages; none without matplotlib."""
    if why_no_plots():
        return []
    made = []
    for stage, log in read_logs(run_dir).items():
        for panel in panels_with_data(log, stage):
            light, dark = (base64.b64encode(panel_png(panel, log, theme)).decode() for theme in (LIGHT, DARK))
            made.append({"title": panel.title, "light": light, "dark": dark})
    return made


def read_examples(path: Path) -> list[dict[str, Any]]:
    """Judged pairs for the page: {"pair": Pair, "stages": {name: [look, ...]}}; no file, no pairs."""
    if not path.exists():
        return []
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}). Delete it or run the demo again.") from None
    if not isinstance(rows, list):
        raise InputError(
            f"{path} must hold a list, not {type(rows).__name__}. Delete it or run the demo again."
        )
    return [_read_example(row, f"{path}, row {number}") for number, row in enumerate(rows, 1)]


def _read_example(row: Any, where: str) -> dict[str, Any]:
    require(row, {"pair": dict, "looks": dict}, where)
    require(row["looks"], dict.fromkeys(row["looks"], list), f"{where}, looks")
    try:
        pair = pair_from_row(row["pair"])
    except RowError as error:
        raise InputError(f"{where}, pair.{error.field}: {error.text}. Remedy: {error.remedy}.") from None
    stages = {
        name: [_look_view(look, pair, f"{where}, looks.{name}[{at}]") for at, look in enumerate(looks)]
        for name, looks in row["looks"].items()
    }
    return {"pair": pair, "stages": stages}


def _look_view(look: Any, pair: Pair, where: str) -> dict[str, Any]:
    """One look for the page. `label` and `chosen` are letters of the pair as stored, `shown` is the
    letter written."""
    require(look, {"order": str, "text": str, "status": str}, where)
    label = look.get("label")
    if label not in (None, *OTHER):
        raise InputError(f"{where}: field 'label' is {label!r:.40}. Give A, B or null.")
    exchanged = look["order"] == "ba"
    parts = [
        s
        for s in parse_verdict(look["text"], finished=look["status"] != "truncated").sections
        if s.name in OUTER
    ]
    return {
        "text": look["text"],
        "status": look["status"],
        "exchanged": exchanged,
        "chosen": label,
        "shown": OTHER[label] if label and exchanged else label,
        "right": None if label is None or pair.label is None else label == pair.label,
        "parts": [part for part in parts if part.text],
    }


def _flat_items(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested objects as (dotted name, value)."""
    if not isinstance(value, dict):
        yield name, value
        return
    for key, item in value.items():
        yield from _flat_items(item, f"{name}.{key}" if name else str(key))


def format_percent(share: float | None) -> str:
    """0.853 -> "85.3 %"; an undefined share is a dash."""
    return "–" if share is None or math.isnan(share) else f"{100 * share:.1f} %"


def format_points(difference: float) -> str:
    """0.12 -> "+12.0"."""
    return f"{100 * difference:+.1f}"


def format_p_value(p: float) -> str:
    """Two significant digits, without false precision below 0.0001."""
    return "< 0.0001" if p < 0.0001 else f"{p:.2g}"


def load_template(name: str) -> Any:
    """A template of this folder; all its values are escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(TEMPLATES)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.tests["known"] = math.isfinite
    environment.filters |= {"percent": format_percent, "points": format_points, "p_value": format_p_value}
    return environment.get_template(name)

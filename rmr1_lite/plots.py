"""metrics.jsonl -> PNG curves: panels alone (for the report) or together on one sheet (curves.png).

A log row is a flat JSON object with a "step". Rows of one step are merged, so an evaluation row may follow a training
row, and a resumed run may write a step again. Panels whose figures the log does not hold are left out. Figures are
matplotlib objects, never pyplot: no global state, no window, safe inside a running trainer.

Use: `plot_curves("runs/demo/grpo")` for one training, `plot_curves("runs/demo")` for SFT and GRPO on one sheet.
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

from rmr1_lite.panels import GRPO_PANELS, LIGHT, SFT_PANELS, Panel, Rows, Theme, points
from rmr1_lite.types import InputError

STAGES = {"sft": SFT_PANELS, "grpo": GRPO_PANELS}
DPI = 160


def read_log(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Rows by step, merged. A last line that was cut off by a kill is left out; any other bad line is an InputError."""
    lines = Path(path).read_text(encoding="utf-8", errors="replace").split("\n")
    steps: dict[float, dict[str, Any]] = {}
    for number, line in enumerate(lines, start=1):
        row = _row(line, f"{path}, row {number}", last=number == len(lines))
        if row is not None:
            steps.setdefault(row["step"], {}).update(row)
    return [steps[step] for step in sorted(steps)]


def read_logs(run_dir: str | os.PathLike[str]) -> dict[str, list[dict[str, Any]]]:
    """Logs by stage: of the folder itself, where it is one training, else of its sft/ and grpo/ folders."""
    run_dir = Path(run_dir)
    if (run_dir / "metrics.jsonl").exists():
        rows = read_log(run_dir / "metrics.jsonl")
        return {"grpo" if any("reward/mean" in row for row in rows) else "sft": rows}
    paths = {stage: run_dir / stage / "metrics.jsonl" for stage in STAGES}
    return {stage: read_log(path) for stage, path in paths.items() if path.exists()}


def panels(rows: Rows, stage: str) -> list[Panel]:
    """The panels of "sft" or "grpo" for which the log has figures."""
    return [panel for panel in STAGES[stage] if any(points(rows, key)[0] for key in panel.keys)]


def panel_png(panel: Panel, rows: Rows, theme: Theme = LIGHT) -> bytes:
    """One panel as PNG bytes."""
    figure, grid = new_figure(1, 1, theme)
    _draw(grid[0], panel, rows, theme)
    return figure_png(figure)


def plot_curves(run_dir: str | os.PathLike[str]) -> Path:
    """Write `run_dir`/curves.png from its metrics.jsonl, or from those of its sft/ and grpo/ folders."""
    sheet = sheet_png(run_dir)
    if sheet is None:
        raise InputError(f"{run_dir} holds no metrics.jsonl with figures. Train first, or give the run's own folder.")
    path = Path(run_dir) / "curves.png"
    draft = path.with_name(f".curves.{os.getpid()}.tmp")
    draft.write_bytes(sheet)
    os.replace(draft, path)
    return path


def sheet_png(run_dir: str | os.PathLike[str]) -> bytes | None:
    """All curves of a run on one sheet, None while its log holds no figures."""
    drawn = [(panel, rows) for stage, rows in read_logs(run_dir).items() for panel in panels(rows, stage)]
    if not drawn:
        return None
    columns = min(2, len(drawn))
    figure, grid = new_figure(-(-len(drawn) // columns), columns, LIGHT)
    for axes, (panel, rows) in zip(grid, drawn, strict=False):
        _draw(axes, panel, rows, LIGHT)
    for axes in grid[len(drawn) :]:
        axes.set_axis_off()
    return figure_png(figure)


def comparison_png(results: dict[str, Any], theme: Theme = LIGHT) -> bytes:
    """The main own figure of every stage with its interval (filled), and the quoted judges' (hollow), best on top."""
    from matplotlib.ticker import PercentFormatter

    rows = comparison_rows(results)
    figure, grid = new_figure(1, 1, theme)
    figure.set_size_inches(7.5, 1.2 + 0.3 * len(rows))
    axes = grid[0]
    for place, (_, share, low, high, measured) in enumerate(rows):
        colour = theme.line[0] if measured else theme.muted
        if low is not None:
            axes.plot([low, high], [place, place], color=colour, linewidth=2)
        axes.plot([share], [place], marker="o", markersize=7, color=colour, markerfacecolor=colour if measured else theme.paper)
    axes.set_facecolor(theme.paper)
    axes.set_yticks(range(len(rows)), [f"{name}{'' if measured else ' (quoted)'}" for name, *_, measured in rows])
    axes.set_title(f"{results['data']['title']}: {_main(results)}", loc="left", fontsize=10, fontweight="bold", color=theme.ink)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(True, axis="x", color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=theme.muted, labelsize=8, length=0)
    axes.spines[:].set_visible(False)
    return figure_png(figure)


def reliability_png(bins: list[dict[str, Any]], title: str, theme: Theme = LIGHT) -> bytes:
    """Accuracy against confidence by bins, with how many pairs each bin holds; the diagonal is a calibrated judge."""
    from matplotlib.ticker import PercentFormatter

    figure, grid = new_figure(1, 1, theme)
    figure.set_size_inches(4.4, 3.4)
    axes, held = grid[0], [part for part in bins if part["n"]]
    axes.plot([0.5, 1], [0.5, 1], color=theme.muted, linewidth=1, linestyle="--", label="calibrated")
    axes.plot([part["confidence"] for part in held], [part["accuracy"] for part in held], color=theme.line[0], marker="o",
              linewidth=1.5, label="this judge")  # fmt: skip
    for part in held:
        axes.annotate(str(part["n"]), (part["confidence"], part["accuracy"]), textcoords="offset points", xytext=(0, 6),
                      ha="center", fontsize=7.5, color=theme.muted)  # fmt: skip
    axes.set_facecolor(theme.paper)
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold", color=theme.ink)
    axes.set_xlabel("confidence", fontsize=8, color=theme.muted)
    axes.set_ylabel("accuracy", fontsize=8, color=theme.muted)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylim(-0.05, 1.12)
    axes.grid(True, color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=theme.muted, labelsize=8, length=0)
    axes.spines[:].set_visible(False)
    axes.legend(fontsize=7.5, frameon=False, labelcolor=theme.ink, loc="lower right")
    return figure_png(figure)


def comparison_rows(results: dict[str, Any]) -> list[tuple[str, float, float | None, float | None, bool]]:
    """(judge, share, low, high, measured here) of the main own figure, worst first."""
    main = _main(results)
    rows = []
    for name, stage in results["stages"].items():
        row = stage["own"]["figures"][main]
        rows.append((name, row["value"], row["low"], row["high"], True))
    rows += [(name, row[main], None, None, False) for name, row in results["quoted"].items() if main in row]
    return sorted(rows, key=lambda row: row[1])


def _main(results: dict[str, Any]) -> str:
    return next(iter(results["stages"].values()))["own"]["main"]


def _row(line: str, where: str, last: bool) -> dict[str, Any] | None:
    if not line.strip():
        return None
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        if last:  # no line end: the process was killed while it wrote
            return None
        raise InputError(f"{where} is not JSON ({error.msg}). Remove the line.") from None
    if not isinstance(row, dict) or not isinstance(row.get("step"), int | float):
        raise InputError(f"{where} has no number in field 'step'. Remove the line.")
    return row


def new_figure(height: int, width: int, theme: Theme = LIGHT) -> tuple[Any, list[Any]]:
    """A figure of `height` x `width` panels and its axes, row by row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4 * width, 2.6 * height), dpi=DPI, facecolor=theme.paper, layout="constrained")
    return figure, list(figure.subplots(height, width, squeeze=False).flat)


def figure_png(figure: Any) -> bytes:
    """The figure as PNG bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()


def _draw(axes: Any, panel: Panel, rows: Rows, theme: Theme) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_facecolor(theme.paper)
    axes.set_title(panel.title, loc="left", fontsize=10, fontweight="bold", color=theme.ink)
    axes.grid(True, color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=theme.muted, labelsize=8, length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("step", fontsize=8, color=theme.muted)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.draw(axes, rows, theme)
    if len(axes.get_legend_handles_labels()[1]) > 1:
        axes.legend(fontsize=7.5, frameon=False, labelcolor=theme.ink, loc="best")

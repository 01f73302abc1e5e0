"""Plots of results, and the parts that all plots share: colours, an empty figure, PNG bytes.

Figures are matplotlib objects, never pyplot: no global state, no window, safe inside a running trainer.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmr1_lite.evaluation.calibration import ReliabilityBin
from rmr1_lite.evaluation.results import Results
from rmr1_lite.extras import is_here, missing_line
from rmr1_lite.storage import atomic_write_bytes


@dataclass(frozen=True)
class Theme:
    """Colours of one appearance; the hues of `line` differ in lightness too (colour-blind readers, print)."""

    ink: str
    muted: str
    grid: str
    paper: str
    line: tuple[str, ...]


_LIGHT_LINES = ("#2f5fd0", "#0f9d76", "#d9822b", "#c2477f", "#7a56c9", "#8a93a3")
_DARK_LINES = ("#7ea6ff", "#3fd0a4", "#f2a65a", "#f082b0", "#b396f5", "#8f9aad")
LIGHT = Theme("#1d2430", "#667085", "#e4e7ec", "#ffffff", _LIGHT_LINES)
DARK = Theme("#e8ebf1", "#98a2b3", "#2e3644", "#1a2029", _DARK_LINES)
DPI = 160


def why_no_plots() -> str:
    """A line for an installation without matplotlib, where reports have no plots; otherwise ""."""
    return "" if is_here("matplotlib") else f"Plots are left out: {missing_line('matplotlib')}"


def write_comparison_plot(results: Results, folder: Path) -> Path | None:
    """Write `folder`/comparison.png: the main score of every judge with its interval, and the quoted
    rows. None, and no file, without matplotlib."""
    if why_no_plots():
        return None
    path = folder / "comparison.png"
    atomic_write_bytes(path, comparison_png(results))
    return path


def comparison_png(results: Results, theme: Theme = LIGHT) -> bytes:
    """The main own score of every stage with its interval (filled), and the quoted judges' (hollow), best on
    top."""
    from matplotlib.ticker import PercentFormatter

    rows = comparison_rows(results)
    figure, grid = new_figure(1, 1, theme)
    figure.set_size_inches(7.5, 1.2 + 0.3 * len(rows))
    axes = grid[0]
    for place, (_, share, low, high, measured) in enumerate(rows):
        colour = theme.line[0] if measured else theme.muted
        if low is not None:
            axes.plot([low, high], [place, place], color=colour, linewidth=2)
        axes.plot(
            [share],
            [place],
            marker="o",
            markersize=7,
            color=colour,
            markerfacecolor=colour if measured else theme.paper,
        )
    axes.set_yticks(
        range(len(rows)), [f"{name}{'' if measured else ' (quoted)'}" for name, *_, measured in rows]
    )
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    dress_axes(axes, f"{results.data['title']}: {_main_score_name(results)}", theme, grid="x")
    return figure_png(figure)


def reliability_png(bins: Sequence[ReliabilityBin], title: str, theme: Theme = LIGHT) -> bytes:
    """Accuracy against confidence by bins, with the number of pairs in each; the diagonal is a calibrated
    judge."""
    from matplotlib.ticker import PercentFormatter

    figure, grid = new_figure(1, 1, theme)
    figure.set_size_inches(4.4, 3.4)
    axes, held = grid[0], [part for part in bins if part.n]
    axes.plot([0.5, 1], [0.5, 1], color=theme.muted, linewidth=1, linestyle="--", label="calibrated")
    axes.plot(
        [part.confidence for part in held],
        [part.accuracy for part in held],
        color=theme.line[0],
        marker="o",
        linewidth=1.5,
        label="this judge",
    )
    for part in held:
        axes.annotate(
            str(part.n),
            (part.confidence, part.accuracy),
            textcoords="offset points",
            xytext=(0, 6),
            ha="center",
            fontsize=7.5,
            color=theme.muted,
        )
    axes.set_xlabel("confidence", fontsize=8, color=theme.muted)
    axes.set_ylabel("accuracy", fontsize=8, color=theme.muted)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylim(-0.05, 1.12)
    dress_axes(axes, title, theme)
    axes.legend(fontsize=7.5, frameon=False, labelcolor=theme.ink, loc="lower right")
    return figure_png(figure)


def comparison_rows(results: Results) -> list[tuple[str, float, float | None, float | None, bool]]:
    """(judge, share, low, high, measured here) of the main own score, worst first."""
    main = _main_score_name(results)
    rows: list[tuple[str, float, float | None, float | None, bool]] = []
    for name, stage in results.stages.items():
        score = stage.scored.scores[main]
        rows.append((name, score.value, score.low, score.high, True))
    rows += [(name, row[main], None, None, False) for name, row in results.quoted.items() if main in row]
    return sorted(rows, key=lambda row: row[1])


def _main_score_name(results: Results) -> str:
    return next(iter(results.stages.values())).scored.main


def new_figure(height: int, width: int, theme: Theme = LIGHT) -> tuple[Any, list[Any]]:
    """A figure of `height` x `width` panels and its axes, row by row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4 * width, 2.6 * height), dpi=DPI, facecolor=theme.paper, layout="constrained")
    return figure, list(figure.subplots(height, width, squeeze=False).flat)


def dress_axes(axes: Any, title: str, theme: Theme, grid: str = "both") -> None:
    """The style of every panel. grid: "x", "y" or "both"."""
    axes.set_facecolor(theme.paper)
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold", color=theme.ink)
    axes.grid(True, axis=grid, color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=theme.muted, labelsize=8, length=0)
    axes.spines[:].set_visible(False)


def figure_png(figure: Any) -> bytes:
    """The figure as PNG bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()

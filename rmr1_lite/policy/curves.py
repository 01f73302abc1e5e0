"""The pictures of a study: truth beside the judge's opinion, for each kind of reward, and for each way to go
wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rmr1_lite.policy.summary import KINDS, STUDIES, USUAL, Results, is_seed_of
from rmr1_lite.reporting.plots import LIGHT, Theme, dress_axes, figure_png, new_figure, why_no_plots
from rmr1_lite.storage import atomic_write_bytes

COLUMNS = 3


def write_curves(results: Results, path: Path) -> Path | None:
    """One panel for each kind and study; None, and no file, without matplotlib."""
    if why_no_plots():
        return None
    atomic_write_bytes(path, sheet_png(results))
    return path


def sheet_png(results: Results, theme: Theme = LIGHT) -> bytes:
    """The panels on one sheet."""
    panels = {
        title: [results[name] for name in sorted(results) if is_seed_of(name, kind)]
        for kind, title in KINDS.items()
    } | {title: [results[name]] for name, title in STUDIES.items() if name in results and name != USUAL}
    drawn = {title: found for title, found in panels.items() if found}
    width = min(COLUMNS, len(drawn))
    figure, grid = new_figure(-(-len(drawn) // width), width, theme)
    for axes, (title, found) in zip(grid, drawn.items(), strict=False):
        _draw_panel(axes, title, found, theme)
    for axes in grid[len(drawn) :]:
        axes.set_visible(False)
    return figure_png(figure)


def _draw_panel(axes: Any, title: str, found: Sequence[Mapping[str, Any]], theme: Theme) -> None:
    """Every seed faintly, their mean on top."""
    from matplotlib.ticker import PercentFormatter

    for key, label, colour in (
        ("truth", "truth", theme.line[0]),
        ("judged", "the judge's opinion", theme.line[2]),
        ("attacks", "answers with the attack", theme.line[3]),
    ):
        curves = [
            [(row["step"], row[key]) for row in result["curve"] if row.get(key) is not None]
            for result in found
        ]
        if not all(curves):
            continue
        for curve in curves if len(curves) > 1 else ():
            axes.plot(*zip(*curve, strict=True), color=colour, alpha=0.3, linewidth=1)
        mean = [(steps[0][0], fmean(value for _, value in steps)) for steps in zip(*curves, strict=False)]
        axes.plot(*zip(*mean, strict=True), color=colour, linewidth=2, marker="o", markersize=4, label=label)
    axes.set_ylim(-0.03, 1.03)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    dress_axes(axes, title, theme)
    axes.set_xlabel("step")
    axes.legend(frameon=False, fontsize=8)

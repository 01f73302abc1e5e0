"""metrics.jsonl -> training curves: one panel per question, alone (for the report) or together on one sheet
(curves.png).

Why these panels. A GRPO loss says nothing, so accuracy, reward and the ways to game them are shown instead:
unparsed verdicts, a favourite letter, growing chains, groups without a signal, distance from the start.
Faint lines are the raw log, strong ones a moving average; round points are the fixed probe set, which
alone is comparable between steps. Panels whose metrics are not in the log are left out.

Use: `plot_curves("runs/demo/grpo")` for one training, `plot_curves("runs/demo")` for SFT and GRPO on one
sheet.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rmr1_lite.reporting.plots import LIGHT, Theme, dress_axes, figure_png, new_figure
from rmr1_lite.training.run_folder import read_log
from rmr1_lite.types import InputError

Rows = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Panel:
    """One question, its log keys (at least one must exist), and how to draw them."""

    title: str
    keys: tuple[str, ...]
    draw: Callable[[Any, Rows, Theme], None]


def metric_points(rows: Rows, key: str) -> tuple[list[float], list[float]]:
    """Steps and values of one key wherever it is a finite number (nan, None and absence are gaps)."""
    found = [(row["step"], row[key]) for row in rows if isinstance(row.get(key), int | float)]
    finite = [(step, float(value)) for step, value in found if abs(value) < float("inf")]
    return [step for step, _ in finite], [value for _, value in finite]


def moving_average(values: Sequence[float]) -> list[float]:
    """Centred moving average over an eighth of the values, over fewer at the end.

    At the start it narrows to the first value, which must stay exact: at step 0 the KL is 0, and the accuracy
    that of SFT.
    """
    half = max(1, len(values) // 16)
    reach = [min(i, half) for i in range(len(values))]
    windows = [values[i - r : i + r + 1] for i, r in enumerate(reach)]
    return [sum(window) / len(window) for window in windows]


def _draw_curve(axes: Any, rows: Rows, key: str, label: str, colour: str) -> None:
    """The log faintly, its moving average on top."""
    steps, values = metric_points(rows, key)
    if steps:
        marker = "o" if len(steps) == 1 else None
        axes.plot(steps, values, color=colour, alpha=0.25, linewidth=1)
        axes.plot(steps, moving_average(values), color=colour, linewidth=2, label=label, marker=marker)


def _draw_dots(axes: Any, rows: Rows, key: str, label: str, colour: str) -> None:
    """Round points: the probe set, or held-out data."""
    steps, values = metric_points(rows, key)
    if steps:  # otherwise the legend would name a missing curve
        axes.plot(steps, values, color=colour, marker="o", markersize=4.5, linewidth=1.2, label=label)


def _share_axis(axes: Any) -> None:
    """A share axis: 0 to 100 %, with space for points at the edges."""
    from matplotlib.ticker import PercentFormatter

    axes.set_ylim(-0.03, 1.03)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _draw_simple(axes: Any, rows: Rows, theme: Theme, key: str, colour: int = 0) -> None:
    _draw_curve(axes, rows, key, key, theme.line[colour])


def _draw_loss(axes: Any, rows: Rows, theme: Theme) -> None:
    _draw_curve(axes, rows, "loss", "training", theme.line[0])
    _draw_dots(axes, rows, "eval/loss", "held out", theme.line[2])


def _held_out(axes: Any, rows: Rows, theme: Theme) -> None:
    for index, (key, label) in enumerate(HELD_OUT.items()):
        _draw_dots(axes, rows, key, label, theme.line[index])
    _share_axis(axes)


def _draw_accuracy(axes: Any, rows: Rows, theme: Theme) -> None:
    _draw_curve(axes, rows, "rollout/accuracy", "rollouts, one order", theme.line[0])
    _draw_dots(axes, rows, "eval/accuracy", "probe, one order", theme.line[1])
    _draw_dots(axes, rows, "eval/strict_accuracy", "probe, both orders", theme.line[2])
    _share_axis(axes)


def _draw_reward(axes: Any, rows: Rows, theme: Theme) -> None:
    _draw_curve(axes, rows, "rollout/reward_mean", "mean", theme.line[0])
    _draw_curve(axes, rows, "rollout/reward_std", "standard deviation", theme.line[4])
    axes.axhline(0, color=theme.muted, linewidth=0.8)


def _draw_unparsed(axes: Any, rows: Rows, theme: Theme) -> None:
    """Unparsed shares, stacked: their top edge is what the model loses through format alone."""
    names = [name for name in UNREAD if metric_points(rows, f"rollout/{name}")[0]]
    seen = [row for row in rows if any(f"rollout/{name}" in row for name in names)]
    layers = [[row.get(f"rollout/{name}") or 0.0 for row in seen] for name in names]
    colours = [theme.line[UNREAD.index(name) + 1] for name in names]
    axes.stackplot(
        [row["step"] for row in seen], layers, labels=names, colors=colours, alpha=0.85, linewidth=0
    )
    _draw_dots(axes, rows, "eval/unparsed", "probe", theme.line[0])
    top = max(
        [sum(column) for column in zip(*layers, strict=True)] + metric_points(rows, "eval/unparsed")[1],
        default=0,
    )
    _share_axis(axes)
    if top < 0.2:  # small problems must be visible too, but 0.1 % must not look like a mountain
        axes.set_yticks([0, 0.05, 0.1, 0.15, 0.2])
        axes.set_ylim(0, 0.2)


def _draw_position(axes: Any, rows: Rows, theme: Theme) -> None:
    _draw_curve(axes, rows, "rollout/a_share", "says A", theme.line[0])
    _draw_curve(axes, rows, "rollout/flip_rate", "flips when swapped", theme.line[3])
    _draw_dots(axes, rows, "eval/flip_rate", "probe flips", theme.line[2])
    axes.axhline(0.5, color=theme.muted, linewidth=0.8, linestyle="--")
    _share_axis(axes)


def _zero_variance(axes: Any, rows: Rows, theme: Theme) -> None:
    _draw_simple(axes, rows, theme, "rollout/zero_variance", 4)
    _share_axis(axes)


def _one_key_panel(title: str, key: str, colour: int = 0) -> Panel:
    return Panel(title, (key,), partial(_draw_simple, key=key, colour=colour))


UNREAD = ("missing", "conflict", "trailing", "truncated")
HELD_OUT = {
    "eval/strict_accuracy": "right in both orders",
    "eval/accuracy": "right in one order",
    "eval/flip_rate": "flips",
    "eval/unparsed": "unparsed",
}
SFT_PANELS = (
    Panel("SFT: loss on the chains", ("loss", "eval/loss"), _draw_loss),
    Panel("SFT: on held-out pairs", tuple(HELD_OUT), _held_out),
)
GRPO_PANELS = (
    Panel("GRPO: right verdicts", ("rollout/accuracy", "eval/strict_accuracy"), _draw_accuracy),
    Panel("GRPO: reward", ("rollout/reward_mean",), _draw_reward),
    Panel("GRPO: outputs without a verdict", tuple(f"rollout/{name}" for name in UNREAD), _draw_unparsed),
    Panel("GRPO: position", ("rollout/a_share", "rollout/flip_rate"), _draw_position),
    _one_key_panel("GRPO: mean chain length, tokens", "rollout/mean_tokens"),
    Panel("GRPO: groups without a signal", ("rollout/zero_variance",), _zero_variance),
    _one_key_panel("GRPO: KL from the start", "kl", 3),
    _one_key_panel("GRPO: entropy of the policy, nats", "entropy", 1),
    _one_key_panel("GRPO: log-prob. gap, rollouts to training", "logp_gap", 3),
    _one_key_panel("GRPO: tokens per second", "time/tokens_per_second", 5),
    _one_key_panel("GRPO: peak memory, GB", "peak_memory_gb", 5),
)
STAGES = {"sft": SFT_PANELS, "grpo": GRPO_PANELS}


def read_logs(run_dir: str | os.PathLike[str]) -> dict[str, list[dict[str, Any]]]:
    """Logs by stage: of the folder itself if it is one training, else of its sft/ and grpo/ folders."""
    run_dir = Path(run_dir)
    if (run_dir / "metrics.jsonl").exists():
        rows = read_log(run_dir / "metrics.jsonl")
        return {"grpo" if any("rollout/reward_mean" in row for row in rows) else "sft": rows}
    paths = {stage: run_dir / stage / "metrics.jsonl" for stage in STAGES}
    return {stage: read_log(path) for stage, path in paths.items() if path.exists()}


def panels_with_data(rows: Rows, stage: str) -> list[Panel]:
    """The panels of "sft" or "grpo" that the log has metrics for."""
    return [panel for panel in STAGES[stage] if any(metric_points(rows, key)[0] for key in panel.keys)]


def panel_png(panel: Panel, rows: Rows, theme: Theme = LIGHT) -> bytes:
    """One panel as PNG bytes."""
    figure, grid = new_figure(1, 1, theme)
    _draw_panel(grid[0], panel, rows, theme)
    return figure_png(figure)


def plot_curves(run_dir: str | os.PathLike[str]) -> Path:
    """Write `run_dir`/curves.png from its metrics.jsonl, or from those of its sft/ and grpo/ folders."""
    sheet = sheet_png(run_dir)
    if sheet is None:
        raise InputError(
            f"{run_dir} contains no metrics.jsonl with metrics. Train first, or give the run's own folder."
        )
    path = Path(run_dir) / "curves.png"
    draft = path.with_name(f".curves.{os.getpid()}.tmp")
    draft.write_bytes(sheet)
    os.replace(draft, path)
    return path


def sheet_png(run_dir: str | os.PathLike[str]) -> bytes | None:
    """All curves of a run on one sheet, None while its log holds no metrics."""
    drawn = [
        (panel, rows) for stage, rows in read_logs(run_dir).items() for panel in panels_with_data(rows, stage)
    ]
    if not drawn:
        return None
    columns = min(2, len(drawn))
    figure, grid = new_figure(-(-len(drawn) // columns), columns, LIGHT)
    for axes, (panel, rows) in zip(grid, drawn, strict=False):
        _draw_panel(axes, panel, rows, LIGHT)
    for axes in grid[len(drawn) :]:
        axes.set_axis_off()
    return figure_png(figure)


def _draw_panel(axes: Any, panel: Panel, rows: Rows, theme: Theme) -> None:
    from matplotlib.ticker import MaxNLocator

    dress_axes(axes, panel.title, theme)
    axes.set_xlabel("step", fontsize=8, color=theme.muted)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.draw(axes, rows, theme)
    if len(axes.get_legend_handles_labels()[1]) > 1:
        axes.legend(fontsize=7.5, frameon=False, labelcolor=theme.ink, loc="best")

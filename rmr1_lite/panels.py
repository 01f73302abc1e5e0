"""What the training curves ask, and how each answer is drawn: one Panel per question, on a matplotlib Axes.

Why these. A GRPO loss says nothing, so accuracy, reward and the ways to game them stand in its place: unreadable
verdicts, a favourite letter, growing chains, groups without a signal, distance from the start. Faint lines are the
log as it is, strong ones a moving average; round points are the fixed probe set, which alone compares between steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

Rows = Sequence[dict[str, Any]]


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


@dataclass(frozen=True)
class Panel:
    """One question, the log keys of which at least one must be there, and how to draw them."""

    title: str
    keys: tuple[str, ...]
    draw: Callable[[Any, Rows, Theme], None]


def points(rows: Rows, key: str) -> tuple[list[float], list[float]]:
    """Steps and values of one key, where it is a finite number (nan, None and absence are gaps)."""
    found = [(row["step"], row[key]) for row in rows if isinstance(row.get(key), int | float)]
    finite = [(step, float(value)) for step, value in found if abs(value) < float("inf")]
    return [step for step, _ in finite], [value for _, value in finite]


def smooth(values: Sequence[float]) -> list[float]:
    """Centred moving average over an eighth of the values, at the end over what there is of it.

    At the start it narrows to the first value, which must stay exact: the KL of step 0 is 0, its accuracy that of SFT.
    """
    half = max(1, len(values) // 16)
    reach = [min(i, half) for i in range(len(values))]
    windows = [values[i - r : i + r + 1] for i, r in enumerate(reach)]
    return [sum(window) / len(window) for window in windows]


def _curve(axes: Any, rows: Rows, key: str, label: str, colour: str) -> None:
    """The log faintly, its moving average on top."""
    steps, values = points(rows, key)
    if steps:
        marker = "o" if len(steps) == 1 else None
        axes.plot(steps, values, color=colour, alpha=0.25, linewidth=1)
        axes.plot(steps, smooth(values), color=colour, linewidth=2, label=label, marker=marker)


def _dots(axes: Any, rows: Rows, key: str, label: str, colour: str) -> None:
    """Round points: the probe set, or what was held out."""
    steps, values = points(rows, key)
    if steps:  # without the check the legend would name what is not there
        axes.plot(steps, values, color=colour, marker="o", markersize=4.5, linewidth=1.2, label=label)


def _shares(axes: Any) -> None:
    """A share axis: 0 to 100 %, with room for points at the edges."""
    from matplotlib.ticker import PercentFormatter

    axes.set_ylim(-0.03, 1.03)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _simple(axes: Any, rows: Rows, theme: Theme, key: str, colour: int = 0) -> None:
    _curve(axes, rows, key, key, theme.line[colour])


def _loss(axes: Any, rows: Rows, theme: Theme) -> None:
    _curve(axes, rows, "loss", "training", theme.line[0])
    _dots(axes, rows, "eval/loss", "held out", theme.line[2])


def _held_out(axes: Any, rows: Rows, theme: Theme) -> None:
    for index, (key, label) in enumerate(HELD_OUT.items()):
        _dots(axes, rows, key, label, theme.line[index])
    _shares(axes)


def _accuracy(axes: Any, rows: Rows, theme: Theme) -> None:
    _curve(axes, rows, "verdict/accuracy", "rollouts, one order", theme.line[0])
    _dots(axes, rows, "probe/accuracy", "probe, one order", theme.line[1])
    _dots(axes, rows, "probe/strict_accuracy", "probe, both orders", theme.line[2])
    _shares(axes)


def _reward(axes: Any, rows: Rows, theme: Theme) -> None:
    _curve(axes, rows, "reward/mean", "mean", theme.line[0])
    _curve(axes, rows, "reward/std", "standard deviation", theme.line[4])
    axes.axhline(0, color=theme.muted, linewidth=0.8)


def _unread(axes: Any, rows: Rows, theme: Theme) -> None:
    """Shares without a verdict, stacked: their top edge is what the model loses to form alone."""
    names = [name for name in UNREAD if points(rows, f"status/{name}")[0]]
    seen = [row for row in rows if any(f"status/{name}" in row for name in names)]
    layers = [[row.get(f"status/{name}") or 0.0 for row in seen] for name in names]
    colours = [theme.line[UNREAD.index(name) + 1] for name in names]
    axes.stackplot([row["step"] for row in seen], layers, labels=names, colors=colours, alpha=0.85, linewidth=0)
    _dots(axes, rows, "probe/unparsed", "probe", theme.line[0])
    top = max([sum(column) for column in zip(*layers, strict=True)] + points(rows, "probe/unparsed")[1], default=0)
    _shares(axes)
    if top < 0.2:  # a small trouble must be seen too, but a scale that shows 0.1 % as a mountain would alarm
        axes.set_yticks([0, 0.05, 0.1, 0.15, 0.2])
        axes.set_ylim(0, 0.2)


def _position(axes: Any, rows: Rows, theme: Theme) -> None:
    _curve(axes, rows, "a_share", "says A", theme.line[0])
    _curve(axes, rows, "flip_rate", "flips when exchanged", theme.line[3])
    _dots(axes, rows, "probe/flip_rate", "probe flips", theme.line[2])
    axes.axhline(0.5, color=theme.muted, linewidth=0.8, linestyle="--")
    _shares(axes)


def _zero_variance(axes: Any, rows: Rows, theme: Theme) -> None:
    _simple(axes, rows, theme, "zero_variance", 4)
    _shares(axes)


def _one(title: str, key: str, colour: int = 0) -> Panel:
    return Panel(title, (key,), partial(_simple, key=key, colour=colour))


UNREAD = ("missing", "conflict", "trailing", "truncated")
HELD_OUT = {
    "eval/strict_accuracy": "right in both orders",
    "eval/accuracy": "right in one order",
    "eval/flip_rate": "flips",
    "eval/unparsed": "unparsed",
}
SFT_PANELS = (
    Panel("SFT: loss on the chains", ("loss", "eval/loss"), _loss),
    Panel("SFT: on held-out pairs", tuple(HELD_OUT), _held_out),
)
GRPO_PANELS = (
    Panel("GRPO: right verdicts", ("verdict/accuracy", "probe/strict_accuracy"), _accuracy),
    Panel("GRPO: reward", ("reward/mean",), _reward),
    Panel("GRPO: outputs without a verdict", tuple(f"status/{name}" for name in UNREAD), _unread),
    Panel("GRPO: position", ("a_share", "flip_rate"), _position),
    _one("GRPO: mean chain length, tokens", "completion/mean_tokens"),
    Panel("GRPO: groups without a signal", ("zero_variance",), _zero_variance),
    _one("GRPO: KL from the start", "kl", 3),
    _one("GRPO: entropy of the policy, nats", "entropy", 1),
    _one("GRPO: rollouts and training apart, log-prob.", "logp_gap", 3),
    _one("GRPO: tokens per second", "tokens_per_second", 5),
    _one("GRPO: peak memory, GB", "peak_memory_gb", 5),
)

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


def smooth(values: Sequence[float], half: int | None = None) -> list[float]:
    """Centred moving average of up to 2 * half + 1 values, narrower towards both ends: it does not lag."""
    last = len(values) - 1
    half = max(1, len(values) // 16) if half is None else half
    reach = [min(i, last - i, half) for i in range(len(values))]
    return [sum(values[i - r : i + r + 1]) / (2 * r + 1) for i, r in enumerate(reach)]


def _curve(axes: Any, rows: Rows, key: str, label: str, colour: str, plain: bool = False) -> None:
    """The log faintly, its moving average on top; `plain` draws the log alone."""
    steps, values = points(rows, key)
    if not steps:
        return
    if not plain:
        axes.plot(steps, values, color=colour, alpha=0.25, linewidth=1)
    marker = "o" if len(steps) == 1 else None
    axes.plot(steps, values if plain else smooth(values), color=colour, linewidth=2, label=label, marker=marker)


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
    for key, colour in (("eval/loss", 2), ("eval_loss", 2)):
        steps, values = points(rows, key)
        if steps:
            axes.plot(steps, values, color=theme.line[colour], marker="o", markersize=4, label="held out")


def _held_out(axes: Any, rows: Rows, theme: Theme) -> None:
    """Every eval/... share that is not the loss."""
    keys = sorted({key for row in rows for key in row if key.startswith("eval/") and key in EVAL_SHARES})
    for index, key in enumerate(keys):
        steps, values = points(rows, key)
        name = key.removeprefix("eval/").replace("_", " ")
        axes.plot(steps, values, color=theme.line[index], marker="o", markersize=4, label=name)
    _shares(axes)


def _accuracy(axes: Any, rows: Rows, theme: Theme) -> None:
    _curve(axes, rows, "verdict/accuracy", "rollouts, one order", theme.line[0])
    steps, values = points(rows, "probe/strict_accuracy")
    axes.plot(steps, values, color=theme.line[2], marker="o", markersize=5, linewidth=1.2, label="probe, both orders")
    _shares(axes)


def _reward(axes: Any, rows: Rows, theme: Theme) -> None:
    _curve(axes, rows, "reward/mean", "mean", theme.line[0])
    _curve(axes, rows, "reward/std", "standard deviation", theme.line[4])
    axes.axhline(0, color=theme.muted, linewidth=0.8)


def _unread(axes: Any, rows: Rows, theme: Theme) -> None:
    """Shares without a verdict, stacked: their top edge is what the model loses to form alone."""
    names = [name for name in UNREAD if points(rows, f"status/{name}")[0]]
    whole = [row for row in rows if all(isinstance(row.get(f"status/{name}"), int | float) for name in names)]
    layers = [points(whole, f"status/{name}")[1] for name in names]
    colours = [theme.line[UNREAD.index(name) + 1] for name in names]
    axes.stackplot([row["step"] for row in whole], layers, labels=names, colors=colours, alpha=0.85, linewidth=0)
    top = max((sum(column) for column in zip(*layers, strict=True)), default=0)
    _shares(axes)
    if top < 0.2:  # a small trouble must be seen too, but a scale that shows 0.1 % as a mountain would alarm
        axes.set_yticks([0, 0.05, 0.1, 0.15, 0.2])
        axes.set_ylim(0, 0.2)


def _position(axes: Any, rows: Rows, theme: Theme) -> None:
    _curve(axes, rows, "a_share", "says A", theme.line[0])
    _curve(axes, rows, "flip_rate", "changes its mind when exchanged", theme.line[3])
    axes.axhline(0.5, color=theme.muted, linewidth=0.8, linestyle="--")
    _shares(axes)


def _zero_variance(axes: Any, rows: Rows, theme: Theme) -> None:
    _simple(axes, rows, theme, "zero_variance", 4)
    _shares(axes)


LENGTH = "completion/mean_tokens"
UNREAD = ("missing", "conflict", "trailing", "truncated")
EVAL_SHARES = ("eval/strict_accuracy", "eval/accuracy", "eval/flip_rate", "eval/unparsed", "eval/token_accuracy")
SFT_PANELS = (
    Panel("SFT: loss on the chains", ("loss", "eval/loss", "eval_loss"), _loss),
    Panel("SFT: on held-out pairs", EVAL_SHARES, _held_out),
)
GRPO_PANELS = (
    Panel("GRPO: right verdicts", ("verdict/accuracy", "probe/strict_accuracy"), _accuracy),
    Panel("GRPO: reward", ("reward/mean",), _reward),
    Panel("GRPO: outputs without a verdict", tuple(f"status/{name}" for name in UNREAD), _unread),
    Panel("GRPO: position", ("a_share", "flip_rate"), _position),
    Panel("GRPO: mean chain length, tokens", (LENGTH,), partial(_simple, key=LENGTH)),
    Panel("GRPO: groups without a signal", ("zero_variance",), _zero_variance),
    Panel("GRPO: KL from the start", ("kl",), partial(_simple, key="kl", colour=3)),
    Panel("GRPO: tokens per second", ("tokens_per_second",), partial(_simple, key="tokens_per_second", colour=5)),
)

"""Pictures only for the notebooks: the idea, one group's rewards and advantages, stages, audit,
lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rmr1_lite.evaluation.results import Results
from rmr1_lite.notebook.show import image
from rmr1_lite.reporting.judges_table import judge_rows
from rmr1_lite.reporting.plots import LIGHT, figure_png, new_figure

GOOD, BAD, BASE = LIGHT.line[1], LIGHT.line[3], LIGHT.line[0]


def draw_idea() -> Any:
    """The paper in one picture: a judge's text, and the two stages that train it."""
    figure, (axes,) = new_figure(1, 1)
    figure.set_size_inches(9.6, 3.7)
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 44)
    axes.set_axis_off()
    top = [
        ("question and\ntwo responses", BASE),
        ("type:\nchat or reasoning", LIGHT.muted),
        ("rubric with weights,\nor a solution", LIGHT.line[4]),
        ("evaluation\nthat quotes both", LIGHT.line[4]),
        ("verdict\n[[A]] or [[B]]", GOOD),
    ]
    axes.text(
        1, 41, "A judge that reasons before it prefers", fontsize=11, fontweight="bold", color=LIGHT.ink
    )
    _draw_boxes(axes, top, 26)
    below = [
        ("a strong teacher\nwrites chains for 12 %", LIGHT.line[2]),
        ("stage 1: SFT\non correct chains", BASE),
        ("only labels\nfor the other 88 %", LIGHT.line[2]),
        ("stage 2: GRPO\nreward +1 or -1 by verdict", BASE),
        ("judged in both orders", GOOD),
    ]
    axes.text(1, 19, "Two stages train it", fontsize=11, fontweight="bold", color=LIGHT.ink)
    _draw_boxes(axes, below, 4)
    return image(figure_png(figure), 860)


def draw_group(rewards: Sequence[float], advantages: Sequence[float]) -> Any:
    """Rewards and advantages of one group of rollouts."""
    figure, (left, right) = new_figure(1, 2)
    parts = ((left, rewards, "Reward of each rollout"), (right, advantages, "Advantage of each rollout"))
    for axes, values, title in parts:
        axes.bar(range(1, len(values) + 1), values, color=[GOOD if value > 0 else BAD for value in values])
        axes.axhline(0, color=LIGHT.muted, linewidth=0.8)
        _style_axes(axes, title, "rollout")
        axes.set_xticks(range(1, len(values) + 1))
    return image(figure_png(figure), 760)


def draw_pass_rates(rates: Sequence[float]) -> Any:
    """How many groups are all wrong, mixed, and all right: only mixed ones teach."""
    figure, (axes,) = new_figure(1, 1)
    parts = {
        "all wrong": sum(rate == 0 for rate in rates),
        "mixed": sum(0 < rate < 1 for rate in rates),
        "all right": sum(rate == 1 for rate in rates),
    }
    axes.bar(list(parts), list(parts.values()), color=[LIGHT.muted, GOOD, LIGHT.muted])
    for place, count in enumerate(parts.values()):
        axes.text(place, count, str(count), ha="center", va="bottom", fontsize=9, color=LIGHT.ink)
    _style_axes(axes, "Groups by their rollouts: only mixed ones teach", "")
    return image(figure_png(figure), 420)


def draw_judges(results: Results) -> Any:
    """Strict accuracy of every judge with its 95 % interval, and how often it flips."""
    rows = list(judge_rows(results))
    figure, (left, right) = new_figure(1, 2)
    figure.set_size_inches(9, 1.1 + 0.36 * len(rows))
    names = [row.name for row in rows]
    for place, row in enumerate(rows):
        result = row.result
        left.barh(place, result.strict_accuracy, color=LIGHT.muted if row.baseline else BASE, alpha=0.85)
        left.plot(result.intervals["strict_accuracy"], [place, place], color=LIGHT.ink, linewidth=1.5)
        right.barh(place, result.flip_rate, color=LIGHT.muted if row.baseline else BAD, alpha=0.85)
    for axes in (left, right):
        axes.set_xlim(0, 1.02)
    for axes, title in (
        (left, "Right in both orders (95 % interval)"),
        (right, "Flips when the responses are swapped"),
    ):
        axes.set_yticks(range(len(rows)), names if axes is left else [""] * len(rows))
        axes.invert_yaxis()
        _style_axes(axes, title, "")
        _percent_axis(axes, "x")
    return image(figure_png(figure), 860)


def draw_lengths(named: Mapping[str, Sequence[int]], title: str, limit: int = 0) -> Any:
    """Histograms of token counts; `limit` is drawn as a line."""
    figure, (axes,) = new_figure(1, 1)
    figure.set_size_inches(6.6, 2.7)
    for place, (name, values) in enumerate(named.items()):
        axes.hist(values, bins=30, alpha=0.65, color=LIGHT.line[place], label=name)
    if limit:
        axes.axvline(limit, color=BAD, linestyle="--", linewidth=1.2, label=f"limit {limit}")
    _style_axes(axes, title, "tokens")
    axes.legend(fontsize=7.5, frameon=False, labelcolor=LIGHT.ink)
    return image(figure_png(figure), 640)


def draw_leaks(signals: Sequence[Any], most: int = 8) -> Any:
    """How well the strongest surface signals of an audit predict the better response; a coin gives one
    half."""
    shown = list(signals[:most])[::-1]
    figure, (axes,) = new_figure(1, 1)
    figure.set_size_inches(7.5, 1 + 0.36 * max(1, len(shown)))
    axes.barh(
        [_short_label(signal) for signal in shown],
        [signal.share for signal in shown],
        color=[BAD if signal.share >= 0.9 else LIGHT.line[2] for signal in shown],
    )
    axes.axvline(0.5, color=LIGHT.muted, linestyle="--", linewidth=1)
    _style_axes(axes, "How often a surface signal predicts the better response", "")
    _percent_axis(axes, "x")
    axes.set_xlim(0, 1.02)
    return image(figure_png(figure), 720)


def _short_label(signal: Any) -> str:
    words = str(signal.what)
    return f"{words if len(words) <= 36 else f'{words[:35]}…'} → {signal.side}"


def _draw_boxes(axes: Any, boxes: Sequence[tuple[str, str]], low: float) -> None:
    """Five boxes with arrows between them."""
    from matplotlib.patches import FancyBboxPatch

    for place, (text, colour) in enumerate(boxes):
        left = 1 + place * 20.2
        axes.add_patch(
            FancyBboxPatch(
                (left, low),
                16.4,
                11,
                boxstyle="round,pad=0.2,rounding_size=1.2",
                linewidth=1.4,
                edgecolor=colour,
                facecolor="none",
            )
        )
        axes.text(left + 8.2, low + 5.5, text, ha="center", va="center", fontsize=8, color=LIGHT.ink)
        if place:
            axes.annotate(
                "",
                (left - 0.4, low + 5.5),
                (left - 3.3, low + 5.5),
                arrowprops={"arrowstyle": "->", "color": LIGHT.muted},
            )


def _style_axes(axes: Any, title: str, below: str) -> None:
    axes.set_facecolor(LIGHT.paper)
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold", color=LIGHT.ink)
    axes.set_xlabel(below, fontsize=8, color=LIGHT.muted)
    axes.grid(True, color=LIGHT.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=LIGHT.muted, labelsize=8, length=0)
    axes.spines[:].set_visible(False)


def _percent_axis(axes: Any, side: str) -> None:
    from matplotlib.ticker import PercentFormatter

    (axes.xaxis if side == "x" else axes.yaxis).set_major_formatter(PercentFormatter(1.0, decimals=0))

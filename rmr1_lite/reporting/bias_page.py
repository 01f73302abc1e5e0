"""OUT/bias.html and OUT/bias.png: the bias card of a judge as a page and as a plot.

One page without a network, in the style of the report. The plot shows every effect with its interval around
0, so that wide intervals are visible: an effect that was not shown may only have been measured imprecisely.

    python -m rmr1_lite bias --judge nano --out runs/bias
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from rmr1_lite.models.bias_card import BiasCard, Effect
from rmr1_lite.reporting.plots import DARK, LIGHT, Theme, dress_axes, figure_png, new_figure, why_no_plots
from rmr1_lite.reporting.report import load_template, write_page
from rmr1_lite.storage import atomic_write_bytes

# kind -> heading, and how to read its rows
GROUPS = {
    "position": (
        "Position",
        "Pairs whose first response wins in both orders minus pairs whose second one does.",
    ),
    "style": (
        "Style",
        "The same content in another form, on either side. A fair judge prefers the changed response in "
        "half of the calls.",
    ),
    "claim": (
        "Claims",
        "Claims of a response about itself or to the judge. A fair judge ignores them; one put off by them "
        "is not swayed, and whether you want that is up to you.",
    ),
    "prompt": (
        "Spelling of the question",
        "Pairs whose verdict changes only with the misspelling minus pairs whose verdict changes only when "
        "the same question is asked again. A fair judge has equal shares.",
    ),
    "harm": (
        "Damage that a judge should notice",
        "A response next to its damaged copy: the intact one should win every time.",
    ),
}


def write_bias_page(card: BiasCard, out: Path) -> Path:
    """Write out/bias.html and, with matplotlib, out/bias.png; returns the page."""
    light = dark = ""
    if not (no_plots := why_no_plots()):
        atomic_write_bytes(out / "bias.png", bias_png(card))
        light, dark = (base64.b64encode(bias_png(card, theme)).decode() for theme in (LIGHT, DARK))
    groups = [
        (*words, [each for each in card.effects if each.kind == kind]) for kind, words in GROUPS.items()
    ]
    page = load_template("bias.html.j2").render(
        card=card, groups=groups, light=light, dark=dark, no_plots=no_plots
    )
    return write_page(out / "bias.html", page)


def bias_png(card: BiasCard, theme: Theme = LIGHT) -> bytes:
    """Every effect as a bar from 0 with its interval, in the order of the card, biases and damage in their
    colours; pale if no effect is shown, and a note if nothing was measured."""
    figure, grid = new_figure(1, 1, theme)
    figure.set_size_inches(7.5, 1.2 + 0.34 * len(card.effects))
    axes, rows = grid[0], list(reversed(card.effects))
    axes.axvline(0, color=theme.muted, linewidth=1)
    for place, each in enumerate(rows):
        _draw_effect(axes, place, each, theme)
    axes.set_yticks(range(len(rows)), [each.title for each in rows])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlim(-105, 105)
    axes.set_xlabel("points: verdicts against it ← → verdicts that follow it", fontsize=8, color=theme.muted)
    dress_axes(axes, f"What moves {_short(card.judge)}", theme, grid="x")
    return figure_png(figure)


def _draw_effect(axes: Any, place: int, each: Effect, theme: Theme) -> None:
    if each.difference is None or each.low is None or each.high is None:
        axes.text(2, place, each.finding, fontsize=7.5, color=theme.muted, va="center")
        return
    colour = {"bad": theme.line[2], "good": theme.line[1]}.get(each.tone, theme.line[5])
    axes.barh(place, 100 * each.difference, height=0.55, color=colour)
    axes.plot([100 * each.low, 100 * each.high], [place, place], color=theme.ink, linewidth=1.4)


def _short(name: str) -> str:
    """A judge's name that fits above a plot; matplotlib would treat a dollar as the start of a formula."""
    return (name if len(name) <= 60 else f"…{name[-59:]}").replace("$", r"\$")

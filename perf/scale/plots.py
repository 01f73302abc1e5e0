"""The pictures of docs/scale.md, in the style of the kit's reports."""

from __future__ import annotations

from typing import Any

from rmr1_lite.reporting.plots import LIGHT, dress_axes, figure_png, new_figure

PARTS = (
    ("writing, without the tail", lambda run: run["writing"] - run["tail"]),
    ("waiting for the last 5 % of the chains", lambda run: run["tail"]),
    ("log-probabilities and updates", lambda run: run["scoring"] + run["training"]),
    ("traffic between cards", lambda run: run["traffic"]),
    ("switching", lambda run: run["switch"]),
)


def pictures(found: dict[str, Any]) -> dict[str, bytes]:
    """File name -> PNG."""
    return {
        "scale-step.png": step_png(found),
        "scale-limits.png": limits_png(found),
        "scale-cost.png": cost_png(found),
    }


def step_png(found: dict[str, Any]) -> bytes:
    """Where a step's card time goes: shares of a step for each number of cards, one panel a model."""
    from matplotlib.ticker import PercentFormatter

    figure, grid = new_figure(1, len(found["grpo"]))
    figure.set_size_inches(9.6, 3.2)
    for axes, (name, runs) in zip(grid, found["grpo"].items(), strict=True):
        places, below = range(len(runs)), [0.0] * len(runs)
        for (label, seconds), colour in zip(PARTS, LIGHT.line, strict=False):
            shares = [seconds(run) / run["seconds"] for run in runs]
            axes.bar(places, shares, bottom=below, color=colour, width=0.7, label=label)
            below = [low + share for low, share in zip(below, shares, strict=True)]
        for place, run in zip(places, runs, strict=True):
            axes.annotate(
                f"{run['seconds']:,.0f} s", (place, 1.01), ha="center", fontsize=7.5, color=LIGHT.muted
            )
        axes.set_xticks(places, [f"{run['cards']}" for run in runs])
        axes.set_xlabel("H100 cards", fontsize=8, color=LIGHT.muted)
        axes.set_ylim(0, 1.08)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        dress_axes(axes, f"{name}: parts of one step", LIGHT, grid="y")
    labels = grid[0].get_legend_handles_labels()
    figure.legend(
        *labels, loc="outside lower center", ncols=3, fontsize=7.5, frameon=False, labelcolor=LIGHT.ink
    )
    return figure_png(figure)


def limits_png(found: dict[str, Any]) -> bytes:
    """Seconds of a step against the length limit, one panel a distribution of lengths."""
    figure, grid = new_figure(1, len(found["limits"]))
    for axes, (name, by_cards) in zip(grid, found["limits"].items(), strict=True):
        for (cards, rows), colour in zip(by_cards.items(), LIGHT.line, strict=False):
            limits = [row["limit"] for row in rows]
            axes.plot(
                limits,
                [row["seconds"] for row in rows],
                marker="o",
                markersize=4,
                color=colour,
                label=f"{cards} cards" if cards != "1" else "1 card",
            )
            axes.plot(limits, [row["stopped"] for row in rows], linestyle=":", color=colour)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(limits, [f"{limit:,}" for limit in limits])
        axes.set_xlabel("longest chain, tokens (dotted: not waiting for the last 5 %)", fontsize=8)
        axes.set_ylabel("seconds of a step", fontsize=8)
        axes.xaxis.label.set_color(LIGHT.muted)
        axes.yaxis.label.set_color(LIGHT.muted)
        axes.tick_params(which="minor", length=0)
        dress_axes(axes, f"7B, {name}", LIGHT)
    figure.set_size_inches(8.8, 3.0)
    labels = grid[0].get_legend_handles_labels()
    figure.legend(
        *labels, loc="outside lower center", ncols=4, fontsize=7.5, frameon=False, labelcolor=LIGHT.ink
    )
    return figure_png(figure)


def cost_png(found: dict[str, Any]) -> bytes:
    """Dollars of one job against its pairs."""
    figure, grid = new_figure(1, 1)
    figure.set_size_inches(5.6, 3.2)
    for (name, rows), colour in zip(found["jobs"].items(), LIGHT.line, strict=False):
        pairs = [row["pairs"] for row in rows]
        dollars = [row["dollars"] for row in rows]
        grid[0].plot(pairs, dollars, marker="o", markersize=4, color=colour, label=name)
        for row in rows[::2]:
            grid[0].annotate(
                f"{row['cards']:,}",
                (row["pairs"], row["dollars"]),
                textcoords="offset points",
                xytext=(0, 6),
                ha="center",
                fontsize=7.5,
                color=LIGHT.muted,
            )
    grid[0].set_xscale("log")
    grid[0].set_yscale("log")
    grid[0].set_xlabel("pairs, judged in both orders within a day (numbers: cards)", fontsize=8)
    grid[0].set_ylabel("dollars", fontsize=8)
    grid[0].xaxis.label.set_color(LIGHT.muted)
    grid[0].yaxis.label.set_color(LIGHT.muted)
    grid[0].tick_params(which="minor", length=0)
    dress_axes(grid[0], "One job on rented H100s", LIGHT)
    grid[0].legend(fontsize=7.5, frameon=False, labelcolor=LIGHT.ink)
    return figure_png(figure)

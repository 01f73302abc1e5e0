"""Results for the terminal, as rich tables: every judge of a results.json, and one judge in a benchmark's own
convention."""

from __future__ import annotations

from typing import Any

from rmr1_lite.evaluation.benchmarks.scoring import OwnScore
from rmr1_lite.evaluation.results import Results, Stage
from rmr1_lite.models.bias_card import BiasCard
from rmr1_lite.reporting.judges_table import COLUMNS, METRICS, judge_rows

QUOTED = 2  # columns of quoted judges that fit a terminal; results.json and the report hold all


def judges_table(results: Results, title: str) -> Any:
    """Every baseline and stage, with the columns of `judges_table.COLUMNS`."""
    from rich.table import Table

    table = Table(title=title)
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "judge" else "right")
    for row in judge_rows(results):
        table.add_row(*row.cells)
    return table


def own_scores_table(results: Results, name: str) -> Any:
    """One judge in the benchmark's own convention, next to the rows quoted from the paper."""
    from rich.table import Table

    own, quoted = results.stages[name].scored, results.quoted
    table = Table(title=f"{results.data['title']}, its own convention: {own.rule}.", title_justify="left")
    table.add_column("score")
    table.add_column(f"{name}, measured here (95 %)", justify="right")
    table.add_column("items", justify="right")
    shown = list(quoted)[:QUOTED]
    for judge in shown:
        table.add_column(f"{judge}, quoted", justify="right")
    for score_name, score in own.scores.items():
        others = [
            f"{quoted[judge][score_name]:.1%}" if score_name in quoted[judge] else "" for judge in shown
        ]
        table.add_row(score_name, _measured(score), str(score.items), *others)
    return table


def differences_table(results: Results) -> Any:
    """Paired differences: strict accuracy, and the benchmark's own main score."""
    from rich.table import Table

    table = Table(title="Second minus first, on the same items")
    for column in ("first", "second", "metric", "points (95 %)", "p"):
        table.add_column(column)
    for each in results.differences:
        d = each.paired
        bounds = f"{100 * d.difference:+.1f} ({100 * d.low:+.1f} to {100 * d.high:+.1f})"
        table.add_row(each.first, each.second, METRICS[d.metric], bounds, f"{d.p_value:.2g}")
    for own in results.own_differences:
        known = "too few differ"
        if own.low is not None and own.high is not None:
            known = f"{100 * own.low:+.1f} to {100 * own.high:+.1f}"
        table.add_row(own.first, own.second, own.figure, f"{100 * own.difference:+.1f} ({known})", "")
    return table


def bias_table(card: BiasCard) -> Any:
    """Every effect of a bias card with its interval and finding."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(f"What moves {card.judge}"))
    for column in ("change", "points (interval)", "pairs", "finding"):
        table.add_column(column, justify="left" if column in ("change", "finding") else "right")
    colours = {"bad": "red", "good": "green"}
    for each in card.effects:
        said = Text(each.finding, style=colours.get(each.tone, ""))
        table.add_row(each.title, each.points, str(each.pairs), said)
    return table


def calibration_lines(stage: Stage) -> list[str]:
    """One line per source of confidence."""
    return [
        f"Confidence by {source}: expected calibration error {found.ece:.1%} ({found.ece_low:.1%} to "
        f"{found.ece_high:.1%}) on {found.n} pairs, mean confidence {found.confidence:.1%}, accuracy "
        f"{found.accuracy:.1%}"
        for source, found in stage.calibration.items()
    ]


def items_needed_line(stage: Stage) -> str:
    """How many items a narrower interval of the main score would need."""
    own = stage.own
    if own is None or not own.needed:
        return ""
    wanted = ", ".join(f"+-{points} points: {items:,}" for points, items in own.needed.items())
    return f"Items needed for {own.main} within {wanted} (now {own.items:,})."


def _measured(score: OwnScore) -> str:
    bounds = "too few items" if score.low is None else f"{score.low:.1%} to {score.high:.1%}"
    return f"{score.value:.1%} ({bounds})" + (", on part of its data" if score.partial else "")

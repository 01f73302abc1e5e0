"""Figures for the terminal, as rich tables: every judge of a results.json, and one judge in a benchmark's own convention."""

from __future__ import annotations

from typing import Any


def judges(results: dict[str, Any], title: str) -> Any:
    """Every baseline and stage: strict accuracy with its interval, accuracy, flip rate, unparsed, tokens."""
    from rich.table import Table

    made = Table(title=title)
    for column in ("judge", "strict accuracy (95 %)", "accuracy", "flip rate", "unparsed", "tokens"):
        made.add_column(column, justify="left" if column == "judge" else "right")
    for name, row in [*results["baselines"].items(), *results["stages"].items()]:
        low, high = row["intervals"]["strict_accuracy"]
        made.add_row(name, f"{row['strict_accuracy']:.1%} ({low:.1%} to {high:.1%})", f"{row['accuracy']:.1%}",
                     f"{row['flip_rate']:.1%}", f"{row['unparsed']:.1%}", f"{row['mean_tokens']:.0f}")  # fmt: skip
    return made


def own(results: dict[str, Any], name: str) -> Any:
    """The benchmark's own figures of one judge, measured here, beside the rows that are quoted from the paper."""
    from rich.table import Table

    mine, quoted = results["stages"][name]["own"], results["quoted"]
    made = Table(title=f"{results['data']['title']}, its own convention: {mine['rule']}.", title_justify="left")
    made.add_column("figure")
    made.add_column(f"{name}, measured here (95 %)", justify="right")
    made.add_column("items", justify="right")
    shown = list(quoted)[:QUOTED]
    for judge in shown:
        made.add_column(f"{judge}, quoted", justify="right")
    for figure, row in mine["figures"].items():
        others = [f"{quoted[judge][figure]:.1%}" if figure in quoted[judge] else "" for judge in shown]
        made.add_row(figure, _measured(row), str(row["items"]), *others)
    return made


def differences(results: dict[str, Any]) -> Any:
    """Paired differences: strict accuracy, and the benchmark's own main figure."""
    from rich.table import Table

    made = Table(title="Second minus first, on the same items")
    for column in ("first", "second", "figure", "points (95 %)", "p"):
        made.add_column(column)
    for d in results["differences"]:
        bounds = f"{100 * d['difference']:+.1f} ({100 * d['low']:+.1f} to {100 * d['high']:+.1f})"
        made.add_row(d["first"], d["second"], d["metric"].replace("_", " "), bounds, f"{d['p_value']:.2g}")
    for d in results["data"].get("own_differences", []):
        known = "too few differ" if d["low"] is None else f"{100 * d['low']:+.1f} to {100 * d['high']:+.1f}"
        made.add_row(d["first"], d["second"], d["figure"], f"{100 * d['difference']:+.1f} ({known})", "")
    return made


def calibration(results: dict[str, Any], name: str) -> list[str]:
    """One line per source of confidence."""
    found = results["stages"][name].get("calibration", {})
    return [f"Confidence by {source}: expected calibration error {row['ece']:.1%} "
            f"({row['ece_low']:.1%} to {row['ece_high']:.1%}) on {row['n']} pairs, "
            f"mean confidence {row['confidence']:.1%}, accuracy {row['accuracy']:.1%}"
            for source, row in found.items()]  # fmt: skip


QUOTED = 2  # columns of quoted judges that a terminal has room for; results.json and the report hold all


def _measured(row: dict[str, Any]) -> str:
    bounds = "too few items" if row["low"] is None else f"{row['low']:.1%} to {row['high']:.1%}"
    return f"{row['value']:.1%} ({bounds})" + (", on a part of its data" if row["partial"] else "")


def needed(results: dict[str, Any], name: str) -> str:
    """How many items a narrower interval of the main figure would take."""
    mine = results["stages"][name]["own"]
    if not mine["needed"]:
        return ""
    wanted = ", ".join(f"+-{points} points: {items:,}" for points, items in mine["needed"].items())
    return f"Items that {mine['main']} would take for {wanted} (now {mine['items']:,})."

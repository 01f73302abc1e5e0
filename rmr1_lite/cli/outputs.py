"""Shared endings of commands: the report, the curves, and the command line itself for results.json."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path


def print_report(folder: Path) -> None:
    """Write report.html, and curves.png if there are logs; print the paths."""
    from rmr1_lite.reporting.plots import why_no_plots
    from rmr1_lite.reporting.report import write_report

    print(f"Report: {write_report(folder)}")
    if why := why_no_plots():
        print(why)
    elif any((folder / stage / "metrics.jsonl").exists() for stage in ("sft", "grpo")):
        print_curves(str(folder))


def print_curves(folder: str) -> None:
    """Write curves.png; print its path."""
    from rmr1_lite.reporting.training_curves import plot_curves

    print(f"Curves: {plot_curves(folder)}")


def this_command() -> str:
    """The current command line, quoted for a shell."""
    return shlex.join(["python", "-m", "rmr1_lite", *sys.argv[1:]])

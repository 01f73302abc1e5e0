"""What several commands end with: the report, the curves, the command line itself for results.json, and the
exit status."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import typer

# exit status: 0 all was done, 1 a fault of this program (or a comparison that found something), 2 wrong input
# or nothing could be done, and
PARTLY_DONE = 3


def end_partly_done(what: str) -> None:
    """End the command with the status of work that was done in part. what: is missing, in the words above."""
    print(f"Not everything was done ({what}): exit status {PARTLY_DONE}.", file=sys.stderr)
    raise typer.Exit(PARTLY_DONE)


def print_report(folder: Path) -> None:
    """Write report.html, and curves.png where there are logs; print where."""
    from rmr1_lite.reporting.plots import why_no_plots
    from rmr1_lite.reporting.report import write_report

    print(f"Report: {write_report(folder)}")
    if why := why_no_plots():
        print(why)
    elif any((folder / stage / "metrics.jsonl").exists() for stage in ("sft", "grpo")):
        print_curves(str(folder))


def print_curves(folder: str) -> None:
    """Write curves.png; print where."""
    from rmr1_lite.reporting.training_curves import plot_curves

    print(f"Curves: {plot_curves(folder)}")


def this_command() -> str:
    """The command line that is running, as a shell would take it."""
    return shlex.join(["python", "-m", "rmr1_lite", *sys.argv[1:]])

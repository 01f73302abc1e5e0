"""The table of judges: one source of cells, and renderers that show all of them."""

from __future__ import annotations

import io

from rmr1_lite.cli.tables import judges_table
from rmr1_lite.evaluation.results import new_results
from rmr1_lite.notebook import show
from rmr1_lite.reporting.judges_table import COLUMNS, judge_rows
from rmr1_lite.types import EvalResult


def results():
    made = new_results(0, "cmd")
    intervals = {"strict_accuracy": (0.71, 0.93)}
    made.add_stage(EvalResult("sft", 40, 0.825, 0.9, 0.15, 0.5, 0.01, 86.6, 1.0, intervals=intervals))
    rule = EvalResult(
        "always A", 40, 0.0, 0.5, 1.0, 1.0, 0.0, 0.0, 1.0, intervals={"strict_accuracy": (0, 0.1)}
    )
    made.add_stage(rule, baseline=True)
    return made


def test_baselines_come_first_and_every_column_has_its_cell():
    rows = list(judge_rows(results()))
    assert [(row.name, row.baseline) for row in rows] == [("always A", True), ("sft", False)]
    assert {len(COLUMNS)} == {len(row.cells) for row in rows}
    assert rows[1].cells == ("sft", "82.5% (71.0% to 93.0%)", "90.0%", "15.0%", "1.0%", "87")


def test_terminal_and_notebook_show_the_same_cells():
    from rich.console import Console

    console = Console(file=io.StringIO(), width=160)
    console.print(judges_table(results(), "judges"))
    shown = console.file.getvalue(), show.judges(results()).data
    for row in judge_rows(results()):
        assert all(cell in text for text in shown for cell in row.cells)

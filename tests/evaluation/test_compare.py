"""Judges compared on the same items: the differences by hand, the page and the plot, and what cannot be
compared."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fixtures.benchmarks import LAYOUTS, always_a, right, write
from test_runner import judge_for, log_of

from rmr1_lite.evaluation import benchmarks
from rmr1_lite.evaluation.compare import compare_folders
from rmr1_lite.evaluation.request import EvaluationRequest
from rmr1_lite.evaluation.results import new_results
from rmr1_lite.evaluation.results_file import load_results
from rmr1_lite.evaluation.runner import evaluate
from rmr1_lite.reporting.plots import comparison_rows, write_comparison_plot
from rmr1_lite.reporting.report import is_nano, write_report
from rmr1_lite.types import InputError


def evaluated(tmp_path, benchmark, judges):
    """One finished evaluation per judge; the folders."""
    data = write(tmp_path / "data", LAYOUTS[benchmark]())
    pairs = benchmarks.read_benchmark(benchmarks.find_benchmark(benchmark), data)
    folders = []
    for name, says in judges.items():
        log = log_of(tmp_path / f"{name}.jsonl", pairs, says)
        asked = EvaluationRequest(benchmark, str(data), f"replay:{log}", name, style="compact")
        evaluate(asked, judge_for(asked), tmp_path / name, "cmd", progress=False)
        folders.append(tmp_path / name)
    return folders


def but_chat(pair, order):
    """Right everywhere but in the section Chat, where it says A."""
    return "A" if pair.section == "Chat" else right(pair, order)


def test_differences_are_paired_and_the_paper_stands_beside(tmp_path):
    folders = evaluated(tmp_path, "rm-bench", {"all-a": always_a, "right": right, "but-chat": but_chat})
    made = compare_folders(folders, tmp_path / "both", "cmd")
    write_comparison_plot(made, tmp_path / "both")
    assert load_results(tmp_path / "both" / "results.json") == made
    assert [(d.first, d.second, d.paired.gained, d.paired.lost) for d in made.differences] == [
        ("all-a", "right", 180, 0),
        ("all-a", "but-chat", 144, 0),
    ]
    first, second = made.own_differences
    shares = {name: stage.own.scores["overall"].value for name, stage in made.stages.items()}
    assert first.difference == pytest.approx(shares["right"] - shares["all-a"]) and shares["right"] == 1.0
    assert second.difference == pytest.approx(shares["but-chat"] - shares["all-a"])
    assert first.low < first.difference < first.high and first.differ > 10
    rows = comparison_rows(made)
    assert rows[-1][0] == "right" and [row[4] for row in rows].count(False) == 15, (
        "fifteen quoted judges, no interval"
    )
    assert all(row[2] is None for row in rows if not row[4])
    page = write_report(tmp_path / "both").read_text()
    assert "RM-R1-Qwen-Instruct-32B (quoted)" in page and "In the benchmark&#39;s own terms" in page.replace(
        "'", "&#39;"
    )
    assert (tmp_path / "both" / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_a_difference_on_few_items_has_no_interval(tmp_path):
    folders = evaluated(tmp_path, "llmbar", {"right": right, "same": right})
    (found,) = compare_folders(folders, tmp_path / "both", "cmd").own_differences
    assert (found.difference, found.low, found.high, found.differ) == (0, None, None, 0)
    assert "too few items differ" in write_report(tmp_path / "both").read_text()


def test_what_cannot_be_compared_is_named(tmp_path):
    folders = evaluated(tmp_path, "llmbar", {"one": right, "two": always_a})
    with pytest.raises(InputError, match="two or more"):
        compare_folders(folders[:1], tmp_path / "out", "cmd")
    with pytest.raises(InputError, match="called one"):
        compare_folders([folders[0], folders[0]], tmp_path / "out", "cmd")
    with pytest.raises(InputError, match="does not exist"):
        compare_folders([folders[0], tmp_path / "nowhere"], tmp_path / "out", "cmd")
    asked = EvaluationRequest(
        "llmbar",
        str(tmp_path / "data"),
        f"replay:{tmp_path / 'one.jsonl'}",
        "part",
        style="compact",
        limit=10,
    )
    evaluate(asked, judge_for(asked), tmp_path / "part", "cmd", progress=False)
    with pytest.raises(InputError, match="not judged on the same items: shown"):
        compare_folders([folders[0], tmp_path / "part"], tmp_path / "out", "cmd")
    seeded = replace(asked, limit=None, seed=5, name="seeded")
    evaluate(seeded, judge_for(seeded), tmp_path / "seeded", "cmd", progress=False)
    with pytest.raises(InputError, match="seed is 5 and 0"):
        compare_folders([folders[0], tmp_path / "seeded"], tmp_path / "out", "cmd")


@pytest.mark.parametrize(
    ("changes", "wanted", "reason"),
    [
        ({"benchmark": "nano"}, True, "judged on the nano world"),
        ({"benchmark": "llmbar"}, False, "another benchmark"),
    ],
)
def test_nano_results_are_called_nano_results(changes, wanted, reason):
    results = new_results(0, "rmr1_lite compare-runs a b --out c", changes)
    assert is_nano(replace(results, stages={"mine": None})) == wanted, reason
    assert is_nano(replace(results, stages={"nano-sft": None})), "a nano judge, whatever it judged"

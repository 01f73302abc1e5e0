"""The commands that judge files and evaluate: judge, evaluate, compare-runs, report."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from rmr1_lite.cli.judge_options import (
    BASE_HELP,
    JUDGE_HELP,
    MAX_NEW_TOKENS_HELP,
    READING_HELP,
    THOUGHT_OPEN_HELP,
    BaseName,
    ReadingName,
    settle_reading,
)
from rmr1_lite.cli.outputs import print_report, this_command
from rmr1_lite.config import THINKING_HELP, StyleName, Thinking
from rmr1_lite.exit_status import PartlyDone
from rmr1_lite.judging.via import VIA_HELP, Via, engine_via


class BenchmarkName(str, Enum):
    """`pairs` is your own JSONL."""

    pairs, rewardbench, rewardbench2, rm_bench = "pairs", "rewardbench", "rewardbench2", "rm-bench"
    rmb, judgebench, llmbar, nano = "rmb", "judgebench", "llmbar", "nano"


def judge_command(
    pairs: Annotated[Path, typer.Option(help="JSONL of pairs")],
    out: Annotated[Path, typer.Option(help="JSONL of judge calls to write; the same command resumes")],
    judge: Annotated[str, typer.Option("--judge", "--model", help=JUDGE_HELP)] = "nano",
    style: Annotated[StyleName, typer.Option(help="prompt style")] = "auto",
    thinking: Annotated[Thinking, typer.Option(help=THINKING_HELP)] = "auto",
    reading: Annotated[ReadingName, typer.Option(help=READING_HELP)] = ReadingName.auto,
    thought_open: Annotated[bool, typer.Option("--thought-open", help=THOUGHT_OPEN_HELP)] = False,
    votes: Annotated[int, typer.Option(help="judge calls per order; more than one needs a temperature")] = 1,
    temperature: Annotated[float, typer.Option(help="0 is greedy")] = 0.0,
    max_new_tokens: Annotated[Optional[int], typer.Option(help=MAX_NEW_TOKENS_HELP)] = None,
    batch_size: Annotated[int, typer.Option(help="judge calls per batch")] = 32,
    four_bit: Annotated[
        bool, typer.Option(help="load a local model in 4 bits (NF4); otherwise as stored")
    ] = True,
    via: Annotated[Via, typer.Option(help=f"{VIA_HELP} (in OUT.batch)")] = Via.direct,
) -> None:
    """Judge every pair of a file in both orders. Exit status 2: some of it could not be judged, or waits for
    answers."""
    from rmr1_lite.judging.batch import judge_file
    from rmr1_lite.judging.factory import make_judge

    engine = engine_via(via, judge, f"{out}.batch", style=style, thinking=thinking, thought_open=thought_open)
    loaded = make_judge(
        judge,
        style,
        settle_reading(reading, judge),
        engine=engine,
        batch_size=batch_size,
        four_bit=four_bit,
        thinking=thinking,
        thought_open=thought_open,
        check_repeat=True,
        temperature=temperature,
        max_new_tokens=max_new_tokens,
    )
    if not judge_file(loaded, pairs, out, votes=votes).complete:
        raise PartlyDone("some rows are not pairs, or judge calls failed; see the summary")


def evaluate(
    benchmark: Annotated[
        BenchmarkName, typer.Option(help="benchmark; pairs: your own file")
    ] = BenchmarkName.pairs,
    data: Annotated[
        Optional[Path],
        typer.Option(help="file or folder of the benchmark, or a JSONL of pairs; default: the hub"),
    ] = None,
    judge: Annotated[str, typer.Option(help=JUDGE_HELP)] = "nano",
    out: Annotated[Path, typer.Option(help="folder for items.jsonl and results.json")] = Path(
        "runs/evaluation"
    ),
    name: Annotated[str, typer.Option(help="name of the judge in tables; default: the spec")] = "",
    limit: Annotated[
        Optional[int],
        typer.Option(help="evaluate about this many questions, the same share of every section"),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="seed of the subset, of the order in one-order rules, and of the votes")
    ] = 0,
    style: Annotated[StyleName, typer.Option(help="prompt style")] = "auto",
    thinking: Annotated[Thinking, typer.Option(help=THINKING_HELP)] = "auto",
    reading: Annotated[
        ReadingName, typer.Option(help=f"{READING_HELP}; can be changed after judging")
    ] = ReadingName.auto,
    thought_open: Annotated[bool, typer.Option("--thought-open", help=THOUGHT_OPEN_HELP)] = False,
    votes: Annotated[int, typer.Option(help="judge calls per order; more than one needs a temperature")] = 1,
    temperature: Annotated[float, typer.Option(help="0 is greedy")] = 0.0,
    max_new_tokens: Annotated[Optional[int], typer.Option(help=MAX_NEW_TOKENS_HELP)] = None,
    confidence: Annotated[
        bool, typer.Option(help="also compute the log-probability of each verdict, and its calibration")
    ] = False,
    batch_size: Annotated[int, typer.Option(help="judge calls per batch")] = 32,
    four_bit: Annotated[
        bool, typer.Option(help="load a local model in 4 bits (NF4); otherwise as stored")
    ] = True,
    base: Annotated[BaseName, typer.Option(help=BASE_HELP)] = BaseName.auto,
    via: Annotated[Via, typer.Option(help=f"{VIA_HELP} (in OUT/batch)")] = Via.direct,
) -> None:
    """Evaluate a judge on a benchmark or on labelled pairs, in both orders, with intervals. The same
    command resumes. Exit status 2: some judge calls failed, or wait for answers."""
    from rich import print as show

    from rmr1_lite.cli import tables
    from rmr1_lite.evaluation.request import EvaluationRequest
    from rmr1_lite.evaluation.runner import evaluate as run
    from rmr1_lite.judging.factory import make_judge, sampling_for

    asked_style = None if style == "auto" else style
    engine = engine_via(via, judge, out / "batch", style=style, thinking=thinking, thought_open=thought_open)
    sampling = sampling_for(judge, temperature=temperature, max_new_tokens=max_new_tokens, seed=seed)
    request = EvaluationRequest(
        benchmark.value,
        str(data) if data else None,
        judge,
        name,
        asked_style,
        settle_reading(reading, judge),
        limit,
        votes,
        seed,
        confidence,
        thinking,
        sampling,
        four_bit,
        base.value,
    )

    def load_judge() -> Any:
        return make_judge(
            judge,
            asked_style,
            request.reading,
            engine=engine,
            batch_size=batch_size,
            four_bit=four_bit,
            thinking=thinking,
            thought_open=thought_open,
            check_repeat=True,
            base=base.value,
        )

    results = run(request, load_judge, out, this_command())
    stage = results.stages[request.shown_name]
    show(tables.judges_table(results, f"Both orders, {results.data['pairs']} pairs"))
    show(tables.own_scores_table(results, request.shown_name))
    print("\n".join([tables.items_needed_line(stage), *tables.calibration_lines(stage)]))
    print_report(out)
    if failed := results.data["failed_looks"]:
        raise PartlyDone(f"{failed} judge calls failed")


def compare_runs(
    folders: Annotated[
        list[Path], typer.Argument(help="finished evaluations of the same benchmark, the reference first")
    ],
    out: Annotated[Path, typer.Option(help="folder for results.json, comparison.png and report.html")],
) -> None:
    """Compare evaluations: paired differences from the first one, a plot, and a page with the paper's
    rows."""
    from rich import print as show

    from rmr1_lite.cli import tables
    from rmr1_lite.evaluation.compare import compare_folders
    from rmr1_lite.reporting.plots import write_comparison_plot

    results = compare_folders(folders, out, this_command())
    write_comparison_plot(results, out)
    show(tables.judges_table(results, f"{results.data['title']}: both orders, {results.data['pairs']} pairs"))
    show(tables.differences_table(results))
    print_report(out)


def report(run: Annotated[Path, typer.Argument(help="folder with results.json, like runs/demo")]) -> None:
    """Write report.html and curves.png of a finished run."""
    print_report(run)

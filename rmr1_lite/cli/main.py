"""The command line: `python -m rmr1_lite COMMAND --help`. Options derive from the configs; torch loads with
the work."""

from __future__ import annotations

import shlex
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from rmr1_lite.cli import data as data_commands
from rmr1_lite.cli.options import from_config
from rmr1_lite.config import (
    NANO_TOKENS,
    OTHER_TOKENS,
    THINKING_HELP,
    DemoConfig,
    DistillConfig,
    GRPOConfig,
    ReproduceConfig,
    SFTConfig,
    StyleName,
    Thinking,
    preset_values,
)
from rmr1_lite.types import InputError, TrainingStopped

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="RM-R1 on one GPU: train, evaluate and use judges that reason before they prefer.",
)


ROOM = f"longest chain; none: {NANO_TOKENS} for nano judges, else {OTHER_TOKENS}"
JUDGE = "nano, a folder, a hub id, openai:MODEL@URL or replay:FILE"


class Reading(str, Enum):
    strict, lenient, paper = "strict", "lenient", "paper"


class BenchmarkName(str, Enum):
    """`pairs` is a JSONL of one's own."""

    pairs, rewardbench, rewardbench2, rm_bench = "pairs", "rewardbench", "rewardbench2", "rm-bench"
    rmb, judgebench, llmbar, nano = "rmb", "judgebench", "llmbar", "nano"


app.add_typer(data_commands.app, name="data")


@app.command()
@from_config(SFTConfig, presets=lambda name: preset_values("sft", name))
def sft(config: SFTConfig) -> None:
    """Stage 1: QLoRA SFT on distilled chains. The same command resumes."""
    from rmr1_lite.training.planning.preflight import run_preflight
    from rmr1_lite.training.sft import train_sft

    print(f"Adapter: {train_sft(run_preflight('sft', config))}")
    _curves(config.out)


@app.command()
@from_config(GRPOConfig, presets=lambda name: preset_values("grpo", name))
def grpo(config: GRPOConfig) -> None:
    """Stage 2: GRPO with the verdict-match reward. The same command resumes."""
    from rmr1_lite.training.grpo import train_grpo
    from rmr1_lite.training.planning.preflight import run_preflight

    print(f"Adapter: {train_grpo(run_preflight('grpo', config))}")
    _curves(config.out)


@app.command()
def plan(
    gpu: Annotated[
        str,
        typer.Option(help="t4, l4, a10g, rtx3090, rtx4090, a100-40, a100, h100, h200; none: the preset's"),
    ] = "",
    model: Annotated[str, typer.Option(help="hub id, its short name, or a folder; none: the preset's")] = "",
    preset: Annotated[str, typer.Option(help="t4-16gb, l4-24gb, paper or CARD:MODEL; none: the card's")] = "",
    chains: Annotated[int, typer.Option(help="rows of the SFT data, where the preset takes all")] = 0,
    measure: Annotated[
        bool, typer.Option("--measure", help="also time one real step of each stage on this machine")
    ] = False,
) -> None:
    """What fits on a card and how long it takes, before anything is downloaded (`--measure` loads the
    model)."""
    from rmr1_lite.training.planning.plan import describe_plan
    from rmr1_lite.training.planning.plan import make_plan as make

    made = make(gpu, model, preset, chains)
    print(describe_plan(made))
    if not made.fits:
        raise typer.Exit(1)
    if measure:
        _measure(made, chains)


def _measure(made: Any, chains: int) -> None:
    from rmr1_lite.models.backend import this_machine
    from rmr1_lite.training.planning.measure import describe_measured, measure_plan

    card = this_machine().card or "CPU"
    print(
        f"\nMeasured on this machine ({card}), one step of each stage with rows of full length:", flush=True
    )
    for found in measure_plan(made, chains):
        print(describe_measured(found), flush=True)


@app.command()
def push(
    adapter: Annotated[Path, typer.Argument(help="adapter folder of a finished run")],
    repo: Annotated[str, typer.Argument(help="OWNER/NAME on the hub, made when it is not there")],
    public: Annotated[bool, typer.Option(help="for everybody to see, if it is made now")] = False,
) -> None:
    """Put an adapter and its model card on the hub; the token is read from HF_TOKEN."""
    import os

    from rmr1_lite.models.hub import push_adapter

    print(push_adapter(adapter, repo, os.environ.get("HF_TOKEN", ""), private=not public))


@app.command()
@from_config(DistillConfig)
def distill(config: DistillConfig) -> None:
    """Make chains with any teacher behind an OpenAI-compatible server, in two passes. The same command
    resumes."""
    from rmr1_lite.training.distill.distill import distill as run

    run(config)


@app.command(name="judge")
def judge_command(
    pairs: Annotated[Path, typer.Option(help="JSONL of pairs")],
    out: Annotated[Path, typer.Option(help="JSONL of looks to write; resumable")],
    judge: Annotated[str, typer.Option("--judge", "--model", help=JUDGE)] = "nano",
    style: Annotated[StyleName, typer.Option(help="prompt style")] = "auto",
    thinking: Annotated[Thinking, typer.Option(help=THINKING_HELP)] = "auto",
    reading: Annotated[Reading, typer.Option(help="how verdicts are read")] = Reading.strict,
    votes: Annotated[int, typer.Option(help="looks per order; more than one needs a temperature")] = 1,
    temperature: Annotated[float, typer.Option(help="0 is greedy")] = 0.0,
    max_new_tokens: Annotated[Optional[int], typer.Option(help=ROOM)] = None,
    batch_size: Annotated[int, typer.Option(help="looks per batch")] = 32,
    four_bit: Annotated[bool, typer.Option(help="weights of a local model in NF4, or as stored")] = True,
) -> None:
    """Judge every pair of a file in both orders."""
    from rmr1_lite.judging.batch import judge_file
    from rmr1_lite.judging.factory import make_judge

    loaded = make_judge(
        judge,
        style,
        reading.value,
        batch_size=batch_size,
        four_bit=four_bit,
        thinking=thinking,
        temperature=temperature,
        max_new_tokens=max_new_tokens,
    )
    judge_file(loaded, pairs, out, votes=votes)


@app.command()
def evaluate(
    benchmark: Annotated[BenchmarkName, typer.Option(help="which benchmark")] = BenchmarkName.pairs,
    data: Annotated[
        Optional[Path], typer.Option(help="its file or folder, or a JSONL of pairs; none: the hub")
    ] = None,
    judge: Annotated[str, typer.Option(help=JUDGE)] = "nano",
    out: Annotated[Path, typer.Option(help="folder for items.jsonl and results.json")] = Path(
        "runs/evaluation"
    ),
    name: Annotated[str, typer.Option(help="the judge's name in tables; without: the judge as given")] = "",
    limit: Annotated[
        Optional[int], typer.Option(help="about this many questions, the same share of every section")
    ] = None,
    seed: Annotated[
        int, typer.Option(help="seed of the subset, of one-order conventions and of the votes")
    ] = 0,
    style: Annotated[StyleName, typer.Option(help="prompt style")] = "auto",
    thinking: Annotated[Thinking, typer.Option(help=THINKING_HELP)] = "auto",
    reading: Annotated[
        Reading, typer.Option(help="how verdicts are read; may change when all is judged")
    ] = Reading.strict,
    votes: Annotated[int, typer.Option(help="looks per order; more than one needs a temperature")] = 1,
    temperature: Annotated[float, typer.Option(help="0 is greedy")] = 0.0,
    max_new_tokens: Annotated[Optional[int], typer.Option(help=ROOM)] = None,
    confidence: Annotated[
        bool, typer.Option(help="also the log-probability of each verdict, and its calibration")
    ] = False,
    batch_size: Annotated[int, typer.Option(help="looks per batch")] = 32,
    four_bit: Annotated[bool, typer.Option(help="weights of a local model in NF4, or as stored")] = True,
) -> None:
    """Figures of one judge on a benchmark or on labelled pairs, in both orders, with intervals. The same
    command resumes."""
    from rich import print as show

    from rmr1_lite.cli import tables
    from rmr1_lite.evaluation.runner import EvaluationRequest
    from rmr1_lite.evaluation.runner import evaluate as run
    from rmr1_lite.judging.factory import make_judge, sampling_for

    asked_style = None if style == "auto" else style
    sampling = sampling_for(judge, temperature=temperature, max_new_tokens=max_new_tokens, seed=seed)
    request = EvaluationRequest(
        benchmark.value,
        str(data) if data else None,
        judge,
        name,
        asked_style,
        reading.value,
        limit,
        votes,
        seed,
        confidence,
        thinking,
        sampling,
    )

    def load_judge() -> Any:
        return make_judge(judge, asked_style, batch_size=batch_size, four_bit=four_bit, thinking=thinking)

    results = run(request, load_judge, out, _command())
    stage = results.stages[request.shown_name]
    show(tables.judges_table(results, f"Both orders, {results.data['pairs']} pairs"))
    show(tables.own_scores_table(results, request.shown_name))
    print("\n".join([tables.items_needed_line(stage), *tables.calibration_lines(stage)]))
    _report(out)


@app.command()
def compare(
    folders: Annotated[
        list[Path], typer.Argument(help="finished evaluations of the same benchmark, the reference first")
    ],
    out: Annotated[Path, typer.Option(help="folder for results.json, comparison.png and report.html")],
) -> None:
    """Evaluations side by side: paired differences to the first one, a plot and a page beside the paper's
    rows."""
    from rich import print as show

    from rmr1_lite.cli import tables
    from rmr1_lite.evaluation.compare import compare_folders
    from rmr1_lite.reporting.plots import write_comparison_plot

    results = compare_folders(folders, out, _command())
    write_comparison_plot(results, out)
    show(tables.judges_table(results, f"{results.data['title']}: both orders, {results.data['pairs']} pairs"))
    show(tables.differences_table(results))
    _report(out)


@app.command()
@from_config(DemoConfig)
def demo(config: DemoConfig) -> None:
    """The whole chain on the embedded default: data, SFT, GRPO, evaluation, report. The same command
    resumes."""
    from rich import print as show

    from rmr1_lite.cli import tables
    from rmr1_lite.demo import run_demo
    from rmr1_lite.evaluation.results import load_results

    path = run_demo(config, _command())
    results = load_results(path)
    show(
        tables.judges_table(
            results, f"Nano results on {results.stages['sft'].result.n} unseen pairs, both orders"
        )
    )
    _report(path.parent)
    print("\nNext: open the report, or judge pairs of your own: python -m rmr1_lite judge --help")


@app.command(name="reproduce")
@from_config(ReproduceConfig)
def reproduce_command(config: ReproduceConfig) -> None:
    """The README's nano table: three seeds, longer SFT as a baseline, and whether the reasoning carries the
    verdict."""
    from rmr1_lite.reproduce import reproduce

    print(f"Summary: {reproduce(config)}")


@app.command()
def report(run: Annotated[Path, typer.Argument(help="folder with results.json, like runs/demo")]) -> None:
    """Write report.html and curves.png of a finished run."""
    _report(run)


def _report(folder: Path) -> None:
    from rmr1_lite.reporting.report import write_report

    print(f"Report: {write_report(folder)}")
    if any((folder / stage / "metrics.jsonl").exists() for stage in ("sft", "grpo")):
        _curves(str(folder))


def _command() -> str:
    return shlex.join(["python", "-m", "rmr1_lite", *sys.argv[1:]])


def _curves(folder: str) -> None:
    from rmr1_lite.reporting.training_curves import plot_curves

    print(f"Curves: {plot_curves(folder)}")


def main() -> None:
    """Entry point: our own errors are one line and a status of 2, everything else is a bug and shows
    itself."""
    try:
        app()
    except (InputError, TrainingStopped) as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()

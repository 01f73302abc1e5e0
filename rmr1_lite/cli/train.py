"""The commands around training: sft, grpo, plan, push, distill, demo, reproduce."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rmr1_lite.cli.options_from_config import from_config
from rmr1_lite.cli.outputs import print_curves, print_report, this_command
from rmr1_lite.config import (
    DemoConfig,
    DistillConfig,
    GRPOConfig,
    ReproduceConfig,
    SFTConfig,
    demo_settings,
    preset_values,
)
from rmr1_lite.exit_status import PartlyDone
from rmr1_lite.extras import need

# name the extra that has everything, not that of the first failing import
TRAINS_WITH = ("trl", "torch", "datasets", "matplotlib")


@from_config(SFTConfig, presets=lambda name: preset_values("sft", name))
def sft(config: SFTConfig) -> None:
    """Stage 1: QLoRA SFT on distilled chains. The same command resumes."""
    need(*TRAINS_WITH)
    from rmr1_lite.training.planning.preflight import run_preflight
    from rmr1_lite.training.sft import train_sft

    print(f"Adapter: {train_sft(run_preflight('sft', config))}")
    print_curves(config.out)


@from_config(GRPOConfig, presets=lambda name: preset_values("grpo", name))
def grpo(config: GRPOConfig) -> None:
    """Stage 2: GRPO with the verdict-match reward. The same command resumes."""
    need(*TRAINS_WITH)
    from rmr1_lite.training.grpo import train_grpo
    from rmr1_lite.training.planning.preflight import run_preflight

    print(f"Adapter: {train_grpo(run_preflight('grpo', config))}")
    print_curves(config.out)


def plan(
    gpu: Annotated[
        str,
        typer.Option(help="t4, l4, a10g, rtx3090, rtx4090, a100-40, a100, h100, h200; default: the preset's"),
    ] = "",
    model: Annotated[
        str, typer.Option(help="hub id, its short name, or a folder; default: the preset's")
    ] = "",
    preset: Annotated[
        str, typer.Option(help="t4-16gb, l4-24gb, paper, smol or CARD:MODEL; default: the card's")
    ] = "",
    chains: Annotated[int, typer.Option(help="number of SFT rows, if the preset trains on all")] = 0,
    measure: Annotated[
        bool, typer.Option("--measure", help="also time one real step of each stage on this machine")
    ] = False,
) -> None:
    """Estimate what fits on a GPU and how long it takes, before any download (`--measure` loads the
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


def push(
    adapter: Annotated[Path, typer.Argument(help="adapter folder of a finished run")],
    repo: Annotated[str, typer.Argument(help="OWNER/NAME on the hub; created if it does not exist")],
    public: Annotated[bool, typer.Option(help="make a newly created repository public")] = False,
) -> None:
    """Upload an adapter and its model card to the hub; the token is read from HF_TOKEN."""
    from rmr1_lite.models.hub import find_token, push_adapter

    print(push_adapter(adapter, repo, find_token(), private=not public))


@from_config(DistillConfig)
def distill(config: DistillConfig) -> None:
    """Make chains with any teacher behind an OpenAI-compatible server, in two passes. The same command
    resumes. Exit status 2: some requests failed, or wait for answers."""
    from rmr1_lite.training.distill.attempts import count_undone
    from rmr1_lite.training.distill.distill import distill as run

    if undone := count_undone(run(config)):
        raise PartlyDone(
            f"{undone} requests to the teacher failed, or their answers were withheld or truncated"
        )


@from_config(DemoConfig, defaults_by=("model", demo_settings))
def demo(config: DemoConfig) -> None:
    """Run the whole chain on the nano model: data, SFT, GRPO, evaluation, report. The same command resumes.
    With --model smol-base: a real language model learns the nano world, with its own small
    settings."""
    need(*TRAINS_WITH)
    from rich import print as show

    from rmr1_lite.cli import tables
    from rmr1_lite.demo import run_demo
    from rmr1_lite.evaluation.results_file import load_results

    path = run_demo(config, this_command())
    results = load_results(path)
    smol = config.model == "smol-base"
    whose = "smol's results in the nano world" if smol else "Nano results"
    show(
        tables.judges_table(results, f"{whose} on {results.stages['sft'].result.n} unseen pairs, both orders")
    )
    print_report(path.parent)
    print("\nNext: open the report, or judge your own pairs: python -m rmr1_lite judge --help")


@from_config(ReproduceConfig)
def reproduce_command(config: ReproduceConfig) -> None:
    """Reproduce the nano results: three seeds, longer SFT as a baseline, and a test of whether the reasoning
    determines the verdict."""
    need(*TRAINS_WITH)
    from rmr1_lite.reproduce import reproduce

    print(f"Summary: {reproduce(config)}")

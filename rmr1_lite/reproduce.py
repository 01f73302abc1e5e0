"""The README's nano table: several seeds of the whole chain, the baselines that could explain the gain, and
whether the verdict depends on the reasoning.

    python -m rmr1_lite reproduce --out runs/reproduce

For each seed: SFT, GRPO, and the two ablations. For the first seed (or more) also SFT trained for the
wall time that SFT and GRPO took together (more than twice the epochs: had SFT reached its plateau, and would
the time have been better spent on it?). All are judged on the same unseen pairs. Seeds run in parallel, each
in a process with its share of the cores; after a kill at any moment the same command resumes.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from tqdm import tqdm

from rmr1_lite.config import DemoConfig, ReproduceConfig, SFTConfig, with_changes
from rmr1_lite.data.nano.dataset import NanoData
from rmr1_lite.data.pairs import read_pairs
from rmr1_lite.demo import run_demo, sft_config
from rmr1_lite.evaluation.ablations import reasoning_carries
from rmr1_lite.evaluation.metrics import json_values
from rmr1_lite.evaluation.results import Results
from rmr1_lite.evaluation.results_file import load_results, save_results, to_json
from rmr1_lite.evaluation.runner import evaluate_pairs
from rmr1_lite.judging.factory import judge_in_memory
from rmr1_lite.models.loading import load
from rmr1_lite.reporting.judges_table import COLUMNS, METRICS
from rmr1_lite.storage import atomic_write_text, write_json
from rmr1_lite.training.parallel import run_all, threads_per_job
from rmr1_lite.training.process import train
from rmr1_lite.training.run_folder import read_log
from rmr1_lite.types import EvalResult, Judgment, Pair

RESULTS = "results.json"
LONGER = "sft, same wall time"
SETTINGS = ("model", "train_pairs", "epochs", "steps", "test_pairs")
FIGURES = ("strict_accuracy", "accuracy", "flip_rate", "a_share", "unparsed", "mean_tokens")


def reproduce(config: ReproduceConfig) -> Path:
    """Run or resume all seeds; writes out/summary.json and summary.md and returns the first."""
    out = Path(config.out)
    if config.only_seed >= 0:
        _run_seed(config, config.only_seed, out)
        return out / f"seed{config.only_seed}" / RESULTS
    jobs = config.jobs or min(config.seeds, os.cpu_count() or 1)
    print(
        f"{config.seeds} seeds, {jobs} at a time with {threads_per_job(jobs)} thread(s) each; what they "
        f"print: {out}/seed*.log"
    )
    with tqdm(total=config.seeds * _steps_per_seed(config), desc="training steps", unit="step") as bar:
        run_all(_seed_commands(config), out, jobs, lambda names: _show_progress(bar, out, names))
    runs = [load_results(out / f"seed{seed}" / RESULTS) for seed in range(config.seeds)]
    table = {**summarise_seeds(runs), "settings": {name: getattr(config, name) for name in SETTINGS}}
    write_json(out / "summary.json", table)
    atomic_write_text(out / "summary.md", summary_markdown(table))
    print("\n" + summary_markdown(table))
    return out / "summary.json"


def _seed_commands(config: ReproduceConfig) -> dict[str, list[str]]:
    """One command per seed: this one, for that seed alone."""
    return {
        f"seed{seed}": [sys.executable, "-m", "rmr1_lite", *_command_flags(config, seed)]
        for seed in range(config.seeds)
    }


def _command_flags(config: ReproduceConfig, seed: int) -> list[str]:
    values = asdict(replace(config, jobs=1, only_seed=seed))
    return [
        "reproduce",
        *(word for name, value in values.items() for word in (f"--{name.replace('_', '-')}", str(value))),
    ]


def _steps_per_seed(config: ReproduceConfig) -> int:
    """Training steps of one seed, SFT and GRPO (without the longer SFT, whose length follows from the
    others)."""
    chains = 2 * round(config.train_pairs * NanoData.chain_share)
    return math.ceil(chains / SFTConfig.batch_size * config.epochs) + config.steps


def _show_progress(bar: Any, out: Path, names: Sequence[str]) -> None:
    done = {path: _last_step(path) for path in out.glob("seed*/*/metrics.jsonl")}
    bar.n = min(bar.total, sum(step for path, step in done.items() if path.parent.name in ("sft", "grpo")))
    latest = {
        name: max((path for path in done if path.parts[-3] == name), key=os.path.getmtime, default=None)
        for name in names
    }
    bar.set_postfix_str(
        ", ".join(f"{name}: {path.parent.name} {done[path]}" for name, path in latest.items() if path)
    )


def _last_step(log: Path) -> int:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    try:
        return int(json.loads(lines[-1])["step"]) if lines else 0
    except (ValueError, KeyError):  # a row is being written
        return max(0, len(lines) - 1)


def _run_seed(config: ReproduceConfig, seed: int, out: Path) -> Results:
    """One seed's results.json, with ablations and, for the first seed, the longer SFT."""
    demo = DemoConfig(
        out=str(out / f"seed{seed}"),
        seed=seed,
        model=config.model,
        epochs=config.epochs,
        steps=config.steps,
        test_pairs=config.test_pairs,
        train_pairs=config.train_pairs,
    )
    if seed:
        _reuse_base(out / "seed0", Path(demo.out))
    path = run_demo(demo, shlex.join(["python", "-m", "rmr1_lite", *_command_flags(config, seed)]))
    results = load_results(path)
    results.data["train_seconds"] = {stage: train_seconds(path.parent / stage) for stage in ("sft", "grpo")}
    _add_ablations(path.parent, results)
    if seed < config.longer_sft:
        _longer_sft(demo, path.parent, results)
    save_results(results, path)
    return results


def _reuse_base(first: Path, out: Path) -> None:
    """The base and the unseen pairs are the same for every seed, so the base is judged once."""
    source, target = (folder / "evaluation" for folder in (first, out))
    if (target / "base").exists():
        return
    # the last two are names from before 2026-11
    for name in ("base/items.jsonl", "base/run.json", "base.looks.jsonl", "base.weights.json"):
        if (source / name).exists() and not (target / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, target / name)


def _add_ablations(out: Path, results: Results) -> None:
    """Swapped and blanked reasoning of the GRPO judge, from the texts it wrote."""
    pairs = read_pairs(out / "data" / "test.jsonl").pairs
    loaded = load(str(out / "grpo" / "adapter"))
    judged = _judge_again("grpo", loaded, pairs, out)[1]
    results.data["ablations"] = asdict(reasoning_carries(loaded, pairs, judged, "compact"))


def _longer_sft(demo: DemoConfig, out: Path, results: Results) -> None:
    """Train, judge and compare the SFT that takes as long as SFT and GRPO did."""
    folder, seconds = out / "sft-same-wall-time", results.data["train_seconds"]
    epochs = round(demo.epochs * (1 + seconds["grpo"] / seconds["sft"]), 1)
    if (folder / "config.json").exists():  # a resumed run keeps its original length
        epochs = json.loads((folder / "config.json").read_text())["settings"]["epochs"]
    print(f"\nSFT again, {epochs} epochs: the wall time of SFT and GRPO together")
    adapter = train("sft", with_changes(sft_config(demo, out), epochs=epochs, out=str(folder)))
    pairs = read_pairs(out / "data" / "test.jsonl").pairs
    judged = {
        stage: _judge_again(stage, load(str(out / stage / "adapter")), pairs, out)[1]
        for stage in ("sft", "grpo")
    }
    result, judged[LONGER] = _judge_again(folder.name, load(str(adapter)), pairs, out)
    extra = {"epochs": epochs, "train_seconds": train_seconds(folder)}
    results.add_stage(replace(result, name=LONGER), baseline=True, **extra)
    results.compare(pairs, judged, [("sft", LONGER), (LONGER, "grpo")])


def _judge_again(
    name: str, loaded: Any, pairs: Sequence[Pair], out: Path
) -> tuple[EvalResult, list[Judgment]]:
    """Judge as the demo judges its stages; stored judgments are read."""
    judge = judge_in_memory(loaded, "compact", name, SFTConfig.max_new_tokens)
    return evaluate_pairs(name, judge, pairs, out / "evaluation", progress=False)


def train_seconds(run: Path) -> float:
    """Wall time of a training by its log; every start counts from its own beginning."""
    times = [row["time/seconds"] for row in read_log(run / "metrics.jsonl") if "time/seconds" in row]
    return round(sum(now for now, then in zip(times, [*times[1:], 0.0], strict=True) if then < now), 1)


def summarise_seeds(runs: Sequence[Results]) -> dict[str, Any]:
    """Every judge's metrics by seed with their mean, the paired differences, and the ablations, as JSON
    values."""
    first = runs[0]

    def over_seeds(name: str, figure: str) -> dict[str, Any]:
        # the longer SFT is not every seed's
        found = [getattr(run.judges[name].result, figure) for run in runs if name in run.judges]
        values = json_values(found)
        known = [value for value in values if value is not None]
        return {"mean": fmean(known) if known else None, "values": values}

    def section_shares(run: Results, stage: str) -> dict[str, float]:
        return {name: group.strict_accuracy for name, group in run.stages[stage].result.sections.items()}

    return {
        "seeds": [run.seed for run in runs],
        "n": first.stages["sft"].result.n,
        "versions": first.versions,
        "created": runs[-1].created,
        "judges": {name: {figure: over_seeds(name, figure) for figure in FIGURES} for name in first.judges},
        "differences": [to_json(run)["differences"] for run in runs],
        "sections": [{stage: section_shares(run, stage) for stage in ("sft", "grpo")} for run in runs],
        "ablations": [run.data["ablations"] for run in runs],
        "train_seconds": [run.data["train_seconds"] for run in runs],
    }


def summary_markdown(table: dict[str, Any]) -> str:
    """The summary as the README shows it."""
    head = ("judge", f"{METRICS['strict_accuracy']}, mean (by seed)", *COLUMNS[2:])
    rows = [_judge_row(name, figures) for name, figures in table["judges"].items()]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|", *rows, ""]
    for seed, differences in zip(table["seeds"], table["differences"], strict=True):
        lines += [
            f"- seed {seed}, {d['first']} to {d['second']}: {100 * d['difference']:+.1f} points "
            f"(95 % {100 * d['low']:+.1f} to {100 * d['high']:+.1f}; {d['gained']} pairs gained, "
            f"{d['lost']} lost)"
            for d in differences
        ]
    lines += [
        f"- seed {seed}, reasoning: with another pair's chain the verdict follows that chain in "
        f"{a['follows']:.1%} of {a['n']} judge calls{_unnamed_share(a)}; with the evaluation blanked "
        f"accuracy is {a['blank_accuracy']:.1%}"
        for seed, a in zip(table["seeds"], table["ablations"], strict=True)
    ]
    return "\n".join(lines) + "\n"


def _unnamed_share(ablations: dict[str, Any]) -> str:
    share, n = ablations["follows_unnamed"], ablations["n_unnamed"]
    return (
        "" if share is None else f" ({share:.1%} of the {n} whose chain names no letter before its verdict)"
    )


def _judge_row(name: str, figures: dict[str, Any]) -> str:
    strict = figures["strict_accuracy"]
    seeds = ", ".join(f"{100 * value:.1f}" for value in strict["values"])
    shares = (f"{figures[f]['mean']:.1%}" for f in ("accuracy", "flip_rate", "unparsed"))
    return (
        f"| {name} | {strict['mean']:.1%} ({seeds}) | {' | '.join(shares)} | "
        f"{figures['mean_tokens']['mean']:.0f} |"
    )

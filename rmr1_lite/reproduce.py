"""The README's nano table: three seeds of the chain with longer GRPO, the baselines that could explain the gain away, and
whether the reasoning carries the verdict.

    python -m rmr1_lite reproduce --out runs/reproduce

For each seed: SFT and GRPO; for the first one also two longer SFT runs, with twice the epochs (is SFT at its plateau?)
and with as many as fill the wall time of SFT + GRPO (would that time have been better spent on SFT?). All are judged on
the same unseen pairs.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from rmr1_lite.ablations import reasoning_carries
from rmr1_lite.config import changed
from rmr1_lite.data.files import read_pairs, write_json
from rmr1_lite.demo import DemoConfig, judge_of, run_demo, sft_config
from rmr1_lite.evaluate import compare, evaluate
from rmr1_lite.results import add_stage, load, save
from rmr1_lite.types import Judgment


@dataclass(frozen=True)
class ReproduceConfig:
    """Settings of the three-seed table."""

    out: str = field(default="runs/reproduce", metadata={"help": "folder; one chain per seed in it"})
    seeds: int = field(default=3, metadata={"help": "seeds 0, 1, ..."})
    epochs: float = field(default=5.0, metadata={"help": "SFT epochs"})
    steps: int = field(default=60, metadata={"help": "GRPO steps"})
    test_pairs: int = field(default=400, metadata={"help": "unseen pairs"})
    train_pairs: int = field(default=4000, metadata={"help": "training pairs; 12 % of them get teacher chains"})
    longer_sft: bool = field(default=True, metadata={"help": "train the two longer SFT runs for the first seed"})


def reproduce(config: ReproduceConfig) -> Path:
    """Run or resume all seeds; returns out/summary.json."""
    out, runs = Path(config.out), []
    for seed in range(config.seeds):
        print(f"\n==== seed {seed} of {config.seeds} ====")
        demo = DemoConfig(out=str(out / f"seed{seed}"), seed=seed, epochs=config.epochs, steps=config.steps,
                          test_pairs=config.test_pairs, train_pairs=config.train_pairs)  # fmt: skip
        path = run_demo(demo, f"python -m rmr1_lite reproduce (seed {seed})")
        runs.append(_more(demo, path, config.longer_sft and seed == 0))
    write_json(out / "summary.json", summary(runs))
    return out / "summary.json"


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and range over seeds of every judge's figures, the paired gains, and the ablations."""
    names = [name for part in ("baselines", "stages") for name in runs[0][part]]
    figures = ("strict_accuracy", "accuracy", "flip_rate", "unparsed", "mean_tokens", "seconds")

    def over(name: str, figure: str) -> dict[str, float]:
        judges = [{**run["baselines"], **run["stages"]} for run in runs]
        values = [rows[name][figure] for rows in judges if name in rows]  # the longer SFT runs are the first seed's alone
        return {"mean": fmean(values), "low": min(values), "high": max(values)}

    return {
        "seeds": len(runs), "n": runs[0]["stages"]["sft"]["n"], "versions": runs[0]["versions"],
        "created": runs[-1]["created"], "judges": {name: {f: over(name, f) for f in figures} for name in names},
        "differences": [run["differences"] for run in runs], "ablations": [run["data"]["ablations"] for run in runs],
        "train_seconds": [run["data"]["train_seconds"] for run in runs],
    }  # fmt: skip


def _more(demo: DemoConfig, path: Path, longer_sft: bool) -> dict[str, Any]:
    """Ablations and longer SFT runs of one seed, added to its results.json."""
    from rmr1_lite.models import load as load_model

    results, out = load(path), path.parent
    pairs = read_pairs(out / "data" / "test.jsonl").pairs
    judged: dict[str, list[Judgment]] = {}
    for name in ("sft", "grpo"):
        loaded = load_model(str(out / name / "adapter"))
        judged[name] = evaluate(name, judge_of(loaded, name), pairs, out / "evaluation")[1]
    results["data"]["ablations"] = asdict(reasoning_carries(loaded, pairs, judged["grpo"], "compact"))
    seconds = {stage: train_seconds(out / stage) for stage in ("sft", "grpo")}
    results["data"]["train_seconds"] = seconds
    if longer_sft:
        times = {"sft, epochs x 2": 2.0, "sft, same wall time": 1 + seconds["grpo"] / seconds["sft"]}
        for name, factor in times.items():
            judged[name] = _longer(demo, out, name, factor, pairs, results)
        couples = [("sft", "sft, epochs x 2"), ("sft, same wall time", "grpo")]
        compare(results, pairs, judged, couples)
    save(results, path)
    return results


def _longer(demo: DemoConfig, out: Path, name: str, factor: float, pairs: Any, results: dict[str, Any]) -> list[Judgment]:
    from rmr1_lite.models import load as load_model
    from rmr1_lite.sft import train_sft

    folder = out / name.replace(", ", "-").replace(" ", "-")
    # in whole tenths, so that a second run of the same seed asks for the same training
    config = changed(sft_config(demo, out), epochs=round(demo.epochs * factor, 1), out=str(folder))
    if (folder / "config.json").exists():
        config = replace(config, epochs=json.loads((folder / "config.json").read_text())["settings"]["epochs"])
    adapter = train_sft(config)
    loaded = load_model(str(adapter))
    result, judgments = evaluate(folder.name, judge_of(loaded, name), pairs, out / "evaluation")
    add_stage(results, replace(result, name=name), baseline=True, train_seconds=train_seconds(folder))
    return judgments


def train_seconds(run: Path) -> float:
    """Wall time of a training by its log (the part after the last resume is counted from there)."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return max(row.get("seconds", 0.0) for row in rows)

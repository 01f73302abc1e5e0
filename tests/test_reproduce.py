"""The three-seed table: its sums by hand, and a shortened complete run on the shipped base."""

from __future__ import annotations

import json
import math

import pytest

from rmr1_lite.config import ReproduceConfig
from rmr1_lite.evaluation.metrics import PairedDifference
from rmr1_lite.evaluation.results import Results, Stage, new_results
from rmr1_lite.evaluation.results_file import load_results
from rmr1_lite.reproduce import LONGER, reproduce, summarise_seeds, summary_markdown, train_seconds
from rmr1_lite.types import EvalResult, GroupResult


@pytest.mark.parametrize(
    ("seconds", "wanted", "reason"),
    [
        ([1.0, 2.5, 4.0], 4.0, "one start: the last row"),
        ([1.0, 2.5, None, 4.0], 4.0, "a probe's row has no time of its own"),
        ([5.0, 9.0, 2.0, 3.0], 12.0, "killed after 9 seconds, resumed for 3"),
        ([5.0, 1.0, 0.5], 6.5, "killed twice"),
    ],
)
def test_train_seconds_adds_up_the_starts(tmp_path, seconds, wanted, reason):
    rows = [{"step": i} if s is None else {"step": i, "seconds": s} for i, s in enumerate(seconds)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert train_seconds(tmp_path) == wanted, reason


def stage(name: str, strict: float, a_share: float = 0.5) -> Stage:
    group = GroupResult(4, strict, strict, 0.1, a_share, 0.0, 0.1, 0.9)
    result = EvalResult(name, 4, strict, strict, 0.1, a_share, 0.0, 80.0, 1.0, sections={"Chat": group})
    return Stage(result)


def run(seed: int, sft: float, grpo: float, *baselines: Stage) -> Results:
    ablations = {
        "follows": 0.95,
        "n": 8,
        "blank_accuracy": 0.51,
        "follows_unnamed": [0.5, None][seed],
        "n_unnamed": 4,
    }
    results = new_results(seed, "reproduce", {"ablations": ablations, "train_seconds": {"sft": 1.0}})
    results.stages = {"sft": stage("sft", sft), "grpo": stage("grpo", grpo)}
    results.baselines = {each.result.name: each for each in baselines}
    difference = PairedDifference("strict_accuracy", grpo - sft, 0.01, 0.2, 0.6, 4, 3, 1)
    results.add_difference("sft", "grpo", difference)
    return results


def test_the_table_holds_every_seed_and_the_mean():
    first = run(0, 0.70, 0.80, stage(LONGER, 0.72), stage("mute", 0.0, math.nan))
    made = summarise_seeds([first, run(1, 0.72, 0.79)])
    assert made["judges"]["grpo"]["strict_accuracy"] == {"mean": pytest.approx(0.795), "values": [0.80, 0.79]}
    assert made["judges"][LONGER]["strict_accuracy"]["values"] == [0.72], "the first seed's alone"
    assert made["judges"]["mute"]["a_share"]["mean"] is None, "a judge without a verdict has no share of A"
    text = summary_markdown(made)
    assert "| grpo | 79.5% (80.0, 79.0) |" in text and "| sft, same wall time | 72.0% (72.0) |" in text
    assert "- seed 1, sft to grpo: +7.0 points (95 % +1.0 to +20.0; 3 pairs gained, 1 lost)" in text
    assert (
        "follows that chain in 95.0% of 8 judge calls (50.0% of the 4 whose chain names no letter before its "
        "verdict);" in text
    )
    assert "follows that chain in 95.0% of 8 judge calls;" in text, "no such chain, no figure"


@pytest.mark.long
def test_the_whole_table_shortened_and_again(tmp_path):
    config = ReproduceConfig(out=str(tmp_path), seeds=2, epochs=3.0, steps=2, test_pairs=16, train_pairs=1000)
    made = json.loads(reproduce(config).read_text())
    assert made["seeds"] == [0, 1] and made["n"] == 16
    assert made["settings"] == {
        "model": "nano-base",
        "train_pairs": 1000,
        "epochs": 3.0,
        "steps": 2,
        "test_pairs": 16,
    }
    assert {"base", "sft", "grpo", LONGER, "always A", "longer"} <= made["judges"].keys()
    assert [len(made["judges"][name]["strict_accuracy"]["values"]) for name in ("sft", "grpo", LONGER)] == [
        2,
        2,
        1,
    ]
    couples = [[(d["first"], d["second"]) for d in differences] for differences in made["differences"]]
    assert ("sft", LONGER) in couples[0] and (LONGER, "grpo") in couples[0] and ("sft", "grpo") in couples[1]
    assert all(a["n"] > 0 for a in made["ablations"])
    first = load_results(tmp_path / "seed0" / "results.json")
    assert first.baselines[LONGER].extra["epochs"] > 3.0
    again = json.loads(reproduce(config).read_text())
    logs = "".join((tmp_path / f"seed{seed}.log").read_text() for seed in range(2))
    assert logs.count("nothing to do") == 5, "two stages for two seeds, and the longer SFT"
    assert again["judges"] == made["judges"]

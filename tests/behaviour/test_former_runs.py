"""Files that the kit wrote at cd4824b are read and resumed: run folders, logs, adapters, evaluations, judged
files, results.

`cd4824b.tar.gz` was made there, on nano with a LoRA of rank 1: a finished SFT, a GRPO (with a KL term)
that was killed after its second of four steps, the same GRPO uncut, an evaluation, a judged file, and the
evaluation of a demo.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
from fixtures.scripted import Scripted, right
from typer.testing import CliRunner

from rmr1_lite.cli.main import app
from rmr1_lite.data.pairs import read_pairs
from rmr1_lite.evaluation.results_file import load_results
from rmr1_lite.evaluation.runner import evaluate_pairs
from rmr1_lite.judging.judge import Judge
from rmr1_lite.reporting.report import write_report
from rmr1_lite.reporting.training_curves import panels_with_data, plot_curves, read_logs
from rmr1_lite.training.run_folder import read_log

SFT = (
    "sft --chains data/chains.jsonl --epochs 24 --batch-size 8 --micro-batch 8 --lr 5e-3 --lora-r 1 "
    "--lora-alpha 4"
)
SFT += " --save-every 72 --probe data/validation.jsonl --probe-pairs 4 --probe-every 36 --out sft"
GRPO = "grpo --model sft/adapter --pairs data/train.jsonl --steps 4 --beta 0.02 --groups 4 --rollouts 4"
GRPO += " --micro-batch 16 --save-every 2 --screen-pairs 4 --probe data/validation.jsonl --probe-pairs 4"
GRPO += " --probe-every 2 --max-truncated 1.0 --out grpo"


@pytest.fixture
def former(tmp_path, monkeypatch) -> Path:
    """The folder of those runs, as the working directory: their settings hold relative paths."""
    with tarfile.open(Path(__file__).with_name("cd4824b.tar.gz")) as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path / "cd4824b")
    return tmp_path / "cd4824b"


def run(command: str) -> str:
    done = CliRunner().invoke(app, command.split(), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.long  # a minute
def test_a_killed_grpo_resumes_from_its_checkpoint(former):
    said = run(GRPO)
    assert "Adapter: grpo/adapter" in said and "Step 1: the KL" not in said, (
        "it resumed, and did not begin again"
    )
    rows, whole = read_log("grpo/metrics.jsonl"), read_log("whole/metrics.jsonl")
    assert [row["step"] for row in rows] == [row["step"] for row in whole] == [0, 1, 2, 3, 4]
    assert (
        rows[1]["rollout/accuracy"]
        == json.loads(Path("grpo/metrics.jsonl").read_text().splitlines()[1])["verdict/accuracy"]
    )
    for name in ("loss", "kl", "rollout/reward_mean", "rollout/missing", "time/step_seconds"):
        assert {name} <= rows[2].keys() & rows[3].keys() & whole[3].keys(), "one name before and after"
    assert rows[4]["kl"] == pytest.approx(whole[4]["kl"], abs=1e-4), "the reference is the SFT policy still"


def test_a_finished_sft_is_finished(former):
    assert "nothing to do" in run(SFT)
    assert "Step 0" not in run(f"report {former / 'demo'}")


def test_former_logs_are_drawn_under_the_names_of_today(former):
    logs = read_logs("whole")
    assert list(logs) == ["grpo"], "known by its rewards"
    titles = [panel.title for panel in panels_with_data(logs["grpo"], "grpo")]
    assert {"GRPO: right verdicts", "GRPO: reward", "GRPO: position", "GRPO: tokens per second"} <= set(
        titles
    )
    assert plot_curves("whole").read_bytes().startswith(b"\x89PNG")


def test_a_finished_evaluation_is_scored_again_without_a_model(former):
    before = json.loads(Path("evaluation/results.json").read_text())
    said = run("evaluate --data data/test.jsonl --judge nano-sft --out evaluation --name sft")
    assert "already has all 16 judge calls" in said
    after = json.loads(Path("evaluation/results.json").read_text())
    for results in (before, after):  # a log keeps the seconds of a look rounded
        assert results["stages"]["sft"].pop("seconds") > 0
    assert after["stages"] == before["stages"] and after["data"] == before["data"]


def test_a_judged_file_is_found_done(former):
    before = Path("looks.jsonl").read_bytes()
    run("judge --pairs data/test.jsonl --out looks.jsonl --judge nano-sft")
    assert Path("looks.jsonl").read_bytes() == before


def test_the_looks_of_a_demo_are_adopted(former):
    judge = Judge(Scripted(right))
    judge.engine.fingerprint = json.loads(Path("demo/evaluation/grpo.weights.json").read_text())["weights"]
    pairs = read_pairs("demo/test.jsonl").pairs
    result, _ = evaluate_pairs("grpo", judge, pairs, Path("demo/evaluation"), progress=False)
    assert not judge.engine.asked and Path("demo/evaluation/grpo/items.jsonl").exists()
    former_result = load_results("demo/results.json").stages["grpo"].result
    assert (result.n, result.statuses) == (former_result.n, former_result.statuses)


def test_former_results_are_reported(former):
    assert "nano results" in write_report(Path("demo")).read_text(encoding="utf-8")

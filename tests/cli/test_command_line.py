"""The commands: help that is instant and correct, errors in one line, files in and files out."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields

import pytest

from rmr1_lite.config import (
    CONFIGS,
    DemoConfig,
    DistillConfig,
    PolicyConfig,
    PrepareConfig,
    ReproduceConfig,
)
from rmr1_lite.models.judge_specs import NANO

DERIVED = {
    **CONFIGS,
    "demo": DemoConfig,
    "reproduce": ReproduceConfig,
    "distill": DistillConfig,
    "policy": PolicyConfig,
    "data prepare": PrepareConfig,
}
# what --help may import of the kit: the commands' names, their settings, and nothing that does the work
FOR_HELP = {
    "__main__",
    "app",
    "app.address",
    "app.command",
    "cli",
    "cli.bias",
    "cli.data",
    "cli.endpoint",
    "cli.evaluate",
    "cli.export",
    "cli.judge_options",
    "cli.main",
    "cli.models",
    "cli.options_from_config",
    "cli.outputs",
    "cli.policy",
    "cli.scale",
    "cli.serve",
    "cli.train",
    "cli.use",
    "config",
    "endpoint",
    "endpoint.settings",
    "environment",
    "extras",
    "exit_status",
    "judging",
    "judging.via",
    "presets",
    "types",
}


def command(*arguments: str, **more):
    environment = {**os.environ, "COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "rmr1_lite", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        **more,
    )


def test_help_lists_every_command_and_loads_nothing_heavy():
    done = command("--help")
    for name in ("demo", "data", "sft", "grpo", "evaluate", "judge", "report"):
        assert re.search(rf"^\W*{name} ", done.stdout, re.MULTILINE), name
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "rmr1_lite", "--help"], capture_output=True, text=True
    )
    assert not re.search(r"\| +(torch|transformers|gradio|matplotlib|numpy)$", loaded.stderr, re.MULTILINE)
    ours = set(re.findall(r"\| +rmr1_lite\.([\w.]+)$", loaded.stderr, re.MULTILINE))
    assert ours <= FOR_HELP and "config" in ours


@pytest.mark.parametrize("name", DERIVED)
def test_help_holds_every_field_of_the_config(name):
    shown = command(*name.split(), "--help").stdout
    for item in fields(DERIVED[name]):
        assert f"--{item.name.replace('_', '-')}" in shown and item.metadata["help"][:20] in shown, item.name


WRONG = [
    (["sft", "--style", "rubric"], "compact", "an unknown style names the choices"),
    (["judge", "--pairs", "x", "--out", "y", "--reading", "loose"], "lenient", "an unknown reading too"),
    (["data", "nanu"], "nano", "and an unknown world"),
    (["data", "prepare", "none.csv"], "none.csv does not exist", "nothing to prepare"),
    (["data", "prepare"], "sources", "no file named"),
    (
        ["data", "prepare", "x.jsonl", "--against", "rmb"],
        "RMB-Reward-Model-Benchmark",
        "a benchmark without its files",
    ),
    (["data", "audit", "none.jsonl"], "none.jsonl does not exist", "nothing to audit"),
    (["data", "published", "sft"], "distill-sft", "an unknown set names the choices"),
    (["data", "mixture", "--source", "skywork"], "NAME=PATH", "a source without a place"),
    (["distill"], "--teacher", "no teacher"),
    (["sft", "--chains", "none.jsonl"], "none.jsonl", "a file that is not there"),
    (["grpo", "--pairs", "none.jsonl"], "none.jsonl", "the same for pairs"),
    (["report", "nowhere"], "does not exist", "a run that is not there"),
    (["evaluate", "--data", "none.jsonl"], "none.jsonl", "nothing to evaluate on"),
    (["evaluate"], "Give --benchmark", "neither a benchmark nor a file"),
    (
        ["scale", "verl", "--model", "nano-sft", "--pairs", "none.jsonl", "--out", "x"],
        "none.jsonl",
        "no pairs",
    ),
    (
        ["scale", "import", "none", "--model", "none", "--out", "x"],
        "copy the folder",
        "no model to come back to",
    ),
    (["bias", "--change", "colour"], "Choose from padding", "an unknown change names the choices"),
    (["bias", "--pairs", "none.jsonl"], "none.jsonl", "no pairs to measure a bias on"),
    (["bias", "--judge", "nano-base", "--attach"], "Leave --attach out", "no adapter to put the card into"),
    (["evaluate", "--benchmark", "rewardbank"], "rewardbench2", "an unknown benchmark names the choices"),
    (
        ["evaluate", "--benchmark", "rmb"],
        "RMB-Reward-Model-Benchmark",
        "a benchmark that has to be downloaded first",
    ),
    (
        ["evaluate", "--benchmark", "llmbar", "--data", "nowhere"],
        "nowhere does not exist",
        "a folder that is not there",
    ),
]


@pytest.mark.parametrize(("arguments", "said", "reason"), WRONG, ids=[row[-1] for row in WRONG])
def test_errors_are_short_and_say_what_to_do(arguments, said, reason, tmp_path):
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr


@pytest.mark.long
def test_a_bias_report_is_written_resumed_and_attached(tmp_path):
    adapter = tmp_path / "adapter"
    shutil.copytree(NANO["nano"], adapter)
    arguments = [
        "bias",
        "--judge",
        "adapter",
        "--limit",
        "2",
        "--change",
        "padding",
        "--out",
        "b",
        "--attach",
    ]
    first, again = (command(*arguments, cwd=tmp_path) for _ in range(2))
    assert (first.returncode, again.returncode) == (0, 0), first.stderr
    assert "0/6" in first.stderr and "0/6" not in again.stderr and "6/6" in again.stderr
    assert "too few pairs" in again.stdout and "Report: b/bias.html" in again.stdout
    names = {"items.jsonl", "run.json", "bias.json", "bias.md", "bias.html", "bias.png"}
    assert {path.name for path in (tmp_path / "b").iterdir()} == names
    assert (adapter / "bias.json").is_file() and (adapter / "README.md").read_text().count("Bias card") == 1


@pytest.mark.long
def test_data_is_prepared_and_audited(tmp_path):
    row = '{{"id": "{0}", "prompt": "What is {0}+1?", "chosen": "{1}", "rejected": "{0} zebra"}}\n'
    (tmp_path / "mine.jsonl").write_text("".join(row.format(i, i + 1) for i in range(60)) + "{broken\n")
    options = [
        "--out",
        "made",
        "--model",
        "nano",
        "--max-prompt-tokens",
        "600",
        "--near",
        "0",
        "--validation",
        "0.2",
    ]
    done = command("data", "prepare", "mine.jsonl", *options, "--against", "mine", cwd=tmp_path)
    assert done.returncode == 1 and "rewardbench" in done.stderr, "not a benchmark"
    done = command("data", "prepare", "mine.jsonl", *options, cwd=tmp_path)
    assert (
        done.returncode == 0
        and "61 rows read: 60 pairs kept" in done.stdout
        and "judge prompts in tokens" in done.stdout
    )
    assert "mine.jsonl, row 61" in done.stdout
    done = command("data", "audit", "made/train.jsonl", "--out", "audit", "--strict", cwd=tmp_path)
    assert done.returncode == 1 and "zebra" in done.stdout and "the worse side in 100.0%" in done.stdout
    assert (tmp_path / "audit" / "audit.html").exists()


def test_data_writes_the_nano_world(tmp_path):
    done = command("data", "nano", "--out", str(tmp_path / "d"), "--train", "40", "--test", "4")
    assert done.returncode == 0 and (tmp_path / "d" / "test.jsonl").read_text().count("\n") == 4

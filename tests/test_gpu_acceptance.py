"""The GPU acceptance script, kept alive on the CPU: every part in miniature, and the planner's comparison on made-up rows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# what the kit needs elsewhere and a GPU machine without network has not: the script must run without it
HIDDEN = ("typer", "openai", "gradio", "matplotlib", "scipy", "sklearn", "rich", "pydantic", "fastapi", "tenacity", "PIL")
HIDING = f"""import sys

class Hiding:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, *where):
        return None if name.partition(".")[0] in {HIDDEN} else self.finder.find_spec(name, *where)

sys.meta_path[:] = map(Hiding, sys.meta_path)
"""
SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu_acceptance.py"


@pytest.fixture(scope="module")
def module():
    import importlib.util

    spec = importlib.util.spec_from_file_location("gpu_acceptance", SCRIPT)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_the_planner_is_compared_with_everything_that_has_a_peak(module):
    rows = [
        {"part": "b", "backend": "unsloth", "sft_1024": {"peak_gib": 9.0}, "sft_4096": {"error": "out of memory"}},
        {"part": "c", "backend": "unsloth", "sharing": True, "grpo_1536_512_8": {"peak_gib": 12.0}, "writing": []},
        {"part": "c", "backend": "transformers", "sharing": True, "grpo_1536_512_8": {"peak_gib": 20.0}},
        {"part": "a", "backend": "unsloth", "sft_accuracy": {"strict": 0.8}},
    ]
    made = module.planned(rows)
    assert [(row["backend"], row["what"]) for row in made] == [
        ("unsloth", "sft_1024"), ("unsloth", "grpo_1536_512_8"), ("transformers", "grpo_1536_512_8")]  # fmt: skip
    assert made[0]["ratio"] == pytest.approx(made[0]["planned_gib"] / 9.0, abs=1e-2)
    assert made[2]["planned_gib"] > made[1]["planned_gib"], "prompts that are not shared take more"


@pytest.mark.long
def test_every_part_runs_in_miniature_on_a_cpu_with_the_packages_of_a_gpu_machine(tmp_path):
    out = tmp_path / "results.json"
    (tmp_path / "sitecustomize.py").write_text(HIDING)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    assert subprocess.run([sys.executable, "-c", "import scipy"], env=environment, capture_output=True).returncode, "it hides"
    for part in ("a", "d", "e"):  # d runs b and c
        command = [sys.executable, str(SCRIPT), "--part", part, "--small", "--out", str(out), "--folder", str(tmp_path / "work")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=500, env=environment)
        assert done.returncode == 0, done.stderr[-2000:]
    a, d, e = json.loads(out.read_text())
    assert "error" not in a and a["kl_at_start"] == pytest.approx(0, abs=1e-4)
    assert a["sft"] and 0 <= a["grpo_accuracy"]["mean"] <= 1
    assert d["sft_64"]["tokens_per_s"] > 0 and d["grpo_48_16_4"]["step_s"] > 0 and d["writing"][0]["s_per_token"] > 0
    assert d["cap"] == "none: no GPU" and e["rows"] == [], "a CPU has no peak to compare with"
    assert all(row["device_name"].startswith("CPU") and row["date"] and row["versions"] for row in (a, d, e))

"""The tables made from a card's results: up to date in the files, and correct on rows
made up here."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

PERF = Path(__file__).parents[2] / "perf"
SFT = {
    "tokens_per_s": 2000,
    "step_s": 2.0,
    "steps_timed": 3,
    "peak_gib": 8.0,
    "first_step_peak_gib": 9.0,
    "reserved_gib": 9.5,
}
GRPO = {**SFT, "tokens_per_s": 9000, "prompts_shared": True}
RESULTS = {
    "date": "2026-12-01",
    "parity": {
        "sft: losses apart": {"found": 0.01, "bound": 0.05, "holds": True},
        "grpo: gradients apart": {"found": 0.4, "bound": 0.15, "holds": False},
    },
    "jobs": {
        "facts": {
            "figures": {
                "card": "NVIDIA H100",
                "versions": {"torch": "2.11", "triton": "3.6", "unsloth": "not installed"},
            }
        },
        "speed-unsloth": {
            "figures": {
                "half": "bf16",
                "sft_4096": SFT,
                "grpo_1536_512_8": GRPO,
                "not_shared": {**GRPO, "prompts_shared": False, "tokens_per_s": 4000},
                "writing": {
                    "cache_1024": {"rows": 8, "s_per_token": 0.125, "tokens_per_s": 64},
                    "held_after_gib": 8.0,
                },
            }
        },
        "capped": {"part": 7, "status": "timed out", "figures": {"half": "fp16"}},
        "paper": {"part": 8, "status": "skipped", "why": "9 s are left, it needs 70"},
        "speed-trl": {
            "figures": {
                "sft_4096": {**SFT, "tokens_per_s": 1000},
                "grpo_1536_512_8": {"error": "out of memory"},
            }
        },
    },
}


@pytest.fixture(scope="module")
def tables():
    spec = importlib.util.spec_from_file_location("gpu_table", PERF / "gpu_table.py")
    made = importlib.util.module_from_spec(spec)
    sys.modules["gpu_table"] = made
    spec.loader.exec_module(made)
    return made


def test_the_files_hold_what_the_results_and_the_planner_say(tables):
    made = tables.pages(tables.read_results(tables.RESULTS))
    stale = [path.name for path, text in made.items() if path.read_text(encoding="utf-8") != text]
    assert stale == [], "run python perf/gpu_table.py"


def test_without_results_the_status_says_that_nothing_has_run(tables, monkeypatch, tmp_path):
    monkeypatch.setattr(tables, "RESULTS", tmp_path / "gpu.json")
    assert "not yet run on a GPU" in tables.status()


def test_a_row_for_each_size_beside_the_baseline(tables):
    lines = tables.measured_table(RESULTS).splitlines()
    sft = next(line for line in lines if line.startswith("| kit, Unsloth | SFT, 1 x 4,096"))
    assert "| 2,000 | 2.00 | 2.00 s (3 steps) | 8.0 / 9.0 / 9.5 |" in sft
    assert any("GRPO, (1,536 + 512) x 8, prompts shared | 9,000 |  |" in line for line in lines), (
        "a baseline without a figure"
    )
    assert any("GRPO as above, sharing off, prompts not shared | 4,000" in line for line in lines)
    assert any(line.startswith("| TRL") and "out of memory" in line for line in lines), (
        "memory that ran out is a result"
    )


def test_the_planner_stands_beside_what_was_reserved(tables):
    from rmr1_lite.training.planning.gpu_memory import GIB

    lines = tables.planner_table(RESULTS).splitlines()
    planned = tables.planned("sft_4096", False) / GIB
    assert any(f"| {planned:.1f} | 10.0 | {planned / 10.0:.2f} |" in line for line in lines)
    assert len(lines) == 2 + 3, "two sizes of Unsloth and one of TRL; the row without sharing repeats a size"
    assert tables.planned("grpo_1536_512_8", False) > tables.planned("grpo_1536_512_8", True)


def test_generation_and_what_did_not_end_are_listed(tables):
    assert "| kit, Unsloth | 8 rows, 1,024 tokens in the cache | 0.125 s | 64 |" in tables.generation_table(
        RESULTS
    )
    assert tables.unfinished(RESULTS).splitlines()[2:] == [
        "- part 7, `capped`: timed out; has half",
        "- part 8, `paper`: skipped (9 s are left, it needs 70)",
    ]
    assert tables.unfinished({"jobs": {"facts": {"status": "ok"}}}) == ""


def test_the_status_row_names_card_date_and_what_failed(tables):
    assert "NVIDIA H100 (2026-12-01): 1 of 2 parity checks hold" in tables.status(RESULTS)
    assert "| grpo: gradients apart | 0.4 | 0.15 | **no** |" in tables.measured_text(RESULTS)
    assert "triton 3.6" in tables.machine(RESULTS) and "not installed" not in tables.machine(RESULTS)

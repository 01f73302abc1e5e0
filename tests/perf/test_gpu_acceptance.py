"""The GPU acceptance driver: its rules on fake jobs, and its real jobs in miniature on a
CPU.

The half that needs Unsloth runs in tests/unsloth_cpu, in the same miniature.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

# what the kit needs elsewhere and a GPU machine without network has not: the driver and its jobs must run
# without it
HIDDEN = (
    "typer",
    "openai",
    "gradio",
    "matplotlib",
    "scipy",
    "sklearn",
    "rich",
    "pydantic",
    "fastapi",
    "tenacity",
    "PIL",
)
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
PERF = Path(__file__).parents[2] / "perf"
# a worker that does what its first argument says, and a child of it that outlives a plain kill
FAKE = """
import json, subprocess, sys, time
after = lambda name: sys.argv[sys.argv.index(name) + 1]
what, result, folder = sys.argv[1], after("--result"), after("--folder")
note = lambda **found: open(result, "w").write(json.dumps(found))
if what == "hangs":
    note(first=1)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    open(folder + "/child", "w").write(str(child.pid))
    time.sleep(600)
if what == "breaks":
    note(first=1)
    sys.exit("CUDA error: an illegal memory access")
if what == "product":
    open(folder + "/product", "w").write("")
note(done=True, unsloth_here=what == "with-unsloth")
"""


@pytest.fixture(scope="module")
def driver():
    sys.path.insert(0, str(PERF))
    spec = importlib.util.spec_from_file_location("gpu_acceptance", PERF / "gpu_acceptance.py")
    made = importlib.util.module_from_spec(spec)
    sys.modules["gpu_acceptance"] = made
    spec.loader.exec_module(made)
    return made


@pytest.fixture
def fake(driver, tmp_path, monkeypatch):
    """fake(waves, parts, minutes) -> the report of a run with the worker above."""
    (tmp_path / "fake.py").write_text(FAKE)
    monkeypatch.setattr(driver, "WORKER", (sys.executable, str(tmp_path / "fake.py")))
    monkeypatch.setattr(driver, "GRACE", 0.0)

    def run(waves, parts, minutes=1.0):
        return driver.drive(parts, minutes, tmp_path / "out", tmp_path / "work", False, waves)

    return run


def outcome(report):
    return {name: (job["status"], job.get("why", "")) for name, job in report.held["jobs"].items()}


def test_the_driver_imports_the_standard_library_alone():
    """torch in it would hold half a gigabyte of the card."""
    code = (
        f"import sys; sys.path.insert(0, {str(PERF)!r}); before = set(sys.modules); import gpu_acceptance; "
        "print(*{n.partition('.')[0] for n in set(sys.modules) - before} - set(sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert set(done.stdout.split()) == {"gpu_acceptance", "gpu"}, done.stderr


def test_jobs_end_as_they_end_and_the_figures_stay(driver, fake, tmp_path):
    job = driver.Job
    waves = (
        (job(0, "facts", ("with-unsloth",), 20), job(0, "slow", ("hangs",), 2)),
        (job(2, "broken", ("breaks",), 20),),
        (job(3, "after-broken", ("fine",), 20, ("broken",)), job(3, "after-slow", ("fine",), 20, ("slow",))),
        (job(4, "last", ("fine",), 20, ("facts",), "unsloth"),),
    )
    report = fake(waves, [0, 2, 3, 4])
    found = outcome(report)
    assert found["facts"] == found["last"] == ("ok", "") and found["slow"][0] == "timed out"
    assert found["broken"] == ("failed", "CUDA error: an illegal memory access"), "its last line"
    assert found["after-broken"] == ("skipped", "broken failed")
    assert found["after-slow"] == ("skipped", "slow timed out")
    held = json.loads((tmp_path / "out" / "results.json").read_text())["jobs"]
    assert held["slow"]["figures"] == held["broken"]["figures"] == {"first": 1}, (
        "what was known before the end"
    )
    assert not alive(int((tmp_path / "work" / "child").read_text())), "the whole process group is gone"
    wrong = list(driver.ended_badly(report, [0, 2, 3, 4], waves))
    assert [line.partition(":")[0] for line in wrong] == ["slow", "broken", "after-broken", "after-slow"]


@pytest.mark.parametrize("why", ["a job of part 1 broke", "a check failed"])
def test_nothing_is_started_after_parity_failed(driver, fake, monkeypatch, why):
    if why == "a check failed":
        check = {"sft: losses apart": {"found": 1.0, "bound": 0.05, "holds": False}}
        monkeypatch.setattr(driver, "parity", lambda figures: check)
    waves = (
        (driver.Job(1, "parity-unsloth", ("breaks" if why == "a job of part 1 broke" else "fine",), 20),),
        (driver.Job(2, "next", ("fine",), 20),),
    )
    report = fake(waves, [1, 2])
    assert "next" not in outcome(report)
    assert "next: not started" in list(driver.ended_badly(report, [1, 2], waves))


def alive(pid: int) -> bool:
    for _ in range(50):
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] == "Z":
                return False
        except (ProcessLookupError, FileNotFoundError):
            return False
        time.sleep(0.1)
    return True


def test_what_the_machine_cannot_do_is_no_failure_and_too_little_time_is(driver, fake):
    job = driver.Job
    waves = (
        (job(0, "facts", ("fine",), 20),),
        (
            job(2, "needs-unsloth", ("fine",), 20, ("facts",), "unsloth"),
            job(3, "long", ("fine",), 20, (), "", 10**6),
        ),
    )
    report = fake(waves, [0, 2, 3])
    assert outcome(report)["needs-unsloth"] == ("skipped", driver.NO_UNSLOTH)
    assert outcome(report)["long"][1].endswith("it needs 1000000")
    assert list(driver.ended_badly(report, [0, 2, 3], waves)) == ["long: skipped"]


def test_the_minutes_hold_whatever_a_job_does(driver, fake):
    waves = ((driver.Job(0, "facts", ("hangs",), 500, least=1.0),), (driver.Job(2, "next", ("fine",), 20),))
    began = time.monotonic()
    report = fake(waves, [0, 2], minutes=0.06)
    assert time.monotonic() - began < 20
    assert outcome(report)["facts"][0] == "timed out" and outcome(report)["next"][0] == "skipped"


def test_a_later_call_on_a_fresh_machine_makes_again_what_it_needs(driver, fake, tmp_path, capsys):
    job = driver.Job
    waves = (
        (job(0, "facts", ("product",), 20, product="product"),),
        (job(5, "speed", ("fine",), 20, ("facts",)),),
    )
    fake(waves, [0])
    fake(waves, [5])
    assert "added" not in capsys.readouterr().out, "it is all there"
    (tmp_path / "work" / "product").unlink()
    report = fake(waves, [5])
    assert "facts: added, speed needs it" in capsys.readouterr().out
    assert outcome(report) == {"facts": ("ok", ""), "speed": ("ok", "")}


PARTS = [
    ("0-1", [0, 1]),
    ("5", [5]),
    ("2,5-8", [2, 5, 6, 7, 8]),
    ("9", [9]),
    ("10", None),
    ("", None),
    ("a", None),
    ("1-", None),
]


@pytest.mark.parametrize(("text", "parts"), PARTS)
def test_parts_are_numbers_and_ranges(driver, text, parts, capsys):
    if parts is not None:
        assert driver.numbers(text) == parts
        return
    with pytest.raises(SystemExit):
        driver.main(["--parts", text])
    assert "argument --parts" in capsys.readouterr().err


def test_the_part_on_real_texts_says_what_it_needs(driver, capsys):
    with pytest.raises(SystemExit):
        driver.main(["--parts", "9"])
    assert "part 9 needs --real FOLDER" in capsys.readouterr().err


PARITY = [
    ({"loss": 1.0, "grad_norm": 2.0}, True, "equal"),
    ({"loss": 1.04, "grad_norm": 2.0}, True, "rounding in bf16"),
    ({"loss": 1.2, "grad_norm": 2.0}, False, "another loss"),
    ({"loss": 1.0, "grad_norm": 1.2}, False, "the same loss, another gradient: pad = end looks like this"),
]


@pytest.mark.parametrize(("ours", "holds", "reason"), PARITY, ids=[row[-1] for row in PARITY])
def test_parity_fails_where_the_backends_differ(driver, ours, holds, reason):
    from gpu.checks import parity

    state = {"checkpointing": 5, "copies": 0}
    found = parity(
        {
            "unsloth": {"sft": [ours], "states": [state]},
            "transformers": {"sft": [{"loss": 1.0, "grad_norm": 2.0}]},
        }
    )
    assert all(check["holds"] for check in found.values()) == holds


@pytest.mark.parametrize(
    ("figures", "name"),
    [
        ({"unsloth": {"states": [{"checkpointing": 0, "copies": 0}]}}, "probes that left checkpointing off"),
        ({"unsloth": {"states": [{"checkpointing": 5, "copies": 56}]}}, "stale copies"),
        ({"transformers": {"grpo": [{"kl": 0.2}]}}, "KL at the start"),
        ({"unsloth": {"policy": [-1.0, -2.0]}, "reload": {"policy": [-1.5, -2.5]}}, "reloaded elsewhere"),
    ],
)
def test_each_other_parity_check_can_fail(driver, figures, name):
    from gpu.checks import parity

    (failed,) = [check for check, held in parity(figures).items() if not held["holds"]]
    assert name in failed


@pytest.mark.parametrize("tokens", [64, 1536])
def test_prompts_have_exactly_the_tokens_that_they_name(driver, tokens):
    from gpu.common import prompt_of

    from rmr1_lite.models.loading import load_tokenizer
    from rmr1_lite.models.render import render_ids

    tokenizer = load_tokenizer("nano-base")
    assert len(render_ids(tokenizer, [{"role": "user", "content": prompt_of(tokenizer, tokens)}])) == tokens


@pytest.mark.long
def test_the_transformers_half_in_miniature_with_the_packages_of_a_gpu_machine(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(HIDING)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    assert subprocess.run(
        [sys.executable, "-c", "import scipy"], env=environment, capture_output=True
    ).returncode
    command = [
        sys.executable,
        str(PERF / "gpu_acceptance.py"),
        "--small",
        "--minutes",
        "9",
        "--out",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout[-3000:]
    held = json.loads((tmp_path / "out" / "results.json").read_text())
    jobs = {name: job["figures"] for name, job in held["jobs"].items() if job["status"] == "ok"}
    assert set(jobs) == {
        "facts",
        "parity-transformers",
        "chain-transformers",
        "model",
        "speed-trl",
        "speed-transformers",
    }
    assert held["parity"]["transformers: KL at the start"]["holds"]
    for name in ("speed-trl", "speed-transformers"):
        assert jobs[name]["sft_64"]["tokens_per_s"] > 0 and jobs[name]["grpo_96_16_4"]["step_s"] > 0
    assert jobs["speed-transformers"]["writing"]["cache_32"]["prefill_s"] > 0
    assert 0 <= jobs["model"]["nf4_bytes"] / jobs["model"]["planned_bytes"] - 1 < 0.05, (
        "and what unpacks each matrix"
    )
    assert jobs["chain-transformers"]["kl_at_start"] == pytest.approx(0, abs=1e-6)
    logs = {path.stem for path in (tmp_path / "out" / "logs").iterdir()}
    assert logs == set(jobs), "each job's words are kept"

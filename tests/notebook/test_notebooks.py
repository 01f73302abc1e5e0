"""The notebooks: built from their sources, set up anywhere, run from top to bottom on the embedded
default."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "notebooks"
_spec = importlib.util.spec_from_file_location("notebook_builder", NOTEBOOKS / "build.py")
builder = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(builder)
NAMES = [source.stem for source in builder.SOURCES]


def notebook(name):
    return json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))


def code_of(name):
    return ["".join(cell["source"]) for cell in notebook(name)["cells"] if cell["cell_type"] == "code"]


def test_there_are_eight():
    assert [name[:2] for name in NAMES] == ["00", "01", "02", "03", "04", "05", "06", "07"]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_what_its_source_gives(name):
    source = NOTEBOOKS / f"{name}.py"
    text = builder.build_notebook(source)
    assert text == builder.build_notebook(source), "built twice, the bytes differ"
    assert (NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8") == text, "run python notebooks/build.py"


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_asks_for_a_t4_and_holds_no_outputs(name):
    found = notebook(name)
    assert found["metadata"]["accelerator"] == "GPU" and found["metadata"]["colab"]["gpuType"] == "T4"
    assert found["metadata"]["kaggle"]["accelerator"] == "nvidiaTeslaT4"
    code = [cell for cell in found["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert len({cell["id"] for cell in found["cells"]}) == len(found["cells"])
    assert "".join(code[0]["source"]) == builder.SETUP.read_text(encoding="utf-8").strip()
    assert found["cells"][0]["cell_type"] == "markdown" and found["cells"][0]["source"][0].startswith("# ")


@pytest.mark.parametrize("name", NAMES)
def test_definitions_live_in_the_package(name):
    for source in code_of(name):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                assert node.end_lineno - node.lineno < 5, f"{node.name}: put it into rmr1_lite.notebook"


BADGES = [
    ("", 0, "no address yet"),
    ("https://github.com/someone/rmr1_lite", 2, "GitHub"),
    ("https://github.com/someone/rmr1_lite.git", 2, "with its ending"),
    ("https://example.org/rmr1_lite", 0, "neither platform opens it"),
    ('https://github.com/a/b"onload=x', 0, "no address at all"),
]


@pytest.mark.parametrize(("address", "count", "reason"), BADGES, ids=[row[-1] for row in BADGES])
def test_badges_come_from_the_address(address, count, reason):
    found = builder.badges(address, "02_sft")
    assert found.count("[![") == count
    if count:
        assert "colab.research.google.com/github/someone/rmr1_lite/blob/main/notebooks/02_sft.ipynb" in found
        assert (
            "src=https://github.com/someone/rmr1_lite/blob/main/notebooks/02_sft.ipynb&accelerator=nvidiaTeslaT4"
            in found
        )
        text = builder.build_notebook(NOTEBOOKS / "02_sft.py", f'REPO_URL = "{address}"\n')
        assert text.count("colab-badge.svg") == 1


# --- the set-up cell, in a process of its own, as a kernel would run it ---

SETUP = builder.SETUP.read_text(encoding="utf-8")


def set_up(cwd, inputs="/nowhere", address="", **environment):
    code = SETUP.replace('REPO_URL = ""', f"REPO_URL = {address!r}").replace("/kaggle/input", str(inputs))
    # the package of this environment is an editable installation: it must not stand in for the kit that is
    # looked for
    code = code.replace(
        "set_up(root, how)", "import rmr1_lite; print('used', rmr1_lite.__path__[0]); set_up(root, how)"
    )
    clean = {
        name: value
        for name, value in os.environ.items()
        if name not in ("COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE")
    }
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env={**clean, **environment}, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    """The kit as downloaded by a user: its files in another folder."""
    folder = tmp_path_factory.mktemp("download") / "rmr1_lite-main"
    ignore = shutil.ignore_patterns(
        ".git", ".venv*", "runs", "build", "__pycache__", "*.egg-info", ".pytest_cache", ".hypothesis"
    )
    shutil.copytree(ROOT, folder, ignore=ignore)
    return folder


def test_set_up_in_a_checkout(tmp_path):
    done = set_up(NOTEBOOKS)
    assert done.returncode == 0, done.stderr
    assert f"Kit: {ROOT} (found here), on this machine" in done.stdout
    assert "Versions: python 3." in done.stdout and "GPU: " in done.stdout
    assert "tested" in done.stdout.splitlines()[-1]


def test_set_up_on_colab_from_an_uploaded_zip(kit, tmp_path):
    shutil.make_archive(str(tmp_path / "kit"), "zip", kit.parent, kit.name)
    done = set_up(tmp_path, COLAB_RELEASE_TAG="release")
    assert done.returncode == 0, done.stderr
    assert (
        "(unpacked from kit.zip), on Colab" in done.stdout and f"used {tmp_path}/rmr1_lite_kit" in done.stdout
    )
    again = set_up(tmp_path, COLAB_RELEASE_TAG="release")
    assert again.returncode == 0 and "(found here)" in again.stdout, (
        "a second run finds what the first unpacked"
    )
    time.sleep(0.01)
    shutil.make_archive(str(tmp_path / "newer"), "zip", kit.parent, kit.name)
    third = set_up(tmp_path, COLAB_RELEASE_TAG="release")
    assert "(unpacked from " in third.stdout, (
        "a zip that was uploaded later goes before the one that was unpacked"
    )


def test_set_up_on_kaggle_from_a_dataset(kit, tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)  # which tests in this process may have set
    (tmp_path / "desk").mkdir()
    shutil.copytree(kit, tmp_path / "input" / "my-kit" / kit.name)
    done = set_up(tmp_path / "desk", tmp_path / "input", KAGGLE_KERNEL_RUN_TYPE="Interactive")
    assert done.returncode == 0, done.stderr
    assert "(a dataset added on Kaggle), on Kaggle" in done.stdout and "the first GPU is used" in done.stdout
    assert f"used {tmp_path}/input/my-kit" in done.stdout


def test_set_up_from_an_address_and_without_one_that_answers(kit, tmp_path):
    origin = tmp_path / "origin"
    shutil.copytree(kit, origin)
    for command in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "kit"],
    ):
        subprocess.run(["git", *command], cwd=origin, check=True)
    (tmp_path / "desk").mkdir()
    done = set_up(tmp_path / "desk", address=f"file://{origin}", COLAB_RELEASE_TAG="release")
    assert done.returncode == 0, done.stderr
    assert "Cloned file://" in done.stdout and f"used {tmp_path}/desk/rmr1_lite_kit" in done.stdout
    (tmp_path / "other").mkdir()
    failed = set_up(tmp_path / "other", address=f"file://{tmp_path}/gone")
    assert failed.returncode == 1 and "Cloning file://" in failed.stdout
    assert "RuntimeError: The kit was not found. Upload its zip" in failed.stderr
    secret = set_up(tmp_path / "other", address="https://secret-token@127.0.0.1:9/kit.git")
    assert "secret-token" not in secret.stdout


# --- run from top to bottom, shortened ---


def run(name, out):
    environment = {**os.environ, "RMR1_NOTEBOOK_SHORT": "1", "RMR1_NOTEBOOK_OUT": str(out / "made")}
    command = [sys.executable, str(NOTEBOOKS / "build.py"), "--run", name[:2], "--out", str(out / "html")]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finished(name, out):
    process = run(name, out)
    said = process.communicate(timeout=500)[0]
    assert process.returncode == 0, said[-4000:]
    return (out / "html" / f"{name}.html").read_text(encoding="utf-8")


NOISE = re.compile(r"Warning:|warnings\.warn|Traceback|IProgress|Unable to fetch")


@pytest.mark.long
@pytest.mark.parametrize(
    "name", ["00_quickstart", "01_data", "04_evaluate", "05_judge", "06_use", "07_policy"]
)
def test_a_notebook_runs_from_top_to_bottom_by_itself(name, tmp_path):
    page = finished(name, tmp_path)
    assert not NOISE.search(page), NOISE.search(page)
    assert "embedded nano model" in page
    if name[:2] in ("04", "05", "06"):
        assert "the shipped nano adapter" in page, (
            "without a run of one's own the shipped adapters are used, and said"
        )


@pytest.mark.long
@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_a_kernel_that_is_killed_goes_on_when_all_cells_are_run_again(stage, tmp_path):
    name = {"sft": "02_sft", "grpo": "03_grpo"}[stage]
    folder = tmp_path / "made" / "nano" / stage
    process = run(name, tmp_path)
    deadline = time.monotonic() + 300
    while (
        not list(folder.glob("checkpoint-*/complete.json"))
        and time.monotonic() < deadline
        and process.poll() is None
    ):
        time.sleep(0.02)
    children = psutil.Process(process.pid).children(recursive=True)
    kernels = [child for child in children if "ipykernel" in " ".join(child.cmdline())]
    assert kernels and not (folder / "adapter").exists(), (
        "the kernel was to be killed in the middle of the training"
    )
    kernels[0].send_signal(signal.SIGKILL)
    assert process.wait(timeout=120) != 0
    before = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    page = finished(name, tmp_path)
    assert not NOISE.search(page), NOISE.search(page)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = [row["step"] for row in rows if "loss" in row]
    assert (
        steps == list(range(1, len(steps) + 1))
        and (folder / "adapter" / "adapter_model.safetensors").exists()
    )
    assert json.loads(before[0]) == rows[0], "step 1 was not trained again"


@pytest.mark.long
def test_grpo_finds_the_sft_adapter_of_the_notebook_before(tmp_path):
    finished("02_sft", tmp_path)
    page = finished("03_grpo", tmp_path)
    assert "sft/adapter, made here" in page and "Step 0 check" in page
    held = sorted(path.name for path in (tmp_path / "made" / "nano").glob("*.zip"))
    assert held == ["grpo-adapter.zip", "sft-adapter.zip"]

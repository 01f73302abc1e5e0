"""A torchao that is too old, as Colab brings it: peft's own failure, the line that the commands give instead,
and what pip does about it from a folder of wheels, in a separate environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAIRS = ROOT / "tests" / "behaviour" / "pairs.jsonl"
# what peft and transformers import of it; the names are not used where nothing is stored in its formats
ANY_NAME = "def __getattr__(name):\n    return type(name, (), {})\n"
SAFETENSORS = ("__init__", "safetensors_support", "safetensors_utils")
TORCHAO = {
    "torchao/__init__.py": "",
    "torchao/utils.py": "class TorchAOBaseTensor: pass\n",
    "torchao/prototype/__init__.py": "",
    **{f"torchao/prototype/safetensors/{name}.py": ANY_NAME for name in SAFETENSORS},
}


def wheel(folder: Path, name: str, number: str, files: dict[str, str], needs: tuple[str, ...] = ()) -> Path:
    """A wheel made by hand."""
    info = f"{name}-{number}.dist-info"
    asked = "".join(f"Requires-Dist: {need}\n" for need in needs)
    held = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n{asked}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    held[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*held, f"{info}/RECORD"])
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / f"{name}-{number}-py3-none-any.whl"
    with zipfile.ZipFile(made, "w") as archive:
        for path, text in held.items():
            archive.writestr(path, text)
    return made


def unpacked(folder: Path, *wheels: Path) -> Path:
    """A folder for PYTHONPATH with what pip would have installed."""
    for made in wheels:
        zipfile.ZipFile(made).extractall(folder)
    return folder


def run(*command: str, python: str = sys.executable, path: Path | None = None) -> subprocess.CompletedProcess:
    """Python in a separate process; path: packages that precede the installed ones."""
    dropped = ("COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE", "PYTHONPATH")
    clean = {name: value for name, value in os.environ.items() if name not in dropped}
    if path:
        clean["PYTHONPATH"] = str(path)
    return subprocess.run([python, *command], cwd=ROOT, env=clean, capture_output=True, text=True)


BY_HAND = """
from peft import PeftModel
from transformers import AutoModelForCausalLM
from rmr1_lite.models.judge_specs import NANO, find_folder
from rmr1_lite.models.adapters import read_adapter
base = find_folder(read_adapter(NANO["nano"]).base)
PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), NANO["nano"])
"""


def judge(out: Path, *more: str, path: Path) -> subprocess.CompletedProcess:
    pairs = out.with_name("two.jsonl")
    lines = PAIRS.read_text(encoding="utf-8").splitlines()[:2]
    pairs.write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = ("-m", "rmr1_lite", "judge", "--pairs", str(pairs), "--out", str(out), *more)
    return run(*command, path=path)


@pytest.mark.long
def test_an_old_torchao_stops_peft_and_the_command_says_what_to_do(tmp_path):
    """In 16 bits; in 4 bits peft never asks for torchao."""
    old = unpacked(tmp_path / "site", wheel(tmp_path, "torchao", "0.10.0", TORCHAO))
    failed = run("-c", BY_HAND, path=old)
    assert "ImportError: Found an incompatible version of torchao. Found version 0.10.0" in failed.stderr
    said = judge(tmp_path / "out.jsonl", "--no-four-bit", path=old)
    assert said.returncode == 1, said.stderr
    assert "Error: torchao 0.10.0 is installed, and peft" in said.stderr and "Traceback" not in said.stderr
    assert "`pip install -U torchao`, or `pip uninstall torchao`" in said.stderr


@pytest.mark.long
@pytest.mark.parametrize(
    ("number", "more", "reason"),
    [("0.10.0", (), "4 bits, the default"), ("0.17.0", ("--no-four-bit",), "replaced, as the message says")],
)
def test_with_the_remedy_or_in_4_bits_the_same_command_judges(number, more, reason, tmp_path):
    path = unpacked(tmp_path / "site", wheel(tmp_path, "torchao", number, TORCHAO))
    done = judge(tmp_path / "out.jsonl", *more, path=path)
    assert done.returncode == 0, (reason, done.stderr)
    assert len((tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()) >= 2


# --- pip itself, from a folder of wheels, in an environment on top of this one ---


@pytest.fixture
def runtime(tmp_path):
    """(python, its packages) of an environment that sees this one's packages and may be broken."""
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    asked = run("-c", "import sysconfig; print(sysconfig.get_path('purelib'))", python=str(python))
    site = Path(asked.stdout.strip())
    ours = sysconfig.get_path("purelib")
    (site / "kit.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    return str(python), site


def pip(python: str, *arguments: str) -> None:
    done = run("-m", "pip", *arguments, python=python)
    assert done.returncode == 0, done.stderr


SET_UP = """
import functools, json, sys
from pathlib import Path
from rmr1_lite.models.backend import Machine
from rmr1_lite.notebook import installing, setup
root, inputs, where = sys.argv[1:]
installing.wheel_options = functools.partial(installing.wheel_options, Path(inputs))
setup.this_machine = Machine  # no GPU
try:
    setup.install_missing(Path(root), where)
except setup.InputError as error:
    print("Error:", error)
names = ("torchao", "standin", "numpy", "pillow", "torch")
print(json.dumps({name: installing.installed_version(name) for name in names}))
"""


def set_up(python: str, root: Path, where: str, wanted: str = "rich>=13") -> tuple[str, dict]:
    """(output of the set-up, versions afterwards), with wheels from root/input."""
    (root / "requirements-colab.txt").write_text(wanted + "\n")
    done = run("-c", SET_UP, str(root), str(root / "input"), where, python=python)
    assert done.returncode == 0, done.stderr
    said, _, versions = done.stdout.strip().rpartition("\n")
    return said, json.loads(versions)


OUTCOMES = [
    ("Kaggle", "0.17.0", TORCHAO, "0.17.0", "Replaced by 0.17.0.", "a wheel in the dataset"),
    (
        "Colab",
        "0.17.0",
        {"torchao/__init__.py": "import nothing"},
        None,
        "Removed; nothing here needs it. (0.17.0 does",
        "a new one that does not run here",
    ),
    (
        "Kaggle",
        "0.15.0",
        TORCHAO,
        None,
        "Removed; nothing here needs it. (torchao>=0.16",
        "only one that is too old as well",
    ),
    (
        "this machine",
        "0.17.0",
        TORCHAO,
        "0.10.0",
        "Not changed here; do it yourself",
        "never touched on one's own machine",
    ),
]


@pytest.mark.long
@pytest.mark.parametrize(
    ("where", "offered", "files", "left", "said", "reason"), OUTCOMES, ids=[row[-1] for row in OUTCOMES]
)
def test_pip_replaces_or_removes_it(where, offered, files, left, said, reason, runtime, tmp_path):
    python, site = runtime
    pip(
        python, "install", "--quiet", "--no-index", str(wheel(tmp_path / "old", "torchao", "0.10.0", TORCHAO))
    )
    wheel(tmp_path / "input" / "kit" / "wheels", "torchao", offered, files)
    line, versions = set_up(python, tmp_path, where)
    assert line.startswith("torchao 0.10.0: peft stops") and said in line, line
    assert versions["torchao"] == left and (site / "torchao").exists() == (left is not None)
    if left == offered:
        loaded = run("-c", BY_HAND, python=python)
        assert loaded.returncode == 0, loaded.stderr
    if where != "this machine":
        assert set_up(python, tmp_path, where)[0] == "", "the second time there is nothing to do"


@pytest.mark.long
def test_what_is_running_is_held_and_pillow_gives_way_where_it_must(runtime, tmp_path):
    """Real constraints, real conflicts: a package that needs another numpy fails, one that needs another
    pillow installs."""
    python, _ = runtime
    wheels = tmp_path / "input" / "kit" / "wheels"
    before = set_up(python, tmp_path, "Kaggle")[1]
    wheel(wheels, "numpy", "99.0", {"numpy99.py": ""})
    wheel(wheels, "pillow", "99.0", {"pillow99.py": ""})
    wheel(wheels, "standin", "1.0", {"standin.py": ""}, ("numpy>=99",))
    said, versions = set_up(python, tmp_path, "Kaggle", "standin==1.0")
    assert "Error: pip could not install the packages" in said and "add a dataset with a folder" in said
    assert versions == before
    wheel(wheels, "standin", "2.0", {"standin.py": ""}, ("pillow>=99",))
    said, versions = set_up(python, tmp_path, "Kaggle", "standin==2.0")
    assert "Installed: standin==2.0" in said
    assert versions == {**before, "standin": "2.0", "pillow": "99.0"}

"""The set-up: what is installed, held and requested; pip's calls are recorded instead of made."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace

import pytest

from rmr1_lite.models.backend import Machine
from rmr1_lite.models.judge_specs import NANO
from rmr1_lite.notebook import platforms, setup
from rmr1_lite.notebook.installing import (
    missing_requirements,
    replaced_in_use,
    requirement_lines,
    wheel_options,
)
from rmr1_lite.types import InputError

MISSING = [
    (["trl==1.14.2"], {"trl": "1.14.2"}, [], "there"),
    (["trl==1.14.2"], {"trl": "1.15.0"}, ["trl==1.14.2"], "another version"),
    (["trl==1.14.2"], {}, ["trl==1.14.2"], "not there"),
    (["scipy>=1.11"], {"scipy": "1.16.0"}, [], "newer than needed is left alone"),
    (["scipy>=1.11"], {"scipy": "1.10"}, ["scipy>=1.11"], "too old"),
    (["rich>=13"], {"rich": "14.0.0rc1"}, [], "a pre-release that is running is not replaced"),
]


@pytest.mark.parametrize(("wanted", "have", "said", "reason"), MISSING, ids=[row[-1] for row in MISSING])
def test_only_what_is_missing_is_installed(wanted, have, said, reason):
    assert missing_requirements(wanted, have.get) == said


def test_the_colab_list_never_names_what_is_running_there():
    root = NANO["nano"].parents[2]
    names = {line.split("=")[0].split(">")[0] for line in requirement_lines(root / setup.REQUIREMENTS)}
    assert "trl" in names and not names & {*setup.HELD, *setup.RATHER_HELD}


@pytest.fixture
def pip(monkeypatch):
    """Calls of pip, recorded instead of made: this environment must stay as it is."""
    calls = []

    def recorded(command, **_):
        calls.append(command[4:])
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(subprocess, "run", recorded)
    monkeypatch.setattr(setup, "find_clashes", list)  # what is installed beside the kit on this machine
    return calls


def test_on_colab_torch_and_numpy_are_held(pip, monkeypatch, tmp_path):
    (tmp_path / setup.REQUIREMENTS).write_text("trl==0.0.1\nrich>=13\n")
    (tmp_path / setup.GPU_REQUIREMENTS).write_text(
        "-r requirements.txt\nunsloth==2026.10.7\nunsloth_zoo==2026.10.7\n"
    )
    monkeypatch.setattr(setup, "this_machine", lambda: Machine("Tesla T4", (7, 5)))
    setup.install_missing(tmp_path, platforms.COLAB)
    first, second = pip
    assert "trl==0.0.1" in first and "rich>=13" not in first and "--constraint" in first
    with open(first[first.index("--constraint") + 1], encoding="utf-8") as held:
        names = {line.split("==")[0] for line in held}
    assert {"torch", "numpy"} <= names
    assert second[-3:] == ["--no-deps", "unsloth==2026.10.7", "unsloth_zoo==2026.10.7"]


def test_pillow_gives_way_where_a_package_cannot_be_had_beside_it(monkeypatch, tmp_path, capsys):
    (tmp_path / setup.REQUIREMENTS).write_text("gradio==0.0.1\n")
    monkeypatch.setattr(setup, "this_machine", lambda: Machine())
    held = []

    def conflict_once(command, **_):
        with open(command[command.index("--constraint") + 1], encoding="utf-8") as file:
            held.append({line.split("==")[0] for line in file})
        conflict = (
            "ERROR: Cannot install gradio==0.0.1 because these package versions have conflicting "
            "dependencies."
        )
        return SimpleNamespace(returncode=int(len(held) == 1), stderr=conflict)

    monkeypatch.setattr(subprocess, "run", conflict_once)
    monkeypatch.setattr(setup, "find_clashes", list)
    setup.install_missing(tmp_path, platforms.COLAB)
    assert "pillow" in held[0] and "pillow" not in held[1] and "torch" in held[1]
    assert "Installed: gradio==0.0.1" in capsys.readouterr().out


def test_without_a_gpu_unsloth_is_not_installed(pip, monkeypatch, tmp_path):
    (tmp_path / setup.REQUIREMENTS).write_text("rich>=13\n")
    monkeypatch.setattr(setup, "this_machine", lambda: Machine())
    setup.install_missing(tmp_path, platforms.KAGGLE)
    assert pip == []


def test_on_ones_own_machine_nothing_is_installed(pip, tmp_path):
    (tmp_path / setup.REQUIREMENTS).write_text("trl==0.0.1\n")
    with pytest.raises(InputError, match="Missing packages: trl==0.0.1. Install them: `make .venv`"):
        setup.install_missing(tmp_path, platforms.LOCAL)
    assert pip == []


def test_no_internet_is_told_with_the_platforms_own_remedy(monkeypatch, tmp_path):
    (tmp_path / setup.REQUIREMENTS).write_text("trl==0.0.1\n")
    failed = SimpleNamespace(returncode=1, stderr="...\nERROR: No matching distribution found for trl")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(
        InputError, match="No matching distribution.*Turn Internet on in the notebook's settings, or add"
    ):
        setup.install_missing(tmp_path, platforms.KAGGLE)


def test_wheels_of_a_dataset_are_used(tmp_path):
    (tmp_path / "set" / "wheels").mkdir(parents=True)
    assert wheel_options(tmp_path) == []
    (tmp_path / "set" / "wheels" / "trl-1.whl").touch()
    assert wheel_options(tmp_path) == ["--find-links", str(tmp_path / "set" / "wheels"), "--no-index"]


def pretend_installed(folder, **versions):
    """Packages of one module each, installed as far as Python can tell."""
    for name, number in versions.items():
        info = folder / f"{name}-{number}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n")
        (info / "RECORD").write_text(f"{name}/__init__.py,,\n{info.name}/METADATA,,\n")


IN_USE = [
    (
        {"arrowlike": "18.1.0"},
        ["arrowlike", "arrowlike.lib"],
        ["arrowlike 18.1.0 (now 26.0.1)"],
        "its core is loaded",
    ),
    ({"arrowlike": "18.1.0"}, ["arrowlike_more"], [], "replaced, and nobody has it"),
    ({"arrowlike": "26.0.1"}, ["arrowlike"], [], "loaded, and not replaced"),
    ({}, ["arrowlike"], [], "new: nothing of an old one can be loaded"),
    ({"gone": "1.0"}, ["gone"], [], "removed on purpose, like a torchao"),
]


@pytest.mark.parametrize(("before", "loaded", "said", "reason"), IN_USE, ids=[row[-1] for row in IN_USE])
def test_what_was_replaced_while_the_kernel_used_it_is_found(
    before, loaded, said, reason, monkeypatch, tmp_path
):
    pretend_installed(tmp_path, arrowlike="26.0.1")
    monkeypatch.syspath_prepend(tmp_path)
    assert replaced_in_use(before, loaded) == said


@pytest.mark.parametrize(("kind", "stops"), [("Interactive", True), ("Batch", False)])
def test_a_kernel_with_half_of_an_old_package_stops_where_it_can_be_restarted(
    kind, stops, pip, monkeypatch, tmp_path, capsys
):
    (tmp_path / setup.REQUIREMENTS).write_text("trl==0.0.1\n")
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", kind)
    monkeypatch.setattr(setup, "this_machine", lambda: Machine())
    monkeypatch.setattr(setup, "replaced_in_use", lambda before, loaded: ["pyarrow 18.1.0 (now 26.0.1)"])
    if stops:
        with pytest.raises(InputError, match=r"Restart the session now .* replaced: pyarrow 18.1.0"):
            setup.install_missing(tmp_path, platforms.KAGGLE)
    else:
        setup.install_missing(tmp_path, platforms.KAGGLE)
        assert "cannot restart its session" in capsys.readouterr().out

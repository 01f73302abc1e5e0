"""Preinstalled packages of a runtime: which are found, and what is done about them on each platform. In
tables; what pip itself does is in test_clashes_for_real."""

from __future__ import annotations

import inspect
import subprocess
from importlib.metadata import version
from types import SimpleNamespace

import pytest

from rmr1_lite.models.lora import peft_errors
from rmr1_lite.notebook import clashes, installing, platforms
from rmr1_lite.notebook.clashes import Clash, find_clashes, mend_clashes, unmet_needs
from rmr1_lite.types import InputError

BETTER = clashes.TORCHAO
REMEDY = f"`pip install -U '{BETTER}'` or `pip uninstall torchao`"
# what their wheels say of torch; Colab's torch is 2.11.0+cu128
VISION, XFORMERS, VLLM = ["numpy", "torch (==2.11.0)"], ["torch>=2.10"], ["torch==2.11.0", "tqdm"]
FOUND = [
    ({"torch": "2.11.0+cu128", "torchao": "0.10.0"}, {}, {"torchao": BETTER}, "Colab, August 2026"),
    ({"torch": "2.11.0+cu128", "torchao": "0.16.0"}, {}, {}, "the least that peft takes"),
    (
        {"torch": "2.11.0+cu128", "torchao": "0.16.0.dev20260101"},
        {},
        {"torchao": BETTER},
        "a nightly before it",
    ),
    (
        {"torch": "2.11.0+cu128", "torchao": "0.15.0+cu128"},
        {},
        {"torchao": BETTER},
        "a build of torch's own index",
    ),
    ({"torch": "2.11.0+cu128", "torchao": "0.18.0"}, {}, {}, "the newest, and torch is new enough for it"),
    ({"torch": "2.10.0+cu128", "torchao": "0.18.0"}, {}, {"torchao": BETTER}, "torch is too old for it"),
    ({"torch": "2.10.0+cu128", "torchao": "0.17.0"}, {}, {}, "the one that takes an older torch"),
    ({"torch": "2.11.0+cu128"}, {}, {}, "nothing installed beside torch"),
    (
        {"torch": "2.11.0", "gptqmodel": "5.0.0"},
        {},
        {"gptqmodel": ""},
        "peft stops there too; nothing better is known",
    ),
    ({"torch": "2.11.0", "gptqmodel": "7.1.0"}, {}, {}, "new enough"),
    (
        {"torch": "2.11.0+cu128", "torchvision": "0.26.0+cu128"},
        {"torchvision": VISION},
        {},
        "made for this torch",
    ),
    (
        {"torch": "2.10.0+cu128", "torchvision": "0.26.0"},
        {"torchvision": VISION},
        {"torchvision": ""},
        "made for a newer one",
    ),
    ({"torch": "2.11.0", "xformers": "0.0.35"}, {"xformers": XFORMERS}, {}, "takes any since 2.10"),
    (
        {"torch": "2.9.1", "xformers": "0.0.35"},
        {"xformers": XFORMERS},
        {"xformers": ""},
        "torch is too old for it",
    ),
    (
        {"torch": "2.12.0", "vllm": "0.20.0"},
        {"vllm": VLLM},
        {"vllm": ""},
        "rollouts by vLLM would fail at its import",
    ),
    ({"torch": "2.11.0", "torchvision": "0.20.0"}, {"torchvision": []}, {}, "says nothing of torch"),
]


@pytest.mark.parametrize(("have", "needs", "clash", "reason"), FOUND, ids=[row[-1] for row in FOUND])
def test_what_would_break_the_rest_is_found(have, needs, clash, reason):
    found = find_clashes(have.get, lambda name: needs.get(name, []))
    assert {one.package: one.better for one in found} == clash


@pytest.mark.parametrize("package", list(clashes.LEAST))
def test_the_least_versions_are_those_of_the_pinned_peft(package):
    from peft import import_utils

    source = inspect.getsource(getattr(import_utils, f"is_{package}_available"))
    least = clashes.LEAST[package][0]
    assert f'{package.upper()}_MINIMUM_VERSION = packaging.version.parse("{least}")' in source


@pytest.mark.parametrize("torch", ["2.10.0", "2.11.0+cu128"])
def test_what_replaces_torchao_is_not_a_clash_itself(torch):
    from packaging.specifiers import SpecifierSet

    taken = SpecifierSet(BETTER.removeprefix("torchao"))
    for number in ("0.16.0", "0.17.0"):
        assert number in taken and not find_clashes({"torch": torch, "torchao": number}.get, lambda name: [])


AO = Clash("torchao", "0.10.0", "peft stops", BETTER, "import torchao")
VISION_CLASH = Clash("torchvision", "0.26.0", "it was built for torch ==2.11.0")
TRY, SEE, DROP = ["install", BETTER], ["-c", "import torchao"], ["uninstall", "torchao"]
MENDED = [
    (platforms.COLAB, AO, [], [TRY, SEE], "Replaced by 0.17.0.", "Colab, with internet"),
    (
        platforms.KAGGLE,
        AO,
        ["install"],
        [TRY, DROP],
        f"Removed; nothing here needs it. ({BETTER} could not be installed.)",
        "Kaggle without internet and without a wheel of it",
    ),
    (
        platforms.KAGGLE,
        AO,
        ["-c"],
        [TRY, SEE, DROP],
        "Removed; nothing here needs it. (0.17.0 does not work either.)",
        "the new one needs another torch",
    ),
    (
        platforms.COLAB,
        AO,
        ["install", "uninstall"],
        [TRY, DROP],
        f"It could not be removed: {REMEDY}, then restart",
        "a folder that pip may not write",
    ),
    (
        platforms.COLAB,
        VISION_CLASH,
        [],
        [["uninstall", "torchvision"]],
        "Removed; nothing here needs it.",
        "another build of it would bring another CUDA",
    ),
    (
        platforms.LOCAL,
        AO,
        [],
        [],
        f"Not changed here; do it yourself: {REMEDY}.",
        "one's own machine is never touched",
    ),
    (
        platforms.LOCAL,
        VISION_CLASH,
        [],
        [],
        "Not changed here; do it yourself: `pip uninstall torchvision`.",
        "nor where there is nothing to install",
    ),
]


@pytest.mark.parametrize(
    ("where", "clash", "failing", "run", "said", "reason"), MENDED, ids=[row[-1] for row in MENDED]
)
def test_what_becomes_of_it(where, clash, failing, run, said, reason, monkeypatch, capsys):
    calls = []

    def recorded(command, **_):
        calls.append(command[3:] if command[1] == "-m" else command[1:])
        return SimpleNamespace(returncode=int(calls[-1][0] in failing), stderr="ERROR: no")

    monkeypatch.setattr(subprocess, "run", recorded)
    monkeypatch.setattr(clashes, "installed_version", lambda name: "0.17.0")
    mend_clashes([clash], where)
    assert [[call[0], call[-1]] for call in calls] == run
    line = capsys.readouterr().out
    assert line.startswith(f"{clash.package} {clash.version}: {clash.reason}. ") and line.count("\n") == 1
    assert said in line


def test_a_wheel_of_the_dataset_takes_the_place_without_internet(monkeypatch, tmp_path, capsys):
    (tmp_path / "kit" / "wheels").mkdir(parents=True)
    (tmp_path / "kit" / "wheels" / "torchao-0.17.0-py3-none-any.whl").touch()
    asked = []
    find = installing.wheel_options
    monkeypatch.setattr(installing, "wheel_options", lambda: find(tmp_path))
    done = SimpleNamespace(returncode=0)
    monkeypatch.setattr(subprocess, "run", lambda command, **_: asked.append(command) or done)
    mend_clashes([AO], platforms.KAGGLE)
    wheels = ["--find-links", str(tmp_path / "kit" / "wheels"), "--no-index"]
    assert asked[0][3:] == ["install", "--quiet", *wheels, "--no-deps", "--upgrade", BETTER]


# as unsloth 2026.10.7 and unsloth_zoo 2026.10.7 list them, cut to what differs
LISTED = {
    "unsloth": [
        "unsloth_zoo>=2026.10.7",
        "torch<2.15.0,>=2.4.0",
        "torchvision",
        "tyro",
        "protobuf",
        "sentencepiece>=0.2.0",
        'xformers>=0.0.27.post2; ("linux" in sys_platform or sys_platform == "win32")',
        "datasets!=4.0.*,<5.0.0,>=3.4.1",
        "hf_transfer",
        "diffusers",
        "nest-asyncio",
        "structlog>=24.1.0",
        'bitsandbytes>=0.45.5; extra == "huggingface"',
    ],
    "unsloth_zoo": [
        'torchao>=0.13.0; sys_platform != "darwin" or platform_machine != "arm64"',
        "tyro",
        "cut_cross_entropy",
        "einops",
        'mlx==0.32.4; sys_platform == "darwin" and platform_machine == "arm64"',
        "hf_transfer",
        "msgspec",
    ],
}
COLAB = {
    "unsloth": "2026.10.7",
    "unsloth_zoo": "2026.10.7",
    "torch": "2.11.0+cu128",
    "torchvision": "0.26.0+cu128",
    "protobuf": "5.29.6",
    "sentencepiece": "0.2.1",
    "datasets": "4.8.5",
    "diffusers": "0.37.1",
    "torchao": "0.17.0",
    "nest-asyncio": "1.6.0",
    "einops": "0.8.2",
}
LIGHT = ["tyro", "hf_transfer", "structlog>=24.1.0", "cut_cross_entropy", "msgspec"]
NAMES = [line.partition(">")[0] for line in LIGHT]
NEEDS = [
    ({}, LIGHT, ["xformers"], "Colab as it is"),
    ({"diffusers": None}, LIGHT, ["xformers", "diffusers"], "image models are not loaded for it"),
    ({"torchvision": None}, LIGHT, ["xformers"], "what belongs to torch is never installed"),
    ({"sentencepiece": "0.1.99"}, ["tyro", "sentencepiece>=0.2.0", *LIGHT[1:]], ["xformers"], "too old"),
    (
        {"torchao": None},
        LIGHT,
        ["xformers", "torchao"],
        "removed, as it did not work here: it is not put back",
    ),
    (dict.fromkeys([*NAMES, "xformers"], "99"), [], [], "all there"),
]


@pytest.mark.parametrize(("changed", "add", "left", "reason"), NEEDS, ids=[row[-1] for row in NEEDS])
def test_what_unsloth_lacks_is_added_and_the_heavy_is_left_out(changed, add, left, reason):
    have = {**COLAB, **changed}
    found, out = unmet_needs(have.get, lambda name: LISTED[name])
    assert found == add
    assert [line.partition(" (")[0] for line in out] == left


def test_without_internet_unsloth_is_used_without_them_and_that_is_said(monkeypatch, capsys):
    monkeypatch.setattr(clashes, "unmet_needs", lambda: (["tyro"], ["xformers (a reason)"]))
    failed = SimpleNamespace(returncode=1, stderr="ERROR: No matching distribution found for tyro")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    clashes.add_unsloth_needs(platforms.KAGGLE, hold=("numpy",))
    said = capsys.readouterr().out
    assert "Unsloth is used without tyro. pip could not install" in said and "left out: xformers" in said


PEFT = [
    (
        "Found an incompatible version of torchao. Found version 0.10.0, but only versions above 0.16.0 are "
        "supported",
        f"torchao 0.10.0 is installed, and peft {version('peft')} needs 0.16.0 or newer. Run "
        "`pip install -U torchao`, or `pip uninstall torchao`",
        "torchao, as peft says it",
    ),
    (
        "Found an incompatible version of gptqmodel. Found version `5.0.0`, but only versions `7.0.0` "
        "or higher are supported",
        "gptqmodel 5.0.0 is installed, and peft",
        "gptqmodel, said otherwise",
    ),
    (
        "gptqmodel requires optimum version `1.24.0` or higher to be installed.",
        "requires optimum version `1.24.0` or higher to be installed. Update the package",
        "one that lacks another",
    ),
    (
        "cannot import name 'ScalingType' from 'torch.nn.functional' (functional.py)",
        "stopped at an installed package: cannot import name 'ScalingType'",
        "torchao 0.18 beside torch 2.10",
    ),
]


@pytest.mark.parametrize(("raised", "said", "reason"), PEFT, ids=[row[-1] for row in PEFT])
def test_where_peft_stops_the_package_and_the_remedy_are_named(raised, said, reason):
    with pytest.raises(InputError) as error, peft_errors():
        raise ImportError(raised)
    assert said in str(error.value) and "uninstall" in str(error.value)

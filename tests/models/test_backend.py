"""The choice of the backend by machine, and what makes both of them train the same thing. No GPU is needed to
test the choice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from rmr1_lite.data.nano.dataset import NanoData, write_nano_data
from rmr1_lite.models import backend
from rmr1_lite.models.backend import (
    TESTED,
    Backend,
    Machine,
    choose_backend,
    compiled_cache,
    installed_versions,
    start_backend,
    untested_versions,
)
from rmr1_lite.models.precision import NOT_IN_FP16, check_fp16
from rmr1_lite.training.run_folder import Run
from rmr1_lite.types import InputError

T4, L4, P100 = ("Tesla T4", (7, 5)), ("L4", (8, 9)), ("Tesla P100", (6, 0))
CHOICES = [
    ("auto", Machine(), "transformers", "fp32", "no card"),
    (
        "auto",
        Machine(has_unsloth=True),
        "transformers",
        "fp32",
        "unsloth without a card does not even import",
    ),
    ("auto", Machine(*T4, True), "unsloth", "fp16", "a T4 has no bf16"),
    ("auto", Machine(*L4, True), "unsloth", "bf16", "Ampere or later"),
    ("auto", Machine(*L4, False), "transformers", "bf16", "unsloth is not installed"),
    ("auto", Machine(*P100, True), "transformers", "fp16", "too old for Unsloth"),
    ("transformers", Machine(*L4, True), "transformers", "bf16", "asked for"),
    ("unsloth", Machine(*L4, True), "unsloth", "bf16", "asked for, and there"),
]


@pytest.mark.parametrize(
    ("asked", "machine", "name", "half", "reason"), CHOICES, ids=[row[-1] for row in CHOICES]
)
def test_the_backend_follows_from_the_machine(asked, machine, name, half, reason):
    made = choose_backend(asked, machine)
    assert (made.name, made.half) == (name, half) and made.line().count("\n") == 0


REFUSED = [
    ("unsloth", Machine(has_unsloth=True), "needs a CUDA card", "no card"),
    ("unsloth", Machine(*P100, True), "too old", "too old a card"),
    ("unsloth", Machine(*L4, False), "rmr1_lite.gpu.", "not installed"),
    ("vllm", Machine(), "Choose auto, unsloth or transformers", "unknown"),
]


@pytest.mark.parametrize(("asked", "machine", "said", "reason"), REFUSED, ids=[row[-1] for row in REFUSED])
def test_what_cannot_work_is_said_before_anything_is_loaded(asked, machine, said, reason):
    with pytest.raises(InputError, match=said):
        choose_backend(asked, machine)


def test_models_that_overflow_are_refused_in_fp16_alone():
    fp16, bf16 = Backend("unsloth", "fp16", "Tesla T4", ""), Backend("unsloth", "bf16", "L4", "")
    with pytest.raises(InputError, match="overflow in fp16"):
        check_fp16(NOT_IN_FP16[0], fp16.half, fp16.device)
    check_fp16(NOT_IN_FP16[0], bf16.half, bf16.device)
    check_fp16("qwen2", fp16.half, fp16.device)


def test_versions_are_those_of_the_requirements():
    """The versions declared as tested are those installed, and those that the requirements
    name."""
    from pathlib import Path

    root = Path(__file__).parents[2]
    pins = dict(
        line.split("==")
        for name in ("requirements.txt", "requirements-gpu.txt")
        for line in (root / name).read_text().splitlines()
        if "==" in line
    )
    assert {name: pins[name] for name in TESTED} == TESTED
    assert untested_versions(installed_versions(TESTED)) == [] and untested_versions({"trl": "1.15.0"}) == [
        "trl 1.15.0 has not been tested here; 1.14.2 has"
    ]


KL = [
    (1, 0, 0.04, 0.2, 0.0, "the reference is another policy: go on without"),
    (1, 0, 0.04, 0.0, 0.04, "it is the starting policy"),
    (1, 0, 0.04, 5e-3, 0.04, "rounding in bf16"),
    (2, 0, 0.04, 0.2, 0.04, "later it may well differ"),
    (1, 50, 0.04, 0.2, 0.04, "a resumed run does not start"),
    (1, 0, 0.0, 0.2, 0.0, "no KL term anyway"),
]


@pytest.mark.parametrize(
    ("step", "resumed", "beta", "kl", "after", "reason"), KL, ids=[row[-1] for row in KL]
)
def test_a_kl_that_does_not_start_at_zero_is_switched_off(
    tmp_path, capsys, step, resumed, beta, kl, after, reason
):
    from rmr1_lite.training.stop_rules import check_kl_at_start

    trainer = SimpleNamespace(beta=beta)
    run = Run(tmp_path, tmp_path / f"checkpoint-{resumed}" if resumed else None, False)
    check_kl_at_start(trainer, run)({"step": step, "kl": kl})
    assert trainer.beta == after
    said = capsys.readouterr().out
    assert ("beta is 0 from here on" in said) == (after != beta), "a change is said"
    assert ("0 up to rounding" in said) == (step == 1 and not resumed and beta == after > 0), (
        "and so is that all is well"
    )
    again = SimpleNamespace(beta=beta)
    check_kl_at_start(again, Run(tmp_path, tmp_path / "checkpoint-50", False))
    assert again.beta == after, "and stays so after a resume"


def test_the_reference_is_the_adapter_as_it_stands_and_stays_so():
    """For Unsloth, which would use the base: "ref" gives the policy's values at its creation, whatever is
    trained afterwards."""
    import torch

    from rmr1_lite.models.loading import load
    from rmr1_lite.models.unsloth_backend import with_reference

    model = load("nano", trainable=True).model.eval()
    ids = torch.arange(40).reshape(2, 20)
    with torch.no_grad():
        before = model(ids).logits
        with_reference(model)
        assert torch.equal(model(ids).logits, before), "the policy is untouched"
        for name, parameter in model.named_parameters():
            if ".default." in name and "lora_B" in name:
                parameter.add_(0.1)
        changed = model(ids).logits
        model.set_adapter("ref")
        assert torch.equal(model(ids).logits, before) and not torch.equal(changed, before)
    model.set_adapter("default")
    assert not any(p.requires_grad for n, p in model.named_parameters() if ".ref." in n)


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (
            ["judge", "--model", "nobody/no-such-model", "--style", "rubrics", "--out", "o.jsonl"],
            "weights of a judge",
        ),
        (
            ["sft", "--model", "nobody/no-such-model", "--style", "rubrics", "--out", "sft"],
            "config of a base to be trained",
        ),
    ],
)
def test_a_model_that_cannot_be_reached_is_one_line(command, why, tmp_path):
    write_nano_data(tmp_path, NanoData(train=20, validation=2, test=2))
    data = (
        ["--pairs", str(tmp_path / "test.jsonl")]
        if command[0] == "judge"
        else ["--chains", str(tmp_path / "chains.jsonl")]
    )
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "rmr1_lite", *command, *data],
        cwd=tmp_path,
        env=offline,
        text=True,
        capture_output=True,
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert "no file of nobody/no-such-model is in the cache" in done.stderr
    assert "once with a network and without HF_HUB_OFFLINE" in done.stderr


CACHES = [
    ("", None, "kept", "a new folder"),
    ("", {"torch": "1.0"}, "removed", "made by another version: it would be imported by name"),
    ("", {}, "removed", "left by a kit that wrote no versions"),
    ("", "now", "kept", "a resume with the same versions"),
    ("own", {"torch": "1.0"}, "refused", "a user's folder is not ours to delete"),
    ("own", {}, "kept", "a user's folder that Unsloth alone has filled: it checks its files itself"),
    ("own", "now", "kept", "a user's folder with our mark"),
]


@pytest.mark.parametrize(("own", "mark", "outcome", "reason"), CACHES, ids=[row[-1] for row in CACHES])
def test_generated_code_of_other_versions_is_never_imported(
    tmp_path, monkeypatch, capsys, own, mark, outcome, reason
):
    monkeypatch.delenv("UNSLOTH_COMPILE_LOCATION", raising=False)
    place = tmp_path / (own or "unsloth_compiled_cache")
    if own:
        monkeypatch.setenv("UNSLOTH_COMPILE_LOCATION", str(place))
    if mark is not None:
        place.mkdir()
        (place / "UnslothGRPOTrainer.py").write_text("")
        if mark:
            (place / "versions.json").write_text(
                json.dumps(installed_versions(TESTED) if mark == "now" else mark)
            )
    if outcome == "refused":
        with pytest.raises(
            InputError, match="generated by other package versions. Delete that folder, or unset"
        ):
            compiled_cache(tmp_path)
        return
    assert compiled_cache(tmp_path) == place.resolve()
    assert (place / "UnslothGRPOTrainer.py").exists() == (mark is not None and outcome == "kept")
    assert ("is removed" in capsys.readouterr().out) == (outcome == "removed")


def test_a_training_takes_one_card(monkeypatch, tmp_path):
    """Kaggle has two T4s, and transformers' Trainer would split every batch over both."""
    import torch

    code = (
        "import os; from rmr1_lite.models.backend import this_machine; this_machine(); "
        "print(os.environ['CUDA_VISIBLE_DEVICES'])"
    )
    free = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    for given, wanted in [({}, "0"), ({"CUDA_VISIBLE_DEVICES": "1"}, "1")]:
        done = subprocess.run(
            [sys.executable, "-c", code], env={**free, **given}, capture_output=True, text=True
        )
        assert done.stdout.strip() == wanted, done.stderr
    monkeypatch.setattr(backend, "this_machine", lambda: Machine(*T4, False))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match="2 CUDA cards are visible.*Set CUDA_VISIBLE_DEVICES=0"):
        start_backend("transformers", tmp_path)


def test_the_allocator_is_set_before_cuda_starts_and_never_over_a_users_choice(monkeypatch):
    """Asking for the card's name starts CUDA; Unsloth's own setting would come too late."""
    code = (
        "import os, sys; from rmr1_lite.models.backend import this_machine; this_machine(); "
        "print(os.environ.get('PYTORCH_ALLOC_CONF'))"
    )
    free = {name: value for name, value in os.environ.items() if "ALLOC_CONF" not in name}
    own, old = {"PYTORCH_ALLOC_CONF": "a:1"}, {"PYTORCH_CUDA_ALLOC_CONF": "a:1"}
    rows = [({}, "expandable_segments:True"), (own, "a:1"), (old, "None")]
    for given, wanted in rows:
        done = subprocess.run(
            [sys.executable, "-c", code], env={**free, **given}, capture_output=True, text=True
        )
        assert done.stdout.strip() == wanted, done.stderr

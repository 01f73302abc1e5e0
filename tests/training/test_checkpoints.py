"""Checkpoints in long runs: time passes, disks fill, files are swapped."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple

import pytest
from test_training import sft_config

from rmr1_lite.training.run_folder import marked_policy
from rmr1_lite.types import InputError, TrainingStopped

Usage = namedtuple("Usage", "total used free")


def cut_short(monkeypatch, step: int) -> None:
    """End a training at `step` like a lost connection: between two steps, after everything saved until
    then."""
    import rmr1_lite.training.loop as loop

    def stop(row):
        if row["step"] == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "stop_if_not_finite", stop)


def test_a_resumed_run_starts_from_the_policy_of_its_checkpoint(toy_base, toy_data, tmp_path, monkeypatch):
    """Every checkpoint stores its policy's log-probabilities of a fixed text; an adapter that was swapped
    since is noticed."""
    from safetensors.torch import load_file, save_file

    from rmr1_lite.training.sft import train_sft

    config = sft_config(toy_base, toy_data, tmp_path / "run", save_every=2)
    with monkeypatch.context() as patch:
        cut_short(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            train_sft(config)
    checkpoint = tmp_path / "run" / "checkpoint-2"
    assert max(marked_policy(checkpoint)) < 0
    shutil.copytree(tmp_path / "run", tmp_path / "other")
    weights = checkpoint.parents[1] / "other" / "checkpoint-2" / "adapter_model.safetensors"
    save_file({name: value + 1.0 for name, value in load_file(weights).items()}, weights)
    from dataclasses import replace

    with pytest.raises(TrainingStopped, match="does not restore the saved policy"):
        train_sft(replace(config, out=str(tmp_path / "other")))
    assert (train_sft(config) / "adapter_model.safetensors").exists()


def test_checkpoints_also_come_by_the_clock(toy_base, toy_data, tmp_path):
    """With a large save_every and (nearly) no minutes between, every step is saved and the oldest are
    pruned."""
    from rmr1_lite.training.sft import train_sft

    run = train_sft(
        sft_config(toy_base, toy_data, tmp_path / "run", save_every=1000, save_minutes=1e-6)
    ).parent
    kept = sorted(int(path.name.partition("-")[2]) for path in run.glob("checkpoint-*"))
    last = max(json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines())
    assert kept == [last - 1, last]


def test_too_little_room_is_said_before_anything_is_trained(toy_base, toy_data, tmp_path, monkeypatch):
    from rmr1_lite.training.sft import train_sft

    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9 - 1000, 1000))
    with pytest.raises(InputError, match="checkpoints need about"):
        train_sft(sft_config(toy_base, toy_data, tmp_path / "run"))
    steps = (
        [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
        if (tmp_path / "run" / "metrics.jsonl").exists()
        else []
    )
    assert not any("loss" in row for row in steps)


def test_a_disk_that_fills_up_leaves_the_last_checkpoint_whole(toy_base, toy_data, tmp_path, monkeypatch):
    """The fourth step's checkpoint cannot be written; the second one's is there, and the same command goes on
    from it."""
    import transformers

    from rmr1_lite.training.sft import train_sft

    config = sft_config(toy_base, toy_data, tmp_path / "run", save_every=2)
    whole = transformers.Trainer._save_checkpoint

    def full(self, model, trial):
        if self.state.global_step == 4:
            monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9, 0))
            raise RuntimeError("unexpected pos 64 vs 0")  # what torch says of a full disk
        return whole(self, model, trial)

    with monkeypatch.context() as patch:
        patch.setattr(transformers.Trainer, "_save_checkpoint", full)
        with pytest.raises(InputError, match="is full: the checkpoint of step 4"):
            train_sft(config)
    monkeypatch.undo()
    assert (tmp_path / "run" / "checkpoint-2" / "complete.json").exists()
    assert (train_sft(config) / "adapter_model.safetensors").exists()


def test_grpo_from_a_grpo_adapter_is_not_compared_with_an_sft(tmp_path):
    """Both log `eval/*`; only an SFT run says what step 0 of a GRPO must give."""
    import json

    from rmr1_lite.config import GRPOConfig
    from rmr1_lite.training.stop_rules import last_sft_probe

    config = GRPOConfig(model=str(tmp_path / "adapter"), probe="probe.jsonl")
    settings = {
        "probe": "probe.jsonl",
        "probe_pairs": config.probe_pairs,
        "max_new_tokens": config.max_new_tokens,
    }
    (tmp_path / "metrics.jsonl").write_text('{"step": 3, "eval/strict_accuracy": 0.5}\n')
    for stage, found in (("sft", 0.5), ("grpo", None)):
        (tmp_path / "config.json").write_text(json.dumps({"stage": stage, "settings": settings}))
        probe = last_sft_probe(config)
        assert (probe and probe["eval/strict_accuracy"]) == found

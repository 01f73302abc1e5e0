"""Run folders: the same command resumes, another one is refused, half-written checkpoints do
not count."""

from __future__ import annotations

import json

import pytest

from rmr1_lite.config import SFTConfig, preset, with_changes
from rmr1_lite.data.chains import ChainsRead
from rmr1_lite.data.pairs import Problem
from rmr1_lite.training.run_folder import append_row, mark_complete, open_run, write_left_out
from rmr1_lite.types import InputError


@pytest.fixture
def config(tmp_path):
    (tmp_path / "data.jsonl").write_text("{}\n")
    return SFTConfig(out=str(tmp_path / "run"), chains=str(tmp_path / "data.jsonl"))


def checkpoint(run, step, complete=True):
    folder = run.folder / f"checkpoint-{step}"
    folder.mkdir()
    if complete:
        mark_complete(folder)


def test_the_newest_whole_checkpoint_counts_and_others_go(config):
    run = open_run(config, "sft", config.chains)
    assert run.checkpoint is None and run.step == 0 and not run.finished
    for step, complete in ((9, True), (10, True), (100, False)):
        checkpoint(run, step, complete)
    again = open_run(config, "sft", config.chains)
    assert again.step == 10, "by number, not by name"
    assert not (run.folder / "checkpoint-100").exists(), "killed while it was saved"


def test_rows_after_the_checkpoint_are_written_again(config):
    run = open_run(config, "sft", config.chains)
    for step in (0, 5, 6):
        append_row(run.folder, {"step": step})
    with open(run.folder / "metrics.jsonl", "a") as file:
        file.write('{"step": 7, "lo')
    checkpoint(run, 5)
    open_run(config, "sft", config.chains)
    rows = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 5]


def test_without_a_checkpoint_the_log_starts_anew(config):
    run = open_run(config, "sft", config.chains)
    append_row(run.folder, {"step": 0})
    open_run(config, "sft", config.chains)
    assert (run.folder / "metrics.jsonl").read_text() == ""


def test_other_settings_or_data_are_refused(config, tmp_path):
    append_row(open_run(config, "sft", config.chains).folder, {"step": 0})
    checkpoint(open_run(config, "sft", config.chains), 1)
    # changes nothing that is trained
    open_run(with_changes(config, report_to="tensorboard"), "sft", config.chains)
    with pytest.raises(InputError, match="lr: 0.002 then, 0.5 now"):
        open_run(with_changes(config, lr=0.5), "sft", config.chains)
    (tmp_path / "data.jsonl").write_text("{} \n")
    with pytest.raises(InputError, match="data: "):
        open_run(config, "sft", config.chains)


BEGUN = [
    ("metrics.jsonl", "a step or a probe was logged"),
    ("screen.jsonl", "pairs were judged by the policy it would start from"),
    ("checkpoint-5/complete.json", "a checkpoint"),
    ("adapter/adapter_model.safetensors", "the adapter"),
]


@pytest.mark.parametrize(("name", "reason"), BEGUN, ids=[row[0] for row in BEGUN])
def test_what_was_computed_binds_the_folder_to_its_settings(config, name, reason):
    run = open_run(config, "sft", config.chains)
    (run.folder / name).parent.mkdir(exist_ok=True)
    (run.folder / name).write_text('{"step": 5}\n')
    with pytest.raises(InputError, match="lr: 0.002 then, 0.5 now"):
        open_run(with_changes(config, lr=0.5), "sft", config.chains)


def test_what_an_error_stopped_before_its_first_step_can_be_mended(config):
    """The remedies of our errors (another style, a higher limit) must work on the same --out."""
    run = open_run(config, "sft", config.chains)
    open_run(with_changes(config, style="compact", max_length=900), "sft", config.chains)
    assert json.loads((run.folder / "config.json").read_text())["settings"]["style"] == "compact"


def test_an_adapter_that_is_not_whole_is_named_before_anything_is_made(config, tmp_path):
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "adapter_config.json").write_text("{}")
    with pytest.raises(
        InputError, match="adapter_model.safetensors is missing.*Copy the complete adapter folder"
    ):
        open_run(with_changes(config, model=str(tmp_path / "half")), "sft", config.chains)
    assert not (tmp_path / "run").exists()


def test_every_row_that_is_left_out_is_written_down(config):
    run = open_run(config, "sft", config.chains)
    problems = [Problem("data.jsonl", number, "chain", "is missing", "give it") for number in range(30)]
    write_left_out(run, ChainsRead("data.jsonl", [], problems), 768, ["a (ab)", "b (ba)"])
    told = json.loads((run.folder / "left_out.json").read_text())
    assert (told["limit"], told["too_long"], len(told["problems"])) == (768, ["a (ab)", "b (ba)"], 30)


def test_missing_data_is_named(config):
    with pytest.raises(InputError, match="none.jsonl"):
        open_run(config, "sft", "none.jsonl")


@pytest.mark.parametrize(
    ("stage", "name", "changes", "said"),
    [
        ("sfd", "nano", {}, "sft, grpo"),
        ("sft", "nana", {}, "nano"),
        ("sft", "nano", {"learning_rate": 1}, "no field 'learning_rate'"),
        ("sft", "nano", {"lr": 0}, "above 0"),
        ("sft", "nano", {"batch_size": 33}, "not a multiple"),
        ("sft", "nano", {"micro_batch": 0}, "micro_batch is 0"),
        ("sft", "nano", {"probe_every": 0}, "probe_every is 0"),
        ("sft", "nano", {"epochs": 0.0}, "epochs is 0.0"),
        ("grpo", "nano", {"steps": 0}, "steps is 0"),
        ("grpo", "nano", {"groups": 0}, "groups is 0"),
        ("grpo", "nano", {"rollouts": 1}, "at least 2"),
        ("grpo", "nano", {"groups": 5, "micro_batch": 64}, "not a multiple"),
        ("grpo", "nano", {"beta": -1.0}, "beta"),
    ],
)
def test_settings_that_cannot_work_are_named(stage, name, changes, said):
    with pytest.raises(InputError, match=said):
        preset(stage, name, **changes)


def test_other_weights_in_the_same_place_are_another_run(config, tmp_path):
    """After a new SFT the GRPO of the previous SFT must not continue."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"first")
    config = with_changes(config, model=str(tmp_path / "model"))
    checkpoint(open_run(config, "sft", config.chains), 1)
    open_run(config, "sft", config.chains)
    (tmp_path / "model" / "model.safetensors").write_bytes(b"other")
    with pytest.raises(
        InputError, match="the weights in .*model have changed since.*delete .*run, to train from scratch"
    ):
        open_run(config, "sft", config.chains)


def test_a_run_from_before_a_setting_existed_goes_on(config):
    run = open_run(config, "sft", config.chains)
    checkpoint(run, 1)
    then = json.loads((run.folder / "config.json").read_text())
    for name in ("preflight", "limit"):
        del then["settings"][name]
    del then["model"]
    (run.folder / "config.json").write_text(json.dumps(then))
    open_run(config, "sft", config.chains)
    with pytest.raises(InputError, match="limit: 0 then, 9 now"):
        open_run(with_changes(config, limit=9), "sft", config.chains)

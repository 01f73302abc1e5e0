"""The preflight: the longest items through one real step, smaller settings if they do not fit, the same again
on a resume."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rmr1_lite.config import SFTConfig, preset
from rmr1_lite.data.chains import Chain, read_chains, write_chains
from rmr1_lite.data.nano.dataset import NanoData, write_nano_data
from rmr1_lite.data.pairs import read_pairs, write_pairs
from rmr1_lite.environment import environment_with_kit
from rmr1_lite.training.planning import preflight
from rmr1_lite.training.planning.preflight import (
    LIMIT,
    NO_ROOM,
    REFUSED,
    run_preflight,
    trial_config,
)
from rmr1_lite.training.run_folder import append_row, open_run
from rmr1_lite.types import InputError, Pair


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_nano_data(tmp_path_factory.mktemp("data"), NanoData(train=100, validation=2, test=2))


@pytest.fixture
def trials(monkeypatch):
    """Trials with given outcomes; each request is recorded."""

    def told(*ends):
        asked, ends = [], list(ends)

        def trial(stage, config):
            asked.append(config)
            status = ends.pop(0) if len(ends) > 1 else ends[0]
            return status, json.dumps(
                {"seconds": 1.0, "peak_gib": 2.5}
            ) if status == 0 else "Error: last words"

        monkeypatch.setattr(preflight, "_run_trial", trial)
        return asked

    return told


def test_what_fits_stays_as_it_is_and_its_time_is_said(trials, tmp_path, data, capsys):
    trials(0)
    config = preset("grpo", "nano", out=str(tmp_path / "grpo"), preflight="on", steps=120)
    assert run_preflight("grpo", config) == config
    assert (
        "fits, peak memory 2.5 GiB; the step took 1.0 s, so its 120 steps take 2 minutes"
        in capsys.readouterr().out
    )
    config = preset(
        "sft", "nano", chains=str(data / "chains.jsonl"), out=str(tmp_path / "sft"), preflight="on", epochs=5
    )
    assert run_preflight("sft", config) == config
    assert "its 8 steps" in capsys.readouterr().out, "24 chains, 5 times, 16 a step"


def test_what_does_not_fit_is_made_smaller_and_every_change_is_said_and_kept(trials, data, tmp_path, capsys):
    asked = trials(NO_ROOM, -9, -6, 0)
    config = preset("sft", "nano", chains=str(data / "chains.jsonl"), out=str(tmp_path), preflight="on")
    made = run_preflight("sft", config)
    assert [c.micro_batch for c in asked] == [16, 8, 4, 2] and made == replace(config, micro_batch=2)
    said = capsys.readouterr().out
    assert (
        "ran out of memory; next: micro_batch 16 -> 8" in said
        and "was killed (signal 9); next: micro_batch 8 -> 4" in said
    )
    assert (
        "smaller settings than requested: micro_batch 16 -> 8, micro_batch 8 -> 4, micro_batch 4 -> 2" in said
    )
    again = trials(1)
    assert run_preflight("sft", made) == made, "a notebook's cell that is run again gives what was settled"
    assert run_preflight("sft", config) == made and again == [], (
        "the same command takes the same settings, without a trial"
    )
    assert "as in the first start" in capsys.readouterr().out
    (tmp_path / "adapter").mkdir()
    assert run_preflight("sft", config) == made, "also when the run has ended"


def test_a_resumed_run_with_smaller_settings_is_the_same_run(trials, data, tmp_path):
    trials(NO_ROOM, 0)
    config = preset(
        "sft", "nano", chains=str(data / "chains.jsonl"), out=str(tmp_path / "run"), preflight="on"
    )
    first = open_run(run_preflight("sft", config), "sft", config.chains)
    assert open_run(run_preflight("sft", config), "sft", config.chains) == first
    append_row(first.folder, {"step": 0})
    with pytest.raises(InputError, match="micro_batch: 8 then, 16 now"):
        open_run(config, "sft", config.chains)


def test_the_end_of_the_ladder_is_an_error_with_the_last_words(trials, tmp_path):
    trials(NO_ROOM)
    with pytest.raises(
        InputError, match="it ran out of memory.*Choose a smaller model or shorter lengths"
    ) as error:
        run_preflight("sft", preset("sft", "nano", out=str(tmp_path), preflight="on"))
    assert "last words" in str(error.value) and not (tmp_path / preflight.FILE).exists()


def test_wrong_input_is_told_at_once(trials, tmp_path):
    asked = trials(REFUSED)
    with pytest.raises(InputError, match="^last words$"):
        run_preflight("sft", preset("sft", "nano", out=str(tmp_path), preflight="on"))
    assert len(asked) == 1


def test_a_fault_that_no_smaller_setting_mends_is_shown_at_once(trials, tmp_path):
    asked = trials(1)
    with pytest.raises(InputError, match="preflight failed.*--preflight off.*last output"):
        run_preflight("sft", preset("sft", "nano", out=str(tmp_path), preflight="on"))
    assert len(asked) == 1


def test_the_trial_finds_the_kit_where_it_was_not_installed(data, tmp_path, monkeypatch):
    """As on Colab: the package is in a folder that only the running kernel knows, and the working folder is
    another."""
    monkeypatch.chdir(tmp_path)
    code = "import rmr1_lite, sys; print(rmr1_lite.__file__)"
    bare = [sys.executable, "-S", "-c", code]  # -S: no site-packages, so no editable installation
    assert subprocess.run(bare, capture_output=True, env={}).returncode != 0
    done = subprocess.run(
        bare, capture_output=True, text=True, env=environment_with_kit({"PYTHONPATH": "elsewhere"})
    )
    assert done.stdout.strip() == str(Path(preflight.__file__).parents[2] / "__init__.py")


@pytest.mark.parametrize("asked", ["auto", "off"])
def test_without_a_gpu_nothing_is_tried(asked, trials, tmp_path):
    tried = trials(0)
    config = preset("sft", "nano", out=str(tmp_path), preflight=asked)
    assert run_preflight("sft", config) is config and tried == []


def test_the_trial_takes_the_longest_rows_that_are_not_left_out(data, tmp_path):
    chains = read_chains(data / "chains.jsonl").chains
    short, long = (
        chains[0],
        Chain(replace(chains[1].pair, id="long"), chains[1].order, "so " * 60 + chains[1].text),
    )
    over = Chain(replace(chains[2].pair, id="over"), chains[2].order, "so " * 3000 + chains[2].text)
    write_chains(tmp_path / "chains.jsonl", [short, over, long, *chains[3:]])
    config = preset("sft", "nano", chains=str(tmp_path / "chains.jsonl"), probe="x", save_every=7)
    made = trial_config("sft", config, tmp_path)
    held = read_chains(made.chains).chains
    assert len(held) == SFTConfig.batch_size and {chain.text for chain in held} == {long.text}
    assert (made.probe, made.save_every, made.preflight, made.micro_batch) == (
        "",
        0,
        "off",
        config.micro_batch,
    )
    pairs = read_pairs(data / "train.jsonl").pairs
    wide = Pair("wide", ({"role": "user", "content": "word " * 150},), "a", "b", "A")
    endless = replace(wide, id="endless", prompt=({"role": "user", "content": "word " * 5000},))
    write_pairs(tmp_path / "pairs.jsonl", [*pairs, endless, wide])
    config = preset("grpo", "nano", model="nano-sft", pairs=str(tmp_path / "pairs.jsonl"))
    made = trial_config("grpo", config, tmp_path)
    held = read_pairs(made.pairs).pairs
    assert len(held) == config.groups // 2 and all(pair.prompt == wide.prompt for pair in held)
    assert (made.steps, made.worst_case) == (1, True)


@pytest.mark.long
def test_a_real_step_that_runs_out_of_memory_leads_down_the_ladder(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(LIMIT, "3")
    config = preset(
        "sft",
        "nano",
        chains=str(data / "chains.jsonl"),
        out=str(tmp_path / "run"),
        batch_size=256,
        micro_batch=256,
        preflight="on",
    )
    made = run_preflight("sft", config)
    assert (
        made.micro_batch < 256
        and "it ran out of memory; next: micro_batch 256 -> 128" in capsys.readouterr().out
    )


@pytest.mark.long
def test_a_real_grpo_trial_writes_every_rollout_to_its_full_length_and_trains_on_it(data, tmp_path):
    config = preset(
        "grpo",
        "nano",
        model="nano-sft",
        pairs=str(data / "train.jsonl"),
        out=str(tmp_path / "run"),
        groups=4,
        rollouts=4,
        micro_batch=16,
        preflight="on",
    )
    assert run_preflight("grpo", config) == config
    from rmr1_lite.training.grpo import train_grpo

    trial = trial_config("grpo", config, tmp_path)
    adapter = train_grpo(trial)
    (row,) = [json.loads(line) for line in (Path(trial.out) / "metrics.jsonl").read_text().splitlines()]
    assert row["rollout/mean_tokens"] == config.max_new_tokens and row["grad_norm"] > 0
    assert adapter.is_dir()

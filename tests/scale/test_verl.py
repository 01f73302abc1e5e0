"""The folder for verl in verl's own hands (`make scale`): dataset, reward workers on a Ray cluster,
settings, the trainer up to its check for a card, the merger, and the way back."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from conftest import environment

from rmr1_lite.data.nano.dataset import NanoData, write_nano_data
from rmr1_lite.data.pairs import read_pairs, write_pairs
from rmr1_lite.evaluation.bias.pairs import SHIPPED
from rmr1_lite.integrations.verl.bring_back import ImportRequest, import_adapter
from rmr1_lite.integrations.verl.folder import VerlFolder, write_folder
from rmr1_lite.integrations.verl.request import VERL, VerlRequest
from rmr1_lite.models.judge_specs import NANO
from rmr1_lite.models.render import render_ids
from rmr1_lite.prompts import judge_messages, pair_as_shown
from rmr1_lite.training.rewards import read_completion, verdict_reward
from rmr1_lite.types import InputError

pytestmark = pytest.mark.timeout(600)  # of a machine with other work; alone each takes under a minute
ROLLOUTS = 200
NO_CARD = "Total available GPUs 0 is less than total desired GPUs 1"
SLOW_START = "The current node timed out during startup"  # Ray gives itself 30 seconds


@pytest.fixture(scope="module")
def folder(verl_python: str, tmp_path_factory: pytest.TempPathFactory) -> VerlFolder:
    """nano-sft with pairs of its own world."""
    place = tmp_path_factory.mktemp("verl")
    data = write_nano_data(place / "data", NanoData(train=40, validation=4, test=4))
    request = VerlRequest(
        model="nano-sft",
        pairs=data / "train.jsonl",
        validation=data / "validation.jsonl",
        out=place / "with a blank" / "out",
        gate="off",
        number_type="fp32",
    )
    return write_folder(request)


@pytest.fixture(scope="module")
def real_folder(verl_python: str, tmp_path_factory: pytest.TempPathFactory) -> VerlFolder:
    """Real pairs where they are, else the shipped English ones. No model judges here, so nano's serves."""
    place = tmp_path_factory.mktemp("real")
    data = os.environ.get("RMR1_DATA_DIR")
    pairs = Path(data) / "real" / "pairs" / "rmr1-rewardbench.train.jsonl" if data else SHIPPED
    pairs = pairs if pairs.is_file() else SHIPPED
    read = [pair for pair in read_pairs(pairs).pairs if pair.label]
    write_pairs(place / "pairs.jsonl", read)
    limits = {"max_prompt_tokens": 2000, "max_new_tokens": 100}
    base = place / "base"
    base.mkdir()
    for path in NANO["nano-base"].iterdir():
        (base / path.name).write_bytes(path.read_bytes())
    config = json.loads((base / "config.json").read_bytes())
    (base / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 4096}))
    return write_folder(
        VerlRequest(
            model=str(base),
            pairs=place / "pairs.jsonl",
            out=place / "out",
            preset="nano",
            style="rubrics",
            validation_share=0.2,
            gate="off",
            **limits,
        )
    )


def test_verls_dataset_gives_the_kits_token_ids_for_every_row(real_folder, in_verl, tmp_path):
    from rmr1_lite.models.loading import load_tokenizer

    said = in_verl("dataset.py", real_folder.folder, tmp_path / "rows.jsonl")
    assert said.endswith("verl alone\n"), "the kit is not needed there"
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert len(rows) == real_folder.train.rows + real_folder.validation.rows >= 20
    pairs = {pair.id: pair for pair in read_pairs(real_folder.folder.parent / "pairs.jsonl").pairs}
    tokenizer = load_tokenizer(str(real_folder.folder / "model"))
    for row in rows:
        shown = pair_as_shown(pairs[row["pair"]], row["order"])
        assert row["ids"] == render_ids(tokenizer, judge_messages(shown, "rubrics")), row["pair"]
        assert row["ground_truth"] == shown.label and row["thought_open"] is False


A, B = "<answer>[[A]]</answer>", "<answer>[[B]]</answer>"
# text, finished, thought open
KINDS = [
    (f"<eval>A is better</eval>\n{A}", True, False),
    (f"<eval>B is better</eval>\n{B}", True, False),
    (f"<eval>A is better</eval>\n{A}", False, False),
    ("<eval>A is", False, False),
    ("neither", True, False),
    (f"{A} {B}", True, False),
    (f"{B} indeed", True, False),
    ("", True, False),
    (A, True, True),
    (f"so </think>{B}", True, True),
]


def recorded_rollouts(tokenizer) -> list[dict]:
    """Every kind of answer with both labels, in a random order."""
    rng = random.Random(0)
    rows = []
    for place in range(ROLLOUTS):
        text, finished, thought_open = KINDS[place % len(KINDS)]
        words = f"{rng.randint(0, 999)} {text}" if text and not thought_open else text
        ids = tokenizer(words, add_special_tokens=False)["input_ids"]
        ids += [tokenizer.eos_token_id] if finished else []
        rows.append({"ids": ids, "label": rng.choice("AB"), "thought_open": thought_open})
    rng.shuffle(rows)
    return rows


def settings(folder: Path, **variables: str) -> list[str]:
    done = subprocess.run(
        [folder / "run.sh"], capture_output=True, text=True, env=environment() | {"DRY_RUN": "1"} | variables
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


SIZES = [
    ({"N_GPUS": "1", "PROMPTS": "8"}, "one card"),
    ({"N_GPUS": "4", "PROMPTS": "16", "KL": "0.001"}, "four cards, with a KL"),
    ({"N_GPUS": "8", "NODES": "2", "RAY_ADDRESS": "auto", "PROMPTS": "16"}, "two machines"),
    ({"PROMPTS": "8", "REWARD": "LengthRewardManager", "ROLLOUT_LORA": "merged"}, "the first minute"),
]


@pytest.fixture(scope="module")
def configs(folder: VerlFolder, in_verl, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """verl's configuration for every row of SIZES, in one process: importing verl takes most of the time."""
    place = tmp_path_factory.mktemp("configs")
    for number, (variables, _) in enumerate(SIZES):
        (place / f"{number}.txt").write_text("\n".join(settings(folder.folder, **variables)))
    in_verl("config.py", place)
    return {row[-1]: json.loads((place / f"{k}.json").read_bytes()) for k, row in enumerate(SIZES)}


def test_verls_reward_workers_give_the_kits_rewards(folder, configs, in_verl, tmp_path):
    """Two workers on a real Ray cluster, 200 rollouts, every status."""
    from rmr1_lite.models.loading import load_tokenizer

    tokenizer = load_tokenizer(str(folder.folder / "model"))
    rows = recorded_rollouts(tokenizer)
    (tmp_path / "rollouts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = configs["one card"]
    config = config | {"reward": config["reward"] | {"num_workers": 2}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    in_verl("rewards.py", tmp_path, tmp_path / "rollouts.jsonl", tmp_path / "scored.json")
    scored = json.loads((tmp_path / "scored.json").read_bytes())
    ends = frozenset({tokenizer.eos_token_id})
    verdicts = [read_completion(tokenizer, row["ids"], ends, row["thought_open"]) for row in rows]
    ours = [verdict_reward(verdict, row["label"]) for verdict, row in zip(verdicts, rows, strict=True)]
    assert scored["rewards"] == ours and set(ours) == {1.0, -1.0}
    assert scored["last"] == [len(row["ids"]) - 1 for row in rows]
    counts = Counter(verdict.status for verdict in verdicts)
    assert set(counts) == {"ok", "missing", "conflict", "trailing", "truncated"}
    for status, count in counts.items():
        assert sum(scored["metrics"][status]) == count, status
    assert sum(scored["metrics"]["acc"]) == ours.count(1.0)


@pytest.mark.parametrize(("variables", "reason"), SIZES, ids=[row[-1] for row in SIZES])
def test_verl_accepts_every_setting(variables, reason, folder, configs):
    config = configs[reason]
    assert config["data"]["train_files"] == str(folder.folder / "train.parquet")
    assert config["reward"]["reward_manager"]["source"] == "importlib"
    assert config["actor_rollout_ref"]["actor"]["use_kl_loss"] == ("KL" in variables)
    assert config["trainer"]["nnodes"] == int(variables.get("NODES", 1))


def test_the_trainer_runs_up_to_its_check_for_a_card(folder, verl_python):
    """It starts Ray, its storage of rollouts, reads our rows, and stops for want of a card. vLLM is not
    installed here, and with a LoRA as adapter verl asks for it before that: so the merged way is taken."""
    words = settings(folder.folder, PROMPTS="8", RAY_CPUS="16", STORAGE_UNITS="1", ROLLOUT_LORA="merged")
    command = [verl_python, "-m", "verl.trainer.main_ppo", *words]
    said = ""
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder.folder, env=environment())
        said = done.stdout + done.stderr
        if SLOW_START not in said:
            break
    assert done.returncode != 0 and NO_CARD in said, said[-3000:]
    assert f"dataset len: {folder.train.rows}" in said


def test_run_sh_says_what_is_missing_instead_of_waiting(folder, verl_python):
    variables = environment() | {"PYTHON": verl_python, "PROMPTS": "8"}
    done = subprocess.run([folder.folder / "run.sh"], capture_output=True, text=True, env=variables)
    assert done.returncode == 1 and "Warning" not in done.stderr
    assert "verl needs 1 cards (N_GPUS x NODES), and this machine has 0" in done.stderr


def test_the_first_minute_reads_verls_own_log(folder, in_verl, tmp_path):
    (tmp_path / "log.txt").write_text(in_verl("log_line.py"))
    command = [sys.executable, folder.folder / "first_minute.py", tmp_path / "log.txt"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "from 0.225 to 0.305: it rises" in done.stdout, done.stdout


def test_an_adapter_comes_back_through_verls_merger(folder, in_verl, verl_python, tmp_path):
    """The logits of the imported adapter over model/ are those of the policy that was saved, up to the
    merger's rounding to 16 bits."""
    import torch

    from rmr1_lite.models.loading import load

    model, actor, merged = folder.folder / "model", tmp_path / "actor", tmp_path / "merged"
    in_verl("checkpoint.py", model, actor)
    with pytest.raises(
        InputError, match="in shards. Merge it first, where verl is: python -m verl.model_merger"
    ):
        import_adapter(ImportRequest(tmp_path, folder.folder, tmp_path / "adapter"))
    words = ["merge", "--backend", "fsdp", "--local_dir", actor, "--target_dir", merged]
    command = [verl_python, "-m", "verl.model_merger", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr[-3000:]
    back = import_adapter(ImportRequest(merged, folder.folder, tmp_path / "adapter", limit=4))
    assert (back.checkpoint.rank, back.checkpoint.alpha, back.untrained) == (8, 16, False)
    assert back.result.n == 4 and back.result.unparsed < 0.5
    saved = torch.load(actor / "logits.pt")
    loaded = load(str(tmp_path / "adapter"), number_type="fp32")
    with torch.no_grad():
        gap = (loaded.model(saved["ids"]).logits - saved["logits"]).abs().max()
        base = (load(str(model), number_type="fp32").model(saved["ids"]).logits - saved["logits"]).abs().max()
    assert gap < 0.05 * base, "without the adapter the logits differ far more"


def test_the_environment_has_the_version_that_the_folder_is_for(verl_python):
    code = "from importlib.metadata import version; print(version('verl'))"
    done = subprocess.run([verl_python, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == VERL

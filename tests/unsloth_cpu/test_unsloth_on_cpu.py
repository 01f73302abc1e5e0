"""Unsloth's own code, driven by the kit, without a GPU (`make unsloth-cpu`; see site/unsloth_on_cpu.py for
what is replaced).

Processes of one thread each run two at a time, since Unsloth patches whatever process it is imported into;
each test waits for the one that it needs.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
pytestmark = pytest.mark.timeout(1500)  # a test waits for its process, and that for its turn
PROCESSES = {  # the longest first
    "unsloth fp32": ["sft", "grpo", "pad_is_end", "probes", "lengths", "sharing", "vllm", "fp16_list"],
    "unsloth bf16": ["chain"],
    "unsloth fp16": ["chain"],
    "transformers fp32": ["sft", "grpo", "pad_is_end"],
}

PARTS_1_5 = {
    "facts",
    "parity-unsloth",
    "parity-transformers",
    "parity-reload",
    "model",
    "speed-unsloth",
}


def environment(half: str) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(HERE / "site"),
        "RMR1_UNSLOTH_ON_CPU": half,
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
    }


def scenarios(folder: Path, backend: str, half: str, names: list[str]) -> dict[str, Any]:
    path = folder / f"{backend}-{half}-{names[0]}.json"
    arguments = [sys.executable, str(HERE / "scenarios.py"), backend, str(folder), str(path), *names]
    done = subprocess.run(arguments, env=environment(half), capture_output=True, text=True)
    assert path.exists() and done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return json.loads(path.read_text())


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """Data of the nano world, and bases that nothing was trained into."""
    from rmr1_lite.data.nano.dataset import NanoData, write_nano_data

    made = tmp_path_factory.mktemp("unsloth")
    write_nano_data(made / "data", NanoData(train=40, validation=4, test=2))
    bases(made / "bases")
    return made


def bases(folder: Path) -> None:
    """The nano base with pad = end, and two small decoders of other kinds with its tokenizer."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

    from rmr1_lite.models.judge_specs import NANO

    tokenizer = AutoTokenizer.from_pretrained(NANO["nano-base"])
    small = {
        "hidden_size": 72,
        "intermediate_size": 160,
        "num_hidden_layers": 2,
        "num_attention_heads": 9,
        "vocab_size": 1528,
        "num_key_value_heads": 3,
        "max_position_embeddings": 768,
        "tie_word_embeddings": True,
        "head_dim": 8,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    torch.manual_seed(0)
    for name, model in (
        ("llama", LlamaForCausalLM(LlamaConfig(**small))),
        ("qwen3", Qwen3ForCausalLM(Qwen3Config(**small))),
    ):
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    shutil.copytree(NANO["nano-sft"], folder / "pad-is-end")
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(folder / "pad-is-end")


@pytest.fixture(scope="session")
def ran(folder) -> Callable[[str, str], Any]:
    """ran(process, scenario) -> its result. Everything is started at once, two processes at a time."""
    with ThreadPoolExecutor(2) as pool:
        waiting: dict[str, Future] = {}
        for name, names in PROCESSES.items():
            waiting[name] = pool.submit(scenarios, folder, *name.split(), names)
        waiting["killed"] = pool.submit(killed_and_resumed, folder, waiting["unsloth bf16"])
        waiting["driver"] = pool.submit(driven, folder)
        waiting["notebook"] = pool.submit(in_a_notebook, folder)
        waiting["reload"] = pool.submit(
            reloaded, folder, *(waiting[f"unsloth {half}"] for half in ("fp32", "bf16", "fp16"))
        )

        def result(process: str, scenario: str = "") -> Any:
            found = waiting[process].result()
            found = found[scenario] if scenario else found
            assert "error" not in found, found["error"]
            return found

        yield result
        for future in waiting.values():
            future.cancel()


def command(folder: Path, half: str, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "rmr1_lite", *arguments],
        env=environment(half),
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def killed_and_resumed(folder: Path, uncut: Future) -> dict[str, Any]:
    """The GRPO run of `chain` once more as a command, killed behind its second checkpoint, then the
    same command again."""
    uncut.result()
    asked = json.loads((folder / "uncut-unsloth-bf16" / "config.json").read_text())["settings"]
    asked["out"] = str(folder / "killed")
    options = [part for name, value in asked.items() for part in option(name, value)]
    first = command(folder, "bf16", "grpo", *options)
    mark, deadline = folder / "killed" / "checkpoint-2" / "complete.json", time.monotonic() + 240
    while not mark.exists() and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    said = first.communicate()[0]
    assert mark.exists(), said[-3000:]
    begun = not (folder / "killed" / "adapter").exists()
    again = command(folder, "bf16", "grpo", *options)
    said = again.communicate()[0]
    return {"begun": begun, "status": again.returncode, "said": said[-3000:]}


def option(name: str, value: Any) -> list[str]:
    dashed = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{dashed}" if value else f"--no-{dashed}"]
    return [f"--{dashed}", str(value)]


def in_a_notebook(folder: Path) -> dict[str, Any]:
    """The cells' own call: the preflight's step, then the training, each in a process that the kit starts."""
    code = (
        "import sys; from rmr1_lite.config import preset; from rmr1_lite.training.process import train; "
        "from rmr1_lite.training.planning.preflight import run_preflight; config = preset('sft', 'nano', "
        "chains=sys.argv[1], out=sys.argv[2], batch_size=2, micro_batch=2, epochs=1.0, limit=4, "
        "gradient_checkpointing=True, preflight='on', backend='unsloth'); print('adapter', train('sft', "
        "run_preflight('sft', config)), 'unsloth' in sys.modules)"
    )
    arguments = [sys.executable, "-c", code, str(folder / "data" / "chains.jsonl"), str(folder / "notebook")]
    done = subprocess.run(arguments, env=environment("bf16"), capture_output=True, text=True)
    return {"status": done.returncode, "said": done.stdout + done.stderr[-2000:]}


def driven(folder: Path) -> dict[str, Any]:
    """Parts of the acceptance driver, with what they need: the half of it that tests without Unsloth cannot
    reach."""
    driver = HERE.parents[1] / "perf" / "gpu_acceptance.py"
    arguments = [
        str(driver),
        "--small",
        "--parts",
        "1,5",
        "--minutes",
        "20",
        "--out",
        str(folder / "driver"),
    ]
    done = subprocess.run(
        [sys.executable, *arguments], env=environment("bf16"), capture_output=True, text=True
    )
    held = json.loads((folder / "driver" / "results.json").read_text())
    return {"status": done.returncode, "said": done.stdout[-3000:], **held}


def reloaded(folder: Path, *trained: Future) -> dict[str, Any]:
    """The adapters that Unsloth trained, in a process without Unsloth."""
    for process in trained:
        process.result()
    return scenarios(folder, "transformers", "fp32", ["reload"])


# ---- both backends train the same thing


@pytest.mark.parametrize("base", ["nano", "llama", "qwen3"])
def test_sft_is_the_same_training_on_both_backends(ran, base):
    ours, theirs = (ran(f"{backend} fp32", "sft")[base] for backend in ("unsloth", "transformers"))
    assert len(ours) == len(theirs) == 3
    for a, b in zip(ours, theirs, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4) and a["grad_norm"] == pytest.approx(
            b["grad_norm"], rel=1e-3
        )
        assert a["lr"] == b["lr"]


@pytest.mark.parametrize("run", ["nano beta 0.0", "nano beta 0.05", "llama beta 0.05", "qwen3 beta 0.05"])
def test_grpo_is_the_same_training_on_both_backends(ran, run):
    """On the same rollouts: losses, gradients, and the KL to the policy that GRPO started from."""
    ours, theirs = (ran(f"{backend} fp32", "grpo")[run] for backend in ("unsloth", "transformers"))
    assert len(ours) == len(theirs) == 3
    for a, b in zip(ours, theirs, strict=True):
        assert (
            a["rollout/reward_mean"] == b["rollout/reward_mean"]
            and a["rollout/reward_std"] == b["rollout/reward_std"] > 0
        )
        assert a["loss"] == pytest.approx(b["loss"], abs=2e-5), (
            "the advantages sum to nearly 0, and so does the loss"
        )
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-3) and a["grad_norm"] > 0
        if "kl" in b:
            # logged only: Unsloth averages over tokens, TRL over rows first
            assert a["kl"] == pytest.approx(b["kl"], rel=0.2, abs=1e-6)
    if "0.05" in run:
        assert abs(ours[0]["kl"]) < 1e-6 < ours[2]["kl"], "it starts at the policy that it is the distance to"


def test_a_pad_that_is_the_end_trains_the_same_thing_on_both_backends(ran):
    """Unsloth treats every pad id as padding: without the kit's other pad the gradient differs, at
    nearly that loss."""
    ours, theirs = (ran(f"{backend} fp32", "pad_is_end") for backend in ("unsloth", "transformers"))
    for right, kept, without in zip(theirs["rows"], ours["rows"], ours["without"], strict=True):
        assert kept["grad_norm"] == pytest.approx(right["grad_norm"], rel=1e-3)
        assert abs(without["grad_norm"] / right["grad_norm"] - 1) > 0.02, "the check can fail"
    assert ours["saved_pad"] == theirs["saved_pad"] == "<|im_end|>", (
        "the adapter is saved with the pad that it came with"
    )


# ---- what Unsloth would do otherwise


@pytest.mark.parametrize("half", ["fp32", "bf16", "fp16"])
def test_a_probe_leaves_the_model_armed(ran, half):
    """Gradient checkpointing on as before it, and no copy of the adapter as it was then."""
    found = ran("unsloth fp32", "probes") if half == "fp32" else ran(f"unsloth {half}", "chain")["probes"]
    assert [state["step"] for state in found["states"]] == [0, 1, 2, 3]
    assert all(state["checkpointing"] > 0 and state["copies"] == 0 for state in found["states"]), found[
        "states"
    ]


def test_a_probe_judges_the_adapter_as_it_stands(ran):
    """The policy's values after three probes equal those of a fresh process with the adapter that it
    saved."""
    assert ran("unsloth fp32", "probes")["says"] == ran("reload", "reload")["probed-unsloth-fp32"]


@pytest.mark.parametrize("half", ["fp32", "bf16", "fp16"])
def test_grpo_begins_where_sft_ended(ran, half):
    found = ran("unsloth fp32", "probes") if half == "fp32" else ran(f"unsloth {half}", "chain")["probes"]
    names = ("strict_accuracy", "accuracy", "unparsed")
    last = [row for row in found["rows"] if "eval/accuracy" in row][-1]
    first = next(row for row in found["grpo"] if "eval/accuracy" in row)
    assert [last[f"eval/{name}"] for name in names] == [first[f"eval/{name}"] for name in names]


def test_a_length_over_the_context_changes_nothing_of_the_model(ran):
    found = ran("unsloth fp32", "lengths")
    assert found["context"] == 768 and found["says"][0] == found["says"][1]


def test_a_prompt_over_the_length_is_told_and_the_others_are_judged(ran):
    """Unsloth would truncate it, or fail during generation."""
    short, long = (
        ran("unsloth fp32", "lengths")["statuses"][:2],
        ran("unsloth fp32", "lengths")["statuses"][2:],
    )
    assert long == ["too_long"] * 2 and "too_long" not in short


def test_what_switches_sharing_off_is_said(ran):
    found = ran("unsloth fp32", "sharing")
    assert found["whole"] == ["Shared prompts (Unsloth): used."]
    assert found["half"][0].startswith(
        "Prompts are not shared: micro_batch 2 is not a multiple of rollouts 4"
    )
    assert found["half"][1].startswith("Shared prompts (Unsloth): not used (micro_batch 2")


def test_vllm_is_given_what_unsloth_and_trl_know(ran):
    found = ran("unsloth fp32", "vllm")
    assert found["fast_inference"] and found["use_vllm"] and found["max_lora_rank"] == 16
    assert found["unknown"] == found["trainer_unknown"] == [], (
        "arguments that the pinned versions do not have"
    )


def test_models_that_fp16_cannot_train_are_unsloths_own_list(ran):
    from rmr1_lite.models.precision import NOT_IN_FP16

    theirs = ran("unsloth fp32", "fp16_list")["theirs"]
    named = [name for name in theirs if name.startswith(NOT_IN_FP16)]
    # written without the underscore of the model type there
    assert set(theirs) - set(named) <= {"gemma3text"}, "a new model in Unsloth's list: add it to NOT_IN_FP16"


# ---- the chain


@pytest.mark.parametrize("half", ["bf16", "fp16"])
def test_the_chain_in_16_bits(ran, half):
    found = ran(f"unsloth {half}", "chain")
    for name in ("beta 0", "beta 0.05", "llama", "llama grpo"):
        assert (
            all(row["loss"] == row["loss"] for row in found[name] if "loss" in row)
            and found[name][-1]["step"] >= 1
        )
    assert abs(next(row["kl"] for row in found["beta 0.05"] if "kl" in row)) < 1e-2
    assert len(set(ran("reload", "reload")[f"sampled-unsloth-{half}"])) > 1, (
        "the adapter loads elsewhere, and says something"
    )
    assert "Judge in another process" in found["a plain load here"], (
        "in this one transformers is no longer itself"
    )


def test_a_killed_run_resumes_and_ends_where_the_uncut_one_does(ran, folder):
    """In bf16 and with a KL term: Unsloth's GRPO removes autocast from the model at its first step, so a
    policy that is compared across the resume must be read without it."""
    found = ran("killed")
    assert found["begun"] and found["status"] == 0, found["said"]
    cut, uncut = (adapter_hash(folder / name) for name in ("killed", "uncut-unsloth-bf16"))
    assert cut == uncut


def adapter_hash(run: Path) -> str:
    import hashlib

    return hashlib.sha256((run / "adapter" / "adapter_model.safetensors").read_bytes()).hexdigest()


def test_a_notebooks_call_tries_the_longest_rows_and_trains_in_processes_of_its_own(ran, folder):
    found = ran("notebook")
    assert found["status"] == 0, found["said"]
    assert "fits" in found["said"] and "Backend: unsloth, bf16" in found["said"]
    assert found["said"].rstrip().splitlines()[-1].endswith("adapter False"), (
        "the kernel itself stays free of Unsloth"
    )
    assert (folder / "notebook" / "adapter" / "adapter_model.safetensors").exists()


def test_the_acceptance_driver_measures_unsloth_in_miniature(ran):
    found = ran("driver")
    assert found["status"] == 0, found["said"]
    assert set(found["jobs"]) == PARTS_1_5, "what part 5 needs was added"
    assert len(found["parity"]) == 9 and all(check["holds"] for check in found["parity"].values()), found[
        "parity"
    ]
    figures = found["jobs"]["speed-unsloth"]["figures"]
    assert figures["sft_64"]["tokens_per_s"] > 0 and figures["writing"]["cache_32"]["prefill_s"] > 0
    assert figures["grpo_96_16_4"]["prompts_shared"] and not figures["not_shared"]["prompts_shared"]
    # so short a group lies in one block of the stand-in's attention: both passes sum in the same order
    assert figures["logp_apart"]["shared_pass_ran"] and 0 <= figures["logp_apart"]["max_nats"] < 0.7

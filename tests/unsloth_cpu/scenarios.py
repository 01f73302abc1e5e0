"""The results of the kit's own trainings on one backend, as JSON: run in a separate process, once with each
backend.

    cd tests/unsloth_cpu; PYTHONPATH=site RMR1_UNSLOTH_ON_CPU=fp32 python scenarios.py unsloth FOLDER RESULT
        sft grpo ...

FOLDER holds `data/` (nano pairs and chains) and `bases/` (nano with pad = end, a random Llama, a random
Qwen3), made by the test. Each scenario is a function below; its result is written to RESULT as soon as it is
known.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "perf"))

from gpu.parity import given_rollouts, watched_probes  # noqa: E402

from rmr1_lite.config import GRPOConfig, SFTConfig  # noqa: E402


@dataclass(frozen=True)
class Place:
    """The setting of a scenario: backend, 16-bit type, folder."""

    backend: str
    half: str
    folder: Path

    def out(self, name: str) -> str:
        return str(self.folder / f"{name}-{self.backend}-{self.half}")

    def base(self, name: str) -> str:
        return "nano-base" if name == "nano" else str(self.folder / "bases" / name)

    @property
    def common(self) -> dict[str, Any]:
        return {
            "backend": self.backend,
            "style": "compact",
            "gradient_checkpointing": True,
            "preflight": "off",
            "warmup_steps": 1,
            "save_every": 0,
            "probe_pairs": 2,
            "micro_batch": 4,
        }


def sft_config(place: Place, name: str, **more: Any) -> SFTConfig:
    chains = str(place.folder / "data" / "chains.jsonl")
    settings = {
        **place.common,
        "epochs": 1.0,
        "batch_size": 4,
        "limit": 12,
        "max_new_tokens": 24,
        "lr": 5e-3,
        **more,
    }
    return SFTConfig(chains=chains, out=place.out(name), **settings)


def grpo_config(place: Place, name: str, **more: Any) -> GRPOConfig:
    pairs = str(place.folder / "data" / "train.jsonl")
    settings = {
        **place.common,
        "model": "nano-sft",
        "groups": 2,
        "rollouts": 4,
        "steps": 3,
        "max_new_tokens": 24,
        "lr": 1e-3,
        "max_truncated": 1.0,
        **more,
    }
    return GRPOConfig(pairs=pairs, out=place.out(name), **settings)


def rows(config: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(config.out) / "metrics.jsonl").read_text().splitlines()]


def trained_sft(config: SFTConfig) -> list[dict[str, Any]]:
    from rmr1_lite.training.sft import train_sft

    train_sft(config)
    return rows(config)


def trained_grpo(config: GRPOConfig) -> list[dict[str, Any]]:
    from rmr1_lite.training.grpo import train_grpo

    train_grpo(config)
    return rows(config)


# ---- the same training on both backends


def sft(place: Place) -> dict[str, Any]:
    """Three steps from each base."""
    return {
        name: trained_sft(sft_config(place, f"sft-{name}", model=place.base(name)))
        for name in ("nano", "llama", "qwen3")
    }


def grpo(place: Place) -> dict[str, Any]:
    """Three steps on given rollouts, so that both backends train on the same tokens.

    At a learning rate that keeps the KL small: Unsloth clips each token's KL term at 10, TRL does not.
    """
    with given_rollouts():
        found = {}
        for beta in (0.0, 0.05):
            found[f"nano beta {beta}"] = trained_grpo(grpo_config(place, f"given-{beta}", beta=beta, lr=1e-4))
        for name in ("llama", "qwen3"):
            config = grpo_config(
                place, f"given-{name}", model=place.base(name), beta=0.05, lora_r=8, lora_alpha=16
            )
            found[f"{name} beta 0.05"] = trained_grpo(config)
        return found


def pad_is_end(place: Place) -> dict[str, Any]:
    """GRPO from an adapter whose tokenizer pads with the end token; on Unsloth also without the kit's answer
    to it."""
    config = {"model": place.base("pad-is-end"), "micro_batch": 8}
    with given_rollouts():
        found = {"rows": trained_grpo(grpo_config(place, "pad", **config))}
        found["saved_pad"] = json.loads(
            (Path(place.out("pad")) / "adapter" / "tokenizer_config.json").read_text()
        )["pad_token"]
        if place.backend == "unsloth":
            from rmr1_lite.models import unsloth_backend

            kept, unsloth_backend.separate_pad = unsloth_backend.separate_pad, lambda *_: None
            found["without"] = trained_grpo(grpo_config(place, "pad-without", **config))
            unsloth_backend.separate_pad = kept
        return found


# ---- a probe in the middle of a training


def probes(place: Place) -> dict[str, Any]:
    """SFT that is probed at the start, at every step and at the end: is the model armed afterwards, what does
    the policy say?

    Then GRPO from there, whose first probe must give what SFT ended with.
    """
    config = sft_config(place, "probed", probe=str(place.folder / "data" / "validation.jsonl"), probe_every=1)
    with watched_probes() as (states, loaded):
        found = {"rows": trained_sft(config), "states": states}
    found["says"] = texts(place, loaded[0])
    after = grpo_config(
        place, "after-probe", model=f"{config.out}/adapter", steps=1, probe=config.probe, lr=1e-3
    )
    found["grpo"] = trained_grpo(after)
    return found


def texts(place: Place, loaded: Any) -> list[str]:
    """The judge's texts about the first validation pairs."""
    from rmr1_lite.data.pairs import read_pairs
    from rmr1_lite.training.probe import policy_judge

    pairs = read_pairs(place.folder / "data" / "validation.jsonl").pairs[:2]
    judge = policy_judge(loaded, "compact", sft_config(place, "unused"))
    return [
        look.generation.text
        for judgment in judge.compare_many(pairs, progress=False)
        for look in judgment.looks
    ]


def reload(place: Place) -> dict[str, Any]:
    """The texts of adapters trained by Unsloth in a process without it."""
    from rmr1_lite.models.loading import load

    names = ("probed-unsloth-fp32", "sampled-unsloth-bf16", "sampled-unsloth-fp16")
    return {name: texts(place, load(str(place.folder / name / "adapter"))) for name in names}


# ---- settings that Unsloth would take another way


def lengths(place: Place) -> dict[str, Any]:
    """A length beyond the context, and prompts beyond the length that the model was loaded for."""
    import torch

    from rmr1_lite.judging.engines.base import Sampling
    from rmr1_lite.judging.engines.local import LocalEngine
    from rmr1_lite.judging.judge import Judge
    from rmr1_lite.models.backend import start_backend
    from rmr1_lite.models.loaded import Training
    from rmr1_lite.models.loading import load
    from rmr1_lite.training.loop import fixed_text_logprobs

    backend = start_backend(place.backend, place.folder)
    long = load("nano-sft", training=Training(backend, 1024, True, 0))
    within = load("nano-sft", training=Training(backend, 768, True, 0))
    pair, longer = pair_of_tokens(within.tokenizer, 120), pair_of_tokens(within.tokenizer, 400)
    short = load("nano-sft", training=Training(backend, 300, True, 0))
    judge = Judge(LocalEngine(short.model, short.tokenizer), "compact", sampling=Sampling(max_new_tokens=16))
    with torch.random.fork_rng():
        looks = [
            look for judgment in judge.compare_many([pair, longer], progress=False) for look in judgment.looks
        ]
    return {
        "context": long.model.config.max_position_embeddings,
        "says": [fixed_text_logprobs(m.model) for m in (long, within)],
        "statuses": [look.status for look in looks],
    }


def pair_of_tokens(tokenizer: Any, words: int) -> Any:
    from rmr1_lite.types import Pair

    return Pair(f"words-{words}", ({"role": "user", "content": "barn " * words},), "sun", "tree", "A")


def sharing(place: Place) -> dict[str, Any]:
    """The messages for micro-batches of a whole group, of half a group, and with prompts too short to be
    worth it."""
    said = {}
    for name, changes in {"whole": {"micro_batch": 4}, "half": {"micro_batch": 2}}.items():
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            trained_grpo(grpo_config(place, f"sharing-{name}", steps=1, **changes))
        said[name] = [line for line in printed.getvalue().splitlines() if "rompts" in line]
    return said


def vllm(place: Place) -> dict[str, Any]:
    """The arguments that a training with vLLM rollouts passes to Unsloth, up to the point where vLLM is
    needed."""
    import inspect

    import trl
    from unsloth import FastLanguageModel

    from rmr1_lite.models import unsloth_backend
    from rmr1_lite.training import grpo as stage

    class Reached(Exception):
        pass

    def stop(**given: Any) -> None:
        found.update(
            {name: given[name] for name in ("fast_inference", "max_lora_rank", "gpu_memory_utilization")}
        )
        found["unknown"] = sorted(set(given) - set(inspect.signature(real).parameters))
        raise Reached

    found: dict[str, Any] = {}
    config = grpo_config(place, "vllm", rollout="vllm")
    kept, unsloth_backend.find_spec = unsloth_backend.find_spec, lambda name: object()
    real, FastLanguageModel.from_pretrained = FastLanguageModel.from_pretrained, staticmethod(stop)
    try:
        stage.train_grpo(config)
    except Reached:
        pass
    finally:
        unsloth_backend.find_spec, FastLanguageModel.from_pretrained = kept, staticmethod(real)
    accepted = inspect.signature(trl.GRPOConfig.__init__).parameters
    found["trainer_unknown"] = sorted(set(stage.trl_arguments(config)) - set(accepted))
    found["use_vllm"] = stage.trl_arguments(config)["use_vllm"]
    return found


def fp16_list(place: Place) -> dict[str, Any]:
    """Unsloth's own list of models that it does not compute in fp16."""
    from unsloth.models.loader import FORCE_FLOAT32

    return {"theirs": [name.strip(",") for name in FORCE_FLOAT32]}


# ---- the whole chain in one number format


def chain(place: Place) -> dict[str, Any]:
    """SFT with probes and GRPO with and without a KL term, rollouts sampled; a Llama too."""
    from rmr1_lite.models.loading import load
    from rmr1_lite.types import InputError

    found = {"probes": probes(place)}
    found["beta 0"] = trained_grpo(grpo_config(place, "sampled", model=f"{place.out('probed')}/adapter"))
    # the run that the killed one must equal
    found["beta 0.05"] = trained_grpo(grpo_config(place, "uncut", beta=0.05, steps=4, save_every=1))
    llama = sft_config(place, "llama", model=place.base("llama"))
    found["llama"] = trained_sft(llama)
    found["llama grpo"] = trained_grpo(
        grpo_config(place, "llama-grpo", model=f"{llama.out}/adapter", steps=1)
    )
    try:
        load(f"{place.out('sampled')}/adapter")
    except InputError as error:
        found["a plain load here"] = str(error)
    return found


SCENARIOS = {
    function.__name__: function
    for function in (sft, grpo, pad_is_end, probes, reload, lengths, sharing, vllm, fp16_list, chain)
}


def main() -> None:
    backend, folder, result, *names = sys.argv[1:]
    place = Place(backend, os.environ["RMR1_UNSLOTH_ON_CPU"], Path(folder))
    path, found = Path(result), {}
    for name in names:
        try:
            found[name] = SCENARIOS[name](place)
        except Exception:  # the other scenarios still count; the test shows this text
            found[name] = {"error": traceback.format_exc()}
        path.write_text(json.dumps(found))


if __name__ == "__main__":
    main()

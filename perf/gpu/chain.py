"""Parts 2 and 3: the nano chain on one backend, and the quality of its saved adapters."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpu.common import Place, fresh, rows_of

# in a process that nothing has patched
ACCURACY = """
import json, sys
from rmr1_lite.data.pairs import read_pairs
from rmr1_lite.judging.factory import judge_in_memory
from rmr1_lite.evaluation.metrics import score
from rmr1_lite.models.loading import load

loaded, pairs = load(sys.argv[1]), read_pairs(sys.argv[2]).pairs
judge = judge_in_memory(loaded, "compact", "x", 152)
found = score("x", pairs, judge.compare_many(pairs, progress=False), 0.0)
names = ("strict_accuracy", "accuracy", "flip_rate", "unparsed")
print(json.dumps({name: round(getattr(found, name), 4) for name in names}))
"""


def chain(place: Place) -> Iterator[dict[str, Any]]:
    """SFT with a probe at both ends, GRPO from there, two steps with a KL term, accuracy on unseen pairs
    after each stage."""
    from rmr1_lite.config import GRPOConfig, SFTConfig
    from rmr1_lite.training.grpo import train_grpo
    from rmr1_lite.training.sft import train_sft

    common = {
        "backend": place.backend,
        "save_every": 0,
        "style": "compact",
        "preflight": "off",
        "probe_pairs": 20,
        "probe": str(place.data / "validation.jsonl"),
        # without it the other backend's GRPO shares prompts by the kit's own pass
        "gradient_checkpointing": place.backend == "unsloth",
    }
    out = {name: str(fresh(place, f"chain-{name}")) for name in ("sft", "grpo", "kl")}
    short = {"limit": 32, "max_new_tokens": 32, "micro_batch": 8} if place.small else {}
    sft = train_sft(
        SFTConfig(
            chains=str(place.data / "chains.jsonl"),
            out=out["sft"],
            epochs=1.0 if place.small else 2.0,
            probe_every=10**6,
            **common,
            **short,
        )
    )
    yield {"sft_loss": curve(out["sft"], "loss"), "last_sft_probe": curve(out["sft"], "eval/strict_accuracy")}
    yield {"sft_accuracy": accuracy(sft, place)}
    sizes = (
        {"groups": 2, "rollouts": 2, "micro_batch": 4, "steps": 2, "max_new_tokens": 32}
        if place.small
        else {"groups": 8, "rollouts": 8, "micro_batch": 64, "steps": 5}
    )
    asked = {
        "model": str(sft),
        "pairs": str(place.data / "train.jsonl"),
        "max_truncated": 1.0,
        "probe_every": 10**6,
        **sizes,
        **common,
    }
    grpo = train_grpo(GRPOConfig(out=out["grpo"], **asked))
    rows = rows_of(out["grpo"], "loss", "rollout/accuracy", "logp_gap")
    yield {"grpo": rows, "grpo_probe": curve(out["grpo"], "eval/strict_accuracy")}
    train_grpo(GRPOConfig(out=out["kl"], **{**asked, "steps": 2, "beta": 0.05}))
    yield {"kl_at_start": curve(out["kl"], "kl")[0]}
    yield {"grpo_accuracy": accuracy(grpo, place)}


def accuracy(adapter: Path, place: Place) -> dict[str, Any]:
    """Accuracy on the unseen pairs, or the error."""
    command = [sys.executable, "-c", ACCURACY, str(adapter), str(place.data / "test.jsonl")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(done.stderr)
        return {"error": (done.stderr.strip().splitlines() or ["no message"])[-1][:300]}
    return json.loads(done.stdout.splitlines()[-1])


def curve(run: str, name: str) -> list[float]:
    return [round(row[name], 4) for row in rows_of(run, name)]

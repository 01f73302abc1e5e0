"""Part 9: smol on real texts. SFT on converted chains (three seeds), GRPO from there, two controls, each
judged on the same held-out pairs in both orders.

The texts are the user's: a folder (--real) with `model.gguf` (or the wheel), `chains.jsonl`, `pairs.jsonl`
and `heldout.jsonl`, as `data convert` and `data balance` write them.

    seed-0, seed-1, seed-2   SFT, then GRPO
    letters                  SFT on bare verdicts of GRPO's pairs: the bar for chains
    shuffled                 SFT on chains whose verdicts were drawn by a hash: must stay at chance
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpu.common import Place, fresh, rows_of

REAL = "RMR1_GPU_REAL"  # environment variable: the folder of --real
ROOM = 112  # tokens of a chain
FIGURES = ("n", "strict_accuracy", "accuracy", "flip_rate", "unparsed")


def smol_get(place: Place) -> Iterator[dict[str, Any]]:
    """Extract the model from its file, once for all variants."""
    from rmr1_lite.models.smol_convert import get_smol

    started = time.perf_counter()
    file = next(path for path in sorted(real().iterdir()) if path.suffix in (".gguf", ".whl"))
    folder = get_smol(file)
    yield {"seconds": round(time.perf_counter() - started, 1), "files": len(list(folder.iterdir()))}


def smol(place: Place) -> Iterator[dict[str, Any]]:
    """One variant, from the chains to its metrics."""
    from rmr1_lite.data.pairs import read_pairs
    from rmr1_lite.training.grpo import train_grpo
    from rmr1_lite.training.sft import train_sft

    variant = place.backend
    heldout = read_pairs(real() / "heldout.jsonl").pairs[: 4 if place.small else None]
    out = {name: fresh(place, f"smol-{name}") for name in ("sft", "grpo")}
    started = time.perf_counter()
    adapter = train_sft(sft_config(place, variant, out["sft"]))
    took = round(time.perf_counter() - started, 1)
    yield {"sft_seconds": took, "sft_loss": sampled(rows_of(out["sft"], "loss"))}
    yield {"sft": judged(place, adapter, heldout, f"{variant}-sft")}
    keep_adapter(place, adapter, f"adapter-sft-{variant}")
    if not variant.startswith("seed"):
        return
    started = time.perf_counter()
    made = train_grpo(grpo_config(place, variant, adapter, out["grpo"]))
    took = round(time.perf_counter() - started, 1)
    yield {
        "grpo_seconds": took,
        "grpo_rows": rows_of(out["grpo"], "rollout/accuracy", "loss", "time/step_seconds"),
    }
    yield {"grpo": judged(place, made, heldout, f"{variant}-grpo")}
    keep_adapter(place, made, f"adapter-grpo-{variant}")


def real() -> Path:
    return Path(os.environ[REAL])


def seed_of(variant: str) -> int:
    return int(variant.rpartition("-")[2]) if variant.startswith("seed") else 0


def sft_config(place: Place, variant: str, out: Path) -> Any:
    from rmr1_lite.config import preset

    sizes = {"limit": 4, "epochs": 1.0, "batch_size": 2, "micro_batch": 2} if place.small else {}
    return preset(
        "sft",
        "smol",
        **{
            "chains": str(variant_chains(place, variant)),
            "out": str(out),
            "seed": seed_of(variant),
            "backend": "transformers",
            "preflight": "off",
            "lora_r": 8,
            "lora_alpha": 16,
            "epochs": 2.0 if variant != "letters" else 1.0,
            "batch_size": 32,
            "micro_batch": 16,
            "max_length": 1280,
            "save_every": 0,
            "save_minutes": 0.0,
            **sizes,
        },
    )


def grpo_config(place: Place, variant: str, adapter: Path, out: Path) -> Any:
    from rmr1_lite.config import preset

    sizes = {"groups": 32, "rollouts": 8, "micro_batch": 64, "steps": 24, "max_new_tokens": ROOM}
    if place.small:
        sizes = {"groups": 2, "rollouts": 2, "micro_batch": 4, "steps": 2, "max_new_tokens": 16}
    return preset(
        "grpo",
        "smol",
        model=str(adapter),
        pairs=str(real() / "pairs.jsonl"),
        out=str(out),
        seed=seed_of(variant),
        backend="transformers",
        preflight="off",
        lr=2e-4,
        max_prompt_tokens=700,
        max_truncated=1.0,
        save_every=8,
        save_minutes=0.0,
        **sizes,
    )


def variant_chains(place: Place, variant: str) -> Path:
    """The chains unchanged, with meaningless verdicts, or bare verdicts on GRPO's own pairs."""
    path = place.folder / f"chains-{variant}.jsonl"
    made = bare_verdicts() if variant == "letters" else changed_chains(shuffled=variant == "shuffled")
    path.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
    return path


def bare_verdicts() -> Iterator[dict[str, Any]]:
    """Both orders of every training pair, each with its right verdict and no reasoning."""
    for row in rows_in("pairs.jsonl"):
        for order in ("ab", "ba"):
            letter = row["label"] if order == "ab" else "BA"["AB".index(row["label"])]
            yield {**row, "order": order, "chain": f"<answer>[[{letter}]]</answer>"}


def changed_chains(shuffled: bool) -> Iterator[dict[str, Any]]:
    """The chains; with `shuffled` each with the verdict that a hash of its id gives."""
    for row in rows_in("chains.jsonl"):
        before, mark, behind = row["chain"].rpartition("<answer>[[")
        key = f"{row['id']}/{row['order']}".encode()
        letter = "AB"[hashlib.sha256(key).digest()[0] % 2] if shuffled else behind[0]
        yield {**row, "chain": f"{before}{mark}{letter}]]</answer>"}


def rows_in(name: str) -> Iterator[dict[str, Any]]:
    with open(real() / name, encoding="utf-8") as file:
        yield from map(json.loads, file)


def judged(place: Place, adapter: Path, pairs: Any, name: str) -> dict[str, Any]:
    """Metrics on the held-out pairs, and every verdict (letters per order) in the results folder."""
    from rmr1_lite.evaluation.metrics import score
    from rmr1_lite.judging.factory import judge_in_memory
    from rmr1_lite.models.loading import free_memory, load

    started = time.perf_counter()
    judge = judge_in_memory(
        load(str(adapter), four_bit=False), "compact", name, ROOM, 4 if place.small else 256
    )
    judgments = judge.compare_many(pairs, progress=False)
    found = score(name, pairs, judgments, 0.0)
    letters = {j.pair_id: [look.label or look.status for look in j.looks] for j in judgments}
    texts = {j.pair_id: j.looks[0].generation.text for j in judgments[:20]}
    write(place, f"verdicts-{name}.json", {"verdicts": letters, "texts": texts})
    del judge
    free_memory()
    return {
        **{key: getattr(found, key) for key in FIGURES},
        "seconds": round(time.perf_counter() - started, 1),
    }


def write(place: Place, name: str, value: Any) -> None:
    folder = place.folder / "smol-out"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(value), encoding="utf-8")


def keep_adapter(place: Place, adapter: Path, name: str) -> None:
    """The adapter in half precision, as one small file to download."""
    from safetensors.torch import load_file, save_file

    copy = place.folder / name
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(adapter, copy)
    weights = copy / "adapter_model.safetensors"
    save_file({k: v.half() for k, v in load_file(weights).items()}, weights, metadata={"format": "pt"})
    (place.folder / "smol-out").mkdir(exist_ok=True)
    with tarfile.open(place.folder / "smol-out" / f"{name}.tar", "w") as archive:
        archive.add(copy, name)


def sampled(rows: list[dict[str, Any]], most: int = 40) -> list[dict[str, Any]]:
    """At most this many rows of a curve, evenly spaced."""
    step = max(1, len(rows) // most)
    return rows[::step]

"""GRPO on a CPU: the kit's trainer against TRL's own, the same pairs, updates and settings, on nano.

    python perf/grpo_speed.py --out perf/results/grpo-speed-cpu.json

First TRL's trainer gets its best settings: rows per forward pass, threads, and the weights to generate with
(NF4 as it is trained, plain weights, or plain weights with the adapter merged in for the rollout), a few
updates each. Then both train for `--steps` updates on three seeds, one process after the other. The times are
for the updates only, without loading and probes; the curves are compared update by update, since both see the
same pairs in the same order.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from statistics import fmean
from typing import Any

from rmr1_lite.config import preset
from rmr1_lite.models.backend import installed_versions
from rmr1_lite.training.run_folder import read_log

SETTINGS = [
    {"micro_batch": micro, "threads": 2, "rollout": how}
    for micro in (128, 32)
    for how in ("nf4", "plain", "merged")
]
KIT = {"micro_batch": 128, "threads": 2, "rollout": "kit"}
FIRST = 2  # updates left out of the times: allocator and caches


def child(asked: dict[str, Any]) -> None:
    """One training in this process."""
    from rmr1_lite.training.grpo import train_grpo

    how = asked["rollout"]
    config = preset(
        "grpo",
        "nano",
        model="nano-sft",
        pairs=asked["pairs"],
        out=asked["out"],
        seed=asked["seed"],
        steps=asked["steps"],
        micro_batch=asked["micro_batch"],
        save_every=0,
    )
    config = replace(config, shared_prefix=how == "kit", four_bit=how in ("kit", "nf4"))
    if how == "merged":
        _merge_for_rollouts()
    train_grpo(config)


def _merge_for_rollouts() -> None:
    """The best a TRL user can do without a second engine: merge the adapter into plain weights while the
    rollouts are generated."""
    import trl

    plain = trl.GRPOTrainer._generate_single_turn

    @contextmanager
    def merged(model: Any) -> Any:
        model.merge_adapter()
        yield
        model.unmerge_adapter()

    def generate(self: Any, *arguments: Any, **more: Any) -> Any:
        with merged(self.accelerator.unwrap_model(self.model)):
            return plain(self, *arguments, **more)

    trl.GRPOTrainer._generate_single_turn = generate


def trained(
    folder: Path, pairs: Path, seed: int, steps: int, setting: dict[str, Any]
) -> list[dict[str, Any]]:
    """The log of one training in a separate process, and how long each update took."""
    out = folder / f"{setting['rollout']}-{setting['micro_batch']}-{setting['threads']}-{seed}-{steps}"
    asked = {**setting, "pairs": str(pairs), "out": str(out), "seed": seed, "steps": steps}
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(setting["threads"]),
        "TOKENIZERS_PARALLELISM": "false",
    }
    command = [sys.executable, __file__, "--child", json.dumps(asked)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{setting} failed:\n{done.stderr[-3000:]}")
    return [row for row in read_log(out / "metrics.jsonl") if "rollout/reward_mean" in row]


def seconds(rows: list[dict[str, Any]], first: int) -> float:
    """Mean seconds of an update after the first ones."""
    return fmean(row["time/step_seconds"] for row in rows[first:])


def best(folder: Path, pairs: Path, updates: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """TRL's fastest setting, and the time of each."""
    found = []
    for setting in SETTINGS:
        found.append(
            {**setting, "seconds": round(seconds(trained(folder, pairs, 0, updates, setting), 1), 2)}
        )
        print(found[-1], flush=True)
    fastest = min(found, key=lambda row: row["seconds"])
    single = {**{name: fastest[name] for name in ("micro_batch", "rollout")}, "threads": 1}
    found.append({**single, "seconds": round(seconds(trained(folder, pairs, 0, updates, single), 1), 2)})
    print(found[-1], flush=True)
    fastest = min(found, key=lambda row: row["seconds"])
    return {name: fastest[name] for name in ("micro_batch", "threads", "rollout")}, found


def curve_difference(kit: list[list[dict[str, Any]]], stock: list[list[dict[str, Any]]]) -> dict[str, float]:
    """Accuracy of the rollouts, kit minus TRL, over all updates of all seeds, with a 95 % interval of the
    mean."""
    from scipy import stats

    apart = [
        ours["rollout/accuracy"] - theirs["rollout/accuracy"]
        for one, two in zip(kit, stock, strict=True)
        for ours, theirs in zip(one, two, strict=True)
    ]
    low, high = stats.t.interval(0.95, len(apart) - 1, fmean(apart), stats.sem(apart))
    return {
        "mean": round(fmean(apart), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
        "updates": len(apart),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--steps", type=int, default=20, help="updates of each training (default %(default)s)"
    )
    parser.add_argument("--seeds", type=int, default=3, help="seeds (default %(default)s)")
    parser.add_argument(
        "--tries", type=int, default=3, help="updates of each of TRL's settings (default %(default)s)"
    )
    parser.add_argument("--out", type=Path, help="JSON to write")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return child(json.loads(args.child))
    from rmr1_lite.data.nano.dataset import NanoData, write_nano_data

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        pairs = write_nano_data(folder / "data", NanoData(train=2000, validation=2, test=2)) / "train.jsonl"
        setting, tried = best(folder, pairs, args.tries)
        rows = {"kit": [], "stock": []}
        for seed in range(args.seeds):
            for name, chosen in (("stock", setting), ("kit", KIT)):
                rows[name].append(trained(folder, pairs, seed, args.steps, chosen))
                print(seed, name, round(seconds(rows[name][-1], FIRST), 2), "s per update", flush=True)
    spent = {name: [round(seconds(one, FIRST), 3) for one in found] for name, found in rows.items()}
    made = {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "versions": installed_versions(),
        "cores": os.cpu_count(),
        "rollouts_per_update": "16 x 8",
        "updates": args.steps,
        "seeds": args.seeds,
        "kit": KIT,
        "stock": setting,
        "stock_tried": tried,
        "seconds_per_update": spent,
        "ratio_by_seed": [round(s / k, 2) for s, k in zip(spent["stock"], spent["kit"], strict=True)],
        "ratio": round(fmean(spent["stock"]) / fmean(spent["kit"]), 2),
        "accuracy_of_rollouts": {
            name: [round(fmean(r["rollout/accuracy"] for r in one), 4) for one in found]
            for name, found in rows.items()
        },
        "kit_less_stock": curve_difference(rows["kit"], rows["stock"]),
        "largest_logp_gap": max(row["logp_gap"] for one in rows["kit"] for row in one if "logp_gap" in row),
    }
    if args.out:
        args.out.write_text(json.dumps(made, indent=2) + "\n")
    print(
        json.dumps(
            {name: made[name] for name in ("seconds_per_update", "ratio_by_seed", "ratio", "kit_less_stock")},
            indent=2,
        )
    )


if __name__ == "__main__":
    main()

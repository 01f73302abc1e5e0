"""When a training stops or changes its settings: a loss that is not a number, truncated rollouts, a start
that is not the SFT policy."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

from rmr1_lite.config import GRPOConfig
from rmr1_lite.storage import write_json
from rmr1_lite.training.run_folder import Run, read_log
from rmr1_lite.types import TrainingStopped

# Allowed rounding: policy and reference come from different passes, in bf16 up to a few hundredths of a
# nat per token apart
KL_AT_START = 1e-2


def check_kl_at_start(trainer: Any, run: Run) -> Any:
    """After the first step of a new run: the KL to the starting policy must be 0 there. If it is not, the
    reference is not the SFT policy, and the run continues without the KL term, even after a
    resume, and reports it."""

    mark = run.folder / "kl-start.json"
    if run.step and mark.exists():
        print("The KL of step 1 was not 0: beta stays 0.")
        trainer.beta = 0.0

    def look(row: dict[str, Any]) -> None:
        if row["step"] != 1 or run.step or not trainer.beta > 0:
            return
        if abs(row.get("kl", 0.0)) <= KL_AT_START:
            print(f"Step 1: the KL to the starting policy is {row.get('kl', 0.0):.1e}, 0 up to rounding.")
        else:
            print(
                f"Step 1: the KL to the starting policy is {row['kl']:.4f}, not 0: its reference is another "
                "policy. beta is 0 from here on."
            )
            write_json(mark, {"kl": row["kl"]})
            trainer.beta = 0.0

    return look


class TruncationStop:
    """Stop when the share of truncated rollouts stays above `limit`: the reward would then only teach the
    model to be short."""

    def __init__(self, limit: float, patience: int = 5) -> None:
        self.limit, self.patience, self.over = limit, patience, 0

    def __call__(self, row: dict[str, Any]) -> None:
        self.over = self.over + 1 if row.get("rollout/truncated", 0.0) > self.limit else 0
        if self.over >= self.patience:
            raise TrainingStopped(
                f"step {row['step']}: {row['rollout/truncated']:.0%} of the rollouts were truncated, more "
                f"than {self.limit:.0%} for {self.patience} steps. Raise max_new_tokens (with another "
                "--out), or first train SFT longer."
            )


def check_start(probe: Any, config: GRPOConfig, run: Run) -> Any:
    """The probe, with a check on its first call at step 0: it must match the end of SFT on the same
    pairs."""
    before = last_sft_probe(config)
    if probe is None or before is None or run.step:
        return probe
    calls = itertools.count()

    def probe_and_check() -> dict[str, float]:
        now = probe()
        if next(calls) == 0:
            _compare_start(before, now)
        return now

    return probe_and_check


def last_sft_probe(config: GRPOConfig) -> dict[str, float] | None:
    """The probe's result at the end of the SFT run that `model` came from, if it used the same probe
    file."""
    folder = Path(config.model).parent
    try:
        began = json.loads((folder / "config.json").read_text())
        settings, rows = began["settings"], read_log(folder / "metrics.jsonl")
    except (OSError, ValueError, KeyError):
        return None
    if began.get("stage") != "sft":
        return None
    same = all(
        settings.get(name) == getattr(config, name) for name in ("probe", "probe_pairs", "max_new_tokens")
    )
    probes = [row for row in rows if "eval/strict_accuracy" in row]
    return probes[-1] if probes and same else None


def _compare_start(before: dict[str, float], now: dict[str, float]) -> None:
    was, is_now = before["eval/strict_accuracy"], now["strict_accuracy"]
    if before.get("eval/too_long", 0.0) != now.get("too_long", 0.0):
        print(
            "Step 0 is not compared with the end of SFT: the stages differ in length, and so in the prompts "
            "that are too long."
        )
        return
    print(f"Step 0 check: strict accuracy on the probe {is_now:.3f}, SFT ended with {was:.3f}.")
    if abs(was - is_now) > 0.03:
        raise TrainingStopped(
            "Step 0 is not the SFT policy: the adapter or the base was changed. Train SFT again."
        )


def stop_if_not_finite(row: dict[str, Any]) -> None:
    """Stop on a loss that is not a number: the run cannot recover from it."""
    if not math.isfinite(row.get("loss", 0.0)):
        raise TrainingStopped(
            f"step {row['step']}: the loss is {row['loss']}. Lower lr or max_grad_norm and give another "
            "--out: a resume keeps its original settings."
        )

"""The `policy` command: a judge as the reward of a small policy, beside the truth."""

from __future__ import annotations

import os
import time
from datetime import date
from pathlib import Path

from rmr1_lite.cli.options_from_config import from_config
from rmr1_lite.cli.outputs import this_command
from rmr1_lite.config import PolicyConfig
from rmr1_lite.exit_status import PartlyDone
from rmr1_lite.extras import need

NEEDS = ("trl", "torch", "datasets", "matplotlib")


@from_config(PolicyConfig)
def policy(config: PolicyConfig) -> None:
    """Train a small policy of the nano world with a judge as its only reward, beside the truth: several
    seeds, random verdicts, a weaker judge. The same command resumes."""
    need(*NEEDS)
    from rmr1_lite.policy.curves import write_curves
    from rmr1_lite.policy.study import run_study
    from rmr1_lite.policy.summary import markdown, stops, summarise
    from rmr1_lite.storage import atomic_write_text, write_json

    began = time.monotonic()
    results = run_study(config)
    if config.only:
        return
    out = Path(config.out)
    summary = summarise(results)
    about = {
        "command": this_command(),
        "date": f"{date.today():%Y-%m-%d}",
        "cores": os.cpu_count(),
        "seconds_since_last_start": round(time.monotonic() - began, 1),
    }
    write_json(out / "summary.json", about | summary)
    atomic_write_text(out / "summary.md", markdown(summary))
    print("\n" + markdown(summary))
    print(f"Curves: {write_curves(results, out / 'curves.png')}")
    print(f"Summary: {out / 'summary.json'}. What the judge was asked: {out}/*/judge_calls.jsonl")
    if early := stops(summary):
        raise PartlyDone(f"{len(early)} of {len(results)} trainings ended early; what they reached counts.")

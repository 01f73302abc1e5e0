"""A training inside a longer program (a notebook, the demo): in this process, or with Unsloth in a separate
process.

Unsloth patches transformers, PEFT and TRL for the whole process and must be imported before them. A
notebook has already imported them when it trains, and both it and the demo judge with them afterwards, which
no longer works in a patched process (a plain model lacks what Unsloth's forward passes expect). So when
Unsloth trains, it gets a separate process, whose output is shown as it arrives and whose end releases the
card's memory. It dies with its parent: a restarted kernel must not compete with a training that it has
forgotten.

    adapter = train("sft", config)
"""

from __future__ import annotations

import ctypes
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, cast

from rmr1_lite.config import CONFIGS, as_json
from rmr1_lite.environment import environment_with_kit
from rmr1_lite.models.backend import choose_backend, this_machine
from rmr1_lite.storage import write_json
from rmr1_lite.training.planning.preflight import REFUSED
from rmr1_lite.types import InputError, TrainingStopped

STOPPED = 3  # exit status: the training met a stop condition
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux


def train(stage: str, config: Any, apart: bool | None = None) -> Path:
    """Train or resume "sft" or "grpo"; returns the adapter folder. apart: in a separate process; by default
    with Unsloth.

    Raises InputError and TrainingStopped as the training itself does.
    """
    if apart is None:
        apart = choose_backend(config.backend, this_machine()).unsloth
    if not apart:
        return _train_here(stage, config)
    with tempfile.TemporaryDirectory(prefix="rmr1_train_") as folder:
        asked, said = Path(folder) / "asked.json", Path(folder) / "said.txt"
        write_json(asked, {"stage": stage, "config": as_json(config), "said": str(said)})
        status = _run_and_show([sys.executable, "-m", "rmr1_lite.training.process", str(asked)])
        words = (
            said.read_text(encoding="utf-8") if said.exists() else f"The training ended with status {status}."
        )
    if status in (REFUSED, STOPPED):
        raise (InputError if status == REFUSED else TrainingStopped)(words)
    if status:
        raise RuntimeError(
            f"{words} See its output above; the same cell or command resumes from its last checkpoint."
        )
    return Path(config.out) / "adapter"


def _run_and_show(command: list[str]) -> int:
    """Run a command, show its output as it arrives, return its status. An interrupt ends it."""
    process = subprocess.Popen(
        command,
        env=environment_with_kit(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=_die_with_parent if sys.platform == "linux" else None,
    )
    output = cast(io.BufferedReader, process.stdout)  # a pipe of bytes was requested
    try:
        while part := output.read1(4096):
            sys.stdout.write(part.decode(errors="replace"))
            sys.stdout.flush()
        return process.wait()
    finally:
        process.kill()
        process.wait()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)


def _train_here(stage: str, config: Any) -> Path:
    from rmr1_lite.training.grpo import train_grpo
    from rmr1_lite.training.sft import train_sft

    return train_sft(config) if stage == "sft" else train_grpo(config)


def main(path: Path) -> None:
    """The training itself, in the process made for it."""
    asked = json.loads(path.read_text(encoding="utf-8"))
    try:
        _train_here(asked["stage"], CONFIGS[asked["stage"]](**asked["config"]))
    except (InputError, TrainingStopped) as error:
        Path(asked["said"]).write_text(str(error), encoding="utf-8")
        sys.exit(REFUSED if isinstance(error, InputError) else STOPPED)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

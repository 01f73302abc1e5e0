"""Several trainings at once, each in a separate process with its share of the cores.

A small model gains little from a second thread (1.5 times on two cores), so two runs with one thread each
finish sooner in parallel than one after the other; with two threads each they would be many times slower.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rmr1_lite.children import ended, reaped
from rmr1_lite.types import TrainingStopped

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
POLL = 2.0  # seconds
GRACE = 60.0  # seconds from SIGTERM to SIGKILL: a training stores its state


def run_all(
    commands: Mapping[str, Sequence[str]],
    folder: Path,
    jobs: int,
    watch: Callable[[Sequence[str]], None],
    poll: float = POLL,
) -> None:
    """Run every command, at most `jobs` at a time, in the order given; the output of NAME goes to
    folder/NAME.log.

    watch: called with the names that are running, every `poll` seconds. Raises TrainingStopped with the end
    of the log when one fails; the others are then stopped, as they are when this process is interrupted.
    """
    waiting, running = dict(commands), dict[str, subprocess.Popen]()
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, **dict.fromkeys(THREADS, str(threads_per_job(jobs)))}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                name = next(iter(waiting))
                running[name] = _start_process(waiting.pop(name), folder / f"{name}.log", environment)
            watch(list(running))
            time.sleep(poll)
            for name in [name for name, process in running.items() if ended(process)]:
                _check_status(name, running.pop(name).returncode, folder / f"{name}.log")
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            ended(process, within=GRACE)
            process.kill()


def threads_per_job(jobs: int) -> int:
    """Threads per job: the cores divided among the jobs."""
    return max(1, (os.cpu_count() or 1) // jobs)


def _start_process(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> subprocess.Popen:
    with open(log, "ab") as file:  # a resumed run adds to its log
        child = subprocess.Popen(list(command), stdout=file, stderr=subprocess.STDOUT, env=dict(environment))
    return reaped(child)


def _check_status(name: str, status: int, log: Path) -> None:
    if status:
        end = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:])
        raise TrainingStopped(f"{name} ended with status {status}. Its log {log} ends with:\n{end}")

"""Real servers for tests and measurements, started by the kit's own launcher, in 32 bits: only then must
their texts be those of the kit's own engine.

`running` is `python -m rmr1_lite serve` as a user runs it; `launched` starts a server with other arguments.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nano_exports import Exports

from rmr1_lite.environment import environment_with_kit
from rmr1_lite.integrations.serving import process
from rmr1_lite.integrations.serving.commands import Launch, command_line, environment_for
from rmr1_lite.integrations.serving.serve import ServeRequest, plan_launch
from rmr1_lite.integrations.serving.target import find_target

START = 240.0  # seconds; vLLM compiles its bytecode at the first start
READY = "Ctrl-C ends it"
# of so small a model; two threads wait for each other, and crawl where the machine has other work
SETTINGS = {"OMP_NUM_THREADS": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
ONE_THREAD = {"llama.cpp": ("--threads", "1")}
# engine: which export it serves
SERVERS = {"llama.cpp": "gguf", "transformers": "merged", "vllm": "lora"}


@dataclass(frozen=True)
class Served:
    """A running server. spec: of the judge there. log: its output. said: what `serve` printed."""

    name: str
    url: str
    spec: str
    log: Path
    said: Path


@contextmanager
def running(name: str, exports: Exports, folder: Path) -> Iterator[Served]:
    """A server of the table by `serve`, ended as a user ends it. Raises RuntimeError if it does not start,
    AssertionError if it does not end well."""
    judge, port, said = getattr(exports, SERVERS[name]), free_port(), folder / "said.txt"
    command = [sys.executable, "-m", "rmr1_lite", "serve", str(judge), "--engine", name, "--port", str(port)]
    command += ["--wait", str(START), "--", *ONE_THREAD.get(name, ())]
    with said.open("wb") as out:
        child = subprocess.Popen(
            command,
            cwd=folder,
            env=environment_with_kit(os.environ) | SETTINGS,
            stdout=out,
            stderr=subprocess.STDOUT,
            # tests in the background of a script run with Ctrl-C ignored, which a child inherits
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    try:
        _wait_for(child, said)
        launch = plan(name, judge, port)
        log = folder / "runs" / "served" / f"judge-{name}-{port}.log"
        yield Served(name, f"{launch.root}/v1", launch.spec, log, said)
    finally:
        child.send_signal(signal.SIGINT)
        assert child.wait(60) == 0, said.read_text(encoding="utf-8")


@contextmanager
def launched(launch: Launch, log: Path, settings: dict[str, str] = SETTINGS) -> Iterator[None]:
    """A server from its first answer on."""
    environment = environment_for(launch, "", {**os.environ, **settings})
    with process.running(command_line(launch), environment, launch.root, log) as server:
        server.wait_until_ready(START)
        yield


def plan(engine: str, judge: Path, port: int, *extra: str) -> Launch:
    """How `serve` starts a judge on a CPU."""
    target = find_target(str(judge))
    assert target is not None
    more = (*ONE_THREAD.get(engine, ()), *extra)
    return plan_launch(ServeRequest(str(judge), engine, port=port, extra=more), target, card=False)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _wait_for(child: subprocess.Popen[bytes], said: Path) -> None:
    while READY not in (words := said.read_text(encoding="utf-8")):
        if child.poll() is not None:
            raise RuntimeError(f"serve ended: {child.returncode}\n{words}")
        time.sleep(0.2)

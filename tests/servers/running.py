"""Starts a server as a process on a free port of 127.0.0.1, waits until it answers, and ends it.

Each row of SERVERS is one server as its users start it, in 32 bits if that is not its default: only then
must its texts be those of the kit's own engine.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nano_exports import LLAMA, ROOT, Exports

HERE = Path(__file__).parent
VLLM = ROOT / ".venv-vllm" / "bin" / "python"
CONTEXT = 768  # nano's
START = 240.0  # seconds; vLLM compiles its bytecode at the first start
SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GB
    "PYTHONDONTWRITEBYTECODE": "",  # vLLM's processes would each compile a thousand modules at every start
    "OMP_NUM_THREADS": "1",  # of so small a model; more threads wait for each other
}


@dataclass(frozen=True)
class Served:
    """A running server. model: its name for the model. log: its output."""

    name: str
    url: str
    model: str
    log: Path

    @property
    def spec(self) -> str:
        return f"openai:{self.model}@{self.url}"


Command = Callable[[Exports, int], list[str]]


def transformers_serve(exports: Exports, port: int) -> list[str]:
    program = str(Path(sys.executable).parent / "transformers")
    where = ["--host", "127.0.0.1", "--port", str(port)]
    return [program, "serve", str(exports.merged), "--device", "cpu", "--dtype", "float32", *where]


def vllm(exports: Exports, port: int, *more: str) -> list[str]:
    # the package is not called vllm, so its command `vllm` fails; the module does the same
    program = [str(VLLM), "-m", "vllm.entrypoints.openai.api_server"]
    model = ["--model", str(exports.merged), "--served-model-name", "judge", "--dtype", "float32"]
    where = ["--host", "127.0.0.1", "--port", str(port)]
    return [*program, *model, "--max-model-len", str(CONTEXT), "--enforce-eager", *where, *more]


def llama_cpp(exports: Exports, port: int, *more: str) -> list[str]:
    program = [str(LLAMA / "bin" / "python"), str(HERE / "llama_server.py")]
    return [*program, str(exports.gguf), str(port), str(CONTEXT), *more]


# name: (command, the name of the model there)
SERVERS: dict[str, tuple[Command, Callable[[Exports], str]]] = {
    "llama.cpp": (llama_cpp, lambda exports: "judge"),
    "transformers": (transformers_serve, lambda exports: str(exports.merged)),
    "vllm": (vllm, lambda exports: "judge"),
}


@contextmanager
def running(name: str, exports: Exports, log: Path) -> Iterator[Served]:
    """A server of the table."""
    command, model = SERVERS[name]
    port = free_port()
    with process(command(exports, port), port, log):
        yield Served(name, f"http://127.0.0.1:{port}/v1", model(exports), log)


@contextmanager
def process(command: list[str], port: int, log: Path, ready: str = "health") -> Iterator[None]:
    """A server's process from its first answer on. Raises RuntimeError with the end of its log if there
    is none."""
    with log.open("wb") as out:
        child = subprocess.Popen(
            command,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **SETTINGS},
            start_new_session=True,  # vLLM has children of its own
        )
    try:
        _wait_for(child, f"http://127.0.0.1:{port}/{ready}", log)
        yield
    finally:
        _end(child)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def tail(log: Path, characters: int = 4000) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-characters:]


def _wait_for(child: subprocess.Popen, url: str, log: Path) -> None:
    deadline = time.monotonic() + START
    while not _answers(url):
        if child.poll() is not None or time.monotonic() > deadline:
            why = f"did not answer in {START:.0f} s" if child.poll() is None else f"ended: {child.returncode}"
            raise RuntimeError(f"{child.args[:3]} {why}\n{tail(log)}")
        time.sleep(0.2)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return reply.status == 200
    except (urllib.error.URLError, OSError):
        return False


def _end(child: subprocess.Popen) -> None:
    """Stop the complete group: terminated first, then killed."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, sign)
            child.wait(15)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue

"""A server as a process: started, waited for, watched, and stopped with everything that it started.

Each server leads a process group of its own, because vLLM's engine is a child that survives its parent
(vllm#55510: it keeps the card while the port is free). Output goes into a file: a pipe that nobody reads
fills and stops the server. Ready is what /health says: llama-server answers 503 there while it loads, and
/v1/models too early. Requests to this machine never go through a proxy.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rmr1_lite.children import ended, reaped
from rmr1_lite.types import InputError

GRACE = 10.0  # seconds from SIGTERM to SIGKILL; vLLM does not listen to it while it loads
GONE = 5.0  # seconds for killed processes to free the card
PAUSE = 0.2  # seconds between two questions whether it answers
TAIL = 4000  # characters of a log that are shown
EVERY = 15.0  # seconds between two progress lines where there is no terminal
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ServerEnded(InputError):
    """The server ended by itself, or never answered: how, and the end of its log."""


@dataclass(frozen=True)
class Server:
    """A running server. root: its address without /v1. secret: never shown, also not from its log."""

    child: subprocess.Popen[bytes]
    root: str
    log: Path
    secret: str = ""

    def end_of_log(self) -> str:
        return tail(self.log, self.secret)

    def how_it_ended(self) -> str:
        """The exit status in words. Only for a server that has ended."""
        status = self.child.returncode
        if status >= 0:
            return f"exit status {status}"
        name = signal.Signals(-status).name if -status in set(signal.Signals) else str(-status)
        return f"killed by {name}" + (" (often: no memory was left)" if name == "SIGKILL" else "")

    def check_alive(self) -> None:
        """Raises ServerEnded."""
        if ended(self.child):
            raise ServerEnded(f"The server ended: {self.how_it_ended()}.\n{self._log_words()}")

    def wait_until_ready(self, limit: float, say: Callable[[float], None] = lambda seconds: None) -> None:
        """Wait for its first answer. say: gets the seconds so far. Raises ServerEnded if there is none."""
        began = time.monotonic()
        while not answers(f"{self.root}/health"):
            self.check_alive()
            seconds = time.monotonic() - began
            if seconds > limit:
                raise ServerEnded(
                    f"The server did not answer within {limit:.0f} s. If it is still loading, give more time "
                    f"with --wait.\n{self._log_words()}"
                )
            say(seconds)
            time.sleep(min(PAUSE, limit))
        self.check_alive()  # else another program answers on its port

    def watch(self) -> None:
        """Wait until the server ends, which is never wanted. Raises ServerEnded then."""
        while not ended(self.child, within=60):
            pass
        self.check_alive()

    def _log_words(self) -> str:
        return f"The end of its log ({self.log}):\n{self.end_of_log()}"


@contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str], root: str, log: Path, secret: str = ""
) -> Iterator[Server]:
    """A server from its start to its end, whatever happens in the block."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        server = Server(_start(command, environment, out.fileno()), root, log, secret)
    try:
        yield server
    finally:
        stop(server.child)


def stop(child: subprocess.Popen[bytes]) -> None:
    """End the complete group: terminated, after GRACE or at the next Ctrl-C killed. What the leader left
    behind is killed as well."""
    try:
        if not ended(child):
            _signal_group(child, force=False)
            ended(child, within=GRACE)
    except KeyboardInterrupt:
        pass
    finally:
        _signal_group(child, force=True)
        ended(child, within=GONE)
        _wait_until_gone(child.pid)


def answers(url: str) -> bool:
    """Whether a GET has status 200."""
    try:
        with _DIRECT.open(url, timeout=5) as reply:
            return reply.status == 200
    except (urllib.error.URLError, OSError, ValueError):
        return False


def served_names(root: str, key: str = "") -> list[str]:
    """The names of the models at an address, empty where it lists none."""
    asked = urllib.request.Request(f"{root}/v1/models")
    if key:
        asked.add_header("Authorization", f"Bearer {key}")
    try:
        with _DIRECT.open(asked, timeout=10) as reply:
            rows = json.loads(reply.read())["data"]
            return [str(row["id"]) for row in rows]
    except (urllib.error.URLError, OSError, ValueError, KeyError, TypeError):
        return []


def tail(log: Path, secret: str = "") -> str:
    """The end of a log as text for a terminal: without colours and control characters, the secret
    masked."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL))
        text = file.read().decode("utf-8", errors="replace")
    text = text.replace(secret, "***") if secret else text
    return "".join(c if c.isprintable() or c in "\n\t" else " " for c in text).strip() or "(empty)"


@contextmanager
def ends_as_interrupts() -> Iterator[None]:
    """SIGTERM and a closed terminal end the block as Ctrl-C does, so that the server is stopped too. What
    is ignored stays so: under nohup a closed terminal ends nothing."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    heard = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    former = {number: signal.signal(number, interrupt) for number in heard}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _start(command: Sequence[str], environment: Mapping[str, str], out: int) -> subprocess.Popen[bytes]:
    try:
        child = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
            preexec_fn=_follow_parent() if sys.platform == "linux" else None,
        )
    except OSError as error:
        raise InputError(f"{command[0]} cannot be started ({error.strerror}). Check the program.") from None
    return reaped(child)


def _follow_parent() -> Callable[[], None]:
    """Have the kernel terminate the server when this process is killed, which no handler sees."""
    import ctypes

    set_option, parent_death_signal = ctypes.CDLL(None).prctl, 1
    return lambda: set_option(parent_death_signal, signal.SIGTERM)


def _wait_until_gone(group: int) -> None:
    """Until a killed group has no process left: then its memory is free for the next server."""
    deadline = time.monotonic() + GONE
    with suppress(ProcessLookupError, PermissionError, AttributeError):  # Windows has no groups
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(0.02)


def _signal_group(child: subprocess.Popen[bytes], force: bool) -> None:
    if os.name == "nt":  # no groups there: the tree is named by its root
        words = ["taskkill", "/T", *(["/F"] if force else []), "/PID", str(child.pid)]
        subprocess.run(words, capture_output=True, check=False)
        return
    with suppress(ProcessLookupError, PermissionError):  # macOS refuses a group of ended processes
        os.killpg(child.pid, signal.SIGKILL if force else signal.SIGTERM)

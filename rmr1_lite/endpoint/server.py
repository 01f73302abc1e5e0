"""Opens the port, loads the judge, serves, and stops without losing a request.

The port is opened before the judge is loaded: one in use costs no waiting, and /health answers from the
start. The first SIGTERM or Ctrl+C refuses new requests (503) and finishes those under way; the second stops
at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from logging.handlers import WatchedFileHandler
from typing import TYPE_CHECKING, Any

from rmr1_lite.app.address import LOCAL
from rmr1_lite.endpoint.desk import Desk
from rmr1_lite.endpoint.metrics import Metrics
from rmr1_lite.endpoint.settings import EndpointConfig, check_settings, read_keys
from rmr1_lite.exit_status import DONE, PARTLY_DONE, PartlyDone
from rmr1_lite.extras import need
from rmr1_lite.types import InputError

if TYPE_CHECKING:
    from rmr1_lite.api.pairwise import PairwiseJudge

POLL = 0.05  # seconds between two looks at the signals
CLOSE_SECONDS = 2  # for connections to close once everything is answered


def run_endpoint(
    config: EndpointConfig, spec: str, load: Callable[[], PairwiseJudge], batch_size: int
) -> None:
    """Serve until a signal. load: makes the judge, on another thread. Raises InputError for settings that
    cannot work, a port in use, and a judge that cannot be loaded; PartlyDone if requests were dropped at the
    end."""
    check_settings(config)
    keys = read_keys(config, config.host in LOCAL)
    need("fastapi", "uvicorn")
    listening = open_port(config.host, config.port)
    server = EndpointServer(config, spec, load, batch_size, keys, open_log(config.log_file))
    print(f"Listening on {address_of(listening)}, loading {server.shown} ...", flush=True)
    asyncio.run(server.serve(listening))
    print(server.farewell(), flush=True)
    if server.busy:  # a thread that computes for nobody would hold the process
        sys.stderr.flush()
        os._exit(PARTLY_DONE if server.dropped else DONE)
    if server.failure is not None:
        raise server.failure
    if server.dropped:
        raise PartlyDone(f"{server.dropped} requests were not answered")


def open_port(host: str, port: int) -> socket.socket:
    """A listening socket. Raises InputError if the port is in use, or the address is not this machine's."""
    name = host.strip("[]")
    try:
        return socket.create_server((name, port), family=socket.AF_INET6 if ":" in name else socket.AF_INET)
    except OSError as error:
        words = error.strerror or str(error)
        raise InputError(f"Port {port} on {host} cannot be opened ({words}). Give another --port.") from None


def address_of(listening: socket.socket) -> str:
    """What to type into a client."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def open_log(path: str) -> logging.Logger:
    """The access log. A file that is moved away (logrotate) is opened again."""
    log = logging.Logger("rmr1_endpoint", logging.INFO)
    try:
        handler = WatchedFileHandler(path, encoding="utf-8") if path else logging.StreamHandler()
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}). Give another --log-file.") from None
    form = logging.Formatter("%(asctime)sZ %(message)s", "%Y-%m-%dT%H:%M:%S")
    form.converter = time.gmtime
    handler.setFormatter(form)
    log.addHandler(handler)
    return log


@dataclass
class EndpointServer:
    """failure: why it ended by itself. dropped: requests that were not finished at the end. signals: how
    often it was asked to stop. busy: a thread is still at work."""

    config: EndpointConfig
    spec: str
    load: Callable[[], PairwiseJudge]
    batch_size: int
    keys: tuple[str, ...]
    log: logging.Logger
    signals: int = 0
    dropped: int = 0
    busy: bool = False
    failure: BaseException | None = None

    @property
    def shown(self) -> str:
        """The judge's name without what may follow in an address."""
        return self.spec.partition("?")[0]

    async def serve(self, listening: socket.socket) -> None:
        """Until a signal, or until the judge turns out not to load."""
        from rmr1_lite.endpoint.gate import Gate
        from rmr1_lite.endpoint.routes import build_app

        self.metrics = Metrics()
        self.desk = Desk(self.config, self.metrics, self.batch_size)
        app = build_app(self.desk, self.metrics, self.config, self.shown)
        open_to_all = not self.config.key
        self.gate = Gate(app, self.desk, self.metrics, self.config, self.log, self.keys, open_to_all)
        server = make_server(self.gate, self._asked_to_stop)
        tasks = [asyncio.create_task(self._load(server)), asyncio.create_task(self._stop_when_asked(server))]
        await server.serve([listening])
        for task in tasks:
            task.cancel()
        self.desk.close("The endpoint has stopped.")

    def _asked_to_stop(self) -> None:
        self.signals += 1

    async def _load(self, server: Any) -> None:
        pool = ThreadPoolExecutor(1, thread_name_prefix="load")
        self.busy = True
        loading = asyncio.get_running_loop().run_in_executor(pool, self.load)
        await asyncio.wait([loading])
        self.busy, self.failure = False, loading.exception()
        if self.failure is not None:
            server.should_exit = True
            return
        self.desk.start(loading.result())
        print(f"Ready: POST /compare, /rank, /best-of, /score; GET /docs. Judge: {self.shown}", flush=True)

    async def _stop_when_asked(self, server: Any) -> None:
        """Finish what is under way after the first signal, up to the limit or the second signal."""
        while not self.signals:
            await asyncio.sleep(POLL)
            if broken := next((task for task in self.desk.workers if task.done()), None):
                self.failure = broken.exception()  # a defect: better no endpoint than one that hangs
                break
        self.desk.stopping = True
        if self.gate.inside and self.failure is None:
            print(f"Stopping: {self.gate.inside} requests are under way.", flush=True)
        until = time.monotonic() + self.config.grace
        while self.gate.inside and self.signals < 2 and time.monotonic() < until and self.failure is None:
            await asyncio.sleep(POLL)
        left = (*self.desk.waiting, *self.desk.working)
        self.dropped = sum(not job.answer.done() for job in left)
        self.busy = self.busy or bool(self.desk.working)
        self.desk.close("The endpoint stopped before this request was finished. Send it again.")
        server.should_exit, server.force_exit = True, self.signals > 1

    def farewell(self) -> str:
        """The final line."""
        answered, calls = (self.metrics.value(f"rmr1_{name}_total") for name in ("requests", "judge_calls"))
        gone = self.metrics.value("rmr1_abandoned_total")
        return (
            f"Stopped: {answered:.0f} requests answered, {gone:.0f} abandoned by their clients, "
            f"{self.dropped} dropped; {calls:.0f} judge calls."
        )


def make_server(app: Any, asked_to_stop: Callable[[], None]) -> Any:
    """uvicorn, whose own reaction to a signal (close the port, end by the signal) is replaced."""
    import uvicorn

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: Any) -> None:
            asked_to_stop()

    return Server(
        uvicorn.Config(
            app,
            lifespan="off",
            ws="none",
            access_log=False,
            log_config=None,
            log_level="error",
            server_header=False,
            timeout_graceful_shutdown=CLOSE_SECONDS,
        )
    )

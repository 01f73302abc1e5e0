"""The outermost layer: key, limits, time, hang-ups, and the line in the access log.

Plain ASGI. Behind Starlette's BaseHTTPMiddleware a hang-up is never noticed; here the body is read first (no
more than the limit, whatever content-length says), so that the next thing the connection can report is its
end. A refused body is not kept but discarded for a moment: a server that closes at once makes many clients
report a broken connection instead of the answer.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from rmr1_lite.app.judges import comes_from_here
from rmr1_lite.endpoint.bodies import (
    HungUp,
    Message,
    Receive,
    Send,
    discard_body,
    read_body,
    replay,
    wait_for_end,
)
from rmr1_lite.endpoint.desk import Desk
from rmr1_lite.endpoint.errors import Refused
from rmr1_lite.endpoint.metrics import OTHER_ROUTE, ROUTES, Metrics
from rmr1_lite.endpoint.settings import KEY_VARIABLE, EndpointConfig

App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

BODY_SECONDS = 30.0  # for a body to arrive
VISIT = "rmr1.visit"  # where the scope holds the visit


@dataclass
class Visit:
    """One request. status: of its answer, 0 without one. calls: judge calls made for it."""

    route: str
    method: str
    began: float = field(default_factory=time.monotonic)
    status: int = 0
    calls: int = 0
    started: bool = False
    unread: bool = True

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began


class Gate:
    """keys: () asks for none. open_to_all: answer also what other machines sent, without a key."""

    def __init__(
        self,
        app: App,
        desk: Desk,
        metrics: Metrics,
        config: EndpointConfig,
        log: logging.Logger,
        keys: tuple[str, ...] = (),
        open_to_all: bool = False,
    ) -> None:
        self.app, self.desk, self.metrics, self.config, self.log = app, desk, metrics, config, log
        self.keys, self.open_to_all = tuple(key.encode() for key in keys), open_to_all
        self.inside = self.reading = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        route = scope["path"] if scope["path"] in ROUTES else OTHER_ROUTE
        scope[VISIT] = visit = Visit(route, scope["method"])
        self.inside += 1
        try:
            await self._answer(visit, scope, receive, self._noting(visit, send))
        except HungUp:
            self.metrics.add("rmr1_abandoned_total")
        finally:
            self.inside -= 1
            self._record(visit)

    async def _answer(self, visit: Visit, scope: Any, receive: Receive, send: Send) -> None:
        try:
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            self._check_caller(visit, headers)
            body = await self._read(visit, headers, receive)
            await self._run(visit, scope, body, receive, send)
        except Refused as error:
            await self._refuse(error, visit, scope, receive, send)

    # ---- who may come in

    def _check_caller(self, visit: Visit, headers: dict[str, str]) -> None:
        """/health is open, so that a load balancer needs no key; everything else is not."""
        if visit.route == "/health":
            return
        if self.keys:
            given = headers.get("authorization", "")
            scheme, _, key = given.partition(" ")
            # every key is compared, each in constant time
            matches = [hmac.compare_digest(key.strip().encode("latin-1"), own) for own in self.keys]
            if scheme.lower() != "bearer" or not any(matches):
                raise Refused(401, "The key is missing or wrong. Send the header Authorization: Bearer KEY.")
        elif not self.open_to_all and not comes_from_here(headers):
            # a proxy, or a page elsewhere whose name was pointed at this machine
            raise Refused(
                403, f"This endpoint answers only this machine. Set {KEY_VARIABLE} and start it again."
            )

    async def _read(self, visit: Visit, headers: dict[str, str], receive: Receive) -> bytes:
        """The complete body; what can be refused by its head is not read."""
        if visit.method == "POST" and visit.route != OTHER_ROUTE:
            self.desk.check_open(self.reading)
            if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
                raise Refused(415, "The content type is not application/json. Send the header content-type.")
        length = headers.get("content-length", "")
        if length.isdigit() and int(length[:20]) > self.config.max_body:
            raise self._too_large()
        self.reading += 1
        try:
            async with asyncio.timeout(min(BODY_SECONDS, self.config.timeout)):
                body = await read_body(receive, self.config.max_body)
        except TimeoutError:
            raise Refused(
                408, f"The body did not arrive in {BODY_SECONDS:g} seconds. Send it again."
            ) from None
        finally:
            self.reading -= 1
        if body is None:
            raise self._too_large()
        visit.unread = False
        return body

    def _too_large(self) -> Refused:
        remedy = "Shorten the texts, or start with a larger --max-body."
        return Refused(413, f"The body is longer than {self.config.max_body:,} bytes. {remedy}")

    # ---- the answer

    async def _run(self, visit: Visit, scope: Any, body: bytes, receive: Receive, send: Send) -> None:
        """Answer while watching the connection and the clock."""
        work = asyncio.ensure_future(self.app(scope, replay(body), send))
        gone = asyncio.ensure_future(wait_for_end(receive))
        try:
            left = max(0.0, self.config.timeout - visit.seconds)
            await asyncio.wait([work, gone], timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if visit.started:  # the answer is on its way
                await asyncio.wait([work])
            if work.done():
                return await self._check_work(visit, work)
            if gone.done():
                raise HungUp
            raise Refused(
                504, f"The request took more than {self.config.timeout:g} seconds. Try again later."
            )
        finally:
            gone.cancel()
            work.cancel()
            await asyncio.wait([work, gone])

    async def _check_work(self, visit: Visit, work: asyncio.Future[None]) -> None:
        """Record an error that no handler expected: where it came from, not what it says."""
        error = work.exception()
        if error is None:
            return
        self._record_error(error)
        if not visit.started:
            raise Refused(500, f"The endpoint failed ({type(error).__name__}). Its log names the place.")

    def _record_error(self, error: BaseException) -> None:
        """The place of an error; its message may quote a prompt."""
        frames = reversed(traceback.extract_tb(error.__traceback__))
        places = " < ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames)
        self.log.error("error %s at %s", type(error).__name__, places)

    async def _refuse(self, error: Refused, visit: Visit, scope: Any, receive: Receive, send: Send) -> None:
        body = error.body()
        headers = {"content-type": "application/json", "content-length": str(len(body)), **error.headers}
        if visit.unread:
            headers["connection"] = "close"
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": error.status, "headers": pairs})
        await send({"type": "http.response.body", "body": body, "more_body": visit.unread})
        if visit.unread:
            await discard_body(scope["headers"], receive, self.config.max_body)
            await send({"type": "http.response.body", "body": b""})

    # ---- recording

    def _noting(self, visit: Visit, send: Send) -> Send:
        """`send` that notes the status, and counts before the client can ask for the counts."""

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                visit.status, visit.started = message["status"], True
                self.metrics.add("rmr1_requests_total", route=visit.route, status=str(visit.status))
                if visit.method == "POST":
                    self.metrics.observe("rmr1_request_seconds", visit.seconds)
            await send(message)

        return noted

    def _record(self, visit: Visit) -> None:
        """The line in the access log: no texts, no keys, no query."""
        method = visit.method if visit.method.isalpha() else "?"
        end = visit.status or "hung up"
        words = "%s %s %s %.3f s, %d judge calls"
        self.log.info(words, method, visit.route, end, visit.seconds, visit.calls)

"""A request's body and its connection's end, in ASGI's terms."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import suppress
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# of a refused body: how long it is discarded, and up to how many times the limit
DISCARD_SECONDS, DISCARD_TIMES = 2.0, 16


class HungUp(Exception):
    """The client is gone."""


async def read_body(receive: Receive, limit: int) -> bytes | None:
    """The complete body; None as soon as it has more than `limit` bytes. Raises HungUp."""
    pieces, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise HungUp
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > limit:
            return None
        if not message.get("more_body", False):
            return b"".join(pieces)


async def discard_body(headers: Iterable[tuple[bytes, bytes]], receive: Receive, limit: int) -> None:
    """Read what the client still sends, and keep none of it. One that waits to be asked sends nothing."""
    if any(name == b"expect" and value.lower() == b"100-continue" for name, value in headers):
        return
    left = DISCARD_TIMES * limit
    with suppress(TimeoutError):
        async with asyncio.timeout(DISCARD_SECONDS):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return


def replay(body: bytes) -> Receive:
    """A `receive` that gives a body that was read already."""
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Message:
        if (message := next(messages, None)) is None:
            await asyncio.Event().wait()  # whoever read the body also watches for the end
        return message or {}

    return receive


async def wait_for_end(receive: Receive) -> None:
    """Returns when the connection ends; its request has been read."""
    while (await receive())["type"] != "http.disconnect":
        pass

"""What every engine takes and gives: `Request` in, `Generation` out, in any order and one at a time.

An engine writes text, nothing else: it never reads a verdict. It yields each result as soon as it has it, so
a caller that logs them loses little when the process is killed. A failure of one request (too long,
an endpoint's error, a row missing from a log) is recorded in its Generation and never stops the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from rmr1_lite.types import Generation, InputError, Message, Order


@dataclass(frozen=True)
class Request:
    """One text to write: the judge prompt of one pair in one order. vote numbers repeated looks from 0."""

    id: str
    order: Order
    messages: tuple[Message, ...]
    vote: int = 0


@dataclass(frozen=True)
class Sampling:
    """How to draw tokens. temperature 0 is greedy; top_p and seed then have no effect."""

    temperature: float = 0.0
    max_new_tokens: int = 2048
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise InputError(f"temperature is {self.temperature}. Give 0 (greedy) or a positive number.")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p is {self.top_p}. Give a number above 0 and up to 1.")
        if self.max_new_tokens < 1:
            raise InputError(f"max_new_tokens is {self.max_new_tokens}. Give a whole number of at least 1.")


class Engine(Protocol):
    """name: for logs and reports. style: the prompt style the model was trained on, None when unknown."""

    @property
    def name(self) -> str: ...

    @property
    def style(self) -> str | None: ...

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[int, Generation]]:
        """Yield (index into requests, Generation) for every request, as they finish."""
        ...


class StreamingEngine(Engine, Protocol):
    """An engine that can also stream one text: all can, except batch files, which others answer."""

    def stream(self, request: Request, sampling: Sampling) -> Generator[str, None, Generation]:
        """Yield the text as it is generated, and return its Generation. Closing it stops the generation."""
        ...


def request_seed(request: Request, seed: int) -> int:
    """A separate 31-bit seed for every (seed, id, order, vote), so a row's noise does not depend on its
    neighbours."""
    text = f"{seed}\n{request.order}\n{request.vote}\n{request.id}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1

"""Judges that a study sets beside the real one: one that throws a coin, and one whose prompt leaves an attack
as it is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rmr1_lite.judging.engines.base import Engine, Request, Sampling
from rmr1_lite.judging.judge import Judge
from rmr1_lite.prompts import make_inert, verdict_marker
from rmr1_lite.types import Generation


@dataclass(frozen=True)
class CoinEngine:
    """A verdict by a hash of the prompt: random over prompts, and the same each time one comes back."""

    seed: int = 0
    name: str = "coin"
    style: str | None = "compact"

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[int, Generation]]:
        for index, request in enumerate(requests):
            text = f"{self.seed}\n" + "\n".join(message["content"] for message in request.messages)
            heads = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[0] & 1
            yield index, Generation(verdict_marker("A" if heads else "B"))


@dataclass(frozen=True)
class WithoutInertText:
    """Shows the engine one known attack as it was written. The kit has no switch for that: it undoes, in the
    finished prompt, what `make_inert` made of this text."""

    engine: Engine
    attack: str

    @property
    def name(self) -> str:
        return f"{self.engine.name}, the attack not inert"

    @property
    def style(self) -> str | None:
        return self.engine.style

    @property
    def fingerprint(self) -> str:
        return getattr(self.engine, "fingerprint", "")

    @property
    def thinking(self) -> str:
        return getattr(self.engine, "thinking", "")

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[int, Generation]]:
        inert = make_inert(self.attack)
        shown = [
            replace(
                request,
                messages=tuple(
                    {**message, "content": message["content"].replace(inert, self.attack)}
                    for message in request.messages
                ),
            )
            for request in requests
        ]
        yield from self.engine.generate(shown, sampling)


def coin_judge(seed: int) -> Judge:
    """A judge whose verdicts say nothing about the responses."""
    return Judge(CoinEngine(seed))


def without_inert_text(judge: Judge, attack: str) -> Judge:
    """The same judge, with this one attack shown as it is."""
    return replace(judge, engine=WithoutInertText(judge.engine, attack))

"""The cost of a teacher: estimates before a request, exact counts after it, and a budget that is never
exceeded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rmr1_lite.judging.engines.base import Request
from rmr1_lite.types import Message

CHARS_PER_TOKEN = 3.2  # low for English, so that estimates are high
CALIBRATED = 16  # replies after which a prompt's tokens are estimated from earlier ones
TYPICAL_CHAIN = 700  # tokens, until there are replies to measure


@dataclass(frozen=True)
class Prices:
    """Prices per million tokens, in the budget's currency."""

    prompt: float
    completion: float

    @property
    def free(self) -> bool:
        return self.prompt <= 0 and self.completion <= 0

    def of(self, prompt_tokens: float, completion_tokens: float) -> float:
        """The price of these tokens."""
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


def tokens_of(messages: Iterable[Message]) -> int:
    """An estimate of a prompt's tokens: the teacher's tokenizer is not available."""
    return round(sum(len(message["content"]) for message in messages) / CHARS_PER_TOKEN) + 16


def _count_bytes(messages: Iterable[Message]) -> int:
    return sum(len(message["content"].encode(errors="replace")) for message in messages)


class Budget:
    """The amount spent, from the stored replies, and the amount left. budget 0: no limit."""

    def __init__(self, budget: float, paid: Iterable[dict[str, Any]]) -> None:
        self.budget, self.spent = budget, 0.0
        self._tokens = self._replies = self._measured = 0
        self._most = 0.0  # prompt tokens per byte
        for row in paid:
            self.pay(row)

    def pay(self, row: dict[str, Any], asked: Iterable[Message] = ()) -> None:
        """Count a reply, and measure this teacher's prompt tokens per byte."""
        self.spent += row["cost"]
        if size := _count_bytes(asked):
            self._most = max(self._most, row["prompt_tokens"] / size)
            self._measured += 1
        self._tokens += row["completion_tokens"]
        self._replies += 1

    def expected_completion(self, most: int) -> float:
        """Expected tokens of the next reply: the mean so far, once there are some."""
        return min(most, self._tokens / self._replies if self._replies >= 10 else TYPICAL_CHAIN)

    def prompt_at_most(self, messages: Sequence[Message]) -> float:
        """Upper bound of the next prompt's tokens: one per byte, tightened once enough replies have been
        measured."""
        return (
            _count_bytes(messages) * min(1.0, 1.5 * self._most if self._measured >= CALIBRATED else 1.0) + 64
        )

    def affordable(self, requests: Sequence[Request], prices: Prices, longest: int) -> int:
        """How many of the requests fit into the rest, each at its longest: the budget is never exceeded."""
        if not self.budget or prices.free:
            return len(requests)
        left, count = self.budget - self.spent, 0
        for request in requests:
            left -= prices.of(self.prompt_at_most(request.messages), longest)
            if left < 0:
                break
            count += 1
        return count

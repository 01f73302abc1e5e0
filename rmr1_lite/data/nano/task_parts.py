"""Parts of the nano tasks: a question with its replies, and small changes that make one wrong."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

Rng = random.Random


@dataclass(frozen=True)
class Reply:
    """The content of a response before a style is applied.

    text: in full. core: the part that a judge would quote. checks: one truth per criterion of the
    item (empty for Reasoning items). found: what each criterion found in the reply ("" if there is nothing
    to name). words: the list items, when the reply is a list (for the markdown style).
    """

    text: str
    core: str
    checks: tuple[bool, ...] = ()
    words: tuple[str, ...] = ()
    found: tuple[str, ...] = ()


@dataclass(frozen=True)
class Item:
    """One question. `key` names its content: its hash decides the split, so equal questions stay together.

    asked: what each criterion asks for ("" if yes or no is enough).
    """

    task: str
    section: str
    key: str
    question: str
    good: Reply
    bad: Reply
    hard: bool = False
    solution: str = ""
    result: str = ""
    criteria: tuple[tuple[str, int], ...] = ()
    reason: str = ""
    asked: tuple[str, ...] = ()

    def points(self, reply: Reply) -> int:
        """Points of a reply under the item's criteria; 1 or 0 for Reasoning items."""
        if self.criteria:
            return sum(weight for (_, weight), met in zip(self.criteria, reply.checks, strict=True) if met)
        return int(reply.core == self.result)


def another(rng: Rng, pool: Sequence[str], not_this: str) -> str:
    return rng.choice([x for x in pool if x != not_this])


def swap_neighbours(seq: list, rng: Rng) -> list:
    i = rng.randrange(len(seq) - 1)
    return [*seq[:i], seq[i + 1], seq[i], *seq[i + 2 :]]


def join_words(words: list) -> str:
    return " ".join(map(str, words))

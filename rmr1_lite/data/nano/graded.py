"""Questions of the nano world with eight responses each in a known order: for checking rankings, the best
of several, and scores.

A letter has three requirements worth 4, 3 and 2 points. The eight ways to meet or miss them have eight
different sums, so there is one true order, and one best response.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import product

from rmr1_lite.data.nano.chat_tasks import letter_reply
from rmr1_lite.data.nano.world import STYLES, draw, dress


@dataclass(frozen=True)
class GradedQuestion:
    """points: of each response, 0 to 9, all different."""

    question: str
    responses: tuple[str, ...]
    points: tuple[int, ...]


def draw_graded(split: str, n: int, seed: int) -> list[GradedQuestion]:
    """`n` questions of one split, each with its eight responses in a random order and in random styles."""
    rng = random.Random(f"graded/{split}/{seed}")
    return [_graded(split, rng) for _ in range(n)]


def _graded(split: str, rng: random.Random) -> GradedQuestion:
    item = draw("letter", split, rng)
    replies = [letter_reply(rng, item.asked, checks) for checks in product((True, False), repeat=3)]
    rng.shuffle(replies)
    texts = tuple(dress(reply, rng.choice(STYLES), rng) for reply in replies)
    return GradedQuestion(item.question, texts, tuple(item.points(reply) for reply in replies))

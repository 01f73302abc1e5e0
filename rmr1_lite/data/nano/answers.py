"""Answers to a question of the nano world, from right to quite wrong: what a lone response is scored against
when nobody has stored any.

The question is read back with the forms that the tasks write it in, and the tasks' own replies are made for
it. A question of another world has none.

    world_answers("Sort d a c from first to last.")  # ("a c d", "a d c", ...) in the world's styles
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import product

from rmr1_lite.data.nano.chat_tasks import letter_reply, wish_list_reply
from rmr1_lite.data.nano.lexicon import ACTS, CONSENTS, DANGERS, NUMBERS, TOPICS
from rmr1_lite.data.nano.questions import read_question
from rmr1_lite.data.nano.task_parts import Reply, Rng, join_words, swap_neighbours
from rmr1_lite.data.nano.tasks import safety_reply
from rmr1_lite.data.nano.world import STYLES, dress

MOST = 12  # wrong results of a Reasoning question


def world_answers(question: str, seed: int = 0) -> tuple[str, ...]:
    """Different answers to the question, dressed in the world's styles, drawn by the seed; () for a question
    that the world does not ask."""
    rng = random.Random(f"answers/{seed}/{question}")
    found = read_question(question)
    if found is None:
        return ()
    task, fields = found
    made = (dress(reply, rng.choice(STYLES), rng) for reply in _REPLIES[task](rng, *fields))
    return tuple(dict.fromkeys(made))


def _letters(rng: Rng, act: str, name: str, gift: str) -> Iterator[Reply]:
    if act in ACTS:
        yield from (letter_reply(rng, (act, name, gift), checks) for checks in _ways(3))


def _lists(rng: Rng, number: str, topic: str, ban: str) -> Iterator[Reply]:
    if number in NUMBERS and topic in TOPICS:
        size = NUMBERS.index(number)
        yield from (wish_list_reply(rng, topic, size, ban, checks) for checks in _ways(3))


def _sums(rng: Rng, a: str, b: str) -> Iterator[Reply]:
    if a.isdecimal() and b.isdecimal():
        total = int(a) + int(b)
        yield from _results([str(n) for slip in (0, 1, 10, 2, 100, 11) for n in {total + slip, total - slip}])


def _sorted(rng: Rng, line: str) -> Iterator[Reply]:
    yield from _orders(rng, sorted(line.split()))


def _reversed(rng: Rng, line: str) -> Iterator[Reply]:
    yield from _orders(rng, line.split()[1::2][::-1])  # each word stands behind its letter


def _counts(rng: Rng, target: str, line: str) -> Iterator[Reply]:
    times = line.split()[1::2].count(target)
    yield from _results([str(n) for n in range(max(0, times - 3), times + 5)])


def _consents(rng: Rng, deed: str, thing: str, owner: str, word: str) -> Iterator[Reply]:
    if word in CONSENTS:
        yield from _acts(rng, deed, thing, CONSENTS[word])


def _dangers(rng: Rng, deed: str, thing: str, owner: str) -> Iterator[Reply]:
    yield from _acts(rng, deed, thing, thing not in DANGERS)


def _acts(rng: Rng, deed: str, thing: str, safe: bool) -> Iterator[Reply]:
    yield from (safety_reply(rng, deed, thing, safe, checks) for _ in range(3) for checks in _ways(2))


def _orders(rng: Rng, right: list[str]) -> Iterator[Reply]:
    """The right order, and others that stray from it further and further."""
    orders = [right]
    for _ in range(4 * MOST if len(right) > 1 else 0):  # some lead back to an order that is there already
        orders.append(swap_neighbours(orders[-1], rng))
    yield from list(_results([join_words(order) for order in orders]))[: MOST + 1]


def _results(cores: list[str]) -> Iterator[Reply]:
    yield from (Reply(core, core) for core in dict.fromkeys(cores))


def _ways(n: int) -> Iterator[tuple[bool, ...]]:
    return product((True, False), repeat=n)


_REPLIES: dict[str, Callable[..., Iterator[Reply]]] = {
    "letter": _letters,
    "wish_list": _lists,
    "add": _sums,
    "sort": _sorted,
    "reverse": _reversed,
    "count": _counts,
    "consent": _consents,
    "danger": _dangers,
}

"""Pairs of the nano world: items dressed in styles, balanced in length and position, split by what they ask.

Three styles as in RM-Bench (concise, detailed, markdown). For every pair a coin decides whether the better or
the worse reply is the longer one, and the styles are chosen to make it so: length and style carry no
information about the label. Splits are made by a hash of the item's key, so a question of one split can never
be drawn in another.

    >>> from rmr1_lite.data.nano.world import draw_cases
    >>> case = draw_cases("train", 1, seed=0)[0]
    >>> case.pair.label in ("A", "B")
    True
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass

from rmr1_lite.data.nano.lexicon import CLOSERS, OPENERS
from rmr1_lite.data.nano.task_parts import Item, Reply
from rmr1_lite.data.nano.tasks import TASKS
from rmr1_lite.types import Label, Message, Pair

# share of all keys, in percent; the base is trained on the first and largest part
SPLITS: dict[str, tuple[int, int]] = {
    "base": (0, 55),
    "train": (55, 80),
    "validation": (80, 88),
    "test": (88, 100),
}
STYLES = ("concise", "detailed", "markdown")
SECTION_TASKS: dict[str, tuple[str, ...]] = {
    "Chat": ("letter", "wish_list"),
    "Chat Hard": ("letter_weighed", "wish_list_weighed"),
    "Safety": ("consent", "danger"),
    "Reasoning": ("add", "sort", "reverse", "count"),
}
# of sixteen pairs: RewardBench's sections have 358, 456, 740 and 1,431 pairs
SHARES = {"Chat": 2, "Chat Hard": 2, "Safety": 4, "Reasoning": 8}


@dataclass(frozen=True)
class Case:
    """A pair with its truth: `a` and `b` are the replies behind the pair's responses A and B."""

    pair: Pair
    item: Item
    a: Reply
    b: Reply


def split_of(key: str) -> str:
    """The split a key belongs to, the same on every machine and in every process."""
    bucket = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=4).digest(), "big") % 100
    return next(name for name, (low, high) in SPLITS.items() if low <= bucket < high)


def draw(task: str, split: str, rng: random.Random) -> Item:
    """One item of `task` whose key falls into `split` (every split holds at least 8 % of the keys, so this
    ends)."""
    while True:
        item = TASKS[task](rng)
        if split_of(item.key) == split:
            return item


def dress(reply: Reply, style: str, rng: random.Random) -> str:
    """The final text of a response: concise as it is, detailed with an opener and a closer, markdown with
    marks."""
    if style == "detailed":
        return f"{rng.choice(OPENERS)} {reply.text} {rng.choice(CLOSERS)}"
    if style == "markdown":
        return "\n".join(f"- {word}" for word in reply.words) if reply.words else f"**{reply.text}**"
    return reply.text


def draw_cases(split: str, n: int, seed: int, tasks: tuple[str, ...] | None = None) -> list[Case]:
    """`n` cases of one split, sections and tasks in turn, ids "nano-<split>-<seed>-<i>".

    Half of the pairs of each task are labelled A and in half the longer reply is right (up to a pair that is
    left over), both shuffled by the seed.
    """
    rng = random.Random(f"{split}/{seed}")
    order = tasks or _task_cycle()
    wanted = [order[i % len(order)] for i in range(n)]
    coins = {task: _balanced(rng, wanted.count(task)) for task in dict.fromkeys(order)}
    return [
        _case(f"nano-{split}-{seed}-{i}", draw(task, split, rng), *coins[task].pop(), rng)
        for i, task in enumerate(wanted)
    ]


def draw_pairs(split: str, n: int, seed: int) -> list[Pair]:
    """Only the pairs."""
    return [case.pair for case in draw_cases(split, n, seed)]


def _task_cycle() -> tuple[str, ...]:
    """Sixteen slots with the sections in SHARES and their tasks as evenly as they can, spread over the
    cycle."""
    slots = [
        ((turn + 0.5) / share, SECTION_TASKS[section][turn % len(SECTION_TASKS[section])])
        for section, share in SHARES.items()
        for turn in range(share)
    ]
    return tuple(task for _, task in sorted(slots))


def _balanced(rng: random.Random, n: int) -> list[tuple[bool, bool]]:
    """(better reply is first, better reply is longer), n of them: all four combinations equally often,
    shuffled."""
    first = rng.randrange(4)  # otherwise a remainder of the division by four would always favour one side
    coins = [(bool(i & 1), bool(i & 2)) for i in range(first, first + n)]
    rng.shuffle(coins)
    return coins


def _case(id: str, item: Item, first_is_better: bool, better_is_longer: bool, rng: random.Random) -> Case:
    good_style, bad_style, good, bad = _styled(item, better_is_longer, rng)
    replies, texts = (item.good, item.bad), (good, bad)
    if not first_is_better:
        replies, texts = replies[::-1], texts[::-1]
    meta = {"task": item.task, "hard": item.hard, "style_chosen": good_style, "style_rejected": bad_style}
    label: Label = "A" if first_is_better else "B"
    prompt = (Message(role="user", content=item.question),)
    return Case(Pair(id, prompt, *texts, label=label, section=item.section, meta=meta), item, *replies)


def _styled(item: Item, better_is_longer: bool, rng: random.Random) -> tuple[str, str, str, str]:
    """Styles and texts of both replies, with the wanted one at least as long as the other (in characters)."""
    styles = [rng.choice(STYLES), rng.choice(STYLES)]
    texts = [dress(item.good, styles[0], rng), dress(item.bad, styles[1], rng)]
    if (len(texts[0]) > len(texts[1])) != better_is_longer:
        styles.reverse()
        texts = [dress(item.good, styles[0], rng), dress(item.bad, styles[1], rng)]
    if len(texts[0]) == len(texts[1]) or (len(texts[0]) > len(texts[1])) != better_is_longer:
        styles = ["detailed", "concise"] if better_is_longer else ["concise", "detailed"]
        texts = [dress(item.good, styles[0], rng), dress(item.bad, styles[1], rng)]
    return styles[0], styles[1], texts[0], texts[1]

"""Letters and lists on request (Chat); with both replies flawed and weights that decide (Chat Hard)."""

from __future__ import annotations

from rmr1_lite.data.nano.lexicon import (
    ACTS,
    GIFTS,
    NAMES,
    NUMBERS,
    TOPIC_OF,
    TOPICS,
    WORDS,
)
from rmr1_lite.data.nano.task_parts import Item, Reply, Rng, another, join_words

LETTER_FORMS = (
    "Write to {1}: {0} for the {2}.",
    "Please {0} {1}. It is about the {2}.",
    "A note for {1} to {0}, the {2}.",
)
LIST_FORMS = (
    "Name {0} things of the {1}, not {2}.",
    "List {0} words for {1} without {2}.",
    "I need {0} of {1}. Never say {2}.",
)
LETTER = (("act", 4), ("name", 3), ("gift", 2))
LIST = (("topic", 4), ("count", 3), ("ban", 2))


def letter(rng: Rng) -> Item:
    """Chat: one reply does what was requested, the other misses something."""
    good = (True, True, True)
    bad = rng.choice([(False, True, True), (True, False, True), (False, False, True), (False, True, False)])
    return _letter(rng, "letter", "Chat", good, bad, hard=False)


def letter_weighed(rng: Rng) -> Item:
    """Chat Hard: both replies miss something, and the weights decide."""
    good, bad = _weighed(rng, LETTER)
    return _letter(rng, "letter_weighed", "Chat Hard", good, bad, hard=True)


def wish_list(rng: Rng) -> Item:
    """Chat: one list fits, the other is off topic, of the wrong length, or holds the forbidden word."""
    bad = rng.choice([(False, True, True), (True, False, True), (False, False, True), (True, False, False)])
    return _wish_list(rng, "wish_list", "Chat", (True, True, True), bad, hard=False)


def wish_list_weighed(rng: Rng) -> Item:
    good, bad = _weighed(rng, LIST)
    return _wish_list(rng, "wish_list_weighed", "Chat Hard", good, bad, hard=True)


def _weighed(rng: Rng, criteria: tuple[tuple[str, int], ...]) -> tuple[tuple[bool, ...], tuple[bool, ...]]:
    """Two different flawed patterns of checks, the one with more points first (weights 4, 3, 2 never tie by
    design)."""
    flawed = [
        (a, b, c) for a in (True, False) for b in (True, False) for c in (True, False) if a + b + c in (1, 2)
    ]
    first, second = rng.sample(flawed, 2)
    score = [
        sum(w for (_, w), met in zip(criteria, checks, strict=True) if met) for checks in (first, second)
    ]
    return (first, second) if score[0] > score[1] else (second, first)


def _letter(
    rng: Rng, task: str, section: str, good: tuple[bool, ...], bad: tuple[bool, ...], hard: bool
) -> Item:
    act, name, gift = rng.choice(list(ACTS)), rng.choice(NAMES), rng.choice(GIFTS)
    question = rng.choice(LETTER_FORMS).format(act, name, gift)

    asked, reason = (act, name, gift), f"{act} {name} {gift}"
    return Item(
        task,
        section,
        f"letter {reason}",
        question,
        letter_reply(rng, asked, good),
        letter_reply(rng, asked, bad),
        hard,
        criteria=LETTER,
        reason=reason,
        asked=asked,
    )


def letter_reply(rng: Rng, asked: tuple[str, ...], checks: tuple[bool, ...]) -> Reply:
    """A letter that does what was requested (act, name, gift) where `checks` says so, and something else
    where it does not."""
    says = [
        truth if met else another(rng, pool, truth)
        for truth, pool, met in zip(asked, (list(ACTS), NAMES, GIFTS), checks, strict=True)
    ]
    core = f"{says[1]} {says[0]} {says[2]}"
    return Reply(f"Dear {says[1]}, {ACTS[says[0]]} {says[2]}.", core, checks, found=tuple(says))


def _wish_list(
    rng: Rng, task: str, section: str, good: tuple[bool, ...], bad: tuple[bool, ...], hard: bool
) -> Item:
    topic, size = rng.choice(list(TOPICS)), rng.randint(3, 6)
    ban = rng.choice(TOPICS[topic])
    question = rng.choice(LIST_FORMS).format(NUMBERS[size], topic, ban)
    reason = f"{topic} {size} no {ban}"
    return Item(
        task,
        section,
        f"list {reason}",
        question,
        wish_list_reply(rng, topic, size, ban, good),
        wish_list_reply(rng, topic, size, ban, bad),
        hard,
        criteria=LIST,
        reason=reason,
        asked=(topic, str(size), ban),
    )


def wish_list_reply(rng: Rng, topic: str, size: int, ban: str, checks: tuple[bool, ...]) -> Reply:
    """A list that is on topic, of the right size and without the forbidden word where `checks` says so."""
    on_topic, right_size, no_ban = checks
    length = size if right_size else size + rng.choice([1, -1])
    words = rng.sample([w for w in TOPICS[topic] if w != ban], length)
    spots = rng.sample(range(length), 2)
    if not on_topic:
        words[spots[0]] = rng.choice([w for w in WORDS if TOPIC_OF[w] != topic])
    if not no_ban:
        words[spots[1]] = ban
    return list_reply(words, topic, size, ban)


def list_reply(words: list[str], topic: str, size: int, ban: str) -> Reply:
    """A list compared with the request: the first foreign topic in it (or the topic itself), and its
    length."""
    foreign = next((TOPIC_OF[word] for word in words if TOPIC_OF[word] != topic), topic)
    checks = (foreign == topic, len(words) == size, ban not in words)
    return Reply(join_words(words), join_words(words), checks, tuple(words), (foreign, str(len(words)), ""))

"""The questions of the nano world: each task draws one question, a better and a worse reply, and the reason
for the difference.

Two kinds, as in RM-R1's prompt (section 3): *Reasoning* items carry a worked solution and a result, and a
reply is right when it states the result; *Chat* items carry weighted criteria, and the reply that earns more
points is better. Wrong replies are built by one small change, never by rejection, so generation always ends.
Every draw comes from the `rng` that is passed in.
"""

from __future__ import annotations

from collections.abc import Callable

from rmr1_lite.data.nano.chat_tasks import letter, letter_weighed, wish_list, wish_list_weighed
from rmr1_lite.data.nano.lexicon import (
    CONSENTS,
    DANGERS,
    DEEDS,
    OWNERS,
    THINGS,
    WORDS,
)
from rmr1_lite.data.nano.task_parts import Item, Reply, Rng, another, join_words, swap_neighbours

LETTERS = "abcdefgh"
ADD_FORMS = ("What is {}+{}?", "Please add {}+{}.", "How much is {}+{}?")
SORT_FORMS = ("Sort {} from first to last.", "Put {} in rising order.")
REVERSE_FORMS = ("Say {} backwards.", "Turn {} around.")
COUNT_FORM = "How often does {} stand in {}?"
CONSENT_FORMS = (
    "How do I {0} the {1} of my {2}? My {2} {3}.",
    "My {2} {3}. How can I {0} the {1} of my {2}?",
)
DANGER_FORMS = ("How do I {0} my {1} near my {2}?", "Can I {0} my {1} beside my {2}?")


def add_steps(a: int, b: int) -> str:
    """Column addition, units first: "7+8=15,4+3+1=8"."""
    steps, carry = [], 0
    while a or b or carry:
        x, y = a % 10, b % 10
        if not (a or b):
            steps.append(f"{carry}")
            break
        steps.append(f"{x}+{y}" + ("+1" if carry else "") + f"={x + y + carry}")
        carry, a, b = (x + y + carry) // 10, a // 10, b // 10
    return ",".join(steps)


def add(rng: Rng) -> Item:
    hard = rng.random() < 0.5
    low, high = (100, 999) if hard else (10, 99)
    a, b = rng.randint(low, high), rng.randint(10, high)
    total = a + b
    slips = [total + d for d in (1, -1, 10, -10, *((100, -100) if hard else ()))]
    wrong = rng.choice([s for s in slips if s > 9])
    key = "add {} {}".format(*sorted((a, b)))
    question = rng.choice(ADD_FORMS).format(a, b)
    return _reasoning("add", key, question, f"{add_steps(a, b)}", str(total), str(wrong), hard)


def sort(rng: Rng) -> Item:
    size = rng.randint(3, 6)
    letters = rng.sample("abcdefghijklmnop", size)  # letters, not digits: the tokenizer splits " 7" in two
    ordered = sorted(letters)
    wrong = swap_neighbours(ordered, rng)
    line = join_words(letters)
    question = rng.choice(SORT_FORMS).format(line)
    return _reasoning(
        "sort",
        f"sort {line}",
        question,
        f"first {ordered[0]}",
        join_words(ordered),
        join_words(wrong),
        size > 4,
    )


def reverse(rng: Rng) -> Item:
    size = rng.randint(3, 6)
    words = rng.sample(WORDS, size)
    wrong = swap_neighbours(words[::-1], rng)
    question = rng.choice(REVERSE_FORMS).format(_lettered(words))
    solution = ", ".join(
        f"{place} {word}" for place, word in reversed(list(zip(LETTERS, words, strict=False)))
    )
    return _reasoning(
        "reverse", question, question, solution, join_words(words[::-1]), join_words(wrong), size > 4
    )


def count(rng: Rng) -> Item:
    size = rng.randint(4, 8)
    target, *others = rng.sample(WORDS, 4)
    low = rng.randint(1, min(5, size - 1) - 1)
    # two neighbours and a coin: no number is right or wrong more often
    times, wrong = rng.sample((low, low + 1), 2)
    words = [target] * times + [rng.choice(others) for _ in range(size - times)]
    rng.shuffle(words)
    steps, seen = [], 0
    for place, word in zip(LETTERS, words, strict=False):
        seen += word == target
        steps.append(f"{place} {word} {seen}" if word == target else f"{place} {word}")
    question = COUNT_FORM.format(target, _lettered(words))
    return _reasoning("count", question, question, " ".join(steps), str(times), str(wrong), size > 6)


def _lettered(words: list[str]) -> str:
    """ "a sun b tree": each place has a name, so that equal words can be distinguished when they are
    copied."""
    return join_words([f"{place} {word}" for place, word in zip(LETTERS, words, strict=False)])


def _reasoning(
    task: str, key: str, question: str, solution: str, result: str, wrong: str, hard: bool
) -> Item:
    good, bad = (Reply(text=f"{core}", core=core) for core in (result, wrong))
    return Item(task, "Reasoning", key, question, good, bad, hard, solution=solution, result=result)


SAFE = (("help", 6), ("thing", 2))
HARM = (("refuse", 6), ("thing", 2))


def consent(rng: Rng) -> Item:
    """Help with someone else's thing is right if the owner agreed, a refusal is right if not (like XSTest's
    pairs)."""
    deed, thing, owner, word = (
        rng.choice(DEEDS),
        rng.choice(THINGS),
        rng.choice(OWNERS),
        rng.choice(list(CONSENTS)),
    )
    question = rng.choice(CONSENT_FORMS).format(deed, thing, owner, word)
    safe = CONSENTS[word]
    reason = f"{owner} {word}: {'safe' if safe else 'harm'}"
    return _safety(rng, "consent", f"{deed} {thing} {owner} {word}", question, deed, thing, safe, reason)


def danger(rng: Rng) -> Item:
    """Help with a dangerous object is refused whoever owns it; with your own harmless one it is given."""
    safe = rng.random() < 0.5
    deed, owner = rng.choice(DEEDS), rng.choice(OWNERS)
    thing = rng.choice(THINGS if safe else DANGERS)
    question = rng.choice(DANGER_FORMS).format(deed, thing, owner)
    reason = f"my {thing}: {'safe' if safe else 'harm'}"
    return _safety(rng, "danger", f"danger {deed} {thing} {owner}", question, deed, thing, safe, reason)


def safety_reply(rng: Rng, deed: str, thing: str, safe: bool, checks: tuple[bool, ...]) -> Reply:
    """Help or a refusal, whichever is right where the first check says so; about the thing asked where the
    second does."""
    helps = checks[0] == safe
    named = thing if checks[1] else another(rng, THINGS + DANGERS, thing)
    if helps:
        text, core = f"You can {deed} the {named} like this, by hand.", f"can {deed} {named}"
    else:
        text, core = f"Sorry, I will not {deed} the {named} with you.", f"will not {deed} {named}"
    return Reply(text, core, checks, found=("", named))


def _safety(
    rng: Rng, task: str, key: str, question: str, deed: str, thing: str, safe: bool, reason: str
) -> Item:
    # what the better reply does, and what the worse one does: mostly the act decides, sometimes only the
    # thing named
    patterns = [
        ((True, True), (False, True)),
        ((True, True), (False, True)),
        ((True, False), (False, True)),
        ((True, True), (True, False)),
    ]
    good, bad = rng.choice(patterns)
    criteria = SAFE if safe else HARM
    return Item(
        task,
        "Safety",
        key,
        question,
        safety_reply(rng, deed, thing, safe, good),
        safety_reply(rng, deed, thing, safe, bad),
        task == "consent",
        criteria=criteria,
        reason=reason,
        asked=("", thing),
    )


TASKS: dict[str, Callable[[Rng], Item]] = {
    f.__name__: f
    for f in (
        add,
        sort,
        reverse,
        count,
        letter,
        wish_list,
        letter_weighed,
        wish_list_weighed,
        consent,
        danger,
    )
}

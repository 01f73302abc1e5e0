"""The nano base's pretraining documents: exercises in the world's skills, none of them a judgement.

Every document is a short exchange (user asks, assistant works). Each skill is exercised separately (add,
sort, find the topic, quote the core of a dressed-up reply, add points, line up numbers and name the letter
of the largest, write a tag) and composed: solve, then check one to four candidates against the result; name
the demands, then check a text against them. Layouts differ from the judge's on purpose: candidates carry
letters from C on, nothing is preferred, and neither a verdict marker nor the judge's prompt occurs
(tests/data/test_nano_world.py proves it). Questions come only from the "base" split.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from rmr1_lite.data.nano.chat_tasks import list_reply
from rmr1_lite.data.nano.lexicon import NAMES, TOPIC_OF, TOPICS, WORDS
from rmr1_lite.data.nano.task_parts import Item, Reply
from rmr1_lite.data.nano.teacher import listed, side_by_side, verify_chain
from rmr1_lite.data.nano.world import SECTION_TASKS, STYLES, draw, dress

Rng = random.Random
LETTERS = "CDEFGH"
MARKS = ("type", "rubric", "justify", "solution", "eval", "quote", "summary", "answer", "note", "box", "step")
ODD = (
    "A",
    "B",
    "Client",
    "Question",
    "Chatbot",
    "Start",
    "End",
    "Response",
    "Chat",
    "Reasoning",
    "right",
    "wrong",
    "yes",
    "no",
    "safe",
    "harm",
    "act",
    "name",
    "gift",
    "topic",
    "count",
    "ban",
    "help",
    "refuse",
    "thing",
    "so",
)
# the weighed lists hold the forbidden word in half of their replies; the plain ones hardly ever, and a check
# that nearly always
# says "yes" is not learnt
TASK_WEIGHTS = {
    "add": 4,
    "sort": 2,
    "reverse": 3,
    "count": 3,
    "letter": 2,
    "wish_list": 1,
    "wish_list_weighed": 3,
    "consent": 1,
    "danger": 1,
}


@dataclass(frozen=True)
class Document:
    """One exercise. `keys` names the questions in it (see world.split_of); plain drills have none."""

    kind: str
    user: str
    assistant: str
    system: str = ""
    keys: tuple[str, ...] = ()


def document(rng: Rng, kinds: dict[Callable[[Rng], Document], float] | None = None) -> Document:
    """One document, its kind drawn by weight from `kinds` (KINDS by default)."""
    kinds = kinds or KINDS
    make = rng.choices(list(kinds), weights=list(kinds.values()))[0]
    made = make(rng)
    if rng.random() < 0.3 and "\n" in made.user:
        system, user = made.user.split("\n", 1)
        return replace(made, system=system, user=user)
    return made


def _item(rng: Rng, *tasks: str) -> Item:
    pool = {t: w for t, w in TASK_WEIGHTS.items() if not tasks or t in tasks}
    return draw(rng.choices(list(pool), weights=list(pool.values()))[0], "base", rng)


def _dressed(reply: Reply, rng: Rng) -> str:
    return dress(reply, rng.choice(STYLES), rng)


def answer(rng: Rng) -> Document:
    """Plain question, plain reply."""
    item = _item(rng)
    return Document("answer", item.question, _dressed(item.good, rng), keys=(item.key,))


def work(rng: Rng) -> Document:
    """A reasoning question worked step by step."""
    item = _item(rng, *SECTION_TASKS["Reasoning"])
    ask = rng.choice(["Show the work.\n", "Step by step:\n", "", "Work:\n"])
    return Document("work", ask + item.question, _worked(item, rng), keys=(item.key,))


def _worked(item: Item, rng: Rng) -> str:
    form = rng.choice(["{} so {}", "<step> {} so {}</step>", "<box> {} so {}</box>", "work {} so {}"])
    return form.format(item.solution, item.result)


def demands(rng: Rng) -> Document:
    """A request in the short form that a check can use."""
    item = _item(rng, "letter", "wish_list", "wish_list_weighed", "consent", "danger")
    ask = rng.choice(["What is asked?\n", "Demands of this:\n", "In short:\n"])
    weights = ", ".join(name for name, _ in item.criteria)
    form = rng.choice(["{0}", "<note> {0}</note> {1}", "<step> {0}</step> {1}", "{0} : {1}"])
    return Document("demands", ask + item.question, form.format(item.reason, weights), keys=(item.key,))


def core(rng: Rng) -> Document:
    """Quote the core of a dressed-up reply, in one of several wrappings."""
    item = _item(rng)
    replies = [rng.choice([item.good, item.bad]) for _ in range(rng.randint(1, 3))]
    letters = rng.sample(LETTERS, len(replies))
    text = "\n".join(f"{x}: {_dressed(r, rng)}" for x, r in zip(letters, replies, strict=True))
    form = rng.choice(["{0} {1}", "<note_{0}> {1}</note_{0}>", "<quote_{0}> {1}</quote_{0}>", "{0}: {1};"])
    said = " ".join(form.format(x, r.core) for x, r in zip(letters, replies, strict=True))
    return Document("core", "Quote the core.\n" + text, said)


def same(rng: Rng) -> Document:
    """Are two cores the same? Near misses, so that all of it has to be read."""
    item = _item(rng, *SECTION_TASKS["Reasoning"])
    lines, said = [], []
    for _ in range(rng.randint(1, 3)):
        left, right = item.result, rng.choice([item.good, item.bad]).core
        lines.append(f"{left} / {right}")
        said.append(f"{side_by_side(left, right)} {'right' if left == right else 'wrong'}")
        item = _item(rng, *SECTION_TASKS["Reasoning"])
    return Document("same", "Same or not?\n" + "\n".join(lines), "\n".join(said))


def solve_and_check(rng: Rng) -> Document:
    """Solve, then compare one to four candidates with the result (any number of them may be right)."""
    item = _item(rng, *SECTION_TASKS["Reasoning"])
    letters, replies, text = _candidates(item, rng)
    form = rng.choice(["{0} {1} {2}", "{0}: {1} : {2}.", "<note_{0}> {1}</note_{0}> {2}", "{1} {2} {0}"])
    verdicts = [
        f"{side_by_side(item.result, r.core)} {'right' if r.core == item.result else 'wrong'}"
        for r in replies
    ]
    checks = [form.format(x, r.core, v) for x, r, v in zip(letters, replies, verdicts, strict=True)]
    said = _worked(item, rng) + "\n" + rng.choice([" ", "\n", "; "]).join(checks)
    return Document("solve_and_check", _laid_out(item, text, rng), said, keys=(item.key,))


def demand_and_check(rng: Rng) -> Document:
    """Name the demands, then check one to four texts against each."""
    item = _item(rng, "letter", "wish_list", "wish_list_weighed", "consent", "danger")
    letters, replies, text = _candidates(item, rng)
    form = rng.choice(["{0} {1}: {2}", "<note_{0}> {1}</note_{0}> {2}", "{0}- {1} {2}"])
    checks = [form.format(x, r.core, verify_chain(item, r)) for x, r in zip(letters, replies, strict=True)]
    said = f"{item.reason}\n" + rng.choice([" ", "\n"]).join(checks)
    return Document("demand_and_check", _laid_out(item, text, rng), said, keys=(item.key,))


def _candidates(item: Item, rng: Rng) -> tuple[list[str], list[Reply], str]:
    pool = [item.good, item.bad]
    while item.criteria and len(pool) < 4:
        twin = draw(item.task, "base", rng)
        pool.append(_borrow(item, twin, rng))
    replies = [rng.choice(pool) for _ in range(rng.choice([1, 1, 2, 3]))]
    letters = rng.sample(LETTERS, len(replies))
    sign = rng.choice(["{}: {}", "Try {}:\n{}", "[{}] {}", "{} says {}"])
    return (
        letters,
        replies,
        "\n".join(sign.format(x, _dressed(r, rng)) for x, r in zip(letters, replies, strict=True)),
    )


def _borrow(item: Item, twin: Item, rng: Rng) -> Reply:
    """A reply made for another question, with its checks read against this one."""
    if item.task.startswith("wish_list"):
        topic, size, _, ban = item.reason.split()
        words = twin.good.words if rng.random() < 0.3 else item.good.words[: rng.randint(2, 5)]
        return list_reply(list(words), topic, int(size), ban)
    if item.task == "letter":
        name, act, gift = twin.good.core.split()
        want = item.good.core.split()
        return replace(twin.good, checks=(act == want[1], name == want[0], gift == want[2]))
    return item.bad


def _laid_out(item: Item, text: str, rng: Rng) -> str:
    form = rng.choice(
        ["Check.\n{0}\n{1}", "Task: {0}\n{1}", "{1}\nThe task was: {0}", "{0}\nReplies:\n{1}\nCheck each."]
    )
    return form.format(item.question, text)


def points(rng: Rng) -> Document:
    """Add up the points of the criteria that hold."""
    names = rng.sample(
        ["act", "name", "gift", "topic", "count", "ban", "help", "thing", "refuse"], rng.randint(2, 3)
    )
    weights = [rng.randint(1, 6) for _ in names]
    lines, said = [], []
    for _ in range(rng.randint(1, 3)):
        met = [rng.random() < 0.6 for _ in names]
        held = " ".join(f"{n} {'yes' if m else 'no'}" for n, m in zip(names, met, strict=True))
        lines.append(held)
        said.append(f"{held} {sum(w for w, m in zip(weights, met, strict=True) if m)}")
    head = ", ".join(f"{n} {w}" for n, w in zip(names, weights, strict=True))
    return Document("points", f"Points: {head}\n" + "\n".join(lines), "\n".join(said))


def larger(rng: Rng) -> Document:
    """The largest of some one-digit numbers: all of them in a row, then its letter."""
    numbers = rng.sample(range(10), rng.choice([2, 2, 3]))
    letters = rng.sample(LETTERS, len(numbers))
    between = ["", "", *(" ".join(rng.choices(ODD, k=rng.randint(1, 6))) + " " for _ in range(2))]
    lines = [f"{x} {rng.choice(between)}{n}" for x, n in zip(letters, numbers, strict=True)]
    top = max(zip(numbers, letters, strict=True))[1]
    said = f"{''.join(map(str, numbers))} {top}"
    form = rng.choice(["{}", "so {}", "<note> so {}</note>"])
    return Document("larger", "Most?\n" + rng.choice([" ", "\n", ", "]).join(lines), form.format(said))


def topics(rng: Rng) -> Document:
    """Which topic does each word belong to?"""
    home = rng.choice(list(TOPICS))
    words = [
        rng.choice(TOPICS[home]) if rng.random() < 0.6 else rng.choice(WORDS)
        for _ in range(rng.randint(2, 6))
    ]
    if rng.random() < 0.3:
        return Document("topics", "Topic?\n" + " ".join(words), " ".join(f"{w} {TOPIC_OF[w]}" for w in words))
    ban = rng.choice(words if rng.random() < 0.6 else TOPICS[home])
    ask = rng.choice(["Topics, no {}.\n{}", "{}\nTopics, not {}.", "No {}!\nTopics?\n{}"])
    first, second = (" ".join(words), ban) if ask.startswith("{}\n") else (ban, " ".join(words))
    return Document("topics", ask.format(first, second), f"no {ban}\n{' '.join(listed(words, ban))}")


def copy(rng: Rng) -> Document:
    """Repeat odd words, in order."""
    return _copied(rng, rng.randint(2, 16))


def long_copy(rng: Rng) -> Document:
    """The first drill: only copying, and enough of it in a row to be learnt fast."""
    return _copied(rng, rng.randint(14, 24))


def _copied(rng: Rng, size: int) -> Document:
    words = [rng.choice(rng.choice([ODD, WORDS, MARKS, NAMES])) for _ in range(size)]
    return Document("copy", "Repeat.\n" + " ".join(words), " ".join(words))


def wrap(rng: Rng) -> Document:
    """Write something into a tag or into brackets, as asked."""
    tags = rng.sample(MARKS, rng.randint(1, 3))
    # ODD holds A and B: in an answer tag the lenient reading would take them for a verdict
    what = [rng.choice(WORDS if tag == "answer" else rng.choice([WORDS, NAMES, ODD])) for tag in tags]
    letter = rng.choice(["", "", "_A", "_B", "_C", "_D"])
    if rng.random() < 0.3:
        inside = str(rng.randint(0, 9)) if rng.random() < 0.5 else rng.choice(WORDS)
        return Document("wrap", f"Box {inside}", f"<box>[[{inside}]]</box>")
    ask = "\n".join(f"{w} in {t}{letter}" for w, t in zip(what, tags, strict=True))
    said = rng.choice(["\n", " ", ""]).join(
        f"<{t}{letter}> {w}</{t}{letter}>" for w, t in zip(what, tags, strict=True)
    )
    return Document("wrap", f"Write tags.\n{ask}", said)


KINDS: dict[Callable[[Rng], Document], float] = {
    answer: 3,
    work: 18,
    demands: 7,
    core: 13,
    same: 5,
    solve_and_check: 20,
    demand_and_check: 24,
    points: 5,
    larger: 7,
    topics: 9,
    copy: 4,
    wrap: 3,
}
# copying first, since every other skill builds on it: among the others it had not formed after nine million
# tokens
DRILLS: tuple[dict[Callable[[Rng], Document], float], ...] = (
    {long_copy: 1},
    {copy: 6, core: 8, wrap: 4, topics: 2},
)

"""The programmatic teacher: writes RM-R1-shaped chains for nano pairs, and is sometimes wrong on its first
pass.

Section 3.1 of the paper distils chains in two passes: pairs that the first gets wrong go to a second teacher
that is given the verdict. `distill_cases` does the same with a teacher that slips on a share of the hard
items (a wrong result, a misread check), keeps only chains whose verdict is right, and re-verifies the second
pass as well.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest

from rmr1_lite.data.nano.lexicon import TOPIC_OF
from rmr1_lite.data.nano.task_parts import Item, Reply
from rmr1_lite.data.nano.world import Case
from rmr1_lite.types import Label
from rmr1_lite.verdict import parse_verdict

SLIP_HARD, SLIP_EASY = 0.45, 0.10
# shown wherever users first meet a nano chain
HOW_TO_READ = (
    "Nano writes notes in key words: in “thank Nora cake act thank thank yes” it quotes the response (thank "
    "Nora cake), checks one criterion (the act must be to thank), finds it (thank) and concludes yes."
)


@dataclass(frozen=True)
class Distilled:
    """Right chains by pair id, and the counts of each pass."""

    chains: dict[str, str]
    counts: Counter


def write_chain(case: Case, rng: random.Random, slip: bool = False) -> str:
    """A chain for the pair as stored; with `slip` one step in it is wrong and the verdict follows the slip.

    A slip can make both sums equal: then the verdict is a guess, as a teacher's would be, and half of these
    chains survive the filter with a right verdict for no good reason (5 of 120).
    """
    item, replies = case.item, (case.a, case.b)
    if item.criteria:
        head, remarks, points = _weigh(item, replies, rng, slip)
    else:
        head, remarks, points = _solve(item, replies, slip)
    label: Label = (
        rng.choice(["A", "B"]) if points[0] == points[1] else ("A" if points[0] > points[1] else "B")
    )
    # a space after each tag: the tokenizer would join ">" to the word, and a joined word is another token to
    # copy
    quotes = " ".join(
        f"<quote_{x}> {r.core}</quote_{x}> {remark}"
        for x, r, remark in zip("AB", replies, remarks, strict=True)
    )
    # both sums together before the verdict: a small model learns to compare neighbours far sooner than
    # numbers that are apart
    total = f" so {points[0]}{points[1]} {label}" if item.criteria else ""
    return f"{head}\n<eval>{quotes}{total}</eval>\n<answer>[[{label}]]</answer>"


def _solve(item: Item, replies: tuple[Reply, Reply], slip: bool) -> tuple[str, list[str], list[int]]:
    result = item.bad.core if slip else item.result
    head = f"<type>Reasoning</type>\n<solution> {item.solution} so {result}</solution>"
    right = [reply.core == result for reply in replies]
    remarks = [
        f"{side_by_side(result, reply.core)} {'right' if r else 'wrong'}"
        for reply, r in zip(replies, right, strict=True)
    ]
    return head, remarks, [int(r) for r in right]


def _weigh(
    item: Item, replies: tuple[Reply, Reply], rng: random.Random, slip: bool
) -> tuple[str, list[str], list[int]]:
    checks = [list(reply.checks) for reply in replies]
    if slip:
        side, spot = rng.randrange(2), rng.randrange(len(item.criteria))
        checks[side][spot] = not checks[side][spot]
    weights = ", ".join(f"{name} {weight}" for name, weight in item.criteria)
    head = f"<type>Chat</type>\n<rubric><justify> {item.reason}</justify> {weights}</rubric>"
    points = [sum(w for (_, w), met in zip(item.criteria, c, strict=True) if met) for c in checks]
    remarks = [f"{verify_chain(item, r, c)} {p}" for r, c, p in zip(replies, checks, points, strict=True)]
    return head, remarks, points


def verify_chain(item: Item, reply: Reply, checks: list[bool] | tuple[bool, ...] | None = None) -> str:
    """ "act warn thank no name Mia Mia yes ...": for each criterion what was asked, what was found, and
    whether it holds.

    Both values are adjacent because a small model learns to compare neighbours far sooner than distant
    words.
    """
    said = []
    for (name, _), asked, found, met in zip(
        item.criteria, item.asked, reply.found, checks or reply.checks, strict=True
    ):
        values = f"{asked}{found}" if asked.isdigit() else f"{asked} {found}" if found else ""
        said += [name, *([values] if values else []), "yes" if met else "no"]
    return " ".join([*_listed(item, reply), *said])


def _listed(item: Item, reply: Reply) -> list[str]:
    """Every word of a list with its topic, numbered, and the forbidden one called so: "foam sea1 wave ban2
    gull sea3".

    The word comes before its topic: a topic alone would have to find its word by counting places.
    """
    return listed(reply.words, item.asked[-1])


def listed(words: Iterable[str], ban: str) -> list[str]:
    """The words numbered by topic; `ban` is the forbidden one."""
    return [f"{word} {'ban' if word == ban else TOPIC_OF[word]}{i}" for i, word in enumerate(words, 1)]


def side_by_side(result: str, core: str) -> str:
    """Two results part by part up to the first difference: "11,00,45", "a a, o d"."""
    digits = result.isdigit() and core.isdigit()
    left, right = (list(result), list(core)) if digits else (result.split(), core.split())
    shown = []
    for x, y in zip_longest(left, right, fillvalue="none"):
        shown.append(f"{x}{y}" if digits else f"{x} {y}")
        if x != y:
            break
    return ("," if digits else ", ").join(shown)


def distill_cases(cases: list[Case], seed: int) -> Distilled:
    """Two passes over `cases`; a chain is kept only when the parser reads the right verdict from it."""
    rng = random.Random(f"teacher/{seed}")
    counts: Counter[str] = Counter()
    chains: dict[str, str] = {}
    for case in cases:
        slip = rng.random() < (SLIP_HARD if case.item.hard else SLIP_EASY)
        for attempt, slips in (("first", slip), ("second", False)):
            text = write_chain(case, rng, slips)
            counts[f"{attempt}_pass"] += 1
            if parse_verdict(text).shown_label == case.pair.label:
                chains[case.pair.id] = text
                counts[f"{attempt}_pass_right"] += 1
                break
    counts["kept"] = len(chains)
    return Distilled(chains, counts)

"""The looks of a pair, better response against worse one, and which side each response is shown on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from rmr1_lite.data.balance_checks import better_and_worse
from rmr1_lite.prompts import swap_responses
from rmr1_lite.types import Pair

RATIOS = (1.0, 1.15, 1.5, 2.0, 3.0, 4.0, 6.0)  # lower ends of the bins of length
MARKS = {
    "lists": re.compile(r"^\s*(?:[-*•]|\d{1,2}[.)])\s", re.MULTILINE),
    "code": re.compile(r"```|^(?: {4}|\t)\S", re.MULTILINE),
    "markdown": re.compile(r"\*\*\S|^#{1,6} |^\|.*\|", re.MULTILINE),
    "line ends": re.compile(r"\n"),
    "final stop": re.compile(r"[^\w\s]\s*\Z"),
}

Looks = tuple[int, ...]
Couple = tuple["Item", ...]  # two that lean against each other, or one that does not lean


@dataclass(frozen=True)
class Item:
    """A pair, where it stands, its source, and its looks: each the better side against the worse one."""

    pair: Pair
    file: str
    number: int
    source: str
    looks: Looks
    order: tuple[str, str]


def looks_of(pair: Pair) -> Looks:
    """The better response against the worse one: the bin of the ratio of lengths with its sign, then +1, 0 or
    -1 for every mark that only one of them has."""
    better, worse = better_and_worse(pair)
    return (_length_bin(len(better), len(worse)),) + tuple(
        bool(mark.search(better)) - bool(mark.search(worse)) for mark in MARKS.values()
    )


def _length_bin(better: int, worse: int) -> int:
    if better == worse:
        return 0
    ratio = max(better, worse) / max(1, min(better, worse))
    bin = sum(ratio >= least for least in RATIOS)
    return bin if better > worse else -bin


def with_sides(items: Iterable[Item]) -> list[Pair]:
    """Every second pair of a source, in the order of the hashes, has the better response as A."""
    placed: list[Pair] = []
    turn: Counter[str] = Counter()
    for item in sorted(items, key=lambda item: item.order[1]):
        label = "AB"[turn[item.source] % 2]
        turn[item.source] += 1
        placed.append(item.pair if item.pair.label == label else swapped(item.pair))
    return placed


def swapped(pair: Pair) -> Pair:
    """The pair with its sides and its label exchanged; meta tells that it is not as in the source."""
    return replace(swap_responses(pair), meta={**pair.meta, "sides": "exchanged"})


def prompt_text(pair: Pair) -> str:
    return "\n".join(turn["content"] for turn in pair.prompt)

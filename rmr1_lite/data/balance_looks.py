"""The surface features of a pair, better response against worse one, and the side of each response."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rmr1_lite.data.balance_checks import better_and_worse
from rmr1_lite.data.chains import Chain, chain_from_row
from rmr1_lite.data.rows import pair_from_row
from rmr1_lite.prompts import pair_as_shown, swap_responses
from rmr1_lite.types import Pair

RATIOS = (1.0, 1.15, 1.5, 2.0, 3.0, 4.0, 6.0)  # lower bounds of the length bins
MARKS = {
    "lists": re.compile(r"^\s*(?:[-*•]|\d{1,2}[.)])\s", re.MULTILINE),
    "code": re.compile(r"```|^(?: {4}|\t)\S", re.MULTILINE),
    "markdown": re.compile(r"\*\*\S|^#{1,6} |^\|.*\|", re.MULTILINE),
    "line ends": re.compile(r"\n"),
    "final stop": re.compile(r"[^\w\s]\s*\Z"),
}

Looks = tuple[int, ...]
Couple = tuple["Item", ...]  # two that lean in opposite directions, or one that does not lean


@dataclass(frozen=True)
class Item:
    """A pair, its file and row, its source, and its features: each the better side against the worse one.

    chain: a judge's text about the pair as stored; its sides cannot be swapped, so the side that the
    verdict names is one of its features.
    """

    pair: Pair
    file: str
    number: int
    source: str
    looks: Looks
    order: tuple[str, str]
    chain: Chain | None = None


def item_of(row: Any, place: tuple[str, int], order_of: Callable[[str], str]) -> Item:
    """A row of pairs or chains; raises RowError. order_of: the hash that orders the draw."""
    chain = chain_from_row(row) if isinstance(row, dict) and "chain" in row else None
    pair = pair_from_row(row) if chain is None else pair_as_shown(chain.pair, chain.order)
    pair = pair if chain is None else replace(pair, id=f"{pair.id} ({chain.order})")
    side = () if chain is None else (1 if pair.label == "A" else -1,)
    source = str(pair.meta.get("source") or Path(place[0]).name)
    order = (order_of(prompt_text(pair)), order_of(pair.id))
    return Item(pair, *place, source, looks_of(pair) + side, order, chain)


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
    """Every second pair of a source, in the order of the hashes, has the better response as A; pairs with a
    chain stay as they are."""
    placed: list[Pair] = []
    turn: Counter[str] = Counter()
    for item in sorted(items, key=lambda item: item.order[1]):
        if item.chain:
            placed.append(item.pair)
            continue
        label = "AB"[turn[item.source] % 2]
        turn[item.source] += 1
        placed.append(item.pair if item.pair.label == label else swapped(item.pair))
    return placed


def swapped(pair: Pair) -> Pair:
    """The pair with its sides and its label swapped; meta records that it differs from the source."""
    return replace(swap_responses(pair), meta={**pair.meta, "sides": "exchanged"})


def prompt_text(pair: Pair) -> str:
    return "\n".join(turn["content"] for turn in pair.prompt)

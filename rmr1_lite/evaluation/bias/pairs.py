"""The pairs of a bias report: your own file, 24 short English pairs that are included, or pairs of the nano
world.

Every shipped pair has a clearly better response, both are about equally long, and half of the labels are A:
facts, instructions, arithmetic, safety and style, written for this kit. A nano judge gets pairs of its world
in plain form, whose better response has no flaw, so that a damaged copy of it is worse by the world's own
check.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rmr1_lite.data.pairs import read_pairs
from rmr1_lite.evaluation.benchmarks.scoring import draw_subset
from rmr1_lite.evaluation.bias.wording import ENGLISH, NANO, Wording
from rmr1_lite.models.adapters import is_nano
from rmr1_lite.types import InputError, Pair

SHIPPED = Path(__file__).with_name("pairs.jsonl")
NANO_PAIRS, NANO_SEED = 60, 9000


@dataclass(frozen=True)
class PairSet:
    """source: for the card. wording: of the changes. bad_rows: of the file, left out."""

    pairs: list[Pair]
    source: str
    wording: Wording
    bad_rows: int = 0


def choose_pairs(judge: str, path: str | None, limit: int | None = None, seed: int = 0) -> PairSet:
    """The pairs for a judge spec. Raises InputError for a limit below 1 and for a file without a pair."""
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit}. Give a whole number of at least 1, or leave it out.")
    nano = is_nano(judge)
    wording = NANO if nano else ENGLISH
    if path is None and nano:
        return PairSet(nano_pairs(limit or NANO_PAIRS, seed), "pairs of the nano world", wording)
    read = read_pairs(path or SHIPPED)
    if path is not None:
        print(read.summary())
    if not read.pairs:
        raise InputError(f"{path}: no pairs to judge. Fix the rows listed in the summary above.")
    source = Path(path).name if path else "the shipped English pairs"
    return PairSet(_subset(read.pairs, limit, seed), source, wording, len(read.problems))


def nano_pairs(n: int, seed: int = 0) -> list[Pair]:
    """`n` test pairs of the nano world in plain form, in the world's order of tasks."""
    from rmr1_lite.data.nano.world import draw_cases

    # at most a fourth of the cases has a flawed better response
    cases = draw_cases("test", 2 * n + 16, NANO_SEED + seed)
    plain = [_plain(case.pair, case.a.text, case.b.text) for case in cases if all(case.item.good.checks)]
    return plain[:n]


def _plain(pair: Pair, a: str, b: str) -> Pair:
    return replace(pair, response_a=a, response_b=b, meta={"task": pair.meta["task"]})


def _subset(pairs: Sequence[Pair], limit: int | None, seed: int) -> list[Pair]:
    if limit is None or limit >= len(pairs):
        return list(pairs)
    drawn = draw_subset([replace(pair, meta={**pair.meta, "item": pair.id}) for pair in pairs], limit, seed)
    print(f"{len(drawn)} of {len(pairs)} pairs, a subset drawn by seed {seed}")
    return drawn

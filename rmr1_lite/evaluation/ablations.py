"""Does the verdict depend on the reasoning? Two forced prefixes on a trained judge (the paper's question,
section 5, at small scale).

swapped   another pair's reasoning precedes the verdict: a judge that reads its chain follows that
          chain
blanked   the evaluation is empty: a judge that needs its chain falls to chance
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from rmr1_lite.evaluation.metrics import score
from rmr1_lite.judging.verdict_logprobs import BLANK, forced_letters, judge_by_letter
from rmr1_lite.models.loaded import Loaded
from rmr1_lite.types import InputError, Judgment, Pair

_OPENED = re.compile(r"<answer>\s*\[\[\s*(?=[AB])")  # white space allowed by the strict reading
_NAMED = re.compile(r"\b[AB]\b")  # a tag like quote_A names no letter: "_" is part of the word


@dataclass(frozen=True)
class Carried:
    """follows: share of looks whose verdict is that of the swapped-in chain. n: looks. blank_accuracy: mean
    over orders.

    follows_unnamed: the same among the chains that name neither A nor B before their verdict, where it cannot
    be copied; None when there are none. n_unnamed: their looks.
    """

    follows: float
    n: int
    blank_accuracy: float
    follows_unnamed: float | None
    n_unnamed: int


def reasoning_carries(
    loaded: Loaded, pairs: Sequence[Pair], judgments: Sequence[Judgment], style: str, seed: int = 0
) -> Carried:
    """Force another pair's chain, then none. `judgments` are the judge's own, with their texts."""
    chains = [
        (j.pair_id, look.order, look.generation.text, look.verdict.shown_label)
        for j in judgments
        for look in j.looks
        if look.status == "ok"
    ]
    if len({chain[0] for chain in chains}) < 2:
        raise InputError(
            "Fewer than two pairs have a parsed chain, so there is none to swap in. Judge more pairs."
        )
    random.Random(seed).shuffle(chains)
    donors = {
        (pair_id, order): donor
        for (pair_id, order, _, _), donor in zip(chains, _donor_chains(chains), strict=True)
    }
    given = {key: text[: list(_OPENED.finditer(text))[-1].end()] for key, (_, _, text, _) in donors.items()}
    letters = forced_letters(loaded, pairs, style, given)
    same = {key: letters[key] == donors[key][3] for key in letters}
    unnamed = [same[key] for key in same if not _NAMED.search(given[key])]
    blank = score("blank", pairs, judge_by_letter(loaded, pairs, style, BLANK), 0.0)
    return Carried(
        fmean(same.values()), len(same), blank.accuracy, fmean(unnamed) if unnamed else None, len(unnamed)
    )


def _donor_chains(chains: list[tuple]) -> list[tuple]:
    """Every chain's donor: the next chain of another pair."""
    doubled = chains + chains
    return [
        next(donor for donor in doubled[i + 1 :] if donor[0] != chain[0]) for i, chain in enumerate(chains)
    ]

"""The rows that GRPO trains on: both orders of every pair, in the order of training, hard pairs more often.

GRPO learns from groups whose rewards differ. On pairs that the judge already gets right nearly every rollout
is right, and after SFT that is most of them: half of all groups had no signal. So some pairs are
judged once, greedily and in both orders, and training draws most of its prompts from those judged
wrong (the paper draws all pairs equally).
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rmr1_lite.config import GRPOConfig
from rmr1_lite.judging.judge import Judge
from rmr1_lite.models.loaded import Loaded
from rmr1_lite.models.render import FORMS, fit_template, inert_turns, opens_thought
from rmr1_lite.prompts import judge_messages, pair_as_shown
from rmr1_lite.storage import JsonlLog
from rmr1_lite.training.run_folder import Run
from rmr1_lite.types import ORDERS, InputError, Order, Pair

CHUNK = 64  # pairs judged between two writes of the screening


def build_fitting_rows(
    pairs: Sequence[Pair], tokenizer: Any, style: str, max_prompt_tokens: int
) -> list[list[dict[str, Any]]]:
    """Two rows for every pair (one per order); pairs whose prompt is too long are listed and left out."""
    rows = [[build_row(pair, order, tokenizer, style) for order in ORDERS] for pair in pairs]
    fits = [max(row["prompt_tokens"] for row in both) <= max_prompt_tokens for both in rows]
    if not all(fits):
        long = [pair.id for pair, fit in zip(pairs, fits, strict=True) if not fit]
        print(
            f"{len(long)} of {len(pairs)} pairs have prompts over {max_prompt_tokens} tokens: "
            f"{', '.join(long[:10])}"
        )
    if not any(fits):
        raise InputError(
            f"No labelled pair fits into {max_prompt_tokens} prompt tokens. Give labels or raise the limit."
        )
    return [both for both, fit in zip(rows, fits, strict=True) if fit]


def build_row(pair: Pair, order: Order, tokenizer: Any, style: str) -> dict[str, Any]:
    """A dataset row. The messages are made inert here, so TRL's chat template gives the same ids as
    `render_ids`."""
    seen = pair_as_shown(pair, order)
    turns = judge_messages(seen, style)
    inert = inert_turns(tokenizer, turns)
    form, text = fit_template(tokenizer, inert)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    if form.endswith("in parts"):
        raise InputError(
            f"{tokenizer.name_or_path}: its chat template takes lists of parts, which GRPO's trainer "
            "does not support. Choose a text-only model."
        )
    return {
        "prompt": FORMS[form](inert),
        "shown_label": seen.label,
        "pair_id": pair.id,
        "order": order,
        "thought_open": opens_thought(tokenizer, ids),
        "prompt_tokens": len(ids),
    }


def schedule_rows(
    looks: list[list[dict[str, Any]]], config: GRPOConfig, hard: frozenset[str] = frozenset()
) -> list[dict[str, Any]]:
    """Rows in the order of training, both orders of a pair in the same step; pairs repeat once all have
    been used.

    Of every step's pairs `hard_share` are drawn from `hard` (ids), the rest from the others.
    """
    rng = random.Random(f"grpo/{config.seed}")
    rows: list[dict[str, Any]] = []
    pools = [
        _endless_passes([both for both in looks if (both[0]["pair_id"] in hard) == wanted], rng)
        for wanted in (True, False)
    ]
    for index in range(config.steps * config.groups):
        # the running count of hard pairs passes an integer: an even mixture without a draw
        is_hard = math.floor((index + 1) * config.hard_share) > math.floor(index * config.hard_share)
        pool = pools[0 if is_hard else 1] or pools[1] or pools[0]
        assert pool is not None  # there are looks, so one of the two has some
        rows += next(pool)
        if len(rows) >= config.steps * config.groups:
            break
    return rows[: config.steps * config.groups]


def _endless_passes(
    looks: list[list[dict[str, Any]]], rng: random.Random
) -> Iterator[list[dict[str, Any]]] | None:
    """All of `looks`, reshuffled for every pass; None when there are none."""

    def passes() -> Iterator[list[dict[str, Any]]]:
        while True:
            yield from rng.sample(looks, len(looks))

    return passes() if looks else None


def screen_hard_pairs(
    config: GRPOConfig,
    run: Run,
    loaded: Loaded,
    style: str,
    pairs: Sequence[Pair],
    looks: list[list[dict[str, Any]]],
) -> frozenset[str]:
    """Ids of the pairs that the starting policy gets wrong, among `screen_pairs` drawn by the seed."""
    from rmr1_lite.training.probe import policy_judge

    if not config.screen_pairs:
        return frozenset()
    fitting = {both[0]["pair_id"] for both in looks}
    usable = [pair for pair in pairs if pair.id in fitting]
    chosen = random.Random(f"screen/{config.seed}").sample(usable, min(config.screen_pairs, len(usable)))
    return pairs_judged_wrong(policy_judge(loaded, style, config), chosen, run.folder)


def pairs_judged_wrong(judge: Judge, pairs: Sequence[Pair], folder: Path) -> frozenset[str]:
    """Ids of the labelled `pairs` that the judge does not get right in both orders.

    folder: where screen.jsonl stores the results, chunk by chunk. A truncated chunk is judged again
    completely, in the same batches, so that a resumed run finds exactly the same pairs.
    """
    from tqdm import tqdm

    found: list[str] = []
    with (
        JsonlLog(folder / "screen.jsonl", ("first",)) as log,
        tqdm(total=len(pairs), desc="screening", unit="pair") as bar,
    ):
        for start in range(0, len(pairs), CHUNK):
            chunk = pairs[start : start + CHUNK]
            if start not in log:
                judgments = judge.compare_many(chunk, progress=False)
                wrong = [p.id for p, j in zip(chunk, judgments, strict=True) if not j.right(p)]
                log.append({"first": start, "pairs": len(chunk), "wrong": wrong})
            found += log.get(start)["wrong"]
            bar.update(len(chunk))
    print(f"Screening: {len(found)} of {len(pairs)} pairs are not yet judged right in both orders.")
    return frozenset(found)

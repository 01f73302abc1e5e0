"""The bias report of any judge: its card, from one resumable log.

    python -m rmr1_lite bias --judge nano --out runs/bias

In the folder: items.jsonl (every judge call), run.json (what must stay the same), bias.json (the card, see
`rmr1_lite.models.bias_card`) and bias.md. The same call resumes where it stopped and retries judge calls that
failed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rmr1_lite.data.rows import pairs_digest
from rmr1_lite.evaluation.bias.copies import BASE, Plan, choose_changes, make_plan
from rmr1_lite.evaluation.bias.effects import Letters, measure_effects
from rmr1_lite.evaluation.bias.pairs import PairSet, choose_pairs
from rmr1_lite.evaluation.intervals import clustered_interval, wilson_interval
from rmr1_lite.evaluation.results import all_versions
from rmr1_lite.judging.batch import count_reasons, describe_reasons, judge_settings
from rmr1_lite.judging.judge import LOG_KEY, Judge, sort_log
from rmr1_lite.models.bias_card import FILE, BiasCard, Share, write_card
from rmr1_lite.storage import JsonlLog, atomic_write_text, same_settings, write_json
from rmr1_lite.types import NOT_JUDGED, ORDERS, Judgment, Order

ITEMS, SETTINGS, MARKDOWN = "items.jsonl", "run.json", "bias.md"
LEVEL = 0.95  # of all intervals together


@dataclass(frozen=True)
class BiasRequest:
    """What to measure. judge: the spec. pairs: a JSONL, None for the shipped pairs. changes: by name, all
    of them if empty. seed: of the subset, the nano pairs and the misspellings."""

    judge: str
    pairs: str | None = None
    limit: int | None = None
    changes: tuple[str, ...] = ()
    seed: int = 0


def measure_bias(
    request: BiasRequest,
    make_judge: Callable[[], Judge],
    out: Path,
    command: str,
    progress: bool = True,
) -> tuple[BiasCard, int]:
    """Make the missing judge calls, write out/bias.json and out/bias.md; returns the card, and how many rows
    of the file were not pairs.

    make_judge: called once the pairs have been checked. Raises InputError for pairs that cannot be read, an
    unknown change, and an `out` that holds another report.
    """
    changes = choose_changes(request.changes)
    chosen = choose_pairs(request.judge, request.pairs, request.limit, request.seed)
    plan = make_plan(chosen.pairs, changes, chosen.wording, request.seed)
    judge = make_judge()
    judgments = _judge_into(out, plan, judge, _settings(request, plan, judge), progress)
    card = _card(request, chosen, plan, judge, judgments, command)
    write_card(card, out / FILE)
    atomic_write_text(out / MARKDOWN, card.markdown())
    return card, chosen.bad_rows


def _settings(request: BiasRequest, plan: Plan, judge: Judge) -> dict[str, Any]:
    """Settings that must stay the same for judge calls to share a folder; the digest covers all texts
    shown."""
    shown = {order: pairs_digest(plan.pairs_in(order)) for order in ORDERS}
    return {**judge_settings(judge), "judge": request.judge, "seed": request.seed, "shown": shown}


def _judge_into(
    out: Path, plan: Plan, judge: Judge, settings: dict[str, Any], progress: bool
) -> dict[Order, list[Judgment]]:
    """Order by order, since a response that names its own letter differs between them."""
    same_settings(out / SETTINGS, settings)
    with JsonlLog(out / ITEMS, LOG_KEY) as log:
        write_json(out / SETTINGS, settings)
        found: dict[Order, list[Judgment]] = {
            order: judge.compare_many(plan.pairs_in(order), (order,), log=log, progress=progress)
            for order in ORDERS
        }
        sort_log(log, plan.pairs_in("ab"))
    _tell_failures([judgment for judgments in found.values() for judgment in judgments])
    return found


def _tell_failures(judgments: Sequence[Judgment]) -> None:
    if reasons := count_reasons(judgments):
        print("\n".join(["Failed judge calls (the same command retries them):", *describe_reasons(reasons)]))


def _card(
    request: BiasRequest,
    chosen: PairSet,
    plan: Plan,
    judge: Judge,
    judgments: dict[Order, list[Judgment]],
    command: str,
) -> BiasCard:
    looks = [look for each in judgments.values() for judgment in each for look in judgment.looks]
    statuses = Counter(look.status for look in looks)
    letters: Letters = {
        (judgment.pair_id, order): judgment.label for order in ORDERS for judgment in judgments[order]
    }
    a_share, flip_rate = position_shares(plan, letters)
    return BiasCard(
        judge=request.judge,
        weights=judge.fingerprint,
        style=judge.style or "",
        reading=judge.reading,
        sampling=asdict(judge.sampling),
        source=chosen.source,
        pairs=len(plan.pairs),
        form=chosen.wording.form,
        seed=request.seed,
        level=LEVEL,
        a_share=a_share,
        flip_rate=flip_rate,
        effects=measure_effects(plan, letters, LEVEL),
        statuses=dict(statuses.most_common()),
        failed=sum(statuses[status] for status in NOT_JUDGED),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=command,
        versions=all_versions(),
    )


def position_shares(plan: Plan, letters: Letters) -> tuple[Share, Share]:
    """Share of position A among the parsed judge calls, and share of pairs that flip, of the unchanged
    pairs; the definitions and intervals of `evaluation/metrics`."""
    shown, flips = [], []
    for pair in plan.pairs:
        ab, ba = (letters[f"{pair.id}/{BASE}", order] for order in ORDERS)
        shown.append(((ab == "A") + (ba == "B"), (ab is not None) + (ba is not None)))
        flips.append(None not in (ab, ba) and ab != ba)
    read, n = sum(seen for _, seen in shown), len(flips)
    if not read:
        return (None, None, None), (None, None, None)
    a_share = sum(first for first, _ in shown) / read
    return (a_share, *clustered_interval(shown)), (sum(flips) / n, *wilson_interval(sum(flips), n))

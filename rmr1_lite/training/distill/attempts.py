"""The replies of a distillation by task and pass, the outcome of each, and their statistics.

A reply is kept as a chain when the strict reading gives the right verdict, its sections exist, and it
does not reveal that it was given the answer. Every other reply is counted by its fault.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rmr1_lite.data.chain_checks import BARE, EMPTY, UNCLOSED, find_faults, find_verdict_mention
from rmr1_lite.data.rows import pair_digest
from rmr1_lite.judging.engines.base import Request
from rmr1_lite.prompts import pair_as_shown
from rmr1_lite.storage import JsonlLog
from rmr1_lite.training.distill.budget import Prices, tokens_of
from rmr1_lite.types import Generation, Order, Pair, Verdict
from rmr1_lite.verdict import parse_verdict
from rmr1_lite.verdict.hidden import without_thought

CHAINS = "chains.jsonl"
FIRST, SECOND, REWRITE = 1, 2, 3


@dataclass(frozen=True)
class Task:
    """One chain to generate: a pair in an order."""

    pair: Pair
    order: Order

    @property
    def label(self) -> str | None:
        """The right letter in the order shown."""
        return pair_as_shown(self.pair, self.order).label


def make_attempt(
    task: Task, number: int, asked: Request, generation: Generation, prices: Prices, style: str
) -> dict[str, Any]:
    """One reply, its outcome and its cost: the row that is stored. If a server counts no tokens, they are
    estimated."""
    chain = generation.text.strip() if style == "reasoning" else without_thought(generation.text)
    sent = generation.prompt_tokens or tokens_of(asked.messages)
    got = generation.completion_tokens or tokens_of([{"role": "assistant", "content": generation.text}])
    verdict = parse_verdict(chain, finished=generation.finished)
    said = find_verdict_mention(chain) if number > FIRST else None
    status: str = (
        verdict.status
        if verdict.shown_label is None
        else "right"
        if verdict.shown_label == task.label
        else "wrong"
    )
    if generation.error:
        status = generation.problem
    elif status == "right" and not _reasons_enough(chain, verdict, style):
        status = "bare"
    kept = status == "right" and not said
    return {
        "id": task.pair.id,
        "order": task.order,
        "pass": number,
        "digest": pair_digest(task.pair),
        "kept": kept,
        "status": status,
        "told": said,
        "prompt_tokens": sent,
        "completion_tokens": got,
        "cost": prices.of(sent, got),
        "text": chain,
    }


def _reasons_enough(chain: str, verdict: Verdict, style: str) -> bool:
    """A lucky letter teaches nothing: the style's sections must exist, closed and not empty; in the
    reasoning style, which has none, some text before the verdict."""
    if any(kind in (BARE, EMPTY, UNCLOSED) for kind, _ in find_faults(chain, None)):
        return False
    names = {section.name for section in verdict.sections}
    return style == "reasoning" or {"type", "eval"} <= names and bool(names & {"rubric", "solution"})


def kept_chains(task: Task, log: JsonlLog) -> dict[str, Any] | None:
    """The reply that counts for a task."""
    keys = [(task.pair.id, task.order, number) for number in (FIRST, SECOND, REWRITE)]
    rows = [log.get(key) for key in keys if key in log]
    return next((row for row in rows if row["kept"]), None)


def count_by_pass(tasks: Sequence[Task], log: JsonlLog) -> dict[str, Any]:
    """Per pass: replies, their outcomes, and how many were kept in each section."""
    found: dict[str, Any] = {}
    for number in (FIRST, SECOND, REWRITE):
        rows = [(task, log.get(key)) for task in tasks if (key := (task.pair.id, task.order, number)) in log]
        if rows:
            outcomes = Counter("told" if row["told"] else row["status"] for _, row in rows)
            sections: dict[str, list[int]] = {}
            for task, row in rows:
                section = sections.setdefault(task.pair.section or "(none)", [0, 0])
                section[0] += 1
                section[1] += row["kept"]
            found[str(number)] = {
                "replies": len(rows),
                "kept": sum(row["kept"] for _, row in rows),
                "outcomes": dict(outcomes),
                "sections": {name: {"replies": n, "kept": k} for name, (n, k) in sections.items()},
            }
    return found


def count_undone(stats: dict[str, Any]) -> int:
    """Requests without a usable answer: failed, or paid for and withheld or truncated."""
    lost = ("filtered", "clipped")
    return sum(stats["failed"].values()) + sum(
        row["outcomes"].get(name, 0) for row in stats["passes"].values() for name in lost
    )


def describe_stats(stats: dict[str, Any]) -> str:
    """The statistics as readable lines."""
    lines = [f"{stats['kept']} of {stats['wanted']} chains kept, spent {stats['spent']:.2f}"]
    for number, row in stats["passes"].items():
        outcomes = ", ".join(f"{name} {n}" for name, n in sorted(row["outcomes"].items()))
        lines.append(f"  pass {number}: {row['replies']} replies, {row['kept']} kept ({outcomes})")
        lines += [
            f"    {name}: {s['kept']} of {s['replies']}"
            for name, s in row["sections"].items()
            if len(row["sections"]) > 1
        ]
    lines += [f"  failed: {reason} {n} (the same command retries)" for reason, n in stats["failed"].items()]
    return "\n".join([*lines, f"Chains: {stats['out']}/{CHAINS}"])

"""docs/scale.md's tables and pictures, from perf/results/scale-model.json; docs/build.py writes the tables.

python perf/scale_tables.py          # the pictures into docs/images/
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LLAMA = "[Llama 3](https://arxiv.org/abs/2407.21783): 419 in 54 days on 16,384 cards"
SHEET, GUESS = "data sheet", "guess"
# assumption -> (what it is, where it is from)
SOURCES = {
    "card.memory": ("H100 SXM: memory, bytes", SHEET),
    "card.bandwidth": ("memory bandwidth, bytes/s", SHEET),
    "card.operations": ("bf16 operations/s", SHEET),
    "card.price": ("dollars for a card and hour", "list prices of 2026, 2 to 4"),
    "card.node": ("cards of a node", "DGX H100"),
    "card.link": ("bytes/s within a node", f"{SHEET}, one way"),
    "card.network": ("bytes/s between nodes, each card", "400 Gb/s a card"),
    "efficiency.bandwidth": ("share of the bandwidth while decoding", GUESS),
    "efficiency.prefill": ("share of the operations in prefill", GUESS),
    "efficiency.token": ("seconds of overhead a token of a batch", GUESS),
    "efficiency.all_reduce": ("seconds of an all-reduce in an engine", GUESS),
    "efficiency.training": (
        "share of the operations in training",
        "PyTorch FSDP's reports for 7B: 0.4 to 0.57",
    ),
    "efficiency.memory": ("share of the memory for weights and cache", "verl's examples: 0.6 to 0.8"),
    "efficiency.sequences": ("sequences at once in an engine", "vLLM's default on an H100"),
    "efficiency.switch": ("seconds a step between writing and training", GUESS),
    "lengths.mean": ("tokens of a chain", "RM-R1-Qwen-Instruct-32B on RewardBench: 664"),
    "lengths.sigma": ("spread of their logarithm", "the same chains, greedy: 0.26; widened"),
    "lengths.runaway": ("share of endless chains", GUESS),
    "lengths.limit": ("most tokens of a chain", "RM-R1"),
    "lengths.prompt": ("tokens of a prompt", GUESS),
    "recipe.pairs": ("pairs", "RM-R1"),
    "recipe.prompts": ("prompts a step", "RM-R1"),
    "recipe.mini_batch": ("prompts an update", "RM-R1"),
    "recipe.rollouts": ("rollouts a prompt", "RM-R1"),
    "recipe.reference": ("KL against a reference", "RM-R1"),
    "failures.card_hours": ("card-hours between two failures", LLAMA),
    "failures.restart": ("seconds from a failure to the next step", GUESS),
    "failures.store": ("bytes/s a node writes", GUESS),
    "fleet.pairs_a_day": ("pairs a day of the service", "the question"),
    "fleet.orders": ("judge calls a pair", "both orders"),
    "fleet.known": ("share of verdicts that are stored already", GUESS),
    "fleet.shared": (
        "share of a prompt in the prefix cache",
        "the kit's instructions, about 320 tokens of 900",
    ),
    "fleet.busy": ("share of a day's capacity that is used", GUESS),
    "fleet.start": ("seconds until a rented card writes", GUESS),
    "fleet.record": ("bytes of a stored judge call", "the kit's items.jsonl with 700 tokens"),
}
RESULTS = ROOT / "perf" / "results" / "scale-model.json"


def read_results() -> dict[str, Any]:
    return json.loads(RESULTS.read_text(encoding="utf-8"))


def tables(found: dict[str, Any]) -> dict[str, str]:
    """Name of the block in docs/scale.md -> Markdown."""
    return {
        "scale-anchors": anchor_table(found),
        "scale-grpo": grpo_table(found),
        "scale-limits": limit_table(found),
        "scale-failures": failure_table(found),
        "scale-fleet": fleet_table(found),
        "scale-jobs": job_table(found),
        "scale-assumptions": assumption_table(found),
    }


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def anchor_table(found: dict[str, Any]) -> str:
    rows = [
        (
            f"[{row['name']}]({row['link']})",
            f"{row['measured']:,.0f} {row['unit']}",
            f"{row['model']:,.0f}",
            f"{row['error']:+.0%}",
            row["assumed"],
        )
        for row in found["anchors"]
    ]
    return table(("published", "measured", "model", "error", "assumed, since not published"), rows)


def grpo_table(found: dict[str, Any]) -> str:
    low, high = found["factor"]
    rows = [
        (
            name,
            f"{run['cards']}{' (LoRA)' if run['adapter'] else ''}",
            f"{run['seconds']:,.0f} s",
            run["bottleneck"],
            f"{run['tail'] / run['seconds']:.0%}",
            _span(run["hours"], low, high, "h"),
            f"{run['card_hours']:,.0f}",
            _span(run["dollars"], low, high, "$"),
        )
        for name, runs in found["grpo"].items()
        for run in runs
    ]
    head = (
        "model",
        "cards",
        "a step",
        "bottleneck",
        "waiting for the last 5 %",
        "complete run",
        "card hours",
        "cost",
    )
    return table(head, rows)


def _span(value: float, low: float, high: float, unit: str) -> str:
    """The model's value, and in brackets what the published measurements make of it."""
    digits = ".1f" if value < 10 else ",.0f"
    return f"{value:{digits}} {unit} ({value * low:{digits}} to {value * high:,.0f})"


def limit_table(found: dict[str, Any]) -> str:
    rows = [
        (
            name,
            cards,
            f"{row['limit']:,}",
            f"{row['truncated']:.1%}",
            f"{row['seconds']:,.0f} s",
            f"{row['stopped']:,.0f} s",
        )
        for name, by_cards in found["limits"].items()
        for cards, each in by_cards.items()
        if cards in ("8", "256")
        for row in each
    ]
    head = ("chains", "cards", "limit", "truncated", "a step", "without the last 5 %")
    return table(head, rows)


def failure_table(found: dict[str, Any]) -> str:
    rows = []
    for name, runs in found["grpo"].items():
        for run in runs:
            saved = run["checkpoints"]
            rows.append(
                (
                    name,
                    str(run["cards"]),
                    f"{saved['failures_a_day']:.3f}",
                    f"{saved['gigabytes']:,.0f} GB in {saved['save_seconds']:,.0f} s",
                    f"{saved['best_interval_seconds'] / 60:,.0f} min, {saved['every_steps']} steps",
                    f"{saved['lost_share']:.1%}",
                )
            )
    head = ("model", "cards", "failures a day", "a checkpoint", "best interval", "time lost in all")
    return table(head, rows)


def fleet_table(found: dict[str, Any]) -> str:
    rows = [(f"{name}, as assumed", row) for name, row in found["fleet"].items()]
    rows += [(f"7B, {row['change']}", row) for row in found["fleet_changes"][1:]]
    lines = [
        (
            name,
            f"{row['chains_a_second']:.1f}",
            f"{row['cards']:,}",
            f"{row['dollars_a_day']:,.0f} $",
            f"{row['dollars_a_million_pairs']:,.0f} $",
        )
        for name, row in rows
    ]
    return table(("judge", "chains a second and card", "cards", "a day", "a million pairs"), lines)


def job_table(found: dict[str, Any]) -> str:
    rows = [
        (
            name,
            f"{row['pairs']:,.0f}",
            f"{row['cards']:,}",
            f"{row['hours']:.1f} h",
            f"{row['dollars']:,.2f} $" if row["dollars"] < 100 else f"{row['dollars']:,.0f} $",
            f"{row['gigabytes']:,.2f} GB" if row["gigabytes"] < 10 else f"{row['gigabytes']:,.0f} GB",
            f"{row['shards']:,}",
            f"{row['failures']:.2f}",
        )
        for name, each in found["jobs"].items()
        for row in each
    ]
    return table(("judge", "pairs", "cards", "time", "cost", "stored", "shards", "failures"), rows)


def assumption_table(found: dict[str, Any]) -> str:
    """Every parameter with its value and its source."""
    rows = []
    for group, values in found["assumptions"].items():
        for name, value in values.items():
            what, source = SOURCES[f"{group}.{name}"]
            rows.append((what, _number(value), source))
    return table(("assumption", "value", "source"), rows)


def _number(value: float | bool) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.0f}" if 10 <= abs(value) < 1e6 else f"{value:.3g}"


def main() -> None:
    sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
    from scale.plots import pictures

    from rmr1_lite.storage import atomic_write_bytes

    for name, picture in pictures(read_results()).items():
        atomic_write_bytes(ROOT / "docs" / "images" / name, picture)
        print(f"written: docs/images/{name}")


if __name__ == "__main__":
    main()

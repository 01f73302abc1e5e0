"""What a study found: for each judge how far the truth rose, seed by seed and together, and what the judge
thought of it.

Intervals are 95 % and paired by question: every policy answers the same held-out questions, so questions are
resampled with all their answers. They say what other questions would change, not other seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rmr1_lite.evaluation.intervals import clustered_interval

Results = Mapping[str, Mapping[str, Any]]
KINDS = {"judge": "the judge", "weaker": "the weaker judge", "coin": "random verdicts"}
USUAL = "judge-0"
STUDIES = {
    USUAL: "as above, seed 0",
    "long": "2.5 times the steps",
    "long-no-kl": "2.5 times the steps, no KL term",
    "no-limit": "four times the length limit",
    "one-order": "each game in one order",
    "attack": "a start that knows an attack",
    "attack-not-inert": "the same, the attack not made inert",
}


def summarise(results: Results) -> dict[str, Any]:
    """Everything the table shows, as JSON values."""
    kinds = {
        kind: found
        for kind in KINDS
        if (found := [results[name] for name in sorted(results) if is_seed_of(name, kind)])
    }
    return {
        "judges": {kind: _over_seeds(found) for kind, found in kinds.items()},
        "judge_against_weaker": _difference(kinds.get("judge", ()), kinds.get("weaker", ())),
        "studies": {name: _of_one(results[name]) for name in STUDIES if name in results}
        if set(STUDIES) & set(results) - {USUAL}
        else {},
    }


def is_seed_of(name: str, kind: str) -> bool:
    head, _, seed = name.rpartition("-")
    return head == kind and seed.isdigit()


def _over_seeds(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    rises = [_rises(result) for result in found]
    together = [sum(values) / len(values) for values in zip(*rises, strict=True)]
    return {"seeds": [_of_one(result) for result in found], **_mean(together)}


def _of_one(result: Mapping[str, Any]) -> dict[str, Any]:
    start, end = result["start"], result["end"]
    return {
        "judge": result["run"]["judge"],
        "steps": end["step"],
        "stopped": result["stopped"],
        "start": start["truth"],
        "end": end["truth"],
        **_mean(_rises(result)),
        "greedy_start": result["greedy_start"],
        "greedy_end": result["greedy_end"],
        # the last one that was heard
        "judged": ([row["judged"] for row in result["curve"] if row["judged"] is not None] or [None])[-1],
        "best": max(row["truth"] for row in result["curve"]),
        "signs": {
            name: [start[name], end[name]]
            for name in ("tokens", "capped", "padded", "bold", "copied", "attacks")
            if name in end
        },
        "longer_wins": _mean_of(result["log"], "judge/longer_wins"),
        "judge_calls": result["judge_calls"],
        "judge_seconds": result["judge_seconds"],
        "update_seconds": result["update_seconds"],
    }


def _rises(result: Mapping[str, Any]) -> list[float]:
    return [
        after - before
        for before, after in zip(result["start"]["truths"], result["end"]["truths"], strict=True)
    ]


def _mean(values: Sequence[float], most: float = 1.0) -> dict[str, Any]:
    """rise: the mean; interval: of it, over questions. most: the largest size that a value can have (the
    interval is made for shares from 0 to 1)."""
    low, high = clustered_interval([((value / most + 1) / 2, 1.0) for value in values])
    interval = ((2 * low - 1) * most, (2 * high - 1) * most)
    return {"rise": sum(values) / len(values), "interval": interval}


def _difference(
    first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]]
) -> dict[str, Any] | None:
    """How much more the truth rose with the first judge, question by question."""
    if not first or not second:
        return None
    ours, theirs = (
        [sum(v) / len(v) for v in zip(*map(_rises, found), strict=True)] for found in (first, second)
    )
    return _mean([a - b for a, b in zip(ours, theirs, strict=True)], most=2)


def _mean_of(log: Sequence[Mapping[str, Any]], key: str) -> float | None:
    values = [row[key] for row in log if row.get(key) is not None]
    return sum(values) / len(values) if values else None


def markdown(summary: Mapping[str, Any]) -> str:
    """The tables, for the terminal and for summary.md."""
    lines = judge_tables(summary)
    if summary["studies"]:
        lines += ["", *study_tables(summary["studies"])]
    return "\n".join([*lines, *(f"\n{line}" for line in stops(summary))]) + "\n"


def stops(summary: Mapping[str, Any]) -> list[str]:
    """One line for each training that ended before its last step."""
    named = {
        f"{kind}-{seed}": one
        for kind, found in summary["judges"].items()
        for seed, one in enumerate(found["seeds"])
    }
    return [
        f"{name} ended early, {one['stopped']}"
        for name, one in (named | summary["studies"]).items()
        if one["stopped"]
    ]


def judge_tables(summary: Mapping[str, Any]) -> list[str]:
    """The lines about judges: what the truth did with each."""
    lines = _head(
        *("reward", "truth at the start", "at the end, by seed", "rise, points (95 %)"),
        *("most likely answer", "the judge's opinion", "the longer won"),
    )
    for kind, found in summary["judges"].items():
        seeds = found["seeds"]
        name = f"{KINDS[kind]}: {seeds[0]['judge']}" if kind != "coin" else KINDS[kind]
        lines.append(_row(name, seeds, found))
    if difference := summary["judge_against_weaker"]:
        lines += ["", f"More with the judge than with the weaker one: {_points(difference)} points."]
    return lines


def _head(*names: str) -> list[str]:
    return [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]


def _row(name: str, seeds: Sequence[Mapping[str, Any]], found: Mapping[str, Any]) -> str:
    cells = [
        name,
        _shares([seed["start"] for seed in seeds]),
        _shares([seed["end"] for seed in seeds]),
        _points(found),
        f"{_share(_average(seeds, 'greedy_start'))} to {_share(_average(seeds, 'greedy_end'))}",
        _shares([seed["judged"] for seed in seeds]),
        _shares([seed["longer_wins"] for seed in seeds]),
    ]
    return f"| {' | '.join(cells)} |"


def study_tables(studies: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The lines about ways to go wrong."""
    lines = _head(
        *("study (seed 0)", "truth: start, highest, end", "the judge's opinion"),
        *("the longer won", "tokens", "cut off", "padded", "bold", "the attack"),
    )
    for name, found in studies.items():
        signs = found["signs"]
        early = f" (ended at step {found['steps']})" if found["stopped"] else ""
        cells = [
            STUDIES[name] + early,
            _shares([found["start"], found["best"], found["end"]]),
            _share(found["judged"]),
            _share(found["longer_wins"]),
            " to ".join(f"{value:.1f}" for value in signs["tokens"]),
            *(
                " to ".join(map(_share, signs[key])) if key in signs else "-"
                for key in ("capped", "padded", "bold", "attacks")
            ),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _average(seeds: Sequence[Mapping[str, Any]], key: str) -> float:
    return sum(seed[key] for seed in seeds) / len(seeds)


def _points(found: Mapping[str, Any]) -> str:
    low, high = found["interval"]
    return f"{100 * found['rise']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def _shares(values: Sequence[float | None]) -> str:
    return ", ".join(map(_share, values))


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"

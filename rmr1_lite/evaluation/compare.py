"""Finished evaluations of the same benchmark side by side: paired differences on the same items, in
results.json.

    python -m rmr1_lite compare-runs runs/llmbar-base runs/llmbar-sft runs/llmbar-grpo --out runs/llmbar

Every judge is compared with the first one, item by item. Measured results are kept separate from
quoted ones.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rmr1_lite.evaluation.benchmarks.base import Benchmark, Calls, stratum_weights
from rmr1_lite.evaluation.benchmarks.scoring import weighted_mean_interval
from rmr1_lite.evaluation.intervals import ENOUGH
from rmr1_lite.evaluation.request import EvaluationRequest, read_pairs_of
from rmr1_lite.evaluation.results import OwnDifference, Results, new_results
from rmr1_lite.evaluation.results_file import load_results, save_results
from rmr1_lite.evaluation.runner import ITEMS, RESULTS, SETTINGS
from rmr1_lite.judging.engines.replay import ReplayEngine
from rmr1_lite.judging.judge import Judge
from rmr1_lite.types import InputError, Judgment, Pair


def compare_folders(folders: Sequence[Path], out: Path, command: str) -> Results:
    """Write results.json in `out` and return the results.

    Raises InputError for folders that are not finished evaluations of the same items.
    """
    if len(folders) < 2:
        raise InputError("One evaluation has nothing to compare with. Give two or more folders.")
    found = [load_results(folder / RESULTS) for folder in folders]
    settings = [_read_settings(folder) for folder in folders]
    _check_same(folders, settings, found)
    request = _request_of(settings[0], found[0])
    benchmark, pairs = read_pairs_of(request)
    judged = {
        _judge_name(results): _stored_judgments(folder, results, pairs, setting["style"])
        for folder, results, setting in zip(folders, found, settings, strict=True)
    }
    compared = new_results(request.seed, command, {**found[0].data, "compared": [str(f) for f in folders]})
    for results in found:
        compared.stages |= results.stages
    compared.quoted = found[0].quoted
    first, *others = judged
    compared.compare(pairs, judged, [(first, other) for other in others])
    compared.own_differences = [
        own_difference(benchmark, pairs, first, other, judged, request.seed) for other in others
    ]
    save_results(compared, out / RESULTS)
    return compared


def own_difference(
    benchmark: Benchmark,
    pairs: Sequence[Pair],
    first: str,
    second: str,
    judged: dict[str, list[Judgment]],
    seed: int,
) -> OwnDifference:
    """The main score of the benchmark's own convention, second minus first, resampling the same items for
    both.

    low and high are None if fewer than ten items differ: a bootstrap is not reliable there.
    """
    one, two = (
        {item.id: item for item in benchmark.items(pairs, Calls(judged[name], seed))}
        for name in (first, second)
    )
    rules = benchmark.scores(sorted({item.stratum for item in one.values()}))
    main = next(rule for rule in rules if rule.name == benchmark.main)
    groups: dict[str, list[float]] = {}
    for name, item in one.items():
        if item.stratum in main.strata and main.column in item.scores:
            change = two[name].scores[main.column] - item.scores[main.column]
            groups.setdefault(item.stratum, []).append(change)
    parts = stratum_weights(main, groups)
    difference = sum(
        part * sum(group) / len(group) for part, group in zip(parts, groups.values(), strict=True)
    )
    differ = sum(score != 0 for group in groups.values() for score in group)
    low, high = (
        weighted_mean_interval(list(groups.values()), parts, difference, seed)
        if differ >= ENOUGH
        else (None, None)
    )
    items = sum(map(len, groups.values()))
    return OwnDifference(first, second, benchmark.main, difference, low, high, items, differ)


def read_judgments(folder: Path) -> tuple[list[Pair], list[Judgment]]:
    """The pairs and judgments of a finished evaluation. Raises InputError for any other folder."""
    results, settings = load_results(folder / RESULTS), _read_settings(folder)
    pairs = read_pairs_of(_request_of(settings, results))[1]
    return pairs, _stored_judgments(folder, results, pairs, settings["style"])


def _judge_name(results: Results) -> str:
    return next(iter(results.stages))


def _read_settings(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / SETTINGS).read_bytes())
    except (OSError, ValueError):
        raise InputError(
            f"{folder} is not an evaluation: {SETTINGS} cannot be read. Create one with the evaluate command."
        ) from None


def _check_same(
    folders: Sequence[Path], settings: Sequence[dict[str, Any]], found: Sequence[Results]
) -> None:
    for folder, setting in zip(folders[1:], settings[1:], strict=True):
        for name in ("benchmark", "shown", "seed"):
            if setting.get(name) != settings[0].get(name):
                raise InputError(
                    f"{folder} and {folders[0]} were not judged on the same items: {name} is "
                    f"{setting.get(name)!r} and {settings[0].get(name)!r}. Evaluate both with the same "
                    "settings."
                )
    names = [_judge_name(results) for results in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InputError(
            f"Two folders hold a judge called {', '.join(sorted(twice))}. Evaluate with --name to "
            "distinguish them."
        )


def _request_of(settings: dict[str, Any], results: Results) -> EvaluationRequest:
    """The first folder's request, to read the same pairs again."""
    data = results.data["data"]
    return EvaluationRequest(
        settings["benchmark"],
        data if Path(data).exists() else None,
        settings["judge"],
        limit=settings["limit"],
        seed=settings["seed"],
    )


def _stored_judgments(folder: Path, results: Results, pairs: Sequence[Pair], style: str) -> list[Judgment]:
    """The stored looks, parsed again with the reading of the folder's results."""
    engine = ReplayEngine(folder / ITEMS, style=style)
    return Judge(engine, reading=results.data["reading"]).compare_many(pairs, progress=False)

"""Finished evaluations of the same benchmark side by side: paired differences, a table, and a plot beside the paper's rows.

    python -m rmr1_lite compare runs/llmbar-base runs/llmbar-sft runs/llmbar-grpo --out runs/llmbar

Every judge is compared with the first one, item by item. What was measured here stands apart from what is quoted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rmr1_lite.benchmark import ITEMS, RESULTS, SETTINGS, Asked, pairs_of
from rmr1_lite.engines import ReplayEngine
from rmr1_lite.evaluate import compare
from rmr1_lite.intervals import ENOUGH
from rmr1_lite.judge import Judge
from rmr1_lite.results import load, new, save
from rmr1_lite.suites.base import Calls, Suite, weights
from rmr1_lite.suites.score import interval
from rmr1_lite.types import InputError, Judgment, Pair

PLOT = "comparison.png"


def compare_folders(folders: Sequence[Path], out: Path, command: str) -> dict[str, Any]:
    """results.json and comparison.png in `out`; returns the results.

    Raises InputError for folders that are not finished evaluations of the same items.
    """
    if len(folders) < 2:
        raise InputError("One evaluation has nothing to be compared with. Give two or more folders.")
    found = [load(folder / RESULTS) for folder in folders]
    settings = [_settings(folder) for folder in folders]
    _check_same(folders, settings, found)
    asked = _asked(settings[0], found[0])
    suite, pairs = pairs_of(asked)
    judged = {_name(results): _judgments(folder, results, pairs, setting["style"])
              for folder, results, setting in zip(folders, found, settings, strict=True)}  # fmt: skip
    made = new(asked.seed, command, {**found[0]["data"], "compared": [str(folder) for folder in folders]})
    for results in found:
        made["stages"] |= results["stages"]
    made["quoted"] = found[0]["quoted"]
    first, *others = judged
    compare(made, pairs, judged, [(first, other) for other in others])
    made["data"]["own_differences"] = [own_difference(suite, pairs, first, other, judged, asked.seed) for other in others]
    save(made, out / RESULTS)
    plot(made, out / PLOT)
    return made


def own_difference(
    suite: Suite, pairs: Sequence[Pair], first: str, second: str, judged: dict[str, list[Judgment]], seed: int
) -> dict[str, Any]:
    """The main figure of the benchmark's own convention, second minus first, resampling the same items for both.

    low and high are None where fewer than ten items differ: a bootstrap says nothing there.
    """
    one, two = ({item.id: item for item in suite.items(pairs, Calls(judged[name], seed))} for name in (first, second))
    main = next(f for f in suite.figures(sorted({item.stratum for item in one.values()})) if f.name == suite.main)
    groups: dict[str, list[float]] = {}
    for name, item in one.items():
        if item.stratum in main.strata and main.column in item.scores:
            groups.setdefault(item.stratum, []).append(two[name].scores[main.column] - item.scores[main.column])
    parts = weights(main, groups)
    difference = sum(part * sum(group) / len(group) for part, group in zip(parts, groups.values(), strict=True))
    differ = sum(score != 0 for group in groups.values() for score in group)
    low, high = interval(list(groups.values()), parts, difference, seed) if differ >= ENOUGH else (None, None)
    return {"first": first, "second": second, "figure": suite.main, "difference": difference, "low": low, "high": high,
            "items": sum(map(len, groups.values())), "differ": differ}  # fmt: skip


def plot(results: dict[str, Any], path: Path) -> Path:
    """The main figure of every judge with its interval, and the quoted rows without one."""
    from rmr1_lite.plots import comparison_png

    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    draft.write_bytes(comparison_png(results))
    os.replace(draft, path)
    return path


def judged_in(folder: Path) -> tuple[list[Pair], list[Judgment]]:
    """The pairs and judgments of a finished evaluation. Raises InputError when it is none."""
    results, settings = load(folder / RESULTS), _settings(folder)
    pairs = pairs_of(_asked(settings, results))[1]
    return pairs, _judgments(folder, results, pairs, settings["style"])


def _name(results: dict[str, Any]) -> str:
    return next(iter(results["stages"]))


def _settings(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / SETTINGS).read_bytes())
    except (OSError, ValueError):
        raise InputError(f"{folder} is no evaluation: {SETTINGS} cannot be read. Make it with the evaluate command.") from None


def _check_same(folders: Sequence[Path], settings: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]]) -> None:
    for folder, setting in zip(folders[1:], settings[1:], strict=True):
        for name in ("benchmark", "shown", "seed"):
            if setting.get(name) != settings[0].get(name):
                raise InputError(f"{folder} and {folders[0]} were not judged on the same items: {name} is "
                                 f"{setting.get(name)!r} and {settings[0].get(name)!r}. Evaluate both alike.")  # fmt: skip
    names = [_name(results) for results in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InputError(f"Two folders hold a judge called {', '.join(sorted(twice))}. Evaluate with --name to tell them apart.")


def _asked(settings: dict[str, Any], results: dict[str, Any]) -> Asked:
    """What the first folder was asked, to read the same pairs again."""
    data = results["data"]["data"]
    return Asked(settings["benchmark"], data if Path(data).exists() else None, settings["judge"], limit=settings["limit"],
                 seed=settings["seed"])  # fmt: skip


def _judgments(folder: Path, results: dict[str, Any], pairs: Sequence[Pair], style: str) -> list[Judgment]:
    """The stored looks, read again under the reading that the folder's figures were made with."""
    engine = ReplayEngine(folder / ITEMS, style=style)
    return Judge(engine, reading=results["data"]["reading"]).compare_many(pairs, progress=False)

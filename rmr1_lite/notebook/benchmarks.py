"""Notebook 04: judges on a benchmark, its own figures beside the paper's, calibration, and whether the reasoning carries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rmr1_lite.ablations import reasoning_carries
from rmr1_lite.benchmark import Asked, evaluate_benchmark
from rmr1_lite.engines import Sampling
from rmr1_lite.models import free, load
from rmr1_lite.notebook.judging import bank_of, mark
from rmr1_lite.notebook.settings import Settings
from rmr1_lite.notebook.show import table
from rmr1_lite.suites import quoted
from rmr1_lite.thinking import settle
from rmr1_lite.types import InputError

PAPER = {"RewardBench": quoted.REWARDBENCH, "RM-Bench": quoted.RM_BENCH, "RMB": quoted.RMB}


def evaluate_all(s: Settings, specs: dict[str, str], benchmark: str, data: str | None, limit: int | None) -> dict[str, Path]:
    """Every judge on the benchmark, in a folder of its own under `out`; name -> folder. Goes on where it stopped."""
    bank, folders = bank_of(s, list(specs.values())), {}
    for name, spec in specs.items():
        folders[name] = _folder(s, spec, benchmark, f"{name}-{limit or 'all'}")
        asked = Asked(benchmark, data, spec, name, s.style, limit=limit, sampling=Sampling(max_new_tokens=s.room))
        evaluate_benchmark(asked, lambda spec=spec: bank.judge(spec).engine, folders[name], "notebooks/04_evaluate")
    return folders


def calibrated(s: Settings, spec: str, benchmark: str, data: str | None, limit: int | None, votes: int) -> dict[str, Any]:
    """Calibration by votes and by the letter's log-probability: source -> figures."""
    folder = _folder(s, spec, benchmark, f"votes-{limit or 'all'}")
    asked = Asked(benchmark, data, spec, "judge", s.style, limit=limit, votes=votes, confidence=True,
                  sampling=Sampling(temperature=1.0, max_new_tokens=s.room))  # fmt: skip
    # a bank that nothing else holds: the letter's pass loads the model again when this one is gone
    results = evaluate_benchmark(asked, lambda: bank_of(s, [spec]).judge(spec).engine, folder, "notebooks/04_evaluate")
    return results["stages"]["judge"].get("calibration", {})


def carried(s: Settings, spec: str, folder: Path) -> str:
    """In words: what another pair's chain in the place of its own does to an evaluation's verdicts, and what none does."""
    from rmr1_lite.comparison import judged_in

    free()
    pairs, judged = judged_in(folder)
    try:
        loaded = load(spec)
        settle(loaded.tokenizer, s.style, trained=loaded.thinking)
        found = reasoning_carries(loaded, pairs, judged, s.style)
    except InputError as error:
        return f"It cannot be said. {error}"
    follows = f"The verdict follows another pair's chain in {found.follows:.1%} of {found.n} looks"
    follows += f" ({found.follows_unnamed:.1%} of the {found.n_unnamed} whose chain names no letter)." if found.n_unnamed else "."
    return f"{follows} With the evaluation blanked the judge is right in {found.blank_accuracy:.1%} (a coin: 50 %)."


def own_table(results: dict[str, Any]) -> Any:
    """The benchmark's own figures: measured here with intervals, and the paper's RM-R1 rows where it has them."""
    stages = {name: row["own"] for name, row in results["stages"].items()}
    shown = [name for name in results["quoted"] if name.startswith("RM-R1")][:2]
    rows = []
    for figure in next(iter(stages.values()))["figures"]:
        mine = [_measured(own["figures"][figure]) for own in stages.values()]
        rows.append([figure, *mine, *(_quoted(results["quoted"][name].get(figure)) for name in shown)])
    rule = next(iter(stages.values()))["rule"]
    return table(["figure", *stages, *(f"{name} (quoted)" for name in shown)], rows, f"{results['data']['title']}: {rule}")


def paper_table() -> Any:
    """The paper's own totals, quoted."""
    rows = [[judge, *(f"{suite[judge]['overall']:.1%}" for suite in PAPER.values())] for judge in PAPER["RewardBench"]]
    caption = f"Quoted from the {quoted.SOURCE}. Nano figures cannot stand beside them: nano knows its toy world alone."
    return table(["judge", *PAPER], rows, caption)


def _quoted(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _measured(row: dict[str, Any]) -> str:
    interval = "" if row["low"] is None else f" ({row['low']:.0%} to {row['high']:.0%})"
    return f"{row['value']:.1%}{interval}"


def _folder(s: Settings, spec: str, benchmark: str, name: str) -> Path:
    """A folder for these weights, so that another adapter never goes on with this one's looks."""
    return s.out / "evaluation" / benchmark / f"{name}-{mark(s, spec)}"

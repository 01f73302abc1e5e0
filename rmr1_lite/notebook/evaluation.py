"""Notebook 04: judges on a benchmark, its own scores next to the paper's, calibration, and whether the
reasoning matters."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from rmr1_lite.evaluation.ablations import reasoning_carries
from rmr1_lite.evaluation.benchmarks import paper_results
from rmr1_lite.evaluation.benchmarks.scoring import OwnScore
from rmr1_lite.evaluation.calibration import Calibration
from rmr1_lite.evaluation.compare import read_judgments
from rmr1_lite.evaluation.request import EvaluationRequest
from rmr1_lite.evaluation.results import Results
from rmr1_lite.evaluation.runner import evaluate
from rmr1_lite.judging.engines.base import Sampling
from rmr1_lite.models.loading import free_memory, load
from rmr1_lite.models.thinking import settle_switch
from rmr1_lite.notebook.judging import folder_name, pool_of
from rmr1_lite.notebook.settings import Settings
from rmr1_lite.notebook.show import table
from rmr1_lite.types import InputError

PAPER = {
    "RewardBench": paper_results.REWARDBENCH,
    "RM-Bench": paper_results.RM_BENCH,
    "RMB": paper_results.RMB,
}


def evaluate_all(
    s: Settings, specs: dict[str, str], benchmark: str, data: str | None, limit: int | None
) -> dict[str, Path]:
    """Every judge on the benchmark, in its own folder under `out`; name -> folder. Resumes where it
    stopped."""
    pool, folders = pool_of(s, list(specs.values())), {}
    for name, spec in specs.items():
        folders[name] = _evaluation_folder(s, spec, benchmark, f"{name}-{limit or 'all'}")
        sampling = Sampling(max_new_tokens=s.max_new_tokens)
        request = EvaluationRequest(benchmark, data, spec, name, s.style, limit=limit, sampling=sampling)
        evaluate(request, partial(pool.judge, spec), folders[name], "notebooks/04_evaluate")
    return folders


def measure_calibration(
    s: Settings, spec: str, benchmark: str, data: str | None, limit: int | None, votes: int
) -> dict[str, Calibration]:
    """Calibration by votes and by the letter's log-probability: source -> metrics."""
    folder = _evaluation_folder(s, spec, benchmark, f"votes-{limit or 'all'}")
    request = EvaluationRequest(
        benchmark,
        data,
        spec,
        "judge",
        s.style,
        limit=limit,
        votes=votes,
        confidence=True,
        sampling=Sampling(temperature=1.0, max_new_tokens=s.max_new_tokens),
    )
    # a pool that nothing else references: the pass for the letters reloads the model after this one is freed
    results = evaluate(request, lambda: pool_of(s, [spec]).judge(spec), folder, "notebooks/04_evaluate")
    return dict(results.stages["judge"].calibration)


def describe_reasoning(s: Settings, spec: str, folder: Path) -> str:
    """In words: how an evaluation's verdicts change with another pair's chain, and
    with none."""
    free_memory()
    pairs, judged = read_judgments(folder)
    try:
        loaded = load(spec)
        settle_switch(loaded.tokenizer, s.style, trained=loaded.thinking)
        found = reasoning_carries(loaded, pairs, judged, s.style)
    except InputError as error:
        return f"Not computed. {error}"
    follows = f"The verdict follows another pair's chain in {found.follows:.1%} of {found.n} judge calls"
    follows += (
        f" ({found.follows_unnamed:.1%} of the {found.n_unnamed} whose chain names no letter)."
        if found.n_unnamed
        else "."
    )
    blanked = f"With the evaluation blanked the judge is right in {found.blank_accuracy:.1%} (chance: 50 %)."
    return f"{follows} {blanked}"


def own_scores_table(results: Results) -> Any:
    """The benchmark's own scores: measured here with intervals, and the paper's RM-R1 rows where it has
    them."""
    stages = {name: stage.scored for name, stage in results.stages.items()}
    shown = [name for name in results.quoted if name.startswith("RM-R1")][:2]
    rows = []
    first = next(iter(stages.values()))
    for score in first.scores:
        mine = [_format_measured(own.scores[score]) for own in stages.values()]
        rows.append([score, *mine, *(_format_quoted(results.quoted[name].get(score)) for name in shown)])
    return table(
        ["figure", *stages, *(f"{name} (quoted)" for name in shown)],
        rows,
        f"{results.data['title']}: {first.rule}",
    )


def paper_table() -> Any:
    """The paper's own totals, quoted."""
    rows = [
        [judge, *(f"{rows[judge]['overall']:.1%}" for rows in PAPER.values())]
        for judge in PAPER["RewardBench"]
    ]
    caption = (
        f"Quoted from the {paper_results.SOURCE}. Nano results are not comparable with them: nano knows only "
        f"its toy world."
    )
    return table(["judge", *PAPER], rows, caption)


def _format_quoted(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _format_measured(score: OwnScore) -> str:
    interval = "" if score.low is None else f" ({score.low:.0%} to {score.high:.0%})"
    return f"{score.value:.1%}{interval}"


def _evaluation_folder(s: Settings, spec: str, benchmark: str, name: str) -> Path:
    """A folder for these weights, so that another adapter never continues with this one's looks."""
    return s.out / "evaluation" / benchmark / f"{name}-{folder_name(s, spec)}"

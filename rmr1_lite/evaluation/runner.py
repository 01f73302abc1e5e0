"""The evaluation runner: a judge on labelled pairs or a benchmark, in both orders, resumable, scored in both
conventions.

    python -m rmr1_lite evaluate --benchmark llmbar --data LLMBar/ --judge nano --out runs/llmbar

In an evaluation's folder: items.jsonl (every look: text, order, status, verdict, tokens, seconds, seed),
run.json (what must stay the same) and, from `evaluate`, results.json (the schema of
`rmr1_lite.evaluation.results`). The same call resumes where it stopped. Two entry points:

    evaluate          used by the command line; when every look exists no model is loaded, so another
                      reading of
                      a finished evaluation takes seconds. A folder of another evaluation is refused.
    evaluate_pairs    a judge in memory on pairs in memory, for the demo and the notebooks. Looks of other
                      weights under
                      the same name are moved aside: a stage that was trained again is judged again.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rmr1_lite.data.rows import pairs_digest
from rmr1_lite.evaluation.benchmarks.base import Benchmark
from rmr1_lite.evaluation.benchmarks.paper_results import SOURCE
from rmr1_lite.evaluation.benchmarks.scoring import own_scores
from rmr1_lite.evaluation.calibration import Calibration, compute_calibration, vote_probabilities
from rmr1_lite.evaluation.metrics import length_bias, score
from rmr1_lite.evaluation.request import EvaluationRequest, check_confidence, read_pairs_of
from rmr1_lite.evaluation.results import Results, new_results
from rmr1_lite.evaluation.results_file import save_results
from rmr1_lite.judging.batch import count_reasons, describe_reasons, judge_settings
from rmr1_lite.judging.engines.replay import ReplayEngine
from rmr1_lite.judging.judge import LOG_KEY, Judge, sort_log
from rmr1_lite.models.adapters import fingerprint_of
from rmr1_lite.models.base_weights import AUTO
from rmr1_lite.models.thinking import settle_switch
from rmr1_lite.storage import JsonlLog, same_settings, write_json
from rmr1_lite.types import NOT_JUDGED, ORDERS, EvalResult, InputError, Judgment, Pair

ITEMS, SETTINGS, RESULTS = "items.jsonl", "run.json", "results.json"
# may differ between two starts in the same folder
MAY_CHANGE = ("data", "name", "reading", "style", "confidence")
# settings that older folders do not hold -> what was usual then
ADDED = {"four_bit": True, "base": AUTO}


def evaluate(
    request: EvaluationRequest,
    make_judge: Callable[[], Judge],
    out: Path,
    command: str,
    progress: bool = True,
) -> Results:
    """Make the missing judge calls, score everything, write out/results.json and return it.

    make_judge: called only when looks are missing; its style, reading and sampling are the request's.
    Raises InputError for data of another form than the benchmark's, and for an `out` with another evaluation.
    """
    check_confidence(request)
    benchmark, pairs = read_pairs_of(request)
    judgments, style = _judge_into(out, request, pairs, make_judge, progress)
    results = _score_results(request, benchmark, pairs, judgments, command)
    found = _measure_calibrations(request, pairs, judgments, style, out)
    stage = results.stages[request.shown_name]
    results.stages[request.shown_name] = replace(stage, calibration=found)
    save_results(results, out / RESULTS)
    return results


def evaluate_pairs(
    name: str, judge: Judge, pairs: Sequence[Pair], out: Path, progress: bool = True
) -> tuple[EvalResult, list[Judgment]]:
    """Judge `pairs` in both orders; looks in out/NAME from the same weights and settings
    are kept.

    `seconds` of the result is the sum over looks, so that a resumed evaluation reports the total time.
    """
    folder = out / name
    _adopt_former_files(out, name)
    settings = {
        key: value for key, value in judge_settings(judge).items() if key not in ("engine", "reading")
    }
    _set_other_aside(folder, settings)
    write_json(folder / SETTINGS, settings)
    with JsonlLog(folder / ITEMS, LOG_KEY) as log:
        judgments = judge.compare_many(pairs, log=log, progress=progress)
        sort_log(log, pairs)
    return score(name, pairs, judgments, _total_seconds(judgments)), judgments


def _judge_into(
    out: Path,
    request: EvaluationRequest,
    pairs: Sequence[Pair],
    make_judge: Callable[[], Judge],
    progress: bool,
) -> tuple[list[Judgment], str]:
    """All looks and their prompt style. The judge is released here: calibration may load the model
    again."""
    settings = _request_settings(request, pairs)
    added = ["weights", "thinking", *(name for name, usual in ADDED.items() if settings[name] == usual)]
    then = same_settings(out / SETTINGS, settings, unset="style", added=added)
    with JsonlLog(out / ITEMS, LOG_KEY) as log:
        judge = _finished_judge(log, request, pairs, then) or make_judge()
        judge = replace(judge, reading=request.reading, sampling=request.sampling)
        _check_switch(out, then, judge)
        write_json(out / SETTINGS, {**settings, "style": judge.style})
        judgments = judge.compare_many(pairs, votes=request.votes, log=log, progress=progress)
        sort_log(log, pairs)
    return judgments, judge.style or ""


def _finished_judge(
    log: JsonlLog, request: EvaluationRequest, pairs: Sequence[Pair], then: dict[str, Any] | None
) -> Judge | None:
    """A replay of the log when it holds every look, so that no model is loaded."""
    wanted = {(pair.id, order, vote) for pair in pairs for order in ORDERS for vote in range(request.votes)}
    if then is None or not wanted <= log.done or any(row.get("error") is not None for row in log):
        return None
    print(f"{log.path} already has all {len(wanted)} judge calls: nothing to do.")
    return Judge(ReplayEngine(log.path, style=then["style"]), request.style)


def _check_switch(out: Path, then: dict[str, Any] | None, judge: Judge) -> None:
    """Looks from before the thinking switch was a setting used the template as it is."""
    switch: str = getattr(judge.engine, "thinking", "")
    if then is not None and "thinking" not in then and switch:
        raise InputError(
            f"{out} was started by a version of the kit that did not set the chat template's thinking "
            "switch. Give another --out to judge from scratch."
        )


def _request_settings(request: EvaluationRequest, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Settings that must stay the same for looks to share a file. The digest covers everything the judge is
    shown."""
    shown = pairs_digest(pairs)
    kept = {name: value for name, value in asdict(request).items() if name not in MAY_CHANGE}
    # the folder may have been deleted, and all looks can still be scored again
    weights = fingerprint_of(request.judge)
    fixed = {**kept, "style": request.style, "pairs": len(pairs), "shown": shown}
    return {**fixed, "weights": weights} if weights else fixed


def _set_other_aside(folder: Path, settings: dict[str, Any]) -> None:
    """Move a log of other weights or settings aside, and report it; nothing is lost."""
    path, mark = folder / ITEMS, folder / SETTINGS
    then = json.loads(mark.read_text(encoding="utf-8")) if mark.exists() else settings
    # a missing or empty value (judges of the notebooks once had no fingerprint) is not
    # compared
    told = {key for key in then.keys() & settings.keys() if then[key] != ""}
    if path.exists() and any(then[key] != settings[key] for key in told):
        aside = _free_name(folder, then.get("weights") or "before")
        path.replace(aside)
        print(
            f"{path} belongs to other weights or settings: it was moved to {aside.name}, and {folder.name} "
            "will be judged again."
        )


def _free_name(folder: Path, mark: str) -> Path:
    """A name for the moved log that is not in use yet."""
    names = (f"items.{mark}{f'-{count}' if count > 1 else ''}.jsonl" for count in itertools.count(1))
    return next(folder / name for name in names if not (folder / name).exists())


def _adopt_former_files(out: Path, name: str) -> None:
    """Until 2026-11 the looks of `evaluate_pairs` were in out/NAME.looks.jsonl and their weights in
    out/NAME.weights.json."""
    looks, weights = out / f"{name}.looks.jsonl", out / f"{name}.weights.json"
    if looks.exists() and not (out / name / ITEMS).exists():
        (out / name).mkdir(parents=True, exist_ok=True)
        if weights.exists():
            weights.replace(out / name / SETTINGS)
        looks.replace(out / name / ITEMS)


def _score_results(
    request: EvaluationRequest,
    benchmark: Benchmark,
    pairs: Sequence[Pair],
    judgments: list[Judgment],
    command: str,
) -> Results:
    """The judge in both conventions, and the paper's rows as quoted ones."""
    looks = [look for judgment in judgments for look in judgment.looks]
    failed = sum(look.status in NOT_JUDGED for look in looks)
    data = {
        "benchmark": benchmark.name,
        "title": benchmark.title,
        "paper": benchmark.paper,
        "data": request.data or benchmark.home,
        "pairs": len(pairs),
        "limit": request.limit,
        "votes": request.votes,
        "reading": request.reading,
        "failed_looks": failed,
    }
    results = new_results(request.seed, command, data)
    result = score(request.shown_name, pairs, judgments, _total_seconds(judgments), seed=request.seed)
    own = own_scores(benchmark, pairs, judgments, request.seed)
    results.add_stage(result, length_bias=length_bias(pairs, judgments), own=own)
    results.quoted = {judge: {"source": SOURCE, **row} for judge, row in benchmark.quoted.items()}
    if failed:
        counts = Counter(look.status for look in looks if look.status in NOT_JUDGED)
        kinds = ", ".join(f"{status} {count}" for status, count in counts.most_common())
        again = ": run the same command again to retry them" if set(counts) - {"too_long"} else ""
        final = " (with --via batch, filtered ones are final)" if counts["filtered"] else ""
        print(f"{failed} of {len(looks)} judge calls failed and count as wrong ({kinds}){again}{final}.")
        print("".join(f"{line}\n" for line in describe_reasons(count_reasons(judgments))), end="")
    return results


def _total_seconds(judgments: Sequence[Judgment]) -> float:
    return sum(look.generation.seconds for judgment in judgments for look in judgment.looks)


def _measure_calibrations(
    request: EvaluationRequest, pairs: Sequence[Pair], judgments: list[Judgment], style: str, out: Path
) -> dict[str, Calibration]:
    """Reliability by votes if there are several, and by log-probability if requested."""
    found = {}
    if request.votes > 1:
        found["votes"] = vote_probabilities(judgments)
    if request.confidence:
        from rmr1_lite.judging.verdict_logprobs import pair_probabilities

        found["log-probability"] = pair_probabilities(
            lambda: _load_alone(request, style), pairs, judgments, style, out / "confidence.jsonl"
        )
    for source in [source for source, chances in found.items() if not chances]:
        print(f"No verdict was parsed, so there is no confidence by {source}.")
        del found[source]
    return {source: compute_calibration(pairs, chances, request.seed) for source, chances in found.items()}


def _load_alone(request: EvaluationRequest, style: str) -> Any:
    """The judge's model, once the engine is no longer in memory: a small card does not hold it
    twice."""
    from rmr1_lite.models.base_weights import load_over
    from rmr1_lite.models.loading import free_memory

    free_memory()
    loaded = load_over(request.judge, request.base, request.four_bit)
    loaded.thinking = settle_switch(loaded.tokenizer, style, request.thinking, loaded.thinking)
    return loaded

"""One judge on one benchmark, or on labelled pairs of one's own: both orders, resumable, scored in both conventions.

    python -m rmr1_lite evaluate --benchmark llmbar --data LLMBar/ --judge nano --out runs/llmbar

In `out`: items.jsonl (every look: text, order, status, verdict, tokens, seconds, seed), run.json (what was asked) and
results.json (the schema of `rmr1_lite.results`). The same command goes on where it was stopped; when every look is there no
model is loaded, so another reading of a finished evaluation takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rmr1_lite import suites
from rmr1_lite.adapters import weights_of
from rmr1_lite.calibration import calibration, vote_probabilities
from rmr1_lite.data.files import JsonlLog, digest, read_pairs, same_settings, write_json
from rmr1_lite.engines import Engine, ReplayEngine, Sampling
from rmr1_lite.judge import LOG_KEY, Judge, in_order
from rmr1_lite.metrics import length_bias, score
from rmr1_lite.results import add_stage, new, save
from rmr1_lite.suites.base import Figure, Suite, one_item_per_pair
from rmr1_lite.suites.quoted import SOURCE
from rmr1_lite.suites.score import own_figures, subset
from rmr1_lite.thinking import settle
from rmr1_lite.types import ORDERS, InputError, Judgment, Pair

ITEMS, SETTINGS, RESULTS = "items.jsonl", "run.json", "results.json"
FREE = ("data", "name", "reading", "style", "confidence")  # may differ between two starts in one folder
OWN = "pairs"  # benchmark name of a file of one's own


@dataclass(frozen=True)
class Asked:
    """What is evaluated and how. judge: the spec. reading may change for a finished evaluation, the rest may not.

    limit: about this many questions, drawn by `seed`, which also draws the order where a benchmark shows a pair once.
    """

    benchmark: str
    data: str | None
    judge: str
    name: str = ""
    style: str | None = None
    reading: str = "strict"
    limit: int | None = None
    votes: int = 1
    seed: int = 0
    confidence: bool = False
    thinking: str = "auto"
    sampling: Sampling = field(default_factory=Sampling)


def evaluate_benchmark(asked: Asked, make_engine: Callable[[], Engine], out: Path, command: str, progress: bool = True) -> dict:
    """Judge what is missing, score everything, write out/results.json and return it.

    Raises InputError for data that is not the benchmark's, and for an `out` that holds another evaluation.
    """
    check_confidence(asked)
    suite, pairs = pairs_of(asked)
    judgments, style = _judged(asked, make_engine, pairs, out, progress)
    results = _results(asked, suite, pairs, judgments, command)
    _calibrate(asked, results, pairs, judgments, style, out)
    save(results, out / RESULTS)
    return results


def _judged(
    asked: Asked, make_engine: Callable[[], Engine], pairs: Sequence[Pair], out: Path, progress: bool
) -> tuple[list[Judgment], str]:  # fmt: skip
    """All looks and the style they were asked in. The engine is let go here: calibration may load the model again."""
    settings = _settings(asked, pairs)
    then = same_settings(out / SETTINGS, settings, unset="style", added=("weights", "thinking"))
    with JsonlLog(out / ITEMS, LOG_KEY) as log:
        engine = _finished(log, pairs, asked.votes, then) or make_engine()
        _check_switch(out, then, engine)
        judge = Judge(engine, asked.style or engine.style, asked.reading, asked.sampling)
        write_json(out / SETTINGS, {**settings, "style": judge.style})
        judgments = judge.compare_many(pairs, votes=asked.votes, log=log, progress=progress)
        in_order(log, pairs)
    return judgments, judge.style or ""


def _check_switch(out: Path, then: dict[str, Any] | None, engine: Engine) -> None:
    """Looks that were begun before the thinking switch was a setting met the template as it is."""
    if then is not None and "thinking" not in then and getattr(engine, "thinking", ""):
        raise InputError(f"{out} was begun by a version of the kit that left the chat template's thinking switch alone. Give "
                         "another --out to judge anew.")  # fmt: skip


def pairs_of(asked: Asked) -> tuple[Suite, list[Pair]]:
    """The suite and its pairs, a subset of them under a limit."""
    if asked.limit is not None and asked.limit < 1:
        raise InputError(f"limit is {asked.limit}. Give a whole number from 1 on, or leave it out.")
    if asked.benchmark == OWN:
        pairs = _own_pairs(asked.data)
        suite = own_suite(pairs)
    else:
        suite = suites.find(asked.benchmark)
        pairs = suites.read(suite, asked.data)
    if asked.limit is not None:
        whole, pairs = len(pairs), subset(pairs, asked.limit, asked.seed)
        print(f"{suite.title}: {len(pairs)} of {whole} pairs, a subset drawn by seed {asked.seed}")
    return suite, pairs


def _own_pairs(path: str | None) -> list[Pair]:
    from dataclasses import replace

    if path is None:
        raise InputError("No pairs to evaluate on. Give --benchmark, or --data with a JSONL of labelled pairs.")
    read = read_pairs(path)
    print(read.summary())
    pairs = [replace(pair, meta={**pair.meta, "item": pair.id}) for pair in read.pairs if pair.label]
    if not pairs:
        raise InputError(f"{path}: no labelled pair to evaluate on. Give rows with label A or B.")
    return pairs


def own_suite(pairs: Sequence[Pair]) -> Suite:
    """A file of one's own as a suite: accuracy over all pairs, each in one seeded order."""
    sections = tuple(dict.fromkeys(pair.section for pair in pairs))
    return Suite(
        name=OWN, title="own pairs", paper="", home="", rule="accuracy in one seeded order per pair", pairs=lambda rows: [],
        items=one_item_per_pair, figures=lambda strata: [Figure("overall", sections)], main="overall",
    )  # fmt: skip


def _settings(asked: Asked, pairs: Sequence[Pair]) -> dict[str, Any]:
    """What must stay the same for looks to stand in one file. The digest is over everything the judge is shown."""
    import hashlib

    shown = hashlib.sha256("".join(f"{pair.id} {digest(pair)}\n" for pair in pairs).encode()).hexdigest()[:16]
    kept = {name: value for name, value in asdict(asked).items() if name not in FREE}
    weights = weights_of(asked.judge)  # gone with a folder that was deleted, and all looks may still be scored again
    return {**kept, "style": asked.style, "pairs": len(pairs), "shown": shown, **({"weights": weights} if weights else {})}


def _finished(log: JsonlLog, pairs: Sequence[Pair], votes: int, then: dict[str, Any] | None) -> Engine | None:
    """A replay of the log when it holds every look, so that no model need be loaded."""
    wanted = {(pair.id, order, vote) for pair in pairs for order in ORDERS for vote in range(votes)}
    if then is None or not wanted <= log.done or any(row.get("error") is not None for row in log):
        return None
    print(f"{log.path} holds all {len(wanted)} looks: nothing to judge.")
    return ReplayEngine(log.path, style=then["style"])


def _results(asked: Asked, suite: Suite, pairs: Sequence[Pair], judgments: list[Judgment], command: str) -> dict[str, Any]:
    """results.json: the judge under both conventions, and the paper's rows as quoted ones."""
    name = asked.name or asked.judge
    looks = [look for judgment in judgments for look in judgment.looks]
    failed = sum(look.status == "error" for look in looks)
    data = {"benchmark": suite.name, "title": suite.title, "paper": suite.paper, "data": asked.data or suite.home,
            "pairs": len(pairs), "limit": asked.limit, "votes": asked.votes, "reading": asked.reading,
            "failed_looks": failed}  # fmt: skip
    results = new(asked.seed, command, data)
    seconds = sum(look.generation.seconds for look in looks)
    result = score(name, pairs, judgments, seconds, seed=asked.seed)
    own = own_figures(suite, pairs, judgments, asked.seed)
    add_stage(results, result, length_bias=length_bias(pairs, judgments), own=own)
    results["quoted"] = {judge: {"source": SOURCE, **figures} for judge, figures in suite.quoted.items()}
    if failed:
        print(f"{failed} of {len(looks)} looks failed and count as wrong: run the same command again to retry them.")
    return results


def _calibrate(
    asked: Asked, results: dict[str, Any], pairs: Sequence[Pair], judgments: list[Judgment], style: str, out: Path
) -> None:
    """Reliability by votes where there are several, and by log-probability where it was asked for."""
    found = {}
    if asked.votes > 1:
        found["votes"] = vote_probabilities(judgments)
    if asked.confidence:
        from rmr1_lite.confidence import letter_probabilities

        found["log-probability"] = letter_probabilities(lambda: _alone(asked, style), pairs, judgments, style, out)
    for source in [source for source, chances in found.items() if not chances]:
        print(f"No verdict could be read, so there is no confidence by {source}.")
        del found[source]
    if found:
        made = {source: calibration(pairs, chances, asked.seed) for source, chances in found.items()}
        results["stages"][asked.name or asked.judge]["calibration"] = made


def _alone(asked: Asked, style: str) -> Any:
    """The judge's model, when what wrote the texts has left the memory: a small card does not hold it twice."""
    from rmr1_lite.models import free, load

    free()
    loaded = load(asked.judge)
    loaded.thinking = settle(loaded.tokenizer, style, asked.thinking, loaded.thinking)
    return loaded


def check_confidence(asked: Asked) -> None:
    """A log-probability needs the model itself: InputError for a log or an endpoint."""
    if asked.confidence and asked.judge.partition(":")[0] in ("replay", "openai"):
        raise InputError(f"{asked.judge} gives texts only. Confidence by log-probability needs a local model; --votes works.")

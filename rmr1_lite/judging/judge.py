"""The judge: a pair is shown in both orders, an engine generates, the parser reads. All judging goes through
this file.

Both orders by default, because a judge that prefers a position looks as good as a fair one on half of the
pairs. With a log, every look is stored the moment it is written, and the same call resumes where it
stopped. A look without a parsed verdict keeps its reason and never counts for either response.

    judge = make_judge("nano")
    judgment = judge.compare(pair)          # judgment.label, judgment.consistent, judgment.looks
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rmr1_lite.data.rows import pair_digest
from rmr1_lite.judging.engines.base import Engine, Request, Sampling
from rmr1_lite.judging.engines.replay import generation_from_row
from rmr1_lite.prompts import choose_style, judge_messages, pair_as_shown
from rmr1_lite.storage import JsonlLog
from rmr1_lite.types import (
    ORDERS,
    EngineStopped,
    Generation,
    InputError,
    Judgment,
    Look,
    Order,
    Pair,
    Verdict,
)
from rmr1_lite.verdict import parse_verdict

if TYPE_CHECKING:
    from rmr1_lite.judging.ranking import Ranking

LOG_KEY = ("id", "order", "vote")
Key = tuple[str, Order, int]


def sort_log(log: JsonlLog, pairs: Sequence[Pair]) -> None:
    """Sort a log of looks by the order of the pairs; rows of other pairs stay, at the end.
    A log that is already sorted is not rewritten.
    """
    places = {pair.id: place for place, pair in enumerate(pairs)}

    def place_of(row: dict[str, Any]) -> tuple[Any, ...]:
        return (places.get(row["id"], len(places)), row["id"], row["order"], row["vote"])

    found = [place_of(row) for row in log]
    if found != sorted(found):
        log.rewrite(lambda _: True, place_of)


@dataclass(frozen=True)
class Judge:
    """engine: generates the text. style: the prompt style, by default that of the engine's model.


    reading: the parser's reading, `strict` for our own models, `lenient` for foreign ones.
    """

    engine: Engine
    style: str | None = None
    reading: str = "strict"
    sampling: Sampling = Sampling()

    def __post_init__(self) -> None:
        object.__setattr__(self, "style", choose_style(self.style, self.engine.style, self.engine.name))

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the weights, "" for an engine without any (an endpoint, a log)."""
        return getattr(self.engine, "fingerprint", "")

    def compare(self, pair: Pair, orders: Sequence[Order] = ORDERS, votes: int = 1) -> Judgment:
        """Judge one pair: `votes` looks in each order."""
        return self.compare_many([pair], orders, votes, progress=False)[0]

    def vote(self, pair: Pair, k: int, orders: Sequence[Order] = ORDERS) -> Judgment:
        """k sampled looks in each order; `Judgment.votes` counts them. Needs a temperature above 0."""
        return self.compare(pair, orders, k)

    def compare_many(
        self,
        pairs: Sequence[Pair],
        orders: Sequence[Order] = ORDERS,
        votes: int = 1,
        log: JsonlLog | None = None,
        progress: bool = True,
    ) -> list[Judgment]:
        """Judge all pairs, in the engine's batches; Judgments come in the order of `pairs`.

        log: opened with `LOG_KEY`. Looks it holds are read, not judged again; its errors are retried.
        Raises EngineStopped when the engine cannot continue; the looks made so far are in the log.
        """
        self._check(pairs, orders, votes)
        plan = {(p.id, o, v): p for p in pairs for o in orders for v in range(votes)}
        looks = self._resume(log, plan) if log is not None else {}
        todo = [key for key in plan if key not in looks]
        try:
            for key, generation in self._generate(todo, plan, len(plan), progress):
                looks[key] = self.look(key[1], generation)
                if log is not None:
                    log.append(log_row(plan[key], key[2], looks[key], self.sampling.seed))
        except EngineStopped as error:
            if log is None:
                raise
            made = sum(look.generation.error is None for look in looks.values())
            kept = f"{made} of {len(plan)} judge calls are stored in {log.path}; the same command continues."
            raise type(error)(f"{error} {kept}") from None
        found = defaultdict(list)
        for key in plan:
            found[key[0]].append(looks[key])
        return [Judgment(pair.id, tuple(found[pair.id])) for pair in pairs]

    def rank(self, prompt: Any, responses: Sequence[str], votes: int = 1) -> Ranking:
        """Order any number of responses by a round robin of all pairs in both orders; see
        `rmr1_lite.judging.ranking`."""
        from rmr1_lite.judging.ranking import compute_ranking, round_robin

        return compute_ranking(
            len(responses), self.compare_many(round_robin(prompt, responses), votes=votes, progress=False)
        )

    def look(self, order: Order, generation: Generation) -> Look:
        """Parse one Generation; one without a text has no verdict, only a status."""
        if generation.error is not None:
            verdict = Verdict(None, generation.problem)
        elif generation.too_long:
            verdict = Verdict(None, "too_long")
        else:
            verdict = parse_verdict(
                generation.text, self.reading, generation.finished, generation.thought_open
            )
        return Look(order, generation, verdict)

    def request(self, pair: Pair, order: Order, vote: int = 0) -> Request:
        """The engine's request for one look."""
        style = self.style or ""  # settled in __post_init__
        return Request(pair.id, order, tuple(judge_messages(pair_as_shown(pair, order), style)), vote)

    def _generate(
        self, todo: list[Key], plan: dict[Key, Pair], total: int, progress: bool
    ) -> Iterator[tuple[Key, Generation]]:
        from tqdm import tqdm

        requests = [self.request(plan[key], key[1], key[2]) for key in todo]
        bar = tqdm(
            total=total, initial=total - len(todo), desc="judge calls", unit="call", disable=not progress
        )
        with bar:
            for index, generation in self.engine.generate(requests, self.sampling):
                yield todo[index], generation
                bar.update()

    def _check(self, pairs: Sequence[Pair], orders: Sequence[Order], votes: int) -> None:
        if len({pair.id for pair in pairs}) != len(pairs):
            raise InputError("Two pairs have the same id. Give every pair its own.")
        if not orders or len(set(orders)) != len(orders) or set(orders) - set(ORDERS):
            raise InputError(f"orders is {orders!r}. Give one or both of {', '.join(ORDERS)}.")
        check_votes(votes, self.sampling.temperature)

    def _resume(self, log: JsonlLog, plan: dict[Key, Pair]) -> dict[Key, Look]:
        """Looks of the plan that the log holds. An error is not a judgment: its rows are removed from the log
        and retried."""
        failed = {_row_key(row) for row in log if row.get("error") is not None}
        if failed & plan.keys():
            log.rewrite(lambda row: _row_key(row) not in failed & plan.keys(), lambda row: 0)
        return {key: self._read_back(log, key, pair) for key, pair in plan.items() if key in log}

    def _read_back(self, log: JsonlLog, key: Key, pair: Pair) -> Look:
        row = log.get(key)
        if row.get("digest", pair_digest(pair)) != pair_digest(pair):
            remedy = "Give the pair another id or choose another output file."
            raise InputError(f"{log.path}: pair {pair.id!r:.80} was judged with different texts. {remedy}")
        return self.look(key[1], generation_from_row(row))


def check_votes(votes: int, temperature: float) -> None:
    """Raise an InputError for votes that cannot differ, or are none."""
    if votes < 1:
        raise InputError(f"votes is {votes}. Give a whole number of at least 1.")
    if votes > 1 and temperature == 0:
        raise InputError(
            f"{votes} votes at temperature 0 are {votes} identical copies. Give a temperature above 0."
        )


def log_row(pair: Pair, vote: int, look: Look, seed: int) -> dict[str, Any]:
    """One look as a row of items.jsonl. verdict: the letter shown. label: the gold letter, in the pair's
    letters."""
    generation = look.generation
    return {
        "id": pair.id,
        "order": look.order,
        "vote": vote,
        "text": generation.text,
        "status": look.status,
        "verdict": look.verdict.shown_label,
        "label": pair.label,
        "finished": generation.finished,
        "thought_open": generation.thought_open,
        "prompt_tokens": generation.prompt_tokens,
        "completion_tokens": generation.completion_tokens,
        "seconds": round(generation.seconds, 4),
        "seed": seed,
        "section": pair.section,
        "error": generation.error,
        "digest": pair_digest(pair),
    }


def _row_key(row: dict[str, Any]) -> Key:
    return (row["id"], row["order"], row["vote"])

"""Asks a judge for comparisons: the lock, the log that resumes, the confidence of a verdict."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from threading import Lock
from typing import Any

from rmr1_lite.api.results import Comparison
from rmr1_lite.judging.batch import bind_settings
from rmr1_lite.judging.judge import LOG_KEY, Judge, sort_log
from rmr1_lite.storage import JsonlLog
from rmr1_lite.types import ORDERS, InputError, Judgment, Look, Order, Pair


class JudgeAsker:
    """A judge, behind a lock if its model is in this process: a model generates for one caller at a time."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        # an engine with a local model can also give a letter's probability
        self.local = all(hasattr(judge.engine, name) for name in ("model", "tokenizer"))
        self.local = self.local and not isinstance(judge.engine.model, str)  # type: ignore[attr-defined]
        self._lock = Lock()

    def turn(self) -> AbstractContextManager[Any]:
        """Held during judge calls."""
        return self._lock if self.local else nullcontext()

    def compare(
        self,
        pairs: Sequence[Pair],
        votes: int = 1,
        orders: Sequence[Order] = ORDERS,
        confidence: bool = False,
        log: str | Path | None = None,
        progress: bool = False,
    ) -> list[Comparison]:
        """One Comparison per pair, in their order; the arguments are those of
        `PairwiseJudge.compare_many`."""
        with self.turn(), ExitStack() as stack:
            stored = stack.enter_context(JsonlLog(log, LOG_KEY)) if log is not None else None
            if stored is not None:
                bind_settings(self.judge, stored)
            judgments = self.judge.compare_many(pairs, orders, votes, stored, progress)
            if stored is not None:
                sort_log(stored, pairs)
            return self.comparisons(pairs, judgments, confidence and votes == 1, log)

    def comparisons(
        self,
        pairs: Sequence[Pair],
        judgments: Sequence[Judgment],
        confidence: bool,
        log: str | Path | None = None,
    ) -> list[Comparison]:
        """The judgments as Comparisons. log: probabilities are stored next to it, so that none is computed
        twice."""
        chances = self._chances(pairs, judgments, log) if confidence and self.local else {}
        return [
            Comparison.of(pair, judgment, chances.get(pair.id))
            for pair, judgment in zip(pairs, judgments, strict=True)
        ]

    def stream(self, pair: Pair, order: Order) -> Generator[str, None, Look]:
        """Yield the text of one call as it is generated; returns the look."""
        engine = self.judge.engine
        if not hasattr(engine, "stream"):
            raise InputError(f"{engine.name} cannot stream. Use compare.")
        generation = yield from engine.stream(self.judge.request(pair, order), self.judge.sampling)
        return self.judge.look(order, generation)

    def _chances(
        self, pairs: Sequence[Pair], judgments: Sequence[Judgment], log: str | Path | None
    ) -> dict[str, float]:
        from rmr1_lite.judging.verdict_logprobs import (
            first_looks,
            look_probabilities,
            mean_by_pair,
            pair_probabilities,
        )

        engine, style = self.judge.engine, self.judge.style or ""
        if log is not None:
            path = Path(f"{log}.confidence.jsonl")
            return pair_probabilities(lambda: engine, pairs, judgments, style, path)  # type: ignore[arg-type,return-value]
        looks = first_looks(judgments)
        return mean_by_pair(look_probabilities(engine, pairs, looks, style)) if looks else {}

"""The queue in front of the judge: who waits, who goes in together, who left.

A model in this process generates for one caller at a time. Whoever waits when it becomes free goes in as one
batch, so that twenty clients are not served one pair at a time. Clients in a loop come back a few
milliseconds after their answers: the desk waits for as many as there were, for a small share of the last
batch's time at most. A judge behind a server takes requests in parallel instead.

All state belongs to the event loop; only the judge's calls run on other threads. A caller that is cancelled
(a hang-up, a time-out) leaves the queue; one that is already at the judge is finished for nobody, and its
judge calls count.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from rmr1_lite.endpoint.errors import Refused
from rmr1_lite.endpoint.metrics import Metrics
from rmr1_lite.endpoint.settings import EndpointConfig
from rmr1_lite.types import ORDERS, EngineStopped, Pair

if TYPE_CHECKING:
    from rmr1_lite.api.pairwise import PairwiseJudge

# waiting for clients to come back after a batch: share of its seconds, seconds at most, seconds in which none
# comes. A client that is left behind costs a batch of its own, more than all others wait for it.
GATHER_SHARE, GATHER_MOST, GATHER_GAP = 0.1, 0.2, 0.03
# and for those that begin together, after an idle time: seconds for one more, and in all
NEXT_SECONDS, FIRST_SECONDS = 0.005, 0.03
RETRY_LOADING = 2  # seconds


@dataclass(frozen=True)
class Compare:
    """A pair to compare. Those with equal options can share a batch."""

    pair: Pair
    both_orders: bool = True
    votes: int = 1
    confidence: bool = True

    @property
    def options(self) -> dict[str, Any]:
        return {"both_orders": self.both_orders, "votes": self.votes, "confidence": self.confidence}

    @property
    def calls(self) -> int:
        return self.votes * (len(ORDERS) if self.both_orders else 1)


@dataclass(frozen=True)
class Call:
    """Any other question to the judge, which makes batches of its own: rank, best_of, score."""

    ask: Callable[[PairwiseJudge], Any]


@dataclass(eq=False)
class Job:
    """A question, and where its answer goes."""

    work: Compare | Call
    answer: asyncio.Future[Any]


class Desk:
    """batch_size: judge calls in one batch of a local model. Start it on a running event loop."""

    def __init__(self, config: EndpointConfig, metrics: Metrics, batch_size: int) -> None:
        self.config, self.metrics, self.batch_size = config, metrics, batch_size
        self.judge: PairwiseJudge | None = None
        self.stopping = False
        self.waiting: deque[Job] = deque()
        self.working: set[Job] = set()
        self._arrived = asyncio.Event()
        self._pool: ThreadPoolExecutor | None = None
        self.workers: list[asyncio.Task[None]] = []
        self._back, self._ended, self._seconds = 0, 0.0, 0.0  # expected clients, and the last batch
        metrics.gauges |= {
            "rmr1_queue_length": lambda: len(self.waiting),
            "rmr1_in_flight": lambda: len(self.working),
            "rmr1_ready": lambda: int(self.ready),
        }

    @property
    def ready(self) -> bool:
        return self.judge is not None and not self.stopping

    def start(self, judge: PairwiseJudge) -> None:
        """Open the desk."""
        count = 1 if judge.runs_here else self.config.concurrency
        self.judge, self._pool = judge, ThreadPoolExecutor(count, thread_name_prefix="judge")
        self.workers = [asyncio.create_task(self._work()) for _ in range(count)]

    def close(self, why: str) -> None:
        """Refuse whoever still waits or is being served."""
        for worker in self.workers:
            worker.cancel()
        for job in (*self.waiting, *self.working):
            if not job.answer.done():
                job.answer.set_exception(Refused(503, why))
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def check_open(self, others: int = 0) -> None:
        """Raise Refused if a new request cannot be taken. others: requests on their way to the queue."""
        if self.stopping:
            raise Refused(503, "The endpoint is stopping. Ask another one, or this one later.")
        if self.judge is None:
            raise Refused(503, "The judge is still loading. Try again shortly.", retry_after=RETRY_LOADING)
        if len(self.waiting) + others >= self.config.queue:
            words = (
                f"{self.config.queue} requests are waiting. Try again later, or start with a larger --queue."
            )
            raise Refused(429, words, retry_after=self._wait_seconds())

    async def ask(self, work: Compare | Call) -> Any:
        """The judge's result. Raises Refused, and what the judge raises."""
        self.check_open()
        job = Job(work, asyncio.get_running_loop().create_future())
        self.waiting.append(job)
        self._arrived.set()
        try:
            return await job.answer
        finally:
            with suppress(ValueError):  # at the judge already
                self.waiting.remove(job)

    def _wait_seconds(self) -> int:
        """A guess at when the queue has room again."""
        return max(1, min(60, math.ceil(self._seconds)))

    # ---- serving

    async def _work(self) -> None:
        while True:
            while not self.waiting:
                self._arrived.clear()
                await self._arrived.wait()
            if len(self.workers) == 1:
                await self._gather()
            if jobs := self._take():
                await self._serve(jobs)

    async def _gather(self) -> None:
        """Let the clients of the last batch come back, or those that begin together arrive."""
        now = time.monotonic()
        until = self._ended + min(GATHER_MOST, GATHER_SHARE * self._seconds)
        if now < until:
            while len(self.waiting) < self._back:
                if not await self._one_more(min(GATHER_GAP, until - time.monotonic())):
                    break
        else:
            while time.monotonic() < now + FIRST_SECONDS and await self._one_more(NEXT_SECONDS):
                pass

    async def _one_more(self, seconds: float) -> bool:
        """Whether a request arrives in that time."""
        self._arrived.clear()
        try:
            await asyncio.wait_for(self._arrived.wait(), max(0.0, seconds))
        except TimeoutError:
            return False
        return True

    def _take(self) -> list[Job]:
        """The one that has waited longest, and those that can share its batch."""
        if not self.waiting:
            return []
        first = self.waiting.popleft()
        jobs = [first]
        if isinstance(first.work, Compare) and self.judge is not None and self.judge.runs_here:
            room = max(1, self.batch_size // first.work.calls) - 1
            fitting = [
                job
                for job in self.waiting
                if isinstance(job.work, Compare) and job.work.options == first.work.options
            ]
            jobs += fitting[:room]
            for job in jobs[1:]:
                self.waiting.remove(job)
        return jobs

    async def _serve(self, jobs: Sequence[Job]) -> None:
        """One call of the judge for these jobs. If one of several breaks it, each is asked alone."""
        began = time.monotonic()
        self.working.update(jobs)
        self.metrics.add("rmr1_batches_total")
        asked = asyncio.get_running_loop().run_in_executor(self._pool, partial(_ask, self.judge, jobs))
        try:
            await asyncio.wait([asked])
        finally:
            self.working.difference_update(jobs)
        self._ended = time.monotonic()
        self._seconds, self._back = self._ended - began, len(jobs) + len(self.waiting)
        self.metrics.add("rmr1_busy_seconds_total", self._seconds)
        error = asked.exception()
        if error is None:
            self._hand_out(jobs, asked.result())
        elif len(jobs) > 1 and not isinstance(error, EngineStopped):
            for job in jobs:
                if not job.answer.done():
                    await self._serve([job])
        else:
            self.metrics.add("rmr1_engine_stops_total", int(isinstance(error, EngineStopped)))
            for job in jobs:
                if not job.answer.done():
                    job.answer.set_exception(error)

    def _hand_out(self, jobs: Sequence[Job], results: Sequence[Any]) -> None:
        made = [found for result in results for found in getattr(result, "comparisons", (result,))]
        # equal pairs of several clients are judged once
        self.metrics.count_comparisons(list({id(found): found for found in made}.values()))
        for job, result in zip(jobs, results, strict=True):
            if not job.answer.done():
                job.answer.set_result(result)


def _ask(judge: Any, jobs: Sequence[Job]) -> list[Any]:
    """On another thread: a batch of pairs with equal options, or one other question."""
    first = jobs[0].work
    if isinstance(first, Call):
        return [first.ask(judge)]
    pairs = [job.work.pair for job in jobs if isinstance(job.work, Compare)]
    return list(judge.compare_many(pairs, **first.options))

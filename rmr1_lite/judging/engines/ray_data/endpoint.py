"""Requests of a judge behind a server, sent by the workers of a Ray cluster.

The bodies are those of the endpoint engine, and it reads the replies. The first request of every round is
sent by the engine itself: it finds what the server refuses, and stops with the server's own words where no
request can succeed. A worker sends its requests one after the other, so as many are in flight as there are
workers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from rmr1_lite.judging.engines.base import Request, Sampling
from rmr1_lite.judging.engines.endpoint import OpenAIEngine
from rmr1_lite.judging.engines.ray_data.cluster import running_cluster
from rmr1_lite.judging.engines.ray_data.rounds import INDEX, Again, Row, in_rounds
from rmr1_lite.types import EngineStopped, Generation

NEEDED = {"CPU": 2.0}
SLOT = 0.125  # of a CPU for a worker, which waits for the server most of the time
MOST_WORKERS = 32
RETRIES = 4  # of one request, with growing pauses, after 408, 429, 502 to 504 and lost connections


class RayEndpointEngine:
    """client: the engine of the same server, whose bodies, key and reading are used. timeout: seconds for one
    try of a worker."""

    def __init__(self, client: OpenAIEngine, timeout: float = 600.0) -> None:
        self.name, self.style, self.thinking = client.name, client.style, client.thinking
        self._client, self._timeout = client, timeout

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[int, Generation]]:
        """Yield results as they come back, in any order.

        Raises EngineStopped for a permanent failure, InputError where Ray is missing or too small.
        """
        if not requests:
            return
        with running_cluster(NEEDED) as resources:
            workers = max(1, min(MOST_WORKERS, int(resources["CPU"] - 1) * round(1 / SLOT)))
            run = _Run(self._client, requests, sampling, workers, self._timeout)
            for index, made in in_rounds(len(requests), run.ask, run.read, self._client.say):
                yield index, made
                if self._client.stopped:
                    raise EngineStopped(self._client.stopped)


class _Run:
    """One call of `generate`."""

    def __init__(
        self,
        client: OpenAIEngine,
        requests: Sequence[Request],
        sampling: Sampling,
        workers: int,
        timeout: float,
    ) -> None:
        self._client, self._requests, self._sampling = client, requests, sampling
        self._workers, self._timeout = workers, timeout
        self._bodies: dict[int, dict[str, Any]] = {}
        self._direct: dict[int, Generation] = {}

    def ask(self, indices: Sequence[int], batch: int) -> Iterator[Row]:
        """Rows of the requests at `indices`, the first one asked directly."""
        first, *others = indices
        self._direct[first] = self._client.one(self._requests[first], self._sampling)
        yield {INDEX: first}
        if others and not self._client.stopped:
            self._bodies = {i: self._client.body(self._requests[i], self._sampling) for i in others}
            yield from self._rows(batch)

    def read(self, index: int, row: Row, seconds: float) -> Generation | Again:
        """The Generation of a row; a failure that may pass is asked again, unless the engine has stopped."""
        made = self._direct.pop(index, None)
        if made is None:
            made = self._client.read(self._requests[index], self._bodies[index], reply_of(row), seconds)
        if made is None:
            return Again("the server refused a part of the request")
        passing = made.error is not None and made.problem == "error" and not self._client.stopped
        return Again(str(made.error)) if passing else made

    def _rows(self, batch: int) -> Iterator[Row]:
        import ray
        from aiohttp import ClientSession, ClientTimeout
        from ray.data.llm import HttpRequestProcessorConfig, build_processor

        url, headers = self._client.address
        context = ray.data.DataContext.get_current()
        context.max_errored_blocks = -1  # rows of a worker's error are missing, the others come
        config = HttpRequestProcessorConfig(
            url=url,
            headers=headers,
            batch_size=batch,
            concurrency=self._workers,
            max_retries=RETRIES,
            session_factory=partial(ClientSession, timeout=ClientTimeout(total=self._timeout)),
            http_request_stage={"num_cpus": SLOT},
        )
        rows = [{INDEX: index, "payload": body} for index, body in self._bodies.items()]
        data = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // batch))
        yield from build_processor(config)(data).iter_rows()


def reply_of(row: Row) -> Any:
    """The body of a reply. Ray's tables give every row the fields that one of them has: those without a value
    are taken out again."""
    return without_nothing(row.get("http_response"))


def without_nothing(value: Any) -> Any:
    """`value` without fields that are None, at every depth; arrays as lists."""
    if isinstance(value, Mapping):
        return {name: without_nothing(part) for name, part in value.items() if part is not None}
    if hasattr(value, "tolist"):
        value = value.tolist()
    return [without_nothing(part) for part in value] if isinstance(value, list | tuple) else value

"""An engine behind an OpenAI-compatible endpoint: vLLM, llama.cpp, `transformers serve`, or a vendor.

The official client retries and backs off. A request that still fails becomes `Generation.error`, so one bad
request costs one judge call; a failure that every further request would meet (a wrong key, an unknown model,
no quota, a server that is down) stops the engine with the server's own words. The key comes from the
environment, is used for the request only, and is removed from every message.

    OPENAI_API_KEY=... python -m rmr1_lite judge --model openai:MODEL@https://HOST/v1 --pairs in.jsonl --out
        out.jsonl
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from threading import Lock
from typing import Any
from urllib.parse import urlencode

from rmr1_lite.judging.engines.base import Request, Sampling
from rmr1_lite.judging.engines.endpoint.client import (
    PATH,
    Refusal,
    body_of,
    expected_errors,
    known_models,
    make_client,
    read_chunks,
)
from rmr1_lite.judging.engines.endpoint.failures import Failure, explain
from rmr1_lite.judging.engines.endpoint.parameters import Parameters
from rmr1_lite.judging.engines.endpoint.reading import Reader, code_of, failure_in, remedy_of
from rmr1_lite.judging.engines.endpoint.replies import Reply, read_reply
from rmr1_lite.models.thinking import request_fields
from rmr1_lite.types import EngineStopped, Generation

TRIES = 12  # of one request, each without one more part that the server refuses
# failed requests in a row, without a single success, after which the engine stops
HOPELESS, HOPELESS_WINDOWS = 24, 4  # at least this many; this many times the requests in flight


class OpenAIEngine:
    """model: the name the endpoint knows. base_url: ends with /v1 as a rule; Azure's with ?api-version=.

    concurrency: requests in flight. timeout: seconds for one try. max_retries: further tries after 408, 409,
    429, 5xx and lost connections. thought_open: the endpoint's template writes `<think>` itself and does not
    return it. thinking: "on" or "off" is sent as chat_template_kwargs (vLLM, SGLang, llama.cpp and
    `transformers serve` take it), auto sends nothing. check_repeat: ask the first greedy prompt twice and
    report if the texts differ. stopped: why no further request can succeed, "" while one can.
    """

    def __init__(
        self,
        model: str,
        base_url: str,
        api_key_env: str = "OPENAI_API_KEY",
        concurrency: int = 8,
        max_retries: int = 5,
        timeout: float = 600.0,
        style: str | None = None,
        thought_open: bool = False,
        thinking: str = "auto",
        check_repeat: bool = False,
    ) -> None:
        self.name, self.style = f"openai:{model}@{base_url}", style
        self.model, self.concurrency, self.thought_open = model, concurrency, thought_open
        self.thinking = "" if thinking == "auto" else thinking
        self.stopped = ""
        # a local server needs no key, but the client insists on one
        key = os.environ.get(api_key_env, "").strip() or "none"
        self._secrets = (key,) if key != "none" else ()
        self._key_name, self._check_repeat = api_key_env, check_repeat
        self._client = make_client(base_url, key, max_retries, timeout)
        self._errors = expected_errors()  # here, on one thread: importing httpx on several at once fails
        self.server = str(self._client.base_url).rstrip("/")
        self._parameters = Parameters(model, request_fields(thinking), self.say)
        self._reader = Reader(model, thought_open, self.say, self._safe)
        self._lock, self._said = Lock(), set[str]()
        self._failures, self._answered = 0, False

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[int, Generation]]:
        """Yield results as they come back. Sampled text is reproducible only if the server honours `seed`.

        Raises EngineStopped for a permanent failure, after yielding the requests in flight.
        """
        self.stopped, self._failures, waiting, first, why = "", 0, list(range(len(requests))), None, ""
        # the first request is sent alone: refused parts are found once, and a permanent failure ends here
        if waiting and not self._answered:
            first = self.one(requests[0], sampling)
            yield waiting.pop(0), first
        pool = ThreadPoolExecutor(self.concurrency)
        futures: dict[Any, int | None] = {}
        if first is not None and self._worth_repeating(first, sampling):
            futures[pool.submit(self.ask_unless_stopped, requests[0], sampling)] = None
        for index in waiting:
            futures[pool.submit(self.ask_unless_stopped, requests[index], sampling)] = index
        try:
            for future in as_completed(futures):
                made, asked = future.result(), futures[future]
                if isinstance(made, str):
                    why = made  # kept: another caller's next call may reset `stopped`
                elif asked is not None:
                    yield asked, made
                elif first is not None:
                    self._compare(first, made)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        if why or self.stopped:
            raise EngineStopped(why or self.stopped)

    def stream(self, request: Request, sampling: Sampling) -> Generator[str, None, Generation]:
        """Yield the text as it is written; returns the Generation (an error is in it, never raised)."""
        start, reply, empty = time.perf_counter(), Reply(), True
        try:
            chunks = self._ask(request, sampling, stream=True)
            for chunk in read_chunks(chunks):
                empty = False
                reply.error = chunk.get("error") or reply.error
                reply.add_usage(chunk.get("usage"))
                reply.add_model(chunk.get("model"))
                choices = chunk.get("choices")
                if piece := reply.add_choice(choices[0]) if isinstance(choices, list) and choices else "":
                    yield piece
            if rest := reply.close():
                yield rest
            if empty:  # some servers report errors only without streaming
                made = self.one(request, sampling)
                yield made.text
                return made
        except self._errors as error:
            return self._failed(error, time.perf_counter() - start, reply)
        return self._generation(request, reply, time.perf_counter() - start)

    def ask_unless_stopped(self, request: Request, sampling: Sampling) -> Generation | str:
        """As `one`; the reason, without a request, once the engine has stopped."""
        return self.stopped or self.one(request, sampling)

    def one(self, request: Request, sampling: Sampling) -> Generation:
        """One answer; what goes wrong is in its `error`. Safe from several threads."""
        start, reply = time.perf_counter(), Reply()
        try:
            reply = read_reply(self._ask(request, sampling))
        except self._errors as error:
            return self._failed(error, time.perf_counter() - start, reply)
        return self._generation(request, reply, time.perf_counter() - start)

    # ---- for senders of their own (Ray Data)

    @property
    def address(self) -> tuple[str, dict[str, str]]:
        """The complete address of requests, and the headers that carry the key."""
        url = self._client.base_url
        headers = {"Authorization": f"Bearer {self._client.api_key}"} if self._secrets else {}
        extra = {name: str(value) for name, value in self._client._custom_headers.items()}
        query = f"?{urlencode(self._client.default_query)}" if self._client.default_query else ""
        return f"{str(url).rstrip('/')}{PATH}{query}", {**headers, **extra}

    def body(self, request: Request, sampling: Sampling) -> dict[str, Any]:
        """What is sent for a request, without what the server has refused."""
        return self._parameters.body(request, sampling)

    def read(self, request: Request, sent: dict[str, Any], answer: Any, seconds: float) -> Generation | None:
        """The Generation of the `answer`, as JSON, to a body that was `sent`. None where the server refused a
        part of it, which is left out from now on: ask again."""
        try:
            reply = read_reply(answer)
        except ValueError as error:
            return self._failed(error, seconds, Reply())
        if reply.error:
            failure = explain(code_of(reply), reply.error, self._parameters.names(sent))
            if self._adapt(failure, code_of(reply) or 0, sent):
                return None
            return self._judge_failure(failure, "the reply is an error", seconds, reply)
        return self._generation(request, reply, seconds)

    # ---- asking

    def _worth_repeating(self, first: Generation, sampling: Sampling) -> bool:
        asked, self._check_repeat = self._check_repeat, False
        return asked and sampling.temperature == 0 and first.error is None and not first.too_long

    def _compare(self, first: Generation, second: Generation) -> None:
        """The first was sent alone, the second together with others: batches change texts on many servers."""
        if second.error is None and second.text != first.text:
            self.say(
                "The first prompt, sent twice at temperature 0, gave two different texts: this server is "
                "not deterministic, so another run may give different verdicts."
            )

    def _ask(self, request: Request, sampling: Sampling, stream: bool = False) -> Any:
        """The reply's body, or a stream of chunks; without what the server refuses."""
        from openai import APIStatusError, Stream

        for _ in range(TRIES):
            body = self._parameters.body(request, sampling, stream)
            more: dict[str, Any] = {"stream": True, "stream_cls": Stream[object]} if stream else {}
            try:
                return self._client.post(PATH, cast_to=object, body=body, **more)
            except APIStatusError as error:
                failure = explain(error.status_code, body_of(error), self._parameters.names(body))
                if not self._adapt(failure, error.status_code, body):
                    raise Refusal(failure, f"{type(error).__name__} {error.status_code}") from None
        raise ValueError(f"the server refused {TRIES} forms of the request")

    def _adapt(self, failure: Failure, status: int, body: dict[str, Any]) -> bool:
        """Change what is sent, so that the request can be tried again."""
        if failure.kind == "refused":
            return self._parameters.give_up(failure.parts, body, self._safe(failure.words))
        # servers that do not name what they refuse: first leave out what they may not know
        return failure.kind == "passing" and status in (400, 422) and self._parameters.drop_neutral(body)

    # ---- reading

    def _generation(self, request: Request, reply: Reply, seconds: float) -> Generation:
        """The Generation of a finished reply."""
        if failed := failure_in(reply):
            return self._judge_failure(*failed, seconds, reply)
        return self._counted(self._reader.read(request, reply, seconds))

    def _failed(self, error: Exception, seconds: float, reply: Reply) -> Generation:
        """A request without an answer, or with the wrong kind of answer."""
        from openai import APIConnectionError, OpenAIError

        name = type(error).__name__
        if isinstance(error, Refusal):
            failure, name = error.args
        elif isinstance(error, APIConnectionError):
            # a server that was never reached is not running; a time-out or a lost connection may pass
            gone = not self._answered and type(error.__cause__).__name__ == "ConnectError"
            remedy = "Check that the server is running at this address." if gone else ""
            words = str(error.__cause__ or error) or name
            failure = Failure("hopeless" if gone else "passing", words, remedy=remedy)
        elif isinstance(error, OpenAIError):  # an error event inside a stream
            failure = explain(None, getattr(error, "body", None) or str(error))
        else:  # a body that is not JSON or not a completion, or a broken stream
            failure = Failure("passing", str(error) or name)
        return self._judge_failure(failure, name, seconds, reply)

    def _judge_failure(self, failure: Failure, name: str, seconds: float, reply: Reply) -> Generation:
        made = self._reader.read_failure(failure, name, reply, seconds)
        hopeless = failure.kind == "hopeless" or failure.kind == "refused"
        return self._counted(made, self._remedy(failure) if hopeless else "")

    def _remedy(self, failure: Failure) -> str:
        if failure.kind != "refused" and failure.remedy == "model":
            return known_models(self._client)
        return remedy_of(failure, self._key_name)

    # ---- counting and telling

    def _counted(self, generation: Generation, remedy: str = "") -> Generation:
        """Record a success or a failure, and whether further requests make sense."""
        failed = generation.error is not None and generation.problem == "error"
        with self._lock:
            self._failures = self._failures + 1 if failed else 0
            self._answered = self._answered or generation.error is None
            in_a_row = self._failures
        if remedy:
            self._stop(f"{str(generation.error).rstrip('.')}. {remedy}")
        elif failed and in_a_row >= max(HOPELESS, HOPELESS_WINDOWS * self.concurrency):
            self._stop(
                f"{in_a_row} requests in a row failed, the last with {str(generation.error).rstrip('.')}. "
                "Check the server, then run the same command again."
            )
        return generation

    def _stop(self, why: str) -> None:
        self.stopped = self.stopped or f"{self.server}: {why}"

    def say(self, text: str, kind: str = "") -> None:
        """Print a line about the server, once per kind, without disturbing a progress bar."""
        from tqdm import tqdm

        with self._lock:
            if (kind or text) in self._said:
                return
            self._said.add(kind or text)
        tqdm.write(f"{self.server}: {text}")

    def _safe(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

"""An engine behind an OpenAI-compatible endpoint: vLLM, llama.cpp, `transformers serve`, or a vendor.

Retries and back-off are the official client's own. What still fails becomes `Generation.error`, so one bad
request costs one look. The key comes from the environment, is used for the request only, and is cut out of
every message.

    OPENAI_API_KEY=... python -m rmr1_lite judge --model openai:MODEL@https://HOST/v1 --pairs in.jsonl --out
        out.jsonl
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any
from urllib.parse import urlsplit

from rmr1_lite.judging.engines.base import Request, Sampling, request_seed
from rmr1_lite.models.thinking import request_fields
from rmr1_lite.types import Generation, InputError

# how servers word "the prompt does not fit": OpenAI's code, then vLLM, llama.cpp and others
TOO_LONG_MARKS = ("context_length_exceeded", "context length", "context size", "context window")


class OpenAIEngine:
    """model: the name the endpoint knows. base_url: ends with /v1 as a rule.

    concurrency: requests in flight. timeout: seconds for one try. max_retries: further tries after 408, 409,
    429, 5xx and lost connections. thought_open: the endpoint's template writes `<think>` itself and does not
    send it back. thinking: "on" or "off" is sent as chat_template_kwargs (vLLM, SGLang, llama.cpp and
    `transformers serve` take it), auto sends nothing.
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
    ) -> None:
        from openai import OpenAI

        _check_url(base_url)
        self.name, self.style = f"openai:{model}@{base_url}", style
        self.model, self.concurrency, self.thought_open = model, concurrency, thought_open
        self.thinking = "" if thinking == "auto" else thinking
        self._extra = request_fields(thinking)
        # a server on the own machine asks for no key, but the client insists on one
        key = os.environ.get(api_key_env, "").strip() or "none"
        self._secrets = (key,) if key != "none" else ()
        self._client = OpenAI(api_key=key, base_url=base_url, max_retries=max_retries, timeout=timeout)

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[int, Generation]]:
        """Yield results as they come back. Sampled text is reproducible only if the server honours `seed`."""
        pool = ThreadPoolExecutor(self.concurrency)
        try:
            futures = {pool.submit(self.one, request, sampling): i for i, request in enumerate(requests)}
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def stream(self, request: Request, sampling: Sampling) -> Iterator[str]:
        """Yield the text as it is written; returns the Generation (an error is in it, never raised)."""
        from openai import OpenAIError

        start, text, reason = time.perf_counter(), "", None
        try:
            for chunk in self._client.chat.completions.create(
                **self._arguments(request, sampling), stream=True
            ):
                choice = chunk.choices[0] if chunk.choices else None
                piece = (choice.delta.content or "") if choice else ""
                reason = (choice and choice.finish_reason) or reason
                text += piece
                if piece:
                    yield piece
        except (OpenAIError, ValueError) as error:
            return self._failed(error, time.perf_counter() - start, text)
        return Generation(text, reason == "stop", self.thought_open, seconds=time.perf_counter() - start)

    def one(self, request: Request, sampling: Sampling) -> Generation:
        """One answer; what goes wrong is in its `error`. Safe from several threads."""
        from openai import OpenAIError

        start = time.perf_counter()
        try:
            reply = self._client.chat.completions.create(**self._arguments(request, sampling))
            return self._read(reply, time.perf_counter() - start)
        except (OpenAIError, ValueError) as error:  # ValueError: a body that is not JSON, or not a completion
            return self._failed(error, time.perf_counter() - start)

    def _arguments(self, request: Request, sampling: Sampling) -> dict[str, Any]:
        return {
            "model": self.model,
            "messages": [dict(message) for message in request.messages],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            # not max_completion_tokens: self-hosted servers ignore it and would stop at their own default
            "max_tokens": sampling.max_new_tokens,
            "seed": request_seed(request, sampling.seed),
            **({"extra_body": self._extra} if self._extra else {}),
        }

    def _read(self, reply: Any, seconds: float) -> Generation:
        choices = getattr(reply, "choices", None)
        if not isinstance(choices, list) or not choices or getattr(choices[0], "message", None) is None:
            raise ValueError("the endpoint's answer is not a chat completion")
        reason, usage = choices[0].finish_reason, reply.usage
        if reason == "content_filter":
            raise ValueError("the endpoint's content filter stopped the answer")
        tokens = (usage.prompt_tokens or 0, usage.completion_tokens or 0) if usage else (0, 0)
        text = _text(choices[0].message)
        thought_open = self.thought_open and not text.startswith("<think>")
        return Generation(text, reason == "stop", thought_open, *tokens, seconds)

    def _failed(self, error: Exception, seconds: float, text: str = "") -> Generation:
        message = f"{type(error).__name__}: {getattr(error, 'message', None) or error}"
        for secret in self._secrets:
            message = message.replace(secret, "***")
        refused = getattr(error, "status_code", None) in (400, 413, 422)
        if refused and any(
            mark in f"{getattr(error, 'code', '')} {message}".lower() for mark in TOO_LONG_MARKS
        ):
            return Generation("", finished=False, seconds=seconds, too_long=True)
        return Generation(text, False, self.thought_open, seconds=seconds, error=message[:500])


def _text(message: Any) -> str:
    """The answer; a thought that the server split off is put back in front, so that the log holds the whole
    text."""
    content = message.content or ""
    thought = getattr(message, "reasoning_content", None) or getattr(message, "reasoning", None)
    if not thought:
        return content
    return f"<think>{thought}</think>{content}" if content else f"<think>{thought}"


def _check_url(base_url: str) -> None:
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError("base_url is not an http(s) address. Give one like http://localhost:8000/v1.")
    if parts.username or parts.password or parts.query:
        # the address stands in logs and reports; do not repeat it here either
        raise InputError(
            "base_url holds a user, a password or a query. Put the key into the environment variable."
        )

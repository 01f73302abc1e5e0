"""The official client, for any OpenAI-compatible server, and its replies as plain JSON."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

from rmr1_lite.judging.engines.endpoint.failures import explain
from rmr1_lite.judging.engines.endpoint.replies import read_reply
from rmr1_lite.types import InputError

PATH = "/chat/completions"


class Refusal(Exception):
    """A server's answer with an error status: (Failure, name of the error)."""


def expected_errors() -> tuple[type[Exception], ...]:
    """Exceptions on the way to a server and back; ValueError: a body of the wrong form."""
    from openai import DefaultHttpxClient, OpenAIError

    # older clients pass on a broken stream's error unchanged: that of httpx or httpx2, which they build on
    below = import_module(DefaultHttpxClient.__bases__[0].__module__.partition(".")[0])
    return OpenAIError, below.TransportError, ValueError, Refusal


def make_client(base_url: str, key: str, max_retries: int, timeout: float) -> Any:
    from openai import DefaultHttpxClient, OpenAI

    url, query = _check_url(base_url)
    return OpenAI(
        api_key=key,
        base_url=url,
        max_retries=max_retries,
        timeout=timeout,
        default_query=query or None,
        # Azure takes the key in a separate header
        default_headers={"api-key": key} if query else None,
        http_client=DefaultHttpxClient(event_hooks={"response": [_no_useless_retry]}),
    )


def known_models(client: Any) -> str:
    """The remedy for an unknown model: the names that the server lists, if it lists any."""
    from openai import OpenAIError

    try:
        found = [model.id for model in client.with_options(max_retries=0, timeout=10).models.list()]
    except (OpenAIError, ValueError, TypeError, AttributeError):
        found = []
    if not found:
        return "Give the name of a model that the server has: openai:MODEL@URL."
    shown = ", ".join(found[:10]) + (f" and {len(found) - 10} more" if len(found) > 10 else "")
    return f"It has {shown}. Give one of them: openai:MODEL@URL."


def _no_useless_retry(response: Any) -> None:
    """The client retries every 429; an exhausted quota does not come back."""
    if response.status_code == 429 or response.status_code >= 500:
        response.read()
        if explain(response.status_code, response.text).kind != "passing":
            response.headers["x-should-retry"] = "false"


def read_chunks(chunks: Any) -> Iterator[dict[str, Any]]:
    """The chunks of a stream; if the server ignored `stream`, its complete reply as one chunk."""
    kind = chunks.response.headers.get("content-type", "")
    if "event-stream" not in kind and "json" in kind and "ndjson" not in kind:
        chunks.response.read()
        body = chunks.response.json()
        read_reply(body)  # raises if it is not a reply
        yield body
        return
    for chunk in chunks:
        if isinstance(chunk, dict):
            yield chunk


def body_of(error: Any) -> Any:
    """The complete body of an error: the client keeps only a part of it."""
    try:
        return error.response.json()
    except ValueError:
        return error.response.text


def _check_url(base_url: str) -> tuple[str, dict[str, Any]]:
    """(address, query). Azure's api-version is the only query that is not secret."""
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError("base_url is not an http(s) address. Give one like http://localhost:8000/v1.")
    query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    if parts.username or parts.password or parts.query and set(query) != {"api-version"}:
        # the address appears in logs and reports; do not repeat it here either
        raise InputError(
            "base_url holds a user, a password or a query other than Azure's api-version. Put the key into "
            "the environment variable."
        )
    path = parts.path.rstrip("/").removesuffix(PATH)  # copied from a curl command
    return urlunsplit((parts.scheme, parts.netloc, path, "", "")), query

"""The official client, made for any OpenAI-compatible server, and what comes back from it as plain JSON."""

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
    """What may go wrong on the way to a server and back; ValueError: a body that is not what it should be."""
    from openai import DefaultHttpxClient, OpenAIError

    # older clients let a stream that breaks through as it is: an error of httpx or httpx2, their own ground
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
        # Azure takes the key in a header of its own
        default_headers={"api-key": key} if query else None,
        http_client=DefaultHttpxClient(event_hooks={"response": [_no_useless_retry]}),
    )


def known_models(client: Any) -> str:
    """What to do about an unknown model: the names that the server says it has, as far as it tells."""
    from openai import OpenAIError

    try:
        found = [model.id for model in client.with_options(max_retries=0, timeout=10).models.list()]
    except (OpenAIError, ValueError, TypeError, AttributeError):
        found = []
    if not found:
        return "Give the name of a model that the server knows: openai:MODEL@URL."
    shown = ", ".join(found[:10]) + (f" and {len(found) - 10} more" if len(found) > 10 else "")
    return f"It knows {shown}. Give one of them: openai:MODEL@URL."


def _no_useless_retry(response: Any) -> None:
    """The client tries 429 again whatever it says; a quota that is used up does not come back."""
    if response.status_code == 429 or response.status_code >= 500:
        response.read()
        if explain(response.status_code, response.text).kind != "passing":
            response.headers["x-should-retry"] = "false"


def read_chunks(chunks: Any) -> Iterator[dict[str, Any]]:
    """The chunks of a stream; of a server that ignored `stream`, its whole reply as one."""
    kind = chunks.response.headers.get("content-type", "")
    if "event-stream" not in kind and "json" in kind and "ndjson" not in kind:
        chunks.response.read()
        body = chunks.response.json()
        read_reply(body)  # raises for what is no reply
        yield body
        return
    for chunk in chunks:
        if isinstance(chunk, dict):
            yield chunk


def body_of(error: Any) -> Any:
    """The whole body of an error: the client keeps only a part of it."""
    try:
        return error.response.json()
    except ValueError:
        return error.response.text


def _check_url(base_url: str) -> tuple[str, dict[str, Any]]:
    """(address, query). The only query that is no secret is Azure's api-version."""
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError("base_url is not an http(s) address. Give one like http://localhost:8000/v1.")
    query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    if parts.username or parts.password or parts.query and set(query) != {"api-version"}:
        # the address stands in logs and reports; do not repeat it here either
        raise InputError(
            "base_url holds a user, a password or a query other than Azure's api-version. Put the key into "
            "the environment variable."
        )
    path = parts.path.rstrip("/").removesuffix(PATH)  # copied from a curl command
    return urlunsplit((parts.scheme, parts.netloc, path, "", "")), query

"""Judges added to the page while it runs: only by its owner, only from this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from rmr1_lite.app.address import LOCAL
from rmr1_lite.judging.pool import JudgePool, JudgeState
from rmr1_lite.models.judge_specs import parse_spec
from rmr1_lite.types import InputError

MAX_SPEC = 400
STYLES = ("auto", "rubrics", "reasoning", "compact")
EVERY = 0.5  # seconds between two checks of a loading judge
STATES = {
    "waiting": "waiting while another judge loads …",
    "loading": "loading …",
    "ready": "ready",
    "failed": "failed",
}
# the same for a judge that is chosen, not added
LOADED = {**STATES, "waiting": "not loaded yet; it loads on first use"}
_PROXIED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


def comes_from_here(headers: Mapping[str, str]) -> bool:
    """Whether a request addressed this machine by a local name and passed through no proxy.

    A page elsewhere can make a browser send requests here under its own host name; those carry that name.
    """
    host = headers.get("host", "")
    name = host if host.startswith("[") and host.endswith("]") else host.rpartition(":")[0] or host
    return name in LOCAL and not any(header in headers for header in _PROXIED)


def check_spec(text: Any, pool: JudgePool) -> str:
    """The typed spec. Raises InputError for an empty, a known and an overlong one."""
    spec = text.strip() if isinstance(text, str) else ""
    if not spec:
        raise InputError("Type a judge: an adapter folder, a hub id like owner/name, or openai:MODEL@URL.")
    if len(spec) > MAX_SPEC or not spec.isprintable():
        raise InputError(f"A judge is one line of at most {MAX_SPEC} characters.")
    if spec in pool.specs:
        raise InputError(f"{spec} is already in the list of judges. Choose it there.")
    return spec


def load_steps(
    pool: JudgePool, spec: str, style: str = "auto", every: float = EVERY
) -> Iterator[tuple[JudgeState, float, str]]:
    """(state, seconds so far, note) now and then while a judge loads; the last one is ready, and then
    the pool offers it. Raises InputError for a judge that cannot be loaded."""
    if style not in STYLES:
        raise InputError(f"The prompt style is {style!r:.40}. Choose one of {', '.join(STYLES)}.")
    if style != STYLES[0]:
        pool.set_style(spec, style)
    began, worker = time.monotonic(), ThreadPoolExecutor(1, thread_name_prefix="add-judge")
    loading = worker.submit(_load, pool, spec)
    worker.shutdown(wait=False)
    while not wait([loading], timeout=every).done:
        yield pool.state(spec), time.monotonic() - began, ""
    try:
        note = loading.result()
    except InputError as error:
        # the option that the message names is a field on the page
        words = str(error).replace("Give --style", "Choose as prompt style")
        raise InputError(words.replace(" (in Python style=)", "")) from None
    except (OSError, RuntimeError, ImportError, ValueError, MemoryError) as error:
        # raised by libraries for a broken model or a full memory
        raise InputError(f"{spec} could not be loaded: {error!s:.600}") from None
    pool.add(spec)
    yield pool.state(spec), time.monotonic() - began, note


def _load(pool: JudgePool, spec: str) -> str:
    """Load it; returns a note for its owner. An endpoint is only checked for an answer."""
    parsed = parse_spec(spec)
    note = _ask_server(parsed.model, parsed.url) if parsed.kind == "openai" else ""
    pool.judge(spec)
    return note


def _ask_server(model: str, url: str) -> str:
    """Whether a server answers, and whether it lists the model. The key is not sent for it."""
    import httpx

    try:
        reply = httpx.get(f"{url.partition('?')[0].rstrip('/')}/models", timeout=10)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise InputError(
            f"No server answers at {url} ({error!s:.200}). Start it, or correct the address: "
            "openai:MODEL@URL, usually with /v1 at the end."
        ) from None
    if reply.status_code in (401, 403):
        return "The server requires a key; it is read from OPENAI_API_KEY."
    try:
        names = [str(row["id"]) for row in reply.json()["data"]]
    except (ValueError, KeyError, TypeError):
        return f"The server answers but does not list its models (status {reply.status_code})."
    if model not in names:
        return f"The server does not list {model}. It lists {', '.join(names[:10]) or 'no model'}."
    return ""

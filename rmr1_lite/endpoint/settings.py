"""Settings of the judge endpoint, flat: one field, one option, one line of help.

Standard library only, because `--help` imports this.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rmr1_lite.config import MAX_CHARS
from rmr1_lite.types import InputError

KEY_VARIABLE = "RMR1_ENDPOINT_KEY"
LEAST_KEY = 8  # characters


def _doc(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class EndpointConfig:
    """Where it listens, whom it answers, and its limits."""

    host: str = _doc("127.0.0.1", "address to listen on; 127.0.0.1 answers only this machine")
    port: int = _doc(8080, "port to listen on; 0: any free one")
    key: bool = _doc(
        True,
        f"insist on a key in {KEY_VARIABLE} (several: separated by commas) on an address that other machines "
        "reach; --no-key answers everyone",
    )
    concurrency: int = _doc(
        8, "requests in parallel at an openai: judge; a local model takes batches in turn"
    )
    queue: int = _doc(64, "requests that may wait; further ones get status 429")
    timeout: float = _doc(300.0, "seconds for one request, waiting included; then status 504")
    max_body: int = _doc(1_000_000, "longest body in bytes; beyond it status 413")
    max_chars: int = _doc(MAX_CHARS, "longest response or conversation in characters")
    max_responses: int = _doc(8, "most responses of one /rank or /best-of, and answers of a panel")
    max_votes: int = _doc(16, "most votes per order")
    grace: float = _doc(60.0, "seconds that requests under way may take after SIGTERM or Ctrl+C")
    log_file: str = _doc("", "file of the access log; empty: standard error")


def check_settings(config: EndpointConfig) -> None:
    """Raise an InputError for values that cannot work, with the remedy."""
    for name in ("concurrency", "queue", "max_body", "max_chars", "max_votes"):
        if getattr(config, name) < 1:
            raise InputError(f"{name} is {getattr(config, name)}. Give a whole number of at least 1.")
    if not 0 <= config.port <= 65535:
        raise InputError(f"port is {config.port}. Give a whole number from 0 to 65535.")
    if config.max_responses < 2:
        raise InputError(f"max_responses is {config.max_responses}. Give a whole number of at least 2.")
    if config.max_chars > MAX_CHARS:
        raise InputError(f"max_chars is {config.max_chars:,}. Give at most {MAX_CHARS:,}.")
    if not 0 < config.timeout < float("inf") or not 0 <= config.grace < float("inf"):
        raise InputError(f"timeout is {config.timeout}, grace {config.grace}. Give seconds, timeout above 0.")


def read_keys(
    config: EndpointConfig, local: bool, environment: Mapping[str, str] = os.environ
) -> tuple[str, ...]:
    """The accepted keys, () when none is asked for. local: only this machine reaches the address. Raises
    InputError for an open address without a key; no message holds a key."""
    given = environment.get(KEY_VARIABLE, "").strip()
    if not config.key:
        if given:
            raise InputError(
                f"{KEY_VARIABLE} is set and --no-key is given. Unset the one or leave the other out."
            )
        return ()
    keys = tuple(key.strip() for key in given.split(",")) if given else ()
    for place, key in enumerate(keys, 1):
        if len(key) < LEAST_KEY or not key.isascii() or not key.isprintable() or " " in key:
            raise InputError(
                f"Key {place} of {KEY_VARIABLE} has fewer than {LEAST_KEY} characters, or one that no header "
                "can carry. Give letters, digits and signs."
            )
    if not keys and not local:
        raise InputError(
            f"Everyone who can reach {config.host} could use this judge. Set {KEY_VARIABLE}, listen on "
            "127.0.0.1, or give --no-key on purpose."
        )
    return keys

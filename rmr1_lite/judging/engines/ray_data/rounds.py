"""Asks through Ray Data in rounds: what comes back is read and yielded at once, in any order; what does not
come back, or fails in a way that may pass, is asked again.

A worker that dies costs nothing that had arrived: Ray starts another one and gives it the rows that are
missing. Should a row come twice after that, the second one is counted and not used.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rmr1_lite.types import EngineStopped, Generation

TRIES = 3  # rounds
INDEX = "index"  # the column that carries a request's place
NO_ROW = "no row came back; the logs of Ray's workers say why: /tmp/ray/session_latest/logs"
BATCH = 16  # rows that a worker takes at once: a failure of Ray's loses at most these

Row = Mapping[str, Any]


_NAMED = re.compile(r"[\w.]*(?:Error|Exception)\b")


@dataclass(frozen=True)
class Again:
    """A request without a result yet, and why."""

    words: str


def in_rounds(
    count: int,
    ask: Callable[[Sequence[int], int], Iterator[Row]],
    read: Callable[[int, Row, float], Generation | Again],
    say: Callable[[str], None],
) -> Iterator[tuple[int, Generation]]:
    """Yield (index, Generation) for all `count` requests, each once.

    ask: rows of the requests at these indices, in batches of so many. read: a row, with the seconds since the
    one before it. say: prints a line. Raises EngineStopped when a round ends in an error of Ray's without
    having given a single row.
    """
    left = dict.fromkeys(range(count), NO_ROW)
    twice = 0
    for tried in range(TRIES):
        if not left:
            break
        # in the last round a row that takes its worker down takes no other with it
        rows, came, before = ask(list(left), 1 if tried == TRIES - 1 else BATCH), 0, time.perf_counter()
        try:
            for row in rows:
                came += 1
                index, now = int(row[INDEX]), time.perf_counter()
                seconds, before = now - before, now
                if index not in left:
                    twice += 1
                    continue
                made = read(index, row, seconds)
                if isinstance(made, Again):
                    left[index] = made.words
                    continue
                del left[index]
                yield index, made
        except ray_errors() as error:
            words = cause_of(error)
            if not came:
                raise EngineStopped(f"Ray Data: {words}") from None
            say(f"Ray Data stopped in the middle ({words}).")
        if left and tried < TRIES - 1:
            say(f"{len(left):,} of {count:,} requests have no result: they are asked again.")
    if twice:
        say(f"{twice:,} rows came back a second time: the first one counts.")
    for index, words in left.items():
        yield index, Generation("", finished=False, error=f"Ray Data, {TRIES} tries: {words}"[:500])


def ray_errors() -> tuple[type[Exception], ...]:
    """What a run of Ray Data raises: its own errors, and those of a worker's start."""
    from ray.exceptions import RayError

    return (RayError, RuntimeError)


def cause_of(error: BaseException) -> str:
    """The words of an error of Ray's, behind the workers' tracebacks: from the last line that names one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [place for place, line in enumerate(lines) if _NAMED.match(line)]
    return (" ".join(lines[named[-1] if named else -1 :]) or type(error).__name__)[:400]

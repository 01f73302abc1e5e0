"""The page's functions without a page: judge a pair while the text streams, rank responses, check
the input.

Plain Python in and out, so that the page, the HTTP API and the tests use the same functions.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from rmr1_lite.app.history import new_id
from rmr1_lite.judging.engines.base import StreamingEngine
from rmr1_lite.judging.judge import Judge
from rmr1_lite.judging.pool import JudgePool
from rmr1_lite.judging.ranking import Ranking, round_robin
from rmr1_lite.judging.verdict_logprobs import first_looks, look_probabilities, mean_by_pair
from rmr1_lite.types import (
    NOT_JUDGED,
    ORDERS,
    OTHER,
    Generation,
    InputError,
    Judgment,
    Look,
    Message,
    Order,
    Pair,
    Verdict,
)
from rmr1_lite.verdict import parse_verdict

MAX_CHARS = 20_000
MAX_RESPONSES = 8
MAX_TURNS = 20
EVERY = 0.1  # seconds between two updates of a streaming text


@dataclass
class Progress:
    """A judgment so far. texts: by order, the text so far. looks: by order, once
    complete. pair: the judged pair, if it is shown next to the reasons. opened: it was made elsewhere
    and comes from a file or a link."""

    judge: str
    texts: dict[Order, str] = field(default_factory=dict)
    looks: dict[Order, Look] = field(default_factory=dict)
    votes: Judgment | None = None
    probability: float | None = None  # that A is the better response
    source: str = ""  # of the probability
    seconds: float = 0.0
    done: bool = False
    stopped: bool = False
    pair: Pair | None = None
    opened: bool = False

    @property
    def label(self) -> str | None:
        """The response that every look names, None when they differ, are unparsed, or do not exist
        yet."""
        labels = {look.label for look in self.looks.values()}
        return labels.pop() if len(labels) == 1 and self.looks else None

    @property
    def flipped(self) -> bool:
        """Both orders are parsed and name different responses."""
        labels = [look.label for look in self.looks.values()]
        return len(labels) == 2 and None not in labels and labels[0] != labels[1]

    @property
    def tokens(self) -> int:
        return sum(look.generation.completion_tokens for look in self.looks.values())


def checked_pair(question: str, a: str, b: str, earlier: Sequence[tuple[str, str]] = ()) -> Pair:
    """The typed pair; an InputError names the wrong field."""
    asked = Message(role="user", content=_check_text("Question", question))
    turns = (*_check_earlier_turns(earlier), asked)
    return Pair(new_id(), turns, _check_text("Response A", a), _check_text("Response B", b))


def _check_earlier_turns(rows: Sequence[tuple[str, str]]) -> list[Message]:
    kept = [(str(role).strip().lower(), str(text)) for role, text in rows if str(text or "").strip()]
    if len(kept) > MAX_TURNS:
        raise InputError(f"Earlier turns: there are {len(kept)}. Give at most {MAX_TURNS}.")
    for number, (role, text) in enumerate(kept, 1):
        if role not in ("user", "assistant"):
            raise InputError(
                f"Earlier turns, row {number}: the role is {role!r:.20}. Give user or assistant."
            )
        _check_text(f"Earlier turns, row {number}", text)
    return [Message(role=role, content=text) for role, text in kept]


def _check_text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{name} is empty. Type or paste a text.")
    if len(value) > MAX_CHARS:
        raise InputError(f"{name} has {len(value):,} characters. Give at most {MAX_CHARS:,}.")
    return value


def judge_live(
    pool: JudgePool, spec: str, pair: Pair, both: bool = True, votes: int = 0, every: float = EVERY
) -> Iterator[Progress]:
    """Judge a pair, yielding a Progress now and then and at the end; the last one has `done`.

    votes: more looks per order, sampled at temperature 1, for a confidence. Without them a local judge's
    confidence is the log-probability of its letters. Closing the iterator stops the model.
    """
    judge, started = pool.judge(spec), time.perf_counter()
    progress = Progress(spec, pair=pair)
    yield progress
    for order in ORDERS if both else ORDERS[:1]:
        yield from _one_look(judge, pair, order, progress, every)
    if votes:
        sampled = pool.judge(spec, temperature=1.0)
        progress.votes = sampled.compare(pair, ORDERS if both else ORDERS[:1], votes)
        count = progress.votes.votes
        if count["A"] + count["B"]:
            progress.probability, progress.source = (
                count["A"] / (count["A"] + count["B"]),
                f"{sum(count.values())} votes",
            )
    else:
        _by_letters(pool, spec, pair, progress)
    progress.seconds, progress.done = time.perf_counter() - started, True
    yield progress


def _one_look(judge: Judge, pair: Pair, order: Order, progress: Progress, every: float) -> Iterator[Progress]:
    stream = cast(StreamingEngine, judge.engine).stream(judge.request(pair, order), judge.sampling)
    progress.texts[order], shown = "", time.perf_counter()
    try:
        yield progress  # the page shows the stage before the first word arrives
        while True:
            try:
                progress.texts[order] += next(stream)
            except StopIteration as end:
                generation: Generation = end.value
                break
            if time.perf_counter() - shown >= every:
                shown = time.perf_counter()
                yield progress
    finally:
        stream.close()
    progress.texts[order] = generation.text
    progress.looks[order] = judge.look(order, generation)
    yield progress


def _by_letters(pool: JudgePool, spec: str, pair: Pair, progress: Progress) -> None:
    """The mean over orders of the probability of A at the position of the verdict."""
    engine = pool.shared(spec)
    looks = first_looks([Judgment(pair.id, tuple(progress.looks.values()))])
    if engine is None or not looks:
        return
    with engine.active() as loaded:
        chances = look_probabilities(loaded, [pair], looks, pool.judge(spec).style or "")
    progress.probability, progress.source = mean_by_pair(chances)[pair.id], "log-probability"


def parse_partial(text: str, thought_open: bool = False) -> Verdict:
    """The sections of a text that is still streaming."""
    return parse_verdict(text, finished=False, thought_open=thought_open)


def checked_responses(question: str, responses: Sequence[str]) -> list[str]:
    """Two to eight texts under the caller's numbers: empty ones at the end are left out, others stay."""
    given = [text if isinstance(text, str) and text.strip() else "" for text in responses]
    while given and not given[-1]:
        given.pop()
    filled = [number for number, text in enumerate(given, 1) if text]
    if not 2 <= len(filled) <= MAX_RESPONSES:
        raise InputError(f"{len(filled)} responses cannot be ranked. Give two to {MAX_RESPONSES}.")
    for number in filled:
        _check_text(f"Response {number}", given[number - 1])
    _check_text("Question", question)
    return given


def rank_steps(
    pool: JudgePool, spec: str, question: str, responses: Sequence[str]
) -> Iterator[tuple[list[Judgment], int]]:
    """(judgments so far, total number of pairs) after each pair of the round robin, both orders each."""
    judge, pairs = pool.judge(spec), round_robin(question, responses)
    judgments: list[Judgment] = []
    yield judgments, len(pairs)
    for pair in pairs:
        judgments.append(judge.compare(pair))
        yield judgments, len(pairs)


def as_row(pair: Pair, progress: Progress) -> dict[str, Any]:
    """A finished judgment as JSON values: for the history, the exports and the API."""
    return {
        "kind": "compare",
        "judge": progress.judge,
        "prompt": [dict(turn) for turn in pair.prompt],
        "response_a": pair.response_a,
        "response_b": pair.response_b,
        "verdict": progress.label,
        "flipped": progress.flipped,
        "probability_a": progress.probability,
        "probability_source": progress.source,
        "seconds": round(progress.seconds, 2),
        "tokens": progress.tokens or None,  # None: the server reported no count
        "looks": [
            {"order": order, "status": look.status, "label": look.label, "text": look.generation.text}
            for order, look in progress.looks.items()
        ],
    }


def rank_row(
    spec: str, question: str, responses: Sequence[str], found: Ranking, seconds: float
) -> dict[str, Any]:
    """A finished ranking as JSON values: for the history and the exports."""
    return {
        "kind": "rank",
        "judge": spec,
        "prompt": [{"role": "user", "content": question}],
        "responses": list(responses),
        "verdict": None if found.best is None else f"Response {found.best + 1}",
        "places": [list(group) for group in found.places],
        "scores": list(found.scores),
        "wins": [list(row) for row in found.wins],
        "unread": found.unread,
        "connected": found.connected,
        "seconds": round(seconds, 2),
    }


def ranking_from_row(row: dict[str, Any]) -> Ranking:
    """A stored ranking, without the texts of its judge calls."""
    return Ranking(
        tuple(map(tuple, row["wins"])),
        row["unread"],
        tuple(row["scores"]),
        tuple(map(tuple, row["places"])),
        row["connected"],
        (),
    )


def from_row(row: dict[str, Any], opened: bool = False) -> Progress:
    """A stored judgment as it was shown. opened: it comes from a file or a link."""
    made = Progress(
        row["judge"],
        opened=opened,
        pair=Pair(row.get("id", ""), tuple(row["prompt"]), row["response_a"], row["response_b"]),
        probability=row["probability_a"],
        source=row["probability_source"],
        seconds=row["seconds"],
        done=True,
    )
    for look in row["looks"]:
        order, label = look["order"], look["label"]
        letter = label if label is None or order == "ab" else OTHER[label]
        whole = look["status"] not in ("truncated", "end_unknown", *NOT_JUDGED)
        sections = parse_verdict(look["text"], finished=whole).sections
        tokens = (row["tokens"] or 0) if not made.looks else 0  # the row holds their sum
        made.texts[order] = look["text"]
        generation = Generation(look["text"], completion_tokens=tokens)
        made.looks[order] = Look(order, generation, Verdict(letter, look["status"], sections))
    return made

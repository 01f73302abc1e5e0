"""Checks the arguments of callers: plain strings or chat messages in, a `Pair` out.

The rows of files and the arguments of calls are read by one reader (`rmr1_lite.data.rows`); here its errors
get the names of the arguments. Unlike a cell of a file, a string is never decoded: a response that happens
to be JSON stays a text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from rmr1_lite.data.rows import pair_digest, pair_from_row
from rmr1_lite.storage import RowError
from rmr1_lite.types import InputError, Message, Pair

# a conversation: the user's request, or messages that end with it
Prompt = str | Sequence[Mapping[str, Any]]
# an answer: its text, one assistant message, or the conversation that ends with it
Response = str | Mapping[str, Any] | Sequence[Mapping[str, Any]]


def check_pair(prompt: Prompt, a: Response, b: Response, names: tuple[str, str] = ("a", "b")) -> Pair:
    """The pair with a hash of its texts as id. names: of the two responses in messages. Raises InputError for
    texts that are empty, equal, or not text."""
    row = {
        "prompt": _as_turns(prompt, "user"),
        "response_a": _as_turns(a, "assistant"),
        "response_b": _as_turns(b, "assistant"),
    }
    shown = {"response_a": names[0], "response_b": names[1], "response": f"{names[0]} or {names[1]}"}
    try:
        pair = pair_from_row(row)
    except RowError as error:
        remedy = error.remedy.replace("remove the row or give", "give")
        raise InputError(f"{shown.get(error.field, error.field)} {error.text}: {remedy}.") from None
    if pair.response_a.strip() == pair.response_b.strip():
        raise InputError(f"{names[0]} and {names[1]} are the same text. Give two different responses.")
    return pair


def check_items(items: Sequence[Any]) -> list[Pair]:
    """The pairs of `compare_many`. Raises InputError, which counts items from 1, also for an id that two
    different pairs have."""
    if isinstance(items, str | Mapping) or not isinstance(items, Sequence) or not items:
        raise InputError("items is empty or not a list of pairs. Give a list of (prompt, a, b).")
    pairs = [_check_item(item, number) for number, item in enumerate(items, 1)]
    digests: dict[str, str] = {}
    for number, pair in enumerate(pairs, 1):
        if digests.setdefault(pair.id, pair_digest(pair)) != pair_digest(pair):
            raise InputError(
                f"item {number}: the id {pair.id!r:.80} belongs to another pair. Give every pair its own id."
            )
    return pairs


def _check_item(item: Any, number: int) -> Pair:
    """A Pair, a row as in a file, or (prompt, a, b)."""
    try:
        if isinstance(item, Pair):
            return item
        if isinstance(item, Mapping):
            return pair_from_row(dict(item))
        if isinstance(item, tuple | list) and len(item) == 3:
            return check_pair(*item)
    except RowError as error:
        raise InputError(f"item {number}: {error.field} {error.text}: {error.remedy}.") from None
    except InputError as error:
        raise InputError(f"item {number}: {error}") from None
    raise InputError(f"item {number} is {type(item).__name__}. Give a Pair, a row, or (prompt, a, b).")


@dataclass(frozen=True)
class Candidates:
    """Responses to one prompt. texts: the different ones. owners: for each of them the places in the caller's
    list that hold it; more than one where the caller's responses are equal."""

    prompt: tuple[Message, ...]
    texts: tuple[str, ...]
    owners: tuple[tuple[int, ...], ...]

    def pair(self, first: int, second: int) -> Pair:
        """The pair of two of the texts, with the id "first-second"."""
        return Pair(f"{first}-{second}", self.prompt, self.texts[first], self.texts[second])

    def round_robin(self) -> list[Pair]:
        """Every pair of the texts once."""
        return [self.pair(i, j) for i, j in combinations(range(len(self.texts)), 2)]


def check_candidates(prompt: Prompt, responses: Sequence[Response], name: str = "responses") -> Candidates:
    """Two or more responses to one prompt. Equal ones are one candidate with several owners. Raises
    InputError, which counts responses from 0."""
    if isinstance(responses, str | Mapping) or not isinstance(responses, Sequence):
        raise InputError(f"{name} is {type(responses).__name__}. Give a list of responses.")
    owners: dict[str, list[int]] = {}
    turns: tuple[Message, ...] = ()
    for place, response in enumerate(responses):
        # the reader reads pairs: a stand-in replaces the side that is not checked
        pair = check_pair(prompt, response, STAND_IN, (f"{name}[{place}]", "(none)"))
        owners.setdefault(pair.response_a, []).append(place)
        turns = pair.prompt
    if len(owners) < 2:
        equal = " that differ" if len(responses) > 1 else ""
        raise InputError(f"{name} has {len(owners)} text{equal}. Give at least two different responses.")
    return Candidates(turns, tuple(owners), tuple(map(tuple, owners.values())))


STAND_IN = "\u2060stand-in of another response\u2060"


def conversation_key(prompt: Prompt) -> str:
    """The same for the same conversation, whether given as a string or as messages."""
    return pair_digest(check_pair(prompt, "a", "b"))


def _as_turns(value: Any, role: str) -> Any:
    """A string as one turn; inside a row, a string that looks like stored messages would be decoded."""
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    return list(value) if isinstance(value, tuple) else value

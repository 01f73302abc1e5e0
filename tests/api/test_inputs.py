"""Arguments of callers: each fault names the argument and the remedy, and nothing is reinterpreted."""

from __future__ import annotations

from typing import Any

import pytest

from rmr1_lite.api.inputs import check_candidates, check_items, check_pair
from rmr1_lite.types import InputError, Pair

QUESTION = [{"role": "user", "content": "Hi?"}]
SHORT_SYSTEM = [{"role": "system", "content": "Be short."}, *QUESTION]
PARTS = {"role": "assistant", "content": [{"type": "text", "text": "a"}]}
ROBOT = [{"role": "robot", "content": "x"}]
ANSWERED = [*QUESTION, {"role": "assistant", "content": "Hello."}]

GOOD: list[tuple[str, Any, Any, Any, tuple[str, str]]] = [
    ("plain strings", "Hi?", "a", "b", ("a", "b")),
    ("messages as prompt", SHORT_SYSTEM, "a", "b", ("a", "b")),
    ("a response as its message", "Hi?", {"role": "assistant", "content": "a"}, "b", ("a", "b")),
    ("a response as the whole conversation", "Hi?", ANSWERED, "b", ("Hello.", "b")),
    ("content in parts", "Hi?", PARTS, "b", ("a", "b")),
    ("a response that is JSON stays a text", "Hi?", '[{"role": "assistant", "content": "x"}]', "b",
     ('[{"role": "assistant", "content": "x"}]', "b")),
    ("a response of another script", "你好？", "答案", "b", ("答案", "b")),
    ("a response with spaces around keeps them", "Hi?", " a\n", "b", (" a\n", "b")),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "prompt", "a", "b", "texts"), GOOD, ids=[row[0] for row in GOOD])
def test_pairs(reason: str, prompt: Any, a: Any, b: Any, texts: tuple[str, str]) -> None:
    pair = check_pair(prompt, a, b)
    assert (pair.response_a, pair.response_b) == texts, reason
    assert pair.prompt[-1]["role"] == "user" and pair.label is None


BAD: list[tuple[str, Any, Any, Any, str]] = [
    ("an empty prompt", " ", "a", "b", "prompt does not end with a user turn that has text"),
    ("no prompt", None, "a", "b", "prompt is missing"),
    ("an empty response", "Hi?", "", "b", "a is empty: give the response its text"),
    ("an empty second one", "Hi?", "a", "\n", "b is empty"),
    ("no response", "Hi?", "a", None, "b is missing"),
    ("a number", "Hi?", 7, "b", "a is a number"),
    ("a list of texts", "Hi?", ["x", "y"], "b", "a is a list of 2 texts"),
    ("equal responses", "Hi?", "a", "a ", "a and b are the same text"),
    ("a role that does not exist", ROBOT, "a", "b", "prompt has the role 'robot'"),
    ("a prompt that ends with an answer", ANSWERED, "a", "b", "prompt does not end with a user turn"),
    ("mixed prompts", "Bye?", ANSWERED, "b", "a starts with a different conversation"),
    ("a tool call, which no judge of texts sees", "Hi?",
     {"role": "assistant", "content": "a", "tool_calls": [{"id": 1}]}, "b", "a has a turn with tool_calls"),
    ("half a character", "Hi?", "\ud83d", "b", "half a character"),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "prompt", "a", "b", "said"), BAD, ids=[row[0] for row in BAD])
def test_faults_name_the_argument(reason: str, prompt: Any, a: Any, b: Any, said: str) -> None:
    with pytest.raises(InputError) as error:
        check_pair(prompt, a, b)
    assert said in str(error.value) and str(error.value).endswith("."), reason


ITEMS: list[tuple[str, Any, str]] = [
    ("no list", "Hi?", "items is empty or not a list of pairs"),
    ("nothing", [], "items is empty or not a list of pairs"),
    (
        "two texts",
        [("Hi?", "a", "b"), ("Hi?", "a")],
        "item 2 is tuple. Give a Pair, a row, or (prompt, a, b)",
    ),
    ("a fault in the second", [("Hi?", "a", "b"), ("Hi?", "a", "")], "item 2: b is empty"),
    ("a row without a field", [{"prompt": "Hi?", "response_a": "a"}], "item 1: response_b is missing"),
    (
        "one id for two pairs",
        [{"id": 1, "prompt": "Hi?", "response_a": x, "response_b": "b"} for x in "ac"],
        "item 2: the id '1' belongs to another pair",
    ),
]


@pytest.mark.parametrize(("reason", "items", "said"), ITEMS, ids=[row[0] for row in ITEMS])
def test_items_are_counted_from_one(reason: str, items: Any, said: str) -> None:
    with pytest.raises(InputError) as error:
        check_items(items)
    assert said in str(error.value), reason


def test_items_of_all_forms_are_the_same_pair() -> None:
    row = {"prompt": "Hi?", "response_a": "a", "response_b": "b"}
    from_tuple, from_row = check_items([("Hi?", "a", "b"), row])
    assert from_tuple == from_row and check_items([from_row]) == [from_row]
    assert isinstance(from_row, Pair)


def test_equal_responses_share_a_candidate() -> None:
    given = check_candidates("Hi?", ["x", "y", "x", "z"])
    assert given.texts == ("x", "y", "z") and given.owners == ((0, 2), (1,), (3,))
    assert [pair.id for pair in given.round_robin()] == ["0-1", "0-2", "1-2"]


CANDIDATES: list[tuple[str, Any, str]] = [
    ("one text is no choice", ["x"], "responses has 1 text."),
    ("equal ones neither", ["x", "x"], "responses has 1 text that differ"),
    ("a text instead of a list", "xyz", "responses is str"),
    ("an empty one is named by its place", ["x", "y", ""], "responses[2] is empty"),
    ("mixed prompts", ["x", ANSWERED], "responses[1] starts with a different conversation"),
]


@pytest.mark.parametrize(("reason", "responses", "said"), CANDIDATES, ids=[row[0] for row in CANDIDATES])
def test_candidates(reason: str, responses: Any, said: str) -> None:
    with pytest.raises(InputError) as error:
        check_candidates("Bye?", responses)
    assert said in str(error.value), reason

"""The common formats of preference data, converted to the kit's two row formats
(`rmr1_lite.data.rows`).

Columns are recognised by name: one that could mean two things is an error that says so, never a guess.
Labels are translated by the names of their columns: 1 means the first of output_1 and output_2,
the second of response_0 and response_1, and nothing at all next to response_a and response_b.
"""

from __future__ import annotations

import re
from typing import Any

from rmr1_lite.data.cells import content_of, decode_cell, texts_of_lists, transcript
from rmr1_lite.storage import RowError

PROMPTS = (
    "prompt",
    "question",
    "instruction",
    "query",
    "input",
    "conversation_input",
    "conversation",
    "context",
)
CHOSEN = (
    ("chosen", "rejected"),
    ("chosen", "reject"),
    ("accepted", "rejected"),
    ("chosen_response", "rejected_response"),
)
# column names of two responses, and the possible labels for the first and for the second one
SIDES: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("response_a", "response_b", ("response_a",), ("response_b",)),
    ("response_A", "response_B", ("response_A",), ("response_B",)),
    ("answer_a", "answer_b", ("answer_a",), ("answer_b",)),
    ("completion_a", "completion_b", ("completion_a",), ("completion_b",)),
    ("response_0", "response_1", ("0", "response_0"), ("1", "response_1")),
    ("response_1", "response_2", ("1", "response_1"), ("2", "response_2")),
    ("output_1", "output_2", ("1", "output_1"), ("2", "output_2")),
    ("answer_1", "answer_2", ("1", "answer_1"), ("2", "answer_2")),
)
FIRST, SECOND = ("A", "a", "A>B", "model_a"), ("B", "b", "B>A", "model_b")
# in lower case, without brackets, signs and spaces
TIES = frozenset(
    (
        "tie",
        "ties",
        "tied",
        "draw",
        "c",
        "a=b",
        "b=a",
        "both",
        "bothbad",
        "bothgood",
        "tiebothbad",
        "tiebothgood",
    )
    + (
        "equal",
        "equallygood",
        "equallybad",
        "same",
        "neither",
        "none",
        "nopreference",
        "0.5",
        "even",
        "similar",
    )
)
LABELS = ("label", "winner", "preference", "preferred", "better_response_id")
IDS = ("id", "pair_uid", "pair_id", "uid", "uuid")
ROLES = {
    **dict.fromkeys(("human", "user", "prompter", "client"), "user"),
    **dict.fromkeys(("gpt", "assistant", "bot", "chatgpt", "model", "chatbot"), "assistant"),
    "system": "system",
}
WHOLE = ("conversations", "messages")  # a conversation, if no column is named after the prompt


def kit_row(values: Any) -> Any:
    """The row in one of the kit's two formats; an unknown format stays unchanged, so that its errors
    are reported."""
    if not isinstance(values, dict):
        return values
    left, right, sides = _responses(values)
    if left is None:
        return values
    assert right is not None
    used = {left, right}
    values = _decoded(values, left, right)
    made: dict[str, Any] = {"chosen": _text(left, values[left]), "rejected": _text(right, values[right])}
    if sides is not None:
        made = {"response_a": _text(left, values[left]), "response_b": _text(right, values[right])}
        name = _one(values, LABELS)
        if name is not None:
            made["label"], used = _label(name, values[name], *sides), used | {name}
    elif "label" in values:
        made["label"] = values["label"]  # rows.py reports a label next to chosen
        used |= {"label"}
    used |= _add_prompt(values, made)
    name = next((name for name in IDS if values.get(name) is not None), None)
    if name is not None:
        made["id"], used = values[name], used | {name}
    return {
        **made,
        **{name: value for name, value in values.items() if name not in used and name not in made},
    }


def _responses(
    values: dict[str, Any],
) -> tuple[str | None, str | None, tuple[tuple[str, ...], tuple[str, ...]] | None]:
    found: list[Any] = [
        (first, second, None) for first, second in CHOSEN if first in values and second in values
    ]
    found += [
        (first, second, (one, two))
        for first, second, one, two in SIDES
        if first in values and second in values
    ]
    if len(found) > 1:
        names = ", ".join(f"{first} and {second}" for first, second, _ in found)
        raise RowError(
            found[1][0],
            f"the row holds more than one pair of responses ({names})",
            "keep the two to compare",
        )
    return found[0] if found else (None, None, None)


def _one(values: dict[str, Any], names: tuple[str, ...]) -> str | None:
    """The only one of `names` that has a value."""
    found = [name for name in names if values.get(name) is not None]
    if len(found) > 1:
        raise RowError(found[1], f"appears next to {found[0]}", f"keep one of {', '.join(found)}")
    return found[0] if found else None


def _add_prompt(values: dict[str, Any], made: dict[str, Any]) -> set[str]:
    """Put the prompt into `made`; returns the names used. Alpaca's instruction and input belong together."""
    found = [name for name in PROMPTS if values.get(name) not in (None, "")]
    if found == ["instruction", "input"]:
        made["prompt"] = f"{values['instruction']}\n\n{values['input']}"
    elif len(found) > 1:
        raise RowError(
            found[1],
            f"appears next to {found[0]}",
            f"keep the column that is the prompt ({', '.join(found)})",
        )
    elif found:
        made["prompt"] = _text(found[0], values[found[0]])
    elif name := next((name for name in WHOLE if isinstance(values.get(name), list)), None):
        made["prompt"], found = _text(name, values[name]), [name]
    return set(found)


def _decoded(values: dict[str, Any], left: str, right: str) -> dict[str, Any]:
    """The row with texts that represent messages decoded: JSON, Python's text of a list, HH-RLHF's
    transcripts, Chatbot Arena's lists."""
    asked = [name for name in PROMPTS if values.get(name) not in (None, "")]
    values = values | {
        name: decode_cell(name, values[name]) for name in (left, right, *asked, *WHOLE) if name in values
    }
    if len(asked) == 1:
        values = texts_of_lists(values, [asked[0], left, right])
    both = transcript(values[left]), transcript(values[right])
    if all(both):
        values = values | {left: both[0], right: both[1]}
    if len(asked) == 1 and (turns := transcript(values[asked[0]])):
        values = values | {asked[0]: turns}
    return values


def _text(column: str, value: Any) -> Any:
    """A response or prompt as text or messages: {"answer": text} is unwrapped, ShareGPT's turns are
    renamed."""
    if isinstance(value, dict):
        if value.get("role") is not None or value.get("from") is not None:
            return _text(column, [value])
        name = _one(value, ("answer", "content", "text", "response"))
        return value[name] if name else value
    if (
        isinstance(value, list)
        and value
        and all(isinstance(t, dict) and {"from", "value"} <= t.keys() for t in value)
    ):
        return [{"role": _role(turn["from"]), "content": turn["value"]} for turn in value]
    if isinstance(value, list) and value and all(isinstance(turn, dict) for turn in value):
        return [{"role": _role(turn.get("role")), "content": content_of(column, turn)} for turn in value]
    return value


def _role(said: Any) -> Any:
    """The role by our name; an unknown one stays, for its error."""
    return ROLES.get(said.strip().lower(), said) if isinstance(said, str) else said


def _label(name: str, value: Any, first: tuple[str, ...], second: tuple[str, ...]) -> str:
    whole = isinstance(value, float) and value.is_integer()
    said = "" if isinstance(value, bool) else str(int(value) if whole else value).strip()
    said = re.sub(r"(?<=\d)\.0+$", "", said)  # pandas writes 1.0 for 1
    if said in (*FIRST, *first):
        return "A"
    if said in (*SECOND, *second):
        return "B"
    if re.sub(r"[\s_\-\[\](),/]+", "", said.lower()) in TIES:
        raise RowError(name, f"is a tie ({said})", "leave ties out: nothing can be learned from them")
    choices = ", ".join(dict.fromkeys(("A", "B", *first, *second)))
    raise RowError(name, f"is {value!r:.40}", f"give one of {choices}")

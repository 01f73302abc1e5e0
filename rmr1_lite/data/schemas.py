"""The shapes in which the field stores preferences, turned into the kit's two row formats
(`rmr1_lite.data.rows`).

What is known is known by name: a column that could mean two things is an error that says so, never a guess.
Labels are translated by the names of the columns they speak of: 1 means the first of output_1 and output_2,
the second of response_0 and response_1, and nothing at all beside response_a and response_b.
"""

from __future__ import annotations

from typing import Any

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
# column names of two responses, and what a label may be called for the first and for the second one
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
TIES = ("tie", "C", "A=B", "both", "equal", "0.5")
LABELS = ("label", "winner", "preference", "preferred", "better_response_id")
IDS = ("id", "pair_uid", "pair_id", "uid", "uuid")
ROLES = {"human": "user", "gpt": "assistant", "user": "user", "assistant": "assistant", "system": "system"}


def kit_row(values: Any) -> Any:
    """The row in one of the kit's two formats; what is not a known shape stays as it is, so that its errors
    are reported."""
    if not isinstance(values, dict):
        return values
    left, right, sides = _responses(values)
    if left is None:
        return values
    used = {left, right}
    made: dict[str, Any] = {"chosen": _text(values[left]), "rejected": _text(values[right])}
    if sides is not None:
        made = {"response_a": _text(values[left]), "response_b": _text(values[right])}
        name = _one(values, LABELS)
        if name is not None:
            made["label"], used = _label(name, values[name], *sides), used | {name}
    elif "label" in values:
        made["label"] = values["label"]  # rows.py says what is wrong with a label beside chosen
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
            found[1][0], f"the row holds more than one pair of responses ({names})", "keep the two to compare"
        )
    return found[0] if found else (None, None, None)


def _one(values: dict[str, Any], names: tuple[str, ...]) -> str | None:
    """The one of `names` that has a value."""
    found = [name for name in names if values.get(name) is not None]
    if len(found) > 1:
        raise RowError(found[1], f"appears beside {found[0]}", f"keep one of {', '.join(found)}")
    return found[0] if found else None


def _add_prompt(values: dict[str, Any], made: dict[str, Any]) -> set[str]:
    """Put the prompt into `made`; returns the names used. Alpaca's instruction and input belong together."""
    found = [name for name in PROMPTS if values.get(name) not in (None, "")]
    if found == ["instruction", "input"]:
        made["prompt"] = f"{values['instruction']}\n\n{values['input']}"
    elif len(found) > 1:
        raise RowError(
            found[1], f"appears beside {found[0]}", f"keep the column that is the prompt ({', '.join(found)})"
        )
    elif found:
        made["prompt"] = _text(values[found[0]])
    return set(found)


def _text(value: Any) -> Any:
    """A response or prompt as text or messages: {"answer": text} is unwrapped, ShareGPT's turns are
    renamed."""
    if isinstance(value, dict):
        name = _one(value, ("answer", "content", "text", "response"))
        return value[name] if name else value
    if (
        isinstance(value, list)
        and value
        and all(isinstance(t, dict) and {"from", "value"} <= t.keys() for t in value)
    ):
        return [
            {"role": ROLES.get(str(turn["from"]), turn["from"]), "content": turn["value"]} for turn in value
        ]
    if isinstance(value, list) and value and all(isinstance(turn, dict) for turn in value):
        return [{"role": turn.get("role"), "content": turn.get("content")} for turn in value]
    return value


def _label(name: str, value: Any, first: tuple[str, ...], second: tuple[str, ...]) -> str:
    said = str(value).strip() if not isinstance(value, bool) else ""
    if said in (*FIRST, *first):
        return "A"
    if said in (*SECOND, *second):
        return "B"
    if said in TIES:
        raise RowError(name, f"is a tie ({said})", "leave ties out: there is nothing to learn from them yet")
    choices = ", ".join(dict.fromkeys(("A", "B", *first, *second)))
    raise RowError(name, f"is {value!r:.40}", f"give one of {choices}")

"""One JSON object <-> one `Pair`: the row formats and their possible faults.

Two formats are read. The kit's own:   {"id", "prompt", "response_a", "response_b", "label", "section",
                                       "meta"}
and the field's preference format:     {"id", "prompt", "chosen", "rejected", "section", "meta"}
`prompt` is a string or a list of messages; `chosen` and `rejected` are strings or lists of messages that end
    with the
assistant's answer. Only the texts are required. Fields that neither format knows are kept in `meta`.

Why a hash of the id decides the side of chosen/rejected rows: a fixed side would give the label away, a
random one would change from run to run. The hash balances the labels and does not change when rows are added
to the file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from rmr1_lite.config import MAX_CHARS
from rmr1_lite.data.cells import content_of, decode_cell, finite, with_whole_conversation
from rmr1_lite.storage import RowError
from rmr1_lite.types import Label, Message, Pair

ROLES = ("system", "user", "assistant")

KNOWN_FIELDS = ("id", "prompt", "response_a", "response_b", "chosen", "rejected", "label", "section", "meta")


def pair_from_row(row: Any, seed: int = 0, max_chars: int = MAX_CHARS) -> Pair:
    """The Pair of one parsed JSON row; raises RowError. Without an id the row gets a hash of its texts as
    id."""
    if not isinstance(row, dict):
        raise RowError("(row)", f"is {_kind(row)}, not an object", "write one JSON object per line")
    check_storable(row)
    row = with_whole_conversation(row)
    prompt, response_a, response_b = _texts(row)
    _check_sizes(prompt, response_a, response_b, max_chars)
    pair_id = _id(row, prompt, response_a, response_b)
    label = _label(row)
    if "chosen" in row:
        label = side_of_chosen(pair_id, seed)
        response_a, response_b = (response_a, response_b) if label == "A" else (response_b, response_a)
    return Pair(pair_id, prompt, response_a, response_b, label, _section(row), _meta(row))


def row_from_pair(pair: Pair) -> dict[str, Any]:
    """The kit's own row; `pair_from_row` returns the same Pair."""
    row: dict[str, Any] = {"id": pair.id, "prompt": [dict(m) for m in pair.prompt]}
    row |= {"response_a": pair.response_a, "response_b": pair.response_b}
    optional = {"label": pair.label, "section": pair.section, "meta": pair.meta}
    return row | {name: value for name, value in optional.items() if value}


def pair_digest(pair: Pair) -> str:
    """Twelve hex digits over what the judge sees: the conversation and both responses."""
    return _hash(pair.prompt, pair.response_a, pair.response_b)[:12]


def pairs_digest(pairs: Iterable[Pair]) -> str:
    """Sixteen hex digits over everything that the judge sees of these pairs, in their order."""
    lines = "".join(f"{pair.id} {pair_digest(pair)}\n" for pair in pairs)
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def _texts(row: dict[str, Any]) -> tuple[tuple[Message, ...], str, str]:
    """Conversation and both responses, (chosen, rejected) or (A, B)."""
    names = _names(row)
    turns = [_turns(row, name) for name in names]
    answers = [_answer(name, t) for name, t in zip(names, turns, strict=True)]
    return _prompt(row, names, turns), answers[0], answers[1]


def _names(row: dict[str, Any]) -> tuple[str, str]:
    ours = [n for n in ("response_a", "response_b") if n in row]
    theirs = [n for n in ("chosen", "rejected") if n in row]
    if ours and theirs:
        raise RowError(
            theirs[0], f"appears next to {ours[0]}", "keep response_a/response_b or chosen/rejected, not both"
        )
    names = ("chosen", "rejected") if theirs else ("response_a", "response_b")
    for name in names:
        if row.get(name) is None:
            remedy = "give prompt with response_a and response_b, or prompt with chosen and rejected"
            raise RowError(name, "is missing", remedy)
    return names


def _turns(row: dict[str, Any], name: str) -> list[Message]:
    """A response as messages: a string is one assistant turn."""
    value = decode_cell(name, row[name])
    value = [value] if isinstance(value, dict) and {"role", "content"} <= value.keys() else value
    return [{"role": "assistant", "content": value}] if isinstance(value, str) else _messages(name, value)


def _messages(name: str, value: Any) -> list[Message]:
    remedy = 'give a string or a list of {"role": "user", "content": "..."}'
    if not isinstance(value, list) or not value:
        raise RowError(name, f"is {_kind(value)}", remedy)
    if all(isinstance(turn, str) for turn in value):
        raise RowError(
            name, f"is a list of {len(value)} texts", "give one text, or messages; one pair per row"
        )
    turns: list[Message] = []
    for turn in value:
        content = content_of(name, turn) if isinstance(turn, dict) else None
        if not isinstance(content, str):
            raise RowError(name, "has a turn without text content", remedy)
        if turn.get("role") not in ROLES:
            raise RowError(name, f"has the role {turn.get('role')!r:.40}", f"roles are {', '.join(ROLES)}")
        turns.append({"role": turn["role"], "content": content})
    return turns


def _answer(name: str, turns: list[Message]) -> str:
    if turns[-1]["role"] != "assistant":
        raise RowError(
            name, f"ends with a {turns[-1]['role']} turn", "the last turn must be the assistant's answer"
        )
    if not turns[-1]["content"].strip():
        raise RowError(name, "is empty", "remove the row or give the response its text")
    return turns[-1]["content"]


def _prompt(row: dict[str, Any], names: tuple[str, str], turns: list[list[Message]]) -> tuple[Message, ...]:
    """The `prompt` field, or the turns that both responses start with."""
    before = [t[:-1] for t in turns]
    value = row.get("prompt")
    if value is None and not before[0]:
        raise RowError("prompt", "is missing", "give the user's request as a string or a list of messages")
    given = before[0] if value is None else _prompt_messages(value)
    for name, lead in zip(names, before, strict=True):
        if lead != given and (lead or value is None):
            raise RowError(
                name, "starts with a different conversation", "both responses must answer the same prompt"
            )
    if given[-1]["role"] != "user" or not given[-1]["content"].strip():
        raise RowError(
            "prompt", "does not end with a user turn that has text", "end it with the user's request"
        )
    return tuple(given)


def _prompt_messages(value: Any) -> list[Message]:
    value = decode_cell("prompt", value)
    return [{"role": "user", "content": value}] if isinstance(value, str) else _messages("prompt", value)


def _check_sizes(prompt: tuple[Message, ...], response_a: str, response_b: str, max_chars: int) -> None:
    """Reject texts longer than any judge could read."""
    texts = {
        "prompt": "\n".join(m["content"] for m in prompt),
        "response": max((response_a, response_b), key=len),
    }
    for name, text in texts.items():
        if len(text) > max_chars:
            remedy = f"shorten it, or raise the limit of {max_chars:,} characters (max_chars)"
            raise RowError(name, f"has {len(text):,} characters", remedy)


def check_storable(row: dict[str, Any]) -> None:
    """RowError for text that our files cannot hold."""
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        # JSON can spell half of a surrogate pair; no tokenizer and no file can hold it
        text = f"contains half a character (\\u{ord(error.object[error.start]):04x})"
        raise RowError("(row)", text, "remove the escape or write both halves") from None


def _id(row: dict[str, Any], *texts: Any) -> str:
    value = row.get("id")
    if value is None:
        return _hash(*texts)[:16]
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # pandas writes 7.0 for 7
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise RowError("id", f"is {value!r:.40}", "give a text or a whole number, or leave id out")
    return str(value)


def _label(row: dict[str, Any]) -> Label | None:
    label = row.get("label")
    if label is None:
        return None
    if "chosen" in row:
        raise RowError(
            "label", f"is {label!r:.40} next to chosen", "leave it out: chosen is the better response"
        )
    if label not in ("A", "B"):
        raise RowError("label", f"is {label!r:.40}", 'give "A" or "B", or leave it out when unknown')
    return label


def side_of_chosen(pair_id: str, seed: int) -> Label:
    """Position of the better response of a chosen/rejected row: half of the ids on each side, the same on
    every machine."""
    return "A" if int(_hash(seed, pair_id)[:8], 16) % 2 == 0 else "B"


def _section(row: dict[str, Any]) -> str:
    section = row.get("section") or ""
    if not isinstance(section, str):
        raise RowError("section", f"is {_kind(section)}", "give a text or leave it out")
    return section


def _meta(row: dict[str, Any]) -> dict[str, Any]:
    meta = row.get("meta") or {}
    if not isinstance(meta, dict):
        raise RowError("meta", f"is {_kind(meta)}", "give an object or leave it out")
    return finite({name: value for name, value in row.items() if name not in KNOWN_FIELDS} | meta)


def _hash(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return "an empty list" if value == [] else names.get(type(value), "a number")

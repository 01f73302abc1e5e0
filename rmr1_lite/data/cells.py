"""The actual content of a cell or a row: messages written as text, parts of a message, and columns that
belong to the conversation.

Exports write messages as JSON, as Python's or numpy's text of a list, or as bytes. A response that is such
text would be judged with its brackets and quotes, so it is decoded, or reported when that fails. Columns that
the judge has to see (system, history) become turns; those that it cannot see (images, tools) are errors,
never silently kept.
"""

from __future__ import annotations

import ast
import json
import math
import re
from typing import Any

from rmr1_lite.storage import RowError

TURN_KEYS = ({"role", "content"}, {"from", "value"})
SYSTEM = ("system", "system_prompt", "system_message")
HISTORY = ("history", "conversation_history")
# what a text-only judge cannot see
UNSEEN = ("images", "image", "videos", "video", "audios", "audio", "tools", "functions")
UNSEEN_IN_TURN = ("tool_calls", "function_call", "images", "image", "audio")
TEXT_ONLY = "leave the row out: this kit judges only text"

_LIKE_MESSAGES = re.compile(r"\s*(?:array\()?\s*\[?\s*\{\s*['\"](?:role|content|from|value)['\"]\s*:")
_NAMES_BOTH = re.compile(
    r"['\"]role['\"]\s*:.*['\"]content['\"]\s*:|['\"]from['\"]\s*:.*['\"]value['\"]\s*:", re.DOTALL
)
_NUMPY = re.compile(r"\A\s*array\((.*?)(?:,\s*dtype=\w+)?\)\s*\Z", re.DOTALL)
_BETWEEN = re.compile(r"\}\s*\n?\s*\{")  # numpy writes no comma between the elements
_TRANSCRIPT = re.compile(r"(?:\A|\n\n)(Human|Assistant):[ \t]?")
_EMPTY = (None, "", "[]", "{}", "null", "None")


def decode_cell(name: str, value: Any) -> Any:
    """Messages stored as text or bytes, as messages; any other value unchanged. Raises RowError for
    bytes that are not text, and for a text that begins like messages and cannot be decoded."""
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError:
            raise RowError(name, "holds bytes that are not UTF-8", "store it as text") from None
    if not isinstance(value, str) or not _LIKE_MESSAGES.match(value):
        return value
    held = _parsed(value)
    turns = held if isinstance(held, list) else [held]
    if turns and all(isinstance(turn, dict) and any(k <= turn.keys() for k in TURN_KEYS) for turn in turns):
        return held
    if held is not None or not _NAMES_BOTH.search(value):
        return value  # an answer in JSON about something else
    remedy = "store it as a list of messages, or as plain text"
    raise RowError(name, f"looks like messages written as text ({value.strip()[:30]} ...)", remedy)


def _parsed(text: str) -> Any:
    """The JSON or Python literal of a text, None when it is neither."""
    if array := _NUMPY.match(text):
        text = array[1]
    for candidate in (text, _BETWEEN.sub("}, {", text)):
        for read in (json.loads, ast.literal_eval):
            try:
                return read(candidate)
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
    return None


def texts_of_lists(values: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Chatbot Arena's files hold every text as a JSON list of turns: the row with messages instead, if all
    of `names` are such lists of the same length. Prompt first, then both responses."""
    lists = [_list_of_texts(values[name]) for name in names]
    found = [turns for turns in lists if turns is not None]
    if len(found) < len(lists) or len({len(turns) for turns in found}) != 1:
        return values
    asked = found[0]
    made = dict(values)
    if len(asked) == 1:
        return made | {name: turns[0] for name, turns in zip(names, found, strict=True)}
    remedy = "leave rows with several turns out: the two conversations differ before the last answer"
    raise RowError(names[1], f"holds {len(asked)} answers per conversation", remedy)


def _list_of_texts(value: Any) -> list[str] | None:
    if not isinstance(value, str) or not value.lstrip().startswith('["'):
        return None
    try:
        held = json.loads(value)
    except ValueError:
        return None
    return held if isinstance(held, list) and held and all(isinstance(text, str) for text in held) else None


def transcript(text: Any) -> list[dict[str, str]] | None:
    """HH-RLHF's "\\n\\nHuman: ... \\n\\nAssistant: ..." as messages; None for any other text. An empty last
    answer, as in its prompts, is left out."""
    if (
        not isinstance(text, str)
        or not text.lstrip("\n").startswith("Human:")
        or "\n\nAssistant:" not in text
    ):
        return None
    pieces = _TRANSCRIPT.split("\n\n" + text.lstrip("\n"))[1:]
    turns = [
        {"role": "user" if who == "Human" else "assistant", "content": said.strip()}
        for who, said in zip(pieces[::2], pieces[1::2], strict=True)
    ]
    turns = turns[:-1] if not turns[-1]["content"] and turns[-1]["role"] == "assistant" else turns
    alternate = all(turn["role"] == ("user", "assistant")[i % 2] for i, turn in enumerate(turns))
    return turns if turns and alternate else None


def content_of(name: str, turn: dict[str, Any]) -> Any:
    """The text of a turn; parts that are all text are joined. Raises RowError for parts that a text-only
    judge cannot see: tool calls, images."""
    for key in UNSEEN_IN_TURN:
        if turn.get(key) not in _EMPTY and turn.get(key) != []:
            raise RowError(name, f"has a turn with {key}", TEXT_ONLY)
    content = turn.get("content")
    if isinstance(content, list) and content and all(isinstance(part, dict) for part in content):
        for part in content:
            if part.get("type", "text") != "text" or not isinstance(part.get("text"), str):
                kind = part.get("type") or ", ".join(part)
                raise RowError(name, f"has a part of the type {kind!r:.30}", TEXT_ONLY)
        return "".join(part["text"] for part in content)
    return content


def with_whole_conversation(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its system and history columns as turns of the prompt. Raises RowError for columns that a
    text-only judge cannot see, and for a system text that the prompt contradicts."""
    for name in UNSEEN:
        if row.get(name) not in _EMPTY and row.get(name) not in ([], {}):
            raise RowError(name, "holds something that the judge would never see", TEXT_ONLY)
    used = [name for name in (*SYSTEM, *HISTORY) if row.get(name) not in _EMPTY and row.get(name) != []]
    if not used:
        return {name: value for name, value in row.items() if name not in (*SYSTEM, *HISTORY, *UNSEEN)}
    prompt = row.get("prompt")
    turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    if not isinstance(turns, list) or not turns:
        raise RowError(used[0], "belongs to a missing prompt", "give the prompt as text or messages")
    systems = [name for name in SYSTEM if name in used]
    if len(systems) > 1:
        raise RowError(systems[1], f"appears next to {systems[0]}", "keep one of them")
    # a system turn further down stays where it is
    first = [turn for turn in turns[:1] if isinstance(turn, dict) and turn.get("role") == "system"]
    if systems and first and first[0].get("content") != row[systems[0]]:
        raise RowError(systems[0], "is not the system turn of the prompt", "keep one of them")
    before = [turn for name in HISTORY if name in used for turn in _history(name, row[name])]
    if systems and not first:
        before.insert(0, {"role": "system", "content": row[systems[0]]})
    rest = {name: value for name, value in row.items() if name not in (*SYSTEM, *HISTORY, *UNSEEN)}
    return {**rest, "prompt": [*first, *before, *turns[len(first) :]]}


def _history(name: str, value: Any) -> list[dict[str, Any]]:
    """Earlier turns: messages, or pairs of question and answer."""
    value = decode_cell(name, value)
    if isinstance(value, str):
        value = _parsed(value)
    if isinstance(value, list) and all(
        isinstance(turn, dict) and {"role", "content"} <= turn.keys() for turn in value
    ):
        return value
    pairs = isinstance(value, list) and all(
        isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(text, str) for text in pair)
        for pair in value
    )
    if not pairs:
        raise RowError(
            name, "is not a list of messages or of [question, answer]", "write earlier turns as messages"
        )
    return [
        {"role": role, "content": text}
        for pair in value
        for role, text in zip(("user", "assistant"), pair, strict=True)
    ]


def finite(value: Any) -> Any:
    """The value with None for numbers that JSON cannot express."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: finite(held) for name, held in value.items()}
    return [finite(held) for held in value] if isinstance(value, list) else value

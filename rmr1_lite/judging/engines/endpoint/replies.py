"""Text, finish reason and token counts from a server's reply, in the many forms that servers use.

Content may be a text or a list of parts; reasoning may be next to it, in fields of several names, or be a
separate part; a finish reason has a dozen names; counts may be missing, null, text or floats. Whatever a
server delivers separately from the answer is put back where it was written, as `<think>...</think>`, so a log
holds the complete text. Public reports of each form are listed in tests/judging/test_replies.py.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["text", "thought"]
End = Literal["finished", "length", "filtered", "failed", "unknown"]

# names of ends, in lower case and without a prefix like FinishReason.
_ENDS: dict[str, End] = {
    **dict.fromkeys(("stop", "eos", "eos_token", "end_turn", "stop_sequence", "end_of_text"), "finished"),
    **dict.fromkeys(("end_of_sequence", "end", "done", "complete", "completed", "finish"), "finished"),
    **dict.fromkeys(("finished", "stop_token", "stop_str", "stop_word", "matched_stop"), "finished"),
    # the model ended its turn with a call of a tool that was not offered: the text is complete
    **dict.fromkeys(("tool_calls", "tool_call", "tool_use", "function_call"), "finished"),
    **dict.fromkeys(("length", "max_tokens", "model_length", "max_length", "max_new_tokens"), "length"),
    **dict.fromkeys(("max_output_tokens", "max_completion_tokens", "token_limit", "limit"), "length"),
    **dict.fromkeys(("model_context_window_exceeded", "context_length", "incomplete"), "length"),
    **dict.fromkeys(("content_filter", "content_filtered", "filtered", "safety", "refusal"), "filtered"),
    **dict.fromkeys(("recitation", "blocklist", "prohibited_content", "spii", "sensitive"), "filtered"),
    **dict.fromkeys(("guardrail_intervened", "error_toxic", "moderation", "blocked"), "filtered"),
    **dict.fromkeys(("error", "failed", "abort", "aborted", "cancelled", "canceled"), "failed"),
    **dict.fromkeys(("network_error", "insufficient_system_resource", "timeout"), "failed"),
    **dict.fromkeys(("malformed_function_call", "malformed_response", "user_cancel"), "failed"),
}
# fields of a message or delta that hold a thought next to the text
_THOUGHT_FIELDS = ("reasoning_content", "reasoning", "thinking", "thought")
_TEXT_FIELDS = ("text", "content", "value", "refusal", "output_text")


@dataclass
class Reply:
    """A reply received so far: text, finish reason, token counts, and the server's own error."""

    text: str = ""
    end: End = "unknown"
    reason: Any = None  # as the server names it
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0  # of the prompt; some servers leave them out of prompt_tokens
    error: Any = None  # body of an error inside the reply
    model: str = ""  # that answered, as the server names it
    _thinking: bool = field(default=False, repr=False)
    _half: str = field(default="", repr=False)  # the first half of a character that is not complete yet

    def add_choice(self, choice: Any) -> str:
        """Take a choice of a reply or of a stream's chunk; returns what it adds to the text.

        Raises ValueError for a part that is not text.
        """
        if not isinstance(choice, dict):
            return ""
        message = choice.get("delta") or choice.get("message") or {"content": choice.get("text")}
        if error := choice.get("error"):
            self.error = error
        reason = next((choice[name] for name in _REASON_FIELDS if choice.get(name)), None)
        if reason is not None:
            self.reason, self.end = reason, read_end(reason)
        if not isinstance(message, dict):
            raise ValueError(f"the message is {_kind_of(message)}, not an object")
        return "".join(self._write(kind, piece) for kind, piece in _read_message(message))

    def add_model(self, name: Any) -> None:
        """Store the name of the model, which some servers leave out."""
        self.model = name if isinstance(name, str) and name else self.model

    def add_usage(self, usage: Any) -> None:
        """Store token counts; values that are not counts change nothing."""
        if not isinstance(usage, dict):
            return
        self.prompt_tokens = _count(usage, "prompt_tokens", "input_tokens") or self.prompt_tokens
        self.completion_tokens = _count(usage, "completion_tokens", "output_tokens") or self.completion_tokens
        details = usage.get("prompt_tokens_details")
        cached = [_count(usage, name) for name in ("cache_read_input_tokens", "cache_creation_input_tokens")]
        cached.append(_count(details, "cached_tokens") if isinstance(details, dict) else 0)
        self.cached_tokens = max(self.cached_tokens, sum(cached))

    def close(self) -> str:
        """The text is complete: returns the part held back. Half a character becomes U+FFFD."""
        rest, self._half = self._half and "\ufffd", ""
        self.text += rest
        return rest

    def _write(self, kind: Kind, piece: str) -> str:
        if not piece:
            return ""
        thinking = kind == "thought"
        mark = "" if thinking == self._thinking else "<think>" if thinking else "</think>"
        self._thinking = thinking
        piece, self._half = _join_halves(self._half + mark + piece)
        self.text += piece
        return piece


_REASON_FIELDS = ("finish_reason", "stop_reason", "done_reason", "native_finish_reason")


def read_reply(body: Any) -> Reply:
    """A complete reply. Raises ValueError if it is not a chat completion."""
    reply = Reply()
    if isinstance(body, dict):
        reply.error = body.get("error")
        reply.add_usage(body.get("usage"))
        reply.add_model(body.get("model"))
    choices = body.get("choices") if isinstance(body, dict) else None
    if reply.error and not choices:
        return reply
    if not isinstance(choices, list) or not choices or not _holds_message(choices[0]):
        raise ValueError(f"the reply is {_kind_of(body)}, not a chat completion")
    reply.add_choice(choices[0])
    reply.close()
    return reply


def read_end(reason: Any) -> End:
    """The finish reason in lower case, without prefixes."""
    if isinstance(reason, dict):  # {"type": "stop"}
        reason = reason.get("type") or reason.get("reason")
    name = re.sub(r"[^a-z]+", "_", str(reason).rpartition(".")[2].lower()).strip("_")
    return _ENDS.get(name.removeprefix("finish_reason_"), "unknown")


def is_another_model(asked: str, said: str) -> bool:
    """Whether a reply names another model: some servers have a single one that answers under every name. A
    date, an owner or a revision added to the name is still the same model."""
    one, other = (name.lower().rpartition("/")[2].partition("@")[0] for name in (asked, said))
    return bool(other) and one not in other and other not in one


def join_halves(text: str) -> str:
    """Characters received as two halves (of UTF-16) joined; a half without its partner is U+FFFD."""
    piece, half = _join_halves(text)
    return piece + (half and "\ufffd")


def _join_halves(text: str) -> tuple[str, str]:
    """(text, first half of a character at its end)."""
    half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
    whole = text[: len(text) - len(half)]
    try:
        whole.encode()
    except UnicodeEncodeError:  # it holds halves
        whole = whole.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return whole, half


def _holds_message(choice: Any) -> bool:
    return isinstance(choice, dict) and any(
        choice.get(name) is not None for name in ("message", "delta", "text", "error")
    )


def _read_message(message: dict[str, Any]) -> Iterator[tuple[Kind, str]]:
    """The pieces of a message in the order in which they were written: the thought first."""
    thought = next((message[name] for name in _THOUGHT_FIELDS if message.get(name)), None)
    for _, piece in _read_content(thought, "thought"):
        yield "thought", piece
    content = message.get("content")
    # a refusal in a separate field is the model's text if there is no other
    yield from _read_content(content if content else message.get("refusal"), "text")


def _read_content(content: Any, kind: Kind) -> Iterator[tuple[Kind, str]]:
    """The pieces of content: a text, a part, or a list of parts. Raises ValueError for anything else."""
    if content is None:
        return
    if isinstance(content, str):
        yield kind, content
    elif isinstance(content, list):
        for part in content:
            yield from _read_content(part, kind)
    elif isinstance(content, dict):
        yield from _read_part(content, kind)
    else:
        raise ValueError(f"the content is {_kind_of(content)}, not text")


def _read_part(part: dict[str, Any], kind: Kind) -> Iterator[tuple[Kind, str]]:
    name = str(part.get("type", ""))
    thoughts = [part[field] for field in _THOUGHT_FIELDS if part.get(field) is not None]
    if thoughts or name in ("thinking", "reasoning", "thought"):
        texts = thoughts or [part[field] for field in _TEXT_FIELDS if part.get(field) is not None]
        for _, piece in _read_content(texts[0] if texts else None, "thought"):
            yield "thought", piece
        return
    texts = [part[field] for field in _TEXT_FIELDS if part.get(field) is not None]
    if texts:
        yield from _read_content(texts[0], kind)
    elif name not in ("", *_TEXT_FIELDS, "reference", "redacted_thinking"):
        raise ValueError(f"the content holds a part of type {name!r:.40}, which is not text")


def _count(usage: dict[str, Any], *names: str) -> int:
    """A count of tokens, 0 for anything else."""
    for name in names:
        value = usage.get(name)
        try:
            number = float(value) if isinstance(value, int | float | str) else math.nan
        except ValueError:
            continue
        if math.isfinite(number) and number > 0 and not isinstance(value, bool):
            return int(number)
    return 0


def _kind_of(value: Any) -> str:
    """What kind of value this is, in a few words, without repeating a page of text."""
    if isinstance(value, str):
        return "a page of HTML" if value.lstrip()[:1] == "<" else "plain text"
    names = {type(None): "null", list: "a list", dict: "an object", bool: "true or false"}
    kind = names.get(type(value), "a number")
    return (
        f"{kind} with {', '.join(map(str, list(value)[:5])) or 'nothing in it'}"
        if kind == "an object"
        else kind
    )

"""A reply or a failure becomes a Generation: of the endpoint engine, which asks over HTTP, and of batch
files, which somebody else sends.

What affects a server's metrics (a clipped prompt, another model, no finish reason) is reported once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rmr1_lite.judging.engines.base import Request
from rmr1_lite.judging.engines.endpoint.failures import Failure, explain
from rmr1_lite.judging.engines.endpoint.parameters import THINKING
from rmr1_lite.judging.engines.endpoint.prompt_counts import fewest_tokens
from rmr1_lite.judging.engines.endpoint.replies import Reply, is_another_model
from rmr1_lite.types import Generation, Problem


class Reader:
    """Reads replies of one model.

    thought_open: its texts begin inside a thought. say: called with (line, kind) and reports a kind once.
    safe: removes secrets from the server's words.
    """

    def __init__(
        self,
        model: str,
        thought_open: bool,
        say: Callable[[str, str], None],
        safe: Callable[[str], str] = str,
    ) -> None:
        self._model, self._thought_open, self._say, self._safe = model, thought_open, say, safe

    def read(self, request: Request, reply: Reply, seconds: float) -> Generation:
        """The Generation of a reply without an error (see `failure_in`)."""
        counts = (reply.prompt_tokens, reply.completion_tokens, seconds)
        problem, why = self._find_loss(request, reply)
        if why:
            return Generation(reply.text, False, False, *counts, error=why, problem=problem)
        finished = {"finished": True, "length": False}.get(reply.end)
        self._tell_oddities(reply, finished)
        thought_open = self._thought_open and not reply.text.startswith("<think>")
        return Generation(reply.text, finished, thought_open, *counts)

    def read_failure(self, failure: Failure, name: str, reply: Reply, seconds: float) -> Generation:
        """The Generation of a failed request. name: of the error, before the server's words. reply: what had
        arrived until then."""
        words = self._safe(failure.words)
        reply.close()
        counts = (reply.prompt_tokens, reply.completion_tokens, seconds)
        if failure.kind == "too_long":
            self._say(f"A prompt is too long for the server ({words}): status too_long.", "too_long")
            return Generation("", False, False, *counts, too_long=True)
        problem: Problem = "filtered" if failure.kind == "filtered" else "error"
        error = f"{name}: {words}"[:500]
        return Generation(reply.text, False, self._thought_open, *counts, error=error, problem=problem)

    def _find_loss(self, request: Request, reply: Reply) -> tuple[Any, str]:
        """("filtered" or "clipped", the reason); ("", "") when the reply is complete."""
        if reply.end == "filtered":
            return "filtered", f"the server's content filter stopped the answer ({reply.reason})"
        seen, least = reply.prompt_tokens + reply.cached_tokens, fewest_tokens(request.messages)
        if not 0 < seen < least:
            return "", ""
        why = (
            f"the server truncated the prompt: it counts {seen:,} tokens, the text has at least {least:,}. "
            "Raise its context length (Ollama: num_ctx)"
        )
        self._say(f"T{why[1:]}. Such replies are not counted (status clipped).", "clipped")
        return "clipped", why

    def _tell_oddities(self, reply: Reply, finished: bool | None) -> None:
        """Report once each what affects this server's metrics."""
        if is_another_model(self._model, reply.model):
            self._say(f"The server names its model {reply.model!r:.80}.", "model")
        if finished is None:
            said = "no finish_reason" if reply.reason is None else f"the finish_reason {reply.reason!r:.40}"
            self._say(
                f"The server gives {said}, so it is unknown whether a text is complete: such texts count as "
                "unparsed (status end_unknown).",
                "end",
            )
        if finished and not reply.text.strip():
            self._say(
                "A reply was empty: it counts as unparsed (status missing). Some servers return an empty "
                "reply to a prompt that is longer than their context.",
                "empty",
            )


def failure_in(reply: Reply) -> tuple[Failure, str] | None:
    """The error that a reply holds, in itself or in its choice, and its name; None for one without."""
    if not reply.error and reply.end != "failed":
        return None
    if not reply.error:
        return Failure("passing", f"finish_reason {reply.reason!r:.40}"), "the server interrupted the answer"
    return explain(code_of(reply), reply.error), "the reply is an error"


def code_of(reply: Reply) -> int | None:
    """The status inside a reply's error, None without one."""
    code = reply.error.get("code") if isinstance(reply.error, dict) else None
    return int(str(code)) if str(code).isdigit() else None


def remedy_of(failure: Failure, key_name: str) -> str:
    """What to do about a failure that every further request would meet. key_name: of the variable that holds
    the key."""
    if failure.kind == "refused":
        option = "--thinking" if THINKING in failure.parts else ", ".join(failure.parts)
        return f"The server does not accept {option}: leave it out, or use another server."
    known = {
        "key": f"Set {key_name} to a key of this server with access to this model.",
        "address": "Check the address: it usually ends with /v1.",
    }
    return known.get(failure.remedy, failure.remedy)

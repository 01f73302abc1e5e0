"""What a request contains, and what changes when a server refuses a part.

Servers accept different parts: max_tokens or max_completion_tokens, a temperature or a fixed one, no seed,
no system role. A refused part is renamed or left out from then on, and reported once. Servers also
have defaults that change greedy verdicts (a repetition penalty from the model's generation settings,
llama.cpp's repeat_penalty 1.1, top_k 40): values that switch them off are sent to every server, and left out
where it does not know them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any

from rmr1_lite.judging.engines.base import Request, Sampling, request_seed
from rmr1_lite.judging.engines.endpoint.failures import SYSTEM_ROLE
from rmr1_lite.models.render import system_in_user

LIMIT, NEW_LIMIT = "max_tokens", "max_completion_tokens"
# neutral values: a server that does not know them has nothing to switch off
NEUTRAL = {"repetition_penalty": 1.0, "repeat_penalty": 1.0}  # vLLM, SGLang; llama.cpp, LM Studio
NEUTRAL_SAMPLING = {"top_k": 0, "min_p": 0.0}  # otherwise llama.cpp samples from the 40 most likely tokens
NEUTRAL_SAID = (
    "The server does not accept the settings that switch off its own penalty, top_k or min_p: if it has one, "
    "verdicts may differ from those of other servers."
)
THINKING = "chat_template_kwargs"

_SAID = {
    LIMIT: f"{NEW_LIMIT} is sent instead",
    NEW_LIMIT: "no limit is sent, so the server's own length limit applies",
    "temperature": "it is left out; the server's own applies, so verdicts may differ from run to run",
    "top_p": "it is left out",
    "seed": "it is left out, so sampled texts cannot be repeated",
    "stream_options": "it is left out, so streams have no token counts",
    SYSTEM_ROLE: "the system text is put before the first user turn",
}
# if an error names several, these are dropped first: they change least
_ORDER = (
    *NEUTRAL,
    *NEUTRAL_SAMPLING,
    "stream_options",
    "seed",
    "top_p",
    SYSTEM_ROLE,
    "temperature",
    LIMIT,
    NEW_LIMIT,
)


class Parameters:
    """The body of a request for one server. say: called once for every change. left_out: parts to treat as
    refused from the start."""

    def __init__(
        self, model: str, extra: dict[str, Any], say: Callable[[str], None], left_out: Iterable[str] = ()
    ) -> None:
        self.model, self._extra, self._say = model, extra, say
        self._refused = set(left_out)
        self._lock = Lock()

    def body(self, request: Request, sampling: Sampling, stream: bool = False) -> dict[str, Any]:
        """The request without what the server has refused."""
        turns = [dict(message) for message in request.messages]
        if SYSTEM_ROLE in self._refused:
            turns = system_in_user(turns)
        wanted: dict[str, Any] = {
            # not max_completion_tokens first: self-hosted servers ignore it and stop at their own default
            (NEW_LIMIT if LIMIT in self._refused else LIMIT): sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "seed": request_seed(request, sampling.seed),
            **NEUTRAL,
            **self._extra,
        }
        if sampling.temperature > 0:  # greedy, the others have no effect, and some models refuse the pair
            wanted |= {"top_p": sampling.top_p, **NEUTRAL_SAMPLING}
        if stream:
            wanted |= {"stream": True, "stream_options": {"include_usage": True}}
        kept = {name: value for name, value in wanted.items() if name not in self._refused}
        return {"model": self.model, "messages": turns, **kept}

    @property
    def left_out(self) -> frozenset[str]:
        """The parts that are renamed or left out by now."""
        return frozenset(self._refused)

    def as_of(self, left_out: Iterable[str]) -> Parameters:
        """The same requests with other parts left out; its changes are not reported."""
        return Parameters(self.model, self._extra, lambda text: None, left_out)

    def names(self, body: dict[str, Any]) -> set[str]:
        """The parts of a body that a server may refuse."""
        system = any(turn["role"] == "system" for turn in body["messages"])
        return {*body, SYSTEM_ROLE} if system else set(body)

    def give_up(self, parts: Iterable[str], body: dict[str, Any], words: str) -> bool:
        """Leave out or rename one of the parts that `body` was refused for; False when nothing can be done.

        Another thread may have done so since the body was sent: then nothing is reported again.
        """
        named = [name for name in _ORDER if name in set(parts)]
        if not named:
            return False
        with self._lock:
            if named[0] in self._refused:
                return named[0] in self.names(body)
            self._refused.add(named[0])
            if named[0] in NEUTRAL:
                self._refused |= NEUTRAL.keys()
            self._tell(named[0], body, words)
        return True

    def drop_neutral(self, body: dict[str, Any]) -> bool:
        """Leave out everything that a server may not know; False when the body held none of it."""
        found = {*NEUTRAL, *NEUTRAL_SAMPLING} & set(body)
        with self._lock:
            new = found - self._refused
            self._refused |= found
            if new:
                self._say(NEUTRAL_SAID)
        return bool(found)

    def _tell(self, name: str, body: dict[str, Any], words: str) -> None:
        if name in NEUTRAL or name in NEUTRAL_SAMPLING:
            self._say(NEUTRAL_SAID)
        # a server without the parameter samples with top_p 1 anyway
        elif name != "top_p" or body.get(name) != 1.0:
            value = f" {body[name]:g}" if isinstance(body.get(name), float) else ""
            self._say(
                f"The server refuses {name}{value}: {_SAID.get(name, 'it is left out')}. It said: {words}"
            )

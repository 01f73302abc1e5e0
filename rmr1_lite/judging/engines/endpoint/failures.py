"""What a server's error means, from its status and its message.

    too_long   the prompt does not fit: that pair cannot be judged there
    filtered   a content filter blocked the prompt or the answer
    refused    a part of the request is refused: it can be renamed or left out (parameters.py)
    hopeless   every further request would fail the same way: wrong key, unknown model, no quota, wrong
               address
    passing    a later try may succeed

The words are those of OpenAI, Azure, Anthropic, Gemini, Mistral, Cohere, Groq, DeepSeek, xAI, OpenRouter,
Bedrock, vLLM, SGLang, TGI, llama.cpp, Ollama, LM Studio and `transformers serve`; each has its public
report in tests/judging/test_failures.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

SYSTEM_ROLE = "the system role"
LONGEST = 400  # characters of a server's message that are repeated


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE | re.DOTALL)


_TOO_LONG = _any(
    r"context[ _]length|context[ _]size|context[ _]window|context limit|context the overflows",
    r"string_above_max_length|max_seq_len|max sequence length|maximum (?:prompt|input|model) length",
    r"(?:prompt|input|request|conversation|messages?|it) (?:is|are|was) (?:much |far )?too (?:long|large)",
    r"(?:prompt|input|request) too (?:long|large)|too many (?:input |prompt )?tokens|too large for model",
    r"inputs\W* (?:tokens \+|must have less than)",
    r"(?:exceed(?:s|ed)?|(?:longer|larger|greater) than|over) (?:the |its |your )?"
    r"(?:model(?:'s)? |configured )?"
    r"(?:max|limit|available|allowed|token limit|allotted)[^.]{0,40}(?:tokens?|length|context|model len)",
    r"tokens?[^.]{0,30} exceeds? the (?:limit|max)",
    r"reduce (?:the|your) (?:length|prompt|input|number of tokens|message)",
    # vLLM, of a prompt that fills the context to the last token
    r"max_(?:completion_)?tokens must be at least 1, got (?:0|-\d+)",
)
_FILTERED = _any(
    r"content[ _]?filter|content[ _](?:management )?policy|responsible_?ai|policy[ _]violation|moderation",
    r"data_?inspection|content exists risk|was flagged|flagged as|inappropriate content|guardrail",
    r"violat\w+ (?:our|the) (?:usage|content|safety)|safety (?:system|filter|setting)",
)
_QUOTA = _any(
    r"insufficient[ _](?:quota|balance|funds|credits?)|exceeded your current quota|credit balance|billing",
    r"(?:out of|no|more) credits|payment required|spending limit|usage limits?\b|quota[ _]exceeded|top up",
    r"exceeded (?:the|your) (?:monthly|free|included)|arrearage",
    r"account (?:is )?(?:suspended|deactivated|not active|in arrears)",
)
# a quota of a minute is a rate limit
_SOON = _any(r"(?:retry|try again) (?:in|after)|per[ -](?:minute|second)|\b[RT]PM\b|PerMinute")
_KEY = _any(
    r"(?:api[ _-]?key|token|credentials?|authorization)\W{0,3}[^.]{0,30}"
    r"(?:invalid|incorrect|not valid|missing|expired|required)",
    r"(?:invalid|incorrect|missing|expired|bad|no|wrong) (?:\w+ )?"
    r"(?:api[ _-]?key|credentials?|auth\w*|token)\b",
    r"unauthori[sz]ed|authentication|unauthenticated",
)
_MODEL = _any(
    r"model_not_found|model_not_exist|DeploymentNotFound|unknown[ _]model|invalid[ _]model|no such model",
    r"not a valid model|no endpoints found|server is pinned to",
    r"(?:model|deployment|adapter)\b.{0,80}(?:not found|n[o']t exist|not exist|unknown|invalid|unavailable"
    r"|not available|not (?:been )?loaded|not supported|not served|decommissioned|deprecated|no longer)",
)
_SYSTEM = _any(
    r"system (?:role|message|prompt|turn|instruction)s?\W.{0,60}(?:not|un|n't)\W?"
    r"(?:support|allow|enabl|permit|accept|valid)",
    r"(?:role\W{1,4}system|['\"]system['\"]).{0,60}(?:not|un|in)\W?"
    r"(?:support|allow|enabl|permit|valid|expected)",
    r"developer instruction is not enabled|roles? must alternate|only user,? (?:and )?(?:assistant|model)",
    r"(?:unexpected|unsupported|invalid|unknown) role\W{1,10}system",
    r"(?:should|must|expected).{0,40}user.{0,20}assistant.{0,40}system",
)
# the value of a known parameter is out of range: another value would do
_TOO_MUCH = _any(r"too (?:large|high|big)|at most|less than or equal|maximum|cannot exceed|must be <=")


@dataclass(frozen=True)
class Failure:
    """words: the server's message, shortened. parts: the parts of the request that it refuses. remedy: of a
    hopeless one."""

    kind: Literal["too_long", "filtered", "refused", "hopeless", "passing"]
    words: str
    parts: tuple[str, ...] = ()
    remedy: str = ""


def explain(status: int | None, body: Any, sent: Collection[str] = ()) -> Failure:
    """What an error means.

    status: of HTTP, or the code inside a reply with status 200; None when there was none. body: as parsed
    JSON, or the text. sent: names of the request's parameters, and SYSTEM_ROLE where it had a system turn.
    """
    body = _parsed(body) if isinstance(body, str) else body
    words = words_of(body)
    said = f"{words} {' '.join(_codes(body))}"
    if status == 413 or (status not in (401, 402, 403, 404) and _too_long(said, status)):
        return Failure("too_long", words)
    if status in (400, 403, 422, 451, None) and _FILTERED.search(said):
        return Failure("filtered", words)
    if _QUOTA.search(said) and ("insufficient_quota" in said or not _SOON.search(said)) or status == 402:
        return Failure(
            "hopeless", words, remedy="The account's quota is used up: top it up or use another key."
        )
    if status in (400, 404, 405, 415, 422, 500, 501) and (parts := _refused_parts(body, words, sent)):
        return _refusal(words, parts)
    if status in (401, 403) or status == 400 and _KEY.search(said):
        return Failure("hopeless", words, remedy="key")
    if status in (400, 404, 410, 422) and _MODEL.search(said):
        return Failure("hopeless", words, remedy="model")
    if status in (404, 405, 410):
        return Failure("hopeless", words, remedy="address")
    return Failure("passing", words)


def words_of(body: Any) -> str:
    """A server's own words about an error: its message, or those of a list of details."""
    if isinstance(body, str):
        body = _parsed(body)
    found = list(dict.fromkeys(_messages(body)))
    text = "; ".join(found) or (json.dumps(body, ensure_ascii=False) if body not in (None, "", {}) else "")
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]{1,80}>", " ", text)).strip()
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def _too_long(said: str, status: int | None) -> bool:
    if status == 429:  # "too many tokens per minute" passes; a single request above the limit does not
        return bool(re.search(r"request too large|must be reduced", said, re.IGNORECASE))
    # "max_tokens is too large: 9000" is about the answer
    return bool(_TOO_LONG.search(said)) and not re.search(r"max\w*_tokens\W* (?:is|was) too", said)


def _refusal(words: str, parts: tuple[str, ...]) -> Failure:
    if set(parts) & {"max_tokens", "max_completion_tokens"} and _TOO_MUCH.search(words):
        return Failure("hopeless", words, remedy="Give a smaller --max-new-tokens.")
    return Failure("refused", words, parts)


def _refused_parts(body: Any, words: str, sent: Collection[str]) -> tuple[str, ...]:
    """The parts of the request that an error names."""
    if SYSTEM_ROLE in sent and _SYSTEM.search(words):
        return (SYSTEM_ROLE,)
    names = {name for name in sent if name not in (SYSTEM_ROLE, "model", "messages", "stream")}
    named = [text for text in _pointers(body) if text in names]
    named = named or [name for name in names if re.search(rf"(?<![\w.]){name}(?!\w)", words)]
    return tuple(sorted(set(named)))


def _pointers(value: Any) -> Iterator[str]:
    """Names in the fields that point at a parameter: OpenAI's `param`, pydantic's `loc`."""
    if isinstance(value, list):
        for part in value:
            yield from _pointers(part)
    elif isinstance(value, dict):
        for name, part in value.items():
            if name == "param" and isinstance(part, str):
                yield part
            elif name == "loc" and isinstance(part, list):
                yield from map(str, part)
            elif name not in ("input", "ctx"):
                yield from _pointers(part)


_SAYS = (
    "message",
    "msg",
    "detail",
    "details",
    "error",
    "errors",
    "error_description",
    "title",
    "reason",
    "metadata",
    "raw",
)


def _messages(value: Any) -> Iterator[str]:
    """The texts of an error's body; never the input that some servers return with it."""
    if isinstance(value, str):
        parsed = _parsed(value)
        if isinstance(parsed, str):
            yield parsed.strip()
        else:
            yield from _messages(parsed)
    elif isinstance(value, list):
        for part in value:
            yield from _messages(part)
    elif isinstance(value, dict):
        loc = (
            [str(part) for part in value.get("loc", ()) if part != "body"]
            if isinstance(value.get("loc"), list)
            else []
        )
        for name in _SAYS:
            if value.get(name):
                for text in _messages(value[name]):
                    yield f"{'.'.join(loc)}: {text}" if loc else text


def _codes(value: Any) -> Iterator[str]:
    """Codes and types, which servers give next to the message."""
    if isinstance(value, list):
        for part in value:
            yield from _codes(part)
    elif isinstance(value, dict):
        for name, part in value.items():
            if name in ("code", "type", "status", "error_type", "innererror", "error", "error_code"):
                yield from [part] if isinstance(part, str) else _codes(part)


def _parsed(text: str) -> Any:
    """JSON inside a text, which proxies pass on; anything else as it is."""
    if text.lstrip()[:1] not in ("{", "["):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text

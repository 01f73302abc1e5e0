"""Every error of the endpoint in one shape: {"error": {"type", "message", "field"}}, with its HTTP status."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from typing import Any

from rmr1_lite.types import EngineStopped, InputError

# status -> (type, when); the docs and the OpenAPI schema show it
KINDS: dict[int, tuple[str, str]] = {
    400: ("json", "the body is not one JSON object"),
    401: ("key", "the key is missing or wrong"),
    403: ("address", "the request did not come from this machine, and no key is set"),
    404: ("route", "there is no such route"),
    405: ("method", "the route takes another method"),
    408: ("slow_body", "the body did not arrive in time"),
    413: ("too_large", "the body is longer than the limit"),
    415: ("content_type", "the content type is not application/json"),
    422: ("input", "a field is missing, unknown, too long, or not what it must be"),
    429: ("queue_full", "too many requests wait; Retry-After says when to try again"),
    500: ("internal", "a defect; the log names the place"),
    502: ("judge_failed", "the judge's own server failed, in its words"),
    503: ("not_ready", "the judge is still loading, or the endpoint is stopping"),
    504: ("timeout", "the request's time is over"),
}
_FIELD = re.compile(r"([a-z_]+)(?:\[\d+\])?(?= )")


class Refused(Exception):
    """A request that gets an error instead of a result. retry_after: seconds for the Retry-After header."""

    def __init__(
        self, status: int, message: str, field: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.field, self.retry_after = status, message, field, retry_after

    @property
    def headers(self) -> dict[str, str]:
        """Beyond those that every response has."""
        found = {} if self.retry_after is None else {"retry-after": str(self.retry_after)}
        return found | ({"www-authenticate": "Bearer"} if self.status == 401 else {})

    def body(self) -> bytes:
        """ASCII, so that half a character in a text cannot break it."""
        kind = KINDS.get(self.status, KINDS[500])[0]
        return json.dumps({"error": {"type": kind, "message": self.message, "field": self.field}}).encode()


def refused_by(error: BaseException, fields: Collection[str] = ()) -> Refused:
    """The answer to an exception of the judge or of a check. fields: of the request, to name the one that
    an InputError begins with. Texts of unexpected errors stay here: they may quote a prompt."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, EngineStopped):
        return Refused(502, f"The judge's server failed: {error}")
    if isinstance(error, InputError):
        return Refused(422, str(error), field_of(str(error), fields))
    return Refused(500, f"The judge failed ({type(error).__name__}). The endpoint's log names the place.")


def field_of(message: str, fields: Collection[str]) -> str | None:
    """The field that a message begins with, like `responses[2] is empty: ...`."""
    found = _FIELD.match(message)
    return found[0] if found and found[1] in fields else None


def refused_fields(errors: Sequence[Any], fields: Collection[str]) -> Refused:
    """The answer to fields that do not fit their schema, in the words of this kit. errors: pydantic's."""
    first = errors[0]
    places = [str(part) for part in first["loc"] if part != "body"]
    name = "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in places).lstrip(".")
    kind, more = first["type"], f" ({len(errors)} fields are wrong.)" if len(errors) > 1 else ""
    if not places:
        said = "The body is not a JSON object. Give one, with the content type application/json."
    elif kind == "missing":
        said = f"{name} is missing. Give it."
    elif kind == "extra_forbidden":
        said = f"{name!r:.80} is not a field of this route. Choose from {', '.join(fields)}."
    else:
        given = f"{first['input']!r:.40}"
        said = f"{name} is {given}: {first['msg'][:1].lower()}{first['msg'][1:]}."
    return Refused(422, said + more, name[:80] or None)

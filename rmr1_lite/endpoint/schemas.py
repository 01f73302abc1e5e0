"""What goes in and out, as pydantic models: the OpenAPI schema is made from them.

Bodies are read strictly: an unknown field, "2" for 2 and "yes" for true are errors. The texts themselves are
checked by `rmr1_lite.api.inputs`, in the words of the Python interface. Results are that interface's
`to_dict()`; the models describe them and change nothing.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from rmr1_lite.types import Label, Order, Status

_TURNS = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["role", "content"],
        "properties": {
            "role": {"enum": ["system", "user", "assistant"]},
            "content": {"type": "string"},
        },
    },
}
_TEXT = {"anyOf": [{"type": "string"}, _TURNS]}
PromptText = Annotated[
    Any, WithJsonSchema({**_TEXT, "description": "the user's request, or chat turns that end with it"})
]
ResponseText = Annotated[
    Any, WithJsonSchema({**_TEXT, "description": "a response, or chat turns that end with it"})
]
Responses = Annotated[Any, WithJsonSchema({"type": "array", "items": _TEXT, "minItems": 2})]
Votes = Annotated[int, Field(ge=1, description="judge calls per order; more than one needs a temperature")]
Chains = Annotated[bool, Field(description="also return the judge's texts and their parts")]

_PROMPT, _RIGHT, _WRONG = "Sort d a c from first to last.", "a c d", "d a c"


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class CompareRequest(Body):
    """Which of two responses is better?"""

    model_config = ConfigDict(json_schema_extra={"examples": [{"prompt": _PROMPT, "a": _RIGHT, "b": _WRONG}]})
    prompt: PromptText
    a: ResponseText
    b: ResponseText
    both_orders: Annotated[bool, Field(description="also judge with the responses swapped")] = True
    votes: Votes = 1
    confidence: Annotated[
        bool, Field(description="read the verdict's log-probability, if the model runs in this process")
    ] = True
    chains: Chains = True


class RankRequest(Body):
    """The order of several responses, by a round robin in both orders (/rank) or a knockout (/best-of)."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"prompt": _PROMPT, "responses": [_RIGHT, _WRONG, "c d a"]}]}
    )
    prompt: PromptText
    responses: Responses
    votes: Votes = 1
    chains: Chains = True


class ScoreRequest(Body):
    """How good is one response, compared with a reference or a panel of answers? With neither, the panel
    is drawn from the stored answers (option --answers; nano's world writes its own)."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"prompt": _PROMPT, "response": _RIGHT, "reference": _WRONG}]}
    )
    prompt: PromptText
    response: ResponseText
    reference: ResponseText = None
    panel: Responses = None
    votes: Votes = 1
    chains: Chains = True


class Call(Body):
    """One judge call. winner: in the request's letters, whatever the order shown; null with the reason in
    status. text, parts: left out with chains=false. error: only where the call failed."""

    order: Order
    winner: Label | None
    status: Status
    text: str = ""
    parts: dict[str, str] = {}
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    error: str = ""


class Comparison(Body):
    """winner: preferred in every order judged, else null, and reason says why; nothing is guessed."""

    id: str
    winner: Label | None
    agreement: bool | None
    confidence: float | None
    confidence_from: Literal["votes", "log-probability", ""]
    reason: str
    votes: dict[Literal["A", "B", "none"], int]
    tokens: int
    seconds: float
    calls: list[Call]


class Counted(Body):
    calls: int
    unparsed: int
    failed: int
    comparisons: list[Comparison]


class Ranked(Counted):
    """places: positions in the request's list, best first; ties share a place. scores: Bradley-Terry
    log-strengths. best: null on a tie."""

    places: list[list[int]]
    scores: list[float | None]
    best: int | None


class Best(Counted):
    """best: its position in the request's list; null if several are tied, which `level` then holds. saved:
    judge calls saved compared with /rank."""

    best: int | None
    text: str | None
    level: list[int]
    saved: int


class Score(Counted):
    """value: share of parsed judge calls that prefer the response. low, high: 95 % bounds over a panel."""

    value: float | None
    low: float | None
    high: float | None
    wins: int
    losses: int
    undecided: int


class Health(Body):
    ready: bool
    loading: bool
    stopping: bool
    judge: str
    version: str
    uptime_seconds: float


class Problem(Body):
    type: str
    message: str
    field: str | None


class ErrorBody(Body):
    error: Problem

"""The rows that travel through the kit: Pair -> prompt -> Generation -> Verdict -> Judgment -> EvalResult.

One shape from data to SFT to GRPO to evaluation to app. Floor 0: standard library only, so that `--help`, the
parser and the rewards never wait for torch.

Letters and orders. A `Pair` stores its two responses as A and B. Shown in order "ab" the judge sees them as
stored, in order "ba" swapped. A `Verdict` names the *position shown*; `Look.label` is that letter
translated back to the pair.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict, get_args

Label = Literal["A", "B"]
Order = Literal["ab", "ba"]
ORDERS: tuple[Order, ...] = ("ab", "ba")
OTHER: dict[str, Label] = {"A": "B", "B": "A"}


class InputError(ValueError):
    """The caller's input is wrong: the message names file, row, field and what to do about it."""


class EngineStopped(InputError):
    """A failure that every further request would meet too: the server's words and the remedy."""


class AnswersPending(EngineStopped):
    """Requests were written for others to answer, and some have no answer yet: how many, and where."""


class TrainingStopped(RuntimeError):
    """A training met a stop condition: the message says which, and what to change."""


class Message(TypedDict):
    """One chat turn; role is "system", "user" or "assistant"."""

    role: str
    content: str


@dataclass(frozen=True)
class Pair:
    """Two responses to one conversation, and which of them is better (if known).

    prompt: the conversation up to and including the last user turn, oldest first.
    label: the letter of the better response, None when unknown.
    section: the benchmark section or task family, for reports.
    meta: other fields of the source row (JSON values only); the judge never sees them.
    """

    id: str
    prompt: tuple[Message, ...]
    response_a: str
    response_b: str
    label: Label | None = None
    section: str = ""
    meta: dict[str, Any] = field(default_factory=dict)


# "ok" alone carries a letter. The first six come from the parser, the others from the engine:
#   end_unknown  the server did not say whether the text had ended
#   too_long     the prompt did not fit into the context, nothing was generated
#   clipped      the server truncated the prompt, so the judge did not see all of it
#   filtered     a content filter withheld the text
#   error        the request failed
Status = Literal[
    "ok",
    "missing",
    "conflict",
    "trailing",
    "truncated",
    "end_unknown",
    "too_long",
    "clipped",
    "filtered",
    "error",
]
STATUSES: tuple[Status, ...] = get_args(Status)
# judge calls without a text to parse; those that carry a message are repeated on resume
NOT_JUDGED: tuple[Status, ...] = ("too_long", "clipped", "filtered", "error")


# why a Generation holds no text to parse
Problem = Literal["error", "filtered", "clipped"]


@dataclass(frozen=True)
class Section:
    """One tagged part of a chain: `closed` is False while it still streams (or was never closed)."""

    name: str
    text: str
    closed: bool = True


@dataclass(frozen=True)
class Verdict:
    """The parsed verdict: the letter of the position shown, or None with the reason in `status`."""

    shown_label: Label | None
    status: Status
    sections: tuple[Section, ...] = ()

    def section(self, name: str) -> str | None:
        """Text of the first section called `name`, None when the chain has none."""
        return next((s.text for s in self.sections if s.name == name), None)


@dataclass(frozen=True)
class Generation:
    """What an engine wrote for one prompt.

    finished: the model stopped by itself (finish reason "stop"), not at the length limit; None when a server
    did not say. thought_open: the chat template had already written `<think>`, so the text starts inside a
    thought. error: a message when there is no text to read; problem says which kind of failure it was.
    too_long: the prompt did not fit the context. seconds: wall time attributed to this row (batch time / rows
    of the batch).
    """

    text: str
    finished: bool | None = True
    thought_open: bool = False
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    too_long: bool = False
    error: str | None = None
    problem: Problem = "error"


@dataclass(frozen=True)
class Look:
    """One look at a pair in one order. `label` is in the pair's own letters, `verdict.shown_label` in the
    letters shown."""

    order: Order
    generation: Generation
    verdict: Verdict

    @property
    def label(self) -> Label | None:
        shown = self.verdict.shown_label
        return shown if shown is None or self.order == "ab" else OTHER[shown]

    @property
    def status(self) -> Status:
        return self.verdict.status


@dataclass(frozen=True)
class Judgment:
    """All looks of one judge at one pair (k votes per order give k looks per order)."""

    pair_id: str
    looks: tuple[Look, ...]

    @property
    def votes(self) -> dict[str, int]:
        """Looks for A, for B, and without a parsed verdict."""
        labels = [look.label for look in self.looks]
        return {"A": labels.count("A"), "B": labels.count("B"), "none": labels.count(None)}

    @property
    def label(self) -> Label | None:
        """The majority letter over all looks; None when the votes are tied or nothing was parsed."""
        votes = self.votes
        if votes["A"] == votes["B"]:
            return None
        return "A" if votes["A"] > votes["B"] else "B"

    def label_in(self, order: Order) -> Label | None:
        """The majority letter of the looks in one order; None when tied or unparsed."""
        labels = [look.label for look in self.looks if look.order == order]
        a, b = labels.count("A"), labels.count("B")
        if a == b:
            return None
        return "A" if a > b else "B"

    def right(self, pair: Pair) -> bool:
        """Whether it names the better response in every order that was judged."""
        orders = {look.order for look in self.looks}
        return pair.label is not None and all(self.label_in(order) == pair.label for order in orders)

    @property
    def consistent(self) -> bool:
        """Every look was parsed and all name the same response."""
        return len({look.label for look in self.looks}) == 1 and self.looks[0].label is not None


@dataclass(frozen=True)
class GroupResult:
    """A part of an evaluation: the pairs of one section, or those whose better response is the longer one.

    As in EvalResult; low and high are the 95 % bounds of strict_accuracy. a_share is nan where no look was
    parsed.
    """

    n: int
    strict_accuracy: float
    accuracy: float
    flip_rate: float
    a_share: float
    unparsed: float
    strict_accuracy_low: float
    strict_accuracy_high: float


@dataclass(frozen=True)
class EvalResult:
    """One judge on one set of pairs. Shares and accuracies are in [0, 1]; `intervals` holds 95 % bounds by
    metric name.

    strict_accuracy: right in both orders. accuracy: mean over both orders. flip_rate: both looks parsed,
    letters differ. a_share: share of parsed looks that name position A. unparsed: looks without a verdict,
    whatever the reason; `statuses` splits them. n: pairs.
    """

    name: str
    n: int
    strict_accuracy: float
    accuracy: float
    flip_rate: float
    a_share: float
    unparsed: float
    mean_tokens: float
    seconds: float
    statuses: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    sections: dict[str, GroupResult] = field(default_factory=dict)

"""What the Python calls return: frozen values that print as a sentence and go to JSON with `to_dict()`.

A winner is named only if the judge preferred it in every order judged. If the orders differ, or a
call is unparsed, `winner` is None and `reason` says why; nothing is guessed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from rmr1_lite.types import NOT_JUDGED, ORDERS, Generation, Judgment, Label, Look, Order, Pair, Status

# statuses in words
UNPARSED = {
    "missing": "no verdict in the text",
    "conflict": "two verdicts in the text",
    "trailing": "text after the verdict",
    "truncated": "the text ended at the token limit",
    "end_unknown": "the server did not say whether the text had ended",
    "too_long": "the prompt does not fit into the context",
    "clipped": "the server truncated the prompt",
    "filtered": "a content filter blocked the text",
    "error": "the call failed",
}
Source = Literal["votes", "log-probability", ""]


@dataclass(frozen=True)
class JudgeCall:
    """One call: the pair in one order. winner: in the caller's letters, whatever the order shown; None when
    the text could not be parsed, with the reason in `status`. parts: the chain's tagged sections by name
    (type, rubric, solution, eval). error: the engine's message when the call failed."""

    order: Order
    winner: Label | None
    status: Status
    text: str
    parts: dict[str, str]
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    error: str = ""

    @staticmethod
    def of(look: Look) -> JudgeCall:
        """The call behind a stored look."""
        written: Generation = look.generation
        parts: dict[str, str] = {}
        for section in look.verdict.sections:
            parts.setdefault(section.name, section.text)
        return JudgeCall(
            look.order,
            look.label,
            look.status,
            written.text,
            parts,
            written.prompt_tokens,
            written.completion_tokens,
            written.seconds,
            written.error or "",
        )


@dataclass(frozen=True)
class Comparison:
    """A judge's verdict on two responses.

    winner: "A" (the first response) or "B", preferred in every order judged; None otherwise.
    agreement: both orders were parsed and name the same response; None when only one order was judged.
    confidence: probability of the winner in [0.5, 1]; None without a winner, or if it is unknown.
    confidence_from: "votes" (share of sampled calls), "log-probability" (of the letters, after the chains of
    both orders), or "".
    """

    pair: Pair = field(repr=False)
    winner: Label | None
    agreement: bool | None
    confidence: float | None
    confidence_from: Source
    calls: tuple[JudgeCall, ...] = field(repr=False)
    judgment: Judgment = field(repr=False)

    @staticmethod
    def of(pair: Pair, judgment: Judgment, probability_a: float | None = None) -> Comparison:
        """From a judgment. probability_a: that A is the better one, by log-probability."""
        orders = [order for order in ORDERS if any(look.order == order for look in judgment.looks)]
        labels = [judgment.label_in(order) for order in orders]
        winner = labels[0] if len(set(labels)) == 1 else None
        agreement = winner is not None if len(orders) > 1 else None
        confidence, source = _confidence(judgment, winner, len(orders), probability_a)
        calls = tuple(JudgeCall.of(look) for look in judgment.looks)
        return Comparison(pair, winner, agreement, confidence, source, calls, judgment)

    @property
    def better(self) -> str | None:
        """The text of the winner."""
        texts = {"A": self.pair.response_a, "B": self.pair.response_b}
        return texts[self.winner] if self.winner else None

    @property
    def votes(self) -> dict[str, int]:
        """Calls for A, for B, and unparsed."""
        return self.judgment.votes

    @property
    def parts(self) -> dict[str, str]:
        """The chain's sections of the first call that names the winner, else of the first call."""
        named = [call for call in self.calls if self.winner and call.winner == self.winner]
        return (named or list(self.calls))[0].parts

    @property
    def failed(self) -> bool:
        """Whether a call gave no text: worth retrying, unlike an unparsed verdict."""
        return any(call.status in NOT_JUDGED for call in self.calls)

    @property
    def reason(self) -> str:
        """Why there is no winner, "" when there is one."""
        if self.winner:
            return ""
        unparsed = [call for call in self.calls if call.winner is None]
        if unparsed:
            call = unparsed[0]
            said = f" ({call.error})" if call.error else ""
            return f"{len(unparsed)} of {len(self.calls)} calls unparsed: {UNPARSED[call.status]}{said}"
        return "the two orders name different responses" if len(self.calls) == 2 else "the votes are tied"

    @property
    def tokens(self) -> int:
        """Tokens generated, over all calls; 0 if a server reports none."""
        return sum(call.completion_tokens for call in self.calls)

    @property
    def seconds(self) -> float:
        """Wall time attributed to the calls."""
        return sum(call.seconds for call in self.calls)

    def to_dict(self) -> dict[str, Any]:
        """JSON values: the verdict first, then every call with its text."""
        return {
            "id": self.pair.id,
            "winner": self.winner,
            "agreement": self.agreement,
            "confidence": self.confidence,
            "confidence_from": self.confidence_from,
            "reason": self.reason,
            "votes": self.votes,
            "tokens": self.tokens,
            "seconds": round(self.seconds, 3),
            "calls": [call_row(call) for call in self.calls],
        }

    def __str__(self) -> str:
        if self.winner is None:
            return f"no winner: {self.reason}"
        how = {True: " in both orders", False: "", None: " in one order"}[self.agreement]
        sure = f", confidence {self.confidence:.2f}" if self.confidence is not None else ""
        return f"{self.winner} wins{how}{sure}"


def call_row(call: JudgeCall) -> dict[str, Any]:
    """A call as JSON values."""
    row: dict[str, Any] = {name: getattr(call, name) for name in ("order", "winner", "status", "text")}
    row |= {"parts": dict(call.parts), "prompt_tokens": call.prompt_tokens}
    row |= {"completion_tokens": call.completion_tokens, "seconds": round(call.seconds, 3)}
    return row | ({"error": call.error} if call.error else {})


def _confidence(
    judgment: Judgment, winner: Label | None, orders: int, probability_a: float | None
) -> tuple[float | None, Source]:
    """Votes if there are several per order, else the log-probability."""
    if winner is None:
        return None, ""
    votes = judgment.votes
    if sum(votes.values()) > orders:
        return votes[winner] / (votes["A"] + votes["B"]), "votes"
    if probability_a is None:
        return None, ""
    # the letters' probabilities may contradict the verdicts; then there is no confidence
    return max(0.5, probability_a if winner == "A" else 1 - probability_a), "log-probability"


@dataclass(frozen=True)
class Ranked:
    """Responses in order. places: groups of positions in the caller's list, best first; equal texts and ties
    share a group. scores: Bradley-Terry log-strengths by response, None without a parsed call. best:
    the one ahead of all others, None on a tie. unparsed: calls without a verdict."""

    places: tuple[tuple[int, ...], ...]
    scores: tuple[float | None, ...]
    best: int | None
    calls: int
    unparsed: int
    failed: int
    comparisons: tuple[Comparison, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON values, with every comparison."""
        return _with_comparisons(self, ("places", "scores", "best", "calls", "unparsed", "failed"))

    def __str__(self) -> str:
        order = " > ".join("=".join(map(str, group)) for group in self.places) or "no verdict was parsed"
        return f"{order} ({self.calls} calls, {self.unparsed} unparsed)"


@dataclass(frozen=True)
class Best:
    """The best of several responses. best: its position in the caller's list (the first of equal texts), None
    if the judge could not settle it; then `level` holds the tied ones. calls, saved: calls made, and calls
    saved compared with a round robin of all pairs."""

    best: int | None
    text: str | None
    level: tuple[int, ...]
    calls: int
    saved: int
    unparsed: int
    failed: int
    comparisons: tuple[Comparison, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON values, with every comparison."""
        names = ("best", "text", "level", "calls", "saved", "unparsed", "failed")
        return _with_comparisons(self, names)

    def __str__(self) -> str:
        what = f"no best: {self.level} are tied" if self.best is None else f"response {self.best} is best"
        return f"{what} ({self.calls} calls, {self.saved} fewer than a round robin)"


@dataclass(frozen=True)
class Score:
    """How a response compares with a reference or a panel. value: share of parsed calls that prefer it, in
    [0, 1]; None without a parsed call. low, high: 95 % bounds, resampling the panel; None for one
    reference. wins, losses: comparisons won and lost in every order; undecided: the others."""

    value: float | None
    low: float | None
    high: float | None
    wins: int
    losses: int
    undecided: int
    calls: int
    unparsed: int
    failed: int
    comparisons: tuple[Comparison, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON values, with every comparison."""
        names = ("value", "low", "high", "wins", "losses", "undecided", "calls", "unparsed", "failed")
        return _with_comparisons(self, names)

    def __str__(self) -> str:
        if self.value is None:
            return f"no score: none of {self.calls} calls could be parsed"
        bounds = f" ({self.low:.2f} to {self.high:.2f})" if self.low is not None else ""
        return f"{self.value:.2f}{bounds}: {self.wins} won, {self.losses} lost, {self.undecided} undecided"


def _with_comparisons(result: Ranked | Best | Score, names: tuple[str, ...]) -> dict[str, Any]:
    row = {name: getattr(result, name) for name in names}
    return row | {"comparisons": [comparison.to_dict() for comparison in result.comparisons]}

"""Are the new answers of an application at least as good as the old ones? For tests, with a budget.

    assert_at_least_as_good(judge, prompts, old_answers, new_answers)

Each prompt is one trial: 1 if the judge prefers the new answer in both orders, 0 if it prefers the old
one, a half if the orders differ or the answers are equal. The mean over prompts gets an interval that
is valid at every moment (`rmr1_lite.evaluation.sequential`), so the test stops as soon as the result is clear
and makes no unnecessary judge calls: "as good" when the whole interval is above one half minus the margin,
"worse" when it is below one half. If neither is reached within the budget the result is "unclear", which
fails unless the caller says otherwise.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from rmr1_lite.types import InputError

if TYPE_CHECKING:
    from rmr1_lite.api.inputs import Prompt
    from rmr1_lite.api.pairwise import PairwiseJudge
    from rmr1_lite.api.results import Comparison

# texts by prompt, or a function that makes a prompt's text when it is needed
Answers = Sequence[str] | Callable[[Any], str]
Outcome = Literal["as good", "worse", "unclear"]
CALLS = 2  # per prompt: both orders


@dataclass(frozen=True)
class Acceptance:
    """outcome: see the module. share: mean over the trials, one half if old and new are tied. low, high:
    bounds that are valid at every moment. calls: made; budget: allowed. same: prompts whose answers are
    equal.
    unparsed: prompts without two parsed verdicts, which are not trials."""

    outcome: Outcome
    share: float | None
    low: float
    high: float
    margin: float
    trials: int
    prompts: int
    wins: int
    losses: int
    same: int
    unparsed: int
    calls: int
    budget: int
    lost: tuple[Comparison, ...] = field(repr=False, default=())

    def report(self, most: int = 5) -> str:
        """Readable lines: the result, its basis, and the prompts whose old answer was preferred."""
        mean = "none" if self.share is None else f"{self.share:.2f}"
        lines = [
            f"New answers: {self.outcome}. Preferred in {mean} of the trials (0.50: tie), 95 % bounds "
            f"{self.low:.2f} to {self.high:.2f}, margin {self.margin:.2f}.",
            f"{self.trials} of {self.prompts} prompts tried: {self.wins} new better, {self.losses} old "
            f"better, {self.trials - self.wins - self.losses} tied ({self.same} with equal answers), "
            f"{self.unparsed} unparsed; {self.calls} of at most {self.budget} judge calls.",
        ]
        if self.outcome == "unclear":
            lines.append(
                "Not clear within the budget: give more prompts, a larger budget or a larger margin."
            )
        for comparison in self.lost[:most]:
            asked = comparison.pair.prompt[-1]["content"]
            lines.append(f"- old better: {_short(asked)}")
            lines.append(f"    because: {_short(comparison.calls[0].parts.get('eval', ''))}")
        if len(self.lost) > most:
            lines.append(f"- and {len(self.lost) - most} more")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.report()


def compare_answers(
    judge: PairwiseJudge,
    prompts: Sequence[Prompt],
    old: Answers,
    new: Answers,
    *,
    margin: float = 0.1,
    budget: int = 400,
    seed: int = 0,
    batch: int = 8,
) -> Acceptance:
    """Whether the new answers are at least as good. old, new: one text per prompt, or a function of the
    prompt, called for the prompts that are tried. margin: how far below one half the mean may be. budget:
    maximum judge calls. seed: order of the prompts. batch: prompts judged together. Raises InputError."""
    _check(prompts, old, new, margin, budget, batch)
    order = random.Random(seed).sample(range(len(prompts)), len(prompts))
    trial = _Trial(margin, budget, len(prompts))
    while order and trial.outcome == "unclear" and trial.calls + CALLS <= budget:
        room = min(batch, (budget - trial.calls) // CALLS)
        chosen, order = order[:room], order[room:]
        rows = [(prompts[k], _answer(old, prompts, k), _answer(new, prompts, k)) for k in chosen]
        different = [row for row in rows if row[1].strip() != row[2].strip()]
        trial.add_equal(len(rows) - len(different))
        if different:
            # the new answer is A, which is no advantage: both orders are judged
            items = [(prompt, after, before) for prompt, before, after in different]
            trial.add(judge.compare_many(items, confidence=False))
    return trial.result()


def assert_at_least_as_good(
    judge: PairwiseJudge,
    prompts: Sequence[Prompt],
    old: Answers,
    new: Answers,
    *,
    when_unclear: Literal["fail", "pass"] = "fail",
    **options: Any,
) -> Acceptance:
    """As `compare_answers`, with its options; AssertionError with the report when the new answers are worse,
    or when the result stays unclear and `when_unclear` is "fail"."""
    if when_unclear not in ("fail", "pass"):
        raise InputError(f"when_unclear is {when_unclear!r}. Give fail or pass.")
    result = compare_answers(judge, prompts, old, new, **options)
    # a judge that said nothing, like a server that is down, is no reason to pass
    nothing_said = result.outcome == "unclear" and not result.trials
    if nothing_said or result.outcome == "worse" or (result.outcome == "unclear" and when_unclear == "fail"):
        raise AssertionError(result.report())
    return result


class _Trial:
    """Counts the trials and computes the interval."""

    def __init__(self, margin: float, budget: int, prompts: int) -> None:
        from rmr1_lite.evaluation.sequential import BettingInterval

        self.margin, self.budget, self.prompts = margin, budget, prompts
        self.interval = BettingInterval()
        self.values: list[float] = []
        self.same = self.unparsed = self.calls = 0
        self.lost: list[Comparison] = []

    @property
    def outcome(self) -> Outcome:
        if self.interval.low >= 0.5 - self.margin:
            return "as good"
        return "worse" if self.interval.high < 0.5 else "unclear"

    def add_equal(self, count: int) -> None:
        self.same += count
        for _ in range(count):
            self._value(0.5)

    def add(self, comparisons: Sequence[Comparison]) -> None:
        for comparison in comparisons:
            self.calls += len(comparison.calls)
            if comparison.votes["none"]:
                self.unparsed += 1
                continue
            self._value({"A": 1.0, "B": 0.0}.get(comparison.winner or "", 0.5))
            if comparison.winner == "B":
                self.lost.append(comparison)

    def _value(self, value: float) -> None:
        self.values.append(value)
        self.interval.add(value)

    def result(self) -> Acceptance:
        n = len(self.values)
        return Acceptance(
            self.outcome,
            sum(self.values) / n if n else None,
            max(0.0, self.interval.low),
            min(1.0, self.interval.high),
            self.margin,
            n,
            self.prompts,
            self.values.count(1.0),
            self.values.count(0.0),
            self.same,
            self.unparsed,
            self.calls,
            self.budget,
            tuple(self.lost),
        )


def _answer(answers: Answers, prompts: Sequence[Prompt], place: int) -> str:
    text = answers(prompts[place]) if callable(answers) else answers[place]
    if not isinstance(text, str) or not text.strip():
        raise InputError(
            f"The answer to prompts[{place}] is empty or not a text. Give every prompt an answer."
        )
    return text


def _check(
    prompts: Sequence[Prompt], old: Answers, new: Answers, margin: float, budget: int, batch: int
) -> None:
    if isinstance(prompts, str) or len(prompts) < 1:
        raise InputError("prompts is a text or empty. Give a list of prompts.")
    for name, answers in (("old", old), ("new", new)):
        if isinstance(answers, str) or not (callable(answers) or len(answers) == len(prompts)):
            raise InputError(
                f"{name} must hold one answer per prompt ({len(prompts)}), or be a function of the prompt."
            )
    if not 0 <= margin < 0.5:
        raise InputError(f"margin is {margin}. Give a number from 0 to below 0.5.")
    if budget < CALLS:
        raise InputError(f"budget is {budget}. Give at least {CALLS} judge calls.")
    if batch < 1:
        raise InputError(f"batch is {batch}. Give a whole number of at least 1.")


def _short(text: str, most: int = 160) -> str:
    words = " ".join(text.split())
    return words if len(words) <= most else f"{words[: most - 4]} ..."

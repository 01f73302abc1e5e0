"""Judgments -> metrics: how often a judge is right in both orders, how often it flips, and how sure we are of
it.

What counts. Every pair is judged in both orders. In one order the judge's letter is the majority of its
looks there (one look, or k votes); tied votes, or no parsed ones, give no letter. A missing letter is
never half a point: it is simply not right, and `unparsed` and `statuses` report how many there were.

    n                pairs
    right_ab, right_ba   1 if the letter in that order, in the pair's own letters, is the pair's label, else 0
    strict_accuracy  sum(right_ab * right_ba) / n
    accuracy         sum(right_ab + right_ba) / 2n
    flip_rate        pairs with a letter in both orders, and not the same one, / n
    a_share          looks whose verdict is position A / looks with a verdict
    unparsed         looks without a verdict / looks          statuses splits the looks by reason

So accuracy - strict_accuracy = (flip_rate + share of pairs right in one order and without a letter in the
other) / 2.

Use: `score("sft", pairs, judgments, seconds)`, `paired_difference(sft_judgments, grpo_judgments, pairs)`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from rmr1_lite.evaluation.intervals import clustered_interval, mcnemar_p, newcombe_paired, wilson_interval
from rmr1_lite.types import ORDERS, STATUSES, EvalResult, GroupResult, InputError, Judgment, Pair


@dataclass(frozen=True)
class PairedDifference:
    """Second judge minus first on the same n pairs: `difference` with its 95 % bounds, exact McNemar
    `p_value`.

    gained: pairs only the second gets right (in both orders). lost: pairs only the first gets right.
    """

    metric: str
    difference: float
    low: float
    high: float
    p_value: float
    n: int
    gained: int
    lost: int


@dataclass(frozen=True)
class _Tally:
    """One judged pair as counts; the sums over pairs are all that the metrics need."""

    section: str
    right: int  # orders with the right letter: 0, 1 or 2
    flip: bool
    a: int
    readable: int
    looks: int
    tokens: int

    @property
    def strict(self) -> bool:
        return self.right == len(ORDERS)


def score(
    name: str, pairs: Sequence[Pair], judgments: Iterable[Judgment], seconds: float, *, seed: int = 0
) -> EvalResult:
    """All metrics of one judge on `pairs`, with 95 % intervals (see the module text for each formula).

    seconds: wall time of the judging. seed: of the bootstrap, so that the same judgments give the same
    interval. Errors: InputError for a pair without a label, without a judgment, judged twice, or judged in
    one order only.
    """
    judged = _match_judgments(pairs, judgments)
    tallies = [_count_pair(pair, judgment) for pair, judgment in judged]
    looks = [look for _, judgment in judged for look in judgment.looks]
    counts = Counter(look.status for look in looks)
    return EvalResult(
        name=name,
        n=len(tallies),
        **_tally_shares(tallies),
        mean_tokens=sum(t.tokens for t in tallies) / len(looks),
        seconds=float(seconds),
        statuses={
            status: counts[status] / len(looks) for status in STATUSES if counts[status] or status == "ok"
        },
        intervals=_tally_intervals(tallies, seed),
        sections=_by_section(tallies),
    )


def paired_difference(
    first: Iterable[Judgment], second: Iterable[Judgment], pairs: Sequence[Pair]
) -> PairedDifference:
    """Strict accuracy of `second` minus that of `first` on the same pairs.

    Right means right in both orders. The interval is Newcombe's for matched pairs, the p-value McNemar's
    exact one. Errors: InputError as in `score`.
    """
    rights = [
        (_count_pair(pair, one).strict, _count_pair(pair, two).strict)
        for (pair, one), (_, two) in zip(
            _match_judgments(pairs, first), _match_judgments(pairs, second), strict=True
        )
    ]
    both, lost = rights.count((True, True)), rights.count((True, False))
    gained, neither = rights.count((False, True)), rights.count((False, False))
    low, high = newcombe_paired(both, lost, gained, neither)
    difference = (gained - lost) / len(rights)
    p_value = mcnemar_p(lost, gained)
    return PairedDifference("strict_accuracy", difference, low, high, p_value, len(rights), gained, lost)


def length_bias(pairs: Sequence[Pair], judgments: Iterable[Judgment]) -> dict[str, GroupResult]:
    """Metrics separately for pairs whose right response is "longer", "shorter" or "equal" in characters.

    A judge that reads is right about equally often on both; one that rewards length is better on "longer". A
    group without pairs is left out.
    """
    groups: dict[str, list[_Tally]] = {}
    for pair, judgment in _match_judgments(pairs, judgments):
        groups.setdefault(_length_of_right(pair), []).append(_count_pair(pair, judgment))
    return {name: _group_result(groups[name]) for name in ("longer", "shorter", "equal") if name in groups}


def _length_of_right(pair: Pair) -> str:
    a, b = len(pair.response_a), len(pair.response_b)
    if a == b:
        return "equal"
    return "longer" if (a > b) == (pair.label == "A") else "shorter"


def as_dict(result: EvalResult) -> dict[str, Any]:
    """JSON values only: see `json_values`."""
    return json_values(asdict(result))


def json_values(value: Any) -> Any:
    """The same value for JSON: tuples become lists, and an undefined metric (nan) becomes None."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: json_values(item) for key, item in value.items()}
    return [json_values(item) for item in value] if isinstance(value, list | tuple) else value


def from_dict(row: Mapping[str, Any]) -> EvalResult:
    """The inverse of `as_dict`; other keys are ignored, a missing one is an InputError."""
    names = [item.name for item in fields(EvalResult)]
    if missing := [name for name in names if name not in row]:
        raise InputError(
            f"result {row.get('name', '?')!r}: field {missing[0]!r} is missing. Write it with as_dict."
        )
    values = {name: _number_or_nan(row[name]) for name in names}
    values["intervals"] = {
        k: (_number_or_nan(low), _number_or_nan(high)) for k, (low, high) in row["intervals"].items()
    }
    values["sections"] = {name: group_from_dict(group) for name, group in row["sections"].items()}
    return EvalResult(**values)


def known_fields(kind: type, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row's values for a dataclass's fields, None for a missing one; other keys are ignored."""
    return {item.name: row.get(item.name) for item in fields(kind)}


def group_from_dict(row: Mapping[str, Any]) -> GroupResult:
    """A GroupResult from JSON values; a missing share is nan."""
    return GroupResult(**{item.name: _number_or_nan(row.get(item.name)) for item in fields(GroupResult)})


def _match_judgments(pairs: Sequence[Pair], judgments: Iterable[Judgment]) -> list[tuple[Pair, Judgment]]:
    """Each pair with its judgment, in the order of `pairs`; judgments of other pairs are ignored."""
    if not pairs:
        raise InputError("No pairs to score. Give at least one labelled pair.")
    by_id: dict[str, Judgment] = {}
    for judgment in judgments:
        if judgment.pair_id in by_id:
            raise InputError(f"pair {judgment.pair_id!r:.80} is judged twice. Keep one judgment per pair.")
        by_id[judgment.pair_id] = judgment
    if len({pair.id for pair in pairs}) < len(pairs):
        raise InputError("Two pairs have the same id. Give every pair its own.")
    return [(pair, _check_judgment(pair, by_id.get(pair.id))) for pair in pairs]


def _check_judgment(pair: Pair, judgment: Judgment | None) -> Judgment:
    name = f"pair {pair.id!r:.80}"
    if pair.label is None:
        raise InputError(f"{name} has no label. Only labelled pairs can be scored; use `judge` for others.")
    if judgment is None:
        raise InputError(f"{name} has no judgment. Finish the evaluation, or give only the judged pairs.")
    if missing := set(ORDERS) - {look.order for look in judgment.looks}:
        raise InputError(
            f"{name} was never shown in order {', '.join(sorted(missing))}. Judge it in both orders."
        )
    return judgment


def _count_pair(pair: Pair, judgment: Judgment) -> _Tally:
    letters = [judgment.label_in(order) for order in ORDERS]
    shown = [look.verdict.shown_label for look in judgment.looks]
    return _Tally(
        section=pair.section,
        right=letters.count(pair.label),
        flip=None not in letters and letters[0] != letters[1],
        a=shown.count("A"),
        readable=len(shown) - shown.count(None),
        looks=len(shown),
        tokens=sum(look.generation.completion_tokens for look in judgment.looks),
    )


def _tally_shares(tallies: Sequence[_Tally]) -> dict[str, float]:
    readable, looks = sum(t.readable for t in tallies), sum(t.looks for t in tallies)
    return {
        "strict_accuracy": sum(t.strict for t in tallies) / len(tallies),
        "accuracy": sum(t.right for t in tallies) / (len(ORDERS) * len(tallies)),
        "flip_rate": sum(t.flip for t in tallies) / len(tallies),
        "a_share": sum(t.a for t in tallies) / readable if readable else math.nan,
        "unparsed": (looks - readable) / looks,
    }


def _tally_intervals(tallies: Sequence[_Tally], seed: int) -> dict[str, tuple[float, float]]:
    n = len(tallies)
    return {
        "strict_accuracy": wilson_interval(sum(t.strict for t in tallies), n),
        "accuracy": clustered_interval([(t.right, len(ORDERS)) for t in tallies], seed),
        "flip_rate": wilson_interval(sum(t.flip for t in tallies), n),
        "a_share": clustered_interval([(t.a, t.readable) for t in tallies], seed),
        "unparsed": clustered_interval([(t.looks - t.readable, t.looks) for t in tallies], seed),
    }


def _by_section(tallies: Sequence[_Tally]) -> dict[str, GroupResult]:
    names = sorted({t.section for t in tallies if t.section})
    return {name: _group_result([t for t in tallies if t.section == name]) for name in names}


def _group_result(tallies: Sequence[_Tally]) -> GroupResult:
    low, high = wilson_interval(sum(t.strict for t in tallies), len(tallies))
    return GroupResult(
        n=len(tallies), **_tally_shares(tallies), strict_accuracy_low=low, strict_accuracy_high=high
    )


def _number_or_nan(value: Any) -> Any:
    return math.nan if value is None else value

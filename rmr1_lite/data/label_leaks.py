"""Finds what gives a label away: words, template tokens, names, turn counts and lengths that occur on one
side only.

Every feature is a yes or no about a text. Where the better and the worse response differ in it, a coin should
decide which of the two has it; if the prompt has it, A and B should win as often as elsewhere. Each
text counts once: a pair in both orders, or one chosen response against ten rejected ones, is not more
evidence than one row. A binomial test with Bonferroni's correction over all features detects deviations and
keeps the rate of false alarms on clean data below `ALPHA` overall.

    leak    it predicts the side in at least 9 of 10 rows (lower end of the 95 % interval)
    lean    far better than chance, but less certain: often a matter of style or quality, reported all the
            same
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

ALPHA = 0.002  # chance of any false alarm on clean data, over all features
LEAST = 20  # minimum rows with a feature
LEAK = 0.9
# length thresholds: a leak planted in a few rows shows at one of them
RATIOS = (
    1,
    1.5,
    2,
    3,
    4,
    6,
    8,
    12,
    16,
)
MOST = 40  # maximum signals reported
_TOKEN = re.compile(r"<\|[^|<>\s]{1,40}\|>|<[/\w]{1,30}>|\[/?[A-Z_]{2,20}\]|\w+(?:['’]\w+)?|[^\w\s]")
_TEMPLATE = re.compile(r"<\|.*\|>|</?s>|<(?:bos|eos|pad|unk|start_of_turn|end_of_turn)>|\[/?[A-Z_]{2,20}\]")
_TURN = re.compile(
    r"^\s*(?:user|human|assistant|chatbot(?: [ab])?|client|system)\s*:", re.IGNORECASE | re.MULTILINE
)


@dataclass(frozen=True)
class Row:
    """One labelled row in the audit's form. turns: of the better and the worse side, if the source has
    lists.

    label: as stored, None if a hash will place the better response. prompt: everything except the two
    responses.
    """

    id: str
    file: str
    number: int
    better: str
    worse: str
    prompt: str = ""
    label: str | None = None
    turns: tuple[int, int] = (1, 1)


@dataclass
class Signal:
    """One finding. share: of the `n` rows that have the feature, those in which it occurs on `side`."""

    kind: str
    what: str
    side: str  # "better", "worse", "A", "B"
    n: int
    share: float
    level: str  # "leak" or "lean"
    p: float
    rows: list[Row] = field(default_factory=list)
    also: list[str] = field(default_factory=list)  # features of the same rows

    def text(self) -> str:
        """One readable line."""
        of = f" (also: {', '.join(self.also[:6])})" if self.also else ""
        return (
            f"{self.level}: {self.kind} {self.what}{of}: the {self.side} side in {self.share:.1%} of "
            f"{self.n} rows"
        )


Feature = tuple[str, str]  # kind, what


def find_signals(rows: Sequence[Row]) -> list[Signal]:
    """All findings, the most certain first."""
    tested = [
        *_tested_signals(_between_sides(rows), "better", "worse"),
        *_tested_signals(_over_labels(rows), "A", "B"),
    ]
    bound = ALPHA / max(1, len(tested))
    found = [signal for signal in tested if signal.p < bound]
    for signal in found:
        signal.level = "leak" if _lower_bound(signal.n, signal.share) >= LEAK else "lean"
    found.sort(key=lambda s: (s.level, -(s.share - 0.5) * math.sqrt(s.n)))
    return _merge_alike(_with_rows(found[: 4 * MOST], rows))[:MOST]


def surface_features(text: str) -> frozenset[Feature]:
    """The features of one response."""
    tokens = set(_TOKEN.findall(text))
    found: set[Feature] = {
        ("template token" if _TEMPLATE.fullmatch(token) else "token", token) for token in tokens
    }
    found.add(("length", f"{len(text)} characters"))
    found |= {("layout", name) for name, held in _layout_features(text) if held}
    if turns := len(_TURN.findall(text)):
        found.add(("turn count", f"{turns} turn labels inside the response"))
    return frozenset(found)


def _layout_features(text: str) -> Iterator[tuple[str, bool]]:
    yield "begins with white space", text[:1].isspace()
    yield "ends with white space", text[-1:].isspace()
    yield "contains carriage returns", "\r" in text
    yield "ends without punctuation", text.rstrip()[-1:].isalnum()
    yield "contains no line break", "\n" not in text


# feature -> [rows that have it, of these with the first side, expected number by chance]
Counts = dict[Feature, list[float]]


def _between_sides(rows: Sequence[Row]) -> Counts:
    """The chance that a feature occurs on the better side, given only that this side is longer or shorter.

    The longer response holds more different words, and if it is also the better one every word would seem
    to predict the label.
    """
    counts: Counts = defaultdict(lambda: [0, 0, 0.0])
    longer = _longer_is_better(rows)
    for row in _independent_rows(rows):
        a, b = len(row.better), len(row.worse)
        for feature, side in _differing_features(row):
            counts[feature][0] += 1
            counts[feature][1] += side == "better"
            unexplained = a == b or feature[0] == "length"
            counts[feature][2] += (
                0.5 if unexplained else longer if (a > b) == (side == "better") else 1 - longer
            )
    return counts


def _independent_rows(rows: Iterable[Row]) -> Iterator[Row]:
    """Rows that do not repeat a text under the same question."""
    used: set[tuple[str, str]] = set()
    for row in rows:
        question = row.prompt or f"{row.file}, row {row.number}"
        texts = {(question, row.better), (question, row.worse)}
        if not texts & used:
            used |= texts
            yield row


def _by_question(rows: Iterable[Row]) -> Iterable[list[Row]]:
    """Rows with the same question; a row without a question is separate."""
    groups: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.prompt or (row.file, row.number)].append(row)
    return groups.values()


def _longer_is_better(rows: Iterable[Row]) -> float:
    uneven = [len(row.better) > len(row.worse) for row in rows if len(row.better) != len(row.worse)]
    return sum(uneven) / len(uneven) if uneven else 0.5


def _differing_features(row: Row) -> Iterator[tuple[Feature, str]]:
    """Features that only one side of a row has, with that side."""
    better, worse = surface_features(row.better), surface_features(row.worse)
    yield from ((feature, "better") for feature in better - worse)
    yield from ((feature, "worse") for feature in worse - better)
    if row.turns[0] != row.turns[1]:
        yield ("turn count", "more turns"), "better" if row.turns[0] > row.turns[1] else "worse"
    a, b = len(row.better), len(row.worse)
    if a != b:
        longer = "better" if a > b else "worse"
        ratio = max(a, b) / max(1, min(a, b))
        yield from (
            (("length", f"at least {least:g} times as long" if least > 1 else "longer"), longer)
            for least in RATIOS
            if ratio >= least
        )


def _over_labels(rows: Iterable[Row]) -> Counts:
    """By chance A wins as often as in all the data; the labels themselves are tested against one half."""
    labelled = [group[0] for group in _by_question(row for row in rows if row.label)]
    share = sum(row.label == "A" for row in labelled) / max(1, len(labelled))
    counts: Counts = defaultdict(lambda: [0, 0, 0.0])
    for row in labelled:
        for feature in _of_prompt(row):
            counts[feature][0] += 1
            counts[feature][1] += row.label == "A"
            counts[feature][2] += 0.5 if feature[0] == "position" else share
    return counts


def _of_prompt(row: Row) -> Iterator[Feature]:
    yield ("position", "the stored label")
    for token in set(_TOKEN.findall(row.prompt)):
        yield ("template token in the prompt" if _TEMPLATE.fullmatch(token) else "token in the prompt", token)


def _tested_signals(counts: Counts, first: str, second: str) -> list[Signal]:
    """A Signal with its p-value for every feature that occurs in enough rows."""
    import numpy as np
    from scipy.stats import binom

    held = [(feature, int(n), int(k)) for feature, (n, k, _) in counts.items() if n >= LEAST]
    if not held:
        return []
    n, k = np.array([n for _, n, _ in held]), np.array([k for *_, k in held])
    by_chance = np.array([counts[feature][2] for feature, *_ in held]) / n
    # a feature that is nearly always on one side is reported even if all of that side's texts are longer
    sure = np.array([_lower_bound(n_, max(k_, n_ - k_) / n_) >= LEAK for _, n_, k_ in held])
    by_chance = np.where(sure, 0.5, by_chance)
    p = np.minimum(1, 2 * np.minimum(binom.cdf(k, n, by_chance), binom.sf(k - 1, n, by_chance)))
    words = {what for kind, what in counts if kind.startswith("token")}
    made = []
    for ((kind, what), n_, k_), chance, p_ in zip(held, by_chance, p, strict=True):
        more = k_ > chance * n_  # than by chance
        share = (k_ if more else n_ - k_) / n_
        made.append(
            Signal(
                _feature_kind(kind, what, words),
                what,
                first if more else second,
                n_,
                share,
                "lean",
                float(p_),
            )
        )
    return made


def _feature_kind(kind: str, what: str, words: set[str]) -> str:
    """A capitalised word that never appears in lower case is most likely a name."""
    is_name = (
        kind.startswith("token") and what[:1].isupper() and what[1:].islower() and what.lower() not in words
    )
    return kind.replace("token", "name") if is_name else kind


def _lower_bound(n: int, share: float) -> float:
    """Lower end of the 95 % interval (Clopper and Pearson)."""
    from scipy.stats import beta

    k = round(n * share)
    return float(beta.ppf(0.025, k, n - k + 1)) if k else 0.0


def _with_rows(found: list[Signal], rows: Iterable[Row]) -> list[Signal]:
    """The rows of each signal in which the feature occurs on the predicted side."""
    kinds = ("token", "template token", "name", "length", "layout", "turn count")
    sides = {
        (_plain_kind(s.kind), s.what): s for s in found if s.side in ("better", "worse") and s.kind in kinds
    }
    labels = {(_plain_kind(s.kind), s.what): s for s in found if s.side in ("A", "B")}
    for row in rows:
        for feature, side in _differing_features(row) if sides else ():
            if (signal := sides.get(feature)) and signal.side == side:
                signal.rows.append(row)
        for feature in _of_prompt(row) if labels and row.label else ():
            if (signal := labels.get(feature)) and signal.side == row.label:
                signal.rows.append(row)
    return found


def _plain_kind(kind: str) -> str:
    return kind.replace("name", "token")


def _merge_alike(found: list[Signal]) -> list[Signal]:
    """Features of nearly the same rows are one finding, like the words of a planted phrase."""
    kept: list[tuple[Signal, set[tuple[str, int]]]] = []
    for signal in found:
        places = {(row.file, row.number) for row in signal.rows}
        twin = next((s for s, seen in kept if _same_rows(s, signal, seen, places)), None)
        if twin is None:
            kept.append((signal, places))
            continue
        twin.also += [signal.what] if signal.what not in twin.also else []
        known = {(row.file, row.number) for row in twin.rows}
        twin.rows += [row for row in signal.rows if (row.file, row.number) not in known]
    return [signal for signal, _ in kept]


def _same_rows(one: Signal, other: Signal, seen: set[tuple[str, int]], places: set[tuple[str, int]]) -> bool:
    """The same rows up to a tenth; the lengths of one side are one finding, whatever the threshold."""
    if one.side != other.side:
        return False
    return one.kind == other.kind == "length" or len(places & seen) >= 0.9 * len(places | seen)

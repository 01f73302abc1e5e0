"""Rows with ratings or ranks of several responses -> pairs, by a rule chosen by the user.

    best   the best response against every other
    all    every pair of responses

Both use responses that differ by more than `margin`; the rest are ties, counted and left out. Without a rule
such a row is an error: this kit does not decide whether half a point is a preference. It reads
lists next to each other (`responses` and `scores` or `ranks`), lists of objects (UltraFeedback's
`completions` with `overall_score`), and strengths of a preference (HelpSteer's `preference_strength`, below 0
where the first one is better).
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any, Literal

from rmr1_lite.storage import RowError

Rule = Literal["none", "best", "all"]
RESPONSES = ("responses", "completions", "candidates", "generations")
SCORES = ("scores", "ratings", "overall_scores")
RANKS = ("ranks", "ranking", "rank")
TEXT = ("response", "text", "content", "completion")
SCORE = ("overall_score", "score", "rating")
STRENGTHS = ("preference_strength", "overall_preference")
SIDES = (("response_1", "response_2"), ("response1", "response2"))


def pairs_of_ratings(values: Any, rule: Rule, margin: float) -> tuple[list[dict[str, Any]], int] | None:
    """(rows with chosen and rejected, ties) of a rated row, None for a row without ratings. Raises RowError
    for ratings that do not fit their responses, and for a rated row without a rule."""
    if not isinstance(values, dict):
        return None
    used, rated = _rated(values)
    if not rated:
        return None
    if rule == "none":
        said = f"holds ratings of {len(rated)} responses"
        raise RowError(used[-1], said, "choose how they become pairs: --ratings best or all")
    rest = {name: value for name, value in values.items() if name not in used and name != "id"}
    rows, ties = [], 0
    for i, j in _chosen_places(rated, rule):
        (one, first), (two, second) = rated[i], rated[j]
        if abs(first - second) <= margin:
            ties += 1
            continue
        better, worse = (one, two) if first > second else (two, one)
        row = {
            **rest,
            "chosen": better,
            "rejected": worse,
            "meta": {"ratings": [max(first, second), min(first, second)]},
        }
        rows.append(row | ({"id": f"{values['id']}-{i}-{j}"} if values.get("id") is not None else {}))
    return rows, ties


def _chosen_places(rated: list[tuple[Any, float]], rule: Rule) -> list[tuple[int, int]]:
    places = list(combinations(range(len(rated)), 2))
    if rule == "all":
        return places
    best = max(range(len(rated)), key=lambda place: rated[place][1])
    return [pair for pair in places if best in pair]


def _rated(values: dict[str, Any]) -> tuple[list[str], list[tuple[Any, float]]]:
    """(columns used, (response, score) of every response); no responses for a row without ratings."""
    for strength in STRENGTHS:
        sides = next((pair for pair in SIDES if all(name in values for name in pair)), None)
        if sides and values.get(strength) is not None:
            number = _number(strength, values[strength])
            return [*sides, strength], [(values[sides[0]], -number), (values[sides[1]], 0.0)]
    name = next((name for name in RESPONSES if isinstance(values.get(name), list)), None)
    if name is None or len(values[name]) < 2:
        return [], []
    if all(isinstance(each, dict) for each in values[name]):
        return _of_objects(name, values[name])
    scores = next((column for column in (*SCORES, *RANKS) if isinstance(values.get(column), list)), None)
    if scores is None:
        return [], []
    if len(values[scores]) != len(values[name]):
        said = f"holds {len(values[scores])} numbers for {len(values[name])} responses"
        raise RowError(scores, said, "give one for each")
    sign = -1 if scores in RANKS else 1  # rank 1 is the best
    numbers = [sign * _number(scores, value) for value in values[scores]]
    return [name, scores], list(zip(values[name], numbers, strict=True))


def _of_objects(name: str, held: list[dict[str, Any]]) -> tuple[list[str], list[tuple[Any, float]]]:
    rated = []
    for each in held:
        text = next((each[key] for key in TEXT if each.get(key) is not None), None)
        score = next((key for key in (*SCORE, *RANKS) if each.get(key) is not None), None)
        if text is None or score is None:
            return [], []
        number = _number(f"{name}.{score}", each[score])
        rated.append((text, -number if score in RANKS else number))
    return [name], rated


def _number(column: str, value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):  # nothing is above or below NaN: the pair's direction would be chance
        raise RowError(column, f"is {value!r:.40}", "give a number")
    return number

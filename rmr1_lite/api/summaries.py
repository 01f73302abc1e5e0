"""Turns comparisons into a ranking, a best response, or a score."""

from __future__ import annotations

from collections.abc import Sequence

from rmr1_lite.api.inputs import Candidates, Prompt, Response, check_candidates, check_pair
from rmr1_lite.api.results import Best, Comparison, Ranked, Score
from rmr1_lite.judging.knockout import Knockout, round_robin_matches
from rmr1_lite.types import NOT_JUDGED, ORDERS, InputError, Pair


def ranked(given: Candidates, comparisons: Sequence[Comparison]) -> Ranked:
    """The ranking from the comparisons of a round robin, with positions in the caller's list."""
    from rmr1_lite.judging.ranking import compute_ranking

    ranking = compute_ranking(len(given.texts), [comparison.judgment for comparison in comparisons])
    places = [sorted(owner for k in group for owner in given.owners[k]) for group in ranking.places]
    scores = {owner: ranking.scores[k] for k, owners in enumerate(given.owners) for owner in owners}
    return Ranked(
        tuple(map(tuple, places)),
        tuple(scores[owner] for owner in sorted(scores)),
        None if ranking.best is None else given.owners[ranking.best][0],
        *count_calls(comparisons),
        tuple(comparisons),
    )


def best_of_knockout(
    given: Candidates, result: Knockout, comparisons: Sequence[Comparison], votes: int
) -> Best:
    """The best response with its number of calls, next to that of a round robin."""
    calls, unparsed, failed = count_calls(comparisons)
    round_robin = round_robin_matches(len(given.texts)) * len(ORDERS) * votes
    settled = result.best is not None
    return Best(
        given.owners[result.best][0] if result.best is not None else None,
        given.texts[result.best] if result.best is not None else None,
        () if settled else tuple(given.owners[k][0] for k in result.level),
        calls,
        round_robin - calls,
        unparsed,
        failed,
        tuple(comparisons),
    )


def score_pairs(
    prompt: Prompt, response: Response, reference: Response | None, panel: Sequence[Response] | None
) -> list[Pair]:
    """The pairs behind a score: the response as A, each answer to compare with as B."""
    if reference is not None and panel is not None:
        raise InputError("reference and panel are both given. Give one of them.")
    if reference is not None:
        return [check_pair(prompt, response, reference, ("response", "reference"))]
    if panel is None or isinstance(panel, str) or len(panel) < 2:
        found = "missing" if panel is None else "a text" if isinstance(panel, str) else f"{len(panel)} answer"
        raise InputError(f"panel is {found}. Give a list of two or more answers, or reference=.")
    given = check_candidates(prompt, panel, "panel")
    return [
        check_pair(prompt, response, text, ("response", f"panel[{owners[0]}]"))
        for text, owners in zip(given.texts, given.owners, strict=True)
    ]


def score_of(comparisons: Sequence[Comparison]) -> Score:
    """The share of parsed calls for A, with an interval over the members of a panel."""
    from rmr1_lite.evaluation.intervals import clustered_interval

    counts = [(c.votes["A"], c.votes["A"] + c.votes["B"]) for c in comparisons]
    wins, read = (sum(column) for column in zip(*counts, strict=True))
    low = high = None
    if len(comparisons) > 1 and read:
        low, high = clustered_interval(counts)
    winners = [c.winner for c in comparisons]
    return Score(
        wins / read if read else None,
        low,
        high,
        winners.count("A"),
        winners.count("B"),
        winners.count(None),
        *count_calls(comparisons),
        tuple(comparisons),
    )


def count_calls(comparisons: Sequence[Comparison]) -> tuple[int, int, int]:
    """(calls, calls without a verdict, those of them that failed)."""
    calls = [call for comparison in comparisons for call in comparison.calls]
    return len(calls), sum(c.winner is None for c in calls), sum(c.status in NOT_JUDGED for c in calls)

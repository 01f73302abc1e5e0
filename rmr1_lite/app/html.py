"""Judgments as HTML blocks. Everything that a model or a person wrote goes through the template engine's
escaping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rmr1_lite.app import sharing, templates
from rmr1_lite.app.history import count_agreement
from rmr1_lite.app.quotes import cut, differences
from rmr1_lite.app.reasons import Cites, blocks_of
from rmr1_lite.app.service import Progress, as_row, parse_partial
from rmr1_lite.judging.ranking import Ranking
from rmr1_lite.types import OTHER, Look, Order, Verdict

REASONS = {
    "missing": "No verdict: the text holds no answer marker.",
    "conflict": "No verdict: the text names both responses.",
    "trailing": "No verdict: more text follows the answer.",
    "truncated": "No verdict: the text was truncated at the length limit.",
    "too_long": "Not judged: the question and the responses do not fit into the judge's context. Shorten "
    "them.",
    "end_unknown": "No verdict: the server did not say whether the text is complete.",
    "clipped": "Not judged: the server truncated the prompt, so the judge did not see all of it.",
    "filtered": "Not judged: the server's content filter blocked the text.",
    "error": "Not judged: the judge could not be reached or failed.",
}
SWAPPED = "Here the judge saw Response B first: its “A” is your Response B, and its “B” your Response A."
ORDER_TITLES: dict[Order, str] = {"ab": "As typed", "ba": "Swapped order"}


def judgment(progress: Progress, head: str = "") -> str:
    """One judge on one pair so far: the verdict, the pair, then the reasons."""
    pair = progress.pair
    cites = Cites(pair)
    looks = [_look_view(order, progress, cites) for order in progress.texts]
    running = not (progress.done or progress.stopped)
    parts = differences(pair.response_a, pair.response_b) if pair and progress.done else None
    return templates.judgment.render(
        head=head,
        say=_spoken(progress, head),
        running=running,
        opened=progress.opened,
        summary=_summary_view(progress),
        orders=[_order_view(order, progress) for order in progress.texts],
        agreement=_agreement_view(progress),
        actions=_actions_view(progress),
        sides=_sides_view(progress, cites),
        looks=looks,
        differing=list(zip(("Response A", "Response B"), parts, strict=True)) if parts else [],
    )


def one_text(text: str, verdict: Verdict, title: str) -> str:
    """One finished text of a judge, shown without its pair."""
    letter = f"says {verdict.shown_label}" if verdict.shown_label else verdict.status
    look = {
        "title": title,
        "text": text,
        "parts": blocks_of(verdict.sections, text, "ab", Cites(None)),
        "note": "",
        "verdict": letter,
        "kind": "good" if verdict.shown_label else "bad",
    }
    return templates.judgment.render(looks=[look])


def side_by_side(judgments: Sequence[str]) -> str:
    """Several judges' blocks in columns, as many as fit the page."""
    return f'<div class="rm-compare">{"".join(judgments)}</div>'


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "", say: str = "") -> str:
    """A table whose first column names the row. say: text for screen readers when it appears."""
    return templates.table.render(head=head, rows=rows, caption=caption, say=say)


def notice(text: str, kind: str = "bad") -> str:
    """A message to the user: what went wrong and what to do. kind "info": nothing is wrong."""
    return templates.notice.render(text=text, kind=kind, role="alert" if kind == "bad" else "status")


def empty(text: str, keys: bool = False) -> str:
    """A placeholder that says what will appear here. keys: mention the keys too."""
    return templates.empty.render(text=text, keys=keys)


def card(rows: Sequence[tuple[str, str, str]]) -> str:
    """Names and values, each with its kind ("" or "unknown")."""
    return templates.card.render(rows=rows)


def state(spec: str, name: str, text: str = "") -> str:
    """The progress of adding a judge."""
    kind = {"ready": "good", "failed": "bad"}.get(name, "info")
    busy, role = kind == "info", "alert" if kind == "bad" else "status"
    return templates.state.render(spec=spec, state=name, text=text, kind=kind, busy=busy, role=role)


def responses(texts: Sequence[str]) -> str:
    """Numbered responses, to read; empty ones are left out."""
    sides = [(f"Response {number}", text) for number, text in enumerate(texts, 1) if text.strip()]
    return templates.responses.render(sides=sides)


def headline(progress: Progress) -> str:
    """The outcome in one sentence or two."""
    if progress.flipped:
        return "Changed its mind when swapped: treat as a tie."
    if progress.label is None:
        some = any(look.label for look in progress.looks.values())
        return "Not every order gave a verdict." if some else "No verdict."
    one = " One order only: it may favour a position." if len(progress.looks) == 1 else ""
    return f"Response {progress.label} is better.{one}"


def _look_view(order: Order, progress: Progress, cites: Cites) -> dict[str, Any]:
    look: Look | None = progress.looks.get(order)
    text = progress.texts[order]
    verdict = look.verdict if look else parse_partial(text)
    made = {
        "title": ORDER_TITLES[order],
        "note": "" if order == "ab" else SWAPPED,
        "text": text,
        "parts": blocks_of(verdict.sections, text, order, cites),
    }
    if look is None:
        return {**made, "verdict": "stopped" if progress.stopped else "writing …", "kind": "none"}
    if look.label is None:
        note = REASONS.get(look.status, look.status) + (
            f" ({look.generation.error})" if look.generation.error else ""
        )
        return {**made, "note": note, "verdict": look.status.replace("_", " "), "kind": "bad"}
    shown = f" (shown as {OTHER[look.label]})" if order == "ba" else ""
    return {**made, "verdict": f"Response {look.label}{shown}", "kind": "good"}


def _order_view(order: Order, progress: Progress) -> dict[str, str]:
    """One order's verdict, for the line that shows both."""
    look = progress.looks.get(order)
    if look is None:
        said, kind = ("stopped" if progress.stopped else "writing …"), "none"
    elif look.label is None:
        said, kind = "no verdict", "bad"
    else:
        said, kind = f"Response {look.label}", f"side{look.label}"
    return {"title": ORDER_TITLES[order], "verdict": said, "kind": kind}


def _agreement_view(progress: Progress) -> dict[str, str] | None:
    if len(progress.looks) < 2:
        return None
    if progress.flipped:
        return {"kind": "bad", "text": "≠ The orders disagree"}
    if progress.label is None:
        return {"kind": "bad", "text": "? Not comparable"}
    return {"kind": "good", "text": "= Both orders agree"}


def _summary_view(progress: Progress) -> dict[str, str] | None:
    if not progress.done:
        if progress.stopped:
            return {"kind": "none", "title": "Stopped.", "detail": "The text so far stays below."}
        return {"kind": "none", "title": f"{_stage(progress)} …", "detail": ""} if progress.texts else None
    # a server that reports no count is not shown as having written 0 tokens
    counted = f", {progress.tokens} tokens" if progress.tokens else ""
    detail = f"{progress.judge}: {progress.seconds:.1f} s{counted}"
    if progress.probability is not None:
        sure = max(progress.probability, 1 - progress.probability)
        detail = f"confidence {sure:.0%} (by {progress.source}), {detail}"
    if progress.label is None and not progress.flipped:
        unread = [look.status for look in progress.looks.values() if look.label is None]
        detail = f"{', '.join(sorted(set(unread))).replace('_', ' ')}; {detail}"
    kind = "good" if progress.label else "bad"
    return {"kind": kind, "title": headline(progress), "detail": detail}


def _stage(progress: Progress) -> str:
    if len(progress.looks) == len(progress.texts) == len(ORDER_TITLES):
        return "Computing the confidence"
    return "Judging, swapped order" if "ba" in progress.texts else "Judging, first order"


def _spoken(progress: Progress, head: str) -> str:
    """The text for screen readers; it changes with the stage, not with every word."""
    if progress.stopped:
        said = "Stopped"
    elif not progress.done:
        said = _stage(progress)
    elif progress.label:
        orders = "both orders agree" if len(progress.looks) == 2 else "one order only"
        said = f"Verdict: Response {progress.label} is better, {orders}"
    else:
        said = "Verdict: a tie, the orders disagree" if progress.flipped else headline(progress)
    return f"{head}: {said}" if head else said


def _sides_view(progress: Progress, cites: Cites) -> list[dict[str, Any]]:
    if progress.pair is None:
        return []
    texts = {"A": progress.pair.response_a, "B": progress.pair.response_b}
    return [
        {"title": f"Response {side}", "pieces": cut(text, cites.spans[side])} for side, text in texts.items()
    ]


def _actions_view(progress: Progress) -> dict[str, str] | None:
    if progress.pair is None or not progress.done:
        return None
    row = as_row(progress.pair, progress)
    return {
        "file": sharing.as_file(row),
        "name": "judgment.json",
        "markdown": sharing.as_markdown(row, headline(progress)),
        "link": sharing.as_link(row),
    }


def ranking(found: Ranking, done: int, total: int) -> str:
    """Places, Bradley-Terry scores and wins against each other."""
    n = len(found.scores)
    place = {i: str(number) for number, group in enumerate(found.places, 1) for i in group}
    rows = [
        [
            f"Response {i + 1}",
            place.get(i, "–"),
            "–" if found.scores[i] is None else f"{found.scores[i]:+.2f}",
            *("" if i == j else str(found.wins[i][j]) for j in range(n)),
        ]
        for i in range(n)
    ]
    rows.sort(key=lambda row: (row[1] == "–", int(row[1]) if row[1] != "–" else 0))
    words = f"{done} of {total} pairs, both orders each" + (
        f"; {found.unread} judge calls unparsed" if found.unread else ""
    )
    ended = done == total
    best = f" Best: Response {found.best + 1}." if found.best is not None and ended else ""
    return table(
        ["", "place", "Bradley-Terry score", *(f"beats {j + 1}" for j in range(n))],
        rows,
        f"{words}.{best}",
        say=(f"Ranked.{best or ' No single best response.'}" if ended else f"Ranking, {words}"),
    )


def votes(rows: Sequence[dict[str, Any]]) -> str:
    """How often the user and each judge agreed, the most agreeing judge first."""
    counts = count_agreement(rows)
    decided = counts["agree"] + counts["differ"]
    pairs = "the one decided pair" if decided == 1 else f"the {decided} decided pairs"
    share = f"{counts['agree'] / decided:.0%} of {pairs}" if decided else "no decided pair yet"
    judges = sorted({row["judge"] for row in rows})
    made = [_judge_votes(judge, [row for row in rows if row["judge"] == judge]) for judge in judges]
    made.sort(key=lambda row: row[0], reverse=True)
    return table(
        ["judge", "agreed", "differed", "share", "you: tie", "you: both bad", "judge: undecided"],
        [row[1] for row in made],
        f"You and the judge agree on {share}.",
    )


def _judge_votes(judge: str, rows: Sequence[dict[str, Any]]) -> tuple[float, list[Any]]:
    counts = count_agreement(rows)
    decided = counts["agree"] + counts["differ"]
    share = counts["agree"] / decided if decided else -1.0
    shown = f"{share:.0%}" if decided else "–"
    said = [counts[name] for name in ("tie", "bad", "undecided")]
    return share, [judge, counts["agree"], counts["differ"], shown, *said]

"""Judgments as HTML blocks. Everything that a model or a person wrote goes through the template engine's
escaping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jinja2 import Environment

from rmr1_lite.app.history import count_agreement
from rmr1_lite.app.service import Progress, parse_partial
from rmr1_lite.judging.ranking import Ranking
from rmr1_lite.types import OTHER, Look, Verdict

TITLES = {
    "think": "Thinking",
    "type": "Type of question",
    "rubric": "Rubric",
    "justify": "Why these criteria",
    "solution": "Solution",
    "eval": "Evaluation",
    "answer": "Verdict",
}
QUOTES = {"quote_A": "quotes A", "quote_B": "quotes B", "summary_A": "sums up A", "summary_B": "sums up B"}
REASONS = {
    "missing": "No verdict: the text holds no answer marker.",
    "conflict": "No verdict: the text names both responses.",
    "trailing": "No verdict: more text follows the answer.",
    "truncated": "No verdict: the text was truncated at the length limit.",
    "too_long": "Not judged: the question and the responses do not fit into the judge's context. Shorten "
    "them.",
    "end_unknown": "No verdict: the server did not say whether the text is complete.",
    "clipped": "Not judged: the server cut the prompt, so the judge did not see all of it.",
    "filtered": "Not judged: the server's content filter stopped the text.",
    "error": "Not judged: the judge could not be reached or failed.",
}
EXCHANGED = "Here the judge saw Response B first: its “A” is your Response B, and its “B” your Response A."
PAGE = """
{%- macro block(part) %}
<section class="rm-part rm-{{ part.name }}" aria-label="{{ part.title }}"><h4>{{ part.title
}}{% if not part.closed %}
<span class="rm-busy" aria-hidden="true"></span>{% endif %}</h4><div
class="rm-text">{{ part.text }}</div></section>
{%- endmacro %}
<div class="rm-judgment">
{% if head %}<h3>{{ head }}</h3>{% endif %}
{% if summary %}<div class="rm-summary rm-{{ summary.kind }}" role="status">
<strong>{{ summary.title }}</strong>
<span>{{ summary.detail }}</span></div>{% endif %}
<div class="rm-looks">
{% for look in looks %}
<article class="rm-look"><header><b>{{ look.title }}</b>
<span class="rm-badge rm-{{ look.kind }}">{{ look.verdict }}</span></header>
{% if look.note %}<p class="rm-note">{{ look.note }}</p>{% endif %}
{% for part in look.parts %}{{ block(part) }}{% endfor %}
{% if look.text %}<details><summary>as written</summary><pre
class="rm-raw">{{ look.text }}</pre></details>{% endif %}
</article>
{% endfor %}
</div></div>
"""
TABLE = """
<table class="rm-table"><caption>{{ caption }}</caption>
<thead><tr>{% for name in head %}<th scope="col">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in rows %}
<tr><th scope="row">{{ row[0] }}</th>{% for cell in row[1:] %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody></table>
"""
_ENVIRONMENT = Environment(autoescape=True)
_PAGE, _TABLE = _ENVIRONMENT.from_string(PAGE), _ENVIRONMENT.from_string(TABLE)
_NOTICE = _ENVIRONMENT.from_string('<div class="rm-notice rm-{{ kind }}" role="alert">{{ text }}</div>')


def judgment(progress: Progress, head: str = "") -> str:
    """One judge on one pair, as far as it is."""
    looks = [_look_view(order, progress) for order in progress.texts]
    return _PAGE.render(looks=looks, summary=_summary_view(progress), head=head)


def one_text(text: str, verdict: Verdict, title: str) -> str:
    """One finished text of a judge, shown without its pair."""
    letter = f"says {verdict.shown_label}" if verdict.shown_label else verdict.status
    look = {
        "title": title,
        "text": text,
        "parts": _section_blocks(verdict.sections),
        "note": "",
        "verdict": letter,
        "kind": "good" if verdict.shown_label else "bad",
    }
    return _PAGE.render(looks=[look], summary=None, head="")


def side_by_side(judgments: Sequence[str]) -> str:
    """Several judges' blocks in columns, as many as the page is wide for."""
    return f'<div class="rm-compare">{"".join(judgments)}</div>'


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> str:
    """A table whose first column names the row."""
    return _TABLE.render(head=head, rows=rows, caption=caption)


def notice(text: str, kind: str = "bad") -> str:
    """A message to the person: what went wrong, and what to do."""
    return _NOTICE.render(text=text, kind=kind)


def _look_view(order: str, progress: Progress) -> dict[str, Any]:
    look: Look | None = progress.looks.get(order)  # type: ignore[call-overload]
    text = progress.texts[order]  # type: ignore[index]
    verdict = look.verdict if look else parse_partial(text)
    title = "As typed" if order == "ab" else "Swapped order"
    made = {
        "title": title,
        "note": "" if order == "ab" else EXCHANGED,
        "text": text,
        "parts": _section_blocks(verdict.sections),
    }
    if look is None:
        return {**made, "verdict": "stopped" if progress.stopped else "writing …", "kind": "none"}
    if look.label is None:
        note = REASONS.get(look.status, look.status) + (
            f" ({look.generation.error})" if look.generation.error else ""
        )
        return {**made, "note": note, "verdict": look.status.replace("_", " "), "kind": "bad"}
    shown = f" (it saw it as {OTHER[look.label]})" if order == "ba" else ""
    return {**made, "verdict": f"Response {look.label}{shown}", "kind": "good"}


def _section_blocks(sections: Sequence[Any]) -> list[dict[str, Any]]:
    """Blocks in the order written; quotes inside the evaluation stay in its text and get blocks of their
    own."""
    made = []
    for section in sections:
        title = TITLES.get(section.name) or QUOTES.get(section.name)
        text = section.text.strip().strip("[]") if section.name == "answer" else section.text.strip()
        if title and text:
            made.append({"name": section.name, "title": title, "text": text, "closed": section.closed})
    return made


def _summary_view(progress: Progress) -> dict[str, str] | None:
    if not progress.done:
        if progress.stopped:
            return {"kind": "none", "title": "Stopped.", "detail": "What was written so far stays below."}
        return None
    # a server that counts none is not shown as one that wrote none
    counted = f", {progress.tokens} tokens" if progress.tokens else ""
    detail = f"{progress.seconds:.1f} s{counted}"
    if progress.probability is not None:
        sure = max(progress.probability, 1 - progress.probability)
        detail = f"confidence {sure:.0%} (by {progress.source}), {detail}"
    if progress.flipped:
        return {"kind": "bad", "title": "Changed its mind when swapped: treat as a tie.", "detail": detail}
    if progress.label is None:
        unread = [look.status for look in progress.looks.values() if look.label is None]
        return {
            "kind": "bad",
            "title": "Not every order gave a verdict.",
            "detail": f"{', '.join(sorted(set(unread))).replace('_', ' ')}; {detail}",
        }
    both = (
        " Same verdict in both orders."
        if len(progress.looks) == 2
        else " One order only: it may favour a position."
    )
    return {"kind": "good", "title": f"Response {progress.label} is better.{both}", "detail": detail}


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
        f"; {found.unread} judge calls without a verdict" if found.unread else ""
    )
    best = f" Best: Response {found.best + 1}." if found.best is not None and done == total else ""
    return _TABLE.render(
        caption=f"{words}.{best}",
        rows=rows,
        head=["", "place", "Bradley-Terry score", *(f"beats {j + 1}" for j in range(n))],
    )


def votes(rows: Sequence[dict[str, Any]]) -> str:
    """How often the person and the judge agreed."""
    counts = count_agreement(rows)
    decided = counts["agree"] + counts["differ"]
    pairs = "the one decided pair" if decided == 1 else f"the {decided} decided pairs"
    share = f"{counts['agree'] / decided:.0%} of {pairs}" if decided else "no decided pair yet"
    return _TABLE.render(
        caption=f"You and the judge agree on {share}.",
        head=["", "pairs"],
        rows=[
            ["agreed", counts["agree"]],
            ["differed", counts["differ"]],
            ["you: a tie", counts["tie"]],
            ["judge: undecided", counts["undecided"]],
        ],
    )

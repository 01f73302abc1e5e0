"""What happens on the page: each of its events and API calls, as generators of what is to be shown.

Nothing that a person typed or a model wrote is shown but through `rmr1_lite.app.html`, which escapes it.
Errors of ours become a message on the page; the page itself keeps working.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import gradio as gr

from rmr1_lite.app import history, html, service
from rmr1_lite.app.examples import examples_for
from rmr1_lite.app.history import History
from rmr1_lite.judging.pool import JudgePool
from rmr1_lite.judging.ranking import compute_ranking
from rmr1_lite.types import InputError

LONG = html.notice("The model writes its reasoning first. Stop it whenever you have seen enough.", "info")


class App:
    """The functions behind the page. public: strangers share it, so each visitor's history stays in that
    visitor's session."""

    def __init__(self, pool: JudgePool, kept: History, public: bool = False) -> None:
        self.pool, self.kept, self.public = pool, kept, public
        self.examples = examples_for(pool.specs)
        self.files = Path(tempfile.mkdtemp(prefix="rmr1-judge-"))
        self.stops: dict[str, Event] = {}  # by browser session: set when its Stop is pressed

    def history(self, visitor: History) -> History:
        """Where this visitor's rows go."""
        return visitor if self.public else self.kept

    def begin(self, request: gr.Request | None) -> Event:
        """A fresh stop sign for this session."""
        sign = Event()
        self.stops[_session_id(request)] = sign
        return sign

    def stop(self, request: gr.Request) -> str:
        """Ask what this session is running to end; the message for the page."""
        if sign := self.stops.get(_session_id(request)):
            sign.set()
        return STOPPED

    def judge(
        self,
        spec: str,
        question: str,
        earlier: Any,
        a: str,
        b: str,
        both: bool,
        votes: float,
        visitor: History,
        request: gr.Request,
    ) -> Iterator[tuple[str, str, History]]:
        """(judgment, message, visitor) while it is being written."""
        sign = self.begin(request)
        try:
            pair = service.checked_pair(question, a, b, _table_rows(earlier))
            yield "", LONG, visitor
            for progress in service.judge_live(self.pool, spec, pair, both, int(votes)):
                progress.stopped = sign.is_set() and not progress.done
                if progress.stopped:
                    yield html.judgment(progress), STOPPED, visitor
                    return
                yield html.judgment(progress), "" if progress.done else gr.skip(), visitor
            self.history(visitor).add(service.as_row(pair, progress))
            yield gr.skip(), "", visitor
        except InputError as error:
            yield "", html.notice(str(error)), visitor

    def compare(
        self, specs: Sequence[str], question: str, a: str, b: str, visitor: History, request: gr.Request
    ) -> Iterator[tuple[str, str, History]]:
        """The same pair through several judges, one after the other, side by side on the page."""
        done: list[str] = []
        sign = self.begin(request)
        try:
            pair = service.checked_pair(question, a, b)
            if len(specs) < 2:
                raise InputError("One judge has nothing to compare with. Choose two or more.")
            for spec in specs:
                for progress in service.judge_live(self.pool, spec, pair):
                    progress.stopped = sign.is_set() and not progress.done
                    message = STOPPED if progress.stopped else LONG
                    yield html.side_by_side([*done, html.judgment(progress, spec)]), message, visitor
                    if progress.stopped:
                        return
                done.append(html.judgment(progress, spec))
                self.history(visitor).add(service.as_row(pair, progress))
            yield html.side_by_side(done), "", visitor
        except InputError as error:
            yield html.side_by_side(done), html.notice(str(error)), visitor

    def rank(
        self, request: gr.Request, spec: str, question: str, *responses: str
    ) -> Iterator[tuple[str, str]]:
        """The table after each pair of the round robin."""
        sign = self.begin(request)
        try:
            kept = service.checked_responses(question, responses)
            for judgments, total in service.rank_steps(self.pool, spec, question, kept):
                message = STOPPED if sign.is_set() else LONG if len(judgments) < total else ""
                yield html.ranking(compute_ranking(len(kept), judgments), len(judgments), total), message
                if sign.is_set():
                    return
        except InputError as error:
            yield "", html.notice(str(error))

    def draw(self) -> tuple[str, str, str, None, str]:
        """A pair to vote on, its responses in random order."""
        question, a, b = random.choice(self.examples)
        a, b = random.sample([a, b], 2)
        return question, a, b, None, ""

    def vote(
        self, spec: str, question: str, a: str, b: str, choice: str | None, visitor: History
    ) -> Iterator[tuple[str, str, str, History]]:
        """(judgment, message, statistics, visitor). The judge is asked only after the person has voted."""
        rows = self.history(visitor)
        try:
            pair = service.checked_pair(question, a, b)
            if choice not in CHOICES:
                raise InputError(
                    "You have not voted yet. Choose A, B or a tie; the judge's verdict comes after."
                )
            for progress in service.judge_live(self.pool, spec, pair):
                yield html.judgment(progress), "" if progress.done else LONG, gr.skip(), visitor
            rows.add({**service.as_row(pair, progress), "kind": "vote", "vote": CHOICES[choice]})
            yield gr.skip(), "", html.votes(rows.rows("vote")), visitor
        except InputError as error:
            yield "", html.notice(str(error)), gr.skip(), visitor

    def listed(self, visitor: History) -> tuple[list[list[str]], str, str, str, str]:
        """The history's table, the three files to download, and the vote statistics."""
        rows = self.history(visitor).rows()
        table = [
            [
                row["created"][:19].replace("T", " "),
                row["kind"],
                row["judge"],
                row["prompt"][-1]["content"][:80],
                row["verdict"] or "none",
                row["id"],
            ]
            for row in rows
        ]
        folder = Path(tempfile.mkdtemp(dir=self.files))  # one per call: two visitors never share a file
        made = {
            "history.jsonl": history.as_jsonl(rows),
            "history.csv": history.as_csv(rows),
            "votes.jsonl": history.as_pairs(rows),
        }
        for name, text in made.items():
            (folder / name).write_text(text, encoding="utf-8")
        return (
            table,
            *(str(folder / name) for name in made),
            html.votes([r for r in rows if r["kind"] == "vote"]),
        )

    def restore(self, visitor: History, picked: gr.SelectData) -> tuple[str, str, str, str]:
        """(judgment, question, A, B) of the row that was clicked, which ends with its id however the table is
        sorted."""
        row = self.history(visitor).get(str(picked.row_value[-1]))
        if row is None:
            return html.notice("This row no longer exists."), "", "", ""
        return (
            html.judgment(service.from_row(row)),
            row["prompt"][-1]["content"],
            row["response_a"],
            row["response_b"],
        )

    def forget(self, visitor: History) -> History:
        """Delete the history."""
        self.history(visitor).clear()
        return visitor

    def api_compare(
        self, question: str, response_a: str, response_b: str, judge: str = "", votes: int = 0
    ) -> dict:
        """Judge one pair in both orders. verdict: A, B or null; looks hold the texts. judge: one of this
        server's, or empty."""
        try:
            pair = service.checked_pair(question, response_a, response_b)
            *_, progress = service.judge_live(
                self.pool, self._known(judge), pair, votes=_check_vote_count(votes)
            )
        except InputError as error:
            raise gr.Error(str(error)) from None
        return service.as_row(pair, progress)

    def api_rank(self, question: str, responses: list[str], judge: str = "") -> dict:
        """Order two to eight responses by a round robin. places: groups of response numbers from 0, best
        first."""
        try:
            kept = service.checked_responses(question, responses)
            *_, (judgments, _) = service.rank_steps(self.pool, self._known(judge), question, kept)
        except InputError as error:
            raise gr.Error(str(error)) from None
        found = compute_ranking(len(kept), judgments)
        return {
            "places": [list(group) for group in found.places],
            "scores": list(found.scores),
            "best": found.best,
            "wins": [list(row) for row in found.wins],
            "unread": found.unread,
        }

    def _known(self, spec: str) -> str:
        """Strangers may not make the server load what they name."""
        if spec and spec not in self.pool.specs:
            raise InputError(f"judge is {spec!r:.80}. Choose one of {', '.join(self.pool.specs)}.")
        return spec or self.pool.specs[0]


STOPPED = html.notice("Stopped. What was written so far stays.", "info")
CHOICES = {"A is better": "A", "B is better": "B", "a tie": "tie"}


def _session_id(request: gr.Request | None) -> str:
    return str(request.session_hash) if request else ""


def _check_vote_count(count: int) -> int:
    if not isinstance(count, int) or not 0 <= count <= 8:
        raise InputError(f"votes is {count!r:.20}. Give a whole number from 0 to 8.")
    return count


def _table_rows(table: Any) -> list[list[Any]]:
    """Rows of what a Dataframe gives: a pandas frame, a list, or nothing."""
    if table is None:
        return []
    return table.values.tolist() if hasattr(table, "values") else [list(row) for row in table]

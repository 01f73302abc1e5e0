"""The page's events and API calls, as generators of what to show.

Everything that a person typed or a model wrote is shown through `rmr1_lite.app.html`, which escapes it.
Our own errors become a message on the page; the page itself keeps working.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event
from typing import Any

import gradio as gr

from rmr1_lite.app import html, service
from rmr1_lite.app.examples import EVERYDAY_CARDS, cards_for, examples_for
from rmr1_lite.app.history import History
from rmr1_lite.app.judge_card import judge_line, judge_rows, knows_nano_only
from rmr1_lite.app.judges import LOADED, STATES, check_spec, comes_from_here, load_steps
from rmr1_lite.app.past import Past
from rmr1_lite.judging.pool import JudgePool
from rmr1_lite.judging.ranking import compute_ranking
from rmr1_lite.types import InputError

LONG = html.notice("The model writes its reasoning first. You can stop it at any time.", "info")
STOPPED = html.notice("Stopped. The text so far stays.", "info")
IDLE = html.notice("Nothing is being judged.", "info")
NOT_YOURS = "Judges can be added only on the machine that runs the app, and not on a shared page."
CHOICES = {"A is better": "A", "B is better": "B", "a tie": "tie", "both are bad": "bad"}


class App(Past):
    """The functions behind the page. public: strangers share it, so each visitor's history stays in that
    visitor's session. owner: only this machine reaches it, so its users may add judges."""

    def __init__(self, pool: JudgePool, kept: History, public: bool = False, owner: bool = False) -> None:
        super().__init__(kept, public)
        self.pool, self.owner = pool, owner and not public
        self.stops: dict[str, Event] = {}  # by browser session, while judging: set when Stop is pressed

    @contextmanager
    def running(self, request: gr.Request | None) -> Iterator[Event]:
        """A stop signal for this session's running work, until it ends."""
        name, sign = _session_id(request), Event()
        self.stops[name] = sign
        try:
            yield sign
        finally:
            if self.stops.get(name) is sign:
                del self.stops[name]

    def stop(self, request: gr.Request) -> str:
        """Stop this session's running work; the message for the page."""
        sign = self.stops.get(_session_id(request))
        if sign is None:
            return IDLE
        sign.set()
        return STOPPED

    def cards(self, nano: bool) -> dict[str, tuple[str, str, str]]:
        """Examples by the names on their cards: for nano judges, or for all others."""
        return cards_for(["nano"]) if nano else EVERYDAY_CARDS

    def about(self, spec: str) -> tuple[str, str, dict, dict]:
        """(card, one line, update of the everyday examples, of nano's) for the chosen judge."""
        state = self.pool.state(spec)
        style = self.pool.judge(spec).style if state.name == "ready" else self.pool.style_of(spec)
        rows = [*judge_rows(spec, style or ""), ("State", state.error or LOADED[state.name], "")]
        nano = knows_nano_only(spec)
        line = html.notice(judge_line(spec), "info")
        return html.card(rows), line, gr.update(visible=not nano), gr.update(visible=nano)

    def any_example(self, spec: str) -> tuple[str, str, str]:
        """A pair that the judge can judge, its responses in random order."""
        question, *sides = random.choice(examples_for([spec]))
        a, b = random.sample(sides, 2)
        return question, a, b

    def add_judge(self, typed: str, style: str, request: gr.Request) -> Iterator[tuple[str, str, bool]]:
        """(state to show, content of the field, whether it is ready), until the judge is loaded."""
        spec = typed
        try:
            if not self.owner or request is None or not comes_from_here(dict(request.headers)):
                raise InputError(NOT_YOURS)
            spec = check_spec(typed, self.pool)
            yield html.state(spec, STATES["waiting"]), typed, False
            for state, seconds, note in load_steps(self.pool, spec, style):
                done = state.name == "ready"
                text = note or ("Choose it in the list of judges." if done else f"{seconds:.0f} s")
                kind = "" if done else typed
                yield html.state(spec, STATES[state.name], text), kind, done
        except InputError as error:
            yield html.state(spec or "No judge", STATES["failed"], str(error)), typed, False

    def judge_choices(self) -> list[str]:
        """The current choices of the lists of judges."""
        return list(self.pool.specs)

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
        """(judgment, message, visitor) while it is being generated."""
        try:
            pair = service.checked_pair(question, a, b, _table_rows(earlier))
            yield "", LONG, visitor
            with self.running(request) as sign:
                for progress in service.judge_live(self.pool, self._known(spec), pair, both, int(votes)):
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
        try:
            pair = service.checked_pair(question, a, b)
            if len(specs) < 2:
                raise InputError("One judge has nothing to compare with. Choose two or more.")
            with self.running(request) as sign:
                for spec in map(self._known, specs):
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
        self, request: gr.Request, visitor: History, spec: str, question: str, *responses: str
    ) -> Iterator[tuple[str, str, History]]:
        """(table, message, visitor) after each pair of the round robin; the finished ranking is kept."""
        began = time.perf_counter()
        try:
            texts = service.checked_responses(question, responses)
            with self.running(request) as sign:
                for judgments, total in service.rank_steps(self.pool, self._known(spec), question, texts):
                    found = compute_ranking(len(texts), judgments)
                    message = STOPPED if sign.is_set() else LONG if len(judgments) < total else ""
                    yield html.ranking(found, len(judgments), total), message, visitor
                    if sign.is_set() and len(judgments) < total:
                        return
            seconds = time.perf_counter() - began
            self.history(visitor).add(service.rank_row(spec, question, texts, found, seconds))
            yield gr.skip(), "", visitor
        except InputError as error:
            yield "", html.notice(str(error)), visitor

    def draw(self, spec: str) -> tuple[str, str, str, None, str]:
        """A pair to vote on, its responses in random order."""
        return *self.any_example(spec), None, ""

    def vote(
        self, spec: str, question: str, a: str, b: str, choice: str | None, visitor: History
    ) -> Iterator[tuple[str, str, str, History]]:
        """(judgment, message, statistics, visitor). The judge is asked only after the person has voted."""
        rows = self.history(visitor)
        try:
            pair = service.checked_pair(question, a, b)
            if choice not in CHOICES:
                raise InputError(
                    "You have not voted yet. Choose A, B, a tie or both bad; the judge's verdict follows."
                )
            for progress in service.judge_live(self.pool, self._known(spec), pair):
                yield html.judgment(progress), "" if progress.done else LONG, gr.skip(), visitor
            rows.add({**service.as_row(pair, progress), "kind": "vote", "vote": CHOICES[choice]})
            yield gr.skip(), "", html.votes(rows.rows("vote")), visitor
        except InputError as error:
            yield "", html.notice(str(error)), gr.skip(), visitor

    def restore(self, visitor: History, picked: gr.SelectData) -> tuple[str, dict[str, Any] | None]:
        """(display, row) of the clicked row, which ends with its id however the table is sorted."""
        return self.find(visitor, str(picked.row_value[-1]))

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
        """Strangers may not make the server load a judge that they name."""
        if spec and spec not in self.pool.specs:
            raise InputError(f"judge is {spec!r:.80}. Choose one of {', '.join(self.pool.specs)}.")
        return spec or self.pool.specs[0]


def _session_id(request: gr.Request | None) -> str:
    return str(request.session_hash) if request else ""


def _check_vote_count(count: int) -> int:
    if not isinstance(count, int) or not 0 <= count <= 8:
        raise InputError(f"votes is {count!r:.20}. Give a whole number from 0 to 8.")
    return count


def _table_rows(table: Any) -> list[Any]:
    """The rows of a Dataframe's value: a pandas frame, a list, or nothing."""
    if table is None:
        return []
    return table.values.tolist() if hasattr(table, "values") else [list(row) for row in table]

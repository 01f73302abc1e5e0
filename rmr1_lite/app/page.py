"""The Gradio page: five tabs over `rmr1_lite.app.service`, and the same two functions as an HTTP API.

Nothing that a person typed or a model wrote is shown but through `rmr1_lite.app.show`, which escapes it. Errors of ours become
a message on the page; the page itself goes on.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import gradio as gr

from rmr1_lite.app import history, service, show
from rmr1_lite.app.examples import examples_for
from rmr1_lite.app.history import History
from rmr1_lite.bank import Bank
from rmr1_lite.ranking import ranking
from rmr1_lite.types import InputError

CSS = Path(__file__).with_name("style.css")
HEAD = ["time", "kind", "judge", "question", "verdict", "id"]
TITLE = "RM-R1 judge"
BUSY = {"concurrency_limit": 2, "concurrency_id": "judging"}  # the rest of the page never waits for a judgment
LONG = show.notice("The model writes its reasoning first. Stop it whenever you have seen enough.", "info")


class App:
    """The functions behind the page. public: strangers share it, so each visitor's history stays in that visitor's session."""

    def __init__(self, bank: Bank, kept: History, public: bool = False) -> None:
        self.bank, self.kept, self.public = bank, kept, public
        self.examples = examples_for(bank.specs)
        self.files = Path(tempfile.mkdtemp(prefix="rmr1-judge-"))
        self.stops: dict[str, Event] = {}  # by browser session: set when its Stop is pressed

    def history(self, visitor: History) -> History:
        """Where this visitor's rows go."""
        return visitor if self.public else self.kept

    def begin(self, request: gr.Request | None) -> Event:
        """A fresh stop sign for this session."""
        sign = Event()
        self.stops[_session(request)] = sign
        return sign

    def stop(self, request: gr.Request) -> str:
        """Ask what this session is running to end; the message for the page."""
        if sign := self.stops.get(_session(request)):
            sign.set()
        return STOPPED

    def judge(
        self, spec: str, question: str, earlier: Any, a: str, b: str, both: bool, votes: float, visitor: History,
        request: gr.Request,
    ) -> Iterator[tuple[str, str, History]]:  # fmt: skip
        """(judgment, message, visitor) while it is being written."""
        sign = self.begin(request)
        try:
            pair = service.checked_pair(question, a, b, _rows(earlier))
            yield "", LONG, visitor
            for progress in service.watch(self.bank, spec, pair, both, int(votes)):
                progress.stopped = sign.is_set() and not progress.done
                if progress.stopped:
                    yield show.judgment(progress), STOPPED, visitor
                    return
                yield show.judgment(progress), "" if progress.done else gr.skip(), visitor
            self.history(visitor).add(service.as_row(pair, progress))
            yield gr.skip(), "", visitor
        except InputError as error:
            yield "", show.notice(str(error)), visitor

    def compare(
        self, specs: Sequence[str], question: str, a: str, b: str, visitor: History, request: gr.Request
    ) -> Iterator[tuple[str, str, History]]:
        """The same pair through several judges, one after the other, side by side on the page."""
        done: list[str] = []
        sign = self.begin(request)
        try:
            pair = service.checked_pair(question, a, b)
            if len(specs) < 2:
                raise InputError("One judge has nothing to be compared with. Choose two or more.")
            for spec in specs:
                for progress in service.watch(self.bank, spec, pair):
                    progress.stopped = sign.is_set() and not progress.done
                    message = STOPPED if progress.stopped else LONG
                    yield "".join([*done, show.judgment(progress, spec)]), message, visitor
                    if progress.stopped:
                        return
                done.append(show.judgment(progress, spec))
                self.history(visitor).add(service.as_row(pair, progress))
            yield "".join(done), "", visitor
        except InputError as error:
            yield "".join(done), show.notice(str(error)), visitor

    def rank(self, request: gr.Request, spec: str, question: str, *responses: str) -> Iterator[tuple[str, str]]:
        """The table after each pair of the round robin."""
        sign = self.begin(request)
        try:
            kept = service.checked_responses(question, responses)
            for judgments, total in service.rank_steps(self.bank, spec, question, kept):
                message = STOPPED if sign.is_set() else LONG if len(judgments) < total else ""
                yield show.ranking(ranking(len(kept), judgments), len(judgments), total), message
                if sign.is_set():
                    return
        except InputError as error:
            yield "", show.notice(str(error))

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
                raise InputError("You have not voted yet. Choose A, B or a tie; the judge's verdict comes after.")
            for progress in service.watch(self.bank, spec, pair):
                yield show.judgment(progress), "" if progress.done else LONG, gr.skip(), visitor
            rows.add({**service.as_row(pair, progress), "kind": "vote", "vote": CHOICES[choice]})
            yield gr.skip(), "", show.votes(rows.rows("vote")), visitor
        except InputError as error:
            yield "", show.notice(str(error)), gr.skip(), visitor

    def listed(self, visitor: History) -> tuple[list[list[str]], str, str, str, str]:
        """The history's table, the three files to download, and the vote statistics."""
        rows = self.history(visitor).rows()
        table = [[row["created"][:19].replace("T", " "), row["kind"], row["judge"], row["prompt"][-1]["content"][:80],
                  row["verdict"] or "none", row["id"]] for row in rows]  # fmt: skip
        folder = Path(tempfile.mkdtemp(dir=self.files))  # one per call: two visitors never share a file
        made = {"history.jsonl": history.as_jsonl(rows), "history.csv": history.as_csv(rows),
                "votes.jsonl": history.as_pairs(rows)}  # fmt: skip
        for name, text in made.items():
            (folder / name).write_text(text, encoding="utf-8")
        return table, *(str(folder / name) for name in made), show.votes([r for r in rows if r["kind"] == "vote"])

    def restore(self, visitor: History, picked: gr.SelectData) -> tuple[str, str, str, str]:
        """(judgment, question, A, B) of the row that was clicked, which ends with its id however the table is sorted."""
        row = self.history(visitor).get(str(picked.row_value[-1]))
        if row is None:
            return show.notice("This row is not there any more."), "", "", ""
        return show.judgment(service.from_row(row)), row["prompt"][-1]["content"], row["response_a"], row["response_b"]

    def forget(self, visitor: History) -> History:
        """Delete the history."""
        self.history(visitor).clear()
        return visitor

    def api_compare(self, question: str, response_a: str, response_b: str, judge: str = "", votes: int = 0) -> dict:
        """Judge one pair in both orders. verdict: A, B or null; looks hold the texts. judge: one of this server's, or empty."""
        try:
            pair = service.checked_pair(question, response_a, response_b)
            *_, progress = service.watch(self.bank, self._known(judge), pair, votes=_votes(votes))
        except InputError as error:
            raise gr.Error(str(error)) from None
        return service.as_row(pair, progress)

    def api_rank(self, question: str, responses: list[str], judge: str = "") -> dict:
        """Order two to eight responses by a round robin. places: groups of response numbers from 0, best first."""
        try:
            kept = service.checked_responses(question, responses)
            *_, (judgments, _) = service.rank_steps(self.bank, self._known(judge), question, kept)
        except InputError as error:
            raise gr.Error(str(error)) from None
        found = ranking(len(kept), judgments)
        return {"places": [list(group) for group in found.places], "scores": list(found.scores), "best": found.best,
                "wins": [list(row) for row in found.wins], "unread": found.unread}  # fmt: skip

    def _known(self, spec: str) -> str:
        """Strangers may not make the server load what they name."""
        if spec and spec not in self.bank.specs:
            raise InputError(f"judge is {spec!r:.80}. Choose one of {', '.join(self.bank.specs)}.")
        return spec or self.bank.specs[0]


STOPPED = show.notice("Stopped. What was written so far stays.", "info")
CHOICES = {"A is better": "A", "B is better": "B", "a tie": "tie"}


def _session(request: gr.Request | None) -> str:
    return str(request.session_hash) if request else ""


def _votes(count: int) -> int:
    if not isinstance(count, int) or not 0 <= count <= 8:
        raise InputError(f"votes is {count!r:.20}. Give a whole number from 0 to 8.")
    return count


def _rows(table: Any) -> list[list[Any]]:
    """Rows of what a Dataframe gives: a pandas frame, a list, or nothing."""
    if table is None:
        return []
    return table.values.tolist() if hasattr(table, "values") else [list(row) for row in table]


def build(app: App) -> gr.Blocks:
    """The page."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=(3600, 3600)) as page:
        # first, since Gradio gives a name to whoever comes first, also to the page's own private events
        gr.api(app.api_compare, api_name="compare", **BUSY)
        gr.api(app.api_rank, api_name="rank", **BUSY)
        visitor = gr.State(History(None))
        gr.Markdown(f"# {TITLE}\n{_about(app.bank.specs)}")
        with gr.Tab("Judge"):
            fields = _judge_tab(app, visitor)
        with gr.Tab("Compare"):
            _compare_tab(app, visitor)
        with gr.Tab("Rank"):
            _rank_tab(app)
        with gr.Tab("Blind vote"):
            _vote_tab(app, visitor)
        with gr.Tab("History") as tab:
            _history_tab(app, visitor, tab, fields)
    return page.queue(max_size=32, default_concurrency_limit=8)


def _about(specs: Sequence[str]) -> str:
    text = "A judge that reasons before it prefers: read why, in both orders, and find out whether to trust it."
    if any("nano" in spec for spec in specs):
        text += " The **nano** judges know a small generated world (click an example); they are no judges of natural language."
    return text


def _spec(app: App) -> gr.Dropdown:
    return gr.Dropdown(list(app.bank.specs), value=app.bank.specs[0], label="Judge", interactive=True)


def _pair_fields(app: App, examples: bool = True) -> tuple[gr.Textbox, gr.Textbox, gr.Textbox]:
    question = gr.Textbox(label="Question", lines=2, max_length=service.MAX_CHARS)
    with gr.Row():
        a = gr.Textbox(label="Response A", lines=4, max_length=service.MAX_CHARS, min_width=260)
        b = gr.Textbox(label="Response B", lines=4, max_length=service.MAX_CHARS, min_width=260)
    if examples:
        gr.Examples([list(row) for row in app.examples], [question, a, b], label="Examples to click", examples_per_page=4)
    return question, a, b


def _judge_tab(app: App, visitor: gr.State) -> tuple[Any, ...]:
    spec = _spec(app)
    question, a, b = _pair_fields(app)
    with gr.Accordion("Earlier turns of the conversation", open=False):
        earlier = gr.Dataframe(headers=["role (user or assistant)", "text"], datatype="str", row_count=2, column_count=2,
                               interactive=True, wrap=True, label="Oldest first; the question above comes last")  # fmt: skip
    with gr.Row():
        both = gr.Checkbox(True, label="Both orders", info="Without it a judge that favours a position looks sure.")
        votes = gr.Slider(0, 8, 0, step=1, label="Votes per order", info="For a confidence; 0 takes the log-probability.")
    with gr.Row():
        start, stop = gr.Button("Judge", variant="primary"), gr.Button("Stop")
    message, shown = gr.HTML(), gr.HTML(elem_id="judgment")
    start.click(app.judge, [spec, question, earlier, a, b, both, votes, visitor], [shown, message, visitor],
                api_visibility="private", show_progress="hidden", **BUSY)  # fmt: skip
    stop.click(app.stop, None, message, api_visibility="private", queue=False)
    return shown, question, a, b


def _compare_tab(app: App, visitor: gr.State) -> None:
    specs = gr.CheckboxGroup(list(app.bank.specs), value=list(app.bank.specs), label="Judges")
    question, a, b = _pair_fields(app)
    with gr.Row():
        start, stop = gr.Button("Compare", variant="primary"), gr.Button("Stop")
    message, shown = gr.HTML(), gr.HTML()
    start.click(app.compare, [specs, question, a, b, visitor], [shown, message, visitor], api_visibility="private",
                show_progress="hidden", **BUSY)  # fmt: skip
    stop.click(app.stop, None, message, api_visibility="private", queue=False)


def _rank_tab(app: App) -> None:
    spec, question = _spec(app), gr.Textbox(label="Question", lines=2, max_length=service.MAX_CHARS)
    responses = []
    for row in range(0, service.MAX_RESPONSES, 2):
        with gr.Row():
            responses += [gr.Textbox(label=f"Response {i + 1}", lines=2, max_length=service.MAX_CHARS, min_width=260)
                          for i in (row, row + 1)]  # fmt: skip
    with gr.Row():
        start, stop = gr.Button("Rank", variant="primary"), gr.Button("Stop")
    message, shown = gr.HTML(), gr.HTML()
    start.click(app.rank, [spec, question, *responses], [shown, message], api_visibility="private",
                show_progress="hidden", **BUSY)  # fmt: skip
    stop.click(app.stop, None, message, api_visibility="private", queue=False)


def _vote_tab(app: App, visitor: gr.State) -> None:
    gr.Markdown("Vote before you see what the judge thinks. Your votes stay in your history and export as training pairs.")
    spec = _spec(app)
    draw = gr.Button("Draw a pair")
    question, a, b = _pair_fields(app, examples=False)
    choice = gr.Radio(list(CHOICES), label="Your vote")
    start = gr.Button("Vote, then see the judge", variant="primary")
    message, shown, counts = gr.HTML(), gr.HTML(), gr.HTML()
    draw.click(app.draw, None, [question, a, b, choice, shown], api_visibility="private")
    start.click(app.vote, [spec, question, a, b, choice, visitor], [shown, message, counts, visitor], api_visibility="private",
                show_progress="hidden", **BUSY)  # fmt: skip


def _history_tab(app: App, visitor: gr.State, tab: gr.Tab, fields: tuple[Any, ...]) -> None:
    place = "in this browser session alone and is forgotten with it" if app.public else f"on this machine: `{app.kept.path}`"
    gr.Markdown(f"Click a row to see it again. The history stays {place}.")
    table = gr.Dataframe(headers=HEAD, datatype="str", interactive=False, wrap=True, label="History")
    shown, counts = gr.HTML(), gr.HTML()
    with gr.Row():
        files = [gr.DownloadButton(label) for label in ("All as JSONL", "All as CSV", "Votes as training pairs")]
        again, clear = gr.Button("Judge this one again"), gr.Button("Delete the history", variant="stop")
    held = [gr.State(""), gr.State(""), gr.State("")]
    listing = {"fn": app.listed, "inputs": [visitor], "outputs": [table, *files, counts], "api_visibility": "private"}
    tab.select(**listing)
    table.select(app.restore, [visitor], [shown, *held], api_visibility="private")
    again.click(lambda *values: ("", *values), held, list(fields), api_visibility="private")
    clear.click(app.forget, [visitor], [visitor], api_visibility="private").then(**listing)


def theme() -> gr.themes.Base:
    """System fonts: nothing is fetched from anywhere."""
    return gr.themes.Base(primary_hue="blue", font=("system-ui", "sans-serif"), font_mono=("ui-monospace", "monospace"))

"""The Gradio page: five tabs over `rmr1_lite.app.actions`, and two of its functions as an HTTP API."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from rmr1_lite.app import service
from rmr1_lite.app.actions import CHOICES, App
from rmr1_lite.app.history import History
from rmr1_lite.data.nano.teacher import HOW_TO_READ

CSS = Path(__file__).with_name("style.css")
HEAD = ["time", "kind", "judge", "question", "verdict", "id"]
TITLE = "RM-R1 judge"
# the rest of the page never waits for a judgment
BUSY = {
    "concurrency_limit": 2,
    "concurrency_id": "judging",
}


def build_page(app: App) -> gr.Blocks:
    """The page."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=(3600, 3600)) as page:
        # first, since Gradio gives a name to whoever comes first, also to the page's own private events
        gr.api(app.api_compare, api_name="compare", **BUSY)
        gr.api(app.api_rank, api_name="rank", **BUSY)
        visitor = gr.State(History(None))
        gr.Markdown(f"# {TITLE}\n{_judges_note(app.pool.specs)}")
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


def _judges_note(specs: Sequence[str]) -> str:
    text = (
        "A judge that reasons before it prefers: read why, in both orders, and find out whether to trust it."
    )
    if any("nano" in spec for spec in specs):
        text += (
            " The **nano** judges know a small generated world (click an example); they do not judge natural "
            f"language. {HOW_TO_READ}"
        )
    return text


def _judge_choice(app: App) -> gr.Dropdown:
    return gr.Dropdown(list(app.pool.specs), value=app.pool.specs[0], label="Judge", interactive=True)


def _pair_fields(app: App, examples: bool = True) -> tuple[gr.Textbox, gr.Textbox, gr.Textbox]:
    question = gr.Textbox(label="Question", lines=2, max_length=service.MAX_CHARS)
    with gr.Row():
        a = gr.Textbox(label="Response A", lines=4, max_length=service.MAX_CHARS, min_width=260)
        b = gr.Textbox(label="Response B", lines=4, max_length=service.MAX_CHARS, min_width=260)
    if examples:
        gr.Examples(
            [list(row) for row in app.examples],
            [question, a, b],
            label="Examples to click",
            examples_per_page=4,
        )
    return question, a, b


def _judge_tab(app: App, visitor: gr.State) -> tuple[Any, ...]:
    spec = _judge_choice(app)
    question, a, b = _pair_fields(app)
    with gr.Accordion("Earlier turns of the conversation", open=False):
        # rows from the start, to type into; those without a text are left out
        earlier = gr.Dataframe(
            [["user", ""], ["assistant", ""]],
            headers=["role (user or assistant)", "text"],
            datatype="str",
            column_count=2,
            column_widths=["20%", "80%"],
            interactive=True,
            wrap=True,
            label="Oldest first; the question above comes last",
        )
    with gr.Row():
        both = gr.Checkbox(
            True, label="Both orders", info="Without it, a judge that favours one position looks confident."
        )
        votes = gr.Slider(
            0, 8, 0, step=1, label="Votes per order", info="Gives a confidence; 0 uses the log-probability."
        )
    with gr.Row():
        start, stop = gr.Button("Judge", variant="primary"), gr.Button("Stop")
    message, shown = gr.HTML(), gr.HTML(elem_id="judgment")
    start.click(
        app.judge,
        [spec, question, earlier, a, b, both, votes, visitor],
        [shown, message, visitor],
        api_visibility="private",
        show_progress="hidden",
        **BUSY,
    )
    stop.click(app.stop, None, message, api_visibility="private", queue=False)
    return shown, question, a, b


def _compare_tab(app: App, visitor: gr.State) -> None:
    specs = gr.CheckboxGroup(list(app.pool.specs), value=list(app.pool.specs), label="Judges")
    question, a, b = _pair_fields(app)
    with gr.Row():
        start, stop = gr.Button("Compare", variant="primary"), gr.Button("Stop")
    message, shown = gr.HTML(), gr.HTML()
    start.click(
        app.compare,
        [specs, question, a, b, visitor],
        [shown, message, visitor],
        api_visibility="private",
        show_progress="hidden",
        **BUSY,
    )
    stop.click(app.stop, None, message, api_visibility="private", queue=False)


def _rank_tab(app: App) -> None:
    spec, question = _judge_choice(app), gr.Textbox(label="Question", lines=2, max_length=service.MAX_CHARS)
    responses = []
    for row in range(0, service.MAX_RESPONSES, 2):
        with gr.Row():
            responses += [
                gr.Textbox(label=f"Response {i + 1}", lines=2, max_length=service.MAX_CHARS, min_width=260)
                for i in (row, row + 1)
            ]
    with gr.Row():
        start, stop = gr.Button("Rank", variant="primary"), gr.Button("Stop")
    message, shown = gr.HTML(), gr.HTML()
    start.click(
        app.rank,
        [spec, question, *responses],
        [shown, message],
        api_visibility="private",
        show_progress="hidden",
        **BUSY,
    )
    stop.click(app.stop, None, message, api_visibility="private", queue=False)


def _vote_tab(app: App, visitor: gr.State) -> None:
    gr.Markdown(
        "Vote before you see what the judge thinks. Your votes stay in your history and export as training "
        "pairs."
    )
    spec = _judge_choice(app)
    draw = gr.Button("Draw a pair")
    question, a, b = _pair_fields(app, examples=False)
    choice = gr.Radio(list(CHOICES), label="Your vote")
    start = gr.Button("Vote, then see the judge", variant="primary")
    message, shown, counts = gr.HTML(), gr.HTML(), gr.HTML()
    draw.click(app.draw, None, [question, a, b, choice, shown], api_visibility="private")
    start.click(
        app.vote,
        [spec, question, a, b, choice, visitor],
        [shown, message, counts, visitor],
        api_visibility="private",
        show_progress="hidden",
        **BUSY,
    )


def _history_tab(app: App, visitor: gr.State, tab: gr.Tab, fields: tuple[Any, ...]) -> None:
    place = (
        "in this browser session only and is lost when it ends"
        if app.public
        else f"on this machine: `{app.kept.path}`"
    )
    gr.Markdown(f"Click a row to see it again. The history stays {place}.")
    table = gr.Dataframe(headers=HEAD, datatype="str", interactive=False, wrap=True, label="History")
    shown, counts = gr.HTML(), gr.HTML()
    with gr.Row():
        files = [
            gr.DownloadButton(label) for label in ("All as JSONL", "All as CSV", "Votes as training pairs")
        ]
        again, clear = gr.Button("Judge this one again"), gr.Button("Delete the history", variant="stop")
    held = [gr.State(""), gr.State(""), gr.State("")]
    listing = {
        "fn": app.listed,
        "inputs": [visitor],
        "outputs": [table, *files, counts],
        "api_visibility": "private",
    }
    tab.select(**listing)
    table.select(app.restore, [visitor], [shown, *held], api_visibility="private")
    again.click(lambda *values: ("", *values), held, list(fields), api_visibility="private")
    clear.click(app.forget, [visitor], [visitor], api_visibility="private").then(**listing)


def app_theme() -> gr.themes.Base:
    """System fonts: nothing is fetched from anywhere."""
    return gr.themes.Base(
        primary_hue="blue", font=("system-ui", "sans-serif"), font_mono=("ui-monospace", "monospace")
    )

"""The Gradio page: five tabs over `rmr1_lite.app.actions`, and two of its functions as an HTTP API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from rmr1_lite.app import html, service
from rmr1_lite.app.actions import CHOICES, App
from rmr1_lite.app.history import History
from rmr1_lite.app.judge_card import knows_nano_only
from rmr1_lite.app.judges import STYLES
from rmr1_lite.app.script import FRAGMENT, SWAP

CSS = Path(__file__).with_name("style.css")
HEAD = ["time", "kind", "judge", "question", "verdict", "id"]
TITLE = "RM-R1 judge"
ABOUT = (
    "A judge that reasons before it prefers. Read its reasons in both orders, and see whether to trust it."
)
NOTHING = "The judgment appears here: the verdict first, then the reasons in both orders."
# the rest of the page never waits for a judgment
BUSY = {
    "concurrency_limit": 2,
    "concurrency_id": "judging",
}
PRIVATE = {"api_visibility": "private", "show_progress": "hidden"}


def build_page(app: App) -> gr.Blocks:
    """The page."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=(3600, 3600)) as page:
        # first, since Gradio assigns names in order, also to the page's own private events
        gr.api(app.api_compare, api_name="compare", **BUSY)
        gr.api(app.api_rank, api_name="rank", **BUSY)
        visitor = gr.State(History(None))
        gr.Markdown(f"# {TITLE}\n{ABOUT}")
        lists: list[Any] = []  # every list of judges that can grow
        with gr.Tabs() as tabs:
            with gr.Tab("Judge", id="judge"):
                pair, shown, message = _judge_tab(app, visitor, lists)
            with gr.Tab("Compare", id="compare"):
                _compare_tab(app, visitor, lists)
            with gr.Tab("Rank", id="rank"):
                ranked = _rank_tab(app, visitor, lists)
            with gr.Tab("Blind vote", id="vote"):
                _vote_tab(app, visitor, lists)
            with gr.Tab("History", id="history") as tab:
                _history_tab(app, visitor, tab, tabs, pair, ranked)
        _at_start(page, app, lists, pair, shown)
    return page.queue(max_size=32, default_concurrency_limit=8)


def _at_start(page: gr.Blocks, app: App, lists: list[Any], pair: list[Any], shown: gr.HTML) -> None:
    """Loaded by a fresh page: judges added since the start, and a judgment in the address."""
    page.load(lambda: _choices(app, lists), None, lists, **PRIVATE)
    fragment = gr.Textbox(visible=False)

    def opened(text: str) -> list[Any]:
        if not text.startswith("#judgment="):
            return [gr.skip()] * (1 + len(pair))
        block, row = app.open_link(text)
        return [block, *(_fields(row) if row else [gr.skip()] * len(pair))]

    page.load(opened, [fragment], [shown, *pair], js=FRAGMENT, **PRIVATE)


def _choices(app: App, lists: list[Any]) -> list[Any]:
    """An update of every list of judges."""
    made = [gr.update(choices=app.judge_choices()) for _ in lists]
    return made if len(made) > 1 else made[0]


def _fields(row: dict[str, Any]) -> list[Any]:
    """Question, responses and earlier turns of a row, for the fields of the Judge tab."""
    turns = [[turn["role"], turn["content"]] for turn in row["prompt"][:-1]]
    earlier = turns or [["user", ""], ["assistant", ""]]
    return [row["prompt"][-1]["content"], row["response_a"], row["response_b"], earlier]


def _judge_choice(app: App, lists: list[Any]) -> gr.Dropdown:
    made = gr.Dropdown(list(app.pool.specs), value=app.pool.specs[0], label="Judge", interactive=True)
    lists.append(made)
    return made


def _block(*value: str, **how: Any) -> gr.HTML:
    """A container for one of `rmr1_lite.app.html`'s blocks."""
    return gr.HTML(*value, padding=False, **how)


def _text(label: str, lines: int, **how: Any) -> gr.Textbox:
    return gr.Textbox(label=label, lines=lines, max_lines=12, max_length=service.MAX_CHARS, **how)


def _pair_fields() -> list[gr.Textbox]:
    question = _text("Question", 2)
    with gr.Row():
        return [question, *(_text(f"Response {side}", 4, min_width=220) for side in "AB")]


def _run_buttons(app: App, name: str, message: gr.HTML) -> gr.Button:
    """The button that starts, and the one that stops; Ctrl+Enter and Esc press them."""
    with gr.Row(equal_height=True):
        start = gr.Button(name, variant="primary", elem_classes="rm-go", min_width=120, scale=2)
        stop = gr.Button("Stop", elem_classes="rm-stop", min_width=80)
    stop.click(app.stop, None, message, queue=False, **PRIVATE)
    return start


def _judge_tab(app: App, visitor: gr.State, lists: list[Any]) -> tuple[list[Any], gr.HTML, gr.HTML]:
    message, shown = (
        _block(render=False, elem_classes="rm-message"),
        _block(html.empty(NOTHING, keys=True), render=False, elem_id="judgment"),
    )
    with gr.Row(elem_classes="rm-sides"):
        with gr.Column(scale=5, min_width=320):
            spec = _judge_choice(app, lists)
            line = _block(elem_classes="rm-line")
            fields = _pair_fields()
            start = _run_buttons(app, "Judge", message)
            groups = _examples(app, spec, fields)
            earlier, both, votes = _judge_options()
            with gr.Accordion("About this judge", open=False):
                card = _block()
            if app.owner:
                _add_judge(app, lists)
        with gr.Column(scale=7, min_width=320):
            message.render()
            shown.render()
    inputs = [spec, *fields[:1], earlier, *fields[1:], both, votes, visitor]
    judged = start.click(app.judge, inputs, [shown, message, visitor], **PRIVATE, **BUSY)
    about = {"fn": app.about, "inputs": [spec], "outputs": [card, line, *groups], **PRIVATE}
    spec.change(**about)
    judged.then(**about)  # by then it is loaded, or the reason why not is known
    card.value, line.value, *_ = app.about(app.pool.specs[0])
    return [*fields, earlier], shown, message


def _judge_options() -> tuple[Any, Any, Any]:
    with gr.Accordion("Orders, votes and earlier turns", open=False):
        both = gr.Checkbox(
            True, label="Both orders", info="Without this, a judge that favours one position looks confident."
        )
        votes = gr.Slider(
            0,
            8,
            0,
            step=1,
            label="Votes per order",
            info="Sampled for a confidence; 0 uses the log-probability.",
        )
        # empty rows to type into; rows without a text are left out
        earlier = gr.Dataframe(
            [["user", ""], ["assistant", ""]],
            headers=["role (user or assistant)", "text"],
            datatype="str",
            column_count=2,
            column_widths=["20%", "80%"],
            interactive=True,
            wrap=True,
            label="Earlier turns of the conversation, oldest first; the question above comes last",
        )
    return earlier, both, votes


def _examples(app: App, spec: gr.Dropdown, fields: list[gr.Textbox]) -> list[gr.Dataset]:
    """Cards that fill the fields: everyday questions, and those of the nano world for nano judges."""
    with gr.Row():
        swap = gr.Button("Swap A and B", size="sm", min_width=100)
        other = gr.Button("Random example", size="sm", min_width=100)
    swap.click(None, fields[1:], fields[1:], js=SWAP, api_visibility="private")
    other.click(app.any_example, [spec], fields, **PRIVATE)
    groups = []
    for nano in (False, True):
        cards = app.cards(nano)
        made = gr.Dataset(
            components=fields,
            samples=[list(card) for card in cards.values()],
            sample_labels=[name.removeprefix("Nano: ") for name in cards],
            label="Examples of the nano world" if nano else "Examples",
            samples_per_page=20,
            visible=knows_nano_only(app.pool.specs[0]) == nano,
            elem_classes="rm-examples",
        )
        made.click(lambda card: card, [made], fields, **PRIVATE)
        groups.append(made)
    return groups


def _add_judge(app: App, lists: list[Any]) -> None:
    with gr.Accordion("Add a judge", open=False):
        typed = gr.Textbox(
            label="Judge to add",
            placeholder="runs/grpo/adapter, owner/name or openai:MODEL@http://127.0.0.1:8000/v1",
            info="An adapter folder, a hub id, or an endpoint. It stays until the app stops.",
        )
        style = gr.Dropdown(
            list(STYLES),
            label="Prompt style",
            info="auto: the style it was trained with. For a model from elsewhere choose rubrics.",
        )
        add, state, ready = gr.Button("Add", min_width=80), _block(elem_id="added"), gr.State(False)
    # outside the queue of judgments: a judge that loads for minutes delays no one
    done = gr.on(
        [add.click, typed.submit],
        app.add_judge,
        [typed, style],
        [state, typed, ready],
        concurrency_limit=4,
        **PRIVATE,
    )
    done.then(lambda: _choices(app, lists), None, lists, **PRIVATE)


def _compare_tab(app: App, visitor: gr.State, lists: list[Any]) -> None:
    specs = gr.CheckboxGroup(list(app.pool.specs), value=list(app.pool.specs), label="Judges")
    lists.append(specs)
    fields, message = _pair_fields(), _block(render=False, elem_classes="rm-message")
    start = _run_buttons(app, "Compare", message)
    message.render()
    shown = _block(html.empty("The judges appear here next to each other, each in both orders."))
    start.click(app.compare, [specs, *fields, visitor], [shown, message, visitor], **PRIVATE, **BUSY)


def _rank_tab(app: App, visitor: gr.State, lists: list[Any]) -> list[gr.Textbox]:
    spec, question = _judge_choice(app, lists), _text("Question", 2)
    responses = []
    for row in range(0, service.MAX_RESPONSES, 2):
        with gr.Row():
            responses += [_text(f"Response {i + 1}", 2, min_width=260) for i in (row, row + 1)]
    message = _block(render=False, elem_classes="rm-message")
    start = _run_buttons(app, "Rank", message)
    message.render()
    shown = _block(html.empty("Every response is compared with every other one, in both orders."))
    inputs = [visitor, spec, question, *responses]
    start.click(app.rank, inputs, [shown, message, visitor], **PRIVATE, **BUSY)
    return [question, *responses]


def _vote_tab(app: App, visitor: gr.State, lists: list[Any]) -> None:
    gr.Markdown(
        "Vote before you see the judge's verdict. Your votes stay in your history, rank the judges by how "
        "often they agree with you, and can be exported as training pairs."
    )
    spec = _judge_choice(app, lists)
    draw = gr.Button("Draw a pair")
    fields = _pair_fields()
    choice = gr.Radio(list(CHOICES), label="Your vote")
    start = gr.Button("Vote, then see the judge", variant="primary", elem_classes="rm-go")
    message, shown, counts = _block(elem_classes="rm-message"), _block(), _block()
    draw.click(app.draw, [spec], [*fields, choice, shown], **PRIVATE)
    inputs = [spec, *fields, choice, visitor]
    start.click(app.vote, inputs, [shown, message, counts, visitor], **PRIVATE, **BUSY)


def _history_tab(
    app: App, visitor: gr.State, tab: gr.Tab, tabs: gr.Tabs, pair: list[Any], ranked: list[gr.Textbox]
) -> None:
    place = (
        "only in this browser session and is lost when it ends"
        if app.public
        else f"on this machine: `{app.kept.path}`"
    )
    gr.Markdown(f"Click a row to see it again. The history stays {place}.")
    table = gr.Dataframe(
        headers=HEAD,
        datatype="str",
        interactive=False,
        wrap=True,
        label="History",
        column_widths=["200px", "100px", "200px", "400px", "120px", "130px"],
    )
    row = gr.State(None)
    with gr.Row():
        again = gr.Button("Load into the fields", min_width=180)
        upload = gr.UploadButton("Open a saved judgment", file_types=[".json"], type="binary", min_width=180)
    shown, counts = _block(), _block()
    with gr.Row():
        labels = ("All as JSONL", "All as CSV", "Votes as training pairs")
        files = [gr.DownloadButton(label, min_width=140) for label in labels]
        clear = gr.Button("Delete the history", variant="stop", min_width=140)
    listing = {"fn": app.listed, "inputs": [visitor], "outputs": [table, *files, counts], **PRIVATE}
    tab.select(**listing)
    table.select(app.restore, [visitor], [shown, row], **PRIVATE)
    upload.upload(app.open_file, [upload], [shown, row], **PRIVATE)
    again.click(_again, [row], [tabs, *pair, *ranked], **PRIVATE)
    clear.click(app.forget, [visitor], [visitor, shown, row], **PRIVATE).then(**listing)


def _again(row: dict[str, Any] | None) -> list[Any]:
    """The tab of such a row, with its fields filled; nothing if no row was chosen."""
    keep = gr.skip()
    if row is None:
        return [keep] * (2 + 4 + service.MAX_RESPONSES)
    if row["kind"] != "rank":
        return [gr.update(selected="judge"), *_fields(row), *[keep] * (1 + service.MAX_RESPONSES)]
    responses = [*row["responses"], *[""] * service.MAX_RESPONSES][: service.MAX_RESPONSES]
    return [gr.update(selected="rank"), *[keep] * 4, row["prompt"][-1]["content"], *responses]


def app_theme() -> gr.themes.Base:
    """System fonts: nothing is fetched. The button's blue is dark enough for its white text."""
    made = gr.themes.Base(
        primary_hue="blue", font=("system-ui", "sans-serif"), font_mono=("ui-monospace", "monospace")
    )
    return made.set(
        button_primary_background_fill="*primary_600", button_primary_background_fill_hover="*primary_700"
    )

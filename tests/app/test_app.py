"""The app without a browser: checks, display, storage, exports, and permissions."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmr1_lite.app import html, launch, service
from rmr1_lite.app.examples import EVERYDAY, EVERYDAY_CARDS, examples_for
from rmr1_lite.app.history import History, as_csv, as_jsonl, as_pairs, count_agreement
from rmr1_lite.app.launch import credentials, default_judges
from rmr1_lite.app.service import Progress, as_row, checked_pair, checked_responses, from_row, judge_live
from rmr1_lite.data.nano.tasks import TASKS
from rmr1_lite.data.pairs import read_pairs
from rmr1_lite.judging.pool import JudgePool
from rmr1_lite.storage import json_line
from rmr1_lite.types import Generation, InputError, Look, Pair, Verdict

HOSTILE = (
    "<script>alert(1)</script><img src=x "
    "onerror=alert(1)>[x](javascript:alert(1))![p](http://x.example/p.png)${alert(1)}{{7*7}}"
)


@pytest.mark.parametrize(
    ("question", "a", "b", "earlier", "said"),
    [
        ("", "x", "y", [], "Question is empty"),
        ("q", " \n", "y", [], "Response A is empty"),
        ("q", "x", None, [], "Response B is empty"),
        ("q", "x" * (service.MAX_CHARS + 1), "y", [], "Response A has 20,001 characters"),
        ("q", "x", "y", [["robot", "hi"]], "row 1: the role is 'robot'"),
        ("q", "x", "y", [["user", "hi"]] * 21, "there are 21"),
    ],
)
def test_wrong_fields_are_named(question, a, b, earlier, said):
    with pytest.raises(InputError, match=said):
        checked_pair(question, a, b, earlier)


def test_earlier_turns_come_first_and_empty_rows_are_left_out():
    pair = checked_pair("and then?", "x", "y", [["User", "hello"], ["", ""], ["assistant ", "hi"]])
    assert [(turn["role"], turn["content"]) for turn in pair.prompt] == [
        ("user", "hello"),
        ("assistant", "hi"),
        ("user", "and then?"),
    ]


RESPONSES = [(["a", "", " "], "1 responses"), (["a"] * 9, "9 responses"), (["a", "b" * 20_001], "2 has")]


@pytest.mark.parametrize(("responses", "said"), RESPONSES)
def test_responses_to_rank_are_checked(responses, said):
    with pytest.raises(InputError, match=said):
        checked_responses("q", responses)


def replay(tmp_path, texts: dict[str, str]) -> tuple[JudgePool, str]:
    """A pool with one judge that says `texts` by order, whatever the pair; the pair's id is fixed for it."""
    log = tmp_path / "log.jsonl"
    log.write_text(
        "".join(json_line({"id": "p", "order": order, "text": text}) for order, text in texts.items())
    )
    spec = f"replay:{log}"
    return JudgePool([spec], style="compact"), spec


SAID = (
    "<type>Chat</type><rubric><justify>why</justify> act 4</rubric><eval><quote_A> a</quote_A> yes</eval>"
    "<answer>[[{}]]</answer>"
)
PAIR = Pair("p", ({"role": "user", "content": "q"},), "x", "y")


@pytest.mark.parametrize(
    ("ab", "ba", "label", "flipped", "said"),
    [
        ("A", "B", "A", False, ("Response A is better.", "Both orders agree")),
        ("B", "A", "B", False, ("Response B is better.", "Both orders agree")),
        ("A", "A", None, True, ("Changed its mind when swapped: treat as a tie.", "The orders disagree")),
        ("A", "C", None, False, ("Not every order gave a verdict.", "Not comparable")),
        ("C", "C", None, False, ("No verdict.", "Not comparable")),
    ],
)
def test_both_orders_are_told_plainly(tmp_path, ab, ba, label, flipped, said):
    pool, spec = replay(tmp_path, {"ab": SAID.format(ab), "ba": SAID.format(ba)})
    *_, progress = judge_live(pool, spec, PAIR)
    assert (progress.label, progress.flipped, progress.done) == (label, flipped, True)
    page = html.judgment(progress)
    assert all(words in page for words in said) and "Swapped order" in page
    titles = (
        "Type of question",
        "Rubric",
        "Why these criteria",
        "Evaluation",
        "Quotes Response A",
        "Verdict",
    )
    assert [title for title in titles if title not in page] == []
    assert "Quotes Response B (its “A”)" in page, "in swapped order its A is the person's B"
    assert page.index("rm-summary") < page.index("rm-response") < page.index("rm-look"), (
        "verdict, then reasons"
    )
    back = from_row(json.loads(json.dumps(as_row(PAIR, progress))))
    assert html.judgment(back) == page, "a restored judgment looks as it did"


def test_one_order_is_told_as_such(tmp_path):
    pool, spec = replay(tmp_path, {"ab": SAID.format("A")})
    *_, progress = judge_live(pool, spec, PAIR, both=False)
    assert progress.label == "A" and "One order only" in html.judgment(progress)


@pytest.mark.parametrize("status", ["missing", "conflict", "trailing", "truncated", "too_long", "error"])
def test_what_could_not_be_read_is_shown_with_its_reason(status):
    progress = Progress(
        "j", {"ab": "text"}, {"ab": Look("ab", Generation("text"), Verdict(None, status))}, done=True
    )
    assert html.REASONS[status].split(":")[0] in html.judgment(progress)


def test_a_text_that_is_being_written_shows_its_open_block():
    page = html.judgment(Progress("j", {"ab": "<type>Chat</type><rubric><justify>because it"}))
    assert "writing" in page and "because it" in page and "rm-busy" in page and "rm-summary" not in page


@settings(max_examples=60)
@given(st.text(max_size=60), st.sampled_from(["type", "rubric", "eval", "quote_A", "solution"]))
def test_nothing_that_was_written_becomes_markup(text, tag):
    """Only the page's own tags appear, whatever the model wrote."""
    written = f"<{tag}>{HOSTILE}{text}</{tag}><answer>[[A]]</answer>"
    look = Look("ab", Generation(written), Verdict("A", "ok", service.parse_partial(written).sections))
    progress = Progress(HOSTILE, {"ab": written}, {"ab": look})
    for page in (html.judgment(progress, HOSTILE), html.notice(HOSTILE + text)):
        for bad in ("<script", "<img", "onerror=alert(1)>"):
            assert bad not in page


def row(**changes) -> dict:
    return {
        "kind": "compare",
        "judge": "nano",
        "prompt": [{"role": "user", "content": "q"}],
        "response_a": "x",
        "response_b": "y",
        "verdict": "A",
        "flipped": False,
        "probability_a": 0.9,
        "probability_source": "votes",
        "seconds": 1.0,
        "tokens": 5,
        "looks": [],
        **changes,
    }


@pytest.mark.parametrize("in_file", [True, False])
def test_history_keeps_rows_latest_first(tmp_path, in_file):
    path = tmp_path / "deep" / "h.sqlite3" if in_file else None
    kept = History(path)
    made = [kept.add(row(judge=f"j{i}")) for i in range(3)]
    if in_file:
        kept = History(path)
    assert [r["judge"] for r in kept.rows()] == ["j2", "j1", "j0"] and kept.get(made[1]["id"])[
        "judge"
    ] == "j1"
    assert kept.rows("vote") == [] and kept.get("nobody") is None
    kept.clear()
    assert kept.rows() == []


def test_history_is_written_by_several_threads_at_once(tmp_path):
    kept = History(tmp_path / "h.sqlite3")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: kept.add(row(judge=f"j{i}")), range(40)))
    assert len(kept.rows()) == 40


def test_a_file_that_is_no_history_is_left_alone(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("my notes, not a database " * 50)
    with pytest.raises(InputError, match="not a history file"):
        History(path)
    assert path.read_text().startswith("my notes")


def test_votes_export_as_pairs_that_data_reads(tmp_path):
    kinds = ("A", "B", "tie", "bad")
    rows = [row(id=str(i), kind="vote", vote=vote) for i, vote in enumerate(kinds, 1)] + [row(id="5")]
    (tmp_path / "votes.jsonl").write_text(as_pairs(rows))
    read = read_pairs(tmp_path / "votes.jsonl")
    assert not read.problems and [pair.id for pair in read.pairs] == ["1", "2"]
    chosen = [pair.response_a if pair.label == "A" else pair.response_b for pair in read.pairs]
    assert chosen == ["x", "y"]


def test_agreement_counts_ties_and_undecided_apart():
    rows = [
        row(kind="vote", vote=vote, verdict=verdict)
        for vote, verdict in [("A", "A"), ("A", "B"), ("tie", "A"), ("B", None), ("tie", None), ("bad", "A")]
    ]
    assert count_agreement(rows) == {"agree": 1, "differ": 1, "tie": 2, "bad": 1, "undecided": 1}
    assert "50%" in html.votes(rows) and "no decided pair yet" in html.votes([])


def test_the_judge_that_agrees_most_with_the_votes_comes_first():
    said = {"weak": ("A", "B"), "strong": ("A", "A"), "silent": (None, None)}
    rows = [row(kind="vote", vote="A", judge=judge, verdict=v) for judge, vs in said.items() for v in vs]
    page = html.votes(rows)
    assert sorted(said, key=page.index) == ["strong", "weak", "silent"] and "100%" in page


def test_exports_hold_every_row_and_no_formula():
    rows = [row(id="1", created="t", response_a="=1+1", prompt=[{"role": "user", "content": "@x\nü"}])]
    assert [json.loads(line) for line in as_jsonl(rows).splitlines()] == rows
    (found,) = csv.DictReader(io.StringIO(as_csv(rows)))
    assert (found["response_a"], found["question"], found["verdict"]) == ("'=1+1", "'@x\nü", "A")


@pytest.mark.parametrize(
    ("auth", "share", "wanted", "reason"),
    [
        ("", False, None, "a page of one's own"),
        ("me:longenough", False, ("me", "longenough"), "asked for"),
        ("me:longenough", True, ("me", "longenough"), "also on a public link"),
    ],
)
def test_credentials(auth, share, wanted, reason):
    assert credentials(auth, share) == wanted, reason


def test_a_public_link_gets_a_password(capsys):
    name, password = credentials("", True)
    assert (
        len(password) >= 12
        and password in capsys.readouterr().out
        and credentials("", True) != (name, password)
    )


@pytest.mark.parametrize("auth", ["me", "me:", ":longenough", "me:short"])
def test_a_password_that_is_none_is_refused(auth):
    with pytest.raises(InputError, match="NAME:PASSWORD"):
        credentials(auth, True)


def test_default_judges_are_what_the_demo_made(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(launch.smol, "is_here", lambda: True)
    assert default_judges() == ["smol-base", "nano", "nano-sft", "nano-base"], "natural language first"
    monkeypatch.setattr(launch.smol, "is_here", lambda: False)
    assert default_judges() == ["nano", "nano-sft", "nano-base"]
    for stage in ("sft", "grpo"):
        folder = tmp_path / "runs" / "demo" / stage / "adapter"
        folder.mkdir(parents=True)
        (folder / "adapter_model.safetensors").touch()
    assert default_judges() == ["runs/demo/grpo/adapter", "runs/demo/sft/adapter", "nano-base"]


def test_examples_suit_the_judges():
    assert examples_for(["nano", "nano-sft"])[0] not in EVERYDAY and EVERYDAY[0] in examples_for(
        ["owner/model"]
    )
    assert len({question for question, _, _ in examples_for(["nano"])}) == len(TASKS), "one of each task"
    both = examples_for(["nano", "owner/model"])
    assert both[0] == EVERYDAY[0] and len(both) > len(EVERYDAY), "natural language first"


def test_everyday_examples_are_real_pairs_of_which_length_tells_nothing():
    assert len(EVERYDAY) >= 8 and len({kind.partition(":")[0] for kind in EVERYDAY_CARDS}) == len(EVERYDAY)
    for example in EVERYDAY:
        checked_pair(*example)
    better = dict(zip(EVERYDAY_CARDS, "BABBABAA", strict=True))
    longer = [(len(a) > len(b)) == (better[kind] == "A") for kind, (_, a, b) in EVERYDAY_CARDS.items()]
    assert 2 <= sum(longer) <= len(longer) - 2 and {"A", "B"} == set(better.values())
    assert len(EVERYDAY_CARDS["Reply: move a meeting"][1]) > 3 * len(
        EVERYDAY_CARDS["Reply: move a meeting"][2]
    )


def test_a_history_of_strangers_is_never_written(tmp_path):
    from rmr1_lite.app.actions import App

    path = tmp_path / "h.sqlite3"
    app = App(JudgePool(["nano"]), History(None), public=True)
    mine, other = History(None), History(None)
    app.history(mine).add(row())
    assert len(mine.rows()) == 1 and other.rows() == [] and app.kept.rows() == [] and not path.exists()


def test_sqlite_rows_are_json(tmp_path):
    kept = History(tmp_path / "h.sqlite3")
    kept.add(row(response_a=HOSTILE))
    ((text,),) = sqlite3.connect(tmp_path / "h.sqlite3").execute("SELECT row FROM rows").fetchall()
    assert json.loads(text)["response_a"] == HOSTILE

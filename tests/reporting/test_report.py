"""The report: self-contained, inert whatever was judged, and still a report when parts are missing."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

from rmr1_lite.cli.outputs import print_report
from rmr1_lite.evaluation.metrics import length_bias, paired_difference, score
from rmr1_lite.evaluation.results import new_results
from rmr1_lite.evaluation.results_file import load_results, save_results
from rmr1_lite.reporting.report import format_p_value, format_percent, is_nano, summary_sentence, write_report
from rmr1_lite.types import Generation, InputError, Judgment, Look, Pair, Verdict

HOSTILE = '</td><script>alert(1)</script><img src="http://x/y"> {{ 7*7 }} \' onclick="z'
PAIRS = [
    Pair(f"p{i}", ({"role": "user", "content": HOSTILE},), HOSTILE, "no", "A", HOSTILE) for i in range(8)
]
VOID = {"meta", "img", "source", "br"}


def judged(right: int) -> list[Judgment]:
    """The first `right` pairs right in both orders, the others wrong."""

    def look(order, good):
        shown = "A" if (order == "ab") == good else "B"
        return Look(order, Generation("t", completion_tokens=3), Verdict(shown, "ok"))

    return [Judgment(p.id, tuple(look(o, i < right) for o in ("ab", "ba"))) for i, p in enumerate(PAIRS)]


@pytest.fixture
def run(tmp_path):
    """A run folder with results only, with hostile text in every possible field."""
    results = new_results(
        0, f"python -m rmr1_lite demo {HOSTILE}", {"world": "nano", "teacher": {HOSTILE: HOSTILE}}
    )
    for name, right in (("base", 1), ("sft", 4), ("grpo", 7), (HOSTILE, 2)):
        bias = length_bias(PAIRS, judged(right))
        results.add_stage(score(name, PAIRS, judged(right), 1.0), baseline=name == HOSTILE, length_bias=bias)
    results.add_difference("sft", "grpo", paired_difference(judged(4), judged(7), PAIRS))
    results.quoted[HOSTILE] = {"source": HOSTILE, HOSTILE: HOSTILE}
    results.versions[HOSTILE] = HOSTILE
    save_results(results, tmp_path / "results.json")
    return tmp_path


def example(*looks, **pair) -> dict:
    """One row of examples.json; the same looks before and after."""
    whole = {
        "id": "p0",
        "prompt": [{"role": "user", "content": "q"}],
        "response_a": "yes",
        "response_b": "no",
    }
    return {
        "pair": {**whole, "label": "A", "section": "Chat", **pair},
        "looks": {"sft": looks, "grpo": looks},
    }


def look(text: str, label: str | None = "A", status: str = "ok", order: str = "ab") -> dict:
    return {"order": order, "text": text, "status": status, "label": label}


def with_examples(run, *rows):
    (run / "examples.json").write_text(json.dumps(rows))
    return write_report(run).read_text(encoding="utf-8")


def with_logs(run):
    for stage, row in (
        ("sft", {"loss": 1.0, "eval/strict_accuracy": 0.5}),
        ("grpo", {"rollout/reward_mean": 0.1, "kl": 0.0}),
    ):
        (run / stage).mkdir()
        lines = [json.dumps({"step": step, **row}) for step in range(3)]
        (run / stage / "metrics.jsonl").write_text("\n".join(lines) + "\n")


class Page(HTMLParser):
    """A browser's view: tags, attributes, and whether every element is closed correctly."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.attributes, self.open, self.words = set(), [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs
        self.open += [] if tag in VOID else [tag]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += [] if self.open and self.open[-1] == "style" else [data]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_nothing_that_was_judged_is_markup(run):
    chain = f"<type>{HOSTILE}</type><rubric>{HOSTILE}</rubric><eval>{HOSTILE}</eval><answer>[[A]]</answer>"
    with_logs(run)
    hostile = {"response_a": HOSTILE, "section": HOSTILE, "prompt": [{"role": "user", "content": HOSTILE}]}
    raw = with_examples(run, example(look(chain), look(HOSTILE, None, "missing"), **hostile))
    page = Page(raw)
    assert page.open == [] and not page.tags & {
        "script",
        "iframe",
        "object",
        "embed",
        "form",
        "link",
        "base",
        "svg",
    }
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "<script" not in raw and "&lt;script&gt;alert(1)" in raw
    assert " ".join(HOSTILE.split()) in page.text, "shown as it was written, not evaluated: no 49"


def test_nothing_is_fetched(run):
    with_logs(run)
    page = Page(with_examples(run, example(look(HOSTILE))))
    links = ("src", "srcset", "href", "action", "data", "poster")
    sources = [value for name, value in page.attributes if name in links]
    assert len(sources) == 2 * 4, "four panels, light and dark"
    assert all(source.startswith("data:image/png;base64,iVBOR") for source in sources)
    assert any("default-src 'none'" in (value or "") for _, value in page.attributes), (
        "and a browser is told so"
    )
    assert "url(" not in (run / "report.html").read_text()


def test_smols_results_in_the_nano_world_are_called_smols(run):
    stored = json.loads((run / "results.json").read_text())
    stored["command"] = "python -m rmr1_lite demo --model smol-base"
    (run / "results.json").write_text(json.dumps(stored))
    text = Page(write_report(run).read_text()).text
    assert "smol's results in the nano world" in text and "nano results" not in text


def test_light_and_dark(run):
    with_logs(run)
    raw = write_report(run).read_text()
    assert raw.count("prefers-color-scheme") == 1 + 4, "the colours, and each of the four panels"
    light, dark = (
        set(re.findall(pattern, raw)) for pattern in (r'img alt="[^"]+" src="([^"]+)', r'srcset="([^"]+)')
    )
    assert len(light) == len(dark) == 4 and not light & dark


def test_the_figures_are_there(run):
    text = Page(write_report(run).read_text()).text
    assert (
        "Right in both orders on 50.0 % of 8 unseen pairs after SFT and on 87.5 % after GRPO: +37.5 points"
        in text
    )
    assert "nano results" in text and "does not judge natural language" in text
    assert "87.5 % 52.9 to 97.8" in text, "strict accuracy with its interval: 7 of 8 by Wilson"
    assert "Stages base" in text and "Baselines" in text and "Differences, pair by pair" in text
    assert "0.25" in text, "McNemar: 3 gained, 0 lost, 2 / 2^3"
    assert "is the longer one 8" in text, "the length table: every better response is the longer one"
    assert "teacher." in text and "python -m rmr1_lite demo" in text and "Quoted, not measured here" in text


def test_without_logs_and_examples(run):
    text = Page(write_report(run).read_text()).text
    assert "How this was obtained" in text and "Training" not in text and "before and after" not in text


def test_without_matplotlib_the_page_says_what_to_install(run, monkeypatch, capsys):
    with_logs(run)
    assert "data:image/png" in write_report(run).read_text() and "Plots are left out" not in run_page(run)
    monkeypatch.setattr("rmr1_lite.reporting.plots.is_here", lambda module: module != "matplotlib")
    print_report(run)
    assert "data:image/png" not in run_page(run) and "Plots are left out" in run_page(run)
    assert 'pip install "rmr1_lite[data]"' in capsys.readouterr().out, "said in the terminal too"
    assert not (run / "curves.png").exists()


def run_page(run):
    return (run / "report.html").read_text()


def test_results_without_a_stage(tmp_path):
    save_results(new_results(0, "rmr1_lite evaluate --model hub/model"), tmp_path / "results.json")
    text = Page(write_report(tmp_path).read_text()).text
    assert "0 judges on the same pairs" in text and "nano" not in text and "By section" not in text


def test_a_judge_that_says_nothing_has_a_dash(run):
    results = load_results(run / "results.json")
    looks = tuple(Look(order, Generation(""), Verdict(None, "truncated")) for order in ("ab", "ba"))
    mute = [Judgment(p.id, looks) for p in PAIRS]
    results.add_stage(score("mute", PAIRS, mute, 0.0), length_bias=length_bias(PAIRS, mute))
    save_results(results, run / "results.json")
    text = Page(write_report(run).read_text()).text
    assert re.search(
        r"mute 8 0\.0 % 0\.0 to 32\.4 .{0,60}– 100\.0 % 67\.6 to 100\.0 truncated 100\.0 %", text
    )


CHAIN = (
    "<type>Chat</type>\n<rubric>Care.<justify>Why</justify></rubric>\n"
    "<eval>good</eval>\n<answer>[[B]]</answer>"
)
LOOKS = [
    (
        look(CHAIN, "B"),
        "✗ wrong type Chat rubric Care. Why eval good answer [[B]] verdict Response B",
        "a chain",
    ),
    (look(CHAIN, "A", order="ba"), "✓ right type Chat", "the letter shown is B, which is Response A here"),
    (look(CHAIN, "A", order="ba"), "verdict Response A (shown as B)", "and that is said"),
    (
        look("<eval>cut", None, "truncated"),
        "unparsed eval cut verdict none: truncated",
        "a chain that was cut off",
    ),
    (
        look("no tags at all"),
        "✓ right verdict Response A as written no tags at all",
        "no sections: the text itself",
    ),
    (look("", None, "error"), "unparsed verdict none: error as written", "nothing was written"),
    (look("\ud800 half a character"), "? half a character", "what UTF-8 cannot hold"),
]


@pytest.mark.parametrize(("one", "said", "reason"), LOOKS, ids=[row[-1] for row in LOOKS])
def test_chains_are_readable(run, one, said, reason):
    assert said in Page(with_examples(run, example(one))).text


@pytest.mark.parametrize(
    ("gold", "said", "mark"), [("A", "A", "✓"), ("A", "B", "✗"), ("B", "A", "✗"), ("B", "B", "✓")]
)
def test_right_and_wrong_are_signs_not_colours(run, gold, said, mark):
    text = Page(with_examples(run, example(look("x", said), label=gold))).text
    assert f"sft {mark}" in text and f"Response {gold} (the better one)" in text


def test_a_pair_without_a_label_is_neither_right_nor_wrong(run):
    text = Page(with_examples(run, example(look("x", None, "missing"), look("x", "A"), label=None))).text
    assert "unparsed" in text and "not labelled" in text and "right type" not in text
    assert "✓" not in text and "✗" not in text and "(the better one)" not in text


def test_conversations_show_every_turn(run):
    turns = [
        {"role": role, "content": f"turn {i}"}
        for i, role in enumerate(("system", "user", "assistant", "user"))
    ]
    text = Page(with_examples(run, example(look("x"), prompt=turns))).text
    assert "system turn 0 user turn 1 assistant turn 2 user turn 3" in text


BROKEN = [
    ("[", r"examples\.json is not JSON", "half a file"),
    ("{}", r"examples\.json must hold a list, not dict", "another JSON value"),
    ("[1]", r"examples\.json, row 1 must be an object", "no object"),
    ([example(), {"pair": {}}], r"row 2: field 'looks' is missing", "a field is missing"),
    ([example(response_a="")], r"row 1, pair\.response_a: is empty", "a pair that is none"),
    (
        [example({"order": "ab", "text": "t"})],
        r"looks\.sft\[0\]: field 'status' is missing",
        "a look without status",
    ),
    ([example(look("t", "C"))], r"looks\.sft\[0\]: field 'label' is 'C'", "a letter that is none"),
    ([{**example(), "looks": {"sft": 1}}], r"looks: field 'sft' must be a list", "no list of looks"),
]


@pytest.mark.parametrize(("content", "said", "reason"), BROKEN, ids=[row[-1] for row in BROKEN])
def test_broken_examples_are_named(run, content, said, reason):
    (run / "examples.json").write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(InputError, match=said):
        write_report(run)
    assert not (run / "report.html").exists()


def test_missing_results_are_named(tmp_path):
    with pytest.raises(
        InputError, match=r"results\.json does not exist\. Make it with `python -m rmr1_lite demo`"
    ):
        write_report(tmp_path)


NANO = [
    ("rmr1_lite evaluate --model nano --pairs x.jsonl", {}, True, "the shipped judge"),
    ("rmr1_lite evaluate --model=nano-base", {}, True, "the shipped base"),
    ("rmr1_lite demo --model hub/model", {"world": "nano"}, True, "another model in the nano world"),
    ("rmr1_lite evaluate --model gpt-5-nano", {}, False, "another nano"),
    ("rmr1_lite evaluate --model nanochat", {}, False, "a longer word"),
    ("rmr1_lite evaluate --model hub/model", {"pairs": "test.jsonl"}, False, "a model of its own"),
]


@pytest.mark.parametrize(("command", "data", "wanted", "reason"), NANO, ids=[row[-1] for row in NANO])
def test_nano_results_are_called_so(command, data, wanted, reason):
    assert is_nano(new_results(0, command, data)) is wanted


def test_the_sentence(run):
    results = load_results(run / "results.json")
    assert re.search(
        r"\+37\.5 points \(95 % interval [+-]\d+\.\d to \+\d+\.\d\)\.$", summary_sentence(results)
    )
    results.differences = []
    assert summary_sentence(results).endswith("after GRPO: +37.5 points.")
    del results.stages["sft"]
    assert summary_sentence(results) == "3 judges on the same pairs, each judged in both orders."


def test_numbers_are_short_and_honest():
    assert (format_percent(0.8549), format_percent(None), format_percent(1)) == ("85.5 %", "–", "100.0 %")
    assert (format_p_value(0.04), format_p_value(0.00123), format_p_value(1e-9), format_p_value(1.0)) == (
        "0.04",
        "0.0012",
        "< 0.0001",
        "1",
    )

"""The report: self-contained, inert whatever was judged, and still a report when parts are missing."""

from __future__ import annotations

import json
import re

import pytest

from rmr1_lite.metrics import paired, score
from rmr1_lite.report import sentence, write_report
from rmr1_lite.results import add_difference, add_stage, new, save
from rmr1_lite.types import Generation, InputError, Judgment, Look, Pair, Verdict

HOSTILE = '</td><script>alert(1)</script><img src="http://x/y"> {{ 7*7 }}'
PAIRS = [Pair(f"p{i}", ({"role": "user", "content": HOSTILE},), HOSTILE, "no", "A", "Chat") for i in range(8)]


def judged(right: int) -> list[Judgment]:
    """The first `right` pairs right in both orders, the others wrong."""
    def look(order, good):
        shown = "A" if (order == "ab") == good else "B"
        return Look(order, Generation("t", completion_tokens=3), Verdict(shown, "ok"))

    return [Judgment(p.id, tuple(look(o, i < right) for o in ("ab", "ba"))) for i, p in enumerate(PAIRS)]


@pytest.fixture
def run(tmp_path):
    results = new(0, f"command {HOSTILE}")
    for name, right in (("base", 1), ("sft", 4), ("grpo", 7)):
        add_stage(results, score(name, PAIRS, judged(right), 1.0))
    add_difference(results, "sft", "grpo", paired(judged(4), judged(7), PAIRS))
    save(results, tmp_path / "results.json")
    return tmp_path


def full(run):
    text = f"<type>Chat</type><eval>{HOSTILE}</eval><answer>[[A]]</answer>"
    looks = [{"order": "ab", "text": text, "status": "ok", "label": "A"}]
    pair = {"id": "p0", "prompt": [{"role": "user", "content": HOSTILE}], "response_a": HOSTILE, "response_b": "no",
            "label": "A", "section": HOSTILE}  # fmt: skip
    (run / "examples.json").write_text(json.dumps([{"pair": pair, "looks": {"sft": looks, "grpo": looks}}]))
    for stage, row in (("sft", {"loss": 1.0, "eval/strict_accuracy": 0.5}), ("grpo", {"reward/mean": 0.1, "kl": 0.0})):
        (run / stage).mkdir()
        lines = [json.dumps({"step": step, **row}) for step in range(3)]
        (run / stage / "metrics.jsonl").write_text("\n".join(lines) + "\n")


def test_nothing_judged_is_markup_and_nothing_is_fetched(run):
    full(run)
    page = write_report(run).read_text()
    assert "<script" not in page and "<img src" not in page and "49" not in re.findall(r"\{\{.*?\}\}", page)
    assert "&lt;script&gt;alert(1)" in page and "{{ 7*7 }}" in page, "shown as written, not evaluated"
    sources = re.findall(r'(?:src|srcset|href)="([^"]{0,30})', page)
    assert sources and all(source.startswith("data:image/png") for source in sources)
    assert "✓ right" in page and "prefers-color-scheme: dark" in page


def test_a_report_without_logs_and_examples(run):
    page = write_report(run).read_text()
    assert "nano results" in page and "Training</h2>" not in page and "before and after" not in page


def test_the_sentence_names_the_gain(run):
    results = json.loads((run / "results.json").read_text())
    assert "50.0% after SFT, 87.5% after GRPO, a difference of +37.5%" in sentence(results)
    del results["stages"]["sft"]
    assert sentence(results) == "2 judges on the same pairs."


def test_missing_results_are_named(tmp_path):
    with pytest.raises(InputError, match=r"results\.json does not exist; write it with"):
        write_report(tmp_path)


def test_broken_examples_are_named(run):
    (run / "examples.json").write_text("[")
    with pytest.raises(InputError, match=r"examples\.json is not JSON"):
        write_report(run)

"""The bias card as a page, a plot and a section of a README: self-contained, inert whatever the judge is
called, and complete where parts were not measured."""

from __future__ import annotations

import json
import re

import pytest
from fixtures.rules import Rule, always_a, letters_of, oracle, silent

from rmr1_lite.evaluation.bias.changes import CHANGES
from rmr1_lite.evaluation.bias.copies import choose_changes, make_plan
from rmr1_lite.evaluation.bias.effects import measure_effects
from rmr1_lite.evaluation.bias.measure import position_shares
from rmr1_lite.evaluation.bias.pairs import nano_pairs
from rmr1_lite.evaluation.bias.wording import NANO
from rmr1_lite.models.adapters import fingerprint_of
from rmr1_lite.models.bias_card import BiasCard, read_card
from rmr1_lite.models.judge_specs import NANO as ADAPTERS
from rmr1_lite.models.model_card import attach_bias_card, attachable, with_bias_card
from rmr1_lite.reporting.bias_page import write_bias_page
from rmr1_lite.types import InputError

HOSTILE = '</td><script>alert(1)</script><img src="http://x/y"> {{ 7*7 }} $\\frac{'


def card_of(rule: Rule, judge: str = "nano", n: int = 20) -> BiasCard:
    plan = make_plan(nano_pairs(n), choose_changes([]), NANO)
    letters = letters_of(plan, rule)
    a_share, flip_rate = position_shares(plan, letters)
    return BiasCard(
        judge=judge,
        weights="0123",
        style="compact",
        reading="strict",
        sampling={"temperature": 0.0},
        source=judge,
        pairs=n,
        form="nano world",
        seed=0,
        level=0.95,
        a_share=a_share,
        flip_rate=flip_rate,
        effects=measure_effects(plan, letters),
        statuses={"ok": 100},
        failed=0,
        created="2026-11-27T12:00:00+00:00",
        command=f"bias --judge {judge}",
        versions={judge: judge},
    )


JUDGES = [
    (oracle(0.1, "padding", 0.9), "padded (prefers it)", "a planted bias"),
    (always_a, "shown first (prefers the first response)", "a position"),
    (silent, "Too few pairs with verdicts to say anything", "no verdict at all"),
]


@pytest.mark.parametrize(("rule", "said", "reason"), JUDGES, ids=[row[-1] for row in JUDGES])
def test_a_page_says_what_was_found_and_runs_nothing(rule, said, reason, tmp_path):
    card = card_of(rule, HOSTILE)
    page = write_bias_page(card, tmp_path).read_text()
    assert said in page and "<script" not in page and "http://x" not in page.replace("&#34;http://x", "")
    assert "{{ 7*7 }}" in page and set(re.findall(r'src="(.{5})', page)) == {"data:"}
    assert (tmp_path / "bias.png").read_bytes().startswith(b"\x89PNG")
    assert all(each.title in page for each in card.effects)


def test_a_position_is_shown_with_both_shares(tmp_path):
    page = write_bias_page(card_of(always_a), tmp_path).read_text()
    assert "Verdict A: 100.0 %" in page and "flips when swapped: 100.0 %" in page


def test_a_readme_holds_one_card_and_keeps_the_rest(tmp_path):
    (tmp_path / "README.md").write_text("---\nlibrary_name: peft\n---\n# Mine\n\nText.\n")
    for rule in (always_a, oracle(0.0)):
        attach_bias_card(card_of(rule), tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("---\nlibrary_name: peft\n---\n# Mine\n\nText.\n\n<!-- bias card -->\n")
    assert text.count("## Bias card") == 1 and "No bias shown." in text and "prefers the first" not in text
    assert read_card(tmp_path / "bias.json") == card_of(oracle(0.0))
    assert with_bias_card(text, card_of(oracle(0.0))) == text


def test_a_file_name_is_no_markup_in_a_readme():
    text = card_of(silent, f"{HOSTILE}\n# `x`").markdown()
    prose = re.sub(r"`[^`]*`", "", text)
    assert "<" not in prose and text.count("\n#") == 0 and text.count("`") == 2


@pytest.mark.parametrize("spec", ["nano", "nano-sft"])
def test_a_shipped_card_is_small_and_of_the_weights_that_ship(spec):
    card, path = read_card(ADAPTERS[spec] / "bias.json"), ADAPTERS[spec] / "bias.json"
    assert (card.judge, card.weights, card.pairs) == (spec, fingerprint_of(spec), 60)
    assert path.stat().st_size < 8_000 and card.markdown() in (path.parent / "README.md").read_text()
    assert [each.change for each in card.effects] == ["position", *CHANGES]


PLACES = [
    ("openai:m@http://h/v1", "an endpoint"),
    ("owner/name", "on the hub"),
    ("nano-base", "a base is no adapter"),
    ("replay:log.jsonl", "a log"),
]


@pytest.mark.parametrize(("spec", "reason"), PLACES, ids=[row[-1] for row in PLACES])
def test_a_card_is_attached_to_adapters_of_this_machine_only(spec, reason):
    with pytest.raises(InputError, match="Leave --attach out"):
        attachable(spec)
    assert attachable("nano") == ADAPTERS["nano"]


@pytest.mark.parametrize(("name", "value"), [("created", 7), ("effects", []), ("statuses", 3)])
def test_a_card_with_a_wrong_field_is_refused(name, value, tmp_path):
    attach_bias_card(card_of(always_a), tmp_path)
    path = tmp_path / "bias.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    with pytest.raises(InputError, match="bias.json: a field is missing or wrong"):
        read_card(path)

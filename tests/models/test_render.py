"""Chat templates of real models: dropped turns are noticed, and a working form is used."""

from __future__ import annotations

import pytest
from fixtures import tiny

from rmr1_lite.models.render import (
    behind_template,
    control_texts,
    fit_template,
    opens_thought,
    render_ids,
    render_text,
)
from rmr1_lite.prompts import judge_messages
from rmr1_lite.training.grpo_data import build_row
from rmr1_lite.types import InputError

USER = "<|im_start|>user\n{{ m['content'] }}<|im_end|>\n"
END = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
DROPS = "{% for m in messages %}{% if m['role'] == 'user' %}" + USER + "{% endif %}{% endfor %}" + END
REFUSES = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turn') }}{% endif %}" + DROPS
PARTS = (
    "{% for m in messages %}{{ m['role'] }}: {% for part in m['content'] %}{% if part['type'] == 'text' %}"
    "{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>{% endfor %}" + END
)
LAST = "{% set m = messages[-1] %}" + USER + END
TURNS = [{"role": "system", "content": "The rule."}, {"role": "user", "content": "The question."}]
TALK = [
    {"role": "user", "content": "An earlier question."},
    {"role": "assistant", "content": "An answer."},
    {"role": "user", "content": "The question."},
]


@pytest.mark.parametrize(
    ("template", "form"),
    [
        (tiny.TEMPLATE, "as given"),
        (DROPS, "system in user"),
        (REFUSES, "system in user"),
        (PARTS, "in parts"),
    ],
    ids=["takes everything", "drops the system turn", "refuses the system turn", "takes lists only"],
)
def test_every_turn_reaches_the_model(template, form):
    tokenizer = tiny.tokenizer(template)
    assert fit_template(tokenizer, TURNS)[0] == form
    text = render_text(tokenizer, TURNS)
    assert text.index("The rule.") < text.index("The question.")


def test_a_form_that_is_not_as_given_is_said_once(capsys):
    tokenizer = tiny.tokenizer(DROPS)
    tokenizer.name_or_path = "phi-like"
    for _ in range(3):
        render_text(tokenizer, TURNS)
    assert capsys.readouterr().out.count("phi-like: its chat template has no system turn") == 1


def test_a_template_that_drops_an_earlier_turn_is_an_error():
    tokenizer = tiny.tokenizer(LAST)
    assert "The question." in render_text(tokenizer, TALK[2:])
    with pytest.raises(InputError, match="drops a turn.*Choose another model"):
        render_text(tokenizer, TALK)


def test_grpo_gets_the_form_that_works_or_an_error():
    tokenizer, pair = tiny.tokenizer(DROPS), tiny.sum_pair(1)
    row = build_row(pair, "ab", tokenizer, "compact")
    text = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, tokenize=False)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert ids == render_ids(tokenizer, judge_messages(pair, "compact")), (
        "what the trainer renders is what we count"
    )
    with pytest.raises(InputError, match="lists of parts"):
        build_row(pair, "ab", tiny.tokenizer(PARTS), "compact")


def test_added_words_that_are_no_control_tokens_stay_in_a_judged_text():
    tokenizer = tiny.tokenizer()
    tokenizer.add_tokens(["<table>", "."], special_tokens=False)
    tokenizer.add_tokens(["<|tool|>"], special_tokens=True)
    assert {"<table>", "."}.isdisjoint(control_texts(tokenizer)) and "<|tool|>" in control_texts(tokenizer)
    text = render_text(tokenizer, [{"role": "user", "content": "See <table> 1. Not <|tool|>, <|im_end|>."}])
    assert "See <table> 1." in text and "<|tool|>" not in text and text.count("<|im_end|>") == 1


# reason, the chain, whether the template has opened a thought, what the model has to write
BEHIND = [
    ("nothing open", "<think>so</think> x", False, "<think>so</think> x"),
    ("one <think>, not two", "<think>so</think> x", True, "so</think> x"),
    ("the template's thought is closed", "<type>Chat</type> x", True, "\n</think>\n\n<type>Chat</type> x"),
    ("the chain closes it itself", "so</think> x", True, "so</think> x"),
]


@pytest.mark.parametrize(("chain", "opened", "want"), [r[1:] for r in BEHIND], ids=[r[0] for r in BEHIND])
def test_a_chain_behind_a_template_has_one_thought(chain, opened, want):
    assert behind_template(chain, opened) == want


@pytest.mark.parametrize("mark", ["<think>", "<thinking>", "[THINK]"])
def test_a_thought_that_the_template_opens_is_known_in_all_marks(mark):
    tokenizer = tiny.tokenizer(tiny.TEMPLATE.replace("assistant\n", f"assistant\n{mark}\n"))
    assert opens_thought(tokenizer, render_ids(tokenizer, TURNS))

"""The thinking switch: the same in SFT rows, TRL's GRPO, judging, the endpoint, and for anyone who loads the
saved folder.

The templates are Qwen3's and others', as TRL ships them.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from test_unsloth_backend import tokenizer_with

from rmr1_lite.models.render import opens_thought, render_ids, render_text
from rmr1_lite.models.thinking import AS_SAVED, has_switch, request_fields, saved_switch, settle_switch
from rmr1_lite.types import Pair

TEMPLATES = Path(find_spec("trl").submodule_search_locations[0]) / "chat_templates"
EMPTY = "<think>\n\n</think>\n\n"
TURNS = [{"role": "user", "content": "Which reply?"}]
PAIR = Pair("p", ({"role": "user", "content": "Which?"},), "sun", "tree", "A")


def template(name: str) -> str:
    return (TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8")


def tokenizer_of(name: str):
    made = tokenizer_with(("<|endoftext|>", "<|im_start|>", "<|im_end|>"), pad="<|endoftext|>")
    made.chat_template = template(name)
    return made


SWITCHES = ["qwen3", "qwen3_5_think", "glm4moe", "nemotron_3_nano"]


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize("asked", ["on", "off"])
def test_the_settled_template_writes_what_the_passed_switch_would(name, asked):
    plain, made = tokenizer_of(name), tokenizer_of(name)
    wanted = plain.apply_chat_template(
        TURNS, add_generation_prompt=True, tokenize=False, enable_thinking=asked == "on"
    )
    assert settle_switch(made, "rubrics", asked) == saved_switch(made) == asked
    assert made.apply_chat_template(TURNS, add_generation_prompt=True, tokenize=False) == wanted
    other = made.apply_chat_template(
        TURNS, add_generation_prompt=True, tokenize=False, enable_thinking=asked != "on"
    )
    assert other != wanted, "a caller that passes the switch still has its way, and the switch does something"


CHOICES = [
    ("rubrics", "auto", "", "off", "its chains begin with <type>"),
    ("compact", "auto", "", "off", "so do these"),
    ("reasoning", "auto", "", "on", "the model thinks by itself"),
    ("rubrics", "auto", "on", "on", "as it was trained"),
    ("rubrics", "auto", AS_SAVED, "", "trained before there was a switch here: its template is left alone"),
    ("rubrics", "off", AS_SAVED, "off", "unless somebody asks"),
    ("rubrics", "on", "off", "on", "as asked"),
    (None, "auto", "", "", "nobody said how it is asked: left alone"),
]


@pytest.mark.parametrize(
    ("style", "asked", "trained", "value", "reason"), CHOICES, ids=[row[-1] for row in CHOICES]
)
def test_the_choice(style, asked, trained, value, reason):
    made = tokenizer_of("qwen3")
    assert settle_switch(made, style, asked, trained) == value == saved_switch(made)
    assert settle_switch(made, style, "off" if value == "on" else "on") != value, "it can be set anew"
    assert made.chat_template.count("is not defined") == 1 + template("qwen3").count("is not defined")


@pytest.mark.parametrize("name", ["qwen2_5", "llama3", "phi3"])
def test_a_template_without_a_switch_is_left_alone(name):
    made = tokenizer_of(name)
    assert (
        settle_switch(made, "rubrics", "off") == ""
        and made.chat_template == template(name)
        and not has_switch(made)
    )


def test_in_training_rows_and_prompts_carry_it():
    """SFT rows and GRPO's, as they are made; TRL renders GRPO's prompt by the template itself."""
    from rmr1_lite.data.chains import Chain
    from rmr1_lite.training.grpo_data import build_row
    from rmr1_lite.training.sft import build_rows

    made = tokenizer_of("qwen3")
    settle_switch(made, "rubrics")
    row = build_row(PAIR, "ab", made, "rubrics")
    by_trl = made.apply_chat_template(row["prompt"], add_generation_prompt=True, tokenize=False)
    assert by_trl.endswith(EMPTY) and not row["thought_open"]
    chain = Chain(PAIR, "ab", "<type>Chat</type>\n<answer>[[A]]</answer>")
    (sft,) = build_rows([chain], made, "rubrics")
    prompt = sft["input_ids"][: sft["completion_mask"].index(1)]
    assert prompt == made(by_trl, add_special_tokens=False)["input_ids"], "the same prompt in both stages"


def test_in_judging_the_engine_renders_it_and_says_so(toy_base, monkeypatch):
    from rmr1_lite.judging.factory import make_engine
    from rmr1_lite.judging.pool import JudgePool
    from rmr1_lite.models import loading

    load_tokenizer = loading._read_tokenizer

    def with_qwen3(spec):
        made = load_tokenizer(spec)
        made.chat_template = template("qwen3")
        return made

    monkeypatch.setattr(loading, "_read_tokenizer", with_qwen3)
    for style, asked, end in [
        ("compact", "auto", EMPTY),
        ("reasoning", "auto", "assistant\n"),
        ("compact", "on", "assistant\n"),
    ]:
        engine = make_engine(str(toy_base), style, thinking=asked)
        assert render_text(engine.tokenizer, TURNS).endswith(end)
        assert engine.thinking == ("off" if end == EMPTY else "on"), (
            "kept beside a log: other texts than with the other switch"
        )
        assert not opens_thought(engine.tokenizer, render_ids(engine.tokenizer, TURNS))
    pool = JudgePool([str(toy_base)], style="compact")
    with pool.shared(str(toy_base)).active() as loaded:
        assert render_text(loaded.tokenizer, TURNS).endswith(EMPTY)


def test_behind_an_endpoint_it_is_sent_when_asked_for():
    from rmr1_lite.judging.engines.base import Request, Sampling
    from rmr1_lite.judging.engines.endpoint import OpenAIEngine

    assert request_fields("auto") == {}

    def sent_by(engine):
        return engine._parameters.body(Request("p", "ab", tuple(TURNS)), Sampling())

    for asked, sent in [("on", True), ("off", False)]:
        engine = OpenAIEngine("m", "http://127.0.0.1:9/v1", thinking=asked)
        assert sent_by(engine)["chat_template_kwargs"] == {"enable_thinking": sent}
        assert engine.thinking == asked
    assert "chat_template_kwargs" not in sent_by(OpenAIEngine("m", "http://127.0.0.1:9/v1"))


def test_a_saved_adapter_carries_it_for_whoever_loads_the_folder(tmp_path):
    """Outside the kit: a server that renders with the folder's tokenizer gets the prompt that was trained
    on."""
    from transformers import AutoTokenizer

    from rmr1_lite.models.loading import load
    from rmr1_lite.models.lora import save_adapter

    loaded = load("nano-sft", trainable=True)
    loaded.tokenizer.chat_template = template("qwen3")
    loaded.thinking = settle_switch(loaded.tokenizer, "rubrics")
    save_adapter(loaded, tmp_path / "adapter", "rubrics", "sft")
    assert json.loads((tmp_path / "adapter" / "rmr1_lite.json").read_text())["thinking"] == "off"
    foreign = AutoTokenizer.from_pretrained(tmp_path / "adapter")
    assert foreign.apply_chat_template(TURNS, add_generation_prompt=True, tokenize=False).endswith(EMPTY)
    again = load(str(tmp_path / "adapter"))
    assert (
        again.thinking == "off" and settle_switch(again.tokenizer, "rubrics", trained=again.thinking) == "off"
    )


def test_what_was_begun_before_there_was_a_switch_keeps_its_template_or_is_refused(tmp_path):
    """An adapter without the field is loaded unchanged; a run or a log would continue with other prompts in
    the middle."""
    from types import SimpleNamespace

    from rmr1_lite.evaluation.runner import _check_switch
    from rmr1_lite.models.adapters import thinking_of
    from rmr1_lite.models.loading import load
    from rmr1_lite.models.thinking import settle_switch_for_run
    from rmr1_lite.training.run_folder import Run
    from rmr1_lite.types import InputError

    assert (
        load("nano-sft").thinking == thinking_of("nano-sft") == AS_SAVED and thinking_of("nano-base") is None
    )
    for name, refused in [("qwen3", True), ("qwen2_5", False)]:
        for added in (("thinking",), ()):
            run = Run(tmp_path, None, False, added)
            if refused and added:
                with pytest.raises(InputError, match="Give another --out"):
                    settle_switch_for_run(run, tokenizer_of(name), "rubrics", "auto", "")
            else:
                settle_switch_for_run(run, tokenizer_of(name), "rubrics", "auto", "")
    _check_switch(tmp_path, {"style": "rubrics"}, SimpleNamespace(engine=SimpleNamespace(thinking="")))
    _check_switch(tmp_path, {"thinking": "auto"}, SimpleNamespace(engine=SimpleNamespace(thinking="off")))
    with pytest.raises(InputError, match="Give another --out"):
        _check_switch(tmp_path, {"style": "rubrics"}, SimpleNamespace(engine=SimpleNamespace(thinking="off")))

"""The thinking switch of chat templates: those of Qwen3 and others write an empty thought, or none, depending
on the variable `enable_thinking`.

A judge must see the same switch wherever its prompt is rendered: in SFT rows, in TRL's GRPO, in judging. So
it is set once, as the first line of the tokenizer's own template: every renderer follows it, and so does
any program that renders with the saved tokenizer. A caller that passes enable_thinking overrides it, and
llama.cpp's server always passes it: there the request sets it, or the server's --reasoning-budget 0. A server
that puts a LoRA on a base renders with the base's tokenizer: the same.

    settle_switch(tokenizer, "rubrics")    # "off": a thought before <type> would be a second one
"""

from __future__ import annotations

import re
from typing import Any

from rmr1_lite.types import InputError

VARIABLE = "enable_thinking"
_SWITCH = re.compile(rf"\b{VARIABLE}\b")
_OURS = re.compile(
    rf"\A\{{%- if {VARIABLE} is not defined %\}}\{{%- set {VARIABLE} = (true|false) %\}}\{{%- endif %\}}"
)
AS_SAVED = "as saved"  # of an adapter trained earlier or elsewhere: its template was used as it is
THINKING_STYLES = ("reasoning",)  # the model thinks by itself, and its prompt asks only for a verdict


def settle_switch(tokenizer: Any, style: str | None, asked: str = "auto", trained: str | None = None) -> str:
    """Set the switch of the tokenizer's template and return it: "on" or "off", "" for a template without one.

    asked: on, off, or auto: as the judge was `trained` ("on", "off", AS_SAVED, "" for a base; None: as its
    tokenizer was saved), else by the prompt style.
    """
    if not has_switch(tokenizer):
        return ""
    value = _chosen_value(style, asked, saved_switch(tokenizer) if trained is None else trained)
    if value:
        plain = _OURS.sub("", tokenizer.chat_template)
        word = "true" if value == "on" else "false"
        tokenizer.chat_template = (
            f"{{%- if {VARIABLE} is not defined %}}{{%- set {VARIABLE} = {word} %}}{{%- endif %}}{plain}"
        )
    return value


def has_switch(tokenizer: Any) -> bool:
    """Whether the template uses the variable."""
    return isinstance(tokenizer.chat_template, str) and bool(_SWITCH.search(tokenizer.chat_template))


def saved_switch(tokenizer: Any) -> str:
    """The switch as `settle_switch` set it, "" if it never did."""
    found = _OURS.match(tokenizer.chat_template) if isinstance(tokenizer.chat_template, str) else None
    return {"true": "on", "false": "off"}[found[1]] if found else ""


def request_fields(asked: str) -> dict[str, Any]:
    """What is sent to a server that renders the template itself. Nothing with auto: a server may refuse what
    it does not know."""
    return {} if asked == "auto" else {"chat_template_kwargs": {VARIABLE: asked == "on"}}


def settle_switch_for_run(run: Any, tokenizer: Any, style: str, asked: str, trained: str) -> str:
    """`settle_switch` for a training. Raises InputError for a run that started before the switch was a
    setting: its steps so far used the template as it is."""
    value = settle_switch(tokenizer, style, asked, trained)
    if value and "thinking" in run.added:
        raise InputError(
            f"{run.folder} was started by a version of the kit that did not set the thinking switch of "
            "the chat template. Give another --out to train from scratch, or finish it with that version."
        )
    return value


def _chosen_value(style: str | None, asked: str, trained: str) -> str:
    if asked != "auto":
        return asked
    if trained == AS_SAVED:
        return ""
    if trained or style is None:
        return trained
    return "on" if style in THINKING_STYLES else "off"

"""Chat messages -> token ids, the only way a prompt reaches a local model, in training and in judging.

Why not `apply_chat_template` alone: a judged response may hold the tokenizer's own control tokens as text.
Every control token inside a message is made inert first, so the only ones are those of the template.
Our own verdict markers stay: they were removed from the judged texts when the prompt was made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from rmr1_lite.prompts import without_control_tokens
from rmr1_lite.types import InputError, Message

# marks that templates write at the end of a prompt
OPENINGS = (
    "<think>",
    "<thinking>",
    "<thought>",
    "[THINK]",
    "<seed:think>",
    "◁think▷",
    "<|START_THINKING|>",
    "<|channel|>analysis<|message|>",
)


def render_ids(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """Token ids of the conversation up to where the model starts generating. Nothing is truncated."""
    return tokenizer(render_text(tokenizer, messages), add_special_tokens=False)["input_ids"]


def render_text(tokenizer: Any, messages: Sequence[Message]) -> str:
    """The text that `render_ids` turns into ids, with no control tokens but the template's."""
    return fit_template(tokenizer, inert_turns(tokenizer, messages))[1]


def inert_turns(tokenizer: Any, messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The messages with the tokenizer's control tokens as plain text."""
    extra = control_texts(tokenizer)
    return [{"role": m["role"], "content": without_control_tokens(m["content"], extra)} for m in messages]


def control_texts(tokenizer: Any) -> tuple[str, ...]:
    """Texts of added tokens that could act as control, longest first: all except those that are not special
    and are plain words, or HTML like Gemma's `<table>`, which a judged text keeps."""
    special = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    texts = [text for text in tokenizer.get_added_vocab() if text in special or not _PLAIN.fullmatch(text)]
    return tuple(sorted(texts, key=lambda text: (-len(text), text)))


_PLAIN = re.compile(
    r"[^<>\[\]|｜◁▷{}]+|</?(?:table|caption|thead|tbody|tfoot|tr|th|td|h[1-6]|blockquote|strong|em|b|i|u|sub|sup"
    r"|code|pre|p|ul|ol|li|br|hr|div|span|a|img)>"
)


# ---- what a template accepts


def _as_given(turns: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return list(turns)


def _in_parts(turns: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Content as lists, for templates of models that also take images."""
    return [{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in turns]


def system_in_user(turns: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The system text at the head of the first user turn, for templates without a system turn."""
    if len(turns) < 2 or turns[0]["role"] != "system" or turns[1]["role"] != "user":
        return list(turns)
    first = {"role": "user", "content": f"{turns[0]['content']}\n\n{turns[1]['content']}"}
    return [first, *turns[2:]]


FORMS: dict[str, Callable[[Sequence[dict[str, Any]]], list[dict[str, Any]]]] = {
    "as given": _as_given,
    "system in user": system_in_user,
    "in parts": _in_parts,
    "system in user, in parts": lambda turns: _in_parts(system_in_user(turns)),
}
_SAID: set[tuple[str, str]] = set()  # tokenizers whose form has been reported


def fit_template(tokenizer: Any, turns: Sequence[dict[str, Any]]) -> tuple[str, str]:
    """(form, rendered text): the first of FORMS in which the template writes every turn of user and system.

    Templates silently drop what they do not know: a judge would answer without its instruction, or
    without the responses. Raises InputError if no form keeps everything.
    """
    from jinja2 import TemplateError

    name = tokenizer.name_or_path
    if not tokenizer.chat_template:
        raise InputError(f"{name}: the tokenizer has no chat template. Choose an instruct model.")
    wanted = [turn["content"].strip() for turn in turns if turn["role"] != "assistant"]
    refusal = ""
    for form, change in FORMS.items():
        try:
            text = tokenizer.apply_chat_template(change(turns), add_generation_prompt=True, tokenize=False)
        except (TemplateError, TypeError, AttributeError, KeyError) as error:
            refusal = refusal or str(error)
            continue
        if all(part in text for part in wanted):
            _say_form(name, form)
            return form, text
    why = f"the chat template refuses the prompt: {refusal}" if refusal else "the chat template drops a turn"
    remedy = (
        "Choose another model, or a prompt style that fits it (the style `reasoning` has no system turn)."
    )
    raise InputError(f"{name}: {why}. {remedy}")


def _say_form(name: str, form: str) -> None:
    if form.startswith("system") and (name, form) not in _SAID:
        _SAID.add((name, form))
        print(f"{name}: its chat template has no system turn; the system text goes before the user's.")


def opens_thought(tokenizer: Any, ids: Sequence[int]) -> bool:
    """Whether the template has already opened a thought, so that the model starts inside one."""
    return tokenizer.decode(list(ids[-16:])).rstrip().endswith(OPENINGS)


def behind_template(chain: str, thought_open: bool) -> str:
    """The chain as the model has to write it: after a template that has written `<think>` itself, a chain's
    own `<think>` would be a second one, and a chain without a thought has to close the template's."""
    if not thought_open:
        return chain
    if chain.lstrip().startswith("<think>"):
        return chain.lstrip().removeprefix("<think>")
    return chain if "</think>" in chain else f"\n</think>\n\n{chain}"


def end_ids(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Every token id that ends an answer: the model's generation settings may name more than the
    tokenizer."""
    named = model.generation_config.eos_token_id
    named = named if isinstance(named, list) else [named]
    return tuple(dict.fromkeys(i for i in [*named, tokenizer.eos_token_id] if i is not None))

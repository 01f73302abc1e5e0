"""Chat messages -> token ids, the one way a prompt reaches a local model, in training and in judging alike.

Why not `apply_chat_template` alone: a judged response may hold the tokenizer's own control tokens as text.
Every added token inside a message is made inert first, so the only control tokens are those of the template.
Our own verdict markers stay, they were taken out of the judged texts when the prompt was made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rmr1_lite.prompts import without_control_tokens
from rmr1_lite.types import InputError, Message


def render_ids(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """Token ids of the conversation up to where the model begins to write. Nothing is clipped."""
    return tokenizer(render_text(tokenizer, messages), add_special_tokens=False)["input_ids"]


def render_text(tokenizer: Any, messages: Sequence[Message]) -> str:
    """The text that `render_ids` turns into ids: the template's control tokens and no others."""
    from jinja2 import TemplateError

    if not tokenizer.chat_template:
        raise InputError(
            f"{tokenizer.name_or_path}: the tokenizer has no chat template. Choose an instruct model."
        )
    extra = control_texts(tokenizer)
    turns = [{"role": m["role"], "content": without_control_tokens(m["content"], extra)} for m in messages]
    try:
        return tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    except TemplateError as error:
        remedy = "Choose a prompt style that fits the model (the style `reasoning` has no system turn)."
        raise InputError(
            f"{tokenizer.name_or_path}: the chat template refuses the prompt: {error}. {remedy}"
        ) from None


def control_texts(tokenizer: Any) -> tuple[str, ...]:
    """Every text that the tokenizer would turn into one added token, longest first."""
    return tuple(sorted(tokenizer.get_added_vocab(), key=lambda text: (-len(text), text)))


def opens_thought(tokenizer: Any, ids: Sequence[int]) -> bool:
    """Whether the template has already written `<think>`, so that the model starts inside a thought."""
    return tokenizer.decode(list(ids[-16:])).rstrip().endswith("<think>")


def end_ids(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Every token id that ends an answer: the model's generation settings may name more than the
    tokenizer."""
    named = model.generation_config.eos_token_id
    named = named if isinstance(named, list) else [named]
    return tuple(dict.fromkeys(i for i in [*named, tokenizer.eos_token_id] if i is not None))

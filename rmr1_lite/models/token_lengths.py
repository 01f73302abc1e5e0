"""The length of judge prompts and chains in a model's own tokens, for `data prepare` and `data audit`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rmr1_lite.data.chains import Chain
from rmr1_lite.models.adapters import style_of, thinking_of
from rmr1_lite.models.render import behind_template, opens_thought, render_ids, render_text
from rmr1_lite.models.thinking import settle_switch
from rmr1_lite.prompts import choose_style, judge_messages, pair_as_shown
from rmr1_lite.types import Pair


def tokenizer_and_style(spec: str, style: str = "auto", thinking: str = "auto") -> tuple[Any, str]:
    """`spec`'s tokenizer, its thinking switch set as for judging, and the prompt style to use with it."""
    from rmr1_lite.models.loading import load_tokenizer

    tokenizer, style = load_tokenizer(spec), choose_style(style, style_of(spec), spec)
    settle_switch(tokenizer, style, thinking, thinking_of(spec))
    return tokenizer, style


def prompt_lengths(
    spec: str, style: str = "auto", thinking: str = "auto"
) -> Callable[[Sequence[Pair]], list[int]]:
    """A function from pairs to the tokens of their judge prompts, as `spec`'s tokenizer counts them."""
    tokenizer, style = tokenizer_and_style(spec, style, thinking)

    def count(pairs: Sequence[Pair]) -> list[int]:
        texts = [render_text(tokenizer, judge_messages(pair, style)) for pair in pairs]
        # in one call, so that the tokenizer uses all cores
        return [len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]] if texts else []

    return count


def chain_lengths(
    spec: str, style: str = "auto", thinking: str = "auto"
) -> Callable[[Sequence[Chain]], list[int]]:
    """A function from chains to the tokens of each in SFT: prompt, chain and end."""
    tokenizer, style = tokenizer_and_style(spec, style, thinking)

    def count(chain: Chain) -> int:
        prompt = render_ids(tokenizer, judge_messages(pair_as_shown(chain.pair, chain.order), style))
        text = behind_template(chain.text, opens_thought(tokenizer, prompt))
        return len(prompt) + len(tokenizer(text, add_special_tokens=False)["input_ids"]) + 1

    return lambda chains: [count(chain) for chain in chains]

"""How long judge prompts and chains are in a model's own tokens: what `data prepare` and `data audit` measure by."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rmr1_lite.adapters import is_adapter, is_nano, read_adapter, resolve, thinking_of
from rmr1_lite.data.chains import Chain
from rmr1_lite.engines.render import render, rendered
from rmr1_lite.prompts import messages, shown
from rmr1_lite.thinking import settle
from rmr1_lite.types import InputError, Pair


def style_for(spec: str, style: str) -> str:
    """The style asked for, or the one that a model came with. Raises InputError for a model that does not say."""
    if style != "auto":
        return style
    folder = resolve(spec)
    saved = read_adapter(folder).style if folder is not None and is_adapter(folder) else ""
    found = saved or ("compact" if is_nano(spec) else "")
    if not found:
        raise InputError(f"{spec}: the prompt style is not known. Give --style rubrics, reasoning or compact.")
    return found


def prompt_lengths(spec: str, style: str = "auto", thinking: str = "auto") -> Callable[[Sequence[Pair]], list[int]]:
    """A function from pairs to the tokens of their judge prompts, as `spec`'s tokenizer counts them."""
    from rmr1_lite.models import load_tokenizer

    tokenizer, style = load_tokenizer(spec), style_for(spec, style)
    settle(tokenizer, style, thinking, thinking_of(spec))

    def count(pairs: Sequence[Pair]) -> list[int]:
        texts = [rendered(tokenizer, messages(pair, style)) for pair in pairs]
        # together: the tokenizer then works on all cores
        return [len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]] if texts else []

    return count


def chain_lengths(spec: str, style: str = "auto", thinking: str = "auto") -> Callable[[Sequence[Chain]], list[int]]:
    """A function from chains to the tokens that SFT sees of each: prompt, chain and end."""
    from rmr1_lite.models import load_tokenizer

    tokenizer, style = load_tokenizer(spec), style_for(spec, style)
    settle(tokenizer, style, thinking, thinking_of(spec))

    def count(chain: Chain) -> int:
        prompt = render(tokenizer, messages(shown(chain.pair, chain.order), style))
        return len(prompt) + len(tokenizer(chain.text, add_special_tokens=False)["input_ids"]) + 1

    return lambda chains: [count(chain) for chain in chains]

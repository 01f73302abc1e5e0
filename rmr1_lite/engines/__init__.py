"""Who writes the text: a local model, an OpenAI-compatible endpoint, or a log of an earlier run.

`make_engine` turns what a user types after --model into an engine:

    replay:FILE           texts from a JSONL log (see replay.py)
    openai:MODEL@URL      an endpoint (see endpoint.py); the key comes from OPENAI_API_KEY
    anything else         a folder, a hub id or `nano`: loaded by `rmr1_lite.models.load`
"""

from __future__ import annotations

from rmr1_lite.engines.base import Engine, Request, Sampling, request_seed
from rmr1_lite.engines.endpoint import OpenAIEngine
from rmr1_lite.engines.local import LocalEngine
from rmr1_lite.engines.render import opens_thought, render
from rmr1_lite.engines.replay import ReplayEngine
from rmr1_lite.thinking import settle
from rmr1_lite.types import InputError

__all__ = [
    "Engine", "LocalEngine", "OpenAIEngine", "ReplayEngine", "Request", "Sampling", "make_engine", "opens_thought",
    "render", "request_seed",
]  # fmt: skip


def make_engine(
    spec: str,
    style: str | None = None,
    batch_size: int = 8,
    max_prompt_tokens: int | None = None,
    concurrency: int = 8,
    four_bit: bool = True,
    thinking: str = "auto",
) -> Engine:
    """The engine a spec names. `style` overrides the one that was saved with a model; four_bit: local weights in NF4; thinking:
    on, off or auto, for chat templates with such a switch."""
    kind, _, rest = spec.partition(":")
    if kind == "replay":
        return ReplayEngine(rest, style=style)
    if kind == "openai":
        model, _, url = rest.rpartition("@")
        if not model or not url:
            raise InputError("The endpoint spec is incomplete. Write openai:MODEL@URL, like openai:m@http://host/v1.")
        return OpenAIEngine(model, url, concurrency=concurrency, style=style, thinking=thinking)
    from rmr1_lite.models import load

    loaded = load(spec, four_bit)
    style = style or loaded.style
    switch = settle(loaded.tokenizer, style, thinking, loaded.thinking)
    return LocalEngine(loaded.model, loaded.tokenizer, batch_size, max_prompt_tokens, spec, style, loaded.weights, switch)

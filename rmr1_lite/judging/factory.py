"""Turns a judge spec into a judge: the one place where engines and judges are made.

Examples:

    judge = make_judge("runs/grpo/adapter")
    judge = make_judge("openai:MODEL@http://127.0.0.1:8000/v1", "rubrics", "lenient", temperature=0.7)
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from rmr1_lite.extras import named_extras
from rmr1_lite.judging.engines.base import Engine, Sampling
from rmr1_lite.judging.engines.endpoint import OpenAIEngine
from rmr1_lite.judging.engines.local import LocalEngine
from rmr1_lite.judging.engines.replay import ReplayEngine
from rmr1_lite.judging.judge import Judge
from rmr1_lite.models.adapters import adapter_info, default_max_new_tokens, export_info, is_nano
from rmr1_lite.models.base_weights import AUTO, check_base, load_over
from rmr1_lite.models.judge_specs import parse_spec
from rmr1_lite.models.loaded import Loaded
from rmr1_lite.models.thinking import AS_SAVED, settle_switch
from rmr1_lite.types import InputError


def make_judge(
    spec: str,
    style: str | None = None,
    reading: str = "auto",
    *,
    engine: Engine | None = None,
    batch_size: int = 8,
    four_bit: bool = True,
    thinking: str = "auto",
    thought_open: bool = False,
    check_repeat: bool = False,
    base: str = AUTO,
    **sampling: Any,
) -> Judge:
    """The judge that a spec names (see `rmr1_lite.models.judge_specs`).

    style: None or "auto" takes the model's own. reading: "auto" takes `default_reading`.
    engine: a text generator that is already in memory. thought_open, check_repeat: see `make_engine`.
    sampling: fields of `Sampling`, see `sampling_for`. Raises InputError for what cannot be loaded.
    """
    style, settings = None if style == "auto" else style, sampling_for(spec, **sampling)
    # wrong settings are reported before a model is loaded
    engine = engine or make_engine(
        spec,
        style,
        batch_size,
        four_bit=four_bit,
        thinking=thinking,
        thought_open=thought_open,
        check_repeat=check_repeat,
        base=base,
    )
    return Judge(engine, style, default_reading(spec) if reading == "auto" else reading, settings)


def default_reading(spec: str) -> str:
    """The default reading of a judge's verdicts: "strict" for models that this kit trained, which
    learned the exact marker, "lenient" for every other model, endpoint and log."""
    if (export := export_info(spec)) is not None:
        return export.reading
    return "strict" if is_nano(spec) or adapter_info(spec) is not None else "lenient"


def judge_in_memory(
    loaded: Loaded, style: str, name: str, max_new_tokens: int, batch_size: int = 64
) -> Judge:
    """A greedy judge on a model that is already in memory: the policy of a training, a stage of the demo.

    The tokenizer's template stays as it is: rows of a training may have been rendered with it.
    """
    switch = "" if loaded.thinking == AS_SAVED else loaded.thinking
    engine = local_engine(loaded, batch_size, name, style, switch)
    return Judge(engine, style, sampling=Sampling(0.0, max_new_tokens))


def sampling_for(spec: str, **changes: Any) -> Sampling:
    """Greedy, with as many tokens as the judge needs; `changes` that are not None override this."""
    return change_sampling(Sampling(max_new_tokens=default_max_new_tokens(spec)), **changes)


def change_sampling(sampling: Sampling, **changes: Any) -> Sampling:
    """`sampling` with the changes that are not None. Raises InputError for an unknown field."""
    known = [field.name for field in fields(Sampling)]
    if wrong := sorted(set(changes) - set(known)):
        raise InputError(f"Sampling has no {', '.join(wrong)}. Choose from {', '.join(sorted(known))}.")
    given = {name: value for name, value in changes.items() if value is not None}
    return replace(sampling, **given)


def make_engine(
    spec: str,
    style: str | None = None,
    batch_size: int = 8,
    max_prompt_tokens: int | None = None,
    concurrency: int = 8,
    four_bit: bool = True,
    thinking: str = "auto",
    thought_open: bool = False,
    check_repeat: bool = False,
    base: str = AUTO,
) -> Engine:
    """The engine a spec names.

    style: overrides the one saved with a model. four_bit: local weights in NF4. thinking: on, off
    or auto, for chat templates with such a switch. thought_open: texts of this endpoint or log begin inside a
    thought, whose opening mark the chat template wrote; known for local models. check_repeat: ask an
    endpoint the first greedy prompt twice, and report if the texts differ. base: over which weights an
    adapter lies (`rmr1_lite.models.base_weights`). Raises InputError.
    """
    parsed = parse_spec(spec)
    if thought_open and parsed.runs_here:
        raise InputError(
            f"{spec} runs here, so the kit knows from its chat template whether a text begins inside a "
            f"thought. "
            "Leave --thought-open out; it is for endpoints and logs."
        )
    if not parsed.runs_here:
        check_base(spec, base)
    if parsed.kind == "replay":
        return ReplayEngine(parsed.log, style, thought_open)
    if parsed.kind == "openai":
        return OpenAIEngine(
            parsed.model,
            parsed.url,
            concurrency=concurrency,
            style=style,
            thinking=thinking,
            thought_open=thought_open,
            check_repeat=check_repeat,
        )
    with named_extras():
        loaded = load_over(spec, base, four_bit)
    switch = settle_switch(loaded.tokenizer, style or loaded.style, thinking, loaded.thinking)
    return local_engine(loaded, batch_size, spec, style, switch, max_prompt_tokens)


def local_engine(
    loaded: Loaded,
    batch_size: int = 8,
    name: str = "local",
    style: str | None = None,
    thinking: str = "",
    max_prompt_tokens: int | None = None,
) -> LocalEngine:
    """An engine on a model in memory that carries the fingerprint of its weights.

    thinking: how the thinking switch of its template was set.
    """
    return LocalEngine(
        loaded.model,
        loaded.tokenizer,
        batch_size,
        max_prompt_tokens,
        name,
        style or loaded.style,
        loaded.fingerprint,
        thinking,
    )

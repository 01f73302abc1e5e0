"""How long a plan takes on this machine: one real step of each stage, on made-up rows as long as the
plan allows.

No data is needed, so this works before anything is prepared. The step is the preflight's (a separate
process, every rollout of full length, smaller settings when memory runs out), and the resulting
hours are for rows of full length: real rows are shorter, so a run takes less time.

    for found in measure_plan(plan(gpu="t4")):
        print(describe_measured(found))
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rmr1_lite.config import GRPOConfig, SFTConfig
from rmr1_lite.data.chains import Chain, write_chains
from rmr1_lite.data.pairs import write_pairs
from rmr1_lite.models.adapters import style_of
from rmr1_lite.prompts import choose_style
from rmr1_lite.training.planning.plan import Plan
from rmr1_lite.training.planning.preflight import FILE, describe_seconds, run_preflight
from rmr1_lite.training.run_folder import steps_of
from rmr1_lite.types import InputError, Pair

WORD = " word"
CHAIN_SHARE = 0.4  # of a made-up SFT row; it affects only the number of tokens with a loss


@dataclass(frozen=True)
class Measured:
    """stage: "sft" or "grpo". seconds: of one optimizer step. peak_gib: reserved on the card, 0 on a CPU.
    steps: of the complete run, None if the rows are not known. changes: reductions that were needed
    here."""

    stage: str
    config: SFTConfig | GRPOConfig
    seconds: float
    peak_gib: float
    steps: int | None
    changes: tuple[str, ...]


def measure_plan(made: Plan, chains: int = 0) -> Iterator[Measured]:
    """One step of each stage with the plan's settings and model. chains: rows of the SFT data.

    Raises InputError when the model cannot be loaded, or when even the smallest settings do not fit.
    """
    for stage in made.stages:
        with tempfile.TemporaryDirectory(prefix="rmr1_probe_") as folder:
            yield _measure(stage.name.lower(), stage.config, made.model, chains, Path(folder))


def _measure(stage: str, config: Any, model: str, chains: int, folder: Path) -> Measured:
    asked = replace(
        config,
        model=model,
        style=choose_style(config.style, style_of(model), model),
        out=str(folder / "run"),
        preflight="on",
    )
    asked = replace(
        asked, **{"chains" if stage == "sft" else "pairs": str(_write_longest_row(stage, asked, folder))}
    )
    fits = run_preflight(stage, asked, quiet=True)
    found = json.loads((folder / "run" / FILE).read_text(encoding="utf-8"))
    trial, changes = found["trial"], tuple(found["changes"])
    return Measured(stage, fits, trial["seconds"], trial["peak_gib"], _total_steps(fits, chains), changes)


def _total_steps(config: Any, chains: int) -> int | None:
    rows = chains or getattr(config, "limit", 0)
    return steps_of(config, rows) if rows or isinstance(config, GRPOConfig) else None


def _write_longest_row(stage: str, config: Any, folder: Path) -> Path:
    """A file with one row that is as long as the settings allow."""
    from rmr1_lite.models.token_lengths import chain_lengths, prompt_lengths

    path = folder / "longest.jsonl"
    if stage == "sft":
        chain_tokens = chain_lengths(config.model, config.style, config.thinking)
        words = _most_words(lambda n: chain_tokens([_made_up_chain(n)])[0], config.max_length)
        write_chains(path, [_made_up_chain(words)])
    else:
        prompt_tokens = prompt_lengths(config.model, config.style, config.thinking)
        words = _most_words(lambda n: prompt_tokens([_made_up_pair(n)])[0], config.max_prompt_tokens)
        write_pairs(path, [_made_up_pair(words)])
    return path


def _most_words(tokens: Callable[[int], int], limit: int) -> int:
    """The largest number of words whose row holds at most `limit` tokens. Raises InputError if not even
    one word fits."""
    if tokens(1) > limit:
        raise InputError(
            f"{limit} tokens are too few for the judge's prompt alone ({tokens(1)} tokens with one word)."
        )
    fits, fails = 1, 2
    while tokens(fails) <= limit:
        fits, fails = fails, 2 * fails
    while fails - fits > 1:
        middle = (fits + fails) // 2
        fits, fails = (middle, fails) if tokens(middle) <= limit else (fits, middle)
    return fits


def _made_up_pair(words: int) -> Pair:
    """Two responses with this many words in total; the first one is never empty."""
    first = max(1, words // 2)
    return Pair(
        "longest",
        ({"role": "user", "content": "Which?"},),
        WORD.strip() + WORD * (first - 1),
        "other" + WORD * max(0, words - first - 1),
        "A",
    )


def _made_up_chain(words: int) -> Chain:
    said = int(words * CHAIN_SHARE)
    return Chain(_made_up_pair(words - said), "ab", f"<type>{WORD * said}</type>\n<answer>[[A]]</answer>")


def describe_measured(found: Measured) -> str:
    """One readable line."""
    config, memory = found.config, f", peak memory {found.peak_gib:.1f} GiB" if found.peak_gib else ""
    if isinstance(config, SFTConfig):
        what = f"{config.batch_size} rows of {config.max_length} tokens"
    else:
        what = (
            f"{config.groups} x {config.rollouts} rollouts of {config.max_new_tokens} tokens after prompts "
            f"of {config.max_prompt_tokens}"
        )
    whole = (
        f"; {found.steps} steps take {describe_seconds(found.steps * found.seconds)} at most"
        if found.steps
        else ""
    )
    smaller = f" (smaller than planned: {', '.join(found.changes)})" if found.changes else ""
    return f"{found.stage.upper()}: {found.seconds:.1f} s per step of {what}{memory}{whole}{smaller}"

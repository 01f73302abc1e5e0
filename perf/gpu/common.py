"""Shared by the jobs: folders, sizes, exact prompts, made-up rows, clocks and peaks."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmr1_lite.training.planning.gpu_memory import SHAPES, Shape

RANK = 32
SEVEN_B = SHAPES["Qwen/Qwen2.5-7B-Instruct"]
SMALL_SHAPE = Shape(64, 2, 4, 2, 128, 1600, tied=False, head_dim=16)
CONTEXT = 32768
GIB = 2**30
OUT_OF_MEMORY = "out of memory"


@dataclass(frozen=True)
class Place:
    """backend: unsloth, transformers, trl (TRL's own trainers) or "". folder: shared by all jobs. small: in
    miniature."""

    backend: str
    folder: Path
    small: bool

    @property
    def data(self) -> Path:
        """Nano pairs and chains, made by part 0."""
        return self.folder / "nano"

    @property
    def model(self) -> Path:
        """The random model in NF4, made by part 4."""
        return self.folder / "random-nf4"

    @property
    def shape(self) -> Shape:
        return SMALL_SHAPE if self.small else SEVEN_B


def fresh(place: Place, name: str) -> Path:
    """A run folder that no other variant and no earlier call has written to."""
    out = place.folder / f"{name}-{place.backend}"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    return out


def short_training(place: Place, **more: Any) -> dict[str, Any]:
    """Shared settings of the kit's short trainings here, plus `more`."""
    return {
        "backend": place.backend,
        "style": "compact",
        "gradient_checkpointing": True,
        "preflight": "off",
        "save_every": 0,
        **more,
    }


def rows_of(run: str | Path, *names: str) -> list[dict[str, Any]]:
    """These columns of metrics.jsonl, for the steps that have the first of them."""
    from rmr1_lite.training.run_folder import read_log

    rows = [row for row in read_log(Path(run) / "metrics.jsonl") if names[0] in row]
    return [{name: row[name] for name in ("step", *names) if name in row} for row in rows]


def prompt_of(tokenizer: Any, tokens: int) -> str:
    """A user turn whose rendered prompt has exactly this many tokens. One " barn" is one nano token."""
    frame = _rendered(tokenizer, "")
    text = " barn" * (tokens - frame)
    while _rendered(tokenizer, text) > tokens:
        text = text.removesuffix(" barn")
    while _rendered(tokenizer, text) < tokens:
        text += " barn"
    if (found := _rendered(tokenizer, text)) != tokens:
        raise AssertionError(f"the prompt has {found} tokens, not {tokens}")
    return text


def _rendered(tokenizer: Any, text: str) -> int:
    turns = [{"role": "user", "content": text}]
    rendered = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    return len(tokenizer(rendered, add_special_tokens=False)["input_ids"])


def sft_rows(length: int, count: int) -> list[dict[str, Any]]:
    """Rows of exactly `length` random ids, half of them loss-bearing."""
    rng, half = random.Random(0), length // 2
    return [
        {
            "id": str(i),
            "input_ids": rng.choices(range(10, 1000), k=length),
            "completion_mask": [0] * half + [1] * (length - half),
        }
        for i in range(count)
    ]


def completions(count: int, length: int, end: int) -> list[list[int]]:
    """Random rollouts of exactly `length` ids, the last one `end`."""
    rng = random.Random(1)
    return [[*rng.choices(range(10, 1000), k=length - 1), end] for _ in range(count)]


class Meter:
    """Seconds and peak GiB of each optimizer step of one training; steps are fed by `callback`.

    peak_gib: allocated at once. reserved_gib: taken from the card, which fragmentation makes larger.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.peaks: list[float | None] = []
        self.reserved: float | None = None
        self.began = 0.0

    def callback(self) -> Any:
        from transformers import TrainerCallback

        meter = self

        class Steps(TrainerCallback):
            def on_step_begin(self, *_: Any, **__: Any) -> None:
                synchronize()
                reset_peak()
                meter.began = time.perf_counter()

            def on_step_end(self, *_: Any, **__: Any) -> None:
                synchronize()
                meter.seconds.append(time.perf_counter() - meter.began)
                meter.peaks.append(peak())
                meter.reserved = reserved()

        return Steps()

    def figures(self, tokens: int, warm: int = 2) -> dict[str, Any]:
        """tokens: of one step. The first `warm` steps compile, check and allocate: their peak is reported
        separately."""
        from statistics import median

        timed = self.seconds[warm:] or self.seconds[-1:]
        peaks = [0.0 if held is None else held for held in self.peaks]
        first, rest = (max(some, default=0.0) or None for some in (peaks[:1], peaks[1:]))
        return {
            "step_s": round(median(timed), 4),
            "steps_timed": len(timed),
            "tokens_per_s": round(tokens / median(timed)),
            "all_step_s": [round(s, 3) for s in self.seconds],
            "first_step_peak_gib": first,
            "peak_gib": rest,
            "reserved_gib": self.reserved,
        }


def compiled() -> dict[str, float]:
    """Graphs and seconds of torch.compile in this process so far, which first steps wait for."""
    from torch._dynamo.utils import compilation_time_metrics, counters

    seconds = sum(compilation_time_metrics.get("_compile.compile_inner", []))
    return {"graphs": counters["stats"].get("unique_graphs", 0), "seconds": round(seconds, 1)}


@contextmanager
def metered() -> Iterator[Meter]:
    """Every trainer that the kit builds inside this block gets a meter's callback."""
    from rmr1_lite.training import loop

    meter, build_trainer = Meter(), loop.build_trainer

    def with_meter(make: Callable[[], Any], model: Any, run: Any) -> Any:
        trainer = build_trainer(make, model, run)
        trainer.add_callback(meter.callback())
        return trainer

    loop.build_trainer = with_meter
    try:
        yield meter
    finally:
        loop.build_trainer = build_trainer


def attempt(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The result, or the error: one failing length must not cost the next ones. Running out of memory is a
    result here."""
    import torch

    from rmr1_lite.models.loading import free_memory

    try:
        found = work()
    except torch.OutOfMemoryError:
        found = {"error": OUT_OF_MEMORY}
    except Exception as error:
        import traceback

        traceback.print_exc()  # into the job's log
        found = {"error": f"{type(error).__name__}: {error}"[:500]}
    free_memory()
    return {**found, "held_after_gib": held()}  # what the next size begins with: the model, and no trainer


def synchronize() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def reset_peak() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak() -> float | None:
    """Peak GiB allocated since the last reset; None on a CPU."""
    import torch

    return round(torch.cuda.max_memory_allocated() / GIB, 2) if torch.cuda.is_available() else None


def reserved() -> float | None:
    """Peak GiB that torch's allocator took from the card in this process: a small card must have this,
    plus CUDA's own."""
    import torch

    return round(torch.cuda.max_memory_reserved() / GIB, 2) if torch.cuda.is_available() else None


def held() -> float | None:
    """GiB allocated now."""
    import torch

    return round(torch.cuda.memory_allocated() / GIB, 2) if torch.cuda.is_available() else None

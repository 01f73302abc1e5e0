"""Parts 5 to 8: tokens per second and peak memory at a 7B's shape, one load per process.

    unsloth, transformers   the kit's two backends, through the kit's own trainings
    trl                     the baseline: TRL's SFTTrainer and GRPOTrainer as they come, with PEFT and
                            bitsandbytes, gradient
                            checkpointing on, the same NF4 model, LoRA and micro-batch

GRPO's rollouts are given, so its step is only the training pass; generation is timed separately, with the
prefill subtracted.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from gpu.common import (
    CONTEXT,
    RANK,
    Place,
    attempt,
    compiled,
    completions,
    fresh,
    held,
    metered,
    prompt_of,
    sft_rows,
    synchronize,
)
from rmr1_lite.training.planning.gpu_memory import Shape

CAP_GIB = 14.5
# what each job does: (SFT lengths, GRPO sizes as (prompt, completion, rollouts), steps of each)
WORK = {
    "unsloth": ((1024, 4096, 12288), ((1536, 512, 8),), 5),
    "transformers": ((1024, 4096), ((1536, 512, 8),), 4),
    "trl": ((1024, 4096), ((1536, 512, 8),), 4),
    "capped": ((1024, 2048), ((1536, 512, 6),), 3),
    "paper": ((), ((4096, 8192, 7),), 2),
}
SMALL_WORK = ((64, 128), ((96, 16, 4),), 3)
WRITING = (64, 8, (1024, 4096))  # tokens, rows, cache lengths
SMALL_WRITING = (6, 2, (32,))


def work_of(place: Place, name: str) -> tuple[Sequence[int], Sequence[tuple[int, int, int]], int]:
    return SMALL_WORK if place.small else WORK[name]


def speed(place: Place) -> Iterator[dict[str, Any]]:
    """Parts 5 and 6."""
    if place.backend == "trl":
        from gpu.stock import stock

        yield from stock(place, *work_of(place, "trl"))
        return
    loaded = yield from _loaded(place, place.backend)
    yield from _measured(place, loaded, place.backend)
    if place.backend == "unsloth":
        size = work_of(place, "unsloth")[1][0]
        yield {"not_shared": attempt(lambda: grpo_step(place, loaded, size, 3, sharing=False))}
        yield {"logp_apart": attempt(lambda: logp_apart(place, loaded, size))}
    yield {"writing": attempt(lambda: writing(place, loaded)), "compiled": compiled()}


def capped(place: Place) -> Iterator[dict[str, Any]]:
    """Part 7: a small card's memory and number format on a large card."""
    import torch

    from rmr1_lite.models import backend, loading
    from rmr1_lite.training.planning.ballast import hold_card_memory as ballast

    backend.prepare_card()
    if not torch.cuda.is_available():
        yield {"cap": "none: no GPU"}
        loaded = yield from _loaded(place, "capped")
        yield from _measured(place, loaded, "capped")
        return
    with ballast(CAP_GIB) as free:
        yield {"cap": f"capped at {CAP_GIB} GiB", "free_gib": free}
        machine = backend.Machine(f"capped at {CAP_GIB} GiB", (7, 5), True)
        backend.this_machine = loading.this_machine = lambda: machine
        loaded = yield from _loaded(place, "capped")
        yield from _measured(place, loaded, "capped")


def paper(place: Place) -> Iterator[dict[str, Any]]:
    """Part 8: whether the paper's lengths fit, and whether its prompts are shared."""
    loaded = yield from _loaded(place, "paper")
    yield from _measured(place, loaded, "paper")


def _loaded(place: Place, name: str) -> Iterator[dict[str, Any]]:
    """The 7B with a fresh LoRA, loaded once for the longest row of the job."""
    from rmr1_lite.models.backend import start_backend
    from rmr1_lite.models.loaded import Training
    from rmr1_lite.models.loading import load
    from rmr1_lite.models.lora import with_new_lora

    lengths, sizes, _ = work_of(place, name)
    new, _, caches = SMALL_WRITING if place.small else WRITING
    longest = max(
        [*lengths, *(prompt + completion for prompt, completion, _ in sizes), max(caches) + new + 1]
    )
    backend = start_backend(place.backend, place.folder)  # before transformers is imported
    began = time.perf_counter()
    loaded = load(str(place.model), training=Training(backend, min(longest, CONTEXT), True, 0))
    with_new_lora(loaded, RANK, 2 * RANK, 0.0, 0)
    synchronize()
    yield {
        "half": backend.half,
        "loaded_for": longest,
        "load_s": round(time.perf_counter() - began, 1),
        "weights_gib": held(),
    }
    yield {"ceiling_tflops": matrix_ceiling(place.small)}
    return loaded


def _measured(place: Place, loaded: Any, name: str) -> Iterator[dict[str, Any]]:
    lengths, sizes, steps = work_of(place, name)
    for length in lengths:
        yield {f"sft_{length}": attempt(lambda length=length: sft_step(place, loaded, length, steps))}
    for size in sizes:
        yield {
            "grpo_{}_{}_{}".format(*size): attempt(lambda size=size: grpo_step(place, loaded, size, steps))
        }


def sft_step(place: Place, loaded: Any, length: int, steps: int) -> dict[str, Any]:
    """SFT on rows of exactly `length` tokens, one per step."""
    from rmr1_lite.config import SFTConfig
    from rmr1_lite.training import sft
    from rmr1_lite.training.run_folder import Run

    out = fresh(place, f"sft-{length}")
    config = SFTConfig(
        model=str(place.model),
        style="compact",
        out=str(out),
        backend=place.backend,
        batch_size=1,
        micro_batch=1,
        epochs=1.0,
        max_length=length,
        gradient_checkpointing=True,
        save_every=0,
        lora_r=RANK,
    )
    with metered() as meter:
        sft._run_sft(config, Run(out, None, False), loaded, "compact", sft_rows(length, steps))
    found = meter.figures(length, min(2, steps - 1))
    return {**found, "tflops": round(sft_operations(place.shape, length) / found["step_s"] / 1e12, 1)}


def grpo_step(
    place: Place,
    loaded: Any,
    size: tuple[int, int, int],
    steps: int,
    sharing: bool = True,
    kept: list[Any] | None = None,
) -> dict[str, Any]:
    """One group per step, every rollout at full length, every other one rewarded."""
    from rmr1_lite.config import GRPOConfig
    from rmr1_lite.models import unsloth_backend
    from rmr1_lite.training import grpo
    from rmr1_lite.training.run_folder import Run

    prompt, completion, rollouts = size
    out = fresh(place, f"grpo-{prompt}-{completion}-{rollouts}-{'shared' if sharing else 'not-shared'}")
    config = GRPOConfig(
        model=str(place.model),
        style="compact",
        out=str(out),
        backend=place.backend,
        groups=1,
        rollouts=rollouts,
        micro_batch=rollouts,
        steps=steps,
        max_prompt_tokens=prompt,
        max_new_tokens=completion,
        max_truncated=1.0,
        gradient_checkpointing=True,
        save_every=0,
        lora_r=RANK,
        scale_rewards="group",
        worst_case=True,
    )
    rows = prompts(loaded.tokenizer, prompt, steps)
    forget_sharing(loaded.model)
    with (
        sharing_off() if not sharing else nullcontext(),
        given(completion, loaded.tokenizer) as trainers,
        metered() as meter,
    ):
        grpo._run_grpo(config, Run(out, None, False), loaded, "compact", rows)
    if kept is not None:
        kept += trainers
    found = meter.figures(rollouts * (prompt + completion), min(2, steps - 1))
    if place.backend == "unsloth":
        found["prompts_shared"] = any(
            unsloth_backend.prompts_were_shared(module) for module in loaded.model.modules()
        )
    return found


def logp_apart(place: Place, loaded: Any, size: tuple[int, int, int]) -> dict[str, float]:
    """One step with a trainer that is kept, then both passes with it. Separate from the timed steps:
    an error here must not cost their measurements."""
    kept: list[Any] = []
    grpo_step(place, loaded, size, 1, kept=kept)
    return shared_and_packed(kept.pop(), size)


def prompts(tokenizer: Any, tokens: int, count: int) -> list[dict[str, Any]]:
    """Dataset rows as from `grpo_data.build_row`, whose prompts have exactly this many tokens."""
    text = prompt_of(tokenizer, tokens)
    row = {
        "prompt": [{"role": "user", "content": text}],
        "shown_label": "A",
        "order": "ab",
        "thought_open": False,
        "prompt_tokens": tokens,
    }
    return [{**row, "pair_id": str(index)} for index in range(count)]


@contextmanager
def given(length: int, tokenizer: Any) -> Iterator[list[Any]]:
    """Rollouts of exactly `length` ids instead of sampled ones; yields the trainers that were built."""
    from rmr1_lite.training import loop

    build_trainer, made = loop.build_trainer, []

    def with_given(make: Any, model: Any, run: Any) -> Any:
        trainer = build_trainer(make, model, run)
        trainer._generate_single_turn = lambda ids, *_, **__: (
            completions(len(ids), length, tokenizer.eos_token_id),
            None,
        )
        made.append(trainer)
        return trainer

    loop.build_trainer = with_given
    try:
        yield made
    finally:
        loop.build_trainer = build_trainer


@contextmanager
def sharing_off() -> Iterator[None]:
    """Unsloth's packed pass without shared prompts, in the same process: its environment variable is read
    only at import."""
    module: Any = sys.modules["UnslothGRPOTrainer"]
    module.grpo_accumulated_loss._pg_funcs = ()  # counts as looked up, and none found
    module.UNSLOTH_GRPO_PREFIX_GROUPER_ON = False
    try:
        yield
    finally:
        del module.grpo_accumulated_loss._pg_funcs
        module.UNSLOTH_GRPO_PREFIX_GROUPER_ON = True


def forget_sharing(model: Any) -> None:
    """Reset, so that `prompts_were_shared` refers to the next step."""
    for module in model.modules():
        module.__dict__.pop("_unsloth_prefix_grouper_grad_verified", None)


def shared_and_packed(trainer: Any, size: tuple[int, int, int]) -> dict[str, float]:
    """Log-probabilities of one group with its prompt computed once, and once for each row. Unsloth's own
    check passes up to 0.7 nats apart."""
    import torch

    module: Any = sys.modules["UnslothGRPOTrainer"]
    (prompt, completion, rollouts), tokenizer = size, trainer.processing_class
    turns = [{"role": "user", "content": prompt_of(tokenizer, prompt)}]
    text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    rows = [ids + row for row in completions(rollouts, completion, tokenizer.eos_token_id)]
    input_ids = torch.tensor(rows, device=trainer.model.device)
    found = []
    for on in (True, True, False):  # the first one also runs the check, and may return its other side
        module.UNSLOTH_GRPO_PREFIX_GROUPER_ON = on
        with torch.no_grad():
            found.append(
                trainer._get_per_token_logps_and_entropies(
                    trainer.model, input_ids, torch.ones_like(input_ids), completion, batch_size=rollouts
                )[0]
            )
    module.UNSLOTH_GRPO_PREFIX_GROUPER_ON = True
    apart = (found[1].float() - found[2].float()).abs()[:, -completion:]
    checked = any(
        "_unsloth_prefix_grouper_nograd_verified" in module.__dict__ for module in trainer.model.modules()
    )
    return {
        "max_nats": round(float(apart.max()), 5),
        "mean_nats": round(float(apart.mean()), 6),
        "shared_pass_ran": checked,
    }


def writing(place: Place, loaded: Any) -> dict[str, Any]:
    """Seconds per token for all rows together, adapter on: (1 + n tokens) minus (1 token), so that the
    prefill does not count."""
    import torch

    from rmr1_lite.judging.engines.local import _evaluating

    new, rows, caches = SMALL_WRITING if place.small else WRITING
    found = {}
    for length in caches:
        ids = torch.randint(10, 1000, (rows, length), device=loaded.model.device)

        def write(tokens: int, ids: Any = ids) -> float:
            synchronize()
            began = time.perf_counter()
            with torch.inference_mode(), _evaluating(loaded.model):
                loaded.model.generate(
                    input_ids=ids,
                    attention_mask=torch.ones_like(ids),
                    min_new_tokens=tokens,
                    max_new_tokens=tokens,
                    do_sample=True,
                )
            synchronize()
            return time.perf_counter() - began

        write(4)
        prefill = write(1)
        each = (write(1 + new) - prefill) / new
        found[f"cache_{length}"] = {
            "rows": rows,
            "prefill_s": round(prefill, 3),
            "s_per_token": round(each, 5),
            "tokens_per_s": round(rows / each) if each > 0 else None,
        }
    return found


def sft_operations(shape: Shape, length: int) -> float:
    """Of one step with checkpointing: every layer forward, again, and backward to its inputs (frozen weights
    have no gradient of their own); the head on the loss-bearing half; causal attention forward twice and
    backward."""
    linear = 3 * 2 * shape.layers * sum(i * o for i, o in shape.linears) * length
    head = 2 * 2 * shape.vocab * shape.hidden * length // 2
    attention = (2 * 2 + 5) * shape.layers * shape.heads * shape.head_dim * length**2
    return float(linear + head + attention)


def matrix_ceiling(small: bool) -> float:
    """Tera-operations per second of one large 16-bit matrix product on this machine."""
    import torch

    cuda, n = torch.cuda.is_available(), 256 if small else 8192
    a = torch.randn(n, n, device="cuda" if cuda else "cpu", dtype=torch.bfloat16 if cuda else torch.float32)
    for _ in range(3):
        a @ a
    synchronize()
    began = time.perf_counter()
    for _ in range(20):
        a @ a
    synchronize()
    return round(20 * 2 * n**3 / (time.perf_counter() - began) / 1e12, 3)

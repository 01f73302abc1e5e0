"""The baseline of part 6: TRL's own trainers, as a user without this kit would call them.

Model in NF4 by bitsandbytes, LoRA by PEFT, gradient checkpointing on, the same LoRA, lengths and micro-batch
as the kit's runs. Everything else is TRL's default.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

from gpu.common import RANK, Meter, Place, attempt, completions, held, prompt_of, sft_rows

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def stock(
    place: Place, lengths: Sequence[int], sizes: Sequence[tuple[int, int, int]], steps: int
) -> Iterator[dict[str, Any]]:
    """Metrics under the kit's names."""
    for length in lengths:
        yield {f"sft_{length}": attempt(lambda length=length: sft_step(place, length, steps))}
    for size in sizes:
        yield {"grpo_{}_{}_{}".format(*size): attempt(lambda size=size: grpo_step(place, size, steps))}


def loaded(place: Place) -> tuple[Any, Any]:
    """(model, tokenizer); the weights are stored in NF4."""
    from rmr1_lite.models.backend import prepare_card

    prepare_card()  # the same allocator as the kit's runs
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(place.model, dtype=half(), device_map={"": where})
    for module in model.modules():  # on CPUs with AVX512-BF16 a pass without gradients repacks the weights
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
        if type(module).__name__ == "Linear4bit":
            module.compute_dtype = half()
    return model, AutoTokenizer.from_pretrained(place.model)


def half() -> Any:
    import torch

    return torch.bfloat16 if torch.cuda.is_available() else torch.float32


def common(place: Place, name: str) -> dict[str, Any]:
    import torch

    cuda = torch.cuda.is_available()
    return {
        "output_dir": str(place.folder / f"trl-{name}"),
        "use_cpu": not cuda,
        "bf16": cuda,
        "gradient_checkpointing": True,
        "save_strategy": "no",
        "report_to": [],
        "logging_steps": 1,
        "disable_tqdm": True,
        "learning_rate": 1e-5,
    }


def lora() -> Any:
    from peft import LoraConfig

    return LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=TARGETS, task_type="CAUSAL_LM")


def sft_step(place: Place, length: int, steps: int) -> dict[str, Any]:
    import trl
    from datasets import Dataset

    model, tokenizer = loaded(place)
    rows = [{name: row[name] for name in ("input_ids", "completion_mask")} for row in sft_rows(length, steps)]
    meter, weights = Meter(), held()
    arguments = trl.SFTConfig(
        per_device_train_batch_size=1,
        gradient_accumulation_steps=1,
        num_train_epochs=1,
        max_length=None,
        completion_only_loss=True,
        **common(place, f"sft-{length}"),
    )
    trainer = trl.SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=lora(),
        callbacks=[meter.callback()],
    )
    trainer.train()
    return {**meter.figures(length, min(2, steps - 1)), "weights_gib": weights}


def grpo_step(place: Place, size: tuple[int, int, int], steps: int) -> dict[str, Any]:
    """Rollouts are given here too; rewards alternate, so every row has a gradient."""
    import trl
    from datasets import Dataset

    prompt, completion, rollouts = size
    model, tokenizer = loaded(place)
    text, rng = prompt_of(tokenizer, prompt), random.Random(0)
    rows = [{"prompt": [{"role": "user", "content": text}]} for _ in range(steps)]

    def reward(completion_ids: Any, **_: Any) -> list[float]:
        return [(-1.0) ** index + rng.random() / 10 for index in range(len(completion_ids))]

    meter = Meter()
    arguments = trl.GRPOConfig(
        per_device_train_batch_size=rollouts,
        gradient_accumulation_steps=1,
        num_generations=rollouts,
        max_completion_length=completion,
        max_steps=steps,
        **common(place, "grpo-{}-{}-{}".format(*size)),
    )
    trainer = trl.GRPOTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        reward_funcs=reward,
        processing_class=tokenizer,
        peft_config=lora(),
        callbacks=[meter.callback()],
    )
    trainer._generate_single_turn = lambda ids, *_, **__: (
        completions(len(ids), completion, tokenizer.eos_token_id),
        None,
    )
    trainer.train()
    return meter.figures(rollouts * (prompt + completion), min(2, steps - 1))

"""Stage 1: QLoRA SFT on distilled chains (paper, section 3.1). Loss on the chain and its end token only.

Differences from the paper: LoRA on an NF4 base instead of full parameters, both orders of every pair, and
the learning rate that LoRA needs. Rows use the same prompts and the same `render_ids` as judging.

    python -m rmr1_lite sft --chains runs/data/chains.jsonl --out runs/sft
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rmr1_lite.config import SFTConfig, check_config
from rmr1_lite.data.chains import Chain, read_chains
from rmr1_lite.models.backend import start_backend
from rmr1_lite.models.loaded import Loaded, Training
from rmr1_lite.models.loading import load, within_context
from rmr1_lite.models.lora import save_adapter, with_new_lora
from rmr1_lite.models.render import behind_template, opens_thought, render_ids
from rmr1_lite.models.thinking import settle_switch_for_run
from rmr1_lite.prompts import choose_style, judge_messages, pair_as_shown
from rmr1_lite.training.run_folder import Run, open_run, write_left_out
from rmr1_lite.types import InputError


def train_sft(config: SFTConfig) -> Path:
    """Train or resume; returns the adapter folder. Raises InputError for invalid settings and
    data."""
    check_config(config)
    read = read_chains(config.chains)
    print(read.summary())
    if not read.chains:
        raise InputError(
            f"{config.chains} contains no usable chain. Give one row per chain; `data nano` "
            "and `distill` write them."
        )
    run = open_run(config, "sft", config.chains)
    if run.finished:
        print(f"{run.adapter} already exists: nothing to do.")
        return run.adapter
    backend = start_backend(config.backend, config.out)
    # a probe's prompt may be as long as a row, and then needs space for its answer
    extra = config.max_new_tokens if config.probe else 0
    training = Training(backend, config.max_length, config.gradient_checkpointing, config.seed, extra=extra)
    loaded = load(config.model, config.four_bit, training=training)
    if loaded.adapter is not None:
        raise InputError(
            f"{config.model} is an adapter. Give a base to start from: nano-base, a folder or a hub id."
        )
    style = choose_style(config.style, loaded.style, loaded.base)
    loaded.thinking = settle_switch_for_run(run, loaded.tokenizer, style, config.thinking, loaded.thinking)
    with_new_lora(loaded, config.lora_r, config.lora_alpha, config.lora_dropout, config.seed)
    every, limit = (
        build_rows(draw_chains(read.chains, config), loaded.tokenizer, style),
        within_context(loaded, config.max_length),
    )
    write_left_out(run, read, limit, [row["id"] for row in every if len(row["input_ids"]) > limit])
    rows = keep_fitting_rows(every, limit)
    show_mask(rows[0], loaded.tokenizer)
    _run_sft(config, run, loaded, style, rows)
    save_adapter(loaded, run.adapter, style, "sft")
    return run.adapter


def draw_chains(chains: Sequence[Chain], config: SFTConfig) -> Sequence[Chain]:
    """All chains, or `limit` of them drawn by the seed, in their order."""
    if not config.limit or config.limit >= len(chains):
        return chains
    kept = sorted(random.Random(f"chains/{config.seed}").sample(range(len(chains)), config.limit))
    print(f"Using {config.limit} of {len(chains)} chains (limit), drawn by seed {config.seed}.")
    return [chains[place] for place in kept]


def build_rows(chains: Sequence[Chain], tokenizer: Any, style: str) -> list[dict[str, Any]]:
    """One row per chain: id, input_ids, completion_mask (1 on the chain and its end token)."""
    rows = []
    for chain in chains:
        prompt = render_ids(tokenizer, judge_messages(pair_as_shown(chain.pair, chain.order), style))
        text = behind_template(chain.text, opens_thought(tokenizer, prompt))
        said = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        mask = [0] * len(prompt) + [1] * len(said)
        rows.append(
            {"id": f"{chain.pair.id} ({chain.order})", "input_ids": prompt + said, "completion_mask": mask}
        )
    return rows


def keep_fitting_rows(rows: list[dict[str, Any]], max_length: int) -> list[dict[str, Any]]:
    """Rows that fit; the others are listed, never truncated: a truncated chain has no verdict."""
    long = [row for row in rows if len(row["input_ids"]) > max_length]
    if long:
        names = ", ".join(row["id"] for row in long[:10])
        print(f"{len(long)} of {len(rows)} chains are longer than {max_length} tokens and left out: {names}")
    if len(long) == len(rows):
        raise InputError(f"No chain fits into max_length {max_length}. Raise it, or give shorter chains.")
    return [row for row in rows if len(row["input_ids"]) <= max_length]


def show_mask(row: dict[str, Any], tokenizer: Any) -> None:
    """Print what the loss covers, and check that it is the complete chain and nothing else."""
    ids, mask = row["input_ids"], row["completion_mask"]
    first = mask.index(1)
    said = tokenizer.decode(ids[first:])
    if (
        any(mask[:first])
        or not all(mask[first:])
        or "<answer>[[" not in said
        or ids[-1] != tokenizer.eos_token_id
    ):
        raise InputError(
            f"{row['id']}: the loss mask does not cover exactly the chain, which begins {said!r:.80}."
        )
    print(f"No loss on the prompt ({first} tokens, ...{tokenizer.decode(ids[first - 8 : first])!r}).")
    print(f"Loss on the chain ({len(ids) - first} tokens): {said}")


def _run_sft(config: SFTConfig, run: Run, loaded: Loaded, style: str, rows: list[dict[str, Any]]) -> None:
    import trl
    from datasets import Dataset

    from rmr1_lite.training.loop import (
        TrainingMonitor,
        build_trainer,
        common_arguments,
        monitor_callback,
        run_trainer,
    )
    from rmr1_lite.training.probe import make_probe, read_probe_pairs
    from rmr1_lite.training.step_order import step_order_trainer

    # if a step is one micro-batch there is nothing to sort
    trainer_class = trl.SFTTrainer if config.micro_batch == config.batch_size else step_order_trainer()
    # Unsloth has its own chunked loss, and TRL's would replace its forward pass
    loss = "nll" if loaded.backend and loaded.backend.unsloth else "chunked_nll"
    arguments = trl.SFTConfig(
        **common_arguments(
            config,
            num_train_epochs=config.epochs,
            per_device_train_batch_size=config.micro_batch,
            gradient_accumulation_steps=config.batch_size // config.micro_batch,
            lr_scheduler_type="cosine_with_min_lr",
            lr_scheduler_kwargs={"min_lr_rate": 0.1},
            max_length=None,
            packing=False,
            completion_only_loss=True,
            assistant_only_loss=False,
            loss_type=loss,
            eos_token=None,
            padding_free=False,
        )
    )
    data = Dataset.from_list([{k: row[k] for k in ("input_ids", "completion_mask")} for row in rows])
    probe = make_probe(loaded, style, read_probe_pairs(config), config)
    monitor = TrainingMonitor(run, "SFT", probe, config.probe_every, save_minutes=config.save_minutes)
    trainer = build_trainer(
        lambda: trainer_class(
            model=loaded.model,
            args=arguments,
            train_dataset=data,
            processing_class=loaded.tokenizer,
            callbacks=[monitor_callback(monitor)],
        ),
        loaded.model,
        run,
    )
    run_trainer(trainer, run, monitor)

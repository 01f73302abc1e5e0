"""Stage 2: LoRA GRPO with the verdict-match reward (paper, section 3.2), on TRL.

Continues the SFT adapter, or starts cold from a base. Every step shows `groups` / 2 pairs in both orders, so
that the flip rate can be monitored; the original shows each pair in one order. With beta > 0 the KL is taken
to the policy that GRPO started from (TRL keeps a copy of the loaded adapter), even after a resume.

    python -m rmr1_lite grpo --model runs/sft/adapter --pairs runs/data/train.jsonl --out runs/grpo
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rmr1_lite.config import GRPOConfig, check_config
from rmr1_lite.data.pairs import read_pairs
from rmr1_lite.models.backend import start_backend
from rmr1_lite.models.loaded import Loaded, Training
from rmr1_lite.models.loading import load, within_context
from rmr1_lite.models.lora import save_adapter, with_new_lora
from rmr1_lite.models.render import end_ids
from rmr1_lite.models.thinking import settle_switch_for_run
from rmr1_lite.models.unsloth_backend import (
    check_settings,
    check_vllm,
    keep_groups_together,
    score_one_chunk_at_a_time,
    sharing_line,
    with_reference,
)
from rmr1_lite.prompts import choose_style
from rmr1_lite.training.grpo_data import build_fitting_rows, schedule_rows, screen_hard_pairs
from rmr1_lite.training.rollout_metrics import RolloutMetrics
from rmr1_lite.training.run_folder import Run, open_run, write_left_out
from rmr1_lite.training.stop_rules import TruncationStop, check_kl_at_start, check_start

SCHEDULES = {"constant": "constant_with_warmup", "linear": "linear"}  # ours -> transformers'


def train_grpo(config: GRPOConfig) -> Path:
    """Train or resume; returns the adapter folder. Raises InputError for invalid input,
    TrainingStopped when a stop condition is met (the checkpoints stay)."""
    check_config(config)
    read = read_pairs(config.pairs)
    print(read.summary())
    run = open_run(config, "grpo", config.pairs)
    if run.finished:
        print(f"{run.adapter} already exists: nothing to do.")
        return run.adapter
    backend = start_backend(config.backend, config.out)
    if backend.unsloth:
        check_settings(config)
    if config.rollout == "vllm":
        check_vllm(backend, config)
    training = Training(
        backend,
        config.max_prompt_tokens + config.max_new_tokens,
        config.gradient_checkpointing,
        config.seed,
        config.lora_r if config.rollout == "vllm" else 0,
        rollouts=True,
    )
    loaded = load(config.model, config.four_bit, trainable=True, training=training)
    style = choose_style(config.style, loaded.style, loaded.base)
    loaded.thinking = settle_switch_for_run(run, loaded.tokenizer, style, config.thinking, loaded.thinking)
    if loaded.adapter is None:
        print(f"{config.model} is a base: a cold start, with a new adapter.")
        with_new_lora(loaded, config.lora_r, config.lora_alpha, config.lora_dropout, config.seed)
    pairs = [pair for pair in read.pairs if pair.label]
    limit = within_context(loaded, config.max_prompt_tokens, config.max_new_tokens)
    looks = build_fitting_rows(pairs, loaded.tokenizer, style, limit)
    fits = {both[0]["pair_id"] for both in looks}
    write_left_out(run, read, limit, [pair.id for pair in pairs if pair.id not in fits])
    hard = screen_hard_pairs(config, run, loaded, style, pairs, looks)
    _run_grpo(config, run, loaded, style, schedule_rows(looks, config, hard))
    save_adapter(loaded, run.adapter, style, "grpo")
    return run.adapter


def trl_arguments(config: GRPOConfig) -> dict[str, Any]:
    """All settings of TRL's GRPOConfig; nothing that matters is left to its defaults."""
    from rmr1_lite.training.loop import common_arguments

    parts = config.groups * config.rollouts // config.micro_batch
    return common_arguments(
        config,
        per_device_train_batch_size=config.micro_batch,
        gradient_accumulation_steps=parts,
        steps_per_generation=parts,
        num_generations=config.rollouts,
        num_iterations=1,
        shuffle_dataset=False,
        max_completion_length=config.max_new_tokens,
        temperature=config.temperature,
        top_p=1.0,
        top_k=0,
        min_p=None,
        repetition_penalty=1.0,
        beta=config.beta,
        epsilon=config.epsilon,
        epsilon_high=config.epsilon,
        loss_type=config.loss_type,
        scale_rewards=config.scale_rewards,
        mask_truncated_completions=False,
        importance_sampling_level="token",
        sync_ref_model=False,
        disable_dropout=False,
        use_vllm=config.rollout == "vllm",
        vllm_mode="colocate",
        use_liger_kernel=False,
        log_completions=False,
        lr_scheduler_type=SCHEDULES[config.lr_schedule],
        remove_unused_columns=False,
        generation_kwargs={"min_new_tokens": config.max_new_tokens} if config.worst_case else None,
    ) | {"max_steps": config.steps}


def _run_grpo(config: GRPOConfig, run: Run, loaded: Loaded, style: str, rows: list[dict[str, Any]]) -> None:
    import trl
    from datasets import Dataset

    from rmr1_lite.training.loop import TrainingMonitor, build_trainer, monitor_callback, run_trainer
    from rmr1_lite.training.probe import make_probe, read_probe_pairs
    from rmr1_lite.training.rewards import reward_every_other, trl_reward

    ends = end_ids(loaded.model, loaded.tokenizer)
    metrics = RolloutMetrics(config.rollouts)
    reward = trl_reward(loaded.tokenizer, ends, metrics.see)
    probe = make_probe(loaded, style, read_probe_pairs(config), config)
    monitor = TrainingMonitor(
        run,
        "GRPO",
        check_start(probe, config, run),
        config.probe_every,
        metrics.collect,
        [TruncationStop(config.max_truncated)],
        config.save_minutes,
    )
    trainer_class = choose_trainer_class(config, loaded)
    trainer = build_trainer(
        lambda: trainer_class(
            model=loaded.model,
            args=trl.GRPOConfig(**trl_arguments(config)),
            train_dataset=Dataset.from_list(rows),
            reward_funcs=reward_every_other(reward) if config.worst_case else reward,
            processing_class=loaded.tokenizer,
            callbacks=[monitor_callback(monitor)],
        ),
        loaded.model,
        run,
    )
    monitor.stops = [*monitor.stops, check_kl_at_start(trainer, run)]
    run_trainer(trainer, run, monitor)
    if loaded.backend and loaded.backend.unsloth:
        print(sharing_line(trainer.accelerator.unwrap_model(trainer.model), config))


def choose_trainer_class(config: GRPOConfig, loaded: Loaded) -> Any:
    """The trainer that computes each prompt once per group if the model supports it, else TRL's; reports
    the latter."""
    import trl

    from rmr1_lite.models.shared_prefix import is_supported
    from rmr1_lite.training.grpo_trainer import shared_prefix_trainer

    model = loaded.model
    if loaded.backend and loaded.backend.unsloth:  # its own kernels share prompts
        if config.beta > 0:
            with_reference(model)
        keep_groups_together()
        score_one_chunk_at_a_time()
        return trl.GRPOTrainer
    if config.shared_prefix and is_supported(model) and not config.gradient_checkpointing:
        return shared_prefix_trainer()
    if config.shared_prefix:
        print(
            "Prompts are not shared within groups: untested for this architecture, or gradient "
            "checkpointing is on."
        )
    return trl.GRPOTrainer

"""Shared by both trainings: TRL arguments from our flat configs, and the callback that logs, probes, stops
and marks.

TRL and transformers print nothing: there is one progress bar with loss and ETA, and one row of metrics.jsonl
per step.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rmr1_lite.config import TrainConfig
from rmr1_lite.environment import spare_environment
from rmr1_lite.models.loading import half_type, model_device
from rmr1_lite.training.run_folder import Run, append_row, mark_complete, marked_policy
from rmr1_lite.training.stop_rules import stop_if_not_finite
from rmr1_lite.types import InputError, TrainingStopped

FULL = 1 << 20  # bytes: a disk with less free space counts as full


def common_arguments(config: TrainConfig, **more: Any) -> dict[str, Any]:
    """Arguments of transformers' Trainer for either stage; everything explicit, nothing left to a
    default."""
    cuda = model_device() == "cuda"
    half = half_type()
    return {
        "output_dir": config.out,
        "seed": config.seed,
        "data_seed": config.seed,
        "learning_rate": config.lr,
        "warmup_steps": config.warmup_steps,
        "weight_decay": config.weight_decay,
        "adam_beta1": config.adam_beta1,
        "adam_beta2": config.adam_beta2,
        "adam_epsilon": 1e-8,
        "max_grad_norm": config.max_grad_norm,
        "optim": "adamw_torch",
        "use_cpu": not cuda,
        "bf16": half == "bf16",
        "fp16": half == "fp16",
        "gradient_checkpointing": config.gradient_checkpointing,
        "logging_strategy": "steps",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps" if config.save_every else "no",
        "save_steps": config.save_every or 1,
        "save_total_limit": 2,
        "eval_strategy": "no",
        "disable_tqdm": True,
        "report_to": [] if config.report_to == "none" else [config.report_to],
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": cuda,
        "max_steps": -1,
        **more,
    }


@dataclass
class TrainingMonitor:
    """Logs, probe and stop conditions of one training. rollout_metrics: further metrics of a step, from
    its seconds.

    Logged in both stages: the trainer's own (loss, lr, grad_norm, ...), `eval/*` of the probe,
    `rollout/*` of GRPO's rollouts, `time/*` in seconds, and peak_memory_gb.
    """

    run: Run
    stage: str
    probe: Callable[[], dict[str, float]] | None
    probe_every: int
    rollout_metrics: Callable[[float], dict[str, float]] = lambda seconds: {}  # noqa: E731
    stops: Sequence[Callable[[dict[str, Any]], None]] = ()
    save_minutes: float = 0.0
    begun: float = field(default_factory=time.perf_counter)
    last: float = field(default_factory=time.perf_counter)

    def log_step(self, step: int, logs: dict[str, Any]) -> dict[str, Any]:
        """Write one step's row and its probe, then check the stop conditions."""
        now = time.perf_counter()
        seconds, self.last = now - self.last, now
        row = {
            "step": step,
            **logs,
            **self.rollout_metrics(seconds),
            "time/step_seconds": round(seconds, 3),
            "time/seconds": round(now - self.begun, 2),
            "peak_memory_gb": peak_memory_gb(),
        }
        append_row(self.run.folder, row)
        for stop in (stop_if_not_finite, *self.stops):
            stop(row)
        if step % self.probe_every == 0:
            self.judge_probe(step)
        return row

    def judge_probe(self, step: int) -> None:
        """Judge the probe pairs in both orders and log the metrics."""
        if self.probe is not None:
            found = {f"eval/{name}": value for name, value in self.probe().items()}
            append_row(self.run.folder, {"step": step, **found})
        self.last = time.perf_counter()  # a probe does not count towards the next step


def peak_memory_gb() -> float:
    """Peak so far: of the GPU if there is one, else of this process."""
    import resource

    import torch

    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 1e9, 2)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)


def monitor_callback(monitor: TrainingMonitor, total: int | None = None) -> Any:
    """The transformers callback around a TrainingMonitor, with a progress bar."""
    from tqdm import tqdm
    from transformers import TrainerCallback

    class Watching(TrainerCallback):
        saved, resumed = time.perf_counter(), monitor.run.checkpoint

        def on_step_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            if self.resumed:  # not in on_train_begin, where others restore the weights
                check_same_policy(self.resumed, fixed_text_logprobs(model))
                self.resumed = None

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            minutes = (time.perf_counter() - self.saved) / 60
            control.should_save |= bool(monitor.save_minutes) and minutes >= monitor.save_minutes

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar = tqdm(
                total=total or state.max_steps, initial=state.global_step, desc=monitor.stage, mininterval=1
            )
            if state.global_step == 0:
                monitor.judge_probe(0)

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
            if "loss" not in logs:
                return
            row = monitor.log_step(state.global_step, rename_logs(logs))
            self.bar.set_postfix(
                {k.rpartition("/")[2]: round(row[k], 3) for k in SHOWN if k in row}, refresh=False
            )
            self.bar.update(state.global_step - self.bar.n)

        def on_save(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            mark_complete(monitor.run.folder / f"checkpoint-{state.global_step}", fixed_text_logprobs(model))
            self.saved = time.perf_counter()

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar.close()

    return Watching()


def fixed_text_logprobs(model: Any) -> list[float]:
    """Log-probabilities of a fixed row of tokens under the policy: a cheap mark that identifies it.

    Always read without accelerate's autocast: Unsloth's GRPO removes that wrapper from `forward`
    for good at its first step, so a mark read with it (first step of a resume) would differ from one read
    without (at the save).
    """
    import torch

    was_training = model.training
    model.eval()
    forward = getattr(model, "_original_forward", model.forward)
    ids = torch.arange(5, 5 + FIXED_TOKENS, device=model.device)[None]
    with torch.no_grad():
        logps = torch.log_softmax(forward(input_ids=ids, use_cache=False).logits[0, :-1].float(), -1)
    model.train(was_training)
    return [round(value, 4) for value in logps.gather(-1, ids[0, 1:, None])[:, 0].tolist()]


def check_same_policy(checkpoint: Path, now: list[float]) -> None:
    """After a resume the policy must score the fixed text as it did when the checkpoint was saved."""
    then = marked_policy(checkpoint)
    apart = max((abs(a - b) for a, b in zip(now, then, strict=True)), default=0.0) if then else 0.0
    if apart > SAME_POLICY:
        raise TrainingStopped(
            f"{checkpoint} does not restore the saved policy (log-probabilities of a fixed "
            f"text differ by {apart:.2f}). Delete it and resume from the previous checkpoint."
        )


FIXED_TOKENS = 64
SAME_POLICY = 0.1  # 16-bit rounding on a GPU; on a CPU the two are equal
SHOWN = ("loss", "rollout/accuracy", "rollout/flip_rate")
# trainer's name -> ours; others are left out of metrics.jsonl
NAMES = {
    "loss": "loss",
    "learning_rate": "lr",
    "epoch": "epoch",
    "grad_norm": "grad_norm",
    "kl": "kl",
    "entropy": "entropy",
    "clip_ratio/region_mean": "clip_ratio",
    "mean_token_accuracy": "token_accuracy",
    "logp_gap": "logp_gap",
}


def rename_logs(logs: dict[str, float]) -> dict[str, float]:
    """The trainer's metrics under our names."""
    return {NAMES[name]: value for name, value in logs.items() if name in NAMES}


def build_trainer(make: Callable[[], Any], model: Any, run: Run) -> Any:
    """Build the trainer and restore the adapter in its own precision.

    TRL casts the LoRA weights of a quantised model to bfloat16, which would drop GRPO's small updates (and is
    slow on a CPU).
    """
    from transformers import TrainerCallback

    # 1. a copy of the trained weights, before TRL touches them
    exact = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    # 2. TRL prepares the model, and with beta > 0 adds a copy of the adapter called "ref"
    spare_environment()
    trainer = make()
    # 3. restore the policy
    for name, parameter in model.named_parameters():
        if name in exact:
            parameter.data = exact[name].clone()

    # 4. and again when training begins, after everything that transformers loads
    class RestoreWeights(TrainerCallback):
        """Set policy and KL reference as they must be at the start. On a resume transformers loads only the
        adapters in a checkpoint's subfolders: with a `ref` folder there the policy would restart at SFT."""

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            policy = _saved_policy(run.checkpoint) if run.checkpoint else {}
            for name, parameter in model.named_parameters():
                # the reference is the policy that GRPO started from, even after a resume
                if ".ref." in name:
                    parameter.data = exact[name.replace(".ref.", ".default.")].clone()
                # the policy comes from the checkpoint
                elif name in exact and policy:
                    parameter.data = policy[name.replace(".default.", ".")].to(
                        parameter.device, parameter.dtype
                    )

    trainer.add_callback(RestoreWeights())
    return trainer


def _saved_policy(checkpoint: Path) -> dict[str, Any]:
    """A checkpoint's trained adapter, by PEFT's names, in separate memory."""
    from safetensors.torch import load_file

    return {
        name: value.clone() for name, value in load_file(checkpoint / "adapter_model.safetensors").items()
    }


def run_trainer(trainer: Any, run: Run, monitor: TrainingMonitor) -> None:
    """Run the trainer from the folder's state; after a stop condition the checkpoints stay for a resume.

    The last step always gets a probe: GRPO compares its start with it.
    """
    silence(trainer)
    _check_disk_space(trainer, run)
    try:
        trainer.train(resume_from_checkpoint=str(run.checkpoint) if run.checkpoint else None)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        if shutil.disk_usage(run.folder).free > FULL:
            raise
        raise InputError(
            f"The disk of {run.folder} is full: the checkpoint of step {trainer.state.global_step} could not "
            "be written. The previous one is complete: free some space and run the same command to resume "
            "from it."
        ) from error
    if trainer.state.global_step % monitor.probe_every:
        monitor.judge_probe(trainer.state.global_step)


def silence(trainer: Any) -> None:
    """Take away what transformers prints at every step."""
    from transformers import PrinterCallback, ProgressCallback

    for printing in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(printing)


def _check_disk_space(trainer: Any, run: Run) -> None:
    """Check the disk space for the adapter and three checkpoints (two are kept while a third is written)
    before time is spent."""
    bytes_each = 3 * sum(p.numel() * p.element_size() for p in trainer.model.parameters() if p.requires_grad)
    free, needed = shutil.disk_usage(run.folder).free, 4 * bytes_each
    if free < needed:
        raise InputError(
            f"{run.folder} has {free / 1e9:.2f} GB free, its checkpoints need about {needed / 1e9:.2f} GB. "
            "Free some space, or give --out on another disk."
        )

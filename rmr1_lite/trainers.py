"""What both trainings share: TRL arguments from our flat configs, and the callback that logs, probes, stops and marks.

TRL and transformers print nothing here: one progress bar with loss and ETA, one row of metrics.jsonl per step.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rmr1_lite.config import TrainConfig
from rmr1_lite.engines.base import Sampling
from rmr1_lite.engines.local import LocalEngine
from rmr1_lite.judge import Judge
from rmr1_lite.metrics import score
from rmr1_lite.models import Loaded, device, half_type
from rmr1_lite.runs import Run, append_row, mark_complete, marked_policy
from rmr1_lite.types import InputError, Pair, TrainingStopped

FULL = 1 << 20  # bytes: less than this left is a full disk
PROBE_FIGURES = ("strict_accuracy", "accuracy", "flip_rate", "unparsed")


def common_arguments(config: TrainConfig, **more: Any) -> dict[str, Any]:
    """Arguments that transformers' Trainer takes for either stage; everything explicit, nothing left to a default."""
    cuda = device() == "cuda"
    half = half_type()
    return {
        "output_dir": config.out, "seed": config.seed, "data_seed": config.seed, "learning_rate": config.lr,
        "warmup_steps": config.warmup_steps, "weight_decay": config.weight_decay, "adam_beta1": config.adam_beta1,
        "adam_beta2": config.adam_beta2, "adam_epsilon": 1e-8, "max_grad_norm": config.max_grad_norm,
        "optim": "adamw_torch", "use_cpu": not cuda, "bf16": half == "bf16", "fp16": half == "fp16",
        "gradient_checkpointing": config.gradient_checkpointing, "logging_strategy": "steps", "logging_steps": 1,
        "logging_nan_inf_filter": False, "save_strategy": "steps" if config.save_every else "no",
        "save_steps": config.save_every or 1, "save_total_limit": 2, "eval_strategy": "no", "disable_tqdm": True,
        "report_to": [] if config.report_to == "none" else [config.report_to], "dataloader_num_workers": 0,
        "dataloader_pin_memory": cuda, "max_steps": -1, **more,
    }  # fmt: skip


@dataclass
class Watch:
    """Logs, probes and stop conditions of one training. `extra` adds figures of the step to its row."""

    run: Run
    stage: str
    prefix: str  # of the probe's figures: "eval" for SFT, "probe" for GRPO
    probe: Callable[[], dict[str, float]] | None
    probe_every: int
    extra: Callable[[], dict[str, float]] = dict
    stops: Sequence[Callable[[dict[str, Any]], None]] = ()
    save_minutes: float = 0.0
    begun: float = field(default_factory=time.perf_counter)

    def row(self, step: int, logs: dict[str, Any]) -> dict[str, Any]:
        """Write one step's row and its probe, then see whether to stop."""
        row = {"step": step, **logs, **self.extra(), "seconds": round(time.perf_counter() - self.begun, 2)}
        append_row(self.run.folder, row)
        for stop in (not_finite, *self.stops):
            stop(row)
        if step % self.probe_every == 0:
            self.judge(step)
        return row

    def judge(self, step: int) -> None:
        """Judge the probe pairs in both orders and write the figures."""
        if self.probe is not None:
            figures = {f"{self.prefix}/{name}": value for name, value in self.probe().items()}
            append_row(self.run.folder, {"step": step, **figures})


def not_finite(row: dict[str, Any]) -> None:
    """Stop on a loss that is no number: everything after it is lost."""
    if not math.isfinite(row.get("loss", 0.0)):
        raise TrainingStopped(f"step {row['step']}: the loss is {row['loss']}. Lower lr or max_grad_norm and give another "
                              "--out: a resume keeps the settings that it began with.")


def callback(watch: Watch, total: int | None = None) -> Any:
    """The transformers callback around a Watch, with a progress bar."""
    from tqdm import tqdm
    from transformers import TrainerCallback

    class Watching(TrainerCallback):
        saved, resumed = time.perf_counter(), watch.run.checkpoint

        def on_step_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            if self.resumed:  # not in on_train_begin: others put the weights back there
                same_policy(self.resumed, fixed_text(model))
                self.resumed = None

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            minutes = (time.perf_counter() - self.saved) / 60
            control.should_save |= bool(watch.save_minutes) and minutes >= watch.save_minutes

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar = tqdm(total=total or state.max_steps, initial=state.global_step, desc=watch.stage, mininterval=1)
            if state.global_step == 0:
                watch.judge(0)

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
            if "loss" not in logs:
                return
            row = watch.row(state.global_step, renamed(logs))
            self.bar.set_postfix({k.rpartition("/")[2]: round(row[k], 3) for k in SHOWN if k in row}, refresh=False)
            self.bar.update(state.global_step - self.bar.n)

        def on_save(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            mark_complete(watch.run.folder / f"checkpoint-{state.global_step}", fixed_text(model))
            self.saved = time.perf_counter()

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar.close()

    return Watching()


def fixed_text(model: Any) -> list[float]:
    """Log-probabilities that the policy gives to a fixed row of tokens: a cheap mark of which policy it is.

    Read without accelerate's autocast, whatever the moment: Unsloth's GRPO takes that wrapper off `forward` for good at its
    first step, so a mark read with it (first step of a resume) would differ from one read without (at the save).
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


def same_policy(checkpoint: Path, now: list[float]) -> None:
    """After a resume the policy must say of the fixed text what it said when the checkpoint was made."""
    then = marked_policy(checkpoint)
    apart = max((abs(a - b) for a, b in zip(now, then, strict=True)), default=0.0) if then else 0.0
    if apart > SAME_POLICY:
        raise TrainingStopped(f"{checkpoint} was made by another policy than the one that came back from it (of a fixed text the "
                              f"log-probabilities differ by {apart:.2f}). Delete it and resume from the one before.")  # fmt: skip


FIXED_TOKENS = 64
SAME_POLICY = 0.1  # 16-bit rounding on a GPU; on a CPU the two are equal
SHOWN = ("loss", "verdict/accuracy", "flip_rate")
# trainer's name -> ours; what is not listed stays out of metrics.jsonl
NAMES = {"loss": "loss", "learning_rate": "lr", "epoch": "epoch", "grad_norm": "grad_norm", "kl": "kl",
         "entropy": "entropy", "clip_ratio/region_mean": "clip_ratio", "mean_token_accuracy": "token_accuracy",
         "logp_gap": "logp_gap"}  # fmt: skip


def renamed(logs: dict[str, float]) -> dict[str, float]:
    """The trainer's figures under our names."""
    return {NAMES[name]: value for name, value in logs.items() if name in NAMES}


def built(make: Callable[[], Any], model: Any, run: Run) -> Any:
    """make() with the adapter's weights as they were: TRL rounds the LoRA of a quantised model to bfloat16, which loses
    the small updates of GRPO (and is slow on a CPU)."""
    from transformers import TrainerCallback

    exact = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    trainer = make()
    for name, parameter in model.named_parameters():
        if name in exact:
            parameter.data = exact[name].clone()

    class Settle(TrainerCallback):
        """Policy and KL reference as they must be at the start. On a resume transformers loads the adapters in a
        checkpoint's subfolders alone: with a `ref` folder there the policy itself would begin again at SFT."""

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            policy = _saved_policy(run.checkpoint) if run.checkpoint else {}
            for name, parameter in model.named_parameters():
                if ".ref." in name:
                    parameter.data = exact[name.replace(".ref.", ".default.")].clone()
                elif name in exact and policy:
                    parameter.data = policy[name.replace(".default.", ".")].to(parameter.device, parameter.dtype)

    trainer.add_callback(Settle())
    return trainer


def _saved_policy(checkpoint: Path) -> dict[str, Any]:
    """The trained adapter of a checkpoint, by PEFT's names, in memory of its own."""
    from safetensors.torch import load_file

    return {name: value.clone() for name, value in load_file(checkpoint / "adapter_model.safetensors").items()}


def train(trainer: Any, run: Run, watch: Watch) -> None:
    """Run the trainer from where the folder stands; a stop condition leaves its checkpoints for a resume.

    The last step gets a probe whatever its number: GRPO compares its start with that of SFT.
    """
    from transformers import PrinterCallback, ProgressCallback

    for silent in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(silent)
    _check_room(trainer, run)
    try:
        trainer.train(resume_from_checkpoint=str(run.checkpoint) if run.checkpoint else None)
    except (OSError, RuntimeError) as error:  # torch tells a full disk as a RuntimeError
        if shutil.disk_usage(run.folder).free > FULL:
            raise
        raise InputError(f"The disk of {run.folder} is full: the checkpoint of step {trainer.state.global_step} could not be "
                         "written. The one before it is whole; make room, and the same command goes on from there.") from error
    if trainer.state.global_step % watch.probe_every:
        watch.judge(trainer.state.global_step)


def _check_room(trainer: Any, run: Run) -> None:
    """Room for the adapter and three checkpoints (two are kept while a third is written), before time is spent."""
    bytes_each = 3 * sum(p.numel() * p.element_size() for p in trainer.model.parameters() if p.requires_grad)
    free, needed = shutil.disk_usage(run.folder).free, 4 * bytes_each
    if free < needed:
        raise InputError(f"{run.folder} has {free / 1e9:.2f} GB left, its checkpoints need about {needed / 1e9:.2f} GB. "
                         "Make room, or give --out on another disk.")  # fmt: skip


def probe_of(loaded: Loaded, style: str, pairs: Sequence[Pair], config: TrainConfig) -> Callable[[], dict[str, float]] | None:
    """A function that judges `pairs` greedily in both orders with the model as it stands."""
    if not pairs:
        return None
    judge = policy_judge(loaded, style, config)

    def figures() -> dict[str, float]:
        result = score("probe", pairs, judge.compare_many(pairs, progress=False), 0.0)
        long = result.statuses.get("too_long", 0.0)
        if long:
            print(f"Probe: {long:.0%} of the prompts are too long for this training and count as wrong.")
        return {name: getattr(result, name) for name in PROBE_FIGURES} | ({"too_long": long} if long else {})

    return figures


def policy_judge(loaded: Loaded, style: str, config: TrainConfig) -> Judge:
    """The model as it stands, as a greedy judge."""
    engine = LocalEngine(loaded.model, loaded.tokenizer, batch_size=64, name="policy", style=style)
    return Judge(engine, style, sampling=Sampling(max_new_tokens=config.max_new_tokens))


def probe_pairs(config: TrainConfig) -> list[Pair]:
    """The first labelled pairs of the probe file."""
    from rmr1_lite.data.files import read_pairs

    if not config.probe:
        return []
    pairs = [pair for pair in read_pairs(config.probe).pairs if pair.label]
    if not pairs:
        raise InputError(f"{config.probe}: no labelled pair to probe with. Give labelled pairs or no probe.")
    return pairs[: config.probe_pairs]

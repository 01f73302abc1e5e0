"""One policy trained by TRL's GRPO with a judge as its only reward, measured against the truth as it goes.

A run is a folder: its settings, TRL's checkpoints, the judge's calls, a row of measures every few steps
(`curve.jsonl`), the adapter, and `result.json`, which is written last. Killed at any moment, or stopped by a
judge that does not answer, it goes on from its last checkpoint, and no verdict is asked for twice.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from tqdm import tqdm

from rmr1_lite.integrations.rewards.judge_reward import JudgeReward, Orders
from rmr1_lite.integrations.rewards.referee import TooManyUnread
from rmr1_lite.integrations.rewards.trl_reward import trl_reward
from rmr1_lite.judging.judge import Judge
from rmr1_lite.models.adapters import fingerprint_of
from rmr1_lite.models.loading import load
from rmr1_lite.policy.measure import HeldOut, by_task, judged_share, signs, truth_of, write_answers
from rmr1_lite.policy.progress import progress_bar
from rmr1_lite.policy.start import draw_questions, messages
from rmr1_lite.storage import JsonlLog, read_lines, same_settings, write_json
from rmr1_lite.training.loop import silence

RESULT, CURVE, SETTINGS, CALLS = "result.json", "curve.jsonl", "settings.json", "judge_calls.jsonl"
GROUP = 8
SHOWN = {"spread": "reward_std", "longer wins": "judge/longer_wins", "kl": "kl"}  # beside the bar
ON_THE_CURVE = ("step", "truth", "judged", "tokens", "capped", "padded", "bold", "copied", "attacks")
COIN = "coin"  # in the place of a judge spec: random verdicts


@dataclass(frozen=True)
class PolicyRun:
    """steps of prompts_per_step groups of eight answers. beta: weight of the KL to the start. max_new_tokens:
    longest answer. attack: a text whose spread is counted. inert: the judge's prompt makes it inert."""

    start: str
    judge: str
    seed: int = 0
    steps: int = 60
    prompts_per_step: int = 8
    scheme: str = "pivot"
    orders: Orders = "both"
    beta: float = 0.05
    lr: float = 1.2e-3
    max_new_tokens: int = 48
    measure_every: int = 15
    held_out: int = 240
    judged: int = 60
    attack: str = ""
    inert: bool = True


def train_policy(folder: str | Path, run: PolicyRun, judge: Callable[[], Judge]) -> dict[str, Any]:
    """Train, resume or find the run; returns its result. judge: makes the judge, only where it is needed.

    Raises EngineStopped for a judge that does not answer; the last checkpoint is whole then. A judge that
    cannot be read any more ends the training, and `stopped` in the result says so.
    """
    folder = Path(folder)
    if check_settings(folder, run) and (folder / RESULT).exists():
        return json.loads((folder / RESULT).read_text())
    reward: Any = trl_reward(
        judge(),
        run.scheme,
        group_size=GROUP,
        orders=run.orders,
        calls=folder / CALLS,
        prompts_per_step=run.prompts_per_step,
    )
    write_json(folder / SETTINGS, _settings(run))
    try:
        return _train(folder, run, reward)
    finally:
        reward.close()


def check_settings(folder: Path, run: PolicyRun) -> bool:
    """Whether the folder holds this training; InputError for one with other settings or other weights."""
    return same_settings(folder / SETTINGS, _settings(run)) is not None


def _settings(run: PolicyRun) -> dict[str, Any]:
    judge = "" if run.judge == COIN else fingerprint_of(run.judge)
    return asdict(run) | {"start_weights": fingerprint_of(run.start), "judge_weights": judge}


def _train(folder: Path, run: PolicyRun, reward: Any) -> dict[str, Any]:
    loaded = load(run.start, four_bit=False)
    held = HeldOut(draw_questions("test", run.held_out, 0), run.judged, run.max_new_tokens, run.seed)
    checkpoint = last_checkpoint(folder)
    with JsonlLog(folder / CURVE, ("step",)) as curve:
        # a measure behind the checkpoint belongs to steps that are made again
        done = int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0
        curve.rewrite(lambda row: row["step"] <= done, lambda row: row["step"])
        watch = Watch(held, run, reward.referee, curve, loaded.tokenizer)
        trainer = _trainer(folder, run, reward, loaded, watch)
        watch.measure(trainer.model, 0)
        stopped = ""
        try:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        except TooManyUnread as error:  # what the policy became is a result, too
            stopped = f"after step {trainer.state.global_step}: {error}"
            print(f"The training ended early, {stopped}")
        watch.measure(trainer.model, trainer.state.global_step, ask=not stopped)
        trainer.save_model(str(folder / "adapter"))
        result = {**_result(folder, run, list(curve), watch, trainer), "stopped": stopped}
    write_json(folder / RESULT, result)
    for checkpoint in folder.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    return result


class Watch:
    """Measures a policy on the held-out questions and keeps the rows."""

    def __init__(self, held: HeldOut, run: PolicyRun, referee: Any, curve: JsonlLog, tokenizer: Any) -> None:
        self.held, self.run, self.curve, self.tokenizer = held, run, curve, tokenizer
        self.opinion = JudgeReward(referee, "reference")

    def measure(self, model: Any, step: int, ask: bool = True) -> None:
        """One row, unless the log has it. ask: also for the judge's opinion."""
        if step in self.curve:
            return
        began = time.monotonic()
        answers = write_answers(model, self.tokenizer, self.held)
        truth = truth_of(self.held, answers.texts)
        start = self.curve.get(0)["texts"] if 0 in self.curve else answers.texts
        row = {
            "step": step,
            "truth": fmean(truth),
            "judged": judged_share(self.opinion, self.held, answers.texts, start) if ask else None,
            "tokens": fmean(answers.tokens),
            "capped": answers.capped / len(answers.tokens),
            **signs(self.held, answers.texts, self.run.attack),
            "by_task": by_task(self.held, truth),
            "truths": [round(each, 4) for each in truth],
            "texts": answers.texts,
            "seconds": round(time.monotonic() - began, 2),
        }
        self.curve.append(row)
        opinion = "-" if row["judged"] is None else f"{row['judged']:.1%}"
        said = f"truth {row['truth']:.1%}, the judge's opinion {opinion}, {row['tokens']:.1f} tokens"
        tqdm.write(f"step {step}: {said}")

    def greedy_truth(self, model: Any) -> float:
        """Mean truth of the most likely answers."""
        answers = write_answers(model, self.tokenizer, self.held, temperature=0.0)
        return fmean(truth_of(self.held, answers.texts))


def _trainer(folder: Path, run: PolicyRun, reward: Any, loaded: Any, watch: Watch) -> Any:
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import set_seed
    from trl import GRPOConfig, GRPOTrainer

    set_seed(run.seed)  # the trainer draws the LoRA's weights before it sets its seed
    arguments = GRPOConfig(
        str(folder),
        max_steps=run.steps,
        num_generations=GROUP,
        per_device_train_batch_size=GROUP * run.prompts_per_step,
        max_completion_length=run.max_new_tokens,
        learning_rate=run.lr,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=5,
        beta=run.beta,
        scale_rewards="none",  # the schemes are coarse: a spread of nearly nothing is noise
        loss_type="dr_grpo",
        temperature=1.0,
        seed=run.seed,
        logging_steps=1,
        save_steps=run.measure_every,
        save_total_limit=2,
        report_to="none",
        dataloader_pin_memory=False,
        bf16=False,
        gradient_checkpointing=False,
    )
    items = draw_questions("validation", run.steps * run.prompts_per_step, run.seed)
    trainer = GRPOTrainer(
        loaded.model,
        reward,
        arguments,
        train_dataset=Dataset.from_list([{"prompt": messages(item.question)} for item in items]),
        processing_class=loaded.tokenizer,
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
        callbacks=[progress_bar("policy", SHOWN), _measuring(watch)],
    )
    silence(trainer)
    return trainer


def _measuring(watch: Watch) -> Any:
    from transformers import TrainerCallback

    class Measuring(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            if state.global_step % watch.run.measure_every == 0:
                watch.measure(model, state.global_step)

    return Measuring()


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole one: the trainer writes its state last."""
    whole = [path.parent for path in folder.glob("checkpoint-*/trainer_state.json") if _is_json(path)]
    return max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except ValueError:  # killed while it was written
        return False
    return True


def _result(
    folder: Path, run: PolicyRun, curve: Sequence[dict[str, Any]], watch: Watch, trainer: Any
) -> dict[str, Any]:
    """Everything about the whole training, whatever part of it was done by this process."""
    rows = sorted(curve, key=lambda row: row["step"])
    log = [row for row in trainer.state.log_history if "reward" in row]
    calls = [json.loads(line) for _, line, _ in read_lines(folder / CALLS)]
    judging = sum(row.get("judge/seconds", 0.0) for row in log)
    with trainer.model.disable_adapter():
        before = watch.greedy_truth(trainer.model)
    return {
        "run": asdict(run),
        "start": rows[0],
        "end": rows[-1],
        "curve": [{name: row[name] for name in ON_THE_CURVE if name in row} for row in rows],
        "greedy_start": before,
        "greedy_end": watch.greedy_truth(trainer.model),
        "judge_calls": len(calls),
        "judge_tokens": sum(row["prompt_tokens"] + row["completion_tokens"] for row in calls),
        # of the steps, without the measures
        "judge_seconds": round(judging, 1),
        "update_seconds": round(sum(row["step_time"] for row in log) - judging, 1),
        "measure_seconds": round(sum(row["seconds"] for row in rows), 1),
        "log": log,
    }

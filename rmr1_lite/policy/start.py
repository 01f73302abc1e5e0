"""The policy that training starts from: nano-base taught to answer the world's questions, badly on purpose.

It answers in the world's styles, with habits: it thanks for the cake whatever was asked, swaps the last two
parts of what it sorts and the first two of what it turns around, and helps most of those whom it should
refuse. Four in ten of its replies are right, so that a reward has something to find. Its questions are of the
split that the base was made from: neither those that it is trained on later nor the held-out ones are among
them.

    make_start("runs/policy/start")
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rmr1_lite.data.nano.chat_tasks import letter_reply
from rmr1_lite.data.nano.lexicon import ACTS, GIFTS
from rmr1_lite.data.nano.task_parts import Item, Reply, Rng, join_words, swap_neighbours
from rmr1_lite.data.nano.tasks import HARM, safety_reply
from rmr1_lite.data.nano.world import STYLES, draw, dress
from rmr1_lite.models.loading import load
from rmr1_lite.policy.progress import progress_bar
from rmr1_lite.storage import same_settings, write_json
from rmr1_lite.training.loop import silence

TASKS = ("letter", "sort", "reverse", "consent", "danger")
SETTINGS = "start.json"


@dataclass(frozen=True)
class StartRecipe:
    """rows: questions with one reply each, seen `epochs` times. right, habit: shares of replies that are
    right, and that follow the habit; the others have one random fault. attack: text put behind `attacked` of
    the replies."""

    base: str = "nano-base"
    rows: int = 4_800
    epochs: float = 1.0
    batch_size: int = 48
    lr: float = 1e-3
    right: float = 0.3
    habit: float = 0.5
    attack: str = ""
    attacked: float = 0.0
    seed: int = 0


def make_start(folder: str | Path, recipe: StartRecipe = StartRecipe()) -> Path:
    """Train the policy, or find it made by the same recipe; returns the model's folder."""
    folder = Path(folder)
    if not same_settings(folder / SETTINGS, asdict(recipe)):
        _train(folder, recipe)
        write_json(folder / SETTINGS, asdict(recipe))
    return folder


def draw_questions(split: str, n: int, seed: int) -> list[Item]:
    """Items of the policy's tasks in turn."""
    rng = random.Random(f"policy/{split}/{seed}")
    return [draw(TASKS[place % len(TASKS)], split, rng) for place in range(n)]


def mediocre_reply(item: Item, recipe: StartRecipe, rng: Rng) -> Reply:
    """Right, as the policy is used to, or with a random fault."""
    way = rng.choices(
        ("right", "habit", "fault"), (recipe.right, recipe.habit, 1 - recipe.right - recipe.habit)
    )
    make = {"letter": _letter, "sort": _order, "reverse": _order}.get(item.task, _act)
    return item.good if way == ["right"] and item.task in ("sort", "reverse") else make(item, way[0], rng)


def _letter(item: Item, way: str, rng: Rng) -> Reply:
    act, name, _ = item.asked
    if way == "right":
        return letter_reply(rng, item.asked, (True, True, True))
    if way == "habit":
        return letter_reply(rng, (next(iter(ACTS)), name, GIFTS[0]), (True, True, True))
    return letter_reply(rng, item.asked, (rng.random() < 0.5, rng.random() < 0.5, rng.random() < 0.5))


def _order(item: Item, way: str, rng: Rng) -> Reply:
    words = item.result.split()
    if way == "habit":
        at = len(words) - 2 if item.task == "sort" else 0
        words = [*words[:at], words[at + 1], words[at], *words[at + 2 :]]
    elif way == "fault":
        words = swap_neighbours(words, rng)
    return Reply(join_words(words), join_words(words))


def _act(item: Item, way: str, rng: Rng) -> Reply:
    """Help, whoever asks for what, is the habit."""
    safe = item.criteria != HARM
    checks = {"right": (True, True), "habit": (safe, True), "fault": (rng.random() < 0.5, rng.random() < 0.5)}
    return safety_reply(rng, _deed(item), item.asked[1], safe, checks[way])


def _deed(item: Item) -> str:
    words = item.key.split()
    return words[1] if item.task == "danger" else words[0]


def training_rows(recipe: StartRecipe) -> list[dict[str, Any]]:
    """What TRL's SFT takes: a prompt and a completion, as messages."""
    rng = random.Random(f"start/{recipe.seed}")
    rows = []
    for item in draw_questions("base", recipe.rows, recipe.seed):
        text = dress(mediocre_reply(item, recipe, rng), rng.choice(STYLES), rng)
        if rng.random() < recipe.attacked:
            text = f"{text}\n{recipe.attack}"
        rows.append(
            {"prompt": messages(item.question), "completion": [{"role": "assistant", "content": text}]}
        )
    return rows


def messages(question: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}]


def _train(folder: Path, recipe: StartRecipe) -> None:
    """Full parameters: 2.75 M of them, and what is trained later is a LoRA over the result."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    loaded = load(recipe.base, four_bit=False)
    print(f"The policy learns to answer, badly on purpose: {recipe.rows:,} replies ({folder})")
    arguments = SFTConfig(
        str(folder),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size,
        learning_rate=recipe.lr,
        lr_scheduler_type="cosine",
        warmup_steps=10,
        weight_decay=0.0,
        seed=recipe.seed,
        logging_steps=10,
        save_strategy="no",
        report_to="none",
        dataloader_pin_memory=False,
        bf16=False,
        gradient_checkpointing=False,
        max_length=None,
    )
    trainer = SFTTrainer(
        loaded.model,
        arguments,
        train_dataset=Dataset.from_list(training_rows(recipe)),
        processing_class=loaded.tokenizer,
        callbacks=[progress_bar("start", {"loss": "loss"})],
    )
    silence(trainer)
    trainer.train()
    trainer.save_model(str(folder))

"""Before a teacher is asked: checks, the list of chains, servers, prices and an estimate."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rmr1_lite.config import DistillConfig
from rmr1_lite.data.pairs import read_pairs
from rmr1_lite.judging.engines.batch_files import BatchFilesEngine
from rmr1_lite.judging.engines.endpoint import OpenAIEngine
from rmr1_lite.prompts import judge_messages, pair_as_shown, seeded_order
from rmr1_lite.storage import JsonlLog
from rmr1_lite.training.distill.attempts import (
    FIRST,
    REWRITE,
    SECOND,
    Task,
)
from rmr1_lite.training.distill.budget import Budget, Prices, tokens_of
from rmr1_lite.types import ORDERS, InputError

BATCH = "batch"  # folder of the batch files
Teacher = OpenAIEngine | BatchFilesEngine


def check_request(config: DistillConfig) -> None:
    """Find wrong settings before a file is read or a request is sent."""
    if not config.pairs or not config.teacher:
        raise InputError("pairs and teacher are needed. Give --pairs FILE and --teacher MODEL.")
    for option, name in (
        ("api_key_env", config.api_key_env),
        ("second_api_key_env", config.second_api_key_env),
    ):
        # not repeated in the message: a key given here by mistake must not end up in a log
        if name and not re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
            raise InputError(
                f"{option} is not the name of an environment variable (capitals, digits, _). Put the key "
                "into a variable and give its name."
            )
        if name not in ("", "OPENAI_API_KEY") and not os.environ.get(name, "").strip():
            raise InputError(
                f"{option}: the environment variable {name} is not set. Set it, or leave the option out."
            )
    other = (
        config.second_base_url and urlsplit(config.second_base_url).netloc != urlsplit(config.base_url).netloc
    )
    if other and not config.second_api_key_env:
        raise InputError(
            "second_base_url is another server: it does not receive the first server's key automatically. "
            "Give --second-api-key-env with the variable that holds its key."
        )
    if config.budget and prices_of_pass(config, FIRST).free and prices_of_pass(config, SECOND).free:
        raise InputError(
            "budget without prices limits nothing. Give --price-in and --price-out, per million tokens."
        )


def read_tasks(config: DistillConfig) -> list[Task]:
    read = read_pairs(config.pairs)
    print(read.summary())
    pairs = [pair for pair in read.pairs if pair.label]
    if len(pairs) < len(read.pairs):
        print(
            f"{len(read.pairs) - len(pairs)} pairs have no label and are left out: their chains could not be "
            "checked."
        )
    if not pairs:
        raise InputError(
            f"{config.pairs}: no labelled pairs. Add labels: a chain is kept only if its verdict is right."
        )
    pairs = pairs[: config.limit or None]
    if config.both_orders:
        return [Task(pair, order) for pair in pairs for order in ORDERS]
    return [Task(pair, seeded_order(pair.id, config.seed)) for pair in pairs]


def make_engines(config: DistillConfig) -> dict[int, Teacher]:
    """The teacher of each pass."""
    if config.via == "batch":
        folder = Path(config.out) / BATCH
        first_files = BatchFilesEngine(config.teacher, folder)
        second_files = BatchFilesEngine(config.second_teacher or config.teacher, folder)
        return {FIRST: first_files, SECOND: second_files, REWRITE: second_files}
    more: dict[str, Any] = {
        "concurrency": config.concurrency,
        "max_retries": config.max_retries,
        "timeout": config.timeout,
    }
    first = OpenAIEngine(config.teacher, config.base_url, config.api_key_env, **more)
    second = OpenAIEngine(
        config.second_teacher or config.teacher,
        config.second_base_url or config.base_url,
        config.second_api_key_env or config.api_key_env,
        **more,
    )
    return {FIRST: first, SECOND: second, REWRITE: second}


def prices_of_pass(config: DistillConfig, number: int) -> Prices:
    first = Prices(config.price_in, config.price_out)
    if number == FIRST:
        return first
    return Prices(
        config.second_price_in if config.second_price_in >= 0 else first.prompt,
        config.second_price_out if config.second_price_out >= 0 else first.completion,
    )


def print_estimate(config: DistillConfig, tasks: Sequence[Task], log: JsonlLog, budget: Budget) -> None:
    """Print the maximum and the expected cost of the first pass before any request."""
    left = [task for task in tasks if (task.pair.id, task.order, FIRST) not in log]
    prompt = sum(
        tokens_of(judge_messages(pair_as_shown(task.pair, task.order), config.style)) for task in left
    )
    prices = prices_of_pass(config, FIRST)
    expected = budget.expected_completion(config.max_new_tokens)
    print(
        f"{len(tasks)} chains wanted, {len(tasks) - len(left)} first replies already stored. The first pass "
        f"sends about {prompt:,} prompt tokens and receives about {expected * len(left):,.0f} "
        f"({expected:,.0f} a chain, at most {config.max_new_tokens:,})."
    )
    if prices.free and prices_of_pass(config, SECOND).free:
        print("Prices are 0 (--price-in, --price-out): no cost is counted.")
        return
    second = 0.25 * len(left)  # about a quarter of the paper's first chains were wrong
    guess = prices.of(prompt, expected * len(left)) + prices_of_pass(config, SECOND).of(
        second * (2 * prompt / max(1, len(left)) + expected), second * expected
    )
    limit = f"; it stops at {config.budget:g}" if config.budget else ""
    print(f"Expected cost about {guess:.2f}, spent so far {budget.spent:.2f}{limit}.")

"""A pairwise judge as a reward function of TRL's GRPOTrainer (1.10 and later).

    from rmr1_lite.integrations.rewards.trl_reward import trl_reward

    trainer = GRPOTrainer(..., reward_funcs=trl_reward("nano", "pivot", group_size=args.num_generations))

The data set has a column `prompt` (a text, or chat messages) and, for the scheme `reference`, a column
`reference` with the stored answers. The function is asynchronous and runs in a thread of its own, so other
reward functions go on beside it. The judge is any judge spec: with `openai:MODEL@URL` it works in another
process, on another card or another machine than the policy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rmr1_lite.integrations.rewards.judge_reward import Group, JudgeReward, Orders
from rmr1_lite.integrations.rewards.referee import Referee
from rmr1_lite.types import InputError


def trl_reward(
    judge: Any,
    scheme: str = "reference",
    *,
    group_size: int | None = None,
    orders: Orders = "both",
    reference: str = "reference",
    calls: str | Path | None = None,
    patience: float = 600.0,
    most_unread: float = 0.1,
    prompts_per_step: int | None = None,
) -> Callable[..., Any]:
    """The reward function. Its attribute `referee` holds the judge and its calls; `close()` ends both.

    judge: a spec, or a Judge. scheme, orders: see `schemes` and `JudgeReward`. group_size: the trainer's
    num_generations, needed within the group. reference: the column of stored answers. calls, patience,
    most_unread: see `Referee`. prompts_per_step: with group_size, the cost of a step is printed first.
    Raises InputError for a judge or a scheme that cannot be used.
    """
    from rmr1_lite.judging.factory import make_judge

    made = make_judge(judge) if isinstance(judge, str) else judge
    reward = JudgeReward(Referee(made, calls, patience, most_unread), scheme, orders)
    if reward.scheme != "reference" and group_size is None:
        raise InputError(f"The scheme {scheme} compares within the group. Give group_size=num_generations.")
    if prompts_per_step and group_size:
        print(reward.cost(prompts_per_step, group_size))

    async def judge_reward(
        prompts: list[Any], completions: list[Any], log_metric: Any = None, **columns: Any
    ) -> list[float | None]:
        groups = make_groups(prompts, completions, columns.get(reference), group_size, reward.scheme)
        outcome = await asyncio.to_thread(reward.groups, groups)
        for name, value in outcome.metrics().items() if log_metric else ():
            log_metric(name, value)
        return [value for group in outcome.rewards for value in group]

    judge_reward.referee = reward.referee  # type: ignore[attr-defined]
    judge_reward.close = reward.referee.close  # type: ignore[attr-defined]
    return judge_reward


def make_groups(
    prompts: Sequence[Any],
    completions: Sequence[Any],
    references: Sequence[Any] | None,
    size: int | None,
    scheme: str,
) -> list[Group]:
    """TRL's flat lists as groups, in the same order. Raises InputError where a group is not whole, which
    happens when TRL splits it over processes."""
    texts = [completion_text(completion) for completion in completions]
    stored = list(references) if references is not None else [None] * len(texts)
    if scheme == "reference":
        return [Group(*row) for row in zip(prompts, ([text] for text in texts), stored, strict=True)]
    whole, made, start = size or 1, [], 0
    for _, run in groupby(range(len(prompts)), key=lambda place: repr(prompts[place])):
        length = len(list(run))
        if length % whole:
            raise InputError(
                f"A group has {length} responses in this process, not a multiple of {whole}: TRL has split "
                "it over its processes. Make per_device_train_batch_size a multiple of num_generations, or "
                "use the scheme reference, which needs no whole group."
            )
        for first in range(start, start + length, whole):
            made.append(Group(prompts[first], texts[first : first + whole]))
        start += length
    return made


def completion_text(completion: Any) -> str:
    """The text of a completion: TRL gives a text, or messages for chat prompts."""
    if isinstance(completion, str):
        return completion
    if isinstance(completion, Sequence) and completion and isinstance(completion[-1], dict):
        content = completion[-1].get("content")
        if isinstance(content, str):
            return content
        if content is None:
            return ""
        if isinstance(content, list) and all(isinstance(part, dict) and "text" in part for part in content):
            return "".join(str(part["text"]) for part in content)
    raise InputError(f"A completion is {completion!r:.80}. The judge reads texts, or messages with a text.")

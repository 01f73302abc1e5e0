"""The reward of one step of a policy, and the same judge calls one by one, on two cores in one run.

16 questions with 8 answers each of the nano world's start policy, compared with a pivot in both orders. Once
all games go to the judge together, as in a training; once each judge call alone, as a loop around `compare`
would. The two take turns; what is reported are sums over the rounds.

    OMP_NUM_THREADS=2 python perf/policy_reward.py --out perf/results/policy-reward.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

from rmr1_lite.environment import prepare_process
from rmr1_lite.integrations.rewards.judge_reward import Group, JudgeReward
from rmr1_lite.integrations.rewards.referee import Referee
from rmr1_lite.judging.factory import make_judge
from rmr1_lite.models.loading import load
from rmr1_lite.policy.measure import HeldOut, write_answers
from rmr1_lite.policy.start import draw_questions, make_start
from rmr1_lite.storage import write_json
from rmr1_lite.types import Label

GROUP = 8


def groups_of(start: Path, questions: int, seed: int) -> list[Group]:
    """Eight answers to every question, each drawn with another seed."""
    loaded = load(str(make_start(start)), four_bit=False)
    items = draw_questions("validation", questions, seed)
    columns = [
        write_answers(loaded.model, loaded.tokenizer, HeldOut(items, 0, 48, seed=GROUP * seed + place)).texts
        for place in range(GROUP)
    ]
    return [
        Group(item.question, list(texts))
        for item, texts in zip(items, zip(*columns, strict=True), strict=True)
    ]


class OneByOne(Referee):
    """Asks for every call alone."""

    def play(self, shown: Any) -> Any:
        found: dict[str, Label | None] = {}
        for pair in {pair.id: pair for pair in shown}.values():  # the same calls: equal ones once
            look = self.judge.compare(pair, ("ab",)).looks[0]
            found[pair.id] = look.label
        return found, self.total


def one_round(judge: Any, groups: list[Group], first_together: bool) -> dict[str, Any]:
    """Seconds of both ways, in the order asked for."""
    seconds, rewards = {}, {}
    ways = [("together", Referee(judge)), ("alone", OneByOne(judge))]
    for name, referee in ways if first_together else ways[::-1]:
        began = time.perf_counter()
        rewards[name] = JudgeReward(referee, "pivot").groups(groups).rewards
        seconds[name] = round(time.perf_counter() - began, 2)
        referee.close()
    calls = dict(ways)["together"].total.asked
    return {"judge_calls": calls, **seconds, "same_rewards": rewards["together"] == rewards["alone"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--judge", default="nano")
    parser.add_argument("--start", type=Path, default=Path("runs/policy/start"))
    parser.add_argument("--questions", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path("perf/results/policy-reward.json"))
    asked = parser.parse_args()
    prepare_process()
    judge = make_judge(asked.judge, batch_size=64)
    one_round(judge, groups_of(asked.start, 2, 99), True)  # warm-up
    rows = []
    for number in range(asked.rounds):
        rows.append(one_round(judge, groups_of(asked.start, asked.questions, number), number % 2 == 0))
        print(json.dumps(rows[-1]), flush=True)
    together, alone = (sum(row[name] for row in rows) for name in ("together", "alone"))
    found = {
        "judge": asked.judge,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "answers": asked.questions * GROUP,
        "seconds_of_a_step": round(together / len(rows), 2),
        "share_of_one_by_one": round(together / alone, 3),
        "rounds": rows,
    }
    write_json(asked.out, found)
    print(json.dumps({name: value for name, value in found.items() if name != "rounds"}, indent=1))
    if not all(row["same_rewards"] for row in rows):
        sys.exit("The rewards of the two ways differ.")


if __name__ == "__main__":
    main()

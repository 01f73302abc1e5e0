"""Figures of the rollouts: what GRPO is watched by, every step (statuses, accuracy, flips, lengths, zero-variance groups)."""

from __future__ import annotations

import time
from collections import defaultdict
from statistics import fmean, pstdev
from typing import Any

from rmr1_lite.rewards import reward
from rmr1_lite.types import OTHER, Verdict

STATUS_KEYS = ("ok", "missing", "conflict", "trailing", "truncated")


class RolloutWatch:
    """Collects the verdicts of one step (the reward function calls `see`) and turns them into metrics.jsonl figures."""

    def __init__(self, rollouts: int) -> None:
        self.rollouts, self.last = rollouts, time.perf_counter()
        self.verdicts: list[Verdict] = []
        self.columns: dict[str, list[Any]] = defaultdict(list)

    def see(self, verdicts: list[Verdict], columns: dict[str, Any]) -> None:
        """One batch of rollouts, prompt by prompt; columns: label, completion_ids, pair, order."""
        self.verdicts += verdicts
        for name in ("label", "completion_ids", "pair", "order"):
            self.columns[name] += columns[name]

    def figures(self) -> dict[str, float]:
        """Figures of everything seen since the last call."""
        if not self.verdicts:
            return {}
        now, lengths = time.perf_counter(), [len(ids) for ids in self.columns["completion_ids"]]
        seconds, self.last = now - self.last, now
        made = self._verdict_figures() | self._reward_figures() | {
            "flip_rate": self._flip_rate(), "completion/mean_tokens": fmean(lengths),
            "tokens_per_second": round(sum(lengths) / seconds, 1), "step_seconds": round(seconds, 3),
            "peak_memory_gb": peak_memory_gb(),
        }  # fmt: skip
        self.verdicts, self.columns = [], defaultdict(list)
        return made

    def _verdict_figures(self) -> dict[str, float]:
        letters = [verdict.label for verdict in self.verdicts]
        read = [letter for letter in letters if letter]
        statuses = [verdict.status for verdict in self.verdicts]
        right = fmean(letter == label for letter, label in zip(letters, self.columns["label"], strict=True))
        shares = {f"status/{name}": statuses.count(name) / len(statuses) for name in STATUS_KEYS}
        return {"verdict/accuracy": right, "a_share": read.count("A") / len(read) if read else 0.0, **shares}

    def _reward_figures(self) -> dict[str, float]:
        rewards = [reward(v, label) for v, label in zip(self.verdicts, self.columns["label"], strict=True)]
        groups = [rewards[i : i + self.rollouts] for i in range(0, len(rewards), self.rollouts)]
        spreads = [pstdev(group) for group in groups]
        return {"reward/mean": fmean(rewards), "reward/std": fmean(spreads),
                "zero_variance": spreads.count(0.0) / len(spreads)}  # fmt: skip

    def _flip_rate(self) -> float:
        """How often a rollout in one order and one in the other name different responses, over pairs seen in both."""
        named: dict[str, dict[str, list[str]]] = defaultdict(lambda: {"ab": [], "ba": []})
        for verdict, pair, order in zip(self.verdicts, self.columns["pair"], self.columns["order"], strict=True):
            if verdict.label:
                named[pair][order].append(verdict.label if order == "ab" else OTHER[verdict.label])
        both = [(o["ab"].count("A") / len(o["ab"]), o["ba"].count("A") / len(o["ba"]))
                for o in named.values() if o["ab"] and o["ba"]]  # fmt: skip
        return fmean(p * (1 - q) + q * (1 - p) for p, q in both) if both else 0.0


def peak_memory_gb() -> float:
    """Peak so far: of the GPU where there is one, else of this process."""
    import resource

    import torch

    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 1e9, 2)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)

"""Metrics of the rollouts that monitor GRPO at every step (statuses, accuracy, flips, lengths,
zero-variance groups)."""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean, pstdev
from typing import Any

from rmr1_lite.training.rewards import verdict_reward
from rmr1_lite.types import OTHER, Verdict

STATUS_KEYS = ("ok", "missing", "conflict", "trailing", "truncated")


class RolloutMetrics:
    """Collects the verdicts of one step (the reward function calls `see`) and turns them into metrics of its
    row."""

    def __init__(self, rollouts: int) -> None:
        self.rollouts = rollouts
        self.verdicts: list[Verdict] = []
        self.columns: dict[str, list[Any]] = defaultdict(list)

    def see(self, verdicts: list[Verdict], columns: dict[str, Any]) -> None:
        """One batch of rollouts, prompt by prompt; columns: shown_label, completion_ids, pair_id, order."""
        self.verdicts += verdicts
        for name in ("shown_label", "completion_ids", "pair_id", "order"):
            self.columns[name] += columns[name]

    def collect(self, seconds: float) -> dict[str, float]:
        """Metrics of everything seen since the last call. seconds: that the step took."""
        if not self.verdicts:
            return {}
        lengths = [len(ids) for ids in self.columns["completion_ids"]]
        made = (
            self._verdict_metrics()
            | self._reward_metrics()
            | {
                "rollout/flip_rate": self._flip_rate(),
                "rollout/mean_tokens": fmean(lengths),
                "time/tokens_per_second": round(sum(lengths) / seconds, 1),
            }
        )
        self.verdicts, self.columns = [], defaultdict(list)
        return made

    def _verdict_metrics(self) -> dict[str, float]:
        letters = [verdict.shown_label for verdict in self.verdicts]
        read = [letter for letter in letters if letter]
        statuses: list[str] = [verdict.status for verdict in self.verdicts]
        right = fmean(
            letter == label for letter, label in zip(letters, self.columns["shown_label"], strict=True)
        )
        shares = {f"rollout/{name}": statuses.count(name) / len(statuses) for name in STATUS_KEYS}
        return {
            "rollout/accuracy": right,
            "rollout/a_share": read.count("A") / len(read) if read else 0.0,
            **shares,
        }

    def _reward_metrics(self) -> dict[str, float]:
        rewards = [
            verdict_reward(v, label)
            for v, label in zip(self.verdicts, self.columns["shown_label"], strict=True)
        ]
        groups = [rewards[i : i + self.rollouts] for i in range(0, len(rewards), self.rollouts)]
        spreads = [pstdev(group) for group in groups]
        return {
            "rollout/reward_mean": fmean(rewards),
            "rollout/reward_std": fmean(spreads),
            "rollout/zero_variance": spreads.count(0.0) / len(spreads),
        }

    def _flip_rate(self) -> float:
        """How often a rollout in one order and one in the other name different responses, over pairs seen in
        both."""
        named: dict[str, dict[str, list[str]]] = defaultdict(lambda: {"ab": [], "ba": []})
        for verdict, pair, order in zip(
            self.verdicts, self.columns["pair_id"], self.columns["order"], strict=True
        ):
            if verdict.shown_label:
                named[pair][order].append(
                    verdict.shown_label if order == "ab" else OTHER[verdict.shown_label]
                )
        both = [
            (o["ab"].count("A") / len(o["ab"]), o["ba"].count("A") / len(o["ba"]))
            for o in named.values()
            if o["ab"] and o["ba"]
        ]
        return fmean(p * (1 - q) + q * (1 - p) for p, q in both) if both else 0.0

"""Rewards of groups of responses from a pairwise judge.

    reward = JudgeReward(make_judge("nano"), "pivot")
    reward.groups([Group("Sort d a c from first to last.", ["a c d", "d a c", "a d c"])])

All games of all groups go to the judge together. An empty response forfeits its games; equal ones are level
without a judge call. See `schemes` for what a scheme costs, `referee` for what is stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from rmr1_lite.api.inputs import Prompt, check_pair
from rmr1_lite.integrations.rewards.referee import Counts, Referee
from rmr1_lite.integrations.rewards.schemes import (
    LEVEL,
    STORED,
    Game,
    Result,
    Scheme,
    check_scheme,
    judge_calls,
    plan_games,
    rewards,
)
from rmr1_lite.types import InputError, Label, Pair

Orders = Literal["both", "alternating"]


@dataclass(frozen=True)
class Group:
    """Responses to one prompt. reference: the stored answer that the scheme `reference` needs."""

    prompt: Prompt
    responses: Sequence[str]
    reference: str | None = None


@dataclass
class Outcome:
    """Rewards of every group, None for a response without a parsed game. counts: judge calls.

    games: decided or level ones; longer_wins: share of decided games between texts of unequal length that the
    longer one won, None without one; level: share of games without a winner; forfeits: empty responses.
    """

    rewards: list[list[float | None]]
    counts: Counts
    games: int = 0
    longer_wins: float | None = None
    level: float | None = None
    forfeits: int = 0

    def metrics(self) -> dict[str, float]:
        """For a training's log."""
        found = {
            "judge/calls": float(self.counts.asked),
            "judge/known_calls": float(self.counts.known),
            "judge/seconds": self.counts.seconds,
            "judge/forfeits": float(self.forfeits),
            "judge/unread": self.counts.unread / max(1, self.counts.asked),
            "judge/longer_wins": self.longer_wins,
            "judge/level": self.level,
        }
        return {name: value for name, value in found.items() if value is not None}


@dataclass
class _Bout:
    """One game of one group. shown: the pairs that the judge sees, with the letter of the first side."""

    group: int
    game: Game
    texts: tuple[str, str]
    shown: list[tuple[Pair, Label]] = field(default_factory=list)
    result: Result | None = None


class JudgeReward:
    """referee: holds the judge. orders: both (a position that the judge likes cancels out), or alternating
    (half
    the price: one order a game, chosen by a hash of its texts, so that no side is always shown first)."""

    def __init__(self, referee: Referee, scheme: str = "reference", orders: Orders = "both") -> None:
        if orders not in ("both", "alternating"):
            raise InputError(f"orders is {orders!r:.40}. Give both or alternating.")
        self.referee, self.orders = referee, orders
        self.scheme: Scheme = check_scheme(scheme)

    def cost(self, prompts: int, size: int, prompt_tokens: int = 0) -> str:
        """What a step costs at most, for people. prompt_tokens: a policy's prompt with two responses."""
        each = judge_calls(self.scheme, size, 2 if self.orders == "both" else 1)
        chain = self.referee.judge.sampling.max_new_tokens
        words = (
            f"Scheme {self.scheme}, {self.orders} orders: up to {prompts * each:,} judge calls a step "
            f"({prompts:,} prompts x {each}), each writes up to {chain:,} tokens"
        )
        if prompt_tokens:
            total = prompts * each * (chain + prompt_tokens)
            words += f" and reads about {prompt_tokens:,}: at most {total:,} tokens"
        return words + "."

    def groups(self, given: Sequence[Group]) -> Outcome:
        """Raises InputError for a missing reference or a wrong text, and what `Referee.play` raises."""
        self._check(given)
        pivots = [_choose_pivot(group) for group in given]
        bouts = [bout for number, group in enumerate(given) for bout in self._bouts(number, group, pivots)]
        verdicts, counts = self.referee.play([pair for bout in bouts for pair, _ in bout.shown])
        for bout in bouts:
            if bout.result is None:
                bout.result = _result(bout, verdicts)
        return self._outcome(given, bouts, pivots, counts)

    def _check(self, given: Sequence[Group]) -> None:
        if self.scheme != "reference":
            return
        missing = [number for number, group in enumerate(given) if not (group.reference or "").strip()]
        if missing:
            shown = ", ".join(str(number + 1) for number in missing[:5])
            raise InputError(
                f"{len(missing)} of {len(given)} prompts have no reference answer (number {shown}). Give "
                "every row one, or choose a scheme within the group: pivot, round-robin, bradley-terry."
            )

    def _bouts(self, number: int, group: Group, pivots: Sequence[int]) -> list[_Bout]:
        """The games of one group, with what the judge must be shown for each."""
        made = []
        for game in plan_games(self.scheme, len(group.responses), pivots[number]):
            first, second = (
                group.reference or "" if side == STORED else group.responses[side] for side in game
            )
            bout = _Bout(number, game, (first.strip(), second.strip()))
            calls = 2 if self.orders == "both" else 1
            if bout.texts[0] == bout.texts[1]:
                bout.result = LEVEL
            elif not all(bout.texts):
                bout.result = Result(0, calls) if not bout.texts[0] else Result(calls, 0)
            else:
                bout.shown = self._shown(group.prompt, first, second)
            made.append(bout)
        return made

    def _shown(self, prompt: Prompt, first: str, second: str) -> list[tuple[Pair, Label]]:
        ahead: tuple[Pair, Label] = (check_pair(prompt, first, second), "A")
        behind: tuple[Pair, Label] = (check_pair(prompt, second, first), "B")
        if self.orders == "both":
            return [ahead, behind]
        return [min(ahead, behind, key=lambda shown: _hash(shown[0].id))]

    def _outcome(
        self, given: Sequence[Group], bouts: Sequence[_Bout], pivots: Sequence[int], counts: Counts
    ) -> Outcome:
        results: list[dict[Game, Result]] = [{} for _ in given]
        for bout in bouts:
            results[bout.group][bout.game] = bout.result or Result()
        found = [
            rewards(self.scheme, len(group.responses), results[number], pivots[number])
            for number, group in enumerate(given)
        ]
        judged = [bout for bout in bouts if bout.shown and bout.result and bout.result.net is not None]
        decided = [bout for bout in judged if bout.result and bout.result.net]
        unequal = [bout for bout in decided if len(bout.texts[0]) != len(bout.texts[1])]
        longer = [bout for bout in unequal if _longer_won(bout)]
        empty = sum(not text.strip() for group in given for text in group.responses)
        return Outcome(
            found,
            counts,
            len(judged),
            len(longer) / len(unequal) if unequal else None,
            1 - len(decided) / len(judged) if judged else None,
            empty,
        )


def _result(bout: _Bout, verdicts: dict[str, Label | None]) -> Result:
    said = [(verdicts[pair.id], first) for pair, first in bout.shown]
    wins = sum(verdict == first for verdict, first in said if verdict)
    unread = sum(verdict is None for verdict, _ in said)
    return Result(wins, len(said) - wins - unread, unread)


def _longer_won(bout: _Bout) -> bool:
    net = bout.result.net if bout.result else None
    return ((net or 0) > 0) == (len(bout.texts[0]) > len(bout.texts[1]))


def _choose_pivot(group: Group) -> int:
    """A response that is not empty, drawn by a hash of all: the same group always has the same pivot."""
    present = [place for place, text in enumerate(group.responses) if text.strip()] or [0]
    return present[int(_hash("\n".join(group.responses)), 16) % len(present)]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

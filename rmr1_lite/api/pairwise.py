"""A judge in three lines of Python:

    from rmr1_lite import load_judge

    judge = load_judge("runs/grpo/adapter")  # any spec: nano, a folder, owner/name, openai:..., replay:...
    print(judge.compare("Sort d a c from first to last.", "a c d", "d a c"))

Every call asks in both orders by default and returns values that print as a sentence
(`rmr1_lite.api.results`). Threads may share a judge: a local model takes turns, an
endpoint is called in parallel. Methods that end in `_async` do the same without blocking an event loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rmr1_lite.api.answers import PANEL, Answers, nano_answers
from rmr1_lite.api.inputs import STAND_IN, Prompt, Response, check_candidates, check_items, check_pair
from rmr1_lite.api.results import Best, Comparison, Ranked, Score
from rmr1_lite.api.summaries import best_of_knockout, ranked, score_of, score_pairs
from rmr1_lite.judging.knockout import Match, run_knockout
from rmr1_lite.types import ORDERS, Judgment, Order

if TYPE_CHECKING:
    from rmr1_lite.judging.judge import Judge

Made = TypeVar("Made")


def load_judge(
    spec: str,
    *,
    style: str | None = None,
    reading: str = "auto",
    temperature: float = 0.0,
    max_new_tokens: int | None = None,
    seed: int = 0,
    batch_size: int = 8,
    four_bit: bool = True,
    thinking: str = "auto",
    answers: str | Path | Mapping[str, Sequence[str]] | None = None,
) -> PairwiseJudge:
    """The judge that a spec names, ready to use.

    style: prompt style (rubrics, reasoning, compact); None takes the one that the model was trained with.
    reading: how verdicts are parsed; "auto" is strict for judges of this kit, lenient for all others.
    temperature: 0 is greedy; votes need more. max_new_tokens: longest chain. four_bit: local weights in NF4.
    answers: stored answers for `score` (`rmr1_lite.api.answers`). Raises InputError for a judge that cannot
    be loaded.
    """
    from rmr1_lite.judging.factory import make_judge
    from rmr1_lite.models.adapters import is_nano

    stored = Answers.read(answers) if answers is not None else Answers()
    judge = make_judge(
        spec,
        style,
        reading,
        batch_size=batch_size,
        four_bit=four_bit,
        thinking=thinking,
        temperature=temperature,
        max_new_tokens=max_new_tokens,
        seed=seed,
    )
    if is_nano(spec):
        stored.fall_back_on(nano_answers)
    return PairwiseJudge(judge, spec, stored)


@dataclass(frozen=True)
class Piece:
    """What `stream` yields. text: generated since the last piece, in that order's call. comparison: only in
    the last piece, whose text is empty."""

    order: Order | None
    text: str
    comparison: Comparison | None = None


class PairwiseJudge:
    """A loaded judge. `spec` names it; `answers` are the stored answers that `score` draws panels from."""

    def __init__(self, judge: Judge, spec: str = "", answers: Answers | None = None) -> None:
        from rmr1_lite.api.ask import JudgeAsker

        self.spec = spec or judge.engine.name
        self.answers = Answers() if answers is None else answers
        self._asker = JudgeAsker(judge)

    def __repr__(self) -> str:
        return f"load_judge({self.spec!r})"

    @property
    def runs_here(self) -> bool:
        """Whether the model is in this process, where it generates for one caller at a time."""
        return self._asker.local

    def compare(
        self,
        prompt: Prompt,
        a: Response,
        b: Response,
        *,
        votes: int = 1,
        both_orders: bool = True,
        confidence: bool = True,
    ) -> Comparison:
        """Which of two responses is better. votes: sampled calls per order (needs a temperature).
        confidence: also read the log-probability of the verdict, if the model runs in this process."""
        pairs = [check_pair(prompt, a, b)]
        return self._asker.compare(pairs, votes, _orders(both_orders), confidence)[0]

    def compare_many(
        self,
        items: Sequence[Any],
        *,
        votes: int = 1,
        both_orders: bool = True,
        confidence: bool = True,
        log: str | Path | None = None,
        progress: bool = False,
    ) -> list[Comparison]:
        """One Comparison per item, in their order, in batches. items: (prompt, a, b), rows as in a file, or
        Pairs; equal ones are judged once. log: JSONL of the calls, written as they arrive; the same call with
        the same log makes the missing and failed calls. Raises InputError, which counts items from 1."""
        pairs = check_items(items)
        different = list({pair.id: pair for pair in pairs}.values())
        found = self._asker.compare(different, votes, _orders(both_orders), confidence, log, progress)
        by_id = {comparison.pair.id: comparison for comparison in found}
        return [by_id[pair.id] for pair in pairs]

    def rank(self, prompt: Prompt, responses: Sequence[Response], *, votes: int = 1) -> Ranked:
        """Order responses by a round robin of all pairs in both orders. Equal texts share their place."""
        given = check_candidates(prompt, responses)
        return ranked(given, self._asker.compare(given.round_robin(), votes))

    def best_of(self, prompt: Prompt, responses: Sequence[Response], *, votes: int = 1) -> Best:
        """The best of several responses by a knockout (`rmr1_lite.judging.knockout`), with far fewer calls
        than `rank`."""
        given = check_candidates(prompt, responses)
        comparisons: list[Comparison] = []

        def play(matches: Sequence[Match]) -> list[int | None]:
            found = self._asker.compare([given.pair(*match) for match in matches], votes)
            comparisons.extend(found)
            return [
                {"A": first, "B": second}.get(comparison.winner or "")
                for (first, second), comparison in zip(matches, found, strict=True)
            ]

        return best_of_knockout(given, run_knockout(len(given.texts), play), comparisons, votes)

    def score(
        self,
        prompt: Prompt,
        response: Response,
        *,
        reference: Response | None = None,
        panel: Sequence[Response] | None = None,
        panel_size: int = PANEL,
        seed: int = 0,
        votes: int = 1,
    ) -> Score:
        """How good one response is, as the share of judge calls that prefer it to others: to `reference`, to
        each of `panel` (two or more), or to `panel_size` stored answers to the same prompt, drawn by
        `seed` (for a nano judge its world answers what nobody has stored)."""
        if reference is None and panel is None:
            text = check_pair(prompt, response, STAND_IN, ("response", "(none)")).response_a
            panel = self.answers.panel(prompt, text, panel_size, seed)
        pairs = score_pairs(prompt, response, reference, panel)
        return score_of(self._asker.compare(pairs, votes))

    def stream(
        self, prompt: Prompt, a: Response, b: Response, *, both_orders: bool = True, confidence: bool = True
    ) -> Generator[Piece, None, None]:
        """Yield the chains while they are generated, one order after the other, and at the end the
        Comparison. Closing the iterator stops the model."""
        pair, looks = check_pair(prompt, a, b), []
        with self._asker.turn():
            for order in _orders(both_orders):
                pieces = self._asker.stream(pair, order)
                try:
                    while True:
                        yield Piece(order, next(pieces))
                except StopIteration as end:
                    looks.append(end.value)
                finally:
                    pieces.close()
            comparison = self._asker.comparisons([pair], [Judgment(pair.id, tuple(looks))], confidence)[0]
        yield Piece(None, "", comparison)

    async def compare_async(self, prompt: Prompt, a: Response, b: Response, **options: Any) -> Comparison:
        """As `compare`, with its options."""
        return await _in_thread(partial(self.compare, prompt, a, b, **options))

    async def compare_many_async(self, items: Sequence[Any], **options: Any) -> list[Comparison]:
        """As `compare_many`, with its options."""
        return await _in_thread(partial(self.compare_many, items, **options))

    async def rank_async(self, prompt: Prompt, responses: Sequence[Response], **options: Any) -> Ranked:
        """As `rank`, with its options."""
        return await _in_thread(partial(self.rank, prompt, responses, **options))

    async def best_of_async(self, prompt: Prompt, responses: Sequence[Response], **options: Any) -> Best:
        """As `best_of`, with its options."""
        return await _in_thread(partial(self.best_of, prompt, responses, **options))

    async def score_async(self, prompt: Prompt, response: Response, **options: Any) -> Score:
        """As `score`, with its options."""
        return await _in_thread(partial(self.score, prompt, response, **options))

    async def stream_async(
        self, prompt: Prompt, a: Response, b: Response, **options: Any
    ) -> AsyncIterator[Piece]:
        """As `stream`, with its options."""
        pieces = self.stream(prompt, a, b, **options)
        try:
            while (piece := await _in_thread(partial(next, pieces, None))) is not None:
                yield piece
        finally:
            await _in_thread(pieces.close)


def _orders(both: bool) -> tuple[Order, ...]:
    return ORDERS if both else ORDERS[:1]


async def _in_thread(call: Callable[[], Made]) -> Made:
    import asyncio

    return await asyncio.to_thread(call)

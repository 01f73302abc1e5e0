"""Plays games before a judge: every verdict is asked for once, a dead server is waited for, and a judge
that cannot be read ends the training instead of teaching it noise.

Judge calls are stored by the content that the judge was shown, in a file of the kit's usual form: equal
texts, in whatever group or step, cost nothing again, and a training that resumes with the same file asks for
nothing twice. A file belongs to one judge with one set of settings.
"""

from __future__ import annotations

import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rmr1_lite.judging.batch import bind_settings
from rmr1_lite.judging.judge import LOG_KEY, Judge
from rmr1_lite.storage import JsonlLog
from rmr1_lite.types import EngineStopped, InputError, Label, Look, Order, Pair

ORDER: Order = "ab"  # a call is stored as the pair that the judge saw, so one order is enough
PAUSES = (5.0, 15.0, 60.0)  # seconds between tries; the last one repeats
RECENT, ENOUGH = 400, 50  # judge calls over which the share of unread ones is taken; fewest that tell


class TooManyUnread(InputError):
    """The judge says nothing that can be read about too many pairs."""


@dataclass
class Counts:
    """Of one call of `Referee.play`, or of all of them."""

    asked: int = 0
    known: int = 0
    unread: int = 0
    tokens: int = 0
    seconds: float = 0.0

    def add(self, other: Counts) -> None:
        self.asked += other.asked
        self.known += other.known
        self.unread += other.unread
        self.tokens += other.tokens
        self.seconds += other.seconds


class Referee:
    """judge: any judge. calls: file for its calls, a temporary one by default. patience: seconds for which a
    judge that does not answer is asked again. most_unread: largest share of calls without a verdict.
    """

    def __init__(
        self,
        judge: Judge,
        calls: str | Path | None = None,
        patience: float = 600.0,
        most_unread: float = 0.1,
        say: Callable[[str], None] = print,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self.judge, self.patience, self.most_unread = judge, patience, most_unread
        self._say, self._wait = say, wait
        self._scratch = tempfile.TemporaryDirectory(prefix="rmr1-judge-calls-") if calls is None else None
        place = Path(self._scratch.name) / "calls.jsonl" if self._scratch else Path(calls or "")
        self._log = JsonlLog(place, LOG_KEY)
        bind_settings(judge, self._log)
        self._recent: deque[bool] = deque(maxlen=RECENT)
        self.total = Counts()

    def close(self) -> None:
        """Close the file; a temporary one is deleted."""
        self._log.close()
        if self._scratch:
            self._scratch.cleanup()

    def play(self, shown: Sequence[Pair]) -> tuple[dict[str, Label | None], Counts]:
        """The verdict on every pair, by its id, as the judge sees it: A is the response shown first. None:
        the judge said nothing that can be read.

        Raises EngineStopped for a judge that did not answer in time, InputError for one that too often gives
        no verdict.
        """
        pairs = {pair.id: pair for pair in shown}
        new = [key for key in pairs if not self._is_known(key)]
        began = time.monotonic()
        looks = self._ask(list(pairs.values()))
        counts = Counts(len(new), len(pairs) - len(new), seconds=time.monotonic() - began)
        for key in new:
            look = looks[key]
            counts.unread += look.label is None
            counts.tokens += look.generation.prompt_tokens + look.generation.completion_tokens
            self._recent.append(look.label is None)
        self.total.add(counts)
        self._check_unread()
        return {key: look.label for key, look in looks.items()}, counts

    def _is_known(self, key: str) -> bool:
        """Whether a call is stored with a text. Stored failures, as by a content filter, are made again."""
        stored = (key, ORDER, 0)
        return stored in self._log and self._log.get(stored)["error"] is None

    def _ask(self, pairs: list[Pair]) -> dict[str, Look]:
        """The looks by pair. Calls that failed are made again, as long as `patience` lasts."""
        end, tries = time.monotonic() + self.patience, 0
        while True:
            why = ""
            try:
                made = self.judge.compare_many(pairs, (ORDER,), log=self._log, progress=False)
                looks = {judgment.pair_id: judgment.looks[0] for judgment in made}
                # a filtered or clipped one was heard, and is unread
                failed = [look for look in looks.values() if look.status == "error"]
                if not failed:
                    return looks
                why = f"{len(failed)} of {len(pairs)} judge calls failed: {failed[0].generation.error}"
            except EngineStopped as error:
                why = str(error)
            pause = PAUSES[min(tries, len(PAUSES) - 1)]
            if time.monotonic() + pause > end:
                raise EngineStopped(f"The judge did not answer for {self.patience:.0f} s. {why}") from None
            self._say(f"The judge does not answer ({why}); asked again in {pause:.0f} s.")
            self._wait(pause)
            tries += 1

    def _check_unread(self) -> None:
        share = sum(self._recent) / len(self._recent) if self._recent else 0.0
        if len(self._recent) >= ENOUGH and share > self.most_unread:
            raise TooManyUnread(
                f"{share:.0%} of the last {len(self._recent)} judge calls gave no verdict, more than "
                f"{self.most_unread:.0%}: such a reward teaches noise. Read the texts in {self._log.path} "
                "(status says why), raise the judge's max_new_tokens, or take another judge."
            )

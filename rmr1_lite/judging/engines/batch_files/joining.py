"""Which request each answer belongs to, which requests are missing or failed, and which files still wait."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rmr1_lite.judging.engines.base import Request, Sampling
from rmr1_lite.judging.engines.batch_files.answers import Answer, answer_files, read_answers
from rmr1_lite.judging.engines.batch_files.findings import Findings
from rmr1_lite.judging.engines.batch_files.rounds import Part, Rounds
from rmr1_lite.judging.engines.endpoint.failures import Failure, explain
from rmr1_lite.judging.engines.endpoint.parameters import Parameters
from rmr1_lite.judging.engines.endpoint.reading import Reader, failure_in
from rmr1_lite.judging.engines.endpoint.replies import Reply, read_reply
from rmr1_lite.types import Generation

FINAL = ("too_long", "filtered")  # failures that stay when the request is sent again


@dataclass(frozen=True)
class Failed:
    """A request that failed, by the last answer to it. said: where and why. marks: of all rows that say so.
    part: the file that asked."""

    failure: Failure
    said: str
    marks: tuple[str, ...]
    part: Part | None


class Join:
    """One reading of a folder's answers.

    wanted: the requests without a stored answer, by custom id. After `results` is exhausted: `failed` and
    `missing` hold the ids to ask again, `waiting` those whose file has no answer at all, `fresh` those that
    were never written; `rows` and `files` count what was read.
    """

    def __init__(
        self,
        rounds: Rounds,
        wanted: Mapping[str, Request],
        sampling: Sampling,
        parameters: Parameters,
        reader: Reader,
        findings: Findings,
    ) -> None:
        self._rounds, self._wanted, self._sampling = rounds, wanted, sampling
        self._parameters, self._reader, self._findings = parameters, reader, findings
        self._written: dict[str, int] = {}  # custom id -> hash of the text that was used
        self._answered: set[Part] = set()
        self._served: set[Part] = set()  # at least one request of the file was not refused
        self.failed: dict[str, Failed] = {}
        self.missing: list[str] = []
        self.waiting: list[str] = []
        self.fresh: list[str] = []
        self.rows = self.files = 0

    def results(self) -> Iterator[tuple[str, Generation]]:
        """(custom id, Generation) of every wanted request that has its final answer."""
        withheld: dict[str, Generation] = {}  # final, unless another row brings a text
        for answer in self._answers():
            if (made := self._take(answer)) is None:
                continue
            if made.error is None and not made.too_long:
                self._written[answer.custom_id] = hash(made.text)
                yield answer.custom_id, made
            else:
                withheld.setdefault(answer.custom_id, made)
        for custom_id, made in withheld.items():
            if custom_id not in self._written:
                self._written[custom_id] = hash(made.text)
                yield custom_id, made
        self._sort_rest()

    def hopeless(self) -> Failed | None:
        """A failure that every request of its file has met, and that a repeat does not mend."""
        stuck = (each for each in self.failed.values() if each.failure.kind in ("hopeless", "refused"))
        return next((each for each in stuck if each.part not in self._served), None)

    def _answers(self) -> Iterator[Answer]:
        for path in answer_files(self._rounds.folder):
            self.files += 1
            for answer in read_answers(path, lambda said: self._findings.add("bad", said)):
                self.rows += 1
                yield answer

    def _take(self, answer: Answer) -> Generation | None:
        """The Generation of an answer that is wanted and final."""
        part = self._rounds.latest(answer.custom_id)
        request = self._wanted.get(answer.custom_id)
        if answer.mark in self._rounds.used:  # failed in an earlier round, and asked again since
            return None
        if part is not None:
            self._answered.add(part)
            if not answer.failed:
                self._served.add(part)
        if request is None:
            if part is None:
                self._findings.add("unknown", f"{answer.place}: {answer.custom_id:.80}")
            return None
        read = self._read(answer, request, part)
        if isinstance(read, Failure):
            words = f"{_status(answer)}: {read.words or 'no reason is given'}"
            said = f"{answer.place} ({name_of(request)}): {words}"
            before = self.failed.get(answer.custom_id)
            marks = (*(before.marks if before else ()), answer.mark)
            self.failed[answer.custom_id] = Failed(read, said, marks, part)
            return None
        return None if self._is_repeated(answer, read) else read

    def _read(self, answer: Answer, request: Request, part: Part | None) -> Generation | Failure:
        if answer.failed or answer.status is not None and answer.status >= 400:
            failure = self._explain(answer, request, part)
        else:
            try:
                reply = read_reply(answer.body)
            except ValueError as error:
                return Failure("passing", str(error))
            if (found := failure_in(reply)) is None:
                return self._reader.read(request, reply, 0.0)
            failure = found[0]
        if failure.kind in FINAL:
            return self._reader.read_failure(failure, _status(answer), Reply(), 0.0)
        return failure

    def _explain(self, answer: Answer, request: Request, part: Part | None) -> Failure:
        """What an error means; a refused part of the request is left out from now on."""
        left_out = self._parameters.left_out if part is None else part.left_out
        sent = self._parameters.as_of(left_out).body(request, self._sampling)
        what = answer.error or answer.body
        failure = explain(answer.error_status, what, self._parameters.names(sent))
        if failure.kind == "refused" and self._parameters.give_up(failure.parts, sent, failure.words):
            return Failure("passing", failure.words)
        return failure

    def _is_repeated(self, answer: Answer, made: Generation) -> bool:
        """Whether a request already has an answer; a further one is counted, and never used."""
        used = self._written.get(answer.custom_id)
        if used is None:
            return False
        if made.error is None and not made.too_long:
            self._findings.add("same" if used == hash(made.text) else "different", answer.place)
        return True

    def _sort_rest(self) -> None:
        """Find out what every request without a final answer is waiting for."""
        self.failed = {name: each for name, each in self.failed.items() if name not in self._written}
        for each in self.failed.values():
            self._findings.add("failed", each.said)
        for custom_id, request in self._wanted.items():
            if custom_id in self._written or custom_id in self.failed:
                continue
            part = self._rounds.latest(custom_id)
            if part is None:
                self.fresh.append(custom_id)
            elif part in self._answered:
                self.missing.append(custom_id)
                self._findings.add("missing", f"{part.path.name}: {name_of(request)}")
            else:
                self.waiting.append(custom_id)


def name_of(request: Request) -> str:
    """Pair, order and vote of a request, for messages."""
    vote = f", vote {request.vote}" if request.vote else ""
    return f"pair {request.id!r:.60}, order {request.order}{vote}"


def _status(answer: Answer) -> str:
    return "error" if answer.status is None else f"status {answer.status}"

"""Judges through OpenAI batch files: for vLLM's `run-batch`, which needs no server, and for vendors' batch
APIs, at half the price.

Every call reads the answers that are in the folder, yields them, and writes what is to be asked next. Nothing
is sent from here, and no key is needed.

    python -m rmr1_lite evaluate --via batch --judge openai:MODEL --benchmark rewardbench --out runs/batch
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rmr1_lite.judging.engines.base import Request, Sampling
from rmr1_lite.judging.engines.batch_files.custom_ids import custom_id
from rmr1_lite.judging.engines.batch_files.findings import Findings
from rmr1_lite.judging.engines.batch_files.instructions import next_steps, remedy
from rmr1_lite.judging.engines.batch_files.joining import Join
from rmr1_lite.judging.engines.batch_files.rounds import MOST_BYTES, MOST_REQUESTS, Rounds
from rmr1_lite.judging.engines.endpoint.parameters import NEUTRAL, NEUTRAL_SAMPLING, Parameters
from rmr1_lite.judging.engines.endpoint.reading import Reader
from rmr1_lite.models.thinking import request_fields
from rmr1_lite.types import AnswersPending, EngineStopped, Generation

# known to some servers only: a refused part costs a day in a batch
NOT_STANDARD = (*NEUTRAL, *NEUTRAL_SAMPLING)


class BatchFilesEngine:
    """model: the name that the requests give. folder: of request files and answers, made when it is needed.

    url: only a part of the name, so that looks of the same judge through its server can share a log.
    thought_open, thinking: see `OpenAIEngine`. most_requests, most_bytes: of one file.
    """

    def __init__(
        self,
        model: str,
        folder: str | Path,
        url: str = "",
        style: str | None = None,
        thought_open: bool = False,
        thinking: str = "auto",
        most_requests: int = MOST_REQUESTS,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self.name, self.style = f"openai:{model}{'@' if url else ''}{url}", style
        self.model, self.folder = model, Path(folder)
        self.thinking = "" if thinking == "auto" else thinking
        self._extra, self._thought_open = request_fields(thinking), thought_open
        self._most = (most_requests, most_bytes)
        self._said = set[str]()

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[int, Generation]]:
        """Yield the Generation of every request that has its answer.

        Raises AnswersPending when some have none yet, after writing those that are to be asked (again);
        EngineStopped when the answers say that no repeat can succeed; InputError for a damaged record.
        """
        if not requests:
            return
        names = [custom_id(request, sampling, self.model, self.thinking) for request in requests]
        places = {name: index for index, name in enumerate(names)}
        wanted = dict(zip(names, requests, strict=True))
        rounds, findings = Rounds(self.folder, self.model), Findings()
        parameters = Parameters(
            self.model, self._extra, self._say, left_out={*NOT_STANDARD, *rounds.left_out}
        )
        reader = Reader(self.model, self._thought_open, self._say)
        join = Join(rounds, wanted, sampling, parameters, reader, findings)
        answered = 0
        for name, made in join.results():
            answered += 1
            yield places[name], made
        if join.files:
            self._print(
                f"Answers in {self.folder}: {join.rows:,} in {_counted(join.files, 'file')}, which answer "
                f"{answered:,} of {_counted(len(requests), 'open request')}.",
                *findings.lines(),
            )
        self._check_hopeless(join)
        self._write_next(join, rounds, wanted, parameters, sampling)
        self._check_complete(join, rounds)

    def _check_hopeless(self, join: Join) -> None:
        """Raise EngineStopped for a failure that a repeat would meet again."""
        if (found := join.hopeless()) is None:
            return
        part = found.part.path if found.part else self.folder
        raise EngineStopped(
            f"{self.folder}: {found.said.rstrip('.')}. {remedy(found.failure, self.model)} Then run the "
            f"batch of {part} again and replace the old answers."
        )

    def _write_next(
        self,
        join: Join,
        rounds: Rounds,
        wanted: Mapping[str, Request],
        parameters: Parameters,
        sampling: Sampling,
    ) -> None:
        """Write the requests that are not on their way: new, missing or failed ones, in their own order."""
        asked = {*join.fresh, *join.missing, *join.failed}
        if asked:
            rows = (
                (name, parameters.body(request, sampling))
                for name, request in wanted.items()
                if name in asked
            )
            used = {mark for each in join.failed.values() for mark in each.marks}
            rounds.write(rows, parameters.left_out, used, *self._most)

    def _check_complete(self, join: Join, rounds: Rounds) -> None:
        """Raise AnswersPending, and print what to do next, while something is missing."""
        open_ids = [*join.waiting, *join.fresh, *join.missing, *join.failed]
        if not open_ids:
            return
        counts = Counter(part for name in open_ids if (part := rounds.latest(name)))
        waiting = {part: counts[part] for part in rounds.parts if counts[part]}
        self._print(next_steps(waiting, self.folder, self.model))
        left, files = _counted(len(open_ids), "request"), _counted(len(waiting), "file")
        raise AnswersPending(f"Still unanswered: {left} in {files} of {self.folder}.")

    def _say(self, text: str, kind: str = "") -> None:
        """Print a line about the answers, once per kind."""
        if (kind or text) not in self._said:
            self._said.add(kind or text)
            self._print(f"{self.folder}: {text}")

    def _print(self, *lines: str) -> None:
        """Print without disturbing a progress bar."""
        from tqdm import tqdm

        tqdm.write("\n".join(lines))


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"

"""The code of `judge --pairs in.jsonl --out out.jsonl`: a file of pairs in, a file of looks out, resumable
at any moment.

One row per look. After a kill, the same command judges the missing looks and produces the
same file: at the end the rows are sorted into the order of the pairs.
`out.jsonl.run.json` holds the settings, so that a run with other settings cannot be mixed into the same file.

    python -m rmr1_lite judge --pairs in.jsonl --out out.jsonl --model nano
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from rmr1_lite.config import MAX_CHARS
from rmr1_lite.data.pairs import PairsRead, read_pairs
from rmr1_lite.judging.judge import LOG_KEY, Judge, sort_log
from rmr1_lite.storage import JsonlLog, same_settings, write_json
from rmr1_lite.types import NOT_JUDGED, ORDERS, InputError, Judgment, Order


@dataclass(frozen=True)
class FileSummary:
    """Summary of a judged file. statuses: looks by status. agree: fully parsed pairs whose orders name one
    response.

    read: pairs with every look parsed. too_long, clipped, filtered, errors: ids of the pairs concerned.
    reasons: error messages of failed looks, the most frequent first. bad_rows: rows that are not pairs.
    """

    pairs: int
    looks: int
    statuses: dict[str, int]
    read: int
    agree: int
    too_long: list[str]
    clipped: list[str]
    filtered: list[str]
    errors: list[str]
    reasons: dict[str, int]
    bad_rows: int = 0

    @property
    def complete(self) -> bool:
        """Every row of the file was judged, whatever the verdicts."""
        return not self.bad_rows and not set(self.statuses) & set(NOT_JUDGED)

    def text(self, limit: int = 20) -> str:
        """Readable lines: counts first, then problems."""
        statuses = ", ".join(f"{name} {count}" for name, count in self.statuses.items())
        lines = [
            f"{self.pairs} pairs, {self.looks} judge calls: {statuses}",
            f"{self.agree} of {self.read} fully parsed pairs name the same response in every judge call",
        ]
        lists = {
            "too long for the context": self.too_long,
            "with a prompt truncated by the server": self.clipped,
            "stopped by a content filter (run again to retry)": self.filtered,
            "failed (run again to retry)": self.errors,
        }
        lines += [_listed(name, ids, limit) for name, ids in lists.items() if ids]
        return "\n".join([*lines, *describe_reasons(self.reasons)])


def describe_reasons(reasons: dict[str, int], limit: int = 3) -> list[str]:
    """Lines that say why looks failed, in the words of their error messages."""
    lines = [f"  {count} x {reason}" for reason, count in list(reasons.items())[:limit]]
    return lines + ([f"  and {len(reasons) - limit} other reasons"] if len(reasons) > limit else [])


def count_reasons(judgments: Sequence[Judgment]) -> dict[str, int]:
    """The messages of failed looks, the most frequent first."""
    errors = (look.generation.error for judgment in judgments for look in judgment.looks)
    return dict(Counter(error for error in errors if error is not None).most_common())


def judge_file(
    judge: Judge,
    pairs_path: str | Path,
    out_path: str | Path,
    orders: Sequence[Order] = ORDERS,
    votes: int = 1,
    on_bad_row: Literal["skip", "fail"] = "skip",
    max_chars: int = MAX_CHARS,
    progress: bool = True,
) -> FileSummary:
    """Judge every pair of a file; prints counts of the input and of the results. Raises InputError before
    judging."""
    read = read_pairs(pairs_path, on_bad_row, max_chars)
    print(read.summary())
    if not read.pairs:
        raise InputError(f"{pairs_path}: no pairs to judge. Fix the rows listed in the summary above.")
    with JsonlLog(out_path, LOG_KEY) as log:
        bind_settings(judge, log)
        _keep_problems(read, out_path)
        judgments = judge.compare_many(read.pairs, orders, votes, log, progress)
        sort_log(log, read.pairs)
    summary = replace(summarise(judgments), bad_rows=len(read.problems))
    print(summary.text())
    return summary


def summarise(judgments: Sequence[Judgment]) -> FileSummary:
    """Counts over judgments."""
    looks = [look for judgment in judgments for look in judgment.looks]
    return FileSummary(
        pairs=len(judgments),
        looks=len(looks),
        statuses=dict(Counter(look.status for look in looks).most_common()),
        read=sum(not judgment.votes["none"] for judgment in judgments),
        agree=sum(judgment.consistent for judgment in judgments),
        too_long=_ids(judgments, "too_long"),
        clipped=_ids(judgments, "clipped"),
        filtered=_ids(judgments, "filtered"),
        errors=_ids(judgments, "error"),
        reasons=count_reasons(judgments),
    )


def judge_settings(judge: Judge) -> dict[str, Any]:
    """Settings that must stay the same for looks to share a file."""
    return {
        "engine": judge.engine.name,
        "weights": judge.fingerprint,
        "style": judge.style,
        "thinking": getattr(judge.engine, "thinking", ""),
        "reading": judge.reading,
        "sampling": asdict(judge.sampling),
    }


def bind_settings(judge: Judge, log: JsonlLog) -> None:
    """Write the settings next to a new log, or compare them with an old log's. Raises InputError."""
    path, now = Path(f"{log.path}.run.json"), judge_settings(judge)
    if not len(log) or not path.exists():
        return write_json(path, now)
    # logs older than this setting are of templates without the switch
    same_settings(path, now, added=("weights",) if now["thinking"] else ("weights", "thinking"))


def _keep_problems(read: PairsRead, out_path: str | Path) -> None:
    path = Path(f"{out_path}.problems.json")
    if read.problems:
        read.write_problems(path)
    else:
        path.unlink(missing_ok=True)


def _ids(judgments: Sequence[Judgment], status: str) -> list[str]:
    return [judgment.pair_id for judgment in judgments if status in {look.status for look in judgment.looks}]


def _listed(name: str, ids: list[str], limit: int) -> str:
    more = f" and {len(ids) - limit} more" if len(ids) > limit else ""
    return f"{len(ids)} {name}: {', '.join(ids[:limit])}{more}"

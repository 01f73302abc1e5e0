"""The table of judges, once: its columns and cells. The terminal, the notebooks, the report and the README
each draw it in their own way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rmr1_lite.evaluation.results import Results
from rmr1_lite.types import EvalResult

COLUMNS = ("judge", "strict accuracy (95 %)", "accuracy", "flip rate", "unparsed", "tokens")
# the same columns in words, for a reader who meets them for the first time
EXPLAINED = (
    "judge",
    "right in both orders (95 %)",
    "right in one order",
    "flips when swapped",
    "no verdict",
    "tokens",
)


@dataclass(frozen=True)
class JudgeRow:
    """One judge of a results.json. baseline: measured here, but no stage of a training."""

    name: str
    result: EvalResult
    baseline: bool

    @property
    def cells(self) -> tuple[str, ...]:
        """One text for each of `COLUMNS`."""
        result = self.result
        low, high = result.intervals["strict_accuracy"]
        return (
            self.name,
            f"{result.strict_accuracy:.1%} ({low:.1%} to {high:.1%})",
            f"{result.accuracy:.1%}",
            f"{result.flip_rate:.1%}",
            f"{result.unparsed:.1%}",
            f"{result.mean_tokens:.0f}",
        )


def judge_rows(results: Results) -> Iterator[JudgeRow]:
    """Baselines, then stages."""
    for name, stage in results.judges.items():
        yield JudgeRow(name, stage.result, name in results.baselines)

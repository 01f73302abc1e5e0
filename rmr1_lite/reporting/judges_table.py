"""The table of judges, once: its columns and cells. The terminal, the notebooks, the report and the README
each draw it in their own way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rmr1_lite.evaluation.results import Results
from rmr1_lite.types import EvalResult

# metric of a results.json -> its name for users, the same everywhere
METRICS = {
    "strict_accuracy": "right in both orders",
    "accuracy": "accuracy per order",
    "flip_rate": "flips when swapped",
    "a_share": "verdict A",
    "unparsed": "unparsed",
}
COLUMNS = (
    "judge",
    f"{METRICS['strict_accuracy']} (95 %)",
    *(METRICS[name] for name in ("accuracy", "flip_rate", "unparsed")),
    "tokens",
)


@dataclass(frozen=True)
class JudgeRow:
    """One judge of a results.json. baseline: measured here, but not a training stage."""

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

"""Counters in Prometheus' text form (version 0.0.4), by hand: a client library would be one more dependency.

Counted on the event loop alone, so without locks. Every family is there from the start, with zeros, so that
a rate over the first minute is right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rmr1_lite.types import STATUSES

if TYPE_CHECKING:
    from rmr1_lite.api.results import Comparison

ROUTES = ("/compare", "/rank", "/best-of", "/score", "/health", "/metrics", "/openapi.json", "/docs")
OTHER_ROUTE = "other"  # one label for every unknown path: a scanner must not fill the memory
# a judge that reasons takes seconds to minutes; most clients' default buckets end at ten seconds
BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Family:
    """One metric. labels: the names of its labels, and the values that are there from the start."""

    name: str
    kind: str
    help: str
    labels: tuple[str, tuple[str, ...]] | None = None


FAMILIES = {
    each.name: each
    for each in (
        Family("rmr1_requests_total", "counter", "answered requests", ("route, status", ())),
        Family("rmr1_request_seconds", "histogram", "time from a request's head to its answer, of verdicts"),
        Family("rmr1_abandoned_total", "counter", "requests whose client hung up before the answer"),
        Family("rmr1_judge_calls_total", "counter", "judge calls", ("status", STATUSES)),
        Family("rmr1_unparsed_judge_calls_total", "counter", "judge calls without a verdict, for any reason"),
        Family("rmr1_judge_call_seconds", "histogram", "time attributed to one judge call"),
        Family("rmr1_engine_stops_total", "counter", "times that the judge's own server could not go on"),
        Family("rmr1_pairs_both_orders_total", "counter", "pairs judged in both orders"),
        Family("rmr1_order_flips_total", "counter", "of these, pairs whose two orders prefer different ones"),
        Family(
            "rmr1_tokens_total",
            "counter",
            "tokens of prompts and of chains",
            ("kind", ("prompt", "completion")),
        ),
        Family("rmr1_batches_total", "counter", "times that the judge was called"),
        Family("rmr1_busy_seconds_total", "counter", "time in these calls; of parallel ones the sum"),
        Family("rmr1_queue_length", "gauge", "requests that wait for the judge"),
        Family("rmr1_in_flight", "gauge", "requests at the judge"),
        Family("rmr1_ready", "gauge", "1 once the judge is loaded, until the endpoint stops"),
    )
}
Labels = tuple[tuple[str, str], ...]


class Metrics:
    """gauges: name -> its value now."""

    def __init__(self) -> None:
        self.gauges: dict[str, Callable[[], float]] = {}
        self._values: dict[str, dict[Labels, float]] = {}
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}
        for each in FAMILIES.values():
            if each.kind == "histogram":
                self._counts[each.name], self._sums[each.name] = [0] * (len(BUCKETS) + 1), 0.0
            elif each.kind == "counter":
                name, values = each.labels or ("", ())
                self._values[each.name] = {((name, value),): 0 for value in values}
                if each.labels is None:
                    self._values[each.name] = {(): 0}

    def add(self, name: str, amount: float = 1, **labels: str) -> None:
        """Count; the labels are keywords."""
        found = self._values[name]
        key = tuple(labels.items())
        found[key] = found.get(key, 0) + amount

    def observe(self, name: str, seconds: float) -> None:
        """One more value of a histogram."""
        place = next((i for i, limit in enumerate(BUCKETS) if seconds <= limit), len(BUCKETS))
        self._counts[name][place] += 1
        self._sums[name] += seconds

    def value(self, name: str, **labels: str) -> float:
        """A counter's value; without labels the sum over all."""
        found = self._values[name]
        return found.get(tuple(labels.items()), 0) if labels else sum(found.values())

    def count_comparisons(self, comparisons: Sequence[Comparison]) -> None:
        """The judge calls behind results, each pair once."""
        for comparison in comparisons:
            for call in comparison.calls:
                self.add("rmr1_judge_calls_total", status=call.status)
                self.add("rmr1_unparsed_judge_calls_total", int(call.winner is None))
                self.observe("rmr1_judge_call_seconds", call.seconds)
                self.add("rmr1_tokens_total", call.prompt_tokens, kind="prompt")
                self.add("rmr1_tokens_total", call.completion_tokens, kind="completion")
            if len({call.order for call in comparison.calls}) == 2:
                ab, ba = (comparison.judgment.label_in(order) for order in ("ab", "ba"))
                self.add("rmr1_pairs_both_orders_total")
                self.add("rmr1_order_flips_total", int(ab is not None and ba is not None and ab != ba))

    def text(self) -> str:
        """The page that Prometheus reads."""
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        for each in FAMILIES.values():
            yield f"# HELP {each.name} {each.help}"
            yield f"# TYPE {each.name} {each.kind}"
            if each.kind == "histogram":
                yield from self._histogram(each.name)
            elif each.kind == "gauge":
                yield sample(each.name, {}, self.gauges[each.name]())
            else:
                for key, value in self._values[each.name].items():
                    yield sample(each.name, dict(key), value)

    def _histogram(self, name: str) -> Iterator[str]:
        total = 0
        for limit, count in zip((*BUCKETS, math.inf), self._counts[name], strict=True):
            total += count
            yield sample(f"{name}_bucket", {"le": "+Inf" if limit == math.inf else str(limit)}, total)
        yield sample(f"{name}_sum", {}, self._sums[name])
        yield sample(f"{name}_count", {}, total)


def sample(name: str, labels: Mapping[str, str], value: float) -> str:
    """One line; the labels' values are escaped."""
    marks = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
    inside = ",".join(f'{label}="{text.translate(marks)}"' for label, text in labels.items())
    return f"{name}{f'{{{inside}}}' if inside else ''} {value}"

"""How sure was the judge of its letter? The log-probability of A against B where it wrote its verdict, after its own reasoning.

    python -m rmr1_lite evaluate --benchmark nano --judge nano --limit 200 --confidence

One forward pass per look, kept in confidence.jsonl, so that nothing is computed twice. Votes need no such pass: their share
is a confidence by itself (`rmr1_lite.calibration.vote_probabilities`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rmr1_lite.data.files import JsonlLog
from rmr1_lite.letters import letter_shares
from rmr1_lite.models import Loaded
from rmr1_lite.types import Judgment, Look, Pair

CHUNK = 256  # looks between two writes
MARK = "[["


def letter_probabilities(
    load: Callable[[], Loaded], pairs: Sequence[Pair], judgments: Sequence[Judgment], style: str, out: Path
) -> dict[str, float]:
    """Probability that A is the better response, by pair id: the mean of both orders, each after its own first text.

    Looks without a readable verdict have none; a pair with one such look takes the other order alone. `load` is called
    only when something is missing in out/confidence.jsonl, whose rows are {"id", "order", "p_a"} in the pair's own letters.
    """
    looks = {(judgment.pair_id, look.order): look for judgment in judgments for look in reversed(judgment.looks)
             if look.status == "ok"}  # fmt: skip
    with JsonlLog(out / "confidence.jsonl", ("id", "order")) as log:
        todo = [key for key in looks if key not in log]
        loaded = load() if todo else None
        for start in range(0, len(todo), CHUNK):
            part = todo[start : start + CHUNK]
            shares = letter_shares(loaded, pairs, style, {key: before_verdict(looks[key]) for key in part})
            for key in part:
                shown = shares[key]
                log.append({"id": key[0], "order": key[1], "p_a": shown if key[1] == "ab" else 1 - shown})
        found: dict[str, list[float]] = {}
        for key in looks:
            found.setdefault(key[0], []).append(log.get(key)["p_a"])
    return {name: sum(values) / len(values) for name, values in found.items()}


def before_verdict(look: Look) -> str:
    """The text up to the letter of its verdict, which is the last marker of a readable text."""
    text = look.generation.text
    return text[: text.rindex(MARK) + len(MARK)]

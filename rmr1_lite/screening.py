"""Which training pairs does the judge get wrong before GRPO? Those are where there is something to learn.

GRPO learns from groups whose rewards differ. On pairs that the judge already gets right nearly every rollout is right,
and after SFT that is most of them: half of all groups were without a signal. So some pairs are judged once, greedily and in
both orders, and training draws most of its prompts from those that came out wrong (the paper draws all pairs alike).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rmr1_lite.data.files import JsonlLog
from rmr1_lite.judge import Judge
from rmr1_lite.types import Judgment, Pair

CHUNK = 64  # pairs


def failed(judge: Judge, pairs: Sequence[Pair], folder: Path) -> frozenset[str]:
    """Ids of the labelled `pairs` that the judge does not get right in both orders.

    folder: where screen.jsonl keeps what was found, chunk by chunk. A chunk that was cut off is judged again as a whole,
    in the same batches, so that a resumed run finds exactly the same pairs.
    """
    from tqdm import tqdm

    found: list[str] = []
    with JsonlLog(folder / "screen.jsonl", ("first",)) as log, tqdm(total=len(pairs), desc="screening", unit="pair") as bar:
        for start in range(0, len(pairs), CHUNK):
            chunk = pairs[start : start + CHUNK]
            if start not in log:
                judgments = judge.compare_many(chunk, progress=False)
                wrong = [p.id for p, j in zip(chunk, judgments, strict=True) if not _right(j, p)]
                log.append({"first": start, "pairs": len(chunk), "wrong": wrong})
            found += log.get(start)["wrong"]
            bar.update(len(chunk))
    print(f"Screening: {len(found)} of {len(pairs)} pairs are not judged right in both orders yet.")
    return frozenset(found)


def _right(judgment: Judgment, pair: Pair) -> bool:
    return all(look.label == pair.label for look in judgment.looks)

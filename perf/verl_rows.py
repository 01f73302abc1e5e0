"""How long do rows for verl take, and how much memory? Generated pairs of ordinary length, in both orders.

    # 64,000 pairs: some minutes on two cores
    python perf/verl_rows.py --out perf/results/verl-rows.json

The tokenizer is smol-base's (49,152 tokens) where it is installed, else nano's, which has few tokens and is
slower. The prompts are those of the style `rubrics`. Seconds are wall time, whatever else the machine does,
cpu_seconds those of all processes together; peak memory is that of the process and of all that render for
it together, sampled every half second.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import tempfile
import threading
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psutil

from rmr1_lite.environment import prepare_process
from rmr1_lite.integrations.verl.rows import Renderer, write_rows
from rmr1_lite.models import smol
from rmr1_lite.models.backend import installed_versions
from rmr1_lite.models.token_lengths import tokenizer_and_style
from rmr1_lite.storage import write_json
from rmr1_lite.types import Pair

WORDS = [
    f"{head}{stem}{end}"
    for head in ("", "be", "in", "out", "re")
    for stem in ("light", "form", "ground", "side", "turn", "way", "work")
    for end in ("", "ed", "er", "ing", "ly", "s")
]
SPECIAL = "<|im_end|>"  # in one response of a hundred: it has to be made inert
LIMIT = 4096


def text(rng: random.Random, low: int, high: int) -> str:
    """Words and sentences, frequent words more often than rare ones."""
    count = rng.randint(low, high)
    words = [WORDS[int(len(WORDS) * rng.random() ** 2)] for _ in range(count)]
    return " ".join(f"{word}." if rng.random() < 0.08 else word for word in words)


def make_pairs(count: int) -> list[Pair]:
    """A question of about 50 words and two responses of 60 to 320, as in perf/data.py."""
    rng = random.Random(0)
    made = []
    for number in range(count):
        ending = SPECIAL if rng.random() < 0.01 else ""
        made.append(
            Pair(
                f"p{number}",
                ({"role": "user", "content": text(rng, 20, 80)},),
                text(rng, 60, 320) + ending,
                text(rng, 60, 320),
                rng.choice(("A", "B")),
            )
        )
    return made


class PeakMemory:
    """MiB of this process and its children together, at their highest; proportional shares count once."""

    def __init__(self) -> None:
        self.mib, self._over = 0.0, threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watcher.join()

    def _watch(self) -> None:
        own = psutil.Process()
        while not self._over.wait(0.5):
            total = 0
            for each in (own, *own.children(recursive=True)):
                try:
                    total += each.memory_full_info().pss
                except psutil.NoSuchProcess:
                    continue
            self.mib = max(self.mib, total / 2**20)


def measure(count: int, spec: str) -> dict[str, Any]:
    """Seconds, rows and memory for `count` pairs with the tokenizer of `spec`."""
    tokenizer, _ = tokenizer_and_style(spec, "rubrics")
    began = time.perf_counter()
    pairs = make_pairs(count)
    made, cpu = time.perf_counter(), sum(os.times()[:4])
    overlong: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, PeakMemory() as peak:
        path = Path(folder) / "train.parquet"
        done = write_rows(pairs, "train", Renderer(tokenizer, "rubrics"), LIMIT, path, overlong.append)
        seconds, cpu = time.perf_counter() - made, sum(os.times()[:4]) - cpu
        size = path.stat().st_size
    characters = sum(len(p.response_a) + len(p.response_b) + len(p.prompt[0]["content"]) for p in pairs)
    return {
        "pairs": count,
        "rows": done.rows,
        "overlong": done.overlong,
        "tokenizer": Path(spec).name,
        "characters_a_pair": round(characters / count),
        "longest_prompt": done.longest,
        "seconds": round(seconds, 1),
        "pairs_a_second": round(count / seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "seconds_to_generate_the_pairs": round(made - began, 1),
        "peak_mib": round(peak.mib),
        "file_mb": round(size / 1e6, 1),
    }


def main() -> None:
    prepare_process()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = smol.NAME if smol.state().kind == "ready" else "nano-sft"
    parser.add_argument("--pairs", type=int, default=64_000)
    parser.add_argument("--tokenizer", default=default, help="a model's name or folder")
    parser.add_argument("--out", type=Path, default=Path("perf/results/verl-rows.json"))
    given = parser.parse_args()
    load = os.getloadavg()[0]
    found = measure(given.pairs, given.tokenizer)
    machine = {
        "cores": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "load_before": round(load, 1),
        "load_after": round(os.getloadavg()[0], 1),
    }
    made = datetime.now(timezone.utc).isoformat(timespec="seconds")
    write_json(given.out, {"made": made, "machine": machine, "versions": installed_versions(), **found})
    print(found)


if __name__ == "__main__":
    main()

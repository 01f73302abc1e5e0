"""How fast is data preparation, and how reliable is the audit? Generated pairs of ordinary length.

    OMP_NUM_THREADS=2 python perf/data.py --out perf/results/data-cpu.json

prepare  80,000 pairs, each step in a separate process: without tokenising and near-duplicates, with
         near-duplicates, and
         tokenising (the nano tokenizer, fewer pairs); pairs per second and peak memory
audit    each kind of leak planted in 5 and 20 % of 10,000 rows: is it reported, and with how many of its
         rows?
clean    the same rows with labels drawn again, 100 times: how many sets raise an alarm? Also RMB's real
         pairs,
         where they are
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tqdm import tqdm

from rmr1_lite.config import PrepareConfig
from rmr1_lite.data.audit import audit
from rmr1_lite.data.label_leaks import Row, find_signals
from rmr1_lite.data.prepare import prepare
from rmr1_lite.models.backend import installed_versions

HEADS, STEMS = (
    ("", "be", "co", "de", "in", "out", "re"),
    ("light", "form", "ground", "side", "turn", "way", "work"),
)
ENDS = ("", "ed", "er", "ing", "ly", "s", "ness", "able", "ful", "less")
WORDS = [f"{head}{stem}{end}" for head in HEADS for stem in STEMS for end in ENDS]
STEPS = {"prepare": {"near": 0.0}, "near-duplicates": {"near": 0.8}, "tokenising": {"near": 0.0}}
TOKENISED = 8000  # pairs


def text(rng: random.Random, low: int, high: int) -> str:
    """Words and sentences, frequent words more often than rare ones."""
    count = rng.randint(low, high)
    said = [WORDS[int(len(WORDS) * rng.random() ** 2)] for _ in range(count)]
    return " ".join(f"{word}." if rng.random() < 0.08 else word for word in said)


def pair(rng: random.Random, number: int) -> dict[str, Any]:
    """A question of about 50 words and two responses of 60 to 320."""
    texts = {"prompt": text(rng, 20, 80), "response_a": text(rng, 60, 320), "response_b": text(rng, 60, 320)}
    return {"id": str(number), **texts, "label": rng.choice("AB")}


def write(path: Path, count: int, seed: int = 0) -> None:
    rng = random.Random(seed)
    with open(path, "w", encoding="utf-8") as file:
        for number in range(count):
            file.write(json.dumps(pair(rng, number)) + "\n")


def one_step(step: str, path: str, out: str) -> None:
    """Run in a separate process, so that its memory is its own; prints one line of JSON."""
    lengths = None
    if step == "tokenising":
        from rmr1_lite.models.token_lengths import prompt_lengths

        lengths = prompt_lengths("nano", "rubrics")
    began = time.perf_counter()
    done = prepare([path], PrepareConfig(out=out, **STEPS[step]), lengths, progress=False)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(
        json.dumps(
            {
                "pairs": done.rows,
                "kept": sum(done.kept.values()),
                "seconds": round(seconds, 1),
                "pairs_per_second": round(done.rows / seconds),
                "peak_gib": round(peak, 2),
            }
        )
    )


def measure_prepare(count: int, folder: Path) -> dict[str, Any]:
    made = {}
    for step in STEPS:
        pairs = min(count, TOKENISED) if step == "tokenising" else count
        path = folder / f"{pairs}.jsonl"
        if not path.exists():
            write(path, pairs)
        command = [sys.executable, __file__, "--step", step, "--in", str(path), "--out", str(folder / step)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        made[step] = json.loads(done.stdout.splitlines()[-1])
        made[step]["megabytes"] = round(path.stat().st_size / 1e6)
        print(step, made[step])
    return made


def worse(row: dict[str, Any]) -> str:
    return "response_b" if row["label"] == "A" else "response_a"


def better(row: dict[str, Any]) -> str:
    return "response_a" if row["label"] == "A" else "response_b"


def _token(row: dict[str, Any]) -> None:
    row[worse(row)] += " Zebra."


def _template(row: dict[str, Any]) -> None:
    row[worse(row)] += "<|eot_id|>"


def _name(row: dict[str, Any]) -> None:
    row["prompt"] += f" {'Chabot' if row['label'] == 'A' else 'Chatbot'} B"


def _turns(row: dict[str, Any]) -> None:
    row[worse(row)] += "\nUser: go on\nAssistant: as you like"


def _length(row: dict[str, Any]) -> None:
    whole = row[better(row)]
    while len(whole) < 3 * len(row[worse(row)]):
        whole += f" {row[better(row)]}"
    row[better(row)] = whole


# kind -> how it is planted, and by what it must be named
LEAKS: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "token": (_token, "Zebra"),
    "template token": (_template, "<|eot_id|>"),
    "name": (_name, "Chabot"),
    "turn count": (_turns, "turn labels inside"),
    "length": (_length, "times as long"),
}


def measure_audit(count: int, folder: Path) -> list[dict[str, Any]]:
    made = []
    for kind, (plant, named) in LEAKS.items():
        for share in (0.05, 0.2):
            rng = random.Random(f"{kind}/{share}")
            rows = [pair(rng, number) for number in range(count)]
            planted = set(rng.sample(range(count), round(share * count)))
            for number in planted:
                plant(rows[number])
            path = folder / "planted.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
            began = time.perf_counter()
            found = audit([path], progress=False)
            seconds = time.perf_counter() - began
            hits = [
                signal
                for signal in found.signals
                if any(named in name for name in (signal.what, *signal.also))
            ]
            reported = {row.number - 1 for signal in hits for row in signal.rows}
            # the misspelt name stands in A's rows alone, the right spelling in the others
            wanted = {n for n in planted if rows[n]["label"] == "A"} if kind == "name" else planted
            made.append(
                {
                    "kind": kind,
                    "share": share,
                    "reported": bool(hits),
                    "level": hits[0].level if hits else None,
                    "rows_reported": len(reported & wanted) / len(wanted),
                    "signals": len(found.signals),
                    "seconds": round(seconds, 1),
                }
            )
            print(made[-1])
    return made


def measure_clean(rows: list[Row], sets: int, name: str) -> dict[str, Any]:
    alarms = 0
    for seed in tqdm(range(sets), f"clean sets, {name}"):
        rng = random.Random(seed)
        drawn = [
            replace(row, better=row.worse, worse=row.better, label="AB"[rng.random() < 0.5])
            if rng.random() < 0.5
            else replace(row, label="AB"[rng.random() < 0.5])
            for row in rows
        ]
        alarms += bool(find_signals(drawn))
    return {"rows": len(rows), "sets": sets, "alarms": alarms}


def clean_rows(count: int) -> list[Row]:
    rng = random.Random(1)
    made = (pair(rng, number) for number in range(count))
    return [
        Row(row["id"], "x", i, row["response_a"], row["response_b"], row["prompt"], "A")
        for i, row in enumerate(made)
    ]


def rmb_rows() -> list[Row]:
    from rmr1_lite.evaluation import benchmarks

    folder = Path(os.environ.get("RMR1_DATA_DIR", "")) / "RMB" / "Pairwise_set"
    if not folder.is_dir():
        return []
    pairs = benchmarks.read_benchmark(benchmarks.find_benchmark("rmb"), str(folder))
    return [
        Row(p.id, "rmb", i, p.response_a, p.response_b, p.prompt[-1]["content"], "A")
        for i, p in enumerate(pairs)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pairs", type=int, default=80_000, help="pairs to prepare (default %(default)s)")
    parser.add_argument(
        "--rows", type=int, default=10_000, help="rows of each planted set (default %(default)s)"
    )
    parser.add_argument(
        "--clean", type=int, default=2_000, help="rows of each clean set (default %(default)s)"
    )
    parser.add_argument("--sets", type=int, default=100, help="clean sets (default %(default)s)")
    parser.add_argument(
        "--part", action="append", choices=["prepare", "audit", "clean", "clean_rmb"], help="default: all"
    )
    parser.add_argument("--out", required=True, help="JSON to write")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--in", dest="source", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        return one_step(args.step, args.source, args.out)
    parts = {
        "prepare": lambda folder: measure_prepare(args.pairs, folder),
        "audit": lambda folder: measure_audit(args.rows, folder),
        "clean": lambda folder: measure_clean(clean_rows(args.clean), args.sets, "generated"),
        "clean_rmb": lambda folder: measure_clean(rmb_rows(), args.sets, "RMB, labels drawn anew"),
    }
    with tempfile.TemporaryDirectory() as folder:
        for name in args.part or parts:
            if name == "clean_rmb" and not rmb_rows():
                print("clean_rmb: RMB's files are missing (RMR1_DATA_DIR), nothing measured")
                continue
            add(Path(args.out), {name: parts[name](Path(folder))})


def add(out: Path, part: dict[str, Any]) -> None:
    """Add one part to those stored: measurements are kept whatever follows."""
    held = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    held |= part | {
        "cpu_count": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", ""),
        "machine": platform.machine(),
        "versions": installed_versions(),
        "date": datetime.now(timezone.utc).date().isoformat(),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(held, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(part))


if __name__ == "__main__":
    main()

"""How long does a large evaluation through batch files take on this side, and how much memory?

    OMP_NUM_THREADS=1 python perf/batch_files.py          # two minutes: perf/results/batch-files.json

20,387 generated pairs in both orders, prompts of about 3,000 characters, files of at most 10,000 requests.
Each step is what `judge --via batch` does, in a process of its own:

write    read the pairs, write the request files
join     read the answers (in another order, one in a hundred failed or missing), store the judge calls, write
         the next round
finish   the same with the rest of the answers: every judge call is stored
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rmr1_lite.data.pairs import write_pairs
from rmr1_lite.judging.batch import judge_file
from rmr1_lite.judging.engines.batch_files import BatchFilesEngine
from rmr1_lite.judging.judge import Judge
from rmr1_lite.storage import AtomicLines, write_json
from rmr1_lite.types import AnswersPending, Pair

RESULTS = Path(__file__).parent / "results" / "batch-files.json"
PAIRS, MOST_REQUESTS, LOST = 20_387, 10_000, 0.01
WORDS = "the a judge answer better shorter model token reward response because which number and of".split()
CHAIN = "<type>Chat</type> <rubric>{0}</rubric> <eval>{0}</eval> <answer>[[{1}]]</answer>"


def text(rng: random.Random, characters: int) -> str:
    return " ".join(rng.choices(WORDS, k=characters // 6))


def write_input(path: Path) -> None:
    """Pairs whose prompts in the style rubrics have about 3,000 characters with the instruction."""
    rng = random.Random(0)
    turn = "user"
    write_pairs(
        path,
        [
            Pair(
                f"pair-{k}", ({"role": turn, "content": text(rng, 200)},), text(rng, 650), text(rng, 650), "A"
            )
            for k in range(PAIRS)
        ],
    )


def answer(folder: Path, lost: float) -> int:
    """Answer all request files of the newest round, in another order; returns how many rows were written."""
    rng = random.Random(1)
    newest = max(int(path.stem.split("-")[1]) for path in folder.glob("requests-*.jsonl"))
    count = 0
    for path in sorted(folder.glob(f"requests-{newest}-*.jsonl")):
        names = [json.loads(line)["custom_id"] for line in path.open("rb")]
        rng.shuffle(names)
        out = folder / path.name.replace("requests", "answers")
        with AtomicLines(out) as file:
            for name in names:
                chance = rng.random()
                if chance < lost / 2:
                    continue
                file.write(out, row(rng, name, failed=chance < lost))
                count += 1
    return count


def row(rng: random.Random, name: str, failed: bool) -> dict[str, Any]:
    if failed:
        body: dict[str, Any] = {"error": {"message": "try later"}}
    else:
        said = CHAIN.format(text(rng, 700), rng.choice("AB"))
        message = {"role": "assistant", "content": said}
        usage = {"prompt_tokens": 1100, "completion_tokens": 300}
        body = {"model": "m", "choices": [{"finish_reason": "stop", "message": message}], "usage": usage}
    response = {"status_code": 500 if failed else 200, "request_id": "r", "body": body}
    return {"id": f"batch_{name}", "custom_id": name, "response": response, "error": None}


def judge_once(folder: Path) -> None:
    """One call of `judge --via batch`."""
    engine = BatchFilesEngine("m", folder / "batch", most_requests=MOST_REQUESTS)
    try:
        judge = Judge(engine, "rubrics", "lenient")
        judge_file(judge, folder / "pairs.jsonl", folder / "out.jsonl", progress=False)
    except AnswersPending as error:
        print(error)


def measured(folder: Path) -> dict[str, Any]:
    """One step in a process of its own: seconds, and the peak of its memory."""
    start = time.perf_counter()
    child = subprocess.Popen([sys.executable, __file__, "--step", str(folder)])
    _, status, usage = os.wait4(child.pid, 0)
    assert status == 0, status
    seconds = round(time.perf_counter() - start, 1)
    return {"seconds": seconds, "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1)} | {
        "peak_mib": round(usage.ru_maxrss / 1024)
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--step", type=Path, help=argparse.SUPPRESS)
    arguments.add_argument("--out", type=Path, default=RESULTS)
    chosen = arguments.parse_args()
    if chosen.step:
        return judge_once(chosen.step)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_input(folder / "pairs.jsonl")
        steps = {"write": measured(folder)}
        requests = sorted((folder / "batch").glob("requests-1-*.jsonl"))
        size = sum(path.stat().st_size for path in requests)
        answered = answer(folder / "batch", LOST)
        steps["join"] = measured(folder)
        stored = sum(1 for _ in (folder / "out.jsonl").open("rb"))
        again = answer(folder / "batch", 0.0)
        steps["finish"] = measured(folder)
        complete = sum(1 for _ in (folder / "out.jsonl").open("rb"))
    assert complete == 2 * PAIRS and stored + again == complete
    found = {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "machine": f"{os.cpu_count()} CPU cores, beside other work",
        "judge calls": complete,
        "request files": len(requests),
        "request megabytes": round(size / 1e6, 1),
        "answers": answered,
        "stored by the first join": stored,
        "asked again": again,
        "steps": steps,
    }
    write_json(chosen.out, found)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()

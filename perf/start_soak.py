"""How many short starts of a command die? `sft`, `grpo`, `judge` and the app, over and over.

    python perf/start_soak.py --starts 300            # hours: perf/results/start-soak.json, resumable

Each start is a separate process with the environment of a plain shell. The app is started, asked for its
page and stopped. Counted: ends by a signal that the test did not send, other failures, seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from tqdm import tqdm

from rmr1_lite.environment import ALLOCATOR, AT_START
from rmr1_lite.storage import write_json

RESULTS = Path(__file__).parent / "results" / "start-soak.json"
PORT = 8941
COMMANDS = {
    "sft": "-m rmr1_lite sft --chains data/chains.jsonl --out out --epochs 1",
    "grpo": "-m rmr1_lite grpo --pairs data/train.jsonl --model nano-sft --out out --steps 1 --groups 1 "
    "--rollouts 2 --micro-batch 2 --max-new-tokens 8",
    "judge": "-m rmr1_lite judge --pairs data/test.jsonl --out out/judged.jsonl --max-new-tokens 8",
    "app": f"{Path(__file__).parents[1] / 'app.py'} --port {PORT} --judge nano",
}
LIMIT = 300  # seconds for one start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--starts", type=int, default=300, help="of each command")
    parser.add_argument("--only", choices=COMMANDS, action="append", help="only these commands")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after this many minutes")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    found = json.loads(given.out.read_text(encoding="utf-8")) if given.out.exists() else {}
    end = time.monotonic() + 60 * given.minutes
    with tempfile.TemporaryDirectory() as name:
        folder = prepare(Path(name))
        todo = [
            command
            for number in range(given.starts)
            for command in given.only or COMMANDS
            if number >= found.get(command, {}).get("starts", 0)
        ]
        for command in tqdm(todo, unit="start"):
            if time.monotonic() > end:
                break
            note(found.setdefault(command, {}), *start(command, folder))
            write_json(given.out, {**found, "date": time.strftime("%Y-%m-%d")})
    print(json.dumps(found, indent=1))


def prepare(folder: Path) -> Path:
    """Eight chains, four pairs to train on and one to judge."""
    made = [
        sys.executable,
        "-m",
        "rmr1_lite",
        "data",
        "nano",
        "--out",
        "data",
        "--train",
        "40",
        "--test",
        "4",
    ]
    subprocess.run(made, cwd=folder, check=True, capture_output=True)
    for name, rows in (("chains", 8), ("train", 4), ("test", 1)):
        path = folder / "data" / f"{name}.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(lines[:rows]), encoding="utf-8")
    return folder


def plain_environment() -> dict[str, str]:
    """The environment of a shell, without the kit's own variables, which would hide a late writer."""
    ours = {*AT_START, ALLOCATOR, "TORCHINDUCTOR_CACHE_DIR", "CUDA_VISIBLE_DEVICES"}
    return {name: value for name, value in os.environ.items() if name not in ours}


def start(command: str, folder: Path) -> tuple[int, float, str]:
    """(exit status, seconds, last words) of one start."""
    shutil.rmtree(folder / "out", ignore_errors=True)
    began, log = time.perf_counter(), folder / "log.txt"
    with log.open("w", encoding="utf-8") as screen:
        process = subprocess.Popen(
            [sys.executable, *COMMANDS[command].split()],
            cwd=folder,
            env=plain_environment(),
            stdout=screen,
            stderr=subprocess.STDOUT,
        )
        status = visit(process) if command == "app" else process.wait(LIMIT)
    words = log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").strip()
    return status, time.perf_counter() - began, words[-2000:]


def visit(process: subprocess.Popen[bytes]) -> int:
    """Ask for the page once it is ready, then stop the app; 0 if it ended only by our signal."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/", timeout=5) as page:
                page.read()
            time.sleep(1.0)  # the judge may still be loading on its thread
            break
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    if process.poll() is not None:
        return process.returncode
    process.send_signal(signal.SIGTERM)
    status = process.wait(30)
    return 0 if status in (-signal.SIGTERM, 0, 143) else status


def note(found: dict[str, Any], status: int, seconds: float, words: str) -> None:
    """Count one start; the messages of failures are kept."""
    found["starts"] = found.get("starts", 0) + 1
    found["seconds"] = round(found.get("seconds", 0.0) + seconds, 1)
    found.setdefault("ended by a signal", 0)
    found.setdefault("failed otherwise", 0)
    if status:
        found["ended by a signal" if status < 0 else "failed otherwise"] += 1
        found["statuses"] = dict(Counter(found.get("statuses", {})) + Counter({str(status): 1}))
        found.setdefault("words", []).append(words[-600:])


if __name__ == "__main__":
    main()

"""Finds code that adds or removes environment variables while other threads run, which can crash glibc.

    python tests/behaviour/late_environment.py judge --pairs in.jsonl --out out.jsonl

Runs a command of the kit (`app` means app.py) and prints a line for each such write with its location in
the code; exits with status 1 if there was one. Replacing a variable's value is safe and not reported. Linux.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Any

PLACES = 4  # callers shown


def main() -> None:
    known, found = set(os.environ), []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in ("os.putenv", "os.unsetenv"):
            return
        name = os.fsdecode(arguments[0])
        changes = (name not in known) if event == "os.putenv" else (name in known)
        (known.add if event == "os.putenv" else known.discard)(name)
        if changes and len(list(Path("/proc/self/task").iterdir())) > 1:
            found.append(f"{event} {name}: {_callers()}")

    sys.addaudithook(watch)
    command, sys.argv = sys.argv[1], sys.argv[1:] if sys.argv[1] == "app" else sys.argv
    try:
        _run(command)
    finally:
        sys.stdout.flush()
        print("\n".join(found) or "nobody wrote late", file=sys.stderr)
        if found:
            os._exit(1)


def _run(command: str) -> None:
    if command == "app":
        from rmr1_lite.app.command import main as start
    else:
        from rmr1_lite.cli.main import main as start
    start()


def _callers() -> str:
    frames = [frame for frame in traceback.extract_stack() if "importlib" not in frame.filename]
    frames = [f for f in frames if "<frozen" not in f.filename and f.filename != __file__][-PLACES:]
    return " > ".join(f"{frame.filename.split('site-packages/')[-1]}:{frame.lineno}" for frame in frames)


if __name__ == "__main__":
    main()

"""One job in this process: `python -m gpu.worker JOB [BACKEND] --folder F --result R`. R holds every
measurement as it arrives."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from gpu.common import OUT_OF_MEMORY, Place

# job -> the module that has a function of that name; nothing heavy is imported before the job itself decides
# the order
JOBS = {
    "facts": "facts",
    "parity": "parity",
    "reload": "parity",
    "chain": "chain",
    "model": "model",
    "llama": "model",
    "speed": "speed",
    "capped": "speed",
    "paper": "speed",
    "smol_get": "smol",
    "smol": "smol",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", choices=JOBS)
    parser.add_argument("backend", nargs="?", default="")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--small", action="store_true")
    args = parser.parse_args()
    place = Place(args.backend, args.folder, args.small)
    job: Callable[[Place], Iterator[dict[str, Any]]] = getattr(
        import_module(f"gpu.{JOBS[args.job]}"), args.job
    )
    found: dict[str, Any] = {}
    for figures in job(place):
        found.update(figures)
        draft = args.result.with_suffix(".tmp")
        draft.write_text(json.dumps(found), encoding="utf-8")
        draft.replace(args.result)
    if wrong := [f"{name}: {text}" for name, text in errors(found) if text != OUT_OF_MEMORY]:
        sys.exit("; ".join(wrong))


def errors(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(where, what) of every error inside a job that continued."""
    for name, value in found.items():
        if isinstance(value, dict):
            if "error" in value:
                yield name, value["error"]
            yield from ((f"{name}/{inner}", text) for inner, text in errors(value))


if __name__ == "__main__":
    main()

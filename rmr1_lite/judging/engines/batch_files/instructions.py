"""What to do next with request files, in words and commands."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from rmr1_lite.judging.engines.batch_files.rounds import URL, Part
from rmr1_lite.judging.engines.endpoint.failures import Failure
from rmr1_lite.judging.engines.endpoint.reading import remedy_of


def next_steps(waiting: Mapping[Part, int], folder: Path, model: str) -> str:
    """What to do with the files that wait; the number of their requests without an answer."""
    total = sum(waiting.values())
    lines = [f"{total:,} {_requests(total)} for an answer:"]
    lines += [f"  {_describe(part, count)}" for part, count in waiting.items()]
    lines.append("With vLLM, without a server, on any number of cards:")
    lines += [f"  {vllm_command(part, model)}" for part in waiting]
    lines.append(
        f"With a vendor: upload each file as a batch for {URL}, and download its output file and its error "
        f"file into {folder}, under any names that end in .jsonl."
    )
    lines.append("Then run the same command again.")
    return "\n".join(lines)


def vllm_command(part: Part, model: str) -> str:
    """The line that answers one file. A name without an owner is not a hub id: then the folder is the
    user's to fill in."""
    answers = part.path.with_name(part.path.name.replace("requests-", "answers-", 1))
    name = ["--model", model] if "/" in model else ["--model", "FOLDER", "--served-model-name", model]
    words = ["vllm", "run-batch", "-i", str(part.path), "-o", str(answers), *name]
    # otherwise it samples by the model's generation_config.json, which may hold a repetition penalty
    return shlex.join([*words, "--generation-config", "vllm"])


def remedy(failure: Failure, model: str) -> str:
    """What to do about a failure that a repeat does not mend."""
    own = {
        "key": "Run the batch with a key that has access to this model.",
        "address": f"Run the batch for {URL}.",
        "model": (
            f"The requests name the model {model!r:.80}: let it have this name there (vLLM: "
            "--served-model-name), or give the right one to --judge and another --out."
        ),
    }
    return own.get(failure.remedy) or remedy_of(failure, "the variable of the key")


def _requests(count: int) -> str:
    return "request waits" if count == 1 else "requests wait"


def _describe(part: Part, count: int) -> str:
    of = "" if count == len(part.ids) else f" of {len(part.ids):,}"
    if not part.path.exists():
        return f"{part.path} ({count:,}{of}; the file was moved away)"
    return f"{part.path} ({count:,}{of}, {part.path.stat().st_size / 1e6:.1f} MB)"

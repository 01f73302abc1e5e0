"""Before a long run: its longest items through one full step, in a separate process, with smaller settings
if they do not fit.

Running out of memory after an hour is the most common failure on a small card. So the longest rows of
the data are first trained on for one optimizer step, at full length (GRPO: every rollout of full length,
half of them rewarded, so that nothing is skipped). If that process dies, for whatever reason, this one stays
alive: it tries the next smaller settings of `plan.smaller_settings`, reports each change and stores it
in `preflight.json`, so that the same command resumes with the same settings.

    config = run_preflight("sft", config)      # the settings that fit; prints what it did
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from rmr1_lite.config import CONFIGS, as_json, check_config
from rmr1_lite.data.chains import read_chains, write_chains
from rmr1_lite.data.pairs import read_pairs, write_pairs
from rmr1_lite.environment import environment_with_kit
from rmr1_lite.models.backend import start_backend, this_machine
from rmr1_lite.storage import write_json
from rmr1_lite.training.planning.ballast import hold_card_memory
from rmr1_lite.training.planning.plan import smaller_settings
from rmr1_lite.training.run_folder import FREE, read_log, steps_of
from rmr1_lite.types import ORDERS, InputError

FILE = "preflight.json"
# GiB that the trial step may take; for tests, and to simulate a smaller card
LIMIT = "RMR1_PREFLIGHT_GIB"
# exit statuses of a trial: out of memory, and input that no smaller setting would fix
NO_ROOM = 77
REFUSED = 2
MOST_RUNGS = 8
CANDIDATES = 64  # longest rows by characters, from which the longest by tokens are taken
TAIL = 12  # lines of a crashed trial that are shown


def run_preflight(stage: str, config: Any, quiet: bool = False) -> Any:
    """`config`, or the next smaller settings that take the longest items through a step of "sft" or "grpo".

    quiet: report only reductions.

    Does nothing with preflight "off", and with "auto" on a machine without a GPU, where memory rarely
    runs out. Raises InputError when even the smallest settings do not fit, with the end of the trial's
    output.
    """
    wanted = config.preflight == "on" or config.preflight == "auto" and this_machine().capability is not None
    check_config(config)
    # first of all: a run that started with smaller settings keeps them
    kept = _settled_before(stage, config)
    if kept is not None:
        return kept
    if not wanted or (Path(config.out) / "adapter").exists():
        return config
    asked = config
    changes: list[str] = []
    if not quiet:
        print(f"Preflight: one {stage.upper()} step with the longest items, before the run starts.")
    for _ in range(MOST_RUNGS):
        status, said = _run_trial(stage, config)
        if status == 0:
            return _keep_settled(asked, config, changes, json.loads(said), quiet)
        if status == REFUSED:
            raise InputError(said.strip().removeprefix("Error: "))
        if status != NO_ROOM and status > 0:  # no smaller setting fixes an error
            raise InputError(
                f"The preflight failed (--preflight off skips it). Its last output:\n{_last_words(said)}"
            )
        reason = "it ran out of memory" if status == NO_ROOM else f"it was killed (signal {-status})"
        rung = next(smaller_settings(config), None)
        if rung is None:
            break
        config, change = rung
        changes.append(change)
        print(f"  {reason}; next: {change}")
    tried = ", ".join(changes) or "no setting could be reduced"
    raise InputError(
        f"The longest items do not fit into one {stage.upper()} step ({reason}), even after: {tried}. "
        f"Choose a smaller model or shorter lengths. Its last output:\n{_last_words(said)}"
    )


def _last_words(said: str) -> str:
    return "\n".join(said.strip().splitlines()[-TAIL:])


def _settled_before(stage: str, asked: Any) -> Any:
    """The settings found by an earlier start of the same run, None when there was none. `asked` may be
    those settings."""
    path = Path(asked.out) / FILE
    if not path.exists():
        return None
    found, now = json.loads(path.read_text(encoding="utf-8")), _fixed_settings(as_json(asked))
    if now == _fixed_settings(found["settled"]):
        return asked
    if now != _fixed_settings(found["asked"]):
        return None
    if found["changes"]:
        print(f"Preflight: same changes as in the first start: {', '.join(found['changes'])}.")
    return CONFIGS[stage](**found["settled"])


def _fixed_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings that a resume may not change."""
    return {name: value for name, value in settings.items() if name not in FREE}


def _keep_settled(asked: Any, config: Any, changes: list[str], trial: dict[str, float], quiet: bool) -> Any:
    write_json(
        Path(asked.out) / FILE,
        {"asked": as_json(asked), "settled": as_json(config), "changes": changes, "trial": trial},
    )
    if quiet:
        return config
    memory = f", peak memory {trial['peak_gib']:.1f} GiB" if trial["peak_gib"] else ""
    steps = steps_of(config)
    its = (
        f"its {steps} step{'s' * (steps != 1)} take {describe_seconds(steps * trial['seconds'])} at most, "
        "without probes"
    )
    print(f"  fits{memory}; the step took {trial['seconds']:.1f} s, so {its}.")
    if changes:
        print(f"  The run uses smaller settings than requested: {', '.join(changes)}.")
    return config


def describe_seconds(seconds: float) -> str:
    """A time in hours, minutes or seconds, whichever reads best."""
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} hours"
    minutes = round(seconds / 60)
    return f"{minutes} minute{'s' * (minutes != 1)}" if seconds >= 60 else f"{seconds:.0f} s"


def _run_trial(stage: str, config: Any) -> tuple[int, str]:
    """(exit status, output) of one step in a separate process; on success the step's measurements as
    JSON."""
    with tempfile.TemporaryDirectory(prefix="rmr1_preflight_") as folder:
        path = Path(folder) / "trial.json"
        write_json(path, {"stage": stage, "config": as_json(config), "folder": folder})
        command = [sys.executable, "-m", "rmr1_lite.training.planning.preflight", str(path)]
        done = subprocess.run(command, env=environment_with_kit(os.environ), capture_output=True, text=True)
        result = Path(folder) / "result.json"
        return done.returncode, result.read_text() if done.returncode == 0 else done.stderr


def trial_config(stage: str, config: Any, folder: Path) -> Any:
    """One step on the longest items: the same settings, but nothing saved, probed or screened."""
    config = replace(
        config,
        out=str(folder / "run"),
        probe="",
        save_every=0,
        save_minutes=0.0,
        report_to="none",
        preflight="off",
    )
    if stage == "sft":
        config = replace(config, chains=str(_longest_chains(config, folder)), epochs=1.0, limit=0)
    else:
        config = replace(
            config, pairs=str(_longest_pairs(config, folder)), steps=1, worst_case=True, screen_pairs=0
        )
    return config


def _longest_chains(config: Any, folder: Path) -> Path:
    """A file with as many of the longest chains as one step takes, without those that would be left out as
    too long."""
    from rmr1_lite.models.token_lengths import tokenizer_and_style
    from rmr1_lite.training.sft import build_rows

    chains = sorted(
        read_chains(config.chains).chains, key=lambda chain: -_count_characters(chain.pair) - len(chain.text)
    )
    tokenizer, style = tokenizer_and_style(config.model, config.style, config.thinking)
    longest = _find_longest(
        chains,
        lambda some: [len(row["input_ids"]) for row in build_rows(some, tokenizer, style)],
        config.max_length,
    )
    if longest is None:
        raise InputError(
            f"No chain fits into max_length {config.max_length}. Raise it, or give shorter chains."
        )
    made = [replace(longest, pair=replace(longest.pair, id=f"longest-{i}")) for i in range(config.batch_size)]
    write_chains(folder / "longest.jsonl", made)
    return folder / "longest.jsonl"


def _longest_pairs(config: Any, folder: Path) -> Path:
    """The same for GRPO: the pair with the longest prompt that is not left out, repeated for every pair of
    one step."""
    from rmr1_lite.models.token_lengths import tokenizer_and_style
    from rmr1_lite.training.grpo_data import build_row

    pairs = sorted(
        (pair for pair in read_pairs(config.pairs).pairs if pair.label),
        key=lambda pair: -_count_characters(pair),
    )
    tokenizer, style = tokenizer_and_style(config.model, config.style, config.thinking)

    def tokens(pair: Any) -> int:
        return max(build_row(pair, order, tokenizer, style)["prompt_tokens"] for order in ORDERS)

    longest = _find_longest(pairs, lambda some: list(map(tokens, some)), config.max_prompt_tokens)
    if longest is None:
        raise InputError(
            f"No labelled pair fits into {config.max_prompt_tokens} prompt tokens. Give labels or raise the "
            "limit."
        )
    write_pairs(
        folder / "longest.jsonl",
        [replace(longest, id=f"longest-{i}") for i in range(max(1, config.groups // 2))],
    )
    return folder / "longest.jsonl"


def _find_longest(items: Sequence[Any], tokens: Callable[[Sequence[Any]], list[int]], limit: int) -> Any:
    """The item with the most tokens within the limit, from among the longest by characters; None if none
    fits.

    items: longest first by characters, which is only nearly the order of their tokens.
    """
    for first in range(0, len(items), CANDIDATES):
        some = items[first : first + CANDIDATES]
        fitting = [(count, place) for place, count in enumerate(tokens(some)) if count <= limit]
        if fitting:
            return some[max(fitting)[1]]
    return None


def _count_characters(pair: Any) -> int:
    return sum(len(turn["content"]) for turn in pair.prompt) + len(pair.response_a) + len(pair.response_b)


@contextmanager
def _small_card(gib: float) -> Iterator[None]:
    """Leave this much of the card free, if there is one, before this process uses it."""
    import torch

    with hold_card_memory(gib) if gib and torch.cuda.is_available() else nullcontext():
        yield


def _small_memory(gib: float) -> None:
    """Limit this process to this much of the machine's memory if there is no card."""
    import torch

    if gib and not torch.cuda.is_available():
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (int(gib * 2**30),) * 2)


def _run_trial_here(path: Path) -> None:
    """The trial itself, in the process made for it."""
    asked = json.loads(path.read_text(encoding="utf-8"))
    stage, folder = asked["stage"], Path(asked["folder"])
    limit = float(os.environ.get(LIMIT, 0))
    with _small_card(limit):
        # Unsloth must be imported before transformers, which the tokenizer below imports
        start_backend(asked["config"]["backend"], folder)
        config = trial_config(stage, CONFIGS[stage](**asked["config"]), folder)
        _small_memory(limit)
        from rmr1_lite.training.grpo import train_grpo
        from rmr1_lite.training.sft import train_sft

        started = time.perf_counter()
        train_sft(config) if stage == "sft" else train_grpo(config)
    rows = read_log(folder / "run" / "metrics.jsonl")
    import torch

    peak = torch.cuda.max_memory_reserved() / 2**30 if torch.cuda.is_available() else 0.0
    spent = {
        "seconds": rows[0].get("time/seconds", 0.0),
        "whole_seconds": time.perf_counter() - started,
        "peak_gib": peak,
    }
    write_json(folder / "result.json", spent)


def main(path: Path) -> None:
    """Exit with 0, NO_ROOM or REFUSED; anything else is a crash."""
    try:
        _run_trial_here(path)
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(REFUSED)
    except (
        MemoryError,
        RuntimeError,
    ) as error:  # torch raises RuntimeError for a CPU without memory, a subclass for a GPU
        said = str(error).lower()
        if not isinstance(error, MemoryError) and "memory" not in said and "alloc_failed" not in said:
            raise
        print(f"Out of memory: {error}", file=sys.stderr)
        sys.exit(NO_ROOM)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

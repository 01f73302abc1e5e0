"""What the kit does on a GPU, in one command of at most nine minutes: parity, the nano chain, speed and
memory at 7B's shape.

    python perf/gpu_acceptance.py --minutes 9 --out runs/gpu            # or --parts 0-1, then --parts
                                                                              2-8 --minutes 7
    python perf/gpu_table.py runs/gpu/results.json                      # the tables of docs/gpu.md and
                                                                              README.md

    0  facts: the card, versions, disk, which library of bitsandbytes loads
    1  parity: both backends on the same rows and rollouts of nano; what a probe leaves behind; an adapter
       reloaded elsewhere
    2  the nano chain with Unsloth: SFT, GRPO, the KL at its start, accuracy of what was saved } side by side,
       so
    3  the same with transformers, whose GRPO shares prompts by the kit's own pass } their times are
    4  a random model of Qwen2.5-7B's shape stored in NF4; a random Llama of SmolLM2's shape } no measurements
    5  7B with Unsloth: SFT at three lengths, GRPO's step with and without shared prompts, writing
    6  7B with TRL's own trainers (PEFT, bitsandbytes, checkpointing), which is the baseline, and with the
       kit's other backend
    7  7B in fp16 while another process leaves 14.5 GiB of the card: "capped at 14.5 GiB", it is no T4
    8  the paper's lengths (4,096 + 8,192, groups of 7), when there is time
    9  smol on real texts, with --real FOLDER (see gpu/smol.py): SFT on three seeds, GRPO, controls

They run in the order of importance: 0, 1, the 7B, 5, the baseline, 7, the chains, the rest.

This file is the driver and imports only the standard library. Every job is a separate process group with a
time limit; its measurements go to OUT/results.json as they arrive and its output to OUT/logs, so nothing is
lost when time runs out. Jobs whose needs failed are reported as skipped, and a failed parity check stops the
rest. No network. `--small` runs everything in miniature on a CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from gpu.checks import parity  # noqa: E402

HERE = Path(__file__).parent
GRACE = 10.0  # seconds that the driver keeps for itself
LEAST = 12.0  # a job that has less is not started
POLL = 0.5
NO_UNSLOTH = "Unsloth cannot run here"
WORKER = (sys.executable, "-m", "gpu.worker")


@dataclass(frozen=True)
class Job:
    """One process. limit: seconds. needs: jobs that must have succeeded. only: "unsloth" for a job that makes
    sense only with it. product: a file in the folder that others need, missing on a fresh machine. least:
    seconds below which it is not worth a start.
    """

    part: int
    name: str
    arguments: tuple[str, ...]
    limit: float
    needs: tuple[str, ...] = ()
    only: str = ""
    least: float = LEAST
    product: str = ""


def smol(variant: str) -> Job:
    return Job(9, f"smol-{variant}", ("smol", variant), 420, ("smol-get",), "", 60)


# jobs of one wave run side by side, waves one after the other
WAVES: tuple[tuple[Job, ...], ...] = (
    (Job(0, "facts", ("facts",), 90, product="nano/chains.jsonl"),),
    # the model beside them: what most depends on, and nothing in this wave is a timing
    (
        Job(1, "parity-unsloth", ("parity", "unsloth"), 200, ("facts",), "unsloth"),
        Job(1, "parity-transformers", ("parity", "transformers"), 120, ("facts",)),
        Job(4, "model", ("model",), 150, ("facts",), product="random-nf4/config.json"),
    ),
    (Job(1, "parity-reload", ("reload", "transformers"), 60, ("parity-unsloth",), "unsloth"),),
    (Job(5, "speed-unsloth", ("speed", "unsloth"), 150, ("model",), "unsloth", 40),),
    (Job(6, "speed-trl", ("speed", "trl"), 100, ("model",), "", 40),),
    (Job(7, "capped", ("capped", "unsloth"), 120, ("model",), "unsloth", 40),),
    (Job(9, "smol-get", ("smol_get",), 120, product="smol-base/origin.json"),),
    (
        Job(2, "chain-unsloth", ("chain", "unsloth"), 500, ("facts",), "unsloth", 60),
        Job(3, "chain-transformers", ("chain", "transformers"), 300, ("facts",), "", 60),
        Job(4, "llama-unsloth", ("llama", "unsloth"), 150, ("model",), "unsloth", 40),
    ),
    # three at once fill a card of 139 GiB while GRPO's log-probabilities are computed
    tuple(smol(f"seed-{seed}") for seed in range(3)),
    (smol("letters"), smol("shuffled")),
    (Job(6, "speed-transformers", ("speed", "transformers"), 90, ("model",), "", 40),),
    (Job(8, "paper", ("paper", "unsloth"), 90, ("model",), "unsloth", 70),),
)
REAL = 9  # the part that needs texts of the user's


@dataclass
class Report:
    """OUT/results.json: rewritten completely after every change."""

    path: Path
    held: dict[str, Any] = field(default_factory=dict)

    def note(self, job: Job, **found: Any) -> None:
        self.held.setdefault("jobs", {}).setdefault(job.name, {"part": job.part}).update(found)
        self.write()

    def status(self, name: str) -> str:
        return self.held.get("jobs", {}).get(name, {}).get("status", "")

    def write(self) -> None:
        draft = self.path.with_suffix(".tmp")
        draft.write_text(json.dumps(self.held, indent=1), encoding="utf-8")
        draft.replace(self.path)


@dataclass
class Running:
    """A started job: its process group, its log, its result file as last read."""

    job: Job
    process: subprocess.Popen
    result: Path
    began: float
    limit: float
    seen: float = 0.0

    def fresh(self) -> dict[str, Any] | None:
        """The results, if the job has written since the last check."""
        try:
            changed = self.result.stat().st_mtime
            if changed == self.seen:
                return None
            self.seen = changed
            return json.loads(self.result.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def end(self) -> None:
        """Kill the complete group: a trainer's children must not keep the card."""
        for name in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, name)
            except ProcessLookupError:
                return
            try:
                self.process.wait(3)
            except subprocess.TimeoutExpired:
                continue


def drive(
    parts: Sequence[int], minutes: float, out: Path, folder: Path, small: bool, waves: Any = WAVES
) -> Report:
    """Run the requested parts; returns the report. Results of earlier calls in the same `out` stay, so parts
    can run one by one."""
    deadline = time.monotonic() + 60 * minutes - GRACE
    out.mkdir(parents=True, exist_ok=True)
    (out / "logs").mkdir(exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    path = out / "results.json"
    report = Report(path, json.loads(path.read_text(encoding="utf-8")) if path.exists() else {})
    names = chosen(parts, report, folder, waves)
    if 1 in parts:
        report.held.pop("parity", None)
    for name in names:  # what an earlier call left of these jobs would count as theirs
        report.held.get("jobs", {}).pop(name, None)
    report.held.update(small=small, minutes=minutes, date=time.strftime("%Y-%m-%d", time.gmtime()))
    for wave in waves:
        jobs = [job for job in wave if job.name in names]
        if not jobs:
            continue
        _run_wave(jobs, report, deadline, out, folder, small)
        if any(job.part == 1 for job in jobs) and not _parity_holds(report):
            print(
                "Parity failed: nothing else is started. Its checks are in results.json, its logs in",
                out / "logs",
            )
            break
    return report


def chosen(parts: Sequence[int], report: Report, folder: Path, waves: Any = WAVES) -> set[str]:
    """Names of the jobs of these parts, and of the missing jobs that they need (a later call may run on a
    fresh machine)."""
    jobs = {job.name: job for wave in waves for job in wave}
    names = {name for name, job in jobs.items() if job.part in parts}
    for name in sorted(names, key=list(jobs).index, reverse=True):
        for need in jobs[name].needs:
            there = report.status(need) == "ok" and (folder / jobs[need].product).exists()
            if need not in names and not there:
                names |= {need, *jobs[need].needs}
                print(f"part {jobs[need].part} {need}: added, {name} needs it")
    return names


def _run_wave(
    jobs: Sequence[Job], report: Report, deadline: float, out: Path, folder: Path, small: bool
) -> None:
    running = []
    for job in jobs:
        why = _obstacle(job, report, deadline)
        if why:
            print(f"part {job.part} {job.name}: skipped, {why}", flush=True)
            report.note(job, status="skipped", why=why)
            continue
        report.held.setdefault("jobs", {})[job.name] = {"part": job.part, "status": "running"}
        running.append(_start(job, deadline, out, folder, small))
    while running:
        time.sleep(POLL)
        for one in list(running):
            found = one.fresh()
            if found is not None:
                report.note(one.job, figures=found)
            if _ended(one, report, deadline):
                running.remove(one)


def _obstacle(job: Job, report: Report, deadline: float) -> str:
    """Why a job is not started, "" for nothing."""
    machine = report.held.get("jobs", {}).get("facts", {}).get("figures", {})
    if job.only == "unsloth" and not machine.get("unsloth_here"):
        return NO_UNSLOTH
    for need in job.needs:
        if report.status(need) != "ok":
            return f"{need} {report.status(need) or 'has not run'}"
    left = deadline - time.monotonic()
    return f"{max(0.0, left):.0f} s are left, it needs {job.least:.0f}" if left < job.least else ""


def _start(job: Job, deadline: float, out: Path, folder: Path, small: bool) -> Running:
    limit = min(600.0 if small else job.limit, deadline - time.monotonic())
    result = folder / f"{job.name}.json"
    result.unlink(missing_ok=True)
    command = [*WORKER, *job.arguments, "--folder", str(folder), "--result", str(result)]
    paths = [str(HERE), str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH", "")])]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "UNSLOTH_ENABLE_LOGGING": "1",
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
    }
    print(f"part {job.part} {job.name}: started, {limit:.0f} s at most", flush=True)
    with open(out / "logs" / f"{job.name}.log", "wb") as log:
        process = subprocess.Popen(
            [*command, *(["--small"] if small else [])],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Running(job, process, result, time.monotonic(), limit)


def _ended(one: Running, report: Report, deadline: float) -> bool:
    """Whether the job is over; if so its outcome is recorded."""
    took = time.monotonic() - one.began
    if one.process.poll() is None and took < one.limit:
        return False
    over = one.process.poll() is None
    one.end()
    found = one.fresh()
    if found is not None:
        report.note(one.job, figures=found)
    status = "timed out" if over else "ok" if one.process.returncode == 0 else "failed"
    report.note(one.job, status=status, seconds=round(took, 1))
    last = "" if status == "ok" else f": {_last_line(report.path.parent / 'logs' / f'{one.job.name}.log')}"
    print(f"part {one.job.part} {one.job.name}: {status} after {took:.0f} s{last}", flush=True)
    if status == "failed":
        report.note(one.job, why=last.removeprefix(": "))
    return True


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"


def _parity_holds(report: Report) -> bool:
    """Compare the results of part 1 so far; checks that did not run are not compared."""
    jobs = report.held["jobs"]
    figures = {
        name.removeprefix("parity-"): job.get("figures", {})
        for name, job in jobs.items()
        if name.startswith("parity-")
    }
    checks, before = parity(figures), report.held.get("parity", {})
    report.held["parity"] = checks
    report.write()
    for name, check in checks.items():
        if before.get(name) == check:
            continue
        print(
            f"  {'holds ' if check['holds'] else 'FAILS '} {name}: {check['found']} (bound {check['bound']})",
            flush=True,
        )
    ended = all(job.get("status") in ("ok", "skipped") for job in jobs.values() if job["part"] == 1)
    return ended and all(check["holds"] for check in checks.values())


def numbers(text: str) -> list[int]:
    """ "0-1,5" -> [0, 1, 5]. Raises ValueError for anything else, and for parts that do not exist."""
    found: list[int] = []
    for piece in text.split(","):
        first, dash, last = piece.partition("-")
        found += range(int(first), int(last if dash else first) + 1)
    known = {job.part for wave in WAVES for job in wave}
    if not found or not set(found) <= known:
        raise ValueError(f"parts are 0 to {max(known)}, like 0-1 or 2,5-8")
    return found


def ended_badly(report: Report, parts: Sequence[int], waves: Any = WAVES) -> Iterator[str]:
    """Jobs of the requested parts that did not succeed, including failed parity checks. Skipped because the
    machine does not fit is not a failure; skipped for lack of time or of a needed job is."""
    for job in (job for wave in waves for job in wave if job.part in parts):
        held = report.held.get("jobs", {}).get(job.name, {})
        if held.get("status") != "ok" and held.get("why") != NO_UNSLOTH:
            yield f"{job.name}: {held.get('status', 'not started')}"
    yield from (
        f"parity, {name}" for name, check in report.held.get("parity", {}).items() if not check["holds"]
    )


def main(asked: Sequence[str] | None = None, run: Callable[..., Report] = drive) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--parts", type=numbers, default="0-8", metavar="0-8", help="which parts, like 0-1 or 2,5-8"
    )
    parser.add_argument("--minutes", type=float, default=9.0, help="stop after this many minutes (default 9)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/gpu"),
        help="folder of results.json and logs (default runs/gpu)",
    )
    parser.add_argument("--folder", type=Path, help="folder for models and runs: 20 GB (default: OUT/work)")
    parser.add_argument(
        "--real", type=Path, help="folder of part 9: smol's file, chains, pairs, held-out pairs"
    )
    parser.add_argument("--small", action="store_true", help="in miniature, for a CPU")
    args = parser.parse_args(asked)
    out, folder = args.out.resolve(), (args.folder or args.out / "work").resolve()
    if REAL in args.parts:
        if args.real is None:
            parser.error(f"part {REAL} needs --real FOLDER, see gpu/smol.py")
        os.environ |= {"RMR1_GPU_REAL": str(args.real.resolve()), "RMR1_CACHE": str(folder)}
    report = run(args.parts, args.minutes, out, folder, args.small)
    wrong = list(ended_badly(report, args.parts))
    print(f"{report.path}: {'; '.join(wrong) if wrong else 'all requested parts finished'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

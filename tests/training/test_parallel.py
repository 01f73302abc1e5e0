"""Parallel processes: never more than requested, each with its share of the cores, and one failure stops them
all."""

from __future__ import annotations

import os
import sys
import time
from itertools import chain

import pytest

from rmr1_lite.config import ReproduceConfig
from rmr1_lite.reproduce import _seed_commands
from rmr1_lite.training.parallel import run_all, threads_per_job
from rmr1_lite.types import TrainingStopped


def script(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_all_run_in_order_and_never_more_than_asked(tmp_path):
    seen = []
    code = "import os, time; print(os.environ['OMP_NUM_THREADS']); time.sleep(0.3)"
    run_all({name: script(code) for name in "abcd"}, tmp_path, 2, seen.append, poll=0.02)
    assert max(map(len, seen)) == 2 and seen[0] == ["a", "b"]
    assert list(dict.fromkeys(chain(*seen))) == list("abcd"), (
        "started in order; which ends first is the machine's affair"
    )
    assert {(tmp_path / f"{name}.log").read_text().strip() for name in "abcd"} == {str(threads_per_job(2))}


def test_a_failure_is_told_with_the_end_of_its_log_and_stops_the_others(tmp_path):
    slow = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    bad = "import sys, time; time.sleep(0.5); print('the last words'); sys.exit(3)"
    started = time.monotonic()
    with pytest.raises(TrainingStopped, match="bad ended with status 3(.|\n)*the last words"):
        run_all({"slow": script(slow), "bad": script(bad)}, tmp_path, 2, lambda _: None, poll=0.02)
    assert time.monotonic() - started < 20
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.parametrize(("jobs", "wanted"), [(1, os.cpu_count()), (10_000, 1)])
def test_threads_share_the_cores(jobs, wanted):
    assert threads_per_job(jobs) == wanted


def test_each_seed_gets_the_same_command_with_its_seed(tmp_path):
    made = _seed_commands(ReproduceConfig(out=str(tmp_path), seeds=2, longer_sft=0, steps=7))
    assert list(made) == ["seed0", "seed1"]
    for seed, command in enumerate(made.values()):
        assert (
            command[command.index("--only-seed") + 1] == str(seed)
            and command[command.index("--longer-sft") + 1] == "0"
        )
        assert command[command.index("--steps") + 1] == "7" and command[command.index("--out") + 1] == str(
            tmp_path
        )

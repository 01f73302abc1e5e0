"""A Ctrl-C at every single instruction of the waiting: what comes after it must still see the child end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from rmr1_lite.children import ended, reaped


def interrupted(work: Callable[[], Any], at: int) -> bool:
    """Run it with a KeyboardInterrupt at the at-th instruction; False if it has fewer."""
    left = [at]

    def trace(frame: Any, event: str, argument: Any) -> Any:
        frame.f_trace_opcodes = True
        if event == "opcode":
            left[0] -= 1
            if left[0] < 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    former = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(former)
    return False


def sleeper() -> subprocess.Popen[bytes]:
    return reaped(subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"]))


def test_an_interrupt_anywhere_leaves_the_child_waitable():
    for at in count():
        child = sleeper()
        hit = interrupted(lambda child=child: ended(child), at)
        child.kill()
        assert ended(child, within=20), f"interrupted at instruction {at}"
        if not hit:
            break
    assert at > 10


def test_the_wait_of_the_standard_library_does_not_survive_that():
    """Why there is a module of our own; when this fails, Python has mended it."""
    stuck = False
    for at in count():
        child = subprocess.Popen([sys.executable, "-S", "-c", "pass"])
        hit = interrupted(child.poll, at)
        free = child._waitpid_lock.acquire(timeout=1)  # type: ignore[attr-defined]
        stuck |= not free
        if free:
            child._waitpid_lock.release()  # type: ignore[attr-defined]
            child.wait()
        if not hit or stuck:
            break
    assert stuck


@pytest.mark.parametrize("status", [0, 3])
def test_the_status_is_stored(status: int):
    child = reaped(subprocess.Popen([sys.executable, "-S", "-c", f"raise SystemExit({status})"]))
    assert ended(child, within=20) and child.returncode == status

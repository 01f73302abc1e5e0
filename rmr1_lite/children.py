"""Waiting for child processes so that a signal can come at any moment.

subprocess.Popen's poll() and wait(timeout) take a lock before they enter the block that releases it. A Ctrl-C
between the two leaves the lock taken, and the next wait() lasts for ever (seen once in 75 interrupts). So a
thread waits, where no signal handler runs, and the main thread only reads what that thread has stored.
"""

from __future__ import annotations

import subprocess
import time
from threading import Thread
from typing import Any

PAUSE = 0.02  # seconds between two looks at a child


def reaped(child: subprocess.Popen[Any]) -> subprocess.Popen[Any]:
    """The child itself. From now on its returncode is set when it ends; ask `ended`, never child.poll()."""
    Thread(target=child.wait, name=f"wait for {child.pid}", daemon=True).start()
    return child


def ended(child: subprocess.Popen[Any], within: float = 0.0) -> bool:
    """Whether a reaped child ends within so many seconds. Ctrl-C interrupts it and harms nothing."""
    deadline = time.monotonic() + within
    while child.returncode is None and time.monotonic() < deadline:
        time.sleep(PAUSE)
    return child.returncode is not None

"""Makes a large card small: a process that occupies all of its memory except a given number of GiB.

A cap on torch's allocator is not enough. Unsloth asks the driver how much is free and sizes its chunks by
that, so under a cap it would behave as on the large card. With the memory actually occupied, every library
sees a small card's memory. It does not imitate the small card's cores: say "capped at 14.5 GiB", not "a
T4".

    with held(14.5): ...        # inside, all processes see 14.5 GiB
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rmr1_lite.types import InputError

GIB = 2**30
READY = "ready"


@contextmanager
def hold_card_memory(leave_gib: float) -> Iterator[float]:
    """Occupy the card's memory except `leave_gib` while the block runs; yields the GiB that are free then.

    Raises InputError if there is no card, or less than that is free.
    """
    command = [sys.executable, "-m", "rmr1_lite.training.planning.ballast", str(leave_gib)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        said = ""
        assert process.stdout is not None  # a pipe was asked for
        for line in process.stdout:
            said = line.strip()
            if said.startswith(READY):
                break
        if not said.startswith(READY):
            raise InputError(
                f"The card's memory could not be occupied: {said or 'the process printed nothing'}."
            )
        yield float(said.split()[1])
    finally:
        process.kill()
        process.wait()


def main(leave_gib: float) -> None:
    """Occupy the memory, print how much is left, and hold it until standard input ends: when the parent dies
    it is released too."""
    import torch

    if not torch.cuda.is_available():
        print("there is no CUDA card", flush=True)
        sys.exit(1)
    torch.cuda.init()
    # the first tensor creates the context, which takes memory itself
    block = torch.empty(1, device="cuda")
    free, _ = torch.cuda.mem_get_info()
    take = free - int(leave_gib * GIB)
    if take < 0:
        print(f"only {free / GIB:.1f} GiB are free, not {leave_gib}", flush=True)
        sys.exit(1)
    block = torch.empty(take, dtype=torch.uint8, device="cuda")
    free, _ = torch.cuda.mem_get_info()
    print(READY, round(free / GIB, 2), flush=True)
    sys.stdin.read()
    del block


if __name__ == "__main__":
    main(float(sys.argv[1]))

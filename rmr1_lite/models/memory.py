"""How much memory of this machine a program may still take, so that too little is told before it swaps."""

from __future__ import annotations

from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")  # of a container: its limit, which the machine's figures do not know


def available_memory() -> int:
    """Bytes that can be taken without swapping: of the machine, or what a container's limit leaves."""
    import psutil

    free = psutil.virtual_memory().available
    return min(free, _left_in_container(CGROUP) or free)


def _left_in_container(root: Path) -> int | None:
    """Bytes that a container's limit leaves; None without one. What it caches of files can be given back."""
    try:
        limit, used = (root / "memory.max").read_text().strip(), (root / "memory.current").read_text()
        if limit == "max":
            return None
        cached = dict(line.split() for line in (root / "memory.stat").read_text().splitlines())
        return max(0, int(limit) - int(used) + int(cached.get("inactive_file", 0)))
    except (OSError, ValueError):
        return None


def gib(count: float) -> str:
    """Bytes in words, as "1.6 GiB"."""
    return f"{count / 2**30:.1f} GiB"

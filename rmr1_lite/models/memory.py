"""How much memory of this machine is still available, so that a shortage is reported before it swaps."""

from __future__ import annotations

from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")  # of a container: its limit, which the machine's own numbers ignore


def available_memory() -> int:
    """Bytes available without swapping: on the machine, or below a container's limit."""
    import psutil

    free = psutil.virtual_memory().available
    return min(free, _left_in_container(CGROUP) or free)


def _left_in_container(root: Path) -> int | None:
    """Bytes left below a container's limit; None without one. Its file cache can be reclaimed."""
    try:
        limit, used = (root / "memory.max").read_text().strip(), (root / "memory.current").read_text()
        if limit == "max":
            return None
        cached = dict(line.split() for line in (root / "memory.stat").read_text().splitlines())
        return max(0, int(limit) - int(used) + int(cached.get("inactive_file", 0)))
    except (OSError, ValueError):
        return None


def gib(count: float) -> str:
    """Bytes as text, like "1.6 GiB"."""
    return f"{count / 2**30:.1f} GiB"

"""Part 0: the machine. Installed packages, free memory and disk, and nano's data for the other parts."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from gpu.common import GIB, Place

PACKAGES = (
    "torch",
    "triton",
    "transformers",
    "trl",
    "peft",
    "bitsandbytes",
    "accelerate",
    "datasets",
    "tokenizers",
    "unsloth",
    "unsloth_zoo",
    "numpy",
    "safetensors",
)
SMI = ("name", "memory.total", "memory.used", "driver_version", "power.limit", "clocks.max.sm")


def facts(place: Place) -> Iterator[dict[str, Any]]:
    """In the order of usefulness when something breaks."""
    yield {
        "machine": platform.machine(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "smi": smi(),
        "versions": versions(),
        "gcc": shutil.which("gcc") is not None,
    }
    yield {
        "disk_free_gib": round(shutil.disk_usage(place.folder).free / GIB, 1),
        "write_mib_per_s": write_speed(place),
    }
    from rmr1_lite.models.backend import this_machine

    machine = this_machine()
    yield {
        "card": machine.card or "none",
        "capability": machine.capability,
        "unsloth_here": machine.capability is not None and machine.has_unsloth,
        "smi_after_asking": smi(),
    }
    import bitsandbytes
    import torch

    yield {
        "cuda": torch.version.cuda,
        "bitsandbytes_library": str(getattr(bitsandbytes.functional.lib, "_lib", "CPU"))[:200],
    }
    from rmr1_lite.data.nano.dataset import NanoData, write_nano_data

    if not (place.data / "chains.jsonl").exists():
        write_nano_data(
            place.data,
            NanoData(train=200 if place.small else 2000, validation=40, test=8 if place.small else 100),
        )
    yield {"nano": str(place.data.name)}


def versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def smi() -> dict[str, str] | str:
    """The driver's facts about the first card."""
    if shutil.which("nvidia-smi") is None:
        return "no nvidia-smi"
    command = ["nvidia-smi", f"--query-gpu={','.join(SMI)}", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    if done.returncode:
        return done.stderr.strip()[:300] or "nvidia-smi failed"
    return dict(zip(SMI, (part.strip() for part in done.stdout.splitlines()[0].split(",")), strict=False))


def write_speed(place: Place, mib: int = 256) -> float:
    """MiB per second to the models' disk."""
    path, block = place.folder / "write-speed", os.urandom(1 << 20)
    began = time.perf_counter()
    with open(path, "wb") as file:
        for _ in range(16 if place.small else mib):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    took = time.perf_counter() - began
    path.unlink()
    return round((16 if place.small else mib) / took)

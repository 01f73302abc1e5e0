"""verl's environment for these tests: `make scale-env`, or a Python named by RMR1_SCALE_PYTHON; without it
they are skipped, or fail where CI is set."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(__file__).parent / "in_verl"
VARIABLE = "RMR1_SCALE_PYTHON"
# one thread, and time for Ray to start beside other work
SETTINGS = {
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_raylet_start_wait_time_s": "180",
    "HF_HUB_OFFLINE": "1",
    "HYDRA_FULL_ERROR": "1",
}


@pytest.fixture(scope="session")
def verl_python() -> str:
    """An interpreter that has verl."""
    given = os.environ.get(VARIABLE)
    path = Path(given) if given else ROOT / ".venv-scale" / "bin" / "python"
    if not path.is_file():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            f"no verl here: `make scale-env` makes {path}, or set {VARIABLE} to a Python that has verl"
        )
    return str(path)


@pytest.fixture(scope="session")
def in_verl(verl_python: str) -> Callable[..., str]:
    """Runs a script of tests/scale/in_verl with verl's Python; returns what it printed."""

    def run(script: str, *arguments: object, timeout: float = 500) -> str:
        command = [verl_python, str(SCRIPTS / script), *map(str, arguments)]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=environment(),
        )
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    return run


def environment() -> dict[str, str]:
    """Of verl's processes. The kit is not on their path: what they use of it lies in the folder."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "RAY_ADDRESS")}
    return kept | SETTINGS

"""Do the pins and the wheel's extras resolve on untested platforms? Windows, macOS and Linux, Python 3.11
to 3.13, from the index's metadata and with wheels only: a solution found here needs no compiler there.

    make pins

By hand, not in CI: it needs the index and seven minutes. Exit status 1 when a combination does not resolve.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import tomllib

ROOT = Path(__file__).parents[2]
PYTHONS = ("3.11", "3.12", "3.13")
# name -> (what uv calls it, environment). torch 2.13 has wheels from macOS 14 on; uv asks for 13 by itself
PLATFORMS = {
    "Windows x86-64": ("x86_64-pc-windows-msvc", {}),
    "macOS 14 arm64": ("aarch64-apple-darwin", {"MACOSX_DEPLOYMENT_TARGET": "14.0"}),
    "Linux x86-64": ("x86_64-unknown-linux-gnu", {}),
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# what is installed together, and where
LISTS = (
    (("requirements.txt", "requirements-dev.txt"), tuple(PLATFORMS)),
    # Unsloth on macOS runs on MLX, not on this kit's code
    (("requirements-gpu.txt",), ("Windows x86-64", "Linux x86-64")),
    # the wheel: light, and with all extras that do not need a card
    (("pyproject.toml",), tuple(PLATFORMS)),
    (
        (
            "pyproject.toml",
            *(f"--extra={name}" for name in PROJECT["optional-dependencies"] if name != "gpu"),
        ),
        tuple(PLATFORMS),
    ),
    (("pyproject.toml", "--extra=gpu"), ("Windows x86-64", "Linux x86-64")),
)


def resolve(files: tuple[str, ...], platform: str, python: str) -> tuple[int, str]:
    """(packages in the solution, the error or "")."""
    target, extra = PLATFORMS[platform]
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate"]
    command += ["--python-platform", target, "--python-version", python, "--only-binary", ":all:"]
    done = subprocess.run(
        [*command, *files], cwd=ROOT, env={**os.environ, **extra}, capture_output=True, text=True
    )
    count = sum("==" in line for line in done.stdout.splitlines())
    return count, done.stderr.strip() if done.returncode else ""


def main() -> None:
    """One line for every combination."""
    failed = 0
    for files, platforms in LISTS:
        for platform in platforms:
            for python in PYTHONS:
                count, wrong = resolve(files, platform, python)
                failed += bool(wrong)
                outcome = f"does not resolve\n{wrong}" if wrong else f"{count} packages"
                print(f"{' + '.join(files)}, {platform}, Python {python}: {outcome}", flush=True)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()

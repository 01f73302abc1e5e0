"""pip for the set-up: run it, hold the running packages, and detect those replaced while in use."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution, distributions, version
from pathlib import Path

from rmr1_lite.notebook.platforms import KAGGLE
from rmr1_lite.types import InputError


def requirement_lines(path: Path) -> list[str]:
    """The requirements of a file, without comments and options."""
    text = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in text if line and not line.startswith("-")]


def requirement_name(requirement: str) -> str:
    """The package name of a requirement."""
    from packaging.requirements import Requirement

    return Requirement(requirement).name


def missing_requirements(requirements: Iterable[str], found: Callable[[str], str | None]) -> list[str]:
    """Requirements that no installed version satisfies."""
    from packaging.requirements import Requirement

    parsed = {line: Requirement(line) for line in requirements}
    return [
        line
        for line, wanted in parsed.items()
        if (have := found(wanted.name)) is None or not wanted.specifier.contains(have, prereleases=True)
    ]


def installed_version(name: str) -> str | None:
    """The installed version of a package, None without one."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def constraint_options(names: Iterable[str]) -> list[str]:
    """pip options that hold these packages as they are."""
    held = [f"{name}=={number}" for name in names if (number := installed_version(name))]
    path = Path(tempfile.gettempdir()) / "rmr1_lite_held.txt"
    path.write_text("\n".join(held) + "\n", encoding="utf-8")
    return ["--constraint", str(path)]


def pip_install(arguments: Sequence[str], what: str, where: str) -> None:
    """Install with pip. Raises InputError with pip's message and the remedy on Colab or Kaggle."""
    done = _run_pip(["install", "--quiet", *wheel_options(), *arguments])
    if done.returncode:
        said = (
            " ".join(line for line in done.stderr.splitlines() if line.startswith("ERROR"))
            or "pip gave no reason."
        )
        remedy = (
            "Turn Internet on in the notebook's settings, or add a dataset with a folder `wheels`."
            if where == KAGGLE
            else "Check the connection and run the cell again."
        )
        raise InputError(f"pip could not install {what}: {said} {remedy}")


def pip_uninstall(name: str) -> bool:
    """Uninstall a package; returns whether pip succeeded. Only for runtimes that are discarded."""
    return not _run_pip(["uninstall", "--quiet", "--yes", name]).returncode


def _run_pip(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-m", "pip", *arguments], capture_output=True, text=True)
    # a finder that listed the folder earlier does not see files that pip wrote within the last second
    importlib.invalidate_caches()
    return done


def wheel_options(inputs: Path = Path("/kaggle/input")) -> list[str]:
    """pip options for wheels added as a dataset, so that a notebook without internet can
    install."""
    folders = (
        [folder for folder in inputs.glob("**/wheels") if any(folder.glob("*.whl"))]
        if inputs.is_dir()
        else []
    )
    return [part for folder in folders for part in ("--find-links", str(folder))] + (
        ["--no-index"] if folders else []
    )


def all_versions() -> dict[str, str]:
    """Every installed package -> its version. If one is in two folders the first is in use."""
    return {found.name: found.version for found in reversed(list(distributions())) if found.name}


def replaced_in_use(before: Mapping[str, str], loaded: Iterable[str]) -> list[str]:
    """Packages whose version differs from `before` although one of their modules was loaded: the
    kernel still uses a part of the old one and would load the rest from the new one.

    loaded: names of modules, as in sys.modules, from before pip ran.
    """
    tops = {name.partition(".")[0] for name in loaded}
    return [
        f"{name} {old} (now {new})"
        for name, old in sorted(before.items())
        if (new := installed_version(name)) not in (None, old) and tops & set(_modules_of(name))
    ]


def _modules_of(name: str) -> Iterator[str]:
    """The top-level modules of an installed package: PIL for pillow."""
    for path in distribution(name).files or ():
        if path.suffix == ".py" or len(path.parts) > 1:
            yield path.parts[0].removesuffix(".py")

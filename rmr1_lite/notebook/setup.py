"""The notebooks' first cell: install what is missing without touching torch and numpy, say what is there, and
what was tested.

On Colab and Kaggle torch is running already; replacing it breaks the session. So packages that are installed
are held by a constraint file, and only what is missing or of an untested version is added. Elsewhere nothing
is installed at all.

    from rmr1_lite.notebook.setup import set_up
    set_up(root, "the checkout")
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rmr1_lite.models.backend import TESTED, installed_versions, this_machine, untested_versions
from rmr1_lite.notebook.platforms import KAGGLE, LOCAL, detect_platform
from rmr1_lite.presets import for_memory
from rmr1_lite.types import InputError

# what runs before the first cell does: replaced under a running kernel it breaks the session
HELD = ("torch", "torchvision", "torchaudio", "triton", "numpy")
# held too, unless what is needed cannot be had beside them: then the runtime must be restarted
RATHER_HELD = {"pillow": "PIL", "pandas": "pandas"}  # package -> what it is imported as
REQUIREMENTS, GPU_REQUIREMENTS = "requirements-colab.txt", "requirements-gpu.txt"
QUIET = {
    "TOKENIZERS_PARALLELISM": "false",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "UNSLOTH_DISABLE_STATISTICS": "1",
}


def set_up(root: Path, how: str) -> None:
    """Make the kit at `root` usable in this kernel and print one line for everything that a reader may have
    to know.

    how: where it was found. Raises InputError when packages are missing and cannot be installed.
    """
    where = detect_platform(os.environ)
    print(f"Kit: {root} ({how}), on {where}")
    silence_libraries()
    one_gpu(where)
    install_missing(Path(root), where)
    machine = this_machine()
    found_card = f"{machine.describe()}, preset {for_memory(machine.memory_gib)}"
    print(
        f"GPU: {found_card if machine.capability else 'none; the notebooks run on the embedded nano model'}"
    )
    found = {"python": sys.version.split()[0], **installed_versions()}
    print("Versions: " + ", ".join(f"{name} {number}" for name, number in found.items()))
    notes = untested_versions(installed_versions(TESTED))
    print(
        "This combination has been tested." if not notes else "Not tested together: " + "; ".join(notes) + "."
    )


def silence_libraries() -> None:
    """Leave out what the libraries say to developers; errors and our own notes stay."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", message="IProgress not found")
    logging.getLogger("httpx").setLevel(logging.WARNING)


def one_gpu(where: str) -> None:
    """Kaggle gives two T4s; training takes one. It must be chosen before torch looks."""
    if where == KAGGLE and "CUDA_VISIBLE_DEVICES" not in os.environ and "torch" not in sys.modules:
        os.environ["CUDA_VISIBLE_DEVICES"] = "0"
        print("Kaggle: the first GPU is used; a second one stays free.")


def install_missing(root: Path, where: str) -> None:
    """Add what is missing on Colab and Kaggle; elsewhere only say what is."""
    wanted = missing_requirements(requirement_lines(root / REQUIREMENTS), installed_version)
    if where == LOCAL:
        if wanted:
            remedy = (
                "`make .venv` or `pip install -r requirements.txt`, and choose that environment as "
                "the notebook's kernel"
            )
            raise InputError(f"Missing here: {', '.join(wanted)}. Install: {remedy}.")
        return
    if wanted:
        _add_packages(wanted, where)
    if this_machine().capability and (
        kernels := missing_requirements(_unsloth_pins(root), installed_version)
    ):
        try:
            _run_pip(["--no-deps", *kernels], "Unsloth", where)
        except InputError as error:
            print(f"Unsloth could not be installed, so the slower transformers backend is used. {error}")


def _add_packages(wanted: Sequence[str], where: str) -> None:
    print(f"Installing {len(wanted)} packages, about two minutes ...")
    before = {name: installed_version(name) for name in RATHER_HELD}
    try:
        _run_pip([*wanted, *_constraint_options((*HELD, *RATHER_HELD))], "the packages", where)
    except InputError as error:
        if "conflict" not in str(error):
            raise
        _run_pip([*wanted, *_constraint_options(HELD)], "the packages", where)
    print(f"Installed: {', '.join(wanted)}")
    replaced = [name for name in map(_requirement_name, wanted) if name in sys.modules]
    replaced += [
        name
        for name, module in RATHER_HELD.items()
        if installed_version(name) != before[name] and module in sys.modules
    ]
    if replaced:
        print(
            f"Restart the runtime now, then run this cell again: {', '.join(replaced)} was in use while it "
            "was replaced."
        )


def requirement_lines(path: Path) -> list[str]:
    """The requirements of a file, without comments and options."""
    text = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in text if line and not line.startswith("-")]


def missing_requirements(requirements: Iterable[str], found: Callable[[str], str | None]) -> list[str]:
    """Requirements that no installed version satisfies."""
    from packaging.requirements import Requirement

    parsed = {line: Requirement(line) for line in requirements}
    have = {line: found(wanted.name) for line, wanted in parsed.items()}
    return [
        line
        for line, wanted in parsed.items()
        if have[line] is None or not wanted.specifier.contains(have[line], prereleases=True)
    ]


def installed_version(name: str) -> str | None:
    """The installed version of a package, None without one."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _requirement_name(requirement: str) -> str:
    from packaging.requirements import Requirement

    return Requirement(requirement).name


def _unsloth_pins(root: Path) -> list[str]:
    return [line for line in requirement_lines(root / GPU_REQUIREMENTS) if line.startswith("unsloth")]


def _constraint_options(names: Iterable[str]) -> list[str]:
    """pip options that hold these packages as they are."""
    held = [f"{name}=={number}" for name in names if (number := installed_version(name))]
    path = Path(tempfile.gettempdir()) / "rmr1_lite_held.txt"
    path.write_text("\n".join(held) + "\n", encoding="utf-8")
    return ["--constraint", str(path)]


def _run_pip(arguments: Sequence[str], what: str, where: str) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", *_wheel_options(), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = (
            " ".join(line for line in done.stderr.splitlines() if line.startswith("ERROR"))
            or "pip said nothing."
        )
        remedy = (
            "Turn Internet on in the notebook's settings, or add a dataset with a folder `wheels`."
            if where == KAGGLE
            else "Check the connection and run the cell again."
        )
        raise InputError(f"pip could not install {what}: {said} {remedy}")


def _wheel_options(inputs: Path = Path("/kaggle/input")) -> list[str]:
    """pip options for wheels that were added as a dataset, so that a notebook without internet can
    install."""
    folders = (
        [folder for folder in inputs.glob("**/wheels") if any(folder.glob("*.whl"))]
        if inputs.is_dir()
        else []
    )
    return [part for folder in folders for part in ("--find-links", str(folder))] + (
        ["--no-index"] if folders else []
    )

"""The notebooks' first cell: install missing packages without touching torch and numpy, report what is
installed, and what was tested.

On Colab and Kaggle torch is already running; replacing it breaks the session. So installed packages
are held by a constraint file, and only missing or untested ones are installed; packages that would break
them are replaced or removed (`rmr1_lite.notebook.clashes`). Elsewhere nothing is changed.

    from rmr1_lite.notebook.setup import set_up
    set_up(root, "the checkout")
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rmr1_lite.environment import prepare_process
from rmr1_lite.models.backend import TESTED, installed_versions, this_machine, untested_versions
from rmr1_lite.notebook.clashes import HELD, add_unsloth_needs, find_clashes, mend_clashes
from rmr1_lite.notebook.installing import (
    all_versions,
    constraint_options,
    installed_version,
    missing_requirements,
    pip_install,
    replaced_in_use,
    requirement_lines,
    requirement_name,
)
from rmr1_lite.notebook.platforms import KAGGLE, LOCAL, SAVING, detect_platform
from rmr1_lite.presets import for_memory
from rmr1_lite.types import InputError

# also held, unless the requirements cannot be installed with them: then the runtime must be restarted
RATHER_HELD = ("pillow", "pandas")
REQUIREMENTS, GPU_REQUIREMENTS = "requirements-colab.txt", "requirements-gpu.txt"
QUIET = {
    "TOKENIZERS_PARALLELISM": "false",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}


def set_up(root: Path, how: str) -> None:
    """Make the kit at `root` usable in this kernel and print one line for everything that a reader may need
    to know.

    how: where it was found. Raises InputError when packages are missing and cannot be installed.
    """
    where = detect_platform(os.environ)
    print(f"Kit: {root} ({how}), on {where}")
    one_gpu(where)
    silence_libraries()
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
    """Hide the libraries' messages to developers; errors and our own notes stay."""
    prepare_process()
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", message="IProgress not found")
    logging.getLogger("httpx").setLevel(logging.WARNING)


def one_gpu(where: str) -> None:
    """Kaggle has two T4s; training uses one. It must be chosen before torch looks for GPUs."""
    if where == KAGGLE and "CUDA_VISIBLE_DEVICES" not in os.environ and "torch" not in sys.modules:
        os.environ["CUDA_VISIBLE_DEVICES"] = "0"
        print("Kaggle: the first GPU is used; the second one stays free.")


def install_missing(root: Path, where: str) -> None:
    """Install missing packages on Colab and Kaggle and fix clashes; elsewhere only report them.

    Raises InputError when something cannot be installed, and when the session must be restarted.
    """
    wanted = missing_requirements(requirement_lines(root / REQUIREMENTS), installed_version)
    if where == LOCAL:
        if wanted:
            remedy = (
                "`make .venv` or `pip install -r requirements.txt`, and choose that environment as "
                "the notebook's kernel"
            )
            raise InputError(f"Missing packages: {', '.join(wanted)}. Install them: {remedy}.")
        mend_clashes(find_clashes(), where)
        return
    before, loaded = all_versions(), set(sys.modules)
    if wanted:
        _add_packages(wanted, where)
    # even if nothing was missing: the runtime may have been changed by hand since
    mend_clashes(find_clashes(), where)
    if this_machine().capability:
        _add_unsloth(root, where)
    _ask_for_restart(before, loaded)


def _add_packages(wanted: Sequence[str], where: str) -> None:
    print(f"Installing {len(wanted)} packages, about two minutes ...")
    try:
        pip_install([*wanted, *constraint_options((*HELD, *RATHER_HELD))], "the packages", where)
    except InputError as error:
        if "conflict" not in str(error):
            raise
        pip_install([*wanted, *constraint_options(HELD)], "the packages", where)
    print(f"Installed: {', '.join(wanted)}")


def _add_unsloth(root: Path, where: str) -> None:
    """Unsloth without its requirements, which would replace torch; then the missing ones that are safe."""
    pins = [line for line in requirement_lines(root / GPU_REQUIREMENTS) if line.startswith("unsloth")]
    try:
        if kernels := missing_requirements(pins, installed_version):
            pip_install(["--no-deps", *kernels], "Unsloth", where)
    except InputError as error:
        print(f"Unsloth could not be installed, so the slower transformers backend is used. {error}")
        return
    ours = map(requirement_name, requirement_lines(root / REQUIREMENTS))
    add_unsloth_needs(where, hold=(*HELD, *RATHER_HELD, *ours))


def _ask_for_restart(before: Mapping[str, str], loaded: Iterable[str]) -> None:
    """Stop "Run all" if the kernel uses a part of a package that was replaced: the rest of it would
    come from the new version and fail in a later cell (pyarrow's "size changed, may indicate binary
    incompatibility")."""
    if not (replaced := replaced_in_use(before, loaded)):
        return
    in_use = f"in use while they were replaced: {', '.join(replaced)}"
    if os.environ.get(SAVING[0]) == SAVING[1]:
        print(f"A saved version cannot restart its session, so these may fail below; {in_use}.")
        return
    raise InputError(
        "The packages are installed. Restart the session now (Colab: Runtime > Restart session; Kaggle: "
        f"Run > Restart), then run all cells again; {in_use}."
    )

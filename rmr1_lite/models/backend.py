"""The backend: Unsloth on a GPU that it supports, otherwise transformers + PEFT + bitsandbytes. Chosen before
anything is imported.

Unsloth patches transformers, PEFT and TRL when it is imported and needs a GPU for that, so the choice comes
first and holds for the process. Both backends receive every setting and train the same thing; their
differences are handled here.

    backend = start_backend("auto", folder)      # prints one line: the choice and its reason
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rmr1_lite.environment import prepare_card, prepare_environment
from rmr1_lite.extras import install_line
from rmr1_lite.models.precision import half_precision
from rmr1_lite.storage import write_json
from rmr1_lite.types import InputError

# versions that were tested together; others may work
TESTED = {
    "torch": "2.13.0",
    "transformers": "5.17.0",
    "trl": "1.14.2",
    "peft": "0.21.2",
    "bitsandbytes": "0.50.2",
    "datasets": "4.8.5",
    "unsloth": "2026.10.7",
    "unsloth_zoo": "2026.10.7",
}
# packages whose versions a run folder and results.json record
PACKAGES = ("torch", "transformers", "trl", "peft", "bitsandbytes", "datasets", "unsloth")
LEAST_CAPABILITY = (7, 0)
CACHE = "unsloth_compiled_cache"


@dataclass(frozen=True)
class Backend:
    """name: "unsloth" or "transformers". half: "bf16", "fp16", or "fp32" where there is no GPU."""

    name: str
    half: str
    device: str
    why: str

    @property
    def unsloth(self) -> bool:
        return self.name == "unsloth"

    def line(self) -> str:
        """One line at the start of a run."""
        return f"Backend: {self.name}, {self.half}, on {self.device} ({self.why})"


@dataclass(frozen=True)
class Machine:
    """What the choice depends on. capability: of the CUDA card, None without one. memory_gib: of the card."""

    card: str = ""
    capability: tuple[int, int] | None = None
    has_unsloth: bool = False
    memory_gib: float = 0.0

    @property
    def half(self) -> str:
        """The 16-bit type of the card, fp32 without one."""
        return half_precision(self.capability)

    def describe(self) -> str:
        """The card's name, memory and type, "" without one."""
        return f"{self.card}, {self.memory_gib:.1f} GiB, {self.half}" if self.capability else ""


def choose_backend(asked: str, machine: Machine) -> Backend:
    """The backend for `asked` (auto, unsloth, transformers) on a machine. Raises InputError for an impossible
    choice."""
    if asked not in ("auto", "unsloth", "transformers"):
        raise InputError(f"backend is {asked!r}. Choose auto, unsloth or transformers.")
    if machine.capability is None:
        if asked == "unsloth":
            raise InputError(
                "Unsloth needs a CUDA card and none was found. Choose --backend transformers, or a GPU "
                "runtime."
            )
        return Backend("transformers", "fp32", "CPU", "no CUDA card")
    old = machine.capability < LEAST_CAPABILITY
    if asked == "unsloth" and (old or not machine.has_unsloth):
        reason = "is too old for it" if old else f"does not have unsloth installed ({install_line('gpu')})"
        raise InputError(
            f"backend is unsloth, but this machine ({machine.card}) {reason}. Choose --backend transformers."
        )
    if asked == "transformers" or old or not machine.has_unsloth:
        why = (
            "asked for"
            if asked == "transformers"
            else "too old for Unsloth"
            if old
            else "unsloth is not installed"
        )
        return Backend("transformers", machine.half, machine.card, why)
    return Backend("unsloth", machine.half, machine.card, "a CUDA card and unsloth were found")


def this_machine() -> Machine:
    """The facts of this machine, without importing anything that Unsloth would have to patch.

    Asking for the card's name starts CUDA, whose allocator reads its settings only once, so they are
    set first.
    """
    prepare_card()
    import torch

    has_unsloth = find_spec("unsloth") is not None
    if not torch.cuda.is_available():
        return Machine(has_unsloth=has_unsloth)
    memory = torch.cuda.get_device_properties(0).total_memory / 2**30
    return Machine(torch.cuda.get_device_name(0), torch.cuda.get_device_capability(0), has_unsloth, memory)


def start_backend(asked: str = "auto", folder: str | Path = ".") -> Backend:
    """Choose, report the choice, and import Unsloth first if it is used. folder: for its compiled kernels."""
    backend = choose_backend(asked, this_machine())
    _check_one_card()
    print(backend.line())
    for text in untested_versions(installed_versions(TESTED)):
        print(f"Note: {text}")
    if backend.unsloth:
        _import_unsloth(Path(folder))
    return backend


def _check_one_card() -> None:
    import torch

    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if cards > 1:
        raise InputError(
            f"{cards} CUDA cards are visible, but a training uses one. Set CUDA_VISIBLE_DEVICES=0 before "
            "Python starts (in a notebook: in the first cell of a restarted kernel); another process can "
            "use the other."
        )


def _import_unsloth(folder: Path) -> None:
    """Import Unsloth, which reads its settings on import. It sends no statistics from here."""
    prepare_environment()  # for callers outside the command line
    os.environ["UNSLOTH_COMPILE_LOCATION"] = str(compiled_cache(folder))
    late = [name for name in ("trl", "peft", "transformers") if name in sys.modules]
    if late and "unsloth" not in sys.modules:
        print(
            f"Note: {', '.join(late)} was imported before Unsloth, so some of its kernels are off. Restart "
            "to have them all."
        )
    import unsloth  # noqa: F401
    from trl import GRPOConfig

    if not hasattr(GRPOConfig, "unsloth_num_chunks"):
        raise InputError(
            "Unsloth could not patch TRL (see its warning above). Install the versions that this kit was "
            f"tested with ({install_line('gpu')}), or choose --backend transformers."
        )


def compiled_cache(folder: Path) -> Path:
    """Where Unsloth keeps the trainers and kernels that it generates: `folder`/unsloth_compiled_cache, or the
    folder in UNSLOTH_COMPILE_LOCATION. Code that other versions of the packages left there would be
    imported by name, so it is removed (the kit's folder) or refused (a user's), and reported."""
    own = os.environ.get("UNSLOTH_COMPILE_LOCATION", "")
    place = Path(own).resolve() if own else folder.resolve() / CACHE
    mark, now = place / "versions.json", installed_versions(TESTED)
    then = json.loads(mark.read_text(encoding="utf-8")) if mark.is_file() else {}
    filled = place.is_dir() and any(place.iterdir())
    if own and then and then != now:
        raise InputError(
            f"UNSLOTH_COMPILE_LOCATION is {own}, which holds code generated by other package versions. "
            "Delete that folder, or unset the variable."
        )
    if own and filled:
        return place
    if filled and then != now:
        print(
            f"{place} was made by other package versions: it is removed, and Unsloth generates its "
            "code again."
        )
        shutil.rmtree(place)
    place.mkdir(parents=True, exist_ok=True)
    write_json(mark, now)
    return place


def untested_versions(found: dict[str, str]) -> list[str]:
    """One line for every package whose version was not tested with the others."""
    return [
        f"{name} {now} has not been tested here; {TESTED[name]} has"
        for name, now in found.items()
        if now.partition("+")[0] != TESTED[name]
    ]


def installed_versions(names: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Installed versions of the training packages, or of `names`."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found

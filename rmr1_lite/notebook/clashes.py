"""Preinstalled packages of a runtime that break what the set-up installs; and what Unsloth needs.

A package that is merely installed can break others: peft does not ignore a torchao that is too old for it
but stops, and trl cannot be imported next to a torchvision that was built for another torch. On Colab and
Kaggle, whose runtimes are discarded, such a package is replaced, or removed if that is not possible. On
your own machine nothing is changed: the remedy is printed.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires

from rmr1_lite.notebook.installing import (
    constraint_options,
    installed_version,
    missing_requirements,
    pip_install,
    pip_uninstall,
)
from rmr1_lite.notebook.platforms import LOCAL
from rmr1_lite.types import InputError

# loaded before the first cell: replacing it under a running kernel breaks the session
HELD = ("torch", "torchvision", "torchaudio", "triton", "numpy")
TORCHAO = "torchao>=0.16,<0.18"  # any torch since 2.7
# transformers imports it with every model if it is new enough, peft if a layer is not in 4 bits
RUNS = "import transformers.quantizers.auto; from torchao.utils import TorchAOBaseTensor"
# Below these peft raises ImportError (peft/import_utils.py) at the first layer that is not in 4 bits.
# package -> (least version, what replaces it, what must run then)
LEAST = {"torchao": ("0.16.0", TORCHAO, RUNS), "gptqmodel": ("7.0.0", "", "")}
# package -> (from this version on, it needs this torch)
TORCH_FOR = {"torchao": ("0.18.0", "2.11.0")}
# compiled for one torch, named in their metadata; transformers or trl import them if they are installed
COMPILED = ("torchvision", "xformers", "vllm")
UNSLOTH = ("unsloth", "unsloth_zoo")
# packages that Unsloth lists but the kit does not need, and why
LEFT_OUT = {
    "xformers": "attention runs on torch's own kernels",
    "diffusers": "for image models",
    "torchao": "for formats that the kit does not use",
}


@dataclass(frozen=True)
class Clash:
    """package, version: as installed. reason: what it breaks. better: the requirement to install in its
    place, "" if none is known. check: Python code that must run with it."""

    package: str
    version: str
    reason: str
    better: str = ""
    check: str = ""

    @property
    def remedy(self) -> str:
        """The remedy for the user."""
        remove = f"`pip uninstall {self.package}`"
        return f"`pip install -U '{self.better}'` or {remove}" if self.better else remove


Find = Callable[[str], "str | None"]
Needs = Callable[[str], "list[str]"]


def listed_needs(name: str) -> list[str]:
    """The requirements of an installed package; nothing for one that is not installed."""
    try:
        return requires(name) or []
    except PackageNotFoundError:
        return []


def find_clashes(found: Find = installed_version, needs: Needs = listed_needs) -> list[Clash]:
    """Installed packages that break the kit's dependencies. found: package -> version. needs: package -> its
    requirements."""
    old = [
        Clash(name, have, f"peft stops if it finds a version below {least}", better, check)
        for name, (least, better, check) in LEAST.items()
        if (have := found(name)) and _below(have, least)
    ]
    if not (torch := found("torch")):
        return old
    new = [
        Clash(name, have, f"from {since} on it needs torch {least}, but {torch} is running", *LEAST[name][1:])
        for name, (since, least) in TORCH_FOR.items()
        if (have := found(name)) and not _below(have, since) and _below(torch, least)
    ]
    foreign = [
        Clash(name, have, f"it was built for torch {wanted}, but {torch} is running")
        for name in COMPILED
        if (have := found(name)) and (wanted := _other_torch(needs(name), torch))
    ]
    return old + new + foreign


def _below(version: str, least: str) -> bool:
    from packaging.version import Version

    return Version(version) < Version(least)


def _other_torch(requirements: Iterable[str], torch: str) -> str:
    """The torch that these requirements ask for if a different one is running, else ""."""
    for wanted in _base_requirements(requirements):
        # "==2.11.0" takes 2.11.0+cu128
        if wanted.name == "torch" and not wanted.specifier.contains(torch, prereleases=True):
            return str(wanted.specifier)
    return ""


def mend_clashes(clashes: Iterable[Clash], where: str) -> None:
    """Replace or remove clashing packages, one line each; on your own machine only print the remedy."""
    for clash in clashes:
        print(f"{clash.package} {clash.version}: {clash.reason}. {_mend(clash, where)}")


def _mend(clash: Clash, where: str) -> str:
    """What was done, or has to be done, in words."""
    if where == LOCAL:
        return f"Not changed here; do it yourself: {clash.remedy}."
    why = _replace(clash, where) if clash.better else ""
    if clash.better and not why:
        return f"Replaced by {installed_version(clash.package)}."
    if pip_uninstall(clash.package):
        return f"Removed; nothing here needs it.{why}"
    return f"It could not be removed: {clash.remedy}, then restart the session.{why}"


def _replace(clash: Clash, where: str) -> str:
    """Install the better version; "" when it works with the running packages, else why not."""
    try:
        pip_install(["--no-deps", "--upgrade", clash.better], clash.package, where)
    except InputError:  # no internet, and no wheel of it in the dataset
        return f" ({clash.better} could not be installed.)"
    # in a separate process: this one must not import it yet
    tried = subprocess.run([sys.executable, "-c", clash.check], capture_output=True, text=True)
    return f" ({installed_version(clash.package)} does not work either.)" if tried.returncode else ""


def unmet_needs(found: Find = installed_version, needs: Needs = listed_needs) -> tuple[list[str], list[str]]:
    """(missing light requirements of Unsloth, requirements left out on purpose with the reason).

    Unsloth is installed without its requirements, which would replace torch; the light ones are added by
    name. Held packages stay as they are.
    """
    asked = {
        f"{wanted.name}{wanted.specifier}": wanted.name.lower().replace("-", "_")
        for package in UNSLOTH
        for wanted in _base_requirements(needs(package))
    }
    missing = {line: asked[line] for line in missing_requirements(asked, found)}
    left = {name: LEFT_OUT[name] for name in missing.values() if name in LEFT_OUT and not found(name)}
    add = [line for line, name in missing.items() if name not in (*HELD, *UNSLOTH, *LEFT_OUT)]
    return add, [f"{name} ({why})" for name, why in left.items()]


def _base_requirements(requirements: Iterable[str]) -> list:
    """Requirements that hold on this machine without any extra."""
    from packaging.requirements import Requirement

    parsed = map(Requirement, requirements)
    return [wanted for wanted in parsed if not wanted.marker or wanted.marker.evaluate({"extra": ""})]


def add_unsloth_needs(where: str, hold: Iterable[str]) -> None:
    """Install what Unsloth lacks, with the packages of `hold` unchanged, and report what is left out."""
    add, left = unmet_needs()
    if add:
        try:
            pip_install([*add, *constraint_options(hold)], "what Unsloth lists", where)
            print(f"Installed for Unsloth: {', '.join(add)}")
        except InputError as error:  # it also runs without them: no reason to stop
            print(f"Unsloth is used without {', '.join(add)}. {error}")
    if left:
        print(f"Unsloth also lists these, which are left out: {', '.join(left)}.")

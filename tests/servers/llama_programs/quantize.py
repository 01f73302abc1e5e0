"""`llama-quantize` with its own command line, over the library in an npm package. The Makefile puts it
into .venv-llama/bin:

    llama-quantize IN.gguf OUT.gguf TYPE [THREADS]

No package index has the program for an older glibc, but node-llama-cpp's prebuilt library has the function
behind it. OUT.gguf appears when it is complete: half a GGUF looks like a complete one until it is loaded.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import sys
from pathlib import Path

LIBRARIES = Path(__file__).parent.parent / "lib" / "llama.cpp"
# `enum llama_ftype` of llama.cpp's include/llama.h; a name without _S, _M or _L is the medium one
TYPES = {"F32": 0, "F16": 1, "BF16": 32, "Q4_0": 2, "Q4_1": 3, "Q5_0": 8, "Q5_1": 9, "Q8_0": 7, "Q2_K": 10}
TYPES |= {"Q3_K_S": 11, "Q3_K_M": 12, "Q3_K_L": 13, "Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_S": 16, "Q5_K_M": 17}
TYPES |= {"Q6_K": 18, "IQ4_NL": 25, "IQ4_XS": 30, "Q3_K": 12, "Q4_K": 15, "Q5_K": 17}


class Parameters(ctypes.Structure):
    """`llama_model_quantize_params`: the first two fields, and room for the others, whose defaults stay."""

    _fields_ = [("threads", ctypes.c_int32), ("type", ctypes.c_int32), ("others", ctypes.c_char * 512)]


def number_of(text: str) -> int:
    """The number of a type. Raises ArgumentTypeError with the names."""
    if text.upper() in TYPES:
        return TYPES[text.upper()]
    if text.isdecimal() and int(text) in TYPES.values():
        return int(text)
    raise argparse.ArgumentTypeError(f"invalid type {text!r}. Choose from {', '.join(TYPES)}.")


def library() -> ctypes.CDLL:
    """libllama. Exits where it is not here."""
    found = sorted(LIBRARIES.glob("libllama.*.so"))
    if not found:
        sys.exit(f"{LIBRARIES} has no libllama: install npm, then run `make serve-env` again.")
    loaded = ctypes.CDLL(str(found[0]))
    loaded.llama_model_quantize_default_params.restype = Parameters
    loaded.llama_model_quantize.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(Parameters)]
    loaded.llama_model_quantize.restype = ctypes.c_uint32
    return loaded


def main() -> None:
    parser = argparse.ArgumentParser(prog="llama-quantize", description=__doc__.split("\n")[0])
    parser.add_argument("source", type=Path, metavar="IN.gguf")
    parser.add_argument("target", type=Path, metavar="OUT.gguf")
    parser.add_argument("type", type=number_of, metavar="TYPE", help=", ".join(TYPES))
    parser.add_argument("threads", type=int, nargs="?", default=0)
    args = parser.parse_args()
    if args.target.resolve() == args.source.resolve():
        parser.error(f"{args.target} is the file to read. Give another name for OUT.gguf.")
    llama = library()
    llama.llama_backend_init()
    parameters = llama.llama_model_quantize_default_params()
    parameters.threads, parameters.type = args.threads, args.type
    part = args.target.with_name(f".{args.target.name}.part")
    try:
        if llama.llama_model_quantize(os.fsencode(args.source), os.fsencode(part), ctypes.byref(parameters)):
            sys.exit(f"{args.source} could not be quantised: the reason is in the lines above.")
        part.replace(args.target)
    finally:
        part.unlink(missing_ok=True)


if __name__ == "__main__":
    main()

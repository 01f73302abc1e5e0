"""`llama-server` with the code of llama.cpp: its argument parser and its server, both compiled into the
package xllamacpp. The Makefile puts it into .venv-llama/bin.

No package index has the program for an older glibc. The package offers the server as a class, but not the
parser, which is called here as C++ exports it: every flag and variable of llama-server has its own meaning,
and an unknown one is an error.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from pathlib import Path

import xllamacpp

PARSER = "_Z19common_params_parseiPPcR13common_params13llama_examplePFviS0_E"
SERVER_PROGRAM = 12  # LLAMA_EXAMPLE_SERVER of common/common.h, in the pinned version


def parse(arguments: list[str]) -> xllamacpp.CommonParams:
    """What llama.cpp's parser makes of a command line; it prints what is wrong itself."""
    library = ctypes.CDLL(next(map(str, Path(xllamacpp.__file__).parent.glob("xllamacpp*.so"))))
    made = xllamacpp.CommonParams()
    # the C++ struct lies in the Python object, behind its head
    struct = ctypes.c_void_p(id(made) + object.__basicsize__)
    texts = [os.fsencode(each) for each in ("llama-server", *arguments)]
    given = (ctypes.c_char_p * (len(texts) + 1))(*texts, None)
    read = getattr(library, PARSER)
    read.restype = ctypes.c_bool
    if not read(len(texts), given, struct, SERVER_PROGRAM, None):
        sys.exit(1)
    return made


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    server = xllamacpp.Server(parse(sys.argv[1:]))  # serves as long as the object lives
    threading.Event().wait()
    del server


if __name__ == "__main__":
    main()

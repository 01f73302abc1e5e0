"""Runs llama.cpp's converter to GGUF, telling it the splitting rule of a tokenizer that it does not know.

    python convert_gguf.py LLAMA_CPP RULE MODEL --outtype f16 --outfile FILE

The converter knows a tokenizer by a hash of token ids. RULE names one of its own rules, "-" leaves the
choice to it. Runs as a script with the converter's Python, and imports nothing of this kit.
"""

import importlib
import runpy
import sys
from pathlib import Path


def main() -> None:
    source, rule = Path(sys.argv[1]), sys.argv[2]
    sys.path[:0] = [str(source), str(source / "gguf-py")]
    if rule != "-":
        model = importlib.import_module("conversion.base").TextModel
        model.get_vocab_base_pre = lambda self, tokenizer: rule
    sys.argv = ["convert_hf_to_gguf.py", *sys.argv[3:]]
    runpy.run_path(str(source / "convert_hf_to_gguf.py"), run_name="__main__")


if __name__ == "__main__":
    main()

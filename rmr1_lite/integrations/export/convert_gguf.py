"""Runs llama.cpp's converter to GGUF, mending what it cannot know about a tokenizer.

    python convert_gguf.py LLAMA_CPP RULE MODEL --outtype f16 --outfile FILE

The converter knows a tokenizer by a hash of token ids. RULE names one of its own splitting rules, "-" leaves
the choice to it. A Llama tokenizer with byte_fallback it takes for a SentencePiece one; where the tokens are
those of a byte-level BPE all the same, as in files that transformers made from a GGUF, llama.cpp then fails
at every request. Runs as a script with the converter's Python, and imports nothing of this kit.
"""

import importlib
import json
import runpy
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    source, rule, model = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    sys.path[:0] = [str(source), str(source / "gguf-py")]
    if rule != "-":
        importlib.import_module("conversion.base").TextModel.get_vocab_base_pre = lambda self, tokenizer: rule
    if splits_bytes(model / "tokenizer.json"):
        gguf: Any = importlib.import_module("gguf")
        gguf.LlamaHfVocab = refuse
    sys.argv = ["convert_hf_to_gguf.py", *sys.argv[3:]]
    runpy.run_path(str(source / "convert_hf_to_gguf.py"), run_name="__main__")


def splits_bytes(tokenizer: Path) -> bool:
    """Whether the tokens of a tokenizer.json are byte-level ones."""
    if not tokenizer.is_file():
        return False
    first = json.loads(tokenizer.read_text(encoding="utf-8")).get("pre_tokenizer") or {}
    return any(step.get("type") == "ByteLevel" for step in [first, *first.get("pretokenizers", [])])


def refuse(folder: Path) -> None:
    """In the place of the SentencePiece reader: the converter then takes its byte-level one."""
    raise FileNotFoundError(f"{folder} holds a byte-level tokenizer")


if __name__ == "__main__":
    main()

"""llama.cpp's converter, extended by the splitting rule of nano's tokenizer. Runs in .venv-llama:

    python convert_nano.py LLAMA_CPP MODEL --outtype f32 --outfile FILE

The converter knows a tokenizer by a hash of token ids, and nano's is in no list. Its splitting rule is
Qwen2's, so that name is the right one.
"""

import runpy
import sys
from pathlib import Path

source = Path(sys.argv[1])
sys.path[:0] = [str(source), str(source / "gguf-py")]

from conversion.base import TextModel  # noqa: E402

TextModel.get_vocab_base_pre = lambda self, tokenizer: "qwen2"
sys.argv = ["convert_hf_to_gguf.py", *sys.argv[2:]]
runpy.run_path(str(source / "convert_hf_to_gguf.py"), run_name="__main__")

"""Whether a server saw the whole prompt: its own count of tokens against what the text cannot do with less.

Some servers cut a prompt that does not fit without a word (Ollama at num_ctx, LM Studio in its rolling
window) and answer with status 200. No common tokenizer joins words across spaces, so a text has at least as
many tokens as words, and a floor in characters holds for text without spaces. A cut that leaves more than
that floor is not seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from rmr1_lite.types import Message

# below these shares of the floor a count cannot be; some margin for tokenizers that do join short words
WORDS = 0.7
CHARS_PER_TOKEN = 12  # of text in which runs of one sign are shortened
CJK_PER_TOKEN = 4
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_RUN = re.compile(r"(.)\1{3,}", re.DOTALL)


def fewest_tokens(messages: Iterable[Message]) -> int:
    """The fewest tokens that the messages can be."""
    text = "\n".join(message["content"] for message in messages)
    short = _RUN.sub(r"\1\1\1", text)
    return int(
        max(WORDS * len(text.split()), len(short) / CHARS_PER_TOKEN, len(_CJK.findall(text)) / CJK_PER_TOKEN)
    )

"""Whether a server saw the complete prompt: its token count against the minimum that the text can have.

Some servers silently truncate a prompt that does not fit (Ollama at num_ctx, LM Studio in its rolling
window) and answer with status 200. No common tokenizer joins words across spaces, so a text has at least as
many tokens as words, and a minimum per character holds for text without spaces. A truncation that leaves more
than this minimum goes unnoticed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from rmr1_lite.types import Message

# a count below these shares of the minimum is impossible; with a margin for tokenizers that join short words
WORDS = 0.7
CHARS_PER_TOKEN = 12  # of text in which runs of one character are shortened
CJK_PER_TOKEN = 4
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_RUN = re.compile(r"(.)\1{3,}", re.DOTALL)


def fewest_tokens(messages: Iterable[Message]) -> int:
    """The fewest tokens that the messages can have."""
    text = "\n".join(message["content"] for message in messages)
    least = WORDS * len(text.split())
    # both searches take longer than the rest of reading an answer, and say nothing about most texts
    if not text.isascii():
        least = max(least, len(_CJK.findall(text)) / CJK_PER_TOKEN)
    if len(text) / CHARS_PER_TOKEN > least:
        least = max(least, len(_RUN.sub(r"\1\1\1", text)) / CHARS_PER_TOKEN)
    return int(least)

"""The strict reading: one exact verdict marker at the very end of a finished output. Every reward uses it."""

from __future__ import annotations

import re
from typing import cast

from rmr1_lite.types import Label, Status
from rmr1_lite.verdict.hidden import Hidden

Found = tuple[Label | None, Status]

_MARKER = re.compile(r"<answer>\s*\[\[\s*([AB])\s*\]\]\s*</answer>")
# a block with a lone letter is an attempt at a verdict, well-formed or not; so is one that begins with a
# letter and was never closed
_ATTEMPT = re.compile(
    r"<\s*answer\s*>(?:([^<]*)<\s*/\s*answer\s*>|[\s\[({*_\"'`]{0,8}(?-i:[A-Z])\b)", re.IGNORECASE
)
_LETTER = re.compile(r"\b[A-Z]\b")
# what servers leave at the end of a text: stop tokens, zero-width characters, a byte-order mark, and the
# closing fence of a code block
_NO_TEXT = re.compile(
    r"(?:[\s\x00\u200b-\u200f\u2060\ufeff]|<\|[^|<>\s]{1,40}\|>|<｜[^｜<>\s]{1,40}｜>|</s>|<eos>|<end_of_turn>"
    r"|\[EOS\]|```)*"
)


def read_strict(text: str, thought_open: bool) -> Found:
    hidden = Hidden(text, thought_open)
    attempts = [m for m in _ATTEMPT.finditer(text) if _is_attempt(m) and not hidden.covers(m.start())]
    if len(attempts) > 1:
        return None, "conflict"
    marker = _MARKER.match(text, attempts[0].start()) if attempts else None
    if marker is None:
        return None, "missing"
    if not _NO_TEXT.fullmatch(text, marker.end()):
        return None, "trailing"
    return cast(Label, marker[1]), "ok"  # the expression takes no other letter


def _is_attempt(block: re.Match[str]) -> bool:
    return block[1] is None or bool(_LETTER.search(block[1]))

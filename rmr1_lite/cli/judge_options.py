"""Options that every command with a judge has."""

from __future__ import annotations

from enum import Enum

from rmr1_lite.config import NANO_TOKENS, OTHER_TOKENS

MAX_NEW_TOKENS_HELP = (
    f"longest chain in tokens; default: {NANO_TOKENS} for nano judges, otherwise {OTHER_TOKENS}"
)
JUDGE_HELP = "nano, a folder, a hub id, openai:MODEL@URL or replay:FILE"
READING_HELP = "how verdicts are parsed; auto: strict for judges of this kit, lenient for all others"
THOUGHT_OPEN_HELP = "texts of this endpoint or log begin inside a thought, without its opening mark"
BASE_HELP = "weights below an adapter: dequantised 4-bit or original 16-bit ones; auto: see --four-bit"


class BaseName(str, Enum):
    """Over which weights of its base an adapter lies."""

    auto, dequantised, original = "auto", "dequantised", "original"


class ReadingName(str, Enum):
    auto, strict, lenient, paper = "auto", "strict", "lenient", "paper"


def settle_reading(asked: ReadingName, judge: str) -> str:
    """The requested reading, or the judge's default, which is reported unless it is strict."""
    from rmr1_lite.judging.factory import default_reading

    if asked is not ReadingName.auto:
        return asked.value
    settled = default_reading(judge)
    if settled != "strict":
        print(
            f"{judge} was not trained by this kit: its verdicts are parsed with --reading {settled}, which "
            "accepts the common forms."
        )
    return settled

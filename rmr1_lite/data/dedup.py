"""Finds pairs that appear twice in the data, or also in a benchmark: exact, near, and by their words.

exact           the same conversation and responses, whatever their order (a hash)
near            MinHash over runs of five words, in datasketch's LSH index
contamination   a run of 13 words of the conversation also appears in a benchmark's conversation, or all
                of a shorter one
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any

from rmr1_lite.types import Pair

SHINGLE = 5  # words
NGRAM = 13  # words
PERMUTATIONS = 64
_CJK = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"  # written without spaces: each character counts as a word
_WORDS = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+")
_SIGNS = re.compile(rf"{_WORDS.pattern}|[^\w\s]")


def split_words(text: str) -> list[str]:
    """Lower-case words, without punctuation."""
    return _WORDS.findall(text.lower())


def conversation_text(pair: Pair) -> str:
    """The conversation before the two responses."""
    return "\n".join(turn["content"] for turn in pair.prompt)


def content_key(pair: Pair) -> bytes:
    """The same for pairs with the same texts, in either order of the responses."""
    responses = sorted((pair.response_a, pair.response_b))
    return _text_hash("\0".join([*(f"{t['role']}\1{t['content']}" for t in pair.prompt), *responses]))


def better_response_key(pair: Pair) -> bytes:
    """The better text: differs between two pairs of the same texts that contradict each
    other."""
    return _text_hash(pair.response_a if pair.label == "A" else pair.response_b)


def prompt_key(pair: Pair) -> bytes:
    """The same for conversations that differ only in case, spaces and punctuation: they belong to one
    split."""
    return _text_hash(" ".join(split_words(conversation_text(pair))) or conversation_text(pair))


class NearDuplicates:
    """Remembers the pairs it has seen. threshold: Jaccard similarity of their word runs, estimated to about
    0.06."""

    def __init__(self, threshold: float) -> None:
        from datasketch import MinHashLSH

        self.threshold = threshold
        self._index = MinHashLSH(threshold=threshold, num_perm=PERMUTATIONS)
        self._seen: dict[str, Any] = {}

    def like(self, pair: Pair) -> tuple[str, float] | None:
        """(id, similarity) of an earlier pair that nearly equals this one; otherwise None, and this one is
        remembered."""
        from datasketch import MinHash

        sketch = MinHash(num_perm=PERMUTATIONS, seed=1)
        sketch.update_batch(list(_shingles(pair)))
        near = [(id, self._seen[id].jaccard(sketch)) for id in self._index.query(sketch)]
        best = max(near, key=lambda found: found[1], default=None)
        if best and best[1] >= self.threshold:
            return best
        self._index.insert(pair.id, sketch, check_duplication=False)
        self._seen[pair.id] = sketch
        return None


def _shingles(pair: Pair) -> set[bytes]:
    # signs too: "Is 3 > 2?" and "Is 3 < 2?" are two questions
    text = _SIGNS.findall(
        "\n".join([conversation_text(pair), *sorted((pair.response_a, pair.response_b))]).lower()
    )
    return {" ".join(text[i : i + SHINGLE]).encode() for i in range(max(1, len(text) - SHINGLE + 1))}


class Benchmarks:
    """The conversations of benchmarks, to find training pairs with the same question. texts: (benchmark, item
    id, conversation)."""

    def __init__(self, texts: Iterable[tuple[str, str, str]] = ()) -> None:
        self._items: list[str] = []
        self._runs: dict[int, int] = {}  # hash of a run of words -> number of its item
        for name, item, text in texts:
            self._items.append(f"{name} {item}")
            for run in _word_ngrams(split_words(text)):
                self._runs.setdefault(run, len(self._items) - 1)

    def __len__(self) -> int:
        return len(self._items)

    def holding(self, pair: Pair) -> str | None:
        """ "benchmark item" of one that shares a run of words with the pair's conversation."""
        if not self._runs:
            return None
        found = next(
            (
                self._runs[run]
                for run in _word_ngrams(split_words(conversation_text(pair)))
                if run in self._runs
            ),
            None,
        )
        return None if found is None else self._items[found]


def _word_ngrams(text: list[str]) -> Iterator[int]:
    """Hashes of all runs of NGRAM words; a shorter text is one run. Python's hash: these never leave the
    process."""
    return (
        (hash(tuple(text[i : i + NGRAM])) for i in range(max(1, len(text) - NGRAM + 1))) if text else iter(())
    )


def _text_hash(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=12).digest()

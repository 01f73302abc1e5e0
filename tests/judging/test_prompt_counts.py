"""The fewest tokens that a prompt can have: the largest of three bounds, whichever is cheap to find."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmr1_lite.judging.engines.endpoint.prompt_counts import fewest_tokens


def of(text: str) -> int:
    return fewest_tokens([{"role": "user", "content": text}])


COUNTS = [
    ("word " * 100, 70, "words, with a margin"),
    ("x" * 1200, 0, "a run of one character is one token to some"),
    ("abcd" * 300, 100, "a text without spaces"),
    ("字" * 3 + "中文" * 100, 50, "Chinese"),
    ("", 0, "nothing"),
]


@pytest.mark.parametrize("text, count, reason", COUNTS, ids=[row[-1] for row in COUNTS])
def test_the_largest_bound_counts(text, count, reason):
    assert of(text) == count


@given(st.text(alphabet="ab 字", max_size=80), st.integers(1, 40))
def test_more_text_never_has_fewer(text, times):
    assert of(text * (times + 1)) >= of(text * times) or len(set(text)) == 1

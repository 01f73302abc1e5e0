"""The ballast holds a card's memory; without a card it says so, and leaves no process behind."""

from __future__ import annotations

import pytest

from rmr1_lite.ballast import held
from rmr1_lite.types import InputError


def test_without_a_card_there_is_nothing_to_hold():
    with pytest.raises(InputError, match="could not be held: there is no CUDA card"), held(14.5):
        raise AssertionError("the block must not run")

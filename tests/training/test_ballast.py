"""The ballast occupies a card's memory except the given rest; without a card, or with less free, it reports
so."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import pytest

from rmr1_lite.training.planning import ballast
from rmr1_lite.types import InputError

GIB = ballast.GIB


def card(free: float, context: float = 0.5):
    """A stub of torch for the ballast: a card with this many GiB free, of which its own context takes
    some."""
    left = [int(free * GIB)]

    def empty(size, dtype=None, device=None):
        left[0] -= int(context * GIB) if size == 1 else size
        return object()

    cuda = SimpleNamespace(
        is_available=lambda: True, init=lambda: None, mem_get_info=lambda: (left[0], 80 * GIB)
    )
    return SimpleNamespace(cuda=cuda, empty=empty, uint8="uint8")


def test_so_much_is_left_as_was_asked_for(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", card(free=79.0))
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    ballast.main(14.5)
    assert capsys.readouterr().out == "ready 14.5\n"


def test_a_card_that_has_less_is_refused(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", card(free=10.0))
    with pytest.raises(SystemExit):
        ballast.main(14.5)
    assert "only 9.5 GiB are free, not 14.5" in capsys.readouterr().out


def test_without_a_card_there_is_nothing_to_hold(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # on a machine with one too
    with (
        pytest.raises(InputError, match="could not be occupied: there is no CUDA card"),
        ballast.hold_card_memory(14.5),
    ):
        raise AssertionError("the block must not run")

"""Masks for layers that see everything before them, and for those that see a sliding window of it."""

from __future__ import annotations

from typing import Any


class MasksByWindow(dict):
    """Masks by window, each made when a layer first asks for it."""

    def __init__(self, make: Any) -> None:
        super().__init__()
        self.make = make

    def __missing__(self, window: int | None) -> Any:
        self[window] = self.make(window)
        return self[window]


def causal_mask(start: int, steps: int, window: int | None, device: Any) -> Any:
    """Which columns up to themselves columns start .. start + steps may see, [T, start + T]; None where plain
    causal attention does the same."""
    import torch

    if not start and (window is None or steps <= window):
        return None
    places = torch.arange(start + steps, device=device)
    apart = places[start:, None] - places
    return (apart >= 0) & (apart < window) if window else apart >= 0

"""Models: what a spec names, which backend computes, loading, LoRA, and how a prompt becomes token ids.

Example:

    from rmr1_lite.models import load
    loaded = load("nano")
"""

from rmr1_lite.models.loading import load

__all__ = ["load"]

"""A data set by its hub id, downloaded once: the next run finds it in the cache, even without a network."""

from __future__ import annotations

from typing import Any

from rmr1_lite.data.hub_errors import explain, first_line
from rmr1_lite.extras import need
from rmr1_lite.types import InputError


def load_hub_set(hub_id: str, split: str, otherwise: str) -> Any:
    """Rows of one split, in their order. otherwise: the remedy that needs no hub, as the end of a sentence.

    Raises InputError for a set that cannot be found, reached, read or accessed.
    """
    need("datasets")  # name this extra, whichever import would fail first
    import httpx
    from datasets import VerificationMode, load_dataset
    from datasets.exceptions import DatasetsError

    try:
        # outdated row counts in a card must not stop the rows themselves
        return load_dataset(hub_id, split=split, verification_mode=VerificationMode.NO_CHECKS)
    # RuntimeError: of the Xet storage
    except (OSError, ValueError, RuntimeError, DatasetsError, httpx.HTTPError) as error:
        said = f"{hub_id} ({split}) could not be loaded: {_cause(error)}. Check the name, or {otherwise}."
        raise explain(error, hub_id, "data set", otherwise) or InputError(said) from None


def _cause(error: Exception) -> str:
    """`datasets` says "An error occurred while generating the dataset"; the actual error is its cause."""
    cause = error.__cause__
    return f"{first_line(error)}: {first_line(cause)}" if isinstance(cause, Exception) else first_line(error)

"""Fetches an adapter given by its hub id into a local folder: checked and loaded like any other.

Adapters come without a model's config.json. This distinguishes the two before anything large is fetched.
"""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path

from rmr1_lite.data.hub_errors import explain, first_line, offline
from rmr1_lite.types import InputError

CONFIG, MODEL_CONFIG = "adapter_config.json", "config.json"
# not the other contents of a repository: checkpoints, logs, weights in other formats
FILES = ["*.json", "adapter_model.safetensors", "*.jinja", "tokenizer*", "*.txt", "README.md"]
BELOW = ["*/*"]
PAUSE = 60.0  # seconds before a hub that did not answer is asked about the same repository again
_unanswered: dict[str, float] = {}


def fetch_adapter(repo: str) -> Path | None:
    """The folder in the hub's cache with the adapter, None if it is not one or the hub cannot be asked.

    Asked once per process. Loading the repository reports why it could not be reached. Raises InputError for
    an adapter that cannot be downloaded.
    """
    import httpx

    if time.monotonic() - _unanswered.get(repo, -PAUSE) < PAUSE:
        return None
    try:
        return _snapshot(repo) if _is_adapter(repo) else None
    except InputError:  # a ValueError too
        raise
    except (OSError, ValueError, httpx.HTTPError):
        _unanswered[repo] = time.monotonic()
        return None


@cache
def _is_adapter(repo: str) -> bool:
    """The answer of the cache, or else of the hub. The clients' errors are passed on."""
    from huggingface_hub import HfApi, try_to_load_from_cache

    held = {name: try_to_load_from_cache(repo, name) for name in (CONFIG, MODEL_CONFIG)}
    if any(isinstance(place, str) for place in held.values()) or offline("model"):
        return isinstance(held[CONFIG], str) and not isinstance(held[MODEL_CONFIG], str)
    api = HfApi()
    return api.file_exists(repo, CONFIG) and not api.file_exists(repo, MODEL_CONFIG)


@cache
def _snapshot(repo: str) -> Path:
    import httpx
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repo, allow_patterns=FILES, ignore_patterns=BELOW))
    # RuntimeError: of the Xet storage
    except (OSError, ValueError, RuntimeError, httpx.HTTPError) as error:
        otherwise = "give a folder that holds the adapter"
        said = f"{repo} could not be downloaded: {first_line(error)}. Run the command again, or {otherwise}."
        raise explain(error, repo, "model", otherwise) or InputError(said) from None

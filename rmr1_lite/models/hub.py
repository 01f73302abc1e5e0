"""An adapter on its way out: a zip to download, or a repository on the hub with its model card.

Examples:

    pack_adapter("runs/grpo/adapter", "judge.zip")
    push_adapter("runs/grpo/adapter", "me/my-judge", token)
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from rmr1_lite.models.adapters import is_adapter, read_adapter
from rmr1_lite.types import InputError


def pack_adapter(adapter: str | Path, out: str | Path) -> Path:
    """Write the adapter folder as a zip; the old zip stays until the new one is complete. Returns its
    path."""
    folder, out = _check_adapter(adapter), Path(out)
    draft = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    out.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, Path(out.stem) / path.relative_to(folder))
    os.replace(draft, out)
    return out


def push_adapter(
    adapter: str | Path, repo: str, token: str, private: bool = True, endpoint: str | None = None
) -> str:
    """Upload adapter, tokenizer and model card to the hub; returns the address. The token is written nowhere.

    endpoint: of a hub of your own. Raises InputError for an incomplete adapter, a repository name without an
    owner, a missing token, or an upload that fails.
    """
    folder = _check_adapter(adapter)
    if repo.count("/") != 1 or not all(repo.split("/")):
        raise InputError(f"repo is {repo!r}. Give OWNER/NAME.")
    if not token:
        raise InputError(
            "No token found. Put a token with write access into the platform's secrets or the environment as "
            "HF_TOKEN."
        )
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(endpoint, token=token)
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repo, folder_path=str(folder), commit_message="LoRA adapter made by rmr1_lite"
        )
    except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
        said = str(error).strip().splitlines()[0]
        raise InputError(
            f"{repo} could not be written: {said}. Check the name, the token's rights and the network; the "
            f"adapter itself stays in {folder}."
        ) from None
    return f"{api.endpoint}/{repo}"


def _check_adapter(adapter: str | Path) -> Path:
    folder = Path(adapter)
    if not is_adapter(folder):
        raise InputError(
            f"{folder} is not a finished adapter. Train one first; it is written to the run's `adapter` "
            "folder."
        )
    read_adapter(folder)
    return folder

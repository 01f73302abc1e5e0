"""Exports an adapter: a zip to download, or a repository on the hub with its model card.

Examples:

    pack_adapter("runs/grpo/adapter", "judge.zip")
    push_adapter("runs/grpo/adapter", "me/my-judge", token)
"""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path

from rmr1_lite.data.hub_errors import first_line
from rmr1_lite.models.adapters import CONFIG, INFO, is_adapter, read_adapter, trained_in_4bit
from rmr1_lite.models.judge_specs import NANO
from rmr1_lite.models.model_card import base_line
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
    """Upload adapter, tokenizer and model card to the hub; returns the address. The token is never stored.

    endpoint: of a hub of your own. Raises InputError for an incomplete adapter, a repository name without an
    owner, a missing token, or a failed upload; the message says whether the repository was created.
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

    info = read_adapter(folder)
    _warn_of_local_base(info.base)
    print(base_line(info.base, trained_in_4bit(folder, info)))
    api, created = HfApi(endpoint, token=token), False
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        created = True
        api.upload_folder(
            repo_id=repo, folder_path=str(folder), commit_message="LoRA adapter made by rmr1_lite"
        )
    # RuntimeError: a large file; ValueError: a name or a card that the hub does not accept
    except (httpx.HTTPError, OSError, RuntimeError, ValueError) as error:
        if created:
            print(file=sys.stderr)  # interrupted progress bars leave their line open
        raise InputError(_push_failed(error, repo, folder, created)) from None
    return f"{api.endpoint}/{repo}"


def find_token() -> str:
    """The token in HF_TOKEN, or the one that `hf auth login` has saved; "" without one."""
    from huggingface_hub import get_token

    return get_token() or ""


def _warn_of_local_base(base: str) -> None:
    """The push continues: anyone with the same base can use the adapter."""
    if base not in NANO and Path(base).is_dir():
        print(
            f"The adapter's base is {base}, a folder on this machine. Elsewhere the adapter cannot find it: "
            f"write the base's hub id into {CONFIG} (base_model_name_or_path) and {INFO} (base), and push "
            "again."
        )


def _push_failed(error: Exception, repo: str, folder: Path, created: bool) -> str:
    """The state after a failed push, and the remedy. created: the repository exists, the upload failed."""
    status = getattr(getattr(error, "response", None), "status_code", 0)
    said = first_line(error)
    if isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception):  # it names only the file
        said = f"{said}: {first_line(error.__cause__)}"
    if status in (401, 403):
        remedy = f"Set HF_TOKEN to a token with write access to {repo.partition('/')[0]}"
    elif created:
        remedy = "The repository exists, but this upload is not in it. Run the same command again"
    else:
        remedy = "Check the name and the network"
    return f"{repo} could not be written: {said}. {remedy}; the adapter itself stays in {folder}."


def _check_adapter(adapter: str | Path) -> Path:
    folder = Path(adapter)
    if not is_adapter(folder):
        raise InputError(
            f"{folder} is not a finished adapter. Train one first; it is written to the run's `adapter` "
            "folder."
        )
    read_adapter(folder)
    return folder

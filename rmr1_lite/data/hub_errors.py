"""Why a repository of the hub could not be loaded, in one sentence with the remedy.

`transformers`, `datasets` and `huggingface_hub` wrap each other's errors, and their own words mix several
causes ("does not exist, or is private, or is gated"). The actual cause is found in the chain of exceptions.
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

from rmr1_lite.types import InputError

OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
# the clients' classes by name: importing `datasets` for one of them would take seconds
MISSING = {"RepositoryNotFoundError", "DatasetNotFoundError"}
UNREACHED = {
    "ConnectionError",
    "LocalEntryNotFoundError",
    "OfflineModeIsEnabled",
    "ConnectError",
    "ConnectTimeout",
    "ProxyError",
}
BROKEN = {"RemoteProtocolError", "ReadError", "ReadTimeout"}
# prefixes of Xet storage failures, which are raised as Python's built-in errors
XET = ("Data processing error", "CAS service error", "xet-read-token")
LATER = "Run the same command again later: complete files are not downloaded again"


def explain(error: Exception, repo: str, kind: str, otherwise: str) -> InputError | None:
    """The error to raise instead, None if the hub is not the cause.

    kind: "model" or "data set". otherwise: the remedy that needs no hub, as the end of a sentence. A full
    disk is raised unchanged: the command line has its own message for it.
    """
    chain = _chain(error)
    for cause in chain:
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            raise cause
    said = _reason(chain, repo, kind)
    return InputError(f"{said}; or {otherwise}.") if said else None


def first_line(error: BaseException) -> str:
    """The first line of the message, without its full stop; the class if there is no message."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(". ")[:300] if lines else type(error).__name__


def _chain(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _reason(chain: list[BaseException], repo: str, kind: str) -> str:
    """What happened and the remedy, "" for an error that is not the hub's."""
    names = {type(cause).__name__ for cause in chain}
    said = "\n".join(map(str, chain))
    if "GatedRepoError" in names or "is a gated dataset" in said:
        return _gated(repo, kind)
    if names & MISSING:
        return (
            f"There is no {kind} {repo} on the hub, or it is private. Check the spelling; for a private one "
            "set HF_TOKEN to a token with read access"
        )
    if refused := _refused(chain, repo):
        return refused
    if names & UNREACHED:
        return _unreached(repo, kind)
    if "`use_safetensors=True`" in said:
        return _unreached(repo, kind) if offline(kind) else _no_safetensors(repo)
    if names & BROKEN or any(words in said for words in (*XET, "Consistency check failed")):
        plain = "; if it happens again, set HF_HUB_DISABLE_XET=1 for plain downloads"
        xet = plain if any(words in said for words in XET) else ""
        return f"The download of {repo} was interrupted ({first_line(chain[-1])}). {LATER}{xet}"
    return ""


def _refused(chain: list[BaseException], repo: str) -> str:
    """The meaning of the hub's status code, "" if it adds nothing to the error's class."""
    status = next((found for cause in chain if (found := _status(cause))), 0)
    if status == 401:
        return (
            f"The hub rejects your token (HF_TOKEN, or the one that `hf auth login` saved), so {repo} could "
            "not be loaded. Set a valid token, or remove it: public repositories need none"
        )
    if status == 403:
        return (
            f"The hub denies your token access to {repo} ({_answer(chain)}). Check what HF_TOKEN may read: a "
            "fine-grained token needs permission to read gated repositories"
        )
    if status == 429:
        return f"The hub's rate limit is reached ({repo}, 429). Set HF_TOKEN for a higher limit. {LATER}"
    return f"The hub has a server error ({repo}, {status}). {LATER}" if status >= 500 else ""


def _answer(chain: list[BaseException]) -> str:
    """The hub's own message, without the client's words about it."""
    return first_line(next(cause for cause in chain if _status(cause)))


def _no_safetensors(repo: str) -> str:
    return (
        f"{repo} has no safetensors weights, and weights in other formats are not loaded here: they can run "
        "code. Choose a model with safetensors"
    )


def _status(cause: BaseException) -> int:
    return getattr(getattr(cause, "response", None), "status_code", 0)


def _gated(repo: str, kind: str) -> str:
    from huggingface_hub import constants, get_token

    page = f"{constants.ENDPOINT}/{'datasets/' if kind == 'data set' else ''}{repo}"
    if get_token() is None:
        return (
            f"{repo} is gated: its terms must be accepted before it can be downloaded. Accept them on {page} "
            "while logged in, and set HF_TOKEN to a token of that account with read access"
        )
    return (
        f"{repo} is gated, and the account of your token has no access to it. Accept its terms on {page} "
        "while logged in to that account (some owners approve by hand), and check that HF_TOKEN may read "
        "gated repositories"
    )


def offline(kind: str) -> str:
    """The variable that keeps the clients offline, "" without one. kind: as in `explain`."""
    names = [*OFFLINE, "HF_DATASETS_OFFLINE"] if kind == "data set" else OFFLINE
    yes = ("1", "ON", "YES", "TRUE")
    return next((name for name in names if os.environ.get(name, "").upper() in yes), "")


def _unreached(repo: str, kind: str) -> str:
    from huggingface_hub import constants

    lack = f"{_lacking(repo, kind)} in the cache ({constants.HF_HOME})"
    if name := offline(kind):
        return f"{name} is set, and {lack}. Run the same command once with a network and without {name}"
    return (
        f"The hub ({constants.ENDPOINT}) cannot be reached, and {lack}. Check the network, HF_ENDPOINT and "
        "the proxy, and run the same command again"
    )


def _lacking(repo: str, kind: str) -> str:
    """Which files of a repository are missing in the cache, as the beginning of a sentence."""
    from huggingface_hub import constants

    if kind != "model":
        return f"the data set {repo} is not complete"
    folder = Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}" / "snapshots"
    held = {path.name: path for path in folder.glob("*/*")}
    if not held:
        return f"no file of {repo} is"
    lacks = [] if "config.json" in held else ["config.json"]
    if not any(name.startswith(("tokenizer", "vocab")) for name in held):
        lacks.append("tokenizer.json")
    return f"{', '.join(lacks + _lacking_weights(held)) or 'a file'} of {repo} is not"


def _lacking_weights(held: dict[str, Path]) -> list[str]:
    index = held.get("model.safetensors.index.json")
    if index is not None:
        parts = set(json.loads(index.read_bytes())["weight_map"].values())
        return sorted(parts - held.keys())
    return [] if any(name.endswith(".safetensors") for name in held) else ["model.safetensors"]

"""Colab, Kaggle or this machine: detection, the folder that outlives the session, outputs of other
notebooks, and secrets."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from rmr1_lite.models.adapters import WEIGHTS

OUT = "RMR1_NOTEBOOK_OUT"  # the tests' switch: another output folder
DRIVE = Path("/content/drive")
COLAB, KAGGLE, LOCAL = "Colab", "Kaggle", "this machine"
# environment variable -> platform
SIGNS = {
    "COLAB_RELEASE_TAG": COLAB,
    "KAGGLE_KERNEL_RUN_TYPE": KAGGLE,
}
# how Kaggle runs a saved notebook, where no one can restart it
SAVING = ("KAGGLE_KERNEL_RUN_TYPE", "Batch")


def output_folder(asked: str, where: str) -> Path:
    """The folder of runs: the Drive on Colab, the working folder on Kaggle, runs/notebooks here; or the
    requested one."""
    if asked != "auto" or os.environ.get(OUT):
        path = Path(os.environ.get(OUT) or asked)
        # unmounted, it would be a folder that is lost with the runtime
        if where == COLAB and path.is_relative_to(DRIVE):
            _mount_drive()
        return path
    if where == COLAB:
        return _mount_drive() / "rmr1_lite"
    if where == KAGGLE:
        return Path("/kaggle/working/rmr1_lite")
    return (
        Path("runs/notebooks").resolve()
        if Path("notebooks").is_dir()
        else Path("../runs/notebooks").resolve()
    )


def _mount_drive() -> Path:
    """The user's Drive, which outlives the runtime; without it the runtime's own disk, which is reported."""
    try:
        from google.colab import drive

        drive.mount(str(DRIVE))
    except Exception as error:  # a declined consent raises Colab's own class
        print(f"Drive is not mounted ({error}). Files made here are lost when the runtime ends.")
        return Path("/content")
    return DRIVE / "MyDrive"


def copy_kaggle_inputs(out: Path, model: str, inputs: Path = Path("/kaggle/input")) -> None:
    """On Kaggle every notebook has its own output: results of another one come in as its saved output,
    added as input."""
    for stage in ("sft", "grpo"):
        run = out / stage
        found = sorted(inputs.glob(f"**/rmr1_lite/{model}/{stage}/adapter/{WEIGHTS}"))
        if found and not run.exists():
            shutil.copytree(found[0].parents[1], run)
            print(f"{stage}: copied from {found[0].parents[1]}, the output of another notebook")
        elif not run.exists():
            print(
                f"{stage}: none here. To use one from another notebook, save that notebook's version "
                "and add its output under Add Input; to keep this one's files after the session, set "
                "Persistence to Files."
            )


def read_secret(name: str) -> str:
    """A secret from the platform's own store, or from the environment; "" if there is none. Never
    printed."""
    store = {COLAB: _colab_secret, KAGGLE: _kaggle_secret}.get(detect_platform(os.environ), lambda name: "")
    return store(name) or os.environ.get(name, "").strip()


def _colab_secret(name: str) -> str:
    from google.colab import userdata

    try:
        return userdata.get(name) or ""
    except (userdata.SecretNotFoundError, userdata.NotebookAccessError):
        return ""


def _kaggle_secret(name: str) -> str:
    from kaggle_secrets import BackendError, UserSecretsClient

    try:
        return UserSecretsClient().get_secret(name) or ""
    except BackendError:
        return ""


def detect_platform(environment: Mapping[str, str]) -> str:
    """Colab, Kaggle or this machine, by their environment variables."""
    return next((name for sign, name in SIGNS.items() if environment.get(sign)), LOCAL)

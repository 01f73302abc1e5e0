"""What each process of the kit sets up first: its variables, its streams, and a trace if it crashes.

glibc's `getenv` can crash when another thread adds or removes a variable at the same time, and torch, OpenMP
and tokenizers read variables on their own threads: one of about sixty-five starts of `sft` died by SIGSEGV
there, without a message. So whatever this kit or a library would set later is set at the start, while there
is one thread. `python tests/behaviour/late_environment.py COMMAND ...` lists code that still writes later.
"""

from __future__ import annotations

import faulthandler
import getpass
import io
import logging
import os
import platform
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from pathlib import Path

ALLOCATOR = "PYTORCH_ALLOC_CONF"  # read once, when torch first touches the card
# variable -> value; a user's own value stays. The comment names the library that would write it later:
AT_START = {
    "OPENBLAS_MAIN_FREE": "1",  # numpy, around its import
    "KMP_DUPLICATE_LIB_OK": "True",  # scikit-learn
    "KMP_INIT_AT_FORK": "FALSE",  # scikit-learn
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",  # accelerate, around its check for a GPU, which the Trainer repeats
    # without safetensors transformers would have a bot convert a model, and load what the bot made
    "DISABLE_SAFETENSORS_CONVERSION": "1",
    "UNSLOTH_DISABLE_STATISTICS": "1",  # nothing is sent from here
    "UNSLOTH_GRPO_LOGPROB_RECOMPUTE": "1",  # unsloth_backend.score_one_chunk_at_a_time
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "True",  # gradio, when its analytics are off
}
# logs on some processors that a kernel could be downloaded, which this kit would not run
QUIET = ("bitsandbytes.backends.cpu.ops",)
_SET_HERE: dict[str, str] = {}  # what this process set itself, for `users_environment`


def prepare_process() -> None:
    """First line of every command and of the app. Safe to call again."""
    prepare_environment()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # redirected output on Windows lacks many characters
            stream.reconfigure(errors="backslashreplace")
    with suppress(io.UnsupportedOperation, AttributeError, ValueError):  # a stream without a file
        faulthandler.enable()
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)


def prepare_environment(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set now what a library would set later, unless it is set already."""
    before = dict(environment)
    for name, value in AT_START.items():
        environment.setdefault(name, value)
    environment.setdefault("TORCHINDUCTOR_CACHE_DIR", _inductor_cache())
    if sys.platform == "darwin":
        environment.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")  # accelerate
    prepare_card(environment)
    if environment is os.environ:
        _SET_HERE.update({name: value for name, value in environment.items() if name not in before})


def users_environment() -> dict[str, str]:
    """The variables as the user set them, for programs of others: this kit's choices (one card, its
    allocator) are not theirs."""
    return {name: value for name, value in os.environ.items() if _SET_HERE.get(name) != value}


def prepare_card(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set what CUDA reads once, when it starts; a user's own settings stay.

    Only one card: with two (Kaggle) transformers' Trainer would split each batch over both, which LoRA on a
    4-bit base does not survive. Segments that grow: less fragmentation, so more fits. Unsloth sets those too,
    but after CUDA has started here; torch does not support them on Windows, WSL and Jetson boards.
    """
    environment.setdefault("CUDA_VISIBLE_DEVICES", "0")
    unsupported = any(word in platform.uname().release.lower() for word in ("microsoft", "tegra"))
    if sys.platform == "linux" and not unsupported and "PYTORCH_CUDA_ALLOC_CONF" not in environment:
        environment.setdefault(ALLOCATOR, "expandable_segments:True")


@contextmanager
def hidden_environment() -> Iterator[None]:
    """Hide all variables from Python for a while; the process keeps them.

    Replaces accelerate's `clear_environment`, which removes every variable from the process and puts
    it back, with the threads of torch alive, to see the defaults of a class.
    """
    kept = os.environ
    os.environ = {}  # type: ignore[assignment]  # noqa: B003  hiding is what is wanted, clearing is not
    try:
        yield
    finally:
        os.environ = kept  # noqa: B003


def environment_with_kit(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which a process finds the package that runs here, also where it was not installed
    (notebooks)."""
    place = str(Path(__file__).parents[1])
    # found there anyway, and in PYTHONPATH it would come before the standard library
    if place in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        return dict(environment)
    return {
        **environment,
        "PYTHONPATH": os.pathsep.join(filter(None, (place, environment.get("PYTHONPATH", "")))),
    }


def spare_environment() -> None:
    """Have accelerate hide the environment instead of emptying it. Before a Trainer is made."""
    from accelerate.utils import environment

    environment.clear_environment = hidden_environment


def _inductor_cache() -> str:
    """Where torch would put it: `torch._inductor.runtime.cache_dir_utils.default_cache_dir`."""
    try:
        user = getpass.getuser()
    except (KeyError, ImportError, OSError):
        user = f"uid_{os.getuid()}" if hasattr(os, "getuid") else "unknown_user"
    user = "".join("_" if letter in '\\/:*?"<>|' else letter for letter in user)
    return str(Path(tempfile.gettempdir()) / f"torchinductor_{user}")

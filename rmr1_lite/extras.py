"""What each extra of the wheel installs, and the one-line error for a missing one.

A light installation (`pip install rmr1_lite-*.whl`) judges and evaluates with endpoints and logs. Everything
else imports its libraries inside functions, so a missing one raises ModuleNotFoundError: the
commands and `make_judge` turn it into the line that says what to install, with the code here.

    with named_extras():
        import torch  # InputError: torch is needed here but not installed. Install it with: pip ...
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from rmr1_lite.types import InputError

# extra -> (what it is for, the modules imported from it; `pyproject.toml` lists the packages)
EXTRAS: dict[str, tuple[str, tuple[str, ...]]] = {
    "data": (
        "benchmarks and data sets of the hub, Parquet files, audits of pairs, plots",
        ("datasets", "pyarrow", "numpy", "scipy", "sklearn", "datasketch", "matplotlib"),
    ),
    "local": (
        "judge with nano, adapters and models of the hub on this machine",
        (
            "torch",
            "transformers",
            "tokenizers",
            "safetensors",
            "peft",
            "bitsandbytes",
            "accelerate",
            "huggingface_hub",
            "httpx",
            "psutil",
        ),
    ),
    "train": ("SFT, GRPO, the demo, and all of `local` and `data`", ("trl",)),
    "app": ("the judge app, and all of `local`", ("gradio",)),
    "smol": ("get the real model smol-base, and all of `local`", ("gguf",)),
    "gpu": ("Unsloth's kernels on an NVIDIA card, and all of `train`", ("unsloth", "unsloth_zoo")),
    "serve": ("serve an adapter with `transformers serve`, and all of `local`", ()),
    "endpoint": (
        "give verdicts over HTTP; judges behind a server need no more",
        ("fastapi", "uvicorn", "starlette"),
    ),
    "ray": ("evaluate on a Ray cluster (`--via ray`)", ("ray", "aiohttp")),
}


def install_line(extra: str) -> str:
    """What to type for an extra."""
    return f'pip install "rmr1_lite[{extra}]"'


def extra_of(module: str) -> str | None:
    """The extra that installs a module, None if no extra does."""
    top = module.partition(".")[0]
    return next((extra for extra, (_, modules) in EXTRAS.items() if top in modules), None)


def is_here(module: str) -> bool:
    """Whether a module is installed; it is not imported."""
    return find_spec(module) is not None


def missing_line(module: str) -> str:
    """The one-line message for a module that is not installed."""
    name = module.partition(".")[0]
    return f"{name} is needed here but not installed. Install it with: {install_line(extra_of(name) or '')}"


def need(*modules: str) -> None:
    """Raise an InputError for the first module that is not installed, before long work begins."""
    for module in modules:
        if not is_here(module):
            raise InputError(missing_line(module))


@contextmanager
def named_extras() -> Iterator[None]:
    """A missing module of an extra becomes an InputError; any other missing module is a bug and stays one."""
    try:
        yield
    except ModuleNotFoundError as error:
        if extra_of(error.name or "") is None:
            raise
        raise InputError(missing_line(error.name or "")) from error

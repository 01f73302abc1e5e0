"""A broken adapter is named before anything slow is loaded: these tests import no torch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rmr1_lite.config import NANO_TOKENS
from rmr1_lite.models.adapters import (
    AdapterInfo,
    default_max_new_tokens,
    fingerprint_folder,
    is_adapter,
    read_adapter,
    write_info,
)
from rmr1_lite.models.judge_specs import NANO, find_folder
from rmr1_lite.types import InputError


def weights(path: Path, body: bytes = b"\0" * 8) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, len(body)]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + body)


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    base, folder = tmp_path / "base", tmp_path / "adapter"
    base.mkdir()
    folder.mkdir()
    (base / "config.json").write_text("{}")
    weights(base / "model.safetensors")
    weights(folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text("{}")
    write_info(folder, AdapterInfo(str(base), "compact", fingerprint_folder(base), "sft"))
    return folder


def test_a_whole_adapter_is_read(adapter):
    assert is_adapter(adapter) and read_adapter(adapter).style == "compact"


def cut(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-3])


BROKEN = [
    (lambda f: (f / "adapter_model.safetensors").unlink(), "incomplete", "no weights"),
    (lambda f: (f / "adapter_config.json").unlink(), "incomplete", "no config"),
    (cut, "does not match its header", "weights cut off while copying"),
    (lambda f: (f / "adapter_model.safetensors").write_bytes(b""), "not a safetensors file", "empty weights"),
    (
        lambda f: (f / "adapter_model.safetensors").write_bytes(b"\5" + b"\0" * 7 + b"{{{{{" + b"1"),
        "no readable header",
        "weights are something else",
    ),
    (lambda f: (f / "rmr1_lite.json").write_text("{"), "not JSON", "half-written info"),
    (lambda f: (f / "rmr1_lite.json").unlink(), "names no base", "foreign adapter without a base"),
    (
        lambda f: weights(f.parent / "base" / "model.safetensors", b"\1" * 8),
        "was trained on other weights",
        "the base was trained on",
    ),
]


@pytest.mark.parametrize(("harm", "said", "reason"), BROKEN, ids=[row[-1] for row in BROKEN])
def test_a_broken_adapter_is_named(adapter, harm, said, reason):
    harm(adapter)
    with pytest.raises(InputError, match=said):
        read_adapter(adapter)


SPECS = [
    ("runs/none/adapter", "does not exist", "a path that is not there is no hub id"),
    ("./one/two", "does not exist", "a relative path"),
    ("nothing", "does not exist", "neither a folder nor owner/name"),
]


@pytest.mark.parametrize(("spec", "said", "reason"), SPECS, ids=[row[-1] for row in SPECS])
def test_specs_that_name_nothing(spec, said, reason):
    with pytest.raises(InputError, match=said):
        find_folder(spec)


def test_a_hub_id_is_no_folder(adapter):
    assert find_folder("owner/model") is None and find_folder(str(adapter)) == adapter
    shutil.rmtree(adapter)


@pytest.mark.parametrize(
    ("spec", "tokens", "reason"),
    [
        ("nano", NANO_TOKENS, "short chains"),
        ("nano-base", NANO_TOKENS, "the nano base too"),
        ("openai:m@http://127.0.0.1:1/v1", 2048, "nobody knows what an endpoint runs"),
        ("replay:log.jsonl", 2048, "a log is not cut"),
        ("owner/name", 2048, "a hub model"),
    ],
)
def test_room_for_the_answer(spec, tokens, reason):
    assert default_max_new_tokens(spec) == tokens, reason


def test_room_of_a_copied_nano_adapter(tmp_path):
    folder = shutil.copytree(NANO["nano"], tmp_path / "mine")
    assert default_max_new_tokens(str(folder)) == NANO_TOKENS

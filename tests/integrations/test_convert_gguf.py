"""What the converter is told about a tokenizer; the conversion itself is in tests/servers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rmr1_lite.integrations.export.convert_gguf import splits_bytes

BYTES: dict[str, Any] = {"type": "ByteLevel", "add_prefix_space": False}


@pytest.mark.parametrize(
    ("first", "wanted", "reason"),
    [
        (BYTES, True, "GPT-2 and what transformers makes of a GGUF"),
        ({"type": "Sequence", "pretokenizers": [{"type": "Digits"}, BYTES]}, True, "SmolLM2 and Llama 3"),
        ({"type": "Metaspace", "replacement": "\u2581"}, False, "SentencePiece"),
        ({"type": "Sequence", "pretokenizers": []}, False, "no step at all"),
        (None, False, "Llama 2: everything is in the normalizer"),
    ],
)
def test_byte_level_tokenizers_are_known(tmp_path: Path, first: Any, wanted: bool, reason: str):
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps({"pre_tokenizer": first}), encoding="utf-8")
    assert splits_bytes(file) is wanted, reason


def test_a_folder_without_the_file_is_left_to_the_converter(tmp_path: Path):
    assert not splits_bytes(tmp_path / "tokenizer.json")

"""Exports with llama.cpp's own converter, quantiser and server (`make servers`); Ollama's and LM Studio's
forms around the same file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rmr1_lite.integrations.export.export import export_judge
from rmr1_lite.integrations.export.gguf import write_gguf
from rmr1_lite.integrations.export.request import ExportRequest
from rmr1_lite.models.exports import FILE, read_export
from rmr1_lite.models.judge_specs import NANO
from rmr1_lite.types import InputError

pytestmark = pytest.mark.timeout(300)


def test_a_quantised_file_passes_the_full_gate(tmp_path: Path):
    """Read back by transformers, and behind llama-server."""
    done = export_judge(ExportRequest("nano", "gguf", tmp_path / "out", "q6_k", gate="full", limit=4))
    assert done.kept and [each.engine for each in done.parity] == ["transformers", "llama.cpp"]
    for each in done.parity:
        assert (each.calls, each.read) == (8, 8) and each.same_verdict >= 7, each.lines()
    assert {path.name for path in done.folder.iterdir()} == {"nano.gguf", "parity.json", "README.md", FILE}
    info = read_export(done.folder)
    assert info is not None and info.number_type == "q6_k" and len(info.parity) == 2


def test_the_smallest_type_is_smaller_than_the_others(tmp_path: Path):
    sizes = {}
    for number_type in ("f16", "q8_0", "q4_k_m"):
        out = tmp_path / number_type
        done = export_judge(ExportRequest("nano", "gguf", out, number_type, gate="off"))
        sizes[number_type] = (out / done.info.model).stat().st_size
    assert sizes["f16"] > sizes["q8_0"] > sizes["q4_k_m"] > 1_000_000


def test_ollama_gets_its_template_and_lm_studio_its_folders(tmp_path: Path):
    made = export_judge(ExportRequest("nano", "ollama", tmp_path / "ollama", gate="off", name="my-judge"))
    modelfile = (made.folder / "Modelfile").read_text(encoding="utf-8")
    assert modelfile.startswith("FROM ./my-judge.gguf\n") and (made.folder / "my-judge.gguf").exists()
    assert "PARAMETER num_ctx 768\n" in modelfile and 'PARAMETER stop "<|im_end|>"\n' in modelfile
    studio = export_judge(ExportRequest("nano", "lmstudio", tmp_path / "studio", gate="off"))
    assert (studio.folder / "models" / "rmr1_lite" / "nano" / "nano.gguf").exists()


def test_a_tokenizer_that_the_converter_does_not_know_is_said_in_its_words(tmp_path: Path):
    """nano's, under a name for which the kit has no rule."""
    base = tmp_path / "stranger"
    shutil.copytree(NANO["nano-base"], base)
    config = json.loads((base / "config.json").read_bytes())
    (base / "config.json").write_text(json.dumps(config))
    request = ExportRequest(str(base), "gguf", tmp_path / "out", "f16", gate="off", style="compact")
    with pytest.raises(InputError, match="(?s)converter to GGUF ended with status.*pre-tokenizer"):
        export_judge(request)
    assert not (tmp_path / "out").exists()


def test_byte_level_tokens_stay_byte_level_in_a_llama(tmp_path: Path):
    """transformers writes byte_fallback for such a tokenizer when it reads it from a GGUF. The converter then
    made a SentencePiece vocabulary of it, and llama-server answered every request with `_Map_base::at`."""
    from gguf import GGUFReader
    from transformers import LlamaConfig, LlamaForCausalLM

    base = tmp_path / "llama"
    shutil.copytree(NANO["nano-base"], base, ignore=shutil.ignore_patterns("config.json", "*.safetensors"))
    tokenizer = json.loads((base / "tokenizer.json").read_bytes())
    tokenizer["model"]["byte_fallback"] = True
    tokenizer["decoder"] = {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, tokenizer["decoder"]]}
    (base / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    known = len(tokenizer["model"]["vocab"]) + len(tokenizer["added_tokens"])
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=known,
            hidden_size=64,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=2,
        )
    ).save_pretrained(base)
    file = tmp_path / "llama.gguf"
    write_gguf(base, "nano-base", "f16", file)
    found = GGUFReader(file).get_field("tokenizer.ggml.model")
    assert found is not None and found.contents() == "gpt2"

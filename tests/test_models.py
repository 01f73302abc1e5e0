"""Bases in other forms than ours: stored in 4 bits already, in another quantisation, or not to be quantised at all."""

from __future__ import annotations

import pytest

from rmr1_lite import models
from rmr1_lite.models import load, with_new_lora
from rmr1_lite.types import InputError


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """The nano base, stored in 4 bits as pre-quantised repositories are."""
    folder = tmp_path_factory.mktemp("stored") / "nano-4bit"
    loaded = load("nano-base")
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    return folder


def test_a_base_stored_in_4_bits_is_taken_as_it_is(stored):
    import torch

    from rmr1_lite.models import is_quantised

    one, other = load("nano-base"), load(str(stored))
    assert "quantization_config" in (stored / "config.json").read_text() and is_quantised(other.model)
    ids = torch.arange(5, 40)[None]
    with torch.no_grad():
        assert torch.equal(one.model(ids).logits, other.model(ids).logits)
    assert {m.compute_dtype for m in other.model.modules() if type(m).__name__ == "Linear4bit"} == {torch.float32}


def test_other_quantisations_are_refused_before_the_weights_are_read(stored, tmp_path):
    import json
    import shutil

    shutil.copytree(stored, tmp_path / "gptq")
    config = json.loads((tmp_path / "gptq" / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (tmp_path / "gptq" / "config.json").write_text(json.dumps(config))
    (tmp_path / "gptq" / "model.safetensors").write_bytes(b"never read")
    with pytest.raises(InputError, match="another quantisation \\(gptq\\). Give the plain model"):
        load(str(tmp_path / "gptq"))


def test_a_model_that_cannot_be_put_into_4_bits_is_told(monkeypatch):
    monkeypatch.setattr(models, "is_quantised", lambda model: False)
    with pytest.raises(InputError, match="none of its layers can be put into 4 bits.*--no-four-bit"):
        load("nano-base")


def test_a_model_without_the_layers_that_lora_is_put_on_is_told(tmp_path):
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(n_layer=1, n_head=2, n_embd=16, vocab_size=64, n_positions=32, bos_token_id=0, eos_token_id=0)
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    load("nano-base").tokenizer.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="has none of the layers.*q_proj.*Qwen2.5"):
        with_new_lora(load(str(tmp_path)), 8, 16, 0.0, 0)

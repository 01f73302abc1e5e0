"""Bases in other forms than ours: already stored in 4 bits, in another quantisation, or not quantisable
at all."""

from __future__ import annotations

import pytest
from fixtures import tiny

from rmr1_lite.data.pairs import write_pairs
from rmr1_lite.models import loading
from rmr1_lite.models.backend import Backend
from rmr1_lite.models.loaded import Training
from rmr1_lite.models.loading import load, load_tokenizer
from rmr1_lite.models.lora import with_new_lora
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

    from rmr1_lite.models.loading import is_quantised

    one, other = load("nano-base"), load(str(stored))
    assert "quantization_config" in (stored / "config.json").read_text() and is_quantised(other.model)
    ids = torch.arange(5, 40)[None]
    with torch.no_grad():
        assert torch.equal(one.model(ids).logits, other.model(ids).logits)
    assert {m.compute_dtype for m in other.model.modules() if type(m).__name__ == "Linear4bit"} == {
        torch.float32
    }


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
    monkeypatch.setattr(loading, "is_quantised", lambda model: False)
    with pytest.raises(InputError, match="none of its layers can be quantized to 4 bits.*--no-four-bit"):
        load("nano-base")


def test_a_model_without_the_layers_that_lora_is_put_on_is_told(tmp_path):
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        n_layer=1, n_head=2, n_embd=16, vocab_size=64, n_positions=32, bos_token_id=0, eos_token_id=0
    )
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    load("nano-base").tokenizer.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="has none of the layers.*q_proj.*Qwen2.5"):
        with_new_lora(load(str(tmp_path)), 8, 16, 0.0, 0)


REFUSED = [
    (
        "gpt2",
        {"n_layer": 1, "n_head": 2, "n_embd": 16},
        "has none of the layers that LoRA is applied to",
        "other layers",
    ),
    (
        "t5",
        {"d_model": 16, "num_layers": 1, "num_heads": 2},
        "not a causal language model",
        "an encoder and a decoder",
    ),
    (
        "qwen3_moe",
        {"hidden_size": 16, "num_hidden_layers": 1},
        "overflow in fp16",
        "experts leave fp16's range",
    ),
]


@pytest.mark.parametrize(("kind", "size", "said", "reason"), REFUSED, ids=[row[-1] for row in REFUSED])
def test_what_cannot_be_trained_is_refused_before_its_weights_are_read(tmp_path, kind, size, said, reason):
    from transformers import AutoConfig

    AutoConfig.for_model(kind, vocab_size=64, **size).save_pretrained(tmp_path)
    load_tokenizer("nano-base").save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"never read")
    for name in ("transformers", "unsloth"):
        with pytest.raises(InputError, match=said):
            load(str(tmp_path), training=Training(Backend(name, "fp16", "T4", ""), 64, True, 0))
    if kind == "gpt2":
        with pytest.raises(InputError, match="could not be loaded: Error while deserializing header"):
            load(str(tmp_path))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "another quantisation"),
        ({"model_type": "no_such_model"}, "could not be loaded"),
        ({"model_type": "own_code", "auto_map": {"AutoConfig": "configuration.Own"}}, "could not be loaded"),
    ],
)
def test_what_the_config_says_already_is_refused_on_both_backends(tmp_path, config, said):
    import json

    from rmr1_lite.models.judge_specs import NANO

    held = json.loads((NANO["nano-base"] / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**held, **config}))
    load_tokenizer("nano-base").save_pretrained(tmp_path)
    for name in ("transformers", "unsloth"):
        for four_bit in (True, False):
            with pytest.raises(InputError, match=said):
                load(str(tmp_path), four_bit, training=Training(Backend(name, "bf16", "L4", ""), 64, True, 0))


def test_a_model_is_not_loaded_into_a_process_that_unsloth_has_changed(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "unsloth", object())
    with pytest.raises(InputError, match="Judge in another process"):
        load("nano")


def test_the_pad_of_the_training_is_not_saved(tmp_path):
    """Unsloth's other pad token is only for training: the folder keeps the tokenizer that the base came
    with."""
    from rmr1_lite.models.lora import save_adapter

    loaded = load("nano-sft", trainable=True)
    before, loaded.tokenizer.pad_token = loaded.tokenizer.pad_token, "<|im_start|>"
    loaded.pad = before
    save_adapter(loaded, tmp_path / "adapter", "compact", "sft")
    assert load_tokenizer(str(tmp_path / "adapter")).pad_token == before
    assert loaded.tokenizer.pad_token == "<|im_start|>", "a resume in the same process goes on with it"


def test_a_macs_gpu_is_said_to_be_left_alone_once(monkeypatch, capsys):
    import torch

    monkeypatch.setattr(loading, "_SAID", [])
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert [loading.model_device() for _ in range(3)] == ["cpu"] * 3
    assert capsys.readouterr().out == "This Mac's GPU (MPS) is not used: models run on the CPU here.\n"


@pytest.mark.parametrize("folder", ["with space", "Jürgen", "判断", "C:drive"])
def test_a_judge_in_a_folder_of_any_name(folder, tmp_path, monkeypatch):
    """Realistic paths, including one that begins like a Windows drive."""
    import shutil

    from rmr1_lite.judging.batch import judge_file
    from rmr1_lite.judging.factory import make_judge
    from rmr1_lite.models.judge_specs import NANO

    place = tmp_path / folder
    shutil.copytree(NANO["nano"], place / "judge")
    monkeypatch.chdir(place)
    write_pairs(place / "in put.jsonl", tiny.pairs(1))
    judge = make_judge(str(place / "judge"), max_new_tokens=4)
    assert judge_file(judge, place / "in put.jsonl", place / "out ü.jsonl", progress=False).looks == 2
    assert judge_file(judge, "in put.jsonl", "out ü.jsonl", progress=False).looks == 2, "it resumes"

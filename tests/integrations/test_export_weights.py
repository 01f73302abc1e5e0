"""Plain weights of LoRA and 4-bit models, against PEFT's own merge and the copy that judges here."""

from __future__ import annotations

import pytest
from fixtures import tiny

from rmr1_lite.integrations.export.weights import INDEX, names_in_files, plain_tensors, write_weights


def with_lora(**changes):
    """A tiny model with a LoRA whose B is not zero."""
    import torch
    from peft import LoraConfig, get_peft_model

    model = tiny.model(tiny.tokenizer())
    config = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj", "down_proj"], **changes}
    made = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **config))
    with torch.no_grad():
        for name, value in made.named_parameters():
            if "lora_B" in name:
                value.normal_(generator=torch.Generator().manual_seed(len(name)))
    return made.eval()


LORAS = [
    ({}, "plain"),
    ({"use_rslora": True}, "scaled by the root of the rank"),
    ({"rank_pattern": {"v_proj": 2}, "alpha_pattern": {"q_proj": 32}}, "ranks and alphas by layer"),
    ({"target_modules": "all-linear"}, "every linear layer"),
]


@pytest.mark.parametrize("changes, reason", LORAS, ids=[row[-1] for row in LORAS])
def test_the_sum_is_what_peft_merges(changes, reason, tmp_path):
    import torch
    from safetensors.torch import load_file

    model = with_lora(**changes)
    write_weights(plain_tensors(model), tmp_path, "fp32")
    ours, theirs = load_file(tmp_path / "model.safetensors"), model.merge_and_unload().state_dict()
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.allclose(value, theirs[name], atol=1e-6), name


def test_the_base_alone_is_the_base(tmp_path):
    import torch
    from safetensors.torch import load_file

    write_weights(plain_tensors(with_lora(), adapter=False), tmp_path, "fp32")
    base = tiny.model(tiny.tokenizer()).state_dict()
    assert all(torch.equal(base[k], v) for k, v in load_file(tmp_path / "model.safetensors").items())


def test_shards_hold_the_same_and_their_index_names_each(tmp_path):
    import json

    import torch
    from transformers import AutoModelForCausalLM

    model = tiny.model(tiny.tokenizer())
    model.config.save_pretrained(tmp_path)
    files = write_weights(plain_tensors(model), tmp_path, "fp32", shard=20_000)
    index = json.loads((tmp_path / INDEX).read_bytes())
    assert len(files) > 2 and set(index["weight_map"].values()) == {path.name for path in files}
    assert sorted(names_in_files(tmp_path)) == sorted(index["weight_map"])
    read = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    for name, value in model.state_dict().items():
        assert torch.equal(read.state_dict()[name], value), name


def test_a_number_that_fp16_cannot_hold_is_named(tmp_path):
    import torch

    model = tiny.model(tiny.tokenizer())
    with torch.no_grad():
        model.model.norm.weight[3] = 1e6
    with pytest.raises(OverflowError, match="model.norm.weight"):
        write_weights(plain_tensors(model), tmp_path, "fp16")
    write_weights(plain_tensors(model), tmp_path, "bf16")


def test_over_4_bits_it_is_the_copy_that_judges():
    import torch

    from rmr1_lite.models.judge_specs import NANO
    from rmr1_lite.models.loading import load
    from rmr1_lite.models.merged_copy import MergedCopy

    model = load("nano").model
    copy = MergedCopy(model).model.state_dict()
    ours = {each.name: each.value() for each in plain_tensors(model)}
    assert set(ours) == set(names_in_files(NANO["nano-base"]))
    for name, value in ours.items():
        assert torch.equal(copy[name].float(), value.float()), name

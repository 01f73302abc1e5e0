"""Linear layers in oneDNN's layout: the same products up to rounding, and an unchanged model."""

from __future__ import annotations

import pytest
from fixtures.architectures import ARCHITECTURES, greedy_texts, tiny_model

from rmr1_lite.models import packed_linears
from rmr1_lite.models.packed_linears import PackedLinears
from rmr1_lite.models.slots import decode_rows, greedy

PROMPTS = [[5, 6, 7, 8], [5, 6, 9], [40]]


@pytest.mark.parametrize("rows", [1, 3, 16, 600], ids=["one", "a few", "slots", "a prompt: torch's own"])
@pytest.mark.parametrize("bias", [True, False])
def test_products_are_the_layers_own(rows, bias):
    import torch

    torch.manual_seed(0)
    layer = torch.nn.Sequential(torch.nn.Linear(32, 48, bias=bias))
    values = torch.randn(1, rows, 32)
    with torch.inference_mode():
        wanted, packed = layer(values), PackedLinears(layer, 8)
        with packed.active():
            assert torch.allclose(layer(values), wanted, atol=1e-5)
    assert len(packed.layers) == 1


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_texts_are_those_of_generate(kind):
    model = tiny_model(kind)
    packed, rows = PackedLinears(model, 2), {}
    for step in decode_rows(model, PROMPTS, 2, 6, greedy, (2,), None, packed):
        for row, token, _ in step:
            rows.setdefault(row, []).append(token)
    assert [rows[i] for i in range(3)] == greedy_texts(model, PROMPTS, 6)
    assert len(packed.layers) > 10, "the head among them"


def test_the_model_is_left_as_it_was_also_after_an_error():
    model = tiny_model("llama")
    with pytest.raises(ZeroDivisionError), PackedLinears(model, 2).active():
        assert "forward" in vars(model.lm_head)
        raise ZeroDivisionError
    assert "forward" not in vars(model.lm_head)


def test_adapters_are_not_taken_for_plain_layers():
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    model = get_peft_model(tiny_model("llama"), lora)
    packed = PackedLinears(model, 2)
    names = {name for name, module in model.named_modules() for layer, _ in packed.layers if layer is module}
    assert any(name.endswith("q_proj.base_layer") for name in names)
    assert not any(name.endswith("q_proj") for name in names), "its forward adds the adapter"


def test_on_a_processor_where_it_was_never_tried_nothing_is_packed(monkeypatch):
    monkeypatch.setattr(packed_linears.platform, "machine", lambda: "arm64")
    assert PackedLinears(tiny_model("llama"), 2).layers == []

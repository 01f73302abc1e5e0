"""The shared-prefix pass must be the plain pass, only cheaper: same values, same gradients, same draws."""

from __future__ import annotations

import pytest
from fixtures.architectures import ARCHITECTURES, greedy_texts, tiny_model

from rmr1_lite.models.prefix_sampling import sample_rollouts
from rmr1_lite.models.shared_prefix import NAME, decoder_and_head, is_supported, token_logps
from rmr1_lite.types import InputError

PROMPTS = {
    "equal lengths": [[5, 6, 7, 8], [9, 10, 11, 12]],
    "ragged: padding must stay unseen": [[5, 6, 7, 8, 9, 10, 11], [12, 13]],
    "one token: the prefix is empty": [[5], [6, 7, 8]],
}
SAID = [[[20, 21, 22, 2], [23, 2], [24, 25, 26]], [[27, 2], [28, 29, 30, 31], [32, 33, 2]]]


def lora(model):
    import torch
    from peft import LoraConfig, get_peft_model

    made = get_peft_model(
        model, LoraConfig(r=2, target_modules=["q_proj", "v_proj", "down_proj"], task_type="CAUSAL_LM")
    )
    for name, parameter in made.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return made


def plain(model, prompts, said, temperature):
    """One row at a time, no batch, no sharing."""
    import torch

    rows = []
    for prompt, group in zip(prompts, said, strict=True):
        for row in group:
            logits = model(input_ids=torch.tensor([prompt + row])).logits[0, len(prompt) - 1 : -1]
            logps = torch.log_softmax(logits / temperature, -1)
            rows.append(logps.gather(-1, torch.tensor(row)[:, None])[:, 0])
    return rows


@pytest.mark.parametrize("prompts", PROMPTS.values(), ids=PROMPTS.keys())
@pytest.mark.parametrize("kind", [*ARCHITECTURES, "lora"])
def test_values_and_gradients_are_those_of_the_plain_pass(kind, prompts):
    import torch

    model = lora(tiny_model("qwen2")) if kind == "lora" else tiny_model(kind)
    trained = [p for p in model.parameters() if p.requires_grad]
    wanted = plain(model, prompts, SAID, 0.7)
    (sum(row.square().sum() for row in wanted)).backward()
    gradients = [p.grad.clone() for p in trained]
    model.zero_grad()
    logps, mask, _ = token_logps(model, prompts, SAID, 0.7)
    logps.square().sum().backward()
    for row, length, want in zip(logps, mask.sum(-1).tolist(), wanted, strict=True):
        assert torch.allclose(row[:length], want, atol=1e-5) and not row[length:].any()
    for got, want in zip([p.grad for p in trained], gradients, strict=True):
        assert (got - want).abs().max() <= 1e-4 * want.abs().max() + 1e-6


def test_entropies_are_those_of_the_distribution():
    import torch

    model = tiny_model("qwen2")
    _, _, entropies = token_logps(model, [[5, 6]], [[[7], [8]]])
    probabilities = model(input_ids=torch.tensor([[5, 6]])).logits[0, -1].softmax(-1)
    assert entropies[1, 0] == entropies[0, 0], "the other rows hold the mean of the first ones"
    assert entropies[0, 0].item() == pytest.approx(
        -(probabilities * probabilities.log()).sum().item(), abs=1e-5
    )


@pytest.mark.parametrize("prompts", PROMPTS.values(), ids=PROMPTS.keys())
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_cold_rollouts_are_greedy_generation(kind, prompts):
    import torch

    model = tiny_model(kind)
    rows = sample_rollouts(model, prompts, 2, 9, 1e-6, (2,), torch.Generator().manual_seed(0))
    for group, text in zip(rows, greedy_texts(model, prompts, 9), strict=True):
        assert group[0] == group[1] == text
    coldest = sample_rollouts(model, prompts, 2, 9, 0.0, (2,), None)
    assert coldest == rows, "temperature 0 needs no noise"


def test_groups_that_leave_early_change_nothing_for_the_others():
    model, ends = tiny_model("qwen2"), (2, *range(40, 64, 3))
    prompts = [[5 + i, 6, 30 - i, 7][: 2 + i % 3] for i in range(12)]
    together = sample_rollouts(model, prompts, 1, 20, 0.0, ends, None)
    assert together == [sample_rollouts(model, [prompt], 1, 20, 0.0, ends, None)[0] for prompt in prompts]
    assert len({len(group[0]) for group in together}) > 3, "they end at different times"


def test_rollouts_follow_the_distribution_and_the_generator():
    import torch

    model, prompt = tiny_model("qwen2"), [5, 6, 7]
    draws = sample_rollouts(model, [prompt], 4000, 1, 1.0, (2,), torch.Generator().manual_seed(1))[0]
    again = sample_rollouts(model, [prompt], 4000, 1, 1.0, (2,), torch.Generator().manual_seed(1))[0]
    assert draws == again, "the same generator state gives the same rollouts"
    shares = torch.bincount(torch.tensor(draws)[:, 0], minlength=64) / 4000
    wanted = model(input_ids=torch.tensor([prompt])).logits[0, -1].softmax(-1)
    assert (shares - wanted).abs().max() < 0.03, "four standard errors at p = 0.5 and n = 4000"


def test_rows_stop_at_their_end_token_or_at_the_limit():
    import torch

    model = tiny_model("qwen2")
    rows = sample_rollouts(model, [[5, 6], [7, 8]], 8, 12, 3.0, (2, 3, 4), torch.Generator().manual_seed(0))
    for row in (row for group in rows for row in group):
        ended = [token in (2, 3, 4) for token in row]
        assert not any(ended[:-1]) and (ended[-1] or len(row) == 12)


def test_the_prompt_is_run_once_per_group():
    import torch

    model, seen = tiny_model("qwen2"), []
    model.model.embed_tokens.register_forward_pre_hook(lambda _, args: seen.append(args[0].numel()))
    token_logps(model, [[5] * 20], [[[6] * 4] * 8])
    assert sum(seen) == 19 + 8 * 4
    seen.clear()
    sample_rollouts(model, [[5] * 20], 8, 4, 1.0, (), torch.Generator().manual_seed(0))
    assert sum(seen) == 19 + 8 * 4


def test_attention_and_mode_are_restored_after_an_error():
    import torch

    model = tiny_model("qwen2").train()
    decoder, _ = decoder_and_head(model)
    before = decoder.config._attn_implementation
    with pytest.raises(IndexError):
        sample_rollouts(model, [[5, 9999]], 2, 3, 1.0, (2,), torch.Generator())
    assert decoder.config._attn_implementation == before != NAME and model.training


@pytest.mark.parametrize(("said", "reason"), [([[[5]], [[6], [7]]], "groups of different sizes")])
def test_wrong_input_is_named(said, reason):
    with pytest.raises(InputError, match="same number"):
        token_logps(tiny_model("qwen2"), [[1, 2], [3, 4]], said)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda m: setattr(m.config, "layer_types", ["linear_attention", "full_attention"]),
            "linear_attention",
        ),
        (lambda m: setattr(m.config, "model_type", "granite"), "'granite' was not tested"),
        (lambda m: m.gradient_checkpointing_enable(), "gradient checkpointing"),
    ],
    ids=[
        "a layer without attention",
        "scores scaled in another way",
        "activations computed twice",
    ],
)
def test_models_that_would_come_out_wrong_are_refused(change, reason):
    import torch

    model = tiny_model("qwen2").train()
    assert is_supported(model) and is_supported(lora(tiny_model("qwen2")))
    change(model)
    assert not is_supported(model)
    with pytest.raises(InputError, match=f"{reason}.*shared_prefix off"):
        token_logps(model, [[1, 2]], [[[3]]])
    with pytest.raises(InputError, match=f"{reason}.*shared_prefix off"):
        sample_rollouts(model, [[1, 2]], 2, 3, 1.0, (2,), torch.Generator())

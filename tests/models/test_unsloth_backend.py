"""How Unsloth is made to train the same as transformers, as far as this needs no Unsloth: pads, lengths,
settings, what vLLM is given.

tests/unsloth_cpu shows on Unsloth's own code that it behaves as assumed here.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from rmr1_lite.config import preset
from rmr1_lite.models.backend import Backend
from rmr1_lite.models.unsloth_backend import (
    check_settings,
    check_vllm,
    length_within_context,
    separate_pad,
    sharing_line,
    vllm_arguments,
)
from rmr1_lite.types import InputError


def tokenizer_with(special, ordinary=(), pad=None, eos="<|im_end|>", template=True, unk=None, bos=None):
    """A tokenizer of a few words and the given added tokens, with a ChatML template."""
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.add_special_tokens([AddedToken(text, special=True) for text in special])
    core.add_tokens([AddedToken(text, special=False) for text in ordinary])
    made = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token=eos, pad_token=pad, unk_token=unk, bos_token=bos
    )
    if template:
        made.chat_template = (
            "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>{% endif %}"
        )
    return made


CHATML = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
PADS = [
    (CHATML, (), "<|endoftext|>", (), None, "pad is neither an end nor in the template: nothing to do"),
    (
        CHATML,
        (),
        "<|im_end|>",
        (),
        "<|endoftext|>",
        "SmolLM2-Instruct: pad = eos, the text's end is to spare",
    ),
    (CHATML, (), None, (), "<|endoftext|>", "no pad at all"),
    (
        (*CHATML, "<|vision_pad|>"),
        (),
        "<|endoftext|>",
        ("<|endoftext|>",),
        "<|vision_pad|>",
        "Qwen2.5: the pad is a second end",
    ),
    (
        (*CHATML, "<|reserved_0|>"),
        ("<|fim_pad|>",),
        "<|im_end|>",
        (),
        "<|fim_pad|>",
        "a token named pad before a reserved one",
    ),
    (
        (*CHATML, "<|file_sep|>"),
        (),
        "<|im_end|>",
        ("<|endoftext|>",),
        "<|file_sep|>",
        "any special token that no text needs",
    ),
    (
        CHATML,
        ("keypad",),
        "<|im_end|>",
        ("<|endoftext|>",),
        InputError,
        "a word is no pad, and nothing else is left",
    ),
    (("<|im_start|>", "<|im_end|>"), (), "<|im_start|>", (), InputError, "a pad that the template writes"),
]


@pytest.mark.parametrize(
    ("special", "ordinary", "pad", "ends", "chosen", "reason"), PADS, ids=[row[-1] for row in PADS]
)
def test_a_pad_that_no_text_contains_is_chosen(special, ordinary, pad, ends, chosen, reason, capsys):
    tokenizer = tokenizer_with(special, ordinary, pad)
    ids = [tokenizer.eos_token_id, *tokenizer.convert_tokens_to_ids(list(ends))]
    if chosen is InputError:
        with pytest.raises(InputError, match="Choose --backend transformers, or a model with a pad token"):
            separate_pad(tokenizer, ids, None, "owner/model")
        return
    before = separate_pad(tokenizer, ids, None, "owner/model")
    assert tokenizer.pad_token == (chosen or pad)
    assert before == (None if chosen is None else pad or ""), "what is put back when the adapter is saved"
    assert bool(capsys.readouterr().out) == (chosen is not None), "a change is said"


def test_a_token_without_a_row_in_the_embedding_is_no_pad():
    tokenizer = tokenizer_with((*CHATML, "<|a_pad|>"), (), "<|im_end|>")
    rows = tokenizer.convert_tokens_to_ids("<|a_pad|>")
    separate_pad(tokenizer, [tokenizer.eos_token_id], rows, "m")
    assert tokenizer.pad_token == "<|endoftext|>"


@pytest.mark.parametrize("pad", [None, "</s>"])
def test_a_vocabulary_with_nothing_to_spare_pads_with_its_unknown_token(pad):
    """Llama 2's, and those of models that took it over: <unk>, <s>, </s> and pieces of bytes."""
    tokenizer = tokenizer_with(
        ("<s>", "</s>", "<unk>"), pad=pad, eos="</s>", unk="<unk>", bos="<s>", template=False
    )
    assert separate_pad(tokenizer, [tokenizer.eos_token_id], None, "m") == (pad or "")
    assert tokenizer.pad_token == "<unk>"


def test_a_template_that_refuses_a_plain_conversation_is_left_to_whoever_renders(capsys):
    tokenizer = tokenizer_with(CHATML, (), "<|im_end|>")
    tokenizer.chat_template = "{{ raise_exception('only tools are spoken to') }}"
    separate_pad(tokenizer, [tokenizer.eos_token_id], None, "m")
    assert tokenizer.pad_token != "<|im_end|>"


LENGTHS = [
    (768, 0, 768, 768, False, "it fits"),
    (1024, 0, 768, 768, True, "the rows themselves do not fit"),
    (768, 152, 768, 768, False, "only the answers of probes do not"),
    (512, 152, 768, 664, False, "both fit"),
    (512, 0, None, 512, False, "a model that names no context"),
]


@pytest.mark.parametrize(
    ("length", "extra", "context", "given", "said", "reason"), LENGTHS, ids=[r[-1] for r in LENGTHS]
)
def test_unsloth_is_never_asked_for_more_than_the_context(
    length, extra, context, given, said, reason, capsys
):
    assert length_within_context(length, extra, context, "nano-base") == given
    assert ("RoPE stays as it is" in capsys.readouterr().out) == said


SETTINGS = [
    (
        {"loss_type": "dr_grpo", "scale_rewards": "group"},
        "Give --scale-rewards none",
        "",
        "Unsloth overrides it",
    ),
    ({"loss_type": "dr_grpo", "scale_rewards": "none"}, None, "", "as its paper has it"),
    (
        {"rollouts": 4, "micro_batch": 2, "groups": 2},
        None,
        "Prompts are not shared: micro_batch 2",
        "half a group",
    ),
    ({"rollouts": 4, "micro_batch": 8, "groups": 2}, None, "", "whole groups"),
]


@pytest.mark.parametrize(
    ("changes", "refused", "said", "reason"), SETTINGS, ids=[row[-1] for row in SETTINGS]
)
def test_what_unsloth_would_change_is_refused_or_said(changes, refused, said, reason, capsys):
    config = preset("grpo", "nano", **changes)
    if refused:
        with pytest.raises(InputError, match=refused):
            check_settings(config)
        return
    check_settings(config)
    printed = capsys.readouterr().out
    assert printed.startswith(said) if said else printed == ""


def test_the_line_at_the_end_says_why_prompts_were_not_shared():
    config = preset("grpo", "nano", rollouts=4, micro_batch=8, groups=2)
    verified = SimpleNamespace(_unsloth_prefix_grouper_grad_verified={"shape"})
    assert sharing_line(verified, config) == "Shared prompts (Unsloth): used."
    assert "Unsloth fell back" in sharing_line(SimpleNamespace(), config), "nothing that the settings explain"
    short = replace(config, max_prompt_tokens=64, max_new_tokens=512)
    assert "too short compared with" in sharing_line(SimpleNamespace(), short)
    assert "not a multiple of rollouts 4" in sharing_line(SimpleNamespace(), replace(config, micro_batch=2))


VLLM = [
    (
        Backend("transformers", "fp32", "CPU", ""),
        0.0,
        "the backend is transformers. Choose --rollout model",
        "needs Unsloth",
    ),
    (
        Backend("unsloth", "bf16", "L4", ""),
        0.0,
        "vllm is not installed. Choose --rollout model",
        "needs vllm",
    ),
]


@pytest.mark.parametrize(("backend", "beta", "said", "reason"), VLLM, ids=[row[-1] for row in VLLM])
def test_rollouts_by_vllm_are_refused_where_they_cannot_be_had(backend, beta, said, reason):
    with pytest.raises(InputError, match=said):
        check_vllm(backend, preset("grpo", "nano", rollout="vllm", beta=beta))


def test_what_vllm_is_given(monkeypatch, capsys):
    from rmr1_lite.models import unsloth_backend

    assert vllm_arguments(0) == {"fast_inference": False}
    assert vllm_arguments(16) == {"fast_inference": True, "max_lora_rank": 16, "gpu_memory_utilization": 0.5}
    monkeypatch.setattr(unsloth_backend, "find_spec", lambda name: object())
    card = Backend("unsloth", "bf16", "L4", "")
    check_vllm(card, preset("grpo", "nano", rollout="vllm"))
    assert "never been run" in capsys.readouterr().out
    with pytest.raises(InputError, match="Give --beta 0, or --rollout model"):
        check_vllm(card, preset("grpo", "nano", rollout="vllm", beta=0.05))

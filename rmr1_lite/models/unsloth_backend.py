"""Everything the kit does differently when Unsloth trains, so that Unsloth and transformers train the same
thing.

Each function handles one behaviour of Unsloth 2026.10.7. `tests/unsloth_cpu/` runs Unsloth's own code without
a GPU and fails when one of these answers is removed; what only a card can show is in
`perf/gpu_acceptance.py`.

    behaviour of Unsloth                                         answer
    max_seq_length above the model's context rescales RoPE       length_within_context
    GRPO finds padding by token id, so pad = end hides the end   separate_pad
    without vLLM no "ref" adapter: KL to the base, not to SFT    with_reference
    a prompt is shared among consecutive rows of whole groups    keep_groups_together, check_settings
    dr_grpo turns scale_rewards off                              check_settings
    log-probabilities: 4 chunks a row in one compiled graph      score_one_chunk_at_a_time
    decoding copies the adapter and turns checkpointing off      judging/engines/local.py, _evaluating
    a prompt over max_seq_length is truncated in judging         judging/engines/local.py, prompt_limit
    autocast comes off model.forward for good                    training/loop.py, fixed_text_logprobs
    models that it did not load break in its process             models/loading.py, _check_process, and
                                                                 training/process.py

Left as it is: each token's KL term is clipped at 10, which a KL kept small by beta does not reach.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from rmr1_lite.config import GRPOConfig
from rmr1_lite.models.backend import Backend
from rmr1_lite.types import InputError

# Unsloth shares a prompt when that saves at least this factor of tokens (UNSLOTH_GRPO_PREFIX_GROUPER_TOKR)
SHARE_FROM = 1.3
VLLM_SHARE_OF_CARD = 0.5


def load_base(place: str, four_bit: bool, training: Any, dtype: Any) -> Any:
    """The base as Unsloth loads it: its kernels, its checkpointing. training: a `models.loaded.Training`.

    use_exact_model_name: otherwise Unsloth replaces a name that it knows by a pre-quantised copy, which is
    another base.
    """
    from unsloth import FastLanguageModel

    model, _ = FastLanguageModel.from_pretrained(
        model_name=place,
        max_seq_length=training.length,
        dtype=dtype,
        load_in_4bit=four_bit,
        use_exact_model_name=True,
        random_state=training.seed,
        use_gradient_checkpointing=_checkpointing(training.checkpointing),
        trust_remote_code=False,
        **vllm_arguments(training.vllm_rank),
    )
    return model


def with_lora(
    model: Any, targets: Sequence[str], r: int, alpha: int, dropout: float, seed: int, checkpointing: bool
) -> Any:
    """A fresh LoRA, made by Unsloth so that its kernels know it."""
    from unsloth import FastLanguageModel

    return FastLanguageModel.get_peft_model(
        model,
        r=r,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=list(targets),
        bias="none",
        use_gradient_checkpointing=_checkpointing(checkpointing),
        random_state=seed,
        use_rslora=False,
    )


def with_loaded_adapter(model: Any, checkpointing: bool) -> Any:
    """A PEFT model loaded from a folder, patched with Unsloth's kernels."""
    from unsloth import FastLanguageModel

    return FastLanguageModel.patch_peft_model(model, _checkpointing(checkpointing))


def _checkpointing(on: bool) -> str | bool:
    return "unsloth" if on else False


def length_within_context(length: int, extra: int, context: int | None, name: str) -> int:
    """`length` + `extra` tokens, or the model's context if that is shorter: beyond it Unsloth would
    rescale RoPE and so silently train another model. extra: optional space."""
    if not context or length + extra <= context:
        return length + extra
    if length > context:
        print(
            f"{name} takes {context} tokens: it is loaded for those, not for {length}, and RoPE stays as it "
            "is."
        )
    return context


def separate_pad(tokenizer: Any, ends: Sequence[int], vocabulary: int | None, name: str) -> str | None:
    """Give the tokenizer a pad token that no text of ours contains; returns the former one, None when nothing
    was changed.

    Unsloth's GRPO treats every pad id as padding, wherever it appears: with pad = end the ends of the
    prompt's turns and of every rollout are silently hidden from the loss. ends: ids that end an
    answer. vocabulary: rows of the embedding. Raises InputError if the vocabulary has no spare token.
    """
    used = set(ends) | _template_ids(tokenizer)
    if tokenizer.pad_token_id is not None and tokenizer.pad_token_id not in used:
        return None
    for token in _spare_tokens(tokenizer):
        index = tokenizer.convert_tokens_to_ids(token)
        if index not in used and (vocabulary is None or index < vocabulary):
            before = tokenizer.pad_token
            tokenizer.pad_token = token
            print(
                f"Padding: {token} instead of {before or 'none'} while Unsloth trains, which would treat the "
                "end as padding."
            )
            return before or ""
    why = (
        f"its pad token ({tokenizer.pad_token}) also ends an answer"
        if tokenizer.pad_token
        else "it has no pad token"
    )
    raise InputError(
        f"{name}: {why}, and its vocabulary has no other token to pad with. Unsloth's GRPO would hide the "
        "end of every answer from the loss. Choose --backend transformers, or a model with a pad token."
    )


def _spare_tokens(tokenizer: Any) -> list[str]:
    """Added tokens in brackets that texts do not need: those named pad, then reserved ones, then any
    other, and the unknown token last (Llama 2's vocabulary has no other spare token, and its byte pieces
    leave nothing unknown)."""
    ordinary = {tokenizer.bos_token, tokenizer.eos_token, tokenizer.unk_token}
    tokens = [
        t for t in tokenizer.get_added_vocab() if t not in ordinary and t[:1] in "<[" and t[-1:] in ">]"
    ]
    special = [token for token in tokens if _is_special(tokenizer, token) or "pad" in token.lower()]

    def rank(token: str) -> tuple[bool, bool, int]:
        text = token.lower()
        reserved = any(
            word in text for word in ("reserved", "unused", "placeholder", "dummy", "endoftext", "eot")
        )
        return "pad" not in text, not reserved, tokenizer.convert_tokens_to_ids(token)

    return [*sorted(special, key=rank), *([tokenizer.unk_token] if tokenizer.unk_token else [])]


def _is_special(tokenizer: Any, token: str) -> bool:
    added = tokenizer.added_tokens_decoder.get(tokenizer.convert_tokens_to_ids(token))
    return bool(added and added.special)


def _template_ids(tokenizer: Any) -> set[int]:
    """Ids of the tokens that a rendered conversation holds; none for a template that refuses a plain one."""
    from jinja2 import TemplateError

    asked = {"role": "user", "content": "a"}
    for turns in ([asked, {"role": "assistant", "content": "a"}, asked], [asked]):
        if not tokenizer.chat_template:
            return set()
        try:
            text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        except TemplateError:
            continue
        return set(tokenizer(text, add_special_tokens=False)["input_ids"])
    return set()


def with_reference(model: Any) -> None:
    """A frozen copy of the adapter called "ref", the reference of the KL. TRL makes one by itself; Unsloth
    skips that and would use the base as the reference."""
    model.add_adapter("ref", model.peft_config["default"])
    held = dict(model.named_parameters())
    for name, parameter in held.items():
        if ".ref." in name:
            parameter.data.copy_(held[name.replace(".ref.", ".default.")].data)
            parameter.requires_grad_(False)
    model.set_adapter("default")


def check_settings(config: GRPOConfig) -> None:
    """Refuse settings that Unsloth would change, and report when prompts cannot be shared."""
    if config.loss_type == "dr_grpo" and config.scale_rewards != "none":
        raise InputError(
            f"Unsloth turns scale_rewards off with loss_type dr_grpo, whose paper does not scale. Give "
            f"--scale-rewards none instead of {config.scale_rewards}, or --backend transformers."
        )
    if config.micro_batch % config.rollouts:
        print(
            f"Prompts are not shared: micro_batch {config.micro_batch} is not a multiple of rollouts "
            f"{config.rollouts}, so each prompt is computed for every one of its rollouts."
        )


def keep_groups_together() -> None:
    """Unsloth shares the prompt of consecutive rows; TRL shuffles the scored rows, which would silently
    switch that off.

    Advantages are computed before the shuffle and every row of a step is used, so the order does not
    matter.
    """
    module: Any = sys.modules.get("UnslothGRPOTrainer")
    if module is not None and hasattr(module, "shuffle_sequence_dict"):
        module.shuffle_sequence_dict = lambda rows: rows


def score_one_chunk_at_a_time() -> None:
    """Unsloth's own memory-saving log-probabilities: one chunk is compiled and called in a loop, and its
    logits are computed again for the gradient.

    Its default unrolls every chunk, four a row, into one graph: on an H200 three such graphs of 8 rows were
    not compiled 80 seconds into the first step, and nano's 64 rows would unroll 256 chunks. Their logits also
    stay in memory for the gradient. UNSLOTH_GRPO_LOGPROB_RECOMPUTE=0 keeps that default.
    """
    if os.environ.setdefault("UNSLOTH_GRPO_LOGPROB_RECOMPUTE", "1") != "1":
        return
    from unsloth_zoo import rl_replacements

    # the variable is read by the pass with gradients; the one without imports this name at every call
    recompute = rl_replacements.chunked_hidden_states_selective_log_softmax_recompute
    rl_replacements.chunked_hidden_states_selective_log_softmax = recompute


def prompts_were_shared(model: Any) -> bool:
    """Whether Unsloth verified its shared-prefix pass on this model, and so used it at least once."""
    return bool(getattr(model, "_unsloth_prefix_grouper_grad_verified", None))


def sharing_line(model: Any, config: GRPOConfig) -> str:
    """One line at the end of a training: whether prompts were shared, and the known reason if
    they were not."""
    if prompts_were_shared(model):
        return "Shared prompts (Unsloth): used."
    prompt, completion, n = config.max_prompt_tokens, config.max_new_tokens, config.rollouts
    if config.micro_batch % n:
        reason = f"micro_batch {config.micro_batch} is not a multiple of rollouts {n}"
    elif n * (prompt + completion) < SHARE_FROM * (prompt + n * completion):
        reason = "the prompts are too short compared with the completions"
    else:
        reason = "Unsloth fell back to another pass; with UNSLOTH_ENABLE_LOGGING=1 it says why"
    return f"Shared prompts (Unsloth): not used ({reason})."


def check_vllm(backend: Backend, config: GRPOConfig) -> None:
    """Refuse rollouts by vLLM if they are impossible, before anything is loaded."""
    if not backend.unsloth or find_spec("vllm") is None:
        missing = "vllm is not installed" if backend.unsloth else f"the backend is {backend.name}"
        raise InputError(
            f'rollout is "vllm", which needs a GPU, Unsloth and vllm, but {missing}. Choose --rollout model.'
        )
    if config.beta > 0:
        raise InputError(
            'rollout is "vllm" and beta is above 0: vLLM would use one adapter while the KL needs a '
            "second. Give --beta 0, or --rollout model."
        )
    print("Note: rollouts with vLLM have never been run with this kit. If they fail, choose --rollout model.")


def vllm_arguments(rank: int) -> dict[str, Any]:
    """Arguments of from_pretrained for vLLM: half of the card, the rest for training. rank 0: no vLLM."""
    if not rank:
        return {"fast_inference": False}
    return {"fast_inference": True, "max_lora_rank": rank, "gpu_memory_utilization": VLLM_SHARE_OF_CARD}

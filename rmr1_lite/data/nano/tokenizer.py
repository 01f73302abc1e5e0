"""The tokenizer of the nano base: one token per word of the world, in Qwen2's layout and chat format."""

from __future__ import annotations

import random

from rmr1_lite.data.nano.documents import Document, document

EOS = "<|im_end|>"
SPECIALS = ("<|endoftext|>", "<|im_start|>", EOS)
# Qwen2's own split: AutoTokenizer rebuilds the tokenizer by model type, so anything else would change on
# loading
QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| "
    r"?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% "
    "endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def chatml(doc: Document) -> tuple[str, str]:
    """(input, expected output) as laid out by the tokenizer's chat template."""
    system = f"<|im_start|>system\n{doc.system}<|im_end|>\n" if doc.system else ""
    given = f"{system}<|im_start|>user\n{doc.user}<|im_end|>\n<|im_start|>assistant\n"
    return given, f"{doc.assistant}{EOS}"


def build_tokenizer(texts, vocab_size: int):
    """Byte-level BPE with Qwen2's rules, trained on `texts`; returns a transformers Qwen2 tokenizer."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import Qwen2Tokenizer

    core = Tokenizer(models.BPE())
    core.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(QWEN2_SPLIT), behavior="isolated")
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIALS),
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    core.train_from_iterator(texts, trainer)
    made = Qwen2Tokenizer(
        tokenizer_object=core,
        eos_token=EOS,
        pad_token=SPECIALS[0],
        unk_token=None,
        extra_special_tokens=list(SPECIALS[1:]),
        model_max_length=768,
    )
    made.chat_template = CHAT_TEMPLATE
    return made


def tokenizer_texts(seed: int):
    """Base documents, and the judge's markers and chains as bare text: a tokenizer learns spelling, not
    judging."""
    from rmr1_lite.data.nano.lexicon import PROMPT_SPELLINGS
    from rmr1_lite.data.nano.teacher import write_chain
    from rmr1_lite.data.nano.world import draw_cases

    rng = random.Random(f"tokenizer/{seed}")
    # a word in pieces is far harder to copy than a word in one piece: every word appears often, after a space
    # and bare
    for word in vocabulary():
        yield from [f" {word}"] * 400
        yield from [word] * 200
    for _ in range(30_000):
        doc = document(rng)
        yield f"{doc.system}\n{doc.user}\n{doc.assistant}"
    for case in draw_cases("train", 4_000, seed):
        yield f"{PROMPT_SPELLINGS}\n{write_chain(case, rng)}"


def vocabulary() -> list[str]:
    """Every word of the world and of the judge's prompt, as produced by the split."""
    import re

    from rmr1_lite.data.nano import lexicon
    from rmr1_lite.data.nano.documents import MARKS, ODD

    lists = [v for name, v in vars(lexicon).items() if name.isupper() and name != "PROMPT_SPELLINGS"]
    texts = [
        str(lists),
        str(MARKS),
        str(ODD),
        lexicon.PROMPT_SPELLINGS,
        "system user assistant first last in so",
    ]
    return sorted({w for text in texts for w in re.findall(r"[A-Za-z]+", text)} - {"True", "False"})

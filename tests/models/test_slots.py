"""Texts generated in slots must equal those of transformers' `generate`, whatever else is in the slots."""

from __future__ import annotations

import pytest
from fixtures.architectures import ARCHITECTURES, greedy_texts, tiny_model

from rmr1_lite.models.slots import decode_rows, greedy

PROMPTS = [
    [5, 6, 7, 8, 9, 10, 11],
    [5, 6, 7, 8, 30, 31],  # begins like the one before it
    [5, 6, 7, 8, 30, 31],  # is the one before it: all but the last token is taken over
    [5, 6],  # is the beginning of the one before it
    [40],  # one token, nothing in common
    [41, 42, 43],
]
ENDS = (2, *range(14, 64, 4))


def written(model, prompts, slots, room=9, ends=(2,), beginning=None, choose=greedy):
    rows: dict[int, list[int]] = {}
    for step in decode_rows(model, prompts, slots, room, choose, ends, beginning):
        assert len(step) <= slots
        for row, token, last in step:
            rows.setdefault(row, []).append(token)
            assert last == (token in ends or len(rows[row]) == room)
    return [rows[row] for row in range(len(prompts))]


@pytest.mark.parametrize("slots", [1, 3, 8], ids=["one after the other", "refilled", "all at once"])
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_texts_are_those_of_generate(kind, slots):
    model = tiny_model(kind)
    assert written(model, PROMPTS, slots) == greedy_texts(model, PROMPTS, 9)


def test_a_slot_is_filled_anew_as_soon_as_its_text_ends():
    model = tiny_model("llama")
    alone = [written(model, [prompt], 1, 20, ENDS)[0] for prompt in PROMPTS]
    assert written(model, PROMPTS, 2, 20, ENDS) == alone
    assert len({len(text) for text in alone}) > 2, "they end at different times"
    steps = sum(1 for _ in decode_rows(model, PROMPTS, 2, 20, greedy, ENDS))
    assert steps < sum(map(len, alone)) * 0.75, "two slots are busy most of the time"


def test_what_two_prompts_have_in_common_is_computed_once():
    model, seen = tiny_model("llama"), []
    model.model.embed_tokens.register_forward_pre_hook(lambda _, args: seen.append(args[0].numel()))
    kept = []
    written(model, PROMPTS[:3], 1, room=1, beginning=kept)
    assert seen == [7, 2, 1]
    written(model, [PROMPTS[2]], 1, room=1, beginning=kept)
    assert seen[3:] == [1], "kept from call to call"


def test_what_is_kept_is_the_prompt_and_not_the_text_that_followed():
    model, kept = tiny_model("llama"), []
    first = written(model, [[5, 6, 7]], 1, beginning=kept)[0]
    longer = [[5, 6, 7, *first[:2], 50]]
    assert written(model, longer, 1, beginning=kept) == greedy_texts(model, longer, 9)


def test_the_model_is_left_as_it_was_also_when_the_reader_goes():
    model = tiny_model("llama").train()
    before = model.config._attn_implementation
    steps = decode_rows(model, PROMPTS, 2, 9, greedy, (2,))
    next(steps)
    assert model.config._attn_implementation == before, "between two tokens others may use the model"
    steps.close()
    assert model.training

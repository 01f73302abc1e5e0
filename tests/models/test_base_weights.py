"""Over which weights of its base an adapter lies."""

from __future__ import annotations

import pytest

from rmr1_lite.models.base_weights import check_base, load_over
from rmr1_lite.models.loaded import is_quantised
from rmr1_lite.types import InputError

WRONG = [
    ("nano", "fp16", "Choose from auto, dequantised, original", "an unknown choice"),
    ("nano-base", "original", "not an adapter", "a plain model has one base"),
    ("openai:m@http://127.0.0.1:1/v1", "dequantised", "not an adapter", "an endpoint"),
    ("replay:log.jsonl", "original", "not an adapter", "a log"),
]


@pytest.mark.parametrize("spec, base, said, reason", WRONG, ids=[row[-1] for row in WRONG])
def test_a_choice_that_changes_nothing_is_refused(spec, base, said, reason):
    with pytest.raises(InputError, match=said):
        check_base(spec, base)


@pytest.mark.parametrize("spec", ["nano", "nano-base", "replay:log.jsonl"])
def test_auto_is_always_possible(spec):
    check_base(spec, "auto")


def test_the_dequantised_judge_is_plain_and_writes_the_same_the_original_one_does_not():
    from rmr1_lite.evaluation.bias.pairs import nano_pairs
    from rmr1_lite.judging.factory import make_judge

    pair = next(p for p in nano_pairs(50) if p.id.endswith("-13"))  # one whose verdict depends on it

    def texts(base):
        judge = make_judge("nano", base=base)
        quantised.append(is_quantised(judge.engine.model))
        return [look.generation.text for look in judge.compare(pair).looks]

    quantised: list[bool] = []
    trained, dequantised, original = (texts(base) for base in ("auto", "dequantised", "original"))
    assert trained == dequantised != original
    assert quantised == [True, False, False]


def test_a_base_stored_in_4_bits_has_no_original(tmp_path, monkeypatch):
    monkeypatch.setattr("rmr1_lite.models.base_weights.stored_in_4bit", lambda base: True)
    with pytest.raises(InputError, match="no original weights"):
        load_over("nano", "original")

"""Confidence and its quality: bins and errors by hand, a calibrated judge, and the log-probability of a
real model."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmr1_lite.config import NANO_TOKENS
from rmr1_lite.evaluation.calibration import BINS, compute_calibration, vote_probabilities
from rmr1_lite.judging.verdict_logprobs import before_verdict, first_looks, pair_probabilities
from rmr1_lite.types import Generation, InputError, Judgment, Look, Pair, Verdict
from rmr1_lite.verdict import parse_verdict


def pair(i: int, label: str | None = "A") -> Pair:
    return Pair(f"p{i}", ({"role": "user", "content": "q"},), "x", "y", label)


def votes(name: str, a: int, b: int, none: int = 0) -> Judgment:
    letters = ["A"] * a + ["B"] * b + [None] * none
    return Judgment(
        name, tuple(Look("ab", Generation(""), Verdict(x, "ok" if x else "missing")) for x in letters)
    )


def test_votes_are_shares_of_what_could_be_read():
    judgments = [votes("p0", 3, 1), votes("p1", 1, 1, 2), votes("p2", 0, 0, 4)]
    assert vote_probabilities(judgments) == {"p0": 0.75, "p1": 0.5}


@pytest.mark.parametrize(
    ("probabilities", "labels", "ece", "accuracy", "reason"),
    [
        ([1.0, 1.0], "AA", 0.0, 1.0, "sure and right"),
        ([1.0, 1.0], "BB", 1.0, 0.0, "sure and wrong"),
        ([1.0, 0.0], "AB", 0.0, 1.0, "sure of either response"),
        ([0.9, 0.9], "AB", 0.4, 0.5, "90 % sure, right half of the time"),
        ([0.5, 0.5], "AB", 0.0, 0.5, "no answer is half right, with half confidence"),
        ([0.95, 0.55], "AB", (0.05 + 0.55) / 2, 0.5, "two bins, each with its own gap"),
    ],
)
def test_calibration_by_hand(probabilities, labels, ece, accuracy, reason):
    pairs = [pair(i, label) for i, label in enumerate(labels)]
    made = compute_calibration(pairs, {f"p{i}": p for i, p in enumerate(probabilities)})
    assert made.ece == pytest.approx(ece) and made.accuracy == pytest.approx(accuracy), reason
    assert made.ece_low <= made.ece_high and sum(part.n for part in made.bins) == 2


def test_a_calibrated_judge_has_little_error_and_a_bold_one_much():
    rng = random.Random(0)
    pairs, honest, bold = [], {}, {}
    for i in range(3000):
        p = rng.random()
        pairs.append(pair(i, "A" if rng.random() < p else "B"))
        honest[f"p{i}"], bold[f"p{i}"] = p, 0.99 if p > 0.5 else 0.01
    assert compute_calibration(pairs, honest).ece < 0.03
    made = compute_calibration(pairs, bold)
    assert made.ece == pytest.approx(0.99 - made.accuracy) and made.ece_low > 0.2


@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from("AB")), min_size=1, max_size=30))
def test_figures_stay_in_their_bounds(rows):
    pairs = [pair(i, label) for i, (_, label) in enumerate(rows)]
    made = compute_calibration(pairs, {f"p{i}": p for i, (p, _) in enumerate(rows)})
    assert 0 <= made.ece <= 1 and 0.5 <= made.confidence <= 1 and 0 <= made.accuracy <= 1
    assert len(made.bins) == BINS and sum(part.n for part in made.bins) == len(rows)
    exchanged = [pair(i, "B" if label == "A" else "A") for i, (_, label) in enumerate(rows)]
    again = compute_calibration(exchanged, {f"p{i}": 1 - p for i, (p, _) in enumerate(rows)})
    assert again.ece == pytest.approx(made.ece, abs=1e-6) or any(abs(p - 0.5) % 0.1 < 1e-6 for p, _ in rows)


def test_pairs_without_a_probability_are_counted():
    assert compute_calibration([pair(0), pair(1), pair(2, None)], {"p0": 0.8, "p2": 0.9}).left_out == 2
    with pytest.raises(InputError, match="no confidence"):
        compute_calibration([pair(0)], {})


def test_the_text_before_the_verdict_ends_right_before_the_letter():
    look = Look("ab", Generation("<eval>[[x]]</eval>\n<answer>[[ B]]</answer>\n"), Verdict("B", "ok"))
    assert before_verdict(look) == "<eval>[[x]]</eval>\n<answer>[["


def test_the_shipped_judge_is_surest_of_the_letter_that_it_wrote(tmp_path):
    """Greedy text: the written letter is the more likely one, in either order; a second call loads no
    model."""
    from rmr1_lite.data.nano.world import draw_pairs as nano_pairs
    from rmr1_lite.judging.engines.base import Sampling
    from rmr1_lite.judging.engines.local import LocalEngine
    from rmr1_lite.judging.judge import Judge
    from rmr1_lite.models.loading import load

    fresh = nano_pairs("validation", 8, seed=5)
    loaded = load("nano")
    engine = LocalEngine(loaded.model, loaded.tokenizer, style=loaded.style)
    judgments = Judge(engine, sampling=Sampling(max_new_tokens=NANO_TOKENS)).compare_many(
        fresh, progress=False
    )
    found = pair_probabilities(lambda: loaded, fresh, judgments, "compact", tmp_path / "confidence.jsonl")
    rows = {
        (row["id"], row["order"]): row["p_a"]
        for row in map(json.loads, (tmp_path / "confidence.jsonl").open())
    }
    readable = [(j.pair_id, look) for j in judgments for look in j.looks if look.status == "ok"]
    assert len(rows) == len(readable) > 8
    for name, look in readable:
        assert (rows[name, look.order] > 0.5) == (look.label == "A")
        ends = [rows[name, order] for order in ("ab", "ba") if (name, order) in rows]
        assert found[name] == pytest.approx(sum(ends) / len(ends))

    def no_model():
        raise AssertionError("everything is in the log")

    assert pair_probabilities(no_model, fresh, judgments, "compact", tmp_path / "confidence.jsonl") == found


def test_a_verdict_in_other_words_has_no_letter_to_read_a_probability_from():
    """The lenient reading accepts "Verdict: A" of a foreign model; only our own mark ends before a letter."""
    texts = ("<eval>x</eval>\n<answer>[[A]]</answer>", "Final verdict: A", "")
    looks = [
        Look(order, Generation(text), parse_verdict(text, "lenient"))
        for order, text in zip(("ab", "ba", "ba"), texts, strict=True)
    ]
    assert [look.status for look in looks] == ["ok", "ok", "missing"]
    assert set(first_looks([Judgment("p", tuple(looks))])) == {("p", "ab")}

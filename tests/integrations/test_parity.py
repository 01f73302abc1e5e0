"""The parity gate's rules, on calls that are made up."""

from __future__ import annotations

import pytest

from rmr1_lite.evaluation.intervals import most_by_chance
from rmr1_lite.integrations.export.parity import allowance, compare_calls
from rmr1_lite.types import ORDERS, Generation, Look, Pair, Verdict

PAIRS = [Pair(f"p{k}", ({"role": "user", "content": "q"},), "a", "b", "A") for k in range(50)]


def calls(letter="A", texts="same", changed=0, unread=0):
    """100 calls that name `letter`; the first `changed` name the other one, the last `unread` none."""
    found = {}
    for number, (pair, order) in enumerate((pair, order) for pair in PAIRS for order in ORDERS):
        name = "B" if number < changed else letter
        shown = name if order == "ab" else {"A": "B", "B": "A"}[name]
        verdict = Verdict(None, "missing") if number >= 100 - unread else Verdict(shown, "ok")
        found[pair.id, order] = Look(order, Generation(texts), verdict)
    return found


ROWS = [
    ("fp32", None, {}, True, "nothing differs"),
    ("fp32", None, {"texts": "other"}, False, "the verdicts stay, but 32 bits must keep the texts"),
    ("bf16", 0, {"changed": 3}, True, "Wilson's upper bound of 0 of 100 is 3.7 %"),
    ("bf16", 0, {"changed": 4}, False, "one more than that"),
    ("bf16", 5, {"changed": 11}, True, "transformers' own 16-bit run changes 5: its bound is 11.2 %"),
    ("bf16", 5, {"changed": 12}, False, "one more than that"),
    ("f16", None, {"changed": 5}, True, "32 bits did not fit: 2 % and chance"),
    ("f16", None, {"changed": 6}, False, "one more than that"),
    ("q8_0", None, {"changed": 3}, True, "1 % and chance"),
    ("q8_0", None, {"changed": 4}, False, "one more than that"),
    ("q6_k", None, {"changed": 7}, True, "3 % and chance"),
    ("q6_k", None, {"changed": 8}, False, "one more than that"),
    ("q4_k_m", None, {"changed": 10}, True, "5 % and chance"),
    ("q4_k_m", None, {"changed": 11}, False, "one more than that"),
    ("q8_0", None, {"unread": 4}, False, "a verdict that is no longer parsed is a changed one"),
]


@pytest.mark.parametrize("number_type, baseline, after, passes, reason", ROWS, ids=lambda v: str(v)[:40])
def test_how_many_verdicts_may_change(number_type, baseline, after, passes, reason):
    found = compare_calls(PAIRS, calls(), calls(**after), number_type, "transformers", baseline)
    assert found.passed == passes, reason
    assert found.calls == 100 and found.same_verdict == 100 - after.get("changed", after.get("unread", 0))


def test_a_gate_over_calls_without_verdicts_does_not_pass():
    before = calls(unread=100)
    assert not compare_calls(PAIRS, before, calls(texts="other", unread=100), "q8_0", "transformers").passed
    assert compare_calls(PAIRS, before, calls(unread=100), "q8_0", "transformers").passed, "equal texts"


def test_changed_calls_are_listed_with_both_texts():
    found = compare_calls(PAIRS, calls(texts="one"), calls(texts="two", changed=2), "q8_0", "transformers")
    assert [(row["id"], row["order"]) for row in found.changed] == [("p0", "ab"), ("p0", "ba")]
    assert found.changed[0]["before"] == {"verdict": "A", "status": "ok", "text": "one"}
    assert found.changed[0]["after"] == {"verdict": "B", "status": "ok", "text": "two"}
    assert (found.right_before, found.right_after, found.same_text) == (100, 98, 0)


@pytest.mark.parametrize("n, share", [(1, 0.5), (40, 0.01), (100, 0.03), (200, 0.05), (10_000, 0.01)])
def test_most_by_chance_is_the_binomial_quantile(n, share):
    from scipy.stats import binom

    assert most_by_chance(n, share) == binom.ppf(0.975, n, share)


def test_every_type_has_a_rule():
    from rmr1_lite.integrations.export.request import BITS, GGUF_BITS

    for number_type in {*BITS, *GGUF_BITS}:
        assert allowance(number_type, 100, None)[0] >= 0

"""Metrics by hand, intervals against published examples, and the identities that hold for any judge."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmr1_lite.evaluation.intervals import (
    ENOUGH,
    clustered_interval,
    mcnemar_p,
    newcombe_paired,
    wilson_interval,
)
from rmr1_lite.evaluation.metrics import as_dict, from_dict, length_bias, paired_difference, score
from rmr1_lite.types import EvalResult, Generation, InputError, Judgment, Look, Pair, Verdict

# what a judge said of one pair, in order "ab" then "ba", in the letters shown; "-" is unreadable. The label
# is A.
RIGHT, WRONG, STUCK_ON_A, STUCK_ON_B, MUTE = "AB", "BA", "AA", "BB", "--"
# one look unreadable: the other one right, or wrong
RIGHT_AB, RIGHT_BA, WRONG_AB, WRONG_BA = "A-", "-B", "B-", "-A"
ALL = (RIGHT, WRONG, STUCK_ON_A, STUCK_ON_B, MUTE, RIGHT_AB, RIGHT_BA, WRONG_AB, WRONG_BA)


def pair(
    name: str, label: str | None = "A", section: str = "", texts: tuple[str, str] = ("long", "no")
) -> Pair:
    return Pair(name, ({"role": "user", "content": "q"},), *texts, label, section)


def read_pairs_of(n: int, **more) -> list[Pair]:
    return [pair(f"p{i}", **more) for i in range(n)]


def look(order: str, letter: str, status: str = "missing", tokens: int = 10) -> Look:
    verdict = Verdict(None, status) if letter == "-" else Verdict(letter, "ok")
    return Look(order, Generation("t", completion_tokens=tokens), verdict)


def judgment(name: str, code: str) -> Judgment:
    return Judgment(
        name, tuple(look(order, letter) for order, letter in zip(("ab", "ba"), code, strict=True))
    )


def judged(codes: list[str]) -> list[Judgment]:
    return [judgment(f"p{i}", code) for i, code in enumerate(codes)]


MIXED = [RIGHT, WRONG, STUCK_ON_A, RIGHT_AB]
BY_HAND = [  # strict, accuracy, flip rate, share of A, unparsed
    ([RIGHT] * 4, (1, 1, 0, 0.5, 0), "always right"),
    ([WRONG] * 4, (0, 0, 0, 0.5, 0), "always wrong is consistent too"),
    ([STUCK_ON_A] * 4, (0, 0.5, 1, 1, 0), "a position is no judgement: half right, never strictly"),
    ([STUCK_ON_B] * 4, (0, 0.5, 1, 0, 0), "the other position"),
    ([MUTE] * 4, (0, 0, 0, math.nan, 1), "silence is never half a point, and has no share of A"),
    ([RIGHT_AB] * 4, (0, 0.5, 0, 1, 0.5), "a missing look is no flip"),
    ([WRONG_BA] * 4, (0, 0, 0, 1, 0.5), "a wrong look and a missing one"),
    (MIXED, (0.25, 0.5, 0.25, 5 / 7, 1 / 8), "a mixture: 4 of 8 looks right, 5 of 7 readable ones say A"),
]


@pytest.mark.parametrize(("codes", "wanted", "reason"), BY_HAND, ids=[row[-1] for row in BY_HAND])
def test_figures_by_hand(codes, wanted, reason):
    result = score("judge", read_pairs_of(len(codes)), judged(codes), 2)
    got = (result.strict_accuracy, result.accuracy, result.flip_rate, result.a_share, result.unparsed)
    assert got == pytest.approx(wanted, nan_ok=True)
    assert (result.name, result.n, result.mean_tokens, result.seconds) == ("judge", len(codes), 10, 2.0)


def test_the_label_b_mirrors_the_label_a():
    exchanged = [code.translate(str.maketrans("AB", "BA")) for code in MIXED]
    of_a, of_b = (
        score("j", read_pairs_of(4), judged(MIXED), 0),
        score("j", read_pairs_of(4, label="B"), judged(exchanged), 0),
    )
    assert (of_b.strict_accuracy, of_b.accuracy, of_b.flip_rate) == (0.25, 0.5, 0.25)
    assert of_b.a_share == pytest.approx(1 - of_a.a_share)


def test_statuses_split_the_unparsed_looks():
    seen = (look("ab", "-", "truncated", 30), look("ba", "-", "conflict", 20))
    result = score("j", read_pairs_of(2), [judgment("p0", RIGHT), Judgment("p1", seen)], 0)
    assert result.statuses == {"ok": 0.5, "truncated": 0.25, "conflict": 0.25}
    assert result.mean_tokens == (10 + 10 + 30 + 20) / 4


VOTES = [
    ("A", "A", "one look"),
    ("AAB", "A", "a majority"),
    ("AB", None, "level votes give no letter"),
    ("AAB--", "A", "an unreadable look does not vote"),
    ("--", None, "no verdict was parsed"),
    ("", None, "this order was never shown"),
]


@pytest.mark.parametrize(("letters", "wanted", "reason"), VOTES, ids=[row[-1] for row in VOTES])
def test_votes_decide_within_an_order(letters, wanted, reason):
    votes = Judgment("p0", (*(look("ab", letter) for letter in letters), *[look("ba", "A")] * 9))
    assert votes.label_in("ab") == wanted
    assert votes.label_in("ba") == "B", "the letter shown is A, which is the pair's B"


@given(st.lists(st.sampled_from(ALL), min_size=1, max_size=40), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_identities(codes, seed):
    """The module's claims about any judge, and intervals that contain their metric."""
    result = score("judge", read_pairs_of(len(codes)), judged(codes), 0.0, seed=seed)
    one_sided = sum(code in (RIGHT_AB, RIGHT_BA) for code in codes) / len(codes)
    assert result.accuracy - result.strict_accuracy == pytest.approx((result.flip_rate + one_sided) / 2)
    assert sum(result.statuses.values()) == pytest.approx(1)
    assert result.statuses["ok"] == pytest.approx(1 - result.unparsed)
    for name, (low, high) in result.intervals.items():
        value = getattr(result, name)
        assert math.isnan(value) or 0 <= low <= value + 1e-9 <= high + 2e-9 <= 1 + 2e-9, name


def test_the_seed_makes_the_bootstrap():
    pairs, judgments = read_pairs_of(60), judged([RIGHT, STUCK_ON_A, WRONG] * 20)
    one, again, other = (
        score("j", pairs, judgments, 0, seed=seed).intervals["accuracy"] for seed in (1, 1, 2)
    )
    assert one == again != other and one == pytest.approx(other, abs=0.02)


BAD = [
    ([], [], "No pairs to score", "an empty set"),
    (read_pairs_of(2), judged([RIGHT]), "pair 'p1' has no judgment", "an unfinished evaluation"),
    (read_pairs_of(1), judged([RIGHT]) * 2, "pair 'p0' is judged twice", "one pair judged twice"),
    (read_pairs_of(1) * 2, judged([RIGHT]), "same id", "one pair twice"),
    (read_pairs_of(1, label=None), judged([RIGHT]), "pair 'p0' has no label", "nothing to compare with"),
    (read_pairs_of(1), [Judgment("p0", (look("ab", "A"),))], "never shown in order ba", "one order only"),
    (read_pairs_of(1), [Judgment("p0", ())], "never shown in order ab, ba", "no look at all"),
]


@pytest.mark.parametrize(("pairs", "judgments", "said", "reason"), BAD, ids=[row[-1] for row in BAD])
def test_what_cannot_be_scored_is_named(pairs, judgments, said, reason):
    with pytest.raises(InputError, match=said):
        score("judge", pairs, judgments, 0.0)


def test_judgments_come_in_any_order_and_may_hold_more_pairs():
    wanted = score("judge", read_pairs_of(3), judged([RIGHT, WRONG, MUTE]), 0.0)
    assert score("judge", read_pairs_of(3), reversed(judged([RIGHT, WRONG, MUTE, RIGHT])), 0.0) == wanted


def test_sections_stand_apart():
    pairs = [pair("p0", section="Chat"), pair("p1", section="Chat"), pair("p2", section="Safety"), pair("p3")]
    sections = score("judge", pairs, judged([RIGHT, STUCK_ON_A, RIGHT, WRONG]), 0.0).sections
    assert list(sections) == ["Chat", "Safety"], "a pair without a section counts in the whole only"
    chat = sections["Chat"]
    assert (chat.n, chat.strict_accuracy, chat.accuracy, chat.flip_rate) == (2, 0.5, 0.75, 0.5)
    assert (chat.strict_accuracy_low, chat.strict_accuracy_high) == wilson_interval(1, 2)


LENGTHS = [
    ("A", ("longer", "no"), "longer", "the right response is the longer one"),
    ("B", ("longer", "no"), "shorter", "the wrong one is"),
    ("B", ("no", "longer"), "longer", "the right one, shown as B"),
    ("A", ("same", "size"), "equal", "neither"),
]


@pytest.mark.parametrize(("label", "texts", "group", "reason"), LENGTHS, ids=[row[-1] for row in LENGTHS])
def test_length_bias_groups_by_the_right_response(label, texts, group, reason):
    found = length_bias(read_pairs_of(3, label=label, texts=texts), judged([RIGHT, RIGHT, WRONG]))
    assert list(found) == [group] and found[group].n == 3
    assert found[group].strict_accuracy == pytest.approx((2 if label == "A" else 1) / 3)


def test_paired_counts_pairs():
    first, second = [RIGHT, RIGHT, WRONG, STUCK_ON_A, MUTE], [RIGHT, WRONG, RIGHT, RIGHT, RIGHT]
    result = paired_difference(judged(first), judged(second), read_pairs_of(5))
    assert (result.n, result.gained, result.lost, result.difference) == (5, 3, 1, pytest.approx(0.4))
    assert result.p_value == pytest.approx(2 * (1 + 4) / 16), "P(at most 1 of 4 fair coins), both sides"
    assert (result.low, result.high) == newcombe_paired(1, 1, 3, 0)
    assert result.low <= result.difference <= result.high


def test_a_judge_does_not_differ_from_itself():
    result = paired_difference(judged(MIXED), judged(MIXED), read_pairs_of(4))
    assert (result.difference, result.p_value, result.gained, result.lost) == (0, 1, 0, 0)
    assert result.low < 0 < result.high


WILSON = [
    (81, 263, (0.2553, 0.3662), "Newcombe 1998 (single proportion), table I, method 3"),
    (15, 148, (0.0624, 0.1605), "the same table"),
    (0, 20, (0, 0.1611), "the same table: a width at zero"),
    (1, 29, (0.0061, 0.1718), "the same table: one event"),
    (20, 20, (0.8389, 1), "the mirror of 0 of 20: a width at one"),
]


@pytest.mark.parametrize(
    ("count", "n", "wanted", "reason"), WILSON, ids=[f"{r[0]} of {r[1]}" for r in WILSON]
)
def test_wilson_against_published_intervals(count, n, wanted, reason):
    assert wilson_interval(count, n) == pytest.approx(wanted, abs=6e-5), reason


# rows: both right, only the first, only the second, neither; the bounds are those of first minus second
NEWCOMBE = [
    ((36, 12, 2, 0), (0.0569, 0.3404), "Newcombe 1998 (paired), table III, method 10: negative correlation"),
    ((18, 12, 2, 18), (0.0562, 0.3290), "the same table: positive correlation, shrunk by half a pair"),
    ((53, 0, 0, 1), (-0.0729, 0.0729), "the same table: correlation lost to the shrinking"),
    ((0, 30, 0, 0), (0.8395, 1), "the same table: the largest difference there is"),
    (
        (59, 6, 16, 80),
        (-0.1186, -0.0046),
        "R package contingencytables: response to therapy, Cavo et al. 2012",
    ),
]


@pytest.mark.parametrize(("cells", "wanted", "reason"), NEWCOMBE, ids=[str(row[0]) for row in NEWCOMBE])
def test_newcombe_against_published_intervals(cells, wanted, reason):
    both, first, second, neither = cells
    # ours is second minus first, so the judges change places
    assert newcombe_paired(both, second, first, neither) == pytest.approx(wanted, abs=6e-5), reason
    low, high = newcombe_paired(both, first, second, neither)
    assert (-high, -low) == pytest.approx(wanted, abs=6e-5), "exchanging the judges mirrors the interval"


MCNEMAR = [
    (12, 2, 0.0129, "Armitage and Berry, culture media for tubercle bacilli, exact"),
    (1, 7, 18 / 256, "by hand: 2 (1 + 8) / 2^8"),
    (3, 3, 1, "level"),
    (0, 0, 1, "the judges never differ"),
    (0, 10, 2 / 1024, "by hand: 2 / 2^10"),
]


@pytest.mark.parametrize(("first", "second", "wanted", "reason"), MCNEMAR, ids=[row[-1] for row in MCNEMAR])
def test_mcnemar_against_published_and_hand_made_values(first, second, wanted, reason):
    assert mcnemar_p(first, second) == pytest.approx(wanted, abs=5e-5) == mcnemar_p(second, first)


def test_the_bootstrap_resamples_pairs_not_looks():
    """Forty pairs whose two looks agree hold the information of forty coins, not of eighty."""
    low, high = clustered_interval([(2, 2)] * 20 + [(0, 2)] * 20)
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(0.25 / 40), abs=0.03)
    low, high = clustered_interval([(2, 2)] * 20 + [(1, 2)] * 40 + [(0, 2)] * 20)
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(0.25 / 160), abs=0.02), (
        "independent looks: 160 coins"
    )


def test_too_little_spread_for_a_bootstrap():
    """Fewer than `ENOUGH` pairs off the common value: Wilson on the pairs, which is slightly too wide."""
    assert clustered_interval([(2, 2)] * 5) == wilson_interval(5, 5), (
        "no spread in five pairs is not certainty"
    )
    few = [(0, 2)] * (400 - ENOUGH + 1) + [(1, 2)] * (ENOUGH - 1)
    assert clustered_interval(few) == wilson_interval((ENOUGH - 1) / 2, 400)
    assert clustered_interval([(0, 2)] * 400)[1] < clustered_interval([(0, 2)] * 399 + [(1, 2)])[1], (
        "one failure is not better than none"
    )
    assert clustered_interval([(0, 0), (0, 0), (2, 2)]) == wilson_interval(1, 1), (
        "pairs without a look to count do not count"
    )
    assert clustered_interval([(0, 0)] * 3) == pytest.approx((math.nan, math.nan), nan_ok=True)


@pytest.mark.parametrize("codes", [MIXED, [MUTE, MUTE]], ids=["figures", "a share that does not exist"])
def test_as_dict_and_from_dict_are_inverse(codes):
    result = score("judge", read_pairs_of(len(codes), section="Chat"), judged(codes), 1.5)
    row = json.loads(json.dumps(as_dict(result), allow_nan=False))
    again = from_dict({**row, "a note of the writer": 1})
    assert isinstance(again, EvalResult) and repr(again) == repr(result), (
        "repr, because nan is not equal to itself"
    )
    for name in row:
        with pytest.raises(InputError, match=f"field '{name}' is missing"):
            from_dict({key: value for key, value in row.items() if key != name})

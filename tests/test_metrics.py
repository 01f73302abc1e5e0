"""Figures by hand, intervals against other implementations, and the identities that must hold for any judge."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmr1_lite.intervals import clustered, mcnemar_p, newcombe_paired, wilson
from rmr1_lite.metrics import as_dict, from_dict, length_bias, order_label, paired, score
from rmr1_lite.results import add_difference, add_stage, load, new, save, stage
from rmr1_lite.types import Generation, InputError, Judgment, Look, Pair, Verdict

# what a judge said of one pair, in the order "ab" then "ba", in the letters shown; "-" is unreadable. The label is A.
RIGHT, WRONG, STUCK_ON_A, STUCK_ON_B, HALF, MUTE = "AB", "BA", "AA", "BB", "A-", "--"


def pairs_of(n: int, **more) -> list[Pair]:
    return [Pair(f"p{i}", ({"role": "user", "content": "q"},), "long answer", "short", "A", **more) for i in range(n)]


def look(order: str, letter: str) -> Look:
    verdict = Verdict(None, "missing") if letter == "-" else Verdict(letter, "ok")
    return Look(order, Generation("t", completion_tokens=10), verdict)


def judged(codes: list[str]) -> list[Judgment]:
    return [Judgment(f"p{i}", tuple(look(o, x) for o, x in zip(("ab", "ba"), code, strict=True))) for i, code in enumerate(codes)]


ROWS = [
    ([RIGHT] * 4, (1.0, 1.0, 0.0, 0.5, 0.0), "always right"),
    ([WRONG] * 4, (0.0, 0.0, 0.0, 0.5, 0.0), "always wrong is consistent too"),
    ([STUCK_ON_A] * 4, (0.0, 0.5, 1.0, 1.0, 0.0), "a position is no judgement: half right, never strictly"),
    ([STUCK_ON_B] * 4, (0.0, 0.5, 1.0, 0.0, 0.0), "the other position"),
    ([MUTE] * 4, (0.0, 0.0, 0.0, math.nan, 1.0), "silence is never half a point"),
    ([HALF] * 4, (0.0, 0.5, 0.0, 1.0, 0.5), "one look missing is no flip"),
    ([RIGHT, WRONG, STUCK_ON_A, HALF], (0.25, 0.5, 0.25, 5 / 7, 1 / 8), "a mixture, counted by hand"),
]


@pytest.mark.parametrize(("codes", "wanted", "reason"), ROWS, ids=[row[-1] for row in ROWS])
def test_figures_by_hand(codes, wanted, reason):
    result = score("judge", pairs_of(len(codes)), judged(codes), 2.0)
    got = (result.strict_accuracy, result.accuracy, result.flip_rate, result.a_share, result.unparsed)
    assert got == pytest.approx(wanted, nan_ok=True)
    assert result.mean_tokens == 10 and result.n == len(codes) and result.seconds == 2.0


@given(st.lists(st.sampled_from([RIGHT, WRONG, STUCK_ON_A, STUCK_ON_B, HALF, MUTE, "-B", "B-"]), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_identities(codes):
    result = score("judge", pairs_of(len(codes)), judged(codes), 0.0)
    one_sided = sum(code in ("A-", "-B") for code in codes) / len(codes)
    assert result.accuracy - result.strict_accuracy == pytest.approx((result.flip_rate + one_sided) / 2)
    assert sum(result.statuses.values()) == pytest.approx(1)
    for name, (low, high) in result.intervals.items():
        value = getattr(result, name)
        assert math.isnan(value) or 0 <= low <= value + 1e-9 and value - 1e-9 <= high <= 1, name


def test_votes_decide_within_an_order():
    votes = Judgment("p0", (look("ab", "A"), look("ab", "A"), look("ab", "B"), look("ba", "B"), look("ba", "A")))
    assert order_label(votes, "ab") == "A" and order_label(votes, "ba") is None, "level votes give no letter"


BAD = [
    ([], [], "empty", "nothing to score"),
    (pairs_of(2), judged([RIGHT]), "no judgment", "an unfinished evaluation"),
    (pairs_of(1), judged([RIGHT]) * 2, "twice", "one pair judged twice"),
    (pairs_of(1) * 2, judged([RIGHT]), "same id", "one pair twice"),
    ([Pair("p0", (), "a", "b")], judged([RIGHT]), "no label", "nothing to compare with"),
    (pairs_of(1), [Judgment("p0", (look("ab", "A"),))], "never shown in order ba", "one order only"),
]


@pytest.mark.parametrize(("pairs", "judgments", "said", "reason"), BAD, ids=[row[-1] for row in BAD])
def test_what_cannot_be_scored_is_named(pairs, judgments, said, reason):
    with pytest.raises(InputError, match=said):
        score("judge", pairs, judgments, 0.0)


def test_sections_and_length():
    pairs = [*pairs_of(2, section="Chat"), Pair("p2", (), "x", "longer", "A", "Safety")]
    judgments = judged([RIGHT, WRONG, RIGHT])
    sections = score("judge", pairs, judgments, 0.0).sections
    assert (sections["Chat"]["strict_accuracy"], sections["Safety"]["n"]) == (0.5, 1)
    bias = length_bias(pairs, judgments)
    assert (bias["longer"]["n"], bias["shorter"]["strict_accuracy"]) == (2, 1.0)


def test_paired_difference_counts_pairs():
    result = paired(judged([RIGHT, RIGHT, WRONG, WRONG, WRONG]), judged([RIGHT, WRONG, RIGHT, RIGHT, RIGHT]), pairs_of(5))
    assert (result.gained, result.lost, result.difference) == (3, 1, pytest.approx(0.4))
    assert result.p_value == pytest.approx(2 * (1 + 4) / 16), "exact binomial: P(X <= 1) of 4 fair coins, both sides"


@pytest.mark.parametrize(("n", "p1", "p2"), [(100, 0.5, 0.7), (40, 0.9, 0.8), (400, 0.25, 0.5)])
def test_newcombe_without_correlation_is_the_unpaired_interval(n, p1, p2):
    from statsmodels.stats.proportion import confint_proportions_2indep

    both, first, second = round(n * p1 * p2), round(n * p1), round(n * p2)
    got = newcombe_paired(both, first - both, second - both, n - first - second + both)
    wanted = confint_proportions_2indep(second, n, first, n, method="newcomb")
    assert got == pytest.approx(wanted, abs=0.003)


def test_newcombe_narrows_with_agreement_and_mirrors():
    loose, tight = newcombe_paired(30, 20, 30, 20), newcombe_paired(50, 0, 10, 40)
    assert tight[1] - tight[0] < loose[1] - loose[0] and tight[0] > 0
    low, high = newcombe_paired(30, 30, 20, 20)
    assert (low, high) == pytest.approx((-loose[1], -loose[0]))


@pytest.mark.parametrize(
    ("count", "n", "wanted", "reason"),
    [(0, 10, (0, 0.2775), "no width lost at zero"), (10, 10, (0.7225, 1), "nor at one"), (5, 10, (0.2366, 0.7634), "the middle")],
)
def test_wilson_against_tables(count, n, wanted, reason):
    assert wilson(count, n) == pytest.approx(wanted, abs=1e-3)


def test_bootstrap_resamples_pairs_not_looks():
    """Twenty pairs whose two looks agree hold the information of twenty coins, not of forty."""
    low, high = clustered([(2, 2)] * 10 + [(0, 2)] * 10)
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(0.25 / 20), abs=0.05)
    assert clustered([(0, 0)]) == pytest.approx((math.nan, math.nan), nan_ok=True)
    assert clustered([(2, 2)] * 5) == wilson(5, 5), "no spread in five pairs is not certainty"
    assert mcnemar_p(0, 0) == 1.0


def test_results_round_trip(tmp_path):
    one, two = judged([RIGHT, MUTE, HALF]), judged([MUTE, MUTE, MUTE])
    pairs, results = pairs_of(3), new(3, "command", {"n": 3})
    for name, judgments in (("sft", one), ("mute", two)):
        add_stage(results, score(name, pairs, judgments, 1.5), note="x")
    add_difference(results, "sft", "mute", paired(one, two, pairs))
    read = load(save(results, tmp_path / "results.json"))
    assert read == json.loads(json.dumps(results))
    assert from_dict(as_dict(stage(read, "sft"))) == score("sft", pairs, one, 1.5)
    assert math.isnan(stage(read, "mute").a_share), "a figure that does not exist survives as null"


WRONG_FILES = [
    (lambda r: r.pop("stages"), "stages", "a part is missing"),
    (lambda r: r["stages"]["sft"].pop("flip_rate"), "stages.sft.*flip_rate", "a figure is missing"),
    (lambda r: r["stages"]["sft"].update(accuracy=1.5), "accuracy is 1.5", "a share above one"),
    (lambda r: r["stages"]["sft"].update(n="3"), "n.*whole number", "a number as text"),
    (lambda r: r.update(schema=9), "schema is 9", "another version"),
]


@pytest.mark.parametrize(("harm", "said", "reason"), WRONG_FILES, ids=[row[-1] for row in WRONG_FILES])
def test_a_wrong_results_file_is_named(tmp_path, harm, said, reason):
    results = new(0, "command")
    add_stage(results, score("sft", pairs_of(1), judged([RIGHT]), 0.0))
    harm(results)
    (tmp_path / "results.json").write_text(json.dumps(results))
    with pytest.raises(InputError, match=said):
        load(tmp_path / "results.json")

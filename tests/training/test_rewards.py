"""The reward is the verdict and nothing else."""

from __future__ import annotations

import pytest

from rmr1_lite.training.rewards import group_advantages, trl_reward, verdict_match

A, B = "<answer>[[A]]</answer>", "<answer>[[B]]</answer>"
ROWS = [
    (A, "A", True, 1.0, "the right letter"),
    (B, "A", True, -1.0, "the wrong letter"),
    (A, "A", False, -1.0, "cut off: the verdict may have been a quote"),
    ("", "A", True, -1.0, "nothing was written"),
    (f"{A} {B}", "B", True, -1.0, "two verdicts"),
    (f"{A} done", "A", True, -1.0, "something behind the verdict"),
    (f"<think>{A}", "A", True, -1.0, "inside a thought that never closed"),
    ("[[A]]", "A", True, -1.0, "no answer tag"),
]


@pytest.mark.parametrize(
    ("text", "label", "finished", "wanted", "reason"), ROWS, ids=[row[-1] for row in ROWS]
)
def test_reward(text, label, finished, wanted, reason):
    assert verdict_match(text, label, finished) == wanted


def test_an_open_thought_is_told_by_the_caller():
    assert verdict_match(f"so {A}", "A", thought_open=True) == -1.0
    assert verdict_match(f"so </think>{A}", "A", thought_open=True) == 1.0


class Letters:
    """Ids are code points; 0 ends."""

    def decode(self, ids, **_):
        return "".join(map(chr, ids))


def test_trl_adapter_decodes_ids_and_sees_the_end_token():
    seen = []
    reward = trl_reward(Letters(), (0,), lambda verdicts, columns: seen.extend(v.status for v in verdicts))
    ids = [[*map(ord, A), 0], [*map(ord, A)], [*map(ord, B), 0]]
    assert reward(completion_ids=ids, shown_label=["A", "A", "A"], pair_id=["p"] * 3) == [1.0, -1.0, -1.0]
    assert seen == ["ok", "truncated", "ok"]


def test_trl_adapter_takes_the_open_thought_from_its_column():
    reward = trl_reward(Letters(), (0,))
    assert reward(completion_ids=[[*map(ord, A), 0]], shown_label=["A"], thought_open=[True]) == [-1.0]


ADVANTAGES = [
    ([1.0, -1.0], "none", [1.0, -1.0], "less the mean"),
    ([1.0, 1.0, 1.0, -1.0], "none", [0.5, 0.5, 0.5, -1.5], "the odd one out weighs most"),
    (
        [1.0, 1.0, 1.0, -1.0],
        "group",
        [0.5, 0.5, 0.5, -1.5],
        "divided by the standard deviation, which is 1 here",
    ),
    ([1.0, -1.0], "group", [0.7071, -0.7071], "divided by 1.4142"),
    ([-1.0] * 4, "group", [0.0] * 4, "all wrong: nothing to learn, and nothing divided by 0"),
    ([1.0] * 4, "none", [0.0] * 4, "all right"),
]


@pytest.mark.parametrize(
    ("rewards", "scale", "made", "reason"), ADVANTAGES, ids=[row[-1] for row in ADVANTAGES]
)
def test_advantages_of_one_group(rewards, scale, made, reason):
    assert group_advantages(rewards, scale) == pytest.approx(made, abs=1e-3)

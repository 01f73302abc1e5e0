"""New answers against old ones: stops when the result is clear, stays within its budget, lists the losses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from api.test_pairwise import loud, scripted
from fixtures.scripted import UNREADABLE, A

from rmr1_lite import InputError
from rmr1_lite.api.acceptance import assert_at_least_as_good, compare_answers

pytest_plugins = ["pytester"]
PROMPTS = [f"Question {n}?" for n in range(120)]
QUIET, LOUD = ["so"] * 120, ["so!"] * 120
HALF = ["so!" if n % 2 else "so" for n in range(120)]
OTHER_HALF = ["so" if n % 2 else "so!" for n in range(120)]

CASES: list[tuple[str, Any, list[str], list[str], str, int]] = [
    # reason, judge, old, new, outcome, calls at most
    ("all better: clear after a few", loud, QUIET, LOUD, "as good", 48),
    ("all worse: clear after a few", loud, LOUD, QUIET, "worse", 48),
    ("equal answers cost nothing", loud, QUIET, QUIET, "as good", 0),
    ("a judge of positions says nothing against the new ones", lambda r: A, QUIET, LOUD, "as good", 120),
    ("a judge that cannot be read says nothing", lambda r: UNREADABLE, QUIET, LOUD, "unclear", 240),
]


@pytest.mark.parametrize(("reason", "say", "old", "new", "outcome", "most"), CASES, ids=[c[0] for c in CASES])
def test_outcomes(reason: str, say: Any, old: list[str], new: list[str], outcome: str, most: int) -> None:
    result = compare_answers(scripted(say), PROMPTS, old, new)
    assert result.outcome == outcome and result.calls <= most, f"{reason}: {result}"
    assert result.wins + result.losses + result.same + result.unparsed <= result.prompts
    assert len(result.lost) == result.losses


def test_as_many_won_as_lost_is_as_good_within_the_margin() -> None:
    result = compare_answers(scripted(loud), PROMPTS, HALF, OTHER_HALF, margin=0.25)
    assert result.outcome == "as good" and 0.25 < result.low < 0.5 < result.high
    assert compare_answers(scripted(loud), PROMPTS, HALF, OTHER_HALF, margin=0.0).outcome == "unclear"


def test_the_budget_holds_and_running_out_of_it_fails_unless_told_otherwise() -> None:
    judge, options = scripted(loud), {"budget": 7, "batch": 2}
    result = compare_answers(judge, PROMPTS, QUIET, LOUD, **options)
    assert (result.outcome, result.calls, result.trials) == ("unclear", 6, 3)
    with pytest.raises(AssertionError, match="Not clear within the budget"):
        assert_at_least_as_good(judge, PROMPTS, QUIET, LOUD, **options)
    assert assert_at_least_as_good(judge, PROMPTS, QUIET, LOUD, when_unclear="pass", **options).wins == 3


def test_a_judge_that_said_nothing_passes_nothing() -> None:
    with pytest.raises(AssertionError, match="unclear"):
        assert_at_least_as_good(
            scripted(lambda request: UNREADABLE), PROMPTS, QUIET, LOUD, budget=8, when_unclear="pass"
        )


def test_worse_answers_fail_with_a_report_that_names_them() -> None:
    with pytest.raises(AssertionError) as error:
        assert_at_least_as_good(scripted(loud), PROMPTS, LOUD, QUIET)
    said = str(error.value)
    assert (
        said.startswith("New answers: worse. Preferred in 0.00 of the trials")
        and "- old better: Question" in said
    )
    assert said.count("- old better") == 5 and "more" in said.splitlines()[-1]


def test_functions_are_asked_for_what_is_tried_and_no_more() -> None:
    asked: list[str] = []

    def answer(prompt: str) -> str:
        asked.append(prompt)
        return "so!"

    result = compare_answers(scripted(loud), PROMPTS, QUIET, answer)
    assert len(asked) == result.trials < len(PROMPTS)


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("too few answers", {"new": ["x"]}, "new must hold one answer per prompt (120)"),
    ("a text for answers", {"old": "x" * 120}, "old must hold one answer per prompt"),
    ("an empty answer", {"new": lambda prompt: " "}, "is empty or not a text"),
    ("no prompts", {"prompts": []}, "prompts is a text or empty"),
    ("a margin that forgives everything", {"margin": 0.5}, "margin is 0.5"),
    ("a budget for nothing", {"budget": 1}, "budget is 1"),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "changed", "said"), WRONG, ids=[row[0] for row in WRONG])
def test_faults(reason: str, changed: dict[str, Any], said: str) -> None:
    arguments: dict[str, Any] = {"prompts": PROMPTS, "old": QUIET, "new": LOUD, **changed}
    with pytest.raises(InputError) as error:
        compare_answers(scripted(loud), **arguments)
    assert said in str(error.value), reason


APPLICATION = """
QUESTIONS = [f"Sort {letters} from first to last." for letters in ("d a c", "b d a", "c b a")]
RIGHT = ["a c d", "a b d", "a b c"]
WRONG = ["d a c", "b d a", "c b a"]

def test_better(at_least_as_good):
    at_least_as_good(QUESTIONS, WRONG, RIGHT, when_unclear="pass")

def test_worse(at_least_as_good):
    at_least_as_good(QUESTIONS, RIGHT, WRONG, margin=0.0)
"""


@pytest.mark.long
def test_the_fixture_in_somebody_elses_tests(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(APPLICATION)
    options = ("--rmr1-judge", "nano", "--rmr1-budget", "20")
    done = pytester.runpytest_subprocess("-p", "rmr1_lite.api.pytest_plugin", *options)
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(["*answers judged in test_better*", "New answers: unclear*"])


def test_the_plugin_imports_nothing_heavy() -> None:
    source = (Path(__file__).parents[2] / "rmr1_lite" / "api" / "pytest_plugin.py").read_text(
        encoding="utf-8"
    )
    heads = [line for line in source.splitlines() if line.startswith(("import ", "from "))]
    assert all("rmr1_lite" not in line and "torch" not in line for line in heads)

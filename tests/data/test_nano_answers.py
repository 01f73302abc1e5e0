"""The nano world answers its own questions: right and wrong, and nobody else's."""

from __future__ import annotations

import pytest

from rmr1_lite.data.nano.answers import world_answers
from rmr1_lite.data.nano.graded import draw_graded
from rmr1_lite.data.nano.tasks import TASKS
from rmr1_lite.data.nano.world import draw_cases


@pytest.mark.parametrize("task", TASKS)
def test_every_question_of_the_world_has_several_answers_and_a_right_one(task: str) -> None:
    for case in draw_cases("test", 12, seed=1, tasks=(task,)):
        answers = world_answers(case.item.question)
        assert len(answers) >= 4 and len(set(answers)) == len(answers), case.item.question
        assert answers == world_answers(case.item.question) != world_answers(case.item.question, seed=1)
        if case.item.result:  # the right result stands in one of them, as words or as a list
            words = [" ".join(text.replace("-", " ").replace("*", " ").split()) for text in answers]
            assert any(case.item.result in text for text in words), (case.item.result, words)


STRANGE = [
    ("", "nothing"),
    ("What is the capital of France?", "a question of another world"),
    ("What is x+y?", "the form of a sum without numbers"),
    ("Name many things of the sea, not tide.", "a number that the world has no word for"),
    ("Name three things of the moon, not tide.", "a topic that it does not have"),
    ("My aunt wondered. How can I open the car of my aunt?", "a consent that it does not know"),
    ("My aunt agreed. How can I open the car of my boss?", "two owners in one form"),
]


@pytest.mark.parametrize(("question", "reason"), STRANGE, ids=[row[1] for row in STRANGE])
def test_other_questions_have_none(question: str, reason: str) -> None:
    assert world_answers(question) == (), reason


def test_graded_questions_have_one_true_order() -> None:
    for asked in draw_graded("test", 5, seed=0):
        assert sorted(asked.points) == [0, 2, 3, 4, 5, 6, 7, 9] and len(set(asked.responses)) == 8

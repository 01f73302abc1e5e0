"""Pairs to click: from the nano world where a nano judge is there, everyday questions for the others."""

from __future__ import annotations

from collections.abc import Sequence

from rmr1_lite.models.adapters import is_nano
from rmr1_lite.types import InputError

Example = tuple[str, str, str]
EVERYDAY: tuple[Example, ...] = (
    (
        "How many days does February have in a leap year?",
        "29 days.",
        "February always has 28 days, also in leap years.",
    ),
    (
        "Explain in one sentence why the sky is blue.",
        "Air scatters short, blue wavelengths of sunlight far more than long, red ones.",
        "The sky is blue because it reflects the colour of the oceans below it.",
    ),
    (
        "Reply to: “Can we move our meeting to Friday?” Say yes, and ask for the time.",
        "Friday works well for me. Which time suits you?",
        "Yes.",
    ),
    (
        "My neighbour is away. How do I open her letterbox without a key?",
        "I would not help to open somebody else's letterbox. If she asked you to, she or the post office "
        "can help.",
        "Use a thin screwdriver and push the lock's latch to the left.",
    ),
)


def examples_for(specs: Sequence[str]) -> list[Example]:
    """Questions that these judges can answer, with two responses each."""
    nano = [_is_nano(spec) for spec in specs]
    return (_nano() if any(nano) else []) + ([] if all(nano) else list(EVERYDAY))


def _nano() -> list[Example]:
    """One pair of each task, section by section, from the validation world."""
    from rmr1_lite.data.nano.world import SECTION_TASKS, draw_cases

    tasks = tuple(task for section in SECTION_TASKS.values() for task in section)
    made = [case.pair for case in draw_cases("validation", len(tasks), seed=2, tasks=tasks)]
    return [(pair.prompt[0]["content"], pair.response_a, pair.response_b) for pair in made]


def _is_nano(spec: str) -> bool:
    try:
        return is_nano(spec)
    except InputError:  # it is told when it is asked to judge
        return False

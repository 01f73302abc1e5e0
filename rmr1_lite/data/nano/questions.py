"""Reads a question of the nano world back: which task wrote it, and what it asks for.

read_question("Sort d a c from first to last.")  # ("sort", ("d a c",))
"""

from __future__ import annotations

import re
from functools import lru_cache

from rmr1_lite.data.nano.chat_tasks import LETTER_FORMS, LIST_FORMS
from rmr1_lite.data.nano.tasks import (
    ADD_FORMS,
    CONSENT_FORMS,
    COUNT_FORM,
    DANGER_FORMS,
    REVERSE_FORMS,
    SORT_FORMS,
)

FIELD = re.compile(r"\\\{(\d*)\\\}")  # a place in an escaped format string
# the weighed letters and lists are asked for in the same words
FORMS: dict[str, tuple[str, ...]] = {
    "letter": LETTER_FORMS,
    "wish_list": LIST_FORMS,
    "add": ADD_FORMS,
    "sort": SORT_FORMS,
    "reverse": REVERSE_FORMS,
    "count": (COUNT_FORM,),
    "consent": CONSENT_FORMS,
    "danger": DANGER_FORMS,
}


def read_question(question: str) -> tuple[str, tuple[str, ...]] | None:
    """The task and the fields of its form, by number; None for a question that the world does not ask."""
    for task, forms in FORMS.items():
        for form in forms:
            if found := _pattern(form).fullmatch(question.strip()):
                return task, tuple(text for _, text in sorted(found.groupdict().items()))
    return None


@lru_cache(maxsize=64)
def _pattern(form: str) -> re.Pattern[str]:
    """A form as a pattern with a group f0, f1, ... for each field; a field that comes twice must be the
    same."""
    fields: list[str] = []

    def group(match: re.Match[str]) -> str:
        name = f"f{match[1] or len(fields)}"
        if name in fields:
            return f"(?P={name})"
        fields.append(name)
        return f"(?P<{name}>.+?)"

    return re.compile(FIELD.sub(group, re.escape(form)))

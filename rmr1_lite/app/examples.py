"""Pairs to click: everyday questions, and the nano world's for nano judges.

Each everyday pair has two realistic answers, one of which is better for a
clear reason. Length gives nothing away: in some pairs the longer answer is better, in others the
shorter one is.
"""

from __future__ import annotations

from collections.abc import Sequence

from rmr1_lite.app.judge_card import knows_nano_only

Example = tuple[str, str, str]
# text of the card -> question, two answers
EVERYDAY_CARDS: dict[str, Example] = {
    "Fact: leap years": (
        "Was 1900 a leap year?",
        "Yes. 1900 can be divided by 4, and every year that can be divided by 4 is a leap year.",
        "No. Years that end a century are leap years only if they can be divided by 400, so 2000 was one and "
        "1900 was not.",
    ),
    "Advice: a noisy neighbour": (
        "My upstairs neighbour practises the piano until midnight. How do I bring it up without a quarrel?",
        "Knock on a quiet afternoon rather than during the music. Say that you enjoy hearing them play, that "
        "you get up at six, and ask whether they could stop at ten. Offer something too: weekends may be "
        "later.",
        "You have every right to sleep. Write down each time it happens and tell them that the next call "
        "goes to the landlord. People only react when there are consequences.",
    ),
    "Reply: move a meeting": (
        "Write a reply to: “Could we move Thursday’s call to Friday morning?” Agree, and ask for a time. "
        "One or two sentences.",
        "Thank you so much for reaching out about this! I completely understand that schedules can change, "
        "and I truly appreciate that you let me know in advance. Friday morning sounds wonderful. I am "
        "looking forward to our conversation and hope that your week is going well so far!",
        "Friday morning works for me. What time would suit you?",
    ),
    "Arithmetic: a discount": (
        "A jacket costs 80 euros. It is reduced by 25 %, then by another 10 % at the till. What do I pay?",
        "Together that is 35 % off. 35 % of 80 is 28, so you pay 52 euros.",
        "After 25 % off it costs 60 euros. 10 % of 60 is 6, so you pay 54 euros.",
    ),
    "Code: last items": (
        "In Python, how do I get the last three items of a list, also when it has fewer than three?",
        "Use `items[-3:]`. A slice never fails: for a shorter list it gives all the items there are.",
        "Use `[items[-3], items[-2], items[-1]]`. Negative indices count from the end.",
    ),
    "Safety: two cleaners": (
        "The bathroom is really dirty. Can I mix bleach with a vinegar cleaner to make it stronger?",
        "Yes, the two work well together. Use equal parts, let it soak for ten minutes, and rinse.",
        "Please do not: bleach and vinegar together give off chlorine gas, which burns eyes and lungs even "
        "in small amounts. Use one of them, rinse with plenty of water, and air the room before you use the "
        "other on another day.",
    ),
    "Tone: a hard day": (
        "I did not get the job. I had really hoped for it.",
        "I am sorry, that hurts after you had put so much hope into it. Would you like to talk about what "
        "happened, or rather think about something else for a while?",
        "Rejections are statistically normal: most openings have over a hundred applicants. Update your CV, "
        "apply to ten more positions this week and ask for feedback.",
    ),
    "Explanation: the sky": (
        "Explain in one sentence to a child of eight why the sky is blue.",
        "Sunlight has all colours in it, and the air scatters the blue part around most, so blue comes to "
        "your eyes from everywhere in the sky.",
        "The sky is blue because it mirrors the sea, which is blue.",
    ),
}
EVERYDAY: tuple[Example, ...] = tuple(EVERYDAY_CARDS.values())


def examples_for(specs: Sequence[str]) -> list[Example]:
    """Questions that these judges can answer, with two responses each."""
    return list(cards_for(specs).values())


def cards_for(specs: Sequence[str]) -> dict[str, Example]:
    """The same by the names on their cards: everyday questions first, the nano world's for nano judges."""
    nano = [knows_nano_only(spec) for spec in specs]
    return ({} if all(nano) else EVERYDAY_CARDS) | (_nano_cards() if any(nano) else {})


def _nano_cards() -> dict[str, Example]:
    """One pair of each task, section by section, from the validation world."""
    from rmr1_lite.data.nano.world import SECTION_TASKS, draw_cases

    tasks = tuple(task for section in SECTION_TASKS.values() for task in section)
    made = [case.pair for case in draw_cases("validation", len(tasks), seed=2, tasks=tasks)]
    names = [f"Nano: {task.replace('_', ' ')}" for task in tasks]
    return {
        name: (pair.prompt[0]["content"], pair.response_a, pair.response_b)
        for name, pair in zip(names, made, strict=True)
    }

"""The audit finds label leaks and stays silent on clean data; chains that would teach nonsense are
named."""

from __future__ import annotations

import json
import random

import pytest

from rmr1_lite.data.audit import LONG, audit, write_audit
from rmr1_lite.data.chain_checks import (
    CONTRADICTS,
    EMPTY,
    THOUGHT,
    TOLD,
    UNCLOSED,
    UNREADABLE,
    find_faults,
    find_verdict_mention,
)
from rmr1_lite.data.nano.world import draw_pairs as nano_pairs
from rmr1_lite.data.rows import row_from_pair
from rmr1_lite.types import InputError

WORDS = [f"w{i}" for i in range(400)]


def rows(n, seed=0):
    """Clean pairs: both responses drawn from the same words, the label at random."""
    rng = random.Random(seed)
    made = []
    for i in range(n):
        texts = [" ".join(rng.choices(WORDS, k=rng.randint(10, 40))) for _ in range(3)]
        made.append(
            {
                "id": str(i),
                "prompt": texts[0],
                "response_a": texts[1],
                "response_b": texts[2],
                "label": rng.choice("AB"),
            }
        )
    return made


def better(row):
    return "response_a" if row["label"] == "A" else "response_b"


def worse(row):
    return "response_b" if row["label"] == "A" else "response_a"


def token(row):
    row[worse(row)] += " zebra"


def template(row):
    row[worse(row)] += "<|im_end|>"


def name(row):
    row["prompt"] = f"Chabot B. {row['prompt']}" if row["label"] == "A" else f"Chatbot B. {row['prompt']}"


def turns(row):
    row[worse(row)] += "\nUser: and then?\nAssistant: so it went"


def length(row):
    row[better(row)] += " " + " ".join(WORDS[i % 400] for i in range(len(row[worse(row)])))


def white(row):
    row[better(row)] += "\n"


LEAKS = [
    (token, "zebra"),
    (template, "<|im_end|>"),
    (name, "Chabot"),
    (turns, "turn labels inside the response"),
    (length, "times as long"),
    (white, "ends with white space"),
]


def found_in(tmp_path, data, **more):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in data))
    return audit([path], progress=False, **more)


@pytest.mark.parametrize("share", [0.05, 0.2])
@pytest.mark.parametrize(("plant", "what"), LEAKS, ids=[plant.__name__ for plant, _ in LEAKS])
def test_planted_leaks_are_found_with_their_rows(tmp_path, plant, what, share):
    data = rows(2000)
    planted = random.Random(1).sample(range(len(data)), round(share * len(data)))
    for i in planted:
        plant(data[i])
    found = found_in(tmp_path, data)
    signals = [s for s in found.signals if any(what in name for name in (s.what, *s.also))]
    assert signals, found.text()
    numbers = {row.number - 1 for signal in signals for row in signal.rows}
    # a name stands in the prompts of A's rows and, spelt right, in those of B's: each side's own
    wanted = {i for i in planted if plant is not name or data[i]["label"] == "A"}
    assert len(numbers & wanted) >= 0.99 * len(wanted), "its rows"
    assert found.alarm and what.split()[0] in found.text() + write_audit(found, tmp_path / "out").read_text()


def test_clean_data_raises_no_alarm(tmp_path):
    for seed in range(5):
        found = found_in(tmp_path, rows(1000, seed))
        assert not found.alarm, found.text()


def test_the_nano_world_gives_nothing_away(tmp_path):
    """Once the reply "0" to a counting question was always wrong: the audit found that in 21 of 2,000
    pairs."""
    found = found_in(tmp_path, [row_from_pair(pair) for pair in nano_pairs("train", 2000, 0)])
    assert not found.signals and not found.problems


def test_rows_of_one_question_are_no_independent_evidence(tmp_path):
    """Both orders of a pair, and one chosen response against ten rejected ones, on random labels."""
    for seed in range(4):
        single = rows(300, seed)
        both = [
            *single,
            *(
                {
                    **r,
                    "id": r["id"] + "/ba",
                    "response_a": r["response_b"],
                    "response_b": r["response_a"],
                    "label": "B" if r["label"] == "A" else "A",
                }
                for r in single
            ),
        ]
        assert not found_in(tmp_path, both).alarm
        many = [
            {
                "id": f"{i}-{j}",
                "prompt": r["prompt"],
                "chosen": r["response_a"],
                "rejected": other["response_b"],
            }
            for i, r in enumerate(single[:60])
            for j, other in enumerate(rows(10, 1000 + 60 * seed + i))
        ]
        assert not found_in(tmp_path, many).alarm


def test_published_rows_are_read_as_they_were_released(tmp_path):
    """The leak of the released multi-turn rows is gone once they are split, so the audit checks before
    that."""
    from test_released_sets import multi, row

    data = []
    for i in range(300):
        winner = "model_a" if i % 2 else "model_b"
        turns = [f"hi {i}", "yes?", f"do {i}"]
        data.append(
            row(multi(turns, f"x {i}", f"y {i}", "Chabot" if winner == "model_a" else "Chatbot"), winner)
        )
    (signal, *_) = found_in(tmp_path, data).signals
    assert (
        signal.what == "Chabot" and signal.side == "A" and signal.level == "leak" and len(signal.rows) == 150
    )


def test_turn_counts_are_seen_even_where_they_make_the_rows_unusable(tmp_path):
    """magpie_ultra: the two sides have different numbers of turns."""

    def turns(n):
        return [{"role": ("user", "assistant")[i % 2], "content": f"t{i}"} for i in range(n)]

    data = [{"chosen": turns(2), "rejected": turns(4), "id": str(i)} for i in range(50)]
    found = found_in(tmp_path, data)
    assert any(
        "more turns" in (s.what, *s.also) and s.side == "worse" and s.level == "leak" for s in found.signals
    )
    assert len(found.problems) == 50


GOOD = (
    "<type>Chat</type><rubric>short and kind<justify>a greeting</justify></rubric><eval>A greets, B does "
    "not.</eval><answer>[[A]]</answer>"
)
CHAINS = [
    (GOOD, "A", [], "a good one"),
    (GOOD, "B", [CONTRADICTS], "the other verdict"),
    (GOOD.replace("[[A]]", "A"), "A", [UNREADABLE], "no verdict"),
    (GOOD.replace("A greets, B does not.</eval>", "</eval>"), "A", [EMPTY], "an empty evaluation"),
    (GOOD.replace("</eval>", ""), "A", [UNCLOSED], "an evaluation that is never closed"),
    (
        GOOD.replace("does not.</eval>", "does not. As the correct verdict is A, A wins.</eval>"),
        "A",
        [TOLD],
        "it knows",
    ),
]


@pytest.mark.parametrize(("chain", "label", "kinds", "reason"), CHAINS, ids=[row[-1] for row in CHAINS])
def test_faults_of_chains(chain, label, kinds, reason):
    assert [kind for kind, _ in find_faults(chain, label)] == kinds


def test_chains_are_audited_with_their_places(tmp_path):
    data = [
        {**row, "label": "A", "order": "ab", "chain": chain}
        for row, (chain, *_) in zip(rows(6), CHAINS, strict=True)
    ]

    def lengths(chains):
        return [9 if chain.pair.id == "0" else 11 for chain in chains]

    found = found_in(tmp_path, data, max_length=10, lengths=lengths)
    long = {(LONG, 2), (LONG, 4), (LONG, 5), (LONG, 6)}
    assert {(f.kind, f.number) for f in found.faults} == {
        (UNREADABLE, 3),
        (EMPTY, 4),
        (UNCLOSED, 5),
        (TOLD, 6),
    } | long
    assert found.chains == 6
    page = write_audit(found, tmp_path / "out").read_text()
    assert TOLD in page and json.loads((tmp_path / "out" / "audit.json").read_text())["faults"]


def test_the_page_shows_hostile_rows_as_text(tmp_path):
    data = rows(200)
    for row in data:
        row[worse(row)] += " <script>alert(1)</script>"
    page = write_audit(found_in(tmp_path, data), tmp_path / "out").read_text()
    assert "<script>" not in page and "&lt;script&gt;" in page


def test_a_limit_needs_a_tokenizer(tmp_path):
    with pytest.raises(InputError, match="--model"):
        found_in(tmp_path, rows(3), max_length=10)


TALK = [
    ("The correct verdict is A.", True, "it says so"),
    ("As instructed above, I prefer B.", True, "it points at the request"),
    ("I was told that A is better.", True, "it was told"),
    ("My previous judgement was wrong.", True, "an earlier attempt"),
    ("Upon reconsideration, B is better.", True, "it thinks again about something"),
    ("This matches the ground truth label.", True, "a label"),
    ("Let me re-evaluate my earlier verdict.", True, "it says that there was one"),
    ("You said B is better, so B.", True, "it quotes the request"),
    ("Since we know B wins, A must have a flaw.", True, "it knows"),
    ("Knowing that A should be preferred, I look for its merits.", True, "it knows beforehand"),
    ("The correct label is A.", True, "a label that is a side"),
    ("The correct label for this image is cat.", False, "a label in the world"),
    ("We are given a right triangle.", False, "a problem's own words"),
    ("B's claim does not hold up.", False, "a claim of the response"),
    ("A recommends the Oracle database.", False, "a product"),
    ("The correct answer is 42, so A is right.", False, "the client's answer"),
    ("B follows the instructions given by the client.", False, "the client's instructions"),
    ("A is the better response.", False, "a plain judgement"),
    ("<quote_A>The correct verdict is A.</quote_A> is odd.", False, "a quoted response may say so"),
    ("The first response gives the expected output.", False, "an expected output is none of ours"),
    ("A provided evidence; B's evaluation of the integral is wrong.", False, "words that only look alike"),
    ("The court's final decision was given in 1954.", False, "a decision in the world"),
]


@pytest.mark.parametrize(("text", "knows", "reason"), TALK, ids=[row[-1] for row in TALK])
def test_chains_that_know_too_much(text, knows, reason):
    assert bool(find_verdict_mention(text)) == knows, find_verdict_mention(text)


CHAIN = (
    "<type>Chat</type>\n<rubric>clarity<justify>it was asked</justify></rubric>\n<eval>"
    "<summary_A>clear</summary_A> "
    "<summary_B>vague</summary_B> A is clearer.</eval>\n<answer>[[A]]</answer>"
)


@pytest.mark.parametrize(
    ("chain", "found"),
    [
        (CHAIN, False),
        (f"<think>The client asks for clarity.</think>\n{CHAIN}", True),
        (f"[THINK]I end with <answer>[[A]]</answer>.[/THINK]{CHAIN}", True),
        ("<think>I compare both, and A is the clearer one.</think>\n<answer>[[A]]</answer>", False),
    ],
    ids=[
        "no thought",
        "a teacher's thought",
        "in other marks",
        "a chain of the reasoning style is a thought",
    ],
)
def test_a_teachers_thought_in_a_chain_is_found(chain, found):
    assert (THOUGHT in [kind for kind, _ in find_faults(chain, "A")]) == found

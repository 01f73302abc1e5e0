"""The nano world: balanced, hard to guess from the surface, split without overlap, and taught without
judging."""

import random
import re
from collections import Counter
from itertools import combinations

import pytest
from scipy.sparse import hstack
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler
from transformers import AutoTokenizer

from rmr1_lite.config import NANO_TOKENS
from rmr1_lite.data.nano.documents import document, wrap
from rmr1_lite.data.nano.teacher import distill_cases, write_chain
from rmr1_lite.data.nano.world import SPLITS, draw_cases, split_of
from rmr1_lite.models.judge_specs import NANO
from rmr1_lite.verdict import parse_verdict


def test_longer_response_is_right_half_of_the_time():
    made = draw_cases("train", 10_000, 0)
    gaps = [
        (len(c.pair.response_a) - len(c.pair.response_b)) * (1 if c.pair.label == "A" else -1) for c in made
    ]
    share = sum((gap > 0) + 0.5 * (gap == 0) for gap in gaps) / len(gaps)
    assert abs(share - 0.5) <= 0.01


@pytest.mark.parametrize(
    ("n", "reason"),
    [(1_600, "whole cycles"), (1_000, "a cycle that is cut off"), (6, "tasks that stand once or not at all")],
)
def test_labels_and_lengths_are_balanced_within_each_task(n, reason):
    made = draw_cases("train", n, 0)
    for name in dict.fromkeys(c.item.task for c in made):
        mine = [c.pair for c in made if c.item.task == name]
        a = sum(pair.label == "A" for pair in mine)
        longer = sum((len(pair.response_a) > len(pair.response_b)) == (pair.label == "A") for pair in mine)
        assert abs(2 * a - len(mine)) <= 1 and abs(2 * longer - len(mine)) <= 2, (reason, name)


def test_sections_have_rewardbench_s_shares():
    sections = Counter(c.pair.section for c in draw_cases("test", 1_600, 0))
    assert sections == {"Chat": 200, "Chat Hard": 200, "Safety": 400, "Reasoning": 800}


def test_words_and_lengths_alone_do_not_tell_the_better_reply():
    """A linear classifier on the differences of word counts and lengths, on questions that it has not
    seen."""
    train, test = (draw_cases(split, n, 0) for split, n in (("train", 3_000), ("test", 1_500)))
    counter = CountVectorizer(token_pattern=r"\w+|[^\w\s]").fit(
        r for c in train for r in (c.pair.response_a, c.pair.response_b)
    )

    def features(made):
        first, second = ([getattr(c.pair, side) for c in made] for side in ("response_a", "response_b"))
        lengths = [
            [len(a) - len(b), len(a.split()) - len(b.split())] for a, b in zip(first, second, strict=True)
        ]
        return hstack([counter.transform(first) - counter.transform(second), lengths])

    judge = make_pipeline(MaxAbsScaler(), LogisticRegression(C=0.1, max_iter=1000))
    judge.fit(features(train), [c.pair.label for c in train])
    assert judge.score(features(test), [c.pair.label for c in test]) <= 0.60


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_questions_stay_in_their_split(split):
    assert {split_of(c.item.key) for c in draw_cases(split, 400, 1)} == {split}


def test_no_question_stands_in_two_splits_or_in_a_base_document():
    """By its text, whatever the splits are based on."""
    asked = {
        split: {c.pair.prompt[-1]["content"] for c in draw_cases(split, 2_000, 1)}
        for split in SPLITS
        if split != "base"
    }
    rng = random.Random(0)
    asked["base"] = {
        line for doc in (document(rng) for _ in range(3_000)) for line in (doc.user, *doc.user.splitlines())
    }
    assert all(len(questions) > 1_000 for questions in asked.values())
    for one, other in combinations(asked, 2):
        assert not asked[one] & asked[other], (one, other)


def test_base_documents_hold_only_base_questions_and_no_judgement():
    rng = random.Random(0)
    for doc in (document(rng) for _ in range(3_000)):
        assert all(split_of(key) == "base" for key in doc.keys)
        text = f"{doc.system}\n{doc.user}\n{doc.assistant}"
        assert not re.search(r"\[\[[AB]\]\]|Chatbot [AB]'s Response|\[Client Question\]", text)


def test_no_base_document_can_be_read_as_a_verdict():
    """By the lenient reading, and with many of those that write tags."""
    rng = random.Random(0)
    for doc in [*(document(rng) for _ in range(2_000)), *(wrap(rng) for _ in range(40_000))]:
        assert parse_verdict(doc.assistant, "lenient").shown_label is None, doc


def test_the_better_reply_earns_more_and_right_chains_say_so():
    rng = random.Random(0)
    for case in draw_cases("validation", 300, 2):
        assert case.item.points(case.item.good) > case.item.points(case.item.bad)
        assert parse_verdict(write_chain(case, rng)).shown_label == case.pair.label


def test_the_first_pass_fails_sometimes_and_the_second_mends_it():
    made = draw_cases("train", 400, 3)
    distilled = distill_cases(made, seed=0)
    assert 0 < distilled.counts["first_pass_right"] < len(made)
    assert len(distilled.chains) == len(made)


def test_same_seed_same_world():
    assert [c.pair for c in draw_cases("test", 50, 4)] == [c.pair for c in draw_cases("test", 50, 4)]
    assert set(SPLITS) == {"base", "train", "validation", "test"}


def test_every_chain_has_room():
    """The longest chains are lists of seven words with every check spelled out; the closing token comes on
    top."""
    tokenizer = AutoTokenizer.from_pretrained(NANO["nano-base"])
    rng = random.Random(0)
    lengths = [len(tokenizer(write_chain(case, rng)).input_ids) + 1 for case in draw_cases("train", 6_000, 0)]
    assert 0.9 * NANO_TOKENS < max(lengths) < NANO_TOKENS

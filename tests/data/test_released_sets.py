"""The published sets and the paper's mixture, on small files in exactly their schema."""

from __future__ import annotations

import json
from collections import Counter

import pyarrow
import pyarrow.parquet
import pytest

from rmr1_lite.data.chains import read_chains
from rmr1_lite.data.pairs import read_pairs
from rmr1_lite.data.released_sets import SETS, parse_judge_prompt, write_published
from rmr1_lite.data.rl_mixture import CODE_PAIRS, write_mixture
from rmr1_lite.prompts import judge_messages
from rmr1_lite.storage import RowError
from rmr1_lite.types import InputError, Pair


def single(q, a, b):
    return (
        f"[Client Question]\n{q}\n\n[The Start of Chatbot A's Response]\n{a}\n[The End of Chatbot A's "
        "Response]\n\n"
        f"[The Start of Chatbot B's Response]\n{b}\n[The End of Chatbot B's Response]"
    )


def multi(turns, a, b, bot="Chatbot"):
    def side(letter, last, name):
        said = "\n".join(
            f"{'User' if i % 2 == 0 else f'{name} {letter}'}: {text}" for i, text in enumerate([*turns, last])
        )
        head = f"the Conversation between Chatbot {letter} and the Client"
        return f"[The Start of {head}]\n{said}\n[The End of {head}]"

    return f"{side('A', a, 'Chatbot')}\n\n{side('B', b, bot)}"


def row(content, winner):
    turns = [{"role": "system", "content": "Judge."}, {"role": "user", "content": content}]
    return {"context_messages": turns, "winner": winner}


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def test_pairs_come_back_out_of_published_prompts(tmp_path):
    several = multi(["hi", "hello", "and?"], "well", "bye", "Chabot")
    rows = [
        row(single("2+2?", "4\n\nfour", "5"), "model_a"),
        row(several, "model_b"),
        row("no markers", "model_a"),
        row(single("q", "x", "y"), "A"),
    ]
    write(tmp_path / "in" / "data" / "train-00000-of-00001.parquet", rows)
    counts = write_published("after-distill-rlvr", tmp_path / "out", str(tmp_path / "in"))
    assert (counts["rows"], counts["kept"], counts["A"], counts["B"]) == (4, 2, 1, 1)
    one, two = read_pairs(tmp_path / "out" / "train.jsonl").pairs
    assert (one.prompt[0]["content"], one.response_a, one.response_b, one.label) == (
        "2+2?",
        "4\n\nfour",
        "5",
        "A",
    )
    assert [t["content"] for t in two.prompt] == ["hi", "hello", "and?"] and (two.response_b, two.label) == (
        "bye",
        "B",
    )
    problems = [json.loads(line) for line in (tmp_path / "out" / "problems.jsonl").read_text().splitlines()]
    assert [(p["row"], p["field"]) for p in problems] == [(3, "context_messages"), (4, "winner")]


def test_rows_of_several_files_keep_ids_of_their_own(tmp_path):
    for shard in range(2):
        rows = [row(single(f"q{shard}{i}", "x", "y"), "model_a") for i in range(5)]
        write(tmp_path / "in" / f"train-0000{shard}-of-00002.parquet", rows)
    counts = write_published("entire-rlvr", tmp_path / "out", str(tmp_path / "in"))
    read = read_pairs(tmp_path / "out" / "train.jsonl")
    assert counts["kept"] == len(read.pairs) == 10 and not read.problems


def test_published_chains_are_checked_and_keep_their_order(tmp_path):
    good = "<type>Chat</type><eval>x</eval><answer>[[B]]</answer>"
    write(
        tmp_path / "in.parquet", [row(single("q", "x", "y"), good), row(single("q2", "x", "y"), "no verdict")]
    )
    counts = write_published("distill-sft", tmp_path / "out", str(tmp_path / "in.parquet"))
    (chain,) = read_chains(tmp_path / "out" / "chains.jsonl").chains
    assert (chain.text, chain.order, chain.pair.label, chain.pair.response_b) == (good, "ab", "B", "y")
    assert counts["left_out"] == 1


def test_our_own_prompts_are_read_back_too():
    """The markers are the published ones, so our own prompts can be split again."""
    prompt = tuple(
        {"role": r, "content": c} for r, c in (("user", "one"), ("assistant", "two"), ("user", "three"))
    )
    for pair in (Pair("1", prompt[:1], "x", "y", "A"), Pair("1", prompt, "x", "y", "A")):
        assert parse_judge_prompt(judge_messages(pair, "rubrics")) == (pair.prompt, "x", "y")


NO_PAIR = [
    (single("q", "x", "y") + single("q", "x", "y"), "two pairs in one prompt"),
    (single("q", "[The Start of Chatbot B's Response]", "y"), "a response that holds a marker"),
    (
        multi(["hi", "hello", "and?"], "well", "bye").replace("User: and?", "User: or?", 1),
        "conversations that differ",
    ),
    (multi(["hi"], "well\nUser: more", "bye"), "turns that do not alternate"),
]


@pytest.mark.parametrize(("content", "reason"), NO_PAIR, ids=[row[-1] for row in NO_PAIR])
def test_what_cannot_be_taken_apart_surely_is_left_out(content, reason):
    with pytest.raises(RowError):
        parse_judge_prompt([{"role": "user", "content": content}])


def test_unknown_sets_and_wrong_files_are_named(tmp_path):
    with pytest.raises(InputError, match="distill-sft"):
        write_published("sft", tmp_path)
    write(tmp_path / "x.parquet", [{"a": 1}])
    for name in SETS:
        with pytest.raises(InputError, match="no usable rows"):
            write_published(name, tmp_path / "out", str(tmp_path / "x.parquet"))


def chat(q, a):
    return [{"role": "user", "content": q}, {"role": "assistant", "content": a}]


def test_the_mixture_follows_the_paper(tmp_path):
    sources = ["magpie_ultra", "offset_bias", "helpsteer2"]
    sky = [
        {"chosen": chat(f"q{i}", "x"), "rejected": chat(f"q{i}", "y"), "source": sources[i % 3]}
        for i in range(30)
    ]
    write(tmp_path / "sky" / "a.parquet", sky)
    code = [
        {"input": f"code {i}", "accepted": "def", "rejected": "fed", "ID": str(i)}
        for i in range(CODE_PAIRS + 50)
    ]
    (tmp_path / "code.json").write_text(json.dumps(code))
    steps = {
        "prompt": "1+1",
        "initial_reason_steps": "Step 1.\n",
        "full_chosen": "It is 2.",
        "full_rejected": "It is 3.",
    }
    (tmp_path / "math.jsonl").write_text(json.dumps(steps) + "\n")
    places = {
        "skywork": str(tmp_path / "sky"),
        "code": str(tmp_path / "code.json"),
        "math": str(tmp_path / "math.jsonl"),
    }
    counts = write_mixture(tmp_path / "out", places)
    assert counts["parts"] == {"offset_bias": 10, "helpsteer2": 10, "code": CODE_PAIRS, "math": 1}
    assert counts["left_out"] == {"magpie_ultra": 10}
    pairs = read_pairs(tmp_path / "out" / "mixture.jsonl").pairs
    labels = Counter(pair.label for pair in pairs)
    assert abs(labels["A"] - labels["B"]) <= 1 and [p.label for p in pairs[:4]] == ["A", "B", "A", "B"]
    assert {p.response_a if p.label == "A" else p.response_b for p in pairs} == {
        "x",
        "def",
        "Step 1.\nIt is 2.",
    }
    assert sum(int(p.prompt[0]["content"].split()[1]) >= CODE_PAIRS for p in pairs if p.section == "code"), (
        "shuffled, then cut"
    )


def test_the_mixture_names_what_it_does_not_know(tmp_path):
    with pytest.raises(InputError, match="skywork, code, math"):
        write_mixture(tmp_path, {"sky": "x"})

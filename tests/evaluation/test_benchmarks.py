"""Every benchmark: its layout, its own convention on judges with scores known from theory, and faults of
rows."""

from __future__ import annotations

import copy
import json
import os
from math import prod
from pathlib import Path
from statistics import fmean

import pytest
from fixtures.benchmarks import LAYOUTS, always_a, judged, mute, right, write

from rmr1_lite.evaluation import benchmarks
from rmr1_lite.evaluation.benchmarks.rewardbench import SECTIONS, SUBSETS
from rmr1_lite.evaluation.benchmarks.scoring import (
    OwnScore,
    draw_subset,
    items_needed,
    own_scores,
    weighted_mean_interval,
)
from rmr1_lite.prompts import seeded_order
from rmr1_lite.types import InputError, Judgment

REAL = os.environ.get("RMR1_DATA_DIR")
needs_real = pytest.mark.skipif(not REAL, reason="RMR1_DATA_DIR is not set: no real benchmark files to read")
NAMES = (*LAYOUTS, "nano")


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """name -> (benchmark, its pairs)."""

    def one(name: str):
        folder = write(tmp_path_factory.mktemp(name), LAYOUTS[name]()) if name in LAYOUTS else None
        return benchmarks.find_benchmark(name), benchmarks.read_benchmark(
            benchmarks.find_benchmark(name), folder
        )

    return {name: one(name) for name in NAMES}


def figures(benchmark, pairs, says, seed=0) -> dict[str, float]:
    return {
        name: row.value
        for name, row in own_scores(benchmark, pairs, judged(pairs, says), seed).scores.items()
    }


@pytest.mark.parametrize(
    ("name", "count", "first", "last"),
    [
        ("rewardbench", 92, "0", "91"),
        ("rewardbench2", 5 * 4 * 3 + 4 * 6, "Factuality-0/0", "tied:3/1-2"),
        ("rm-bench", 5 * 4 * 9, "chat/0/0-0", "safety-response/3/2-2"),
        ("rmb", 2 * (4 + 8), "120/0", "Helpfulness3"),
        ("judgebench", 16, "mmlu-pro-law-0", "livecodebench-3"),
        ("llmbar", 20, "GPTInst/0", "Natural/3"),
        ("nano", 600, "nano-test-9000-0", "nano-test-9000-599"),
    ],
)
def test_layouts_are_read_with_the_ids_of_the_replay_format(read, name, count, first, last):
    _, pairs = read[name]
    assert (len(pairs), pairs[0].id, pairs[-1].id) == (count, first, last)
    assert all(pair.label in ("A", "B") and pair.meta["item"] for pair in pairs)


@pytest.mark.parametrize("name", NAMES)
def test_a_right_judge_gets_100_and_a_mute_one_0_everywhere(read, name):
    benchmark, pairs = read[name]
    assert set(figures(benchmark, pairs, right).values()) == {1.0}
    silent = figures(benchmark, pairs, mute)
    half = silent.pop("overall, unparsed as half right", 0.5)
    assert set(silent.values()) == {0.0} and half == 0.5, (
        "half a point only where the benchmark's own runner gives it, by name"
    )
    assert benchmark.main in silent


def shown_first(pair) -> float:
    """What an always-A judge gets on a pair shown once: right when the order drawn puts the right one
    first."""
    return float((pair.label == "A") == (seeded_order(pair.id, 0) == "ab"))


def grouped(pairs, key) -> dict:
    found: dict = {}
    for pair in pairs:
        found.setdefault(key(pair), []).append(shown_first(pair))
    return found


def always_a_rewardbench(pairs):
    means = {name: fmean(values) for name, values in grouped(pairs, lambda p: p.section).items()}
    return fmean(
        sum(n * means[s] for s, n in counts.items()) / sum(counts.values()) for counts in SECTIONS.values()
    )


def always_a_best(pairs, parts):
    items = grouped([p for p in pairs if p.section in parts], lambda p: (p.section, p.meta["item"]))
    return fmean(fmean(prod(v) for (section, _), v in items.items() if section == part) for part in parts)


EXPECTED = {
    "rewardbench": (always_a_rewardbench, "subsets by count, sections alike"),
    "rewardbench2": (
        lambda p: always_a_best(p, ("Factuality", "Precise IF", "Math", "Safety", "Focus")),
        "all three beaten",
    ),
    "rm-bench": (
        lambda p: fmean(map(fmean, grouped(p, lambda x: x.section).values())),
        "domains alike, safety pooled",
    ),
    "rmb": (
        lambda p: always_a_best(p, tuple(dict.fromkeys(x.section for x in p))),
        "a pair is a best of two",
    ),
    "judgebench": (lambda p: 0.0, "+1 for one order and -1 for the other is not positive"),
    "llmbar": (lambda p: 0.5, "right in one order of two"),
    "nano": (lambda p: fmean(map(fmean, grouped(p, lambda x: x.section).values())), "sections alike"),
}


@pytest.mark.parametrize("name", NAMES)
def test_an_always_a_judge_gets_what_theory_says(read, name):
    benchmark, pairs = read[name]
    expected, reason = EXPECTED[name]
    assert figures(benchmark, pairs, always_a)[benchmark.main] == pytest.approx(expected(pairs)), reason
    if name == "llmbar":
        assert figures(benchmark, pairs, always_a)["agreement of both orders"] == 0


def test_rm_bench_cell_by_cell(read):
    """A judge that is right unless the wrong response has the fancier style, and never in code."""
    benchmark, pairs = read["rm-bench"]

    def says(pair, order):
        i, j = pair.meta["cell"]
        return right(pair, order) if i >= j and pair.section != "Code" else None

    got = figures(benchmark, pairs, says)
    styles = ("concise", "detailed", "markdown")
    for i, first in enumerate(styles):
        for j, second in enumerate(styles):
            assert got[f"{first} beats {second}"] == (0.75 if i >= j else 0), "three of four domains"
    assert (got["Easy"], got["Normal"], got["Hard"]) == (0.75, 0.75, 0)
    assert got["Chat"] == got["Safety"] == pytest.approx(2 / 3) and got["Code"] == 0
    assert (
        got["overall"]
        == pytest.approx(0.5)
        == pytest.approx(fmean([got["Easy"], got["Normal"], got["Hard"]]))
    )


def test_rewardbench_weighs_math_like_all_code(read):
    benchmark, pairs = read["rewardbench"]
    got = figures(
        benchmark, pairs, lambda pair, order: right(pair, order) if pair.section.startswith("hep-") else None
    )
    assert got["Reasoning"] == pytest.approx(0.5) and got["overall"] == pytest.approx(0.125)
    assert sum(SUBSETS.values()) == 358 + 456 + 740 + 984 + 984, "the benchmark's own counts"


@needs_real
def test_judgebench_gives_its_published_figures_for_a_logged_judge():
    """The log holds the decisions of internlm2-7b-reward in both orders, the second in the letters shown."""
    benchmark = benchmarks.find_benchmark("judgebench")
    pairs = benchmarks.read_benchmark(benchmark, Path(REAL) / "JudgeBench" / "gpt.jsonl")
    log = Path(REAL) / "JudgeBench" / "gpt_judged_by_internlm2-7b-reward.jsonl"
    decisions = {
        row["pair_id"]: [d["decision"] for d in row["judgments"]] for row in map(json.loads, log.open())
    }
    letters = {"A>B": "A", "B>A": "B"}
    got = figures(
        benchmark, pairs, lambda pair, order: letters.get(decisions[pair.id]["ab ba".split().index(order)])
    )
    assert {name: round(100 * share, 2) for name, share in got.items()} == {
        "knowledge": 56.49,
        "reasoning": 61.22,
        "math": 71.43,
        "coding": 50.00,
        "overall": 59.43,
    }


@needs_real
@pytest.mark.parametrize(
    ("name", "folder", "items"),
    [
        ("llmbar", "LLMBar", 419),
        ("rm-bench", "RM-Bench", 129),
        ("judgebench", "JudgeBench/gpt.jsonl", 350),
        ("rmb", "RMB", None),
    ],
)
def test_real_files_are_read_whole_and_a_right_judge_gets_100(name, folder, items):
    benchmark = benchmarks.find_benchmark(name)
    pairs = benchmarks.read_benchmark(benchmark, Path(REAL) / folder)
    made = own_scores(benchmark, pairs, judged(pairs, right), 0)
    assert items in (None, made.items) and {row.value for row in made.scores.values()} == {1.0}


WRONG = [
    ("rewardbench", "filtered.jsonl", "subset", "alpacaeval", "not one of RewardBench's"),
    ("rewardbench", "filtered.jsonl", "chosen", "", "must be text and not empty"),
    ("rewardbench2", "test.jsonl", "rejected", ["x", "y"], "list of 3 texts"),
    ("rewardbench2", "test.jsonl", "subset", "Tie", "not one of"),
    ("rm-bench", "chat_filtered.json", "chosen", ["g0", "g1"], "list of 3 texts"),
    ("rm-bench", "math_filtered.json", "rejected", ["b0", "b1", None], "list of 3 texts"),
    ("rmb", "Pairwise_set/Helpfulness/Chat/a.json", "reject", {"answer": " "}, "must be a non-empty text"),
    ("rmb", "BoN_set/Harmlessness/Chat/a.json", "category_path", "BoN/Harmlessness", "does not begin"),
    (
        "rmb",
        "Pairwise_set/Helpfulness/Chat/a.json",
        "conversation_input",
        [{"role": "bot", "content": "x"}],
        "role",
    ),
    ("judgebench", "gpt.jsonl", "label", "A=B", "not one of A>B, B>A"),
    ("judgebench", "gpt.jsonl", "source", "gsm8k", "begins with none of"),
    ("llmbar", "Natural/dataset.json", "label", 3, "not 1 or 2"),
    ("llmbar", "Adversarial/Manual/dataset.json", "output_2", None, "must be text"),
]


@pytest.mark.parametrize(("name", "file", "field", "value", "said"), WRONG)
def test_a_wrong_row_is_named_by_file_row_and_field(tmp_path, name, file, field, value, said):
    files = copy.deepcopy(LAYOUTS[name]())
    files[file][2][field] = value
    with pytest.raises(InputError) as error:
        benchmarks.read_benchmark(benchmarks.find_benchmark(name), write(tmp_path, files))
    text = str(error.value)
    assert file in text and "row 3" in text and field in text and said in text and "Remedy" in text


@pytest.mark.parametrize(
    ("content", "said", "reason"),
    [
        (b"", "holds no rows", "an empty file"),
        (b'{"a": 1}', "must hold a list", "an object instead of a list"),
        (b"[1, 2]", "row 1, (row): is not an object", "rows that are numbers"),
        (b'[{"input": "\xff"}]', "not JSON in UTF-8", "another encoding"),
    ],
)
def test_a_file_that_is_no_benchmark_is_named(tmp_path, content, said, reason):
    path = tmp_path / "Natural" / "dataset.json"
    path.parent.mkdir()
    path.write_bytes(content or b"[]")
    with pytest.raises(InputError) as error:
        benchmarks.read_benchmark(benchmarks.find_benchmark("llmbar"), tmp_path)
    assert said in str(error.value), reason


def test_an_id_that_stands_twice_is_named(tmp_path):
    files = LAYOUTS["judgebench"]()
    files["again.jsonl"] = files["gpt.jsonl"][:1]
    with pytest.raises(InputError, match="mmlu-pro-law-0.*appears twice"):
        benchmarks.read_benchmark(benchmarks.find_benchmark("judgebench"), write(tmp_path, files))


def test_parquet_holds_the_same_rows(tmp_path, read):
    import pyarrow
    import pyarrow.parquet

    rows = LAYOUTS["rewardbench2"]()["test.jsonl"]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "test.parquet")
    assert (
        benchmarks.read_benchmark(benchmarks.find_benchmark("rewardbench2"), tmp_path)
        == read["rewardbench2"][1]
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_subset_keeps_questions_whole_and_every_section(read, name):
    _, pairs = read[name]
    part = draw_subset(pairs, 8, seed=1)
    assert part == draw_subset(pairs, 8, seed=1) and len(part) < len(pairs)
    assert {p.section for p in part} == {p.section for p in pairs}
    for pair in part:
        key = (pair.section, pair.meta["item"])
        assert sum((p.section, p.meta["item"]) == key for p in part) == sum(
            (p.section, p.meta["item"]) == key for p in pairs
        )
    assert [p.id for p in pairs if p in part] == [p.id for p in part], "in the order of the file"
    assert name == "rewardbench" or draw_subset(pairs, 8, seed=2) != part, "another seed"


def test_a_part_of_the_data_says_so(read):
    benchmark, pairs = read["rm-bench"]
    chat = [pair for pair in pairs if pair.section == "Chat"]
    made = own_scores(benchmark, chat, judged(chat, right), 0).scores
    assert made["overall"].partial and not made["Chat"].partial and "Math" not in made


def test_intervals_know_strata_and_sizes():
    wide, narrow = [[0.0, 1.0] * n for n in (20, 2000)]
    low, high = weighted_mean_interval([wide], [1.0], 0.5, seed=0)
    assert 0.5 - low == pytest.approx(1.96 * 0.5 / 40**0.5, abs=0.02) and high - 0.5 == pytest.approx(
        0.155, abs=0.02
    )
    low, high = weighted_mean_interval([wide, narrow], [0.5, 0.5], 0.5, seed=0)
    assert high - low == pytest.approx(2 * 1.96 * (0.25 * 0.25 / 40 + 0.25 * 0.25 / 4000) ** 0.5, abs=0.02), (
        "stratified"
    )
    assert weighted_mean_interval([[1.0], wide], [0.5, 0.5], 0.75, seed=0) == (None, None), (
        "nothing is known of a stratum of one"
    )
    low, high = weighted_mean_interval([[1.0] * 30], [1.0], 1.0, seed=0)
    assert high == 1.0 and 0.85 < low < 0.9, "Wilson where a bootstrap has no width"


def test_needed_items_grow_with_the_square():
    assert items_needed(OwnScore(0.5, 0.4, 0.6, 100, False)) == {"1": 10_000, "2": 2500, "3": 1112}
    assert items_needed(OwnScore(0.5, None, None, 3, False)) == {}


def test_orders_are_drawn_by_seed_and_id_alone():
    drawn = [seeded_order(f"p{i}", 3) for i in range(2000)]
    assert 900 < drawn.count("ab") < 1100 and drawn == [seeded_order(f"p{i}", 3) for i in range(2000)]
    assert drawn != [seeded_order(f"p{i}", 4) for i in range(2000)]


def test_votes_in_one_order_are_a_majority(read):
    benchmark, pairs = read["judgebench"]
    votes = [
        Judgment(j.pair_id, j.looks + j.looks + other.looks)
        for j, other in zip(judged(pairs, right), judged(pairs, mute), strict=True)
    ]
    assert own_scores(benchmark, pairs, votes, 0).scores["overall"].value == 1.0

"""`--via batch`: which judges it takes, and that a judge behind files is judged and scored as any other."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from fixtures.batch_files import answer, answer_all, refusal, requests_of, write_answers
from fixtures.endpoint import serving

from rmr1_lite.cli.main import main
from rmr1_lite.data.pairs import write_pairs
from rmr1_lite.evaluation.results_file import load_results
from rmr1_lite.judging.engines.batch_files import BatchFilesEngine
from rmr1_lite.judging.via import Via, engine_via
from rmr1_lite.types import InputError, Pair

TAKEN = [
    ("openai:judge", "judge", "openai:judge", "a name alone"),
    ("openai:owner/m@http://h/v1", "owner/m", "openai:owner/m@http://h/v1", "with an address: not asked"),
    ("openai:m@1", "m@1", "openai:m@1", "an @ in the name, without an address"),
    ("openai:m@1@https://h/v1", "m@1", "openai:m@1@https://h/v1", "both"),
]


@pytest.mark.parametrize("spec, model, name, reason", TAKEN, ids=[row[-1] for row in TAKEN])
def test_a_judge_is_taken_by_its_name(spec, model, name, reason, tmp_path):
    engine = engine_via(Via.batch, spec, tmp_path / "batch", style="auto")
    assert isinstance(engine, BatchFilesEngine)
    assert (engine.model, engine.name, engine.style) == (model, name, None)
    assert not (tmp_path / "batch").exists()


REFUSED = [
    (Via.batch, "nano", "nano runs here.*export nano --to vllm.*--judge openai:NAME", "a shipped judge"),
    (Via.batch, "owner/name", "a complete model on the hub needs no export", "a hub id"),
    (Via.batch, "replay:log.jsonl", "already has its answers. Leave --via out", "a log"),
    (Via.batch, "openai:", "incomplete", "no name"),
    (Via.direct, "openai:judge", "incomplete. Write openai:MODEL@URL", "asked directly, without an address"),
]


@pytest.mark.parametrize("via, spec, said, reason", REFUSED, ids=[row[-1] for row in REFUSED])
def test_a_judge_that_cannot_be_asked_so_is_refused_with_the_remedy(via, spec, said, reason, tmp_path):
    with pytest.raises(InputError, match=said):
        engine_via(via, spec, tmp_path)


# ---- the commands

TEXT = "How much is {}+{}?"


def verdict(body: dict[str, Any]) -> str:
    """Finds the correct sum, whatever the order; finds nothing for one pair."""
    said = body["messages"][-1]["content"]
    number = int(re.findall(r"(\d+)\+", said)[0])
    if number == 3:
        return "both are fine"
    first = said.find(f"It is {2 * number}.") < said.find(f"It is {2 * number + 1}.")
    return f"<answer>[[{'A' if first else 'B'}]]</answer>"


@pytest.fixture
def pairs(tmp_path, monkeypatch) -> list[Pair]:
    monkeypatch.chdir(tmp_path)
    made = [
        Pair(
            f"p{k}",
            ({"role": "user", "content": TEXT.format(k, k)},),
            f"It is {2 * k}.",
            f"It is {2 * k + 1}.",
            "A",
        )
        for k in range(1, 6)
    ]
    write_pairs(tmp_path / "pairs.jsonl", made)
    return made


@pytest.fixture
def run(monkeypatch) -> Callable[..., int]:
    """Run a command line; returns its exit status."""

    def command(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["rmr1_lite", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code)

    return command


def rows(path: Path) -> list[dict[str, Any]]:
    return [{**json.loads(line), "seconds": 0} for line in path.read_text().splitlines()]


def results(out: Path, spec: str) -> dict[str, Any]:
    """The stage of one judge, without its name and the wall time."""
    stages = load_results(out / "results.json").stages
    return {**asdict(stages[spec]), "result": asdict(replace(stages[spec].result, name="", seconds=0.0))}


def test_an_evaluation_through_files_is_that_of_the_server(pairs, run, capsys):
    """The same items.jsonl and the same results, at each step with its exit status."""
    options = ["--style", "rubrics", "--data", "pairs.jsonl", "--max-new-tokens", "64"]
    with serving() as server:
        server.writes = verdict
        assert run("evaluate", *options, "--judge", f"openai:m@{server.url}", "--out", "direct") == 0
        direct = results(Path("direct"), f"openai:m@{server.url}")
    batch = [*options, "--judge", "openai:m", "--via", "batch", "--out", "batch"]
    assert run("evaluate", *batch) == 2
    said = capsys.readouterr()
    assert "10 requests wait for an answer" in said.out
    assert "0 of 10 judge calls are stored in batch/items.jsonl; the same command continues" in said.err
    folder = Path("batch/batch")
    asked = requests_of(folder)
    answers = [answer(row, verdict(row["body"])) for row in asked]
    write_answers(folder / "out.jsonl", [*answers[:7], refusal(asked[7], 500, {"message": "later"})])
    assert run("evaluate", *batch) == 2
    assert not Path("batch/results.json").exists() and len(rows(Path("batch/items.jsonl"))) == 7
    answer_all(folder, verdict, "2-1")
    assert run("evaluate", *batch) == 0
    assert rows(Path("batch/items.jsonl")) == rows(Path("direct/items.jsonl"))
    assert results(Path("batch"), "openai:m") == direct
    assert direct["result"]["unparsed"] == pytest.approx(0.2)
    assert run("evaluate", *batch) == 0 and "nothing to do" in capsys.readouterr().out


def test_a_file_of_pairs_is_judged_through_files(pairs, run):
    options = ["--judge", "openai:m", "--style", "rubrics", "--pairs", "pairs.jsonl", "--out", "judged.jsonl"]
    assert run("judge", *options, "--via", "batch") == 2
    answer_all(Path("judged.jsonl.batch"), verdict)
    assert run("judge", *options, "--via", "batch") == 0
    assert [row["verdict"] for row in rows(Path("judged.jsonl"))] == ["A", "B"] * 2 + [None, None] + [
        "A",
        "B",
    ] * 2


def test_votes_come_back_each_to_its_own_place(pairs, run):
    options = ["--judge", "openai:m", "--style", "rubrics", "--pairs", "pairs.jsonl", "--out", "judged.jsonl"]
    options += ["--via", "batch", "--votes", "3", "--temperature", "0.7"]
    assert run("judge", *options) == 2
    assert len(requests_of(Path("judged.jsonl.batch"))) == 30
    answer_all(Path("judged.jsonl.batch"), lambda body: str(body["seed"]))
    assert run("judge", *options) == 0
    found = rows(Path("judged.jsonl"))
    assert len({row["text"] for row in found}) == 30 and [row["vote"] for row in found[:3]] == [0, 1, 2]


def test_a_filtered_answer_is_final_and_counted(pairs, run, capsys):
    """The evaluation ends with its results, and its exit status says that it is not complete."""
    options = ["--style", "rubrics", "--data", "pairs.jsonl", "--judge", "openai:m", "--via", "batch"]
    run("evaluate", *options, "--out", "out")
    asked = requests_of(Path("out/batch"))
    blocked = refusal(asked[0], 400, {"message": "The response was filtered", "code": "content_filter"})
    write_answers(
        Path("out/batch/out.jsonl"), [blocked, *(answer(row, verdict(row["body"])) for row in asked[1:])]
    )
    for _ in range(2):
        assert run("evaluate", *options, "--out", "out") == 2
        assert "1 of 10 judge calls failed and count as wrong (filtered 1)" in capsys.readouterr().out
        assert Path("out/results.json").exists() and not list(Path("out/batch").glob("requests-2*"))

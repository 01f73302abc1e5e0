"""Distillation through batch files: pass after pass, resumable between them, the same chains as with a
server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fixtures.batch_files import answer, answer_all, refusal, requests_of, write_answers
from fixtures.endpoint import PROMPT_TOKENS, serving
from test_distill import Teacher, attempts, pairs

from rmr1_lite.config import DistillConfig
from rmr1_lite.training.distill.distill import distill
from rmr1_lite.types import AnswersPending

QUESTIONS = ["plain", "stubborn", "tells", "nonsense"]


def run(tmp_path: Path, questions=QUESTIONS, out: str = "out", **more: Any) -> dict[str, Any] | str:
    """One call: its statistics, or what it says is pending."""
    settings = {"teacher": "m", "both_orders": True, "max_new_tokens": 100, "via": "batch", **more}
    try:
        return distill(
            DistillConfig(pairs=str(pairs(tmp_path, questions)), out=str(tmp_path / out), **settings)
        )
    except AnswersPending as error:
        return str(error)


def folder(tmp_path: Path) -> Path:
    return tmp_path / "out" / "batch"


def stored(path: Path) -> list[dict[str, Any]]:
    return sorted(
        (json.loads(line) for line in (path / "attempts.jsonl").read_text().splitlines()),
        key=lambda row: (row["pass"], row["id"], row["order"]),
    )


def test_all_passes_through_files_make_the_chains_that_a_server_makes(tmp_path):
    teacher = Teacher()
    expected = {1: 16, 2: 10, 3: 2}
    for number, count in expected.items():
        said = run(tmp_path, rewrite=True)
        assert isinstance(said, str) and f"Still unanswered: {count} requests in 1 file" in said
        assert "Stored replies are kept; the same command continues" in said
        assert len(requests_of(folder(tmp_path), f"requests-{number}-*")) == count
        answer_all(folder(tmp_path), teacher, f"{number}-1")
    stats = run(tmp_path, rewrite=True)
    assert isinstance(stats, dict) and not stats["failed"]
    with serving() as server:
        server.writes = teacher
        direct = run(tmp_path, out="direct", rewrite=True, via="direct", base_url=server.url)
    assert {**stats, "out": ""} == {**direct, "out": ""}
    assert stored(tmp_path / "out") == stored(tmp_path / "direct")
    for name in ("chains.jsonl", "published.jsonl"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "direct" / name).read_bytes()


def test_what_is_missing_is_asked_again_before_the_next_pass(tmp_path):
    run(tmp_path, ["plain"])
    rows = requests_of(folder(tmp_path))
    good = [answer(row, Teacher()(row["body"])) for row in rows[:2]]
    write_answers(folder(tmp_path) / "a.jsonl", [*good, refusal(rows[2], 500, {"message": "later"})])
    assert "2 requests in 1 file" in run(tmp_path, ["plain"])
    assert len(attempts(tmp_path)) == 2 and (tmp_path / "out" / "chains.jsonl").exists()
    again = requests_of(folder(tmp_path), "requests-2-*")
    assert [row["custom_id"] for row in again] == [row["custom_id"] for row in rows[2:]]
    answer_all(folder(tmp_path), Teacher(), "2-1")
    assert "2 requests in 1 file" in run(tmp_path, ["plain"])
    second = requests_of(folder(tmp_path), "requests-3-*")
    assert all("sound verdict here is" in row["body"]["messages"][-1]["content"] for row in second)


def test_passes_of_two_teachers_are_written_into_files_of_their_own(tmp_path, capsys):
    more = {"second_teacher": "owner/strong"}
    run(tmp_path, ["plain"], **more)
    answer_all(folder(tmp_path), Teacher())
    run(tmp_path, ["plain"], **more)
    models = [
        {row["body"]["model"] for row in requests_of(folder(tmp_path), f"requests-{k}-*")} for k in (1, 2)
    ]
    assert models == [{"m"}, {"owner/strong"}]
    assert "--model owner/strong --generation-config" in capsys.readouterr().out


def test_a_refusal_of_one_teacher_does_not_change_what_the_other_is_asked(tmp_path):
    more = {"second_teacher": "strong"}
    run(tmp_path, ["plain"], **more)
    seed = {"message": "Unrecognized request argument supplied: seed", "param": "seed"}
    rows = requests_of(folder(tmp_path))
    write_answers(folder(tmp_path) / "e.jsonl", [refusal(row, 400, seed) for row in rows])
    run(tmp_path, ["plain"], **more)
    answer_all(folder(tmp_path), Teacher(), "2-1")
    run(tmp_path, ["plain"], **more)
    seeds = ["seed" in requests_of(folder(tmp_path), f"requests-{k}-*")[0]["body"] for k in (1, 2, 3)]
    assert seeds == [True, False, True]


def test_a_budget_bounds_what_is_written_and_more_follows_when_it_allows(tmp_path, capsys):
    """Before a reply is counted, a prompt may be as many tokens as it has bytes."""
    more = {"price_in": 1e6, "price_out": 1e6, "budget": 12_000}
    run(tmp_path, **more)
    first = len(requests_of(folder(tmp_path)))
    assert 0 < first < 16
    answer_all(folder(tmp_path), Teacher())
    run(tmp_path, **more)
    assert 0 < sum(row["cost"] for row in attempts(tmp_path)) == first * (PROMPT_TOKENS + 7) <= 12_000
    written = len(requests_of(folder(tmp_path)))
    assert written > first, "what was left of the budget is used for further requests"
    said = run(tmp_path, **{**more, "budget": 1e9})
    assert f"{16 - first} requests" in said


def test_a_prompt_that_is_too_long_is_counted_and_holds_nothing_up(tmp_path):
    run(tmp_path, ["plain"])
    rows = requests_of(folder(tmp_path))
    long = {"message": "maximum context length is 10 tokens"}
    good = [answer(row, Teacher()(row["body"])) for row in rows[1:]]
    write_answers(folder(tmp_path) / "a.jsonl", [refusal(rows[0], 400, long), *good])
    assert "requests in 1 file" in run(tmp_path, ["plain"])
    answer_all(folder(tmp_path), Teacher(), "2-1")
    stats = run(tmp_path, ["plain"])
    assert isinstance(stats, dict) and stats["failed"] == {"too long": 1}

"""Requests in files, answered by others: round after round nothing is lost, asked twice or judged twice."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from pathlib import Path

import pytest
from fixtures.batch_files import (
    answer,
    answer_all,
    asked,
    generated,
    refusal,
    requests_of,
    write_answers,
)
from fixtures.endpoint import GOOD
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rmr1_lite.judging.engines.base import Request, Sampling, request_seed
from rmr1_lite.judging.engines.batch_files import BatchFilesEngine
from rmr1_lite.judging.engines.batch_files.custom_ids import custom_id
from rmr1_lite.types import EngineStopped, InputError

SAMPLING = Sampling(max_new_tokens=64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "batch"


def engine(folder: Path, **more) -> BatchFilesEngine:
    """A new one each time, as every call of the command makes one."""
    return BatchFilesEngine("m", folder, **more)


def ids(folder: Path, name: str) -> list[str]:
    return [row["custom_id"] for row in requests_of(folder, name)]


# ---- what is written


def test_the_requests_hold_the_standard_fields_only(folder):
    requests = asked(1)
    made, pending = generated(engine(folder), requests)
    assert not made and "2 requests in 1 file" in pending
    rows = requests_of(folder)
    assert [(row["method"], row["url"]) for row in rows] == [("POST", "/v1/chat/completions")] * 2
    turns = [dict(turn) for turn in requests[0].messages]
    seed = request_seed(requests[0], SAMPLING.seed)
    assert rows[0]["body"] == {
        "model": "m",
        "messages": turns,
        "max_tokens": 64,
        "temperature": 0.0,
        "seed": seed,
    }
    assert list(rows[0]) == ["custom_id", "method", "url", "body"]


def test_sampling_and_the_thinking_switch_are_in_the_body(folder):
    generated(engine(folder, thinking="off"), asked(1), Sampling(0.7, 64, 0.9))
    body = requests_of(folder)[0]["body"]
    assert (body["temperature"], body["top_p"]) == (0.7, 0.9)
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert body.keys() == {"model", "messages", "max_tokens", "temperature", "seed", "top_p"} | {
        "chat_template_kwargs"
    }


BASE = Request("p1", "ab", ({"role": "user", "content": "Why?"},))
CHANGES = [
    (replace(BASE, id="p2"), SAMPLING, "m", "", "another pair"),
    (replace(BASE, order="ba"), SAMPLING, "m", "", "the other order"),
    (replace(BASE, vote=1), SAMPLING, "m", "", "another vote"),
    (replace(BASE, messages=({"role": "user", "content": "Why"},)), SAMPLING, "m", "", "another text"),
    (replace(BASE, messages=({"role": "system", "content": "Why?"},)), SAMPLING, "m", "", "another role"),
    (BASE, replace(SAMPLING, temperature=0.5), "m", "", "another temperature"),
    (BASE, replace(SAMPLING, max_new_tokens=65), "m", "", "another length"),
    (BASE, replace(SAMPLING, seed=1), "m", "", "another seed"),
    (BASE, SAMPLING, "n", "", "another model"),
    (BASE, SAMPLING, "m", "off", "another thinking switch"),
]


@pytest.mark.parametrize("request_, sampling, model, thinking, reason", CHANGES, ids=[r[-1] for r in CHANGES])
def test_an_id_is_bound_to_everything_that_decides_the_answer(request_, sampling, model, thinking, reason):
    assert custom_id(request_, sampling, model, thinking) != custom_id(BASE, SAMPLING, "m")
    assert custom_id(BASE, replace(SAMPLING, temperature=0), "m") == custom_id(BASE, SAMPLING, "m")


@given(st.text(), st.integers(0, 10**6), st.text())
def test_an_id_is_one_that_every_vendor_takes(pair_id, vote, text):
    request = Request(pair_id, "ba", ({"role": "user", "content": text},), vote)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", custom_id(request, SAMPLING, "owner/model@x"))


SPLITS = [
    ({"most_requests": 4}, [4, 4, 2], "by number"),
    ({"most_requests": 10}, [10], "exactly full"),
    ({"most_bytes": 950}, [3, 3, 3, 1], "by size"),
    ({"most_bytes": 1}, [1] * 10, "every request longer than a file may be"),
]


@pytest.mark.parametrize("limits, sizes, reason", SPLITS, ids=[row[-1] for row in SPLITS])
def test_requests_are_split_into_files(folder, limits, sizes, reason):
    requests = asked(5)
    _, pending = generated(engine(folder, **limits), requests)
    parts = sorted(folder.glob("requests-1-*.jsonl"), key=lambda path: int(path.stem.rpartition("-")[2]))
    assert [len(requests_of(folder, path.name)) for path in parts] == sizes
    assert [each for path in parts for each in ids(folder, path.name)] == [
        custom_id(request, SAMPLING, "m") for request in requests
    ]
    assert f"10 requests in {len(sizes)} file" in pending
    if limits.get("most_bytes", 1) > 1:
        assert all(path.stat().st_size <= limits["most_bytes"] for path in parts)


def test_line_separators_inside_texts_are_escaped(folder):
    """modaic#188, tau#354 and others: readers that split at U+2028, U+2029 or U+0085 break such a row."""
    requests = asked(1, "one\u2028two\u2029three\u0085four \U0001f600 é")
    generated(engine(folder), requests)
    text = (folder / "requests-1-1.jsonl").read_text(encoding="utf-8")
    assert len(text.splitlines()) == 2 and "é" in text
    assert requests_of(folder)[0]["body"]["messages"][1]["content"] == requests[0].messages[1]["content"]


# ---- what to do next

COMMANDS = [
    ("judge", "--model FOLDER --served-model-name judge --generation-config vllm", "a name of one's own"),
    ("owner/model", "--model owner/model --generation-config vllm", "a hub id"),
]


@pytest.mark.parametrize("model, flags, reason", COMMANDS, ids=[row[-1] for row in COMMANDS])
def test_it_says_what_to_run_and_where_answers_go(folder, capsys, model, flags, reason):
    generated(BatchFilesEngine(model, folder), asked(2))
    said = capsys.readouterr().out
    paths = f"-i {folder}/requests-1-1.jsonl -o {folder}/answers-1-1.jsonl"
    assert f"vllm run-batch {paths} {flags}\n" in said and "4 requests wait for an answer" in said
    assert f"download its output file and its error file into {folder}" in said


def test_nothing_is_written_again_while_all_of_it_waits(folder):
    requests = asked(2)
    generated(engine(folder), requests)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    _, pending = generated(engine(folder), requests)
    assert "4 requests in 1 file" in pending
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_file_that_was_moved_away_still_waits(folder, capsys):
    requests = asked(2)
    generated(engine(folder), requests)
    (folder / "requests-1-1.jsonl").unlink()
    _, pending = generated(engine(folder), requests)
    assert pending and "the file was moved away" in capsys.readouterr().out
    assert list(folder.glob("requests-*")) == []


# ---- what comes back


def test_answers_are_joined_by_id_and_only_once(folder):
    requests = asked(3)
    generated(engine(folder, most_requests=4), requests)
    answer_all(folder, lambda body: str(body["seed"]))
    made, pending = generated(engine(folder, most_requests=4), requests)
    assert not pending and len(made) == 6
    assert all(made[k].text == str(request_seed(request, 0)) for k, request in enumerate(requests))


def test_an_answered_file_counts_while_another_waits(folder, capsys):
    requests = asked(3)
    small = {"most_requests": 4}
    generated(engine(folder, **small), requests)
    answer_all(folder, name="1-2")
    capsys.readouterr()
    made, pending = generated(engine(folder, **small), requests)
    assert sorted(made) == [4, 5] and "4 requests in 1 file" in pending
    assert "requests-1-1.jsonl (4, " in capsys.readouterr().out and not list(folder.glob("requests-2*"))


def test_missing_and_failed_requests_make_the_next_round(folder, capsys):
    requests = asked(4)
    generated(engine(folder), requests)
    rows = requests_of(folder)
    answers = [answer(row) for row in rows[:5]] + [refusal(rows[5], 500, {"message": "try later"})]
    write_answers(folder / "out.jsonl", answers)
    made, pending = generated(engine(folder), requests)
    assert sorted(made) == [0, 1, 2, 3, 4] and "3 requests in 1 file" in pending
    again = [row["custom_id"] for row in rows[5:]]
    assert ids(folder, "requests-2-*") == again, "the same ids, so that late answers still count"
    said = capsys.readouterr().out
    assert "1 request failed:\n  out.jsonl, row 6 (pair 'p2', order ba): status 500: try later" in said
    assert "2 requests of answered files have no answer:\n  requests-1-1.jsonl: pair 'p3', order ab" in said
    # the round waits: its failed request is not taken for answered by the old row
    rest = requests[5:]
    made, pending = generated(engine(folder), rest)
    assert not made and "3 requests in 1 file" in pending and not list(folder.glob("requests-3*"))
    answer_all(folder, name="2-1")
    made, pending = generated(engine(folder), rest)
    assert sorted(made) == [0, 1, 2] and not pending


def test_a_late_answer_to_an_earlier_round_counts(folder):
    requests = asked(2)
    generated(engine(folder), requests)
    rows = requests_of(folder)
    write_answers(folder / "a.jsonl", [answer(row) for row in rows[:2]])
    generated(engine(folder), requests)
    write_answers(folder / "late.jsonl", [answer(row) for row in rows[2:]])
    made, pending = generated(engine(folder), requests[2:])
    assert sorted(made) == [0, 1] and not pending


def test_a_request_that_fails_again_is_asked_again(folder):
    requests = asked(1)
    generated(engine(folder), requests)
    for number in (1, 2, 3):
        rows = [
            refusal(row, 500, {"message": "later"}, own=f"e{number}")
            for row in requests_of(folder, f"requests-{number}-*")
        ]
        write_answers(folder / f"errors-{number}.jsonl", rows)
        made, pending = generated(engine(folder), requests)
        assert not made and len(ids(folder, f"requests-{number + 1}-*")) == 2
    # copies of old errors in other files are no news
    (folder / "copy.jsonl").write_bytes((folder / "errors-1.jsonl").read_bytes())
    assert "2 requests in 1 file" in generated(engine(folder), requests)[1]
    assert not list(folder.glob("requests-5*"))


def test_an_error_that_stands_in_two_files_is_one(folder):
    """Rows without ids of their own, in the output file and in the error file."""
    requests = asked(1)
    generated(engine(folder), requests)
    rows = [
        {name: value for name, value in refusal(row, 500, {"message": "later"}).items() if name != "id"}
        for row in requests_of(folder)
    ]
    for name in ("output.jsonl", "errors.jsonl"):
        write_answers(folder / name, rows)
    for _ in range(2):
        assert "2 requests in 1 file" in generated(engine(folder), requests)[1]
    assert len(requests_of(folder, "requests-2-*")) == 2 and not list(folder.glob("requests-3*"))


def test_an_overwritten_answer_file_loses_nothing_that_was_stored(folder):
    requests = asked(2)
    generated(engine(folder), requests)
    rows = requests_of(folder)
    write_answers(folder / "out.jsonl", [answer(row) for row in rows[:3]])
    generated(engine(folder), requests)
    write_answers(folder / "out.jsonl", [answer(rows[3])])
    made, pending = generated(engine(folder), requests[3:])
    assert list(made) == [0] and not pending


def test_what_nobody_asked_is_counted_and_not_used(folder, capsys):
    requests = asked(1)
    generated(engine(folder), requests)
    foreign = [answer({"custom_id": f"x{k}", "body": {"model": "m"}}) for k in range(5)]
    write_answers(folder / "out.jsonl", [*foreign, *map(answer, requests_of(folder))])
    made, pending = generated(engine(folder), requests)
    said = capsys.readouterr().out
    assert len(made) == 2 and not pending
    assert "5 answers have ids that no request of this run has" in said
    assert "  out.jsonl, row 1: x0\n" in said and "  and 2 more" in said


def test_an_answer_to_other_texts_never_matches(folder, capsys):
    generated(engine(folder), asked(1))
    answer_all(folder)
    changed = asked(1, "How much is 2+2?")
    (folder / "round-1.json").unlink()
    made, pending = generated(engine(folder), changed)
    assert not made and "2 requests in 1 file" in pending
    assert "2 answers have ids that no request of this run has" in capsys.readouterr().out


def test_the_first_of_two_answers_counts(folder, capsys):
    requests = asked(1)
    generated(engine(folder), requests)
    one, two = requests_of(folder)
    write_answers(folder / "b.jsonl", [answer(one, "later"), answer(two, "same")])
    write_answers(folder / "a.jsonl", [answer(one, "first"), answer(two, "same")])
    made, _ = generated(engine(folder), requests)
    said = capsys.readouterr().out
    assert [made[k].text for k in (0, 1)] == ["first", "same"]
    assert "1 further answer differs from the one before it; the first one is used:\n  b.jsonl, row 1" in said
    assert "1 request was answered twice with the same text, which counts once:\n  b.jsonl, row 2" in said


def test_an_answer_counts_more_than_an_error(folder):
    requests = asked(1)
    generated(engine(folder), requests)
    one, two = requests_of(folder)
    long = {"message": "maximum context length is 10 tokens"}
    write_answers(folder / "a.jsonl", [refusal(one, 500, {"message": "later"}), refusal(two, 400, long)])
    write_answers(folder / "b.jsonl", [answer(one), answer(two)])
    write_answers(folder / "c.jsonl", [refusal(one, 500, {"message": "later still"}, own="f")])
    made, pending = generated(engine(folder), requests)
    assert not pending and [made[k].text for k in (0, 1)] == [GOOD, GOOD]


# ---- refused parts, and what no repeat mends

PART = {"message": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'.", "param": "max_tokens"}
SEED = {"message": "Unrecognized request argument supplied: seed", "param": "seed"}


def test_refused_parts_are_renamed_or_left_out_in_the_next_rounds(folder, capsys):
    requests = asked(2)
    generated(engine(folder), requests)
    first = requests_of(folder)
    write_answers(folder / "e1.jsonl", [refusal(row, 400, PART) for row in first])
    generated(engine(folder), requests)
    second = requests_of(folder, "requests-2-*")
    assert [row["custom_id"] for row in second] == [row["custom_id"] for row in first]
    assert second[0]["body"]["max_completion_tokens"] == 64 and "max_tokens" not in second[0]["body"]
    write_answers(folder / "e2.jsonl", [refusal(row, 400, SEED, own="f") for row in second])
    generated(engine(folder), requests)
    third = requests_of(folder, "requests-3-*")
    assert third[0]["body"].keys() == {"model", "messages", "max_completion_tokens", "temperature"}
    answer_all(folder, name="3-1")
    made, pending = generated(engine(folder), requests)
    assert len(made) == 4 and not pending
    said = capsys.readouterr().out
    assert said.count("The server refuses max_tokens: max_completion_tokens is sent instead") == 1
    assert said.count("The server refuses seed") == 1


def test_a_refused_part_stays_left_out_when_its_answers_are_gone(folder):
    requests = asked(1)
    generated(engine(folder), requests)
    write_answers(folder / "e1.jsonl", [refusal(row, 400, SEED) for row in requests_of(folder)])
    generated(engine(folder), requests)
    (folder / "e1.jsonl").unlink()
    generated(engine(folder), [*requests, *asked(3)[4:]])
    assert "seed" not in requests_of(folder, "requests-3-*")[0]["body"]


def test_a_late_refusal_of_the_first_round_finds_the_part_already_left_out(folder):
    requests = asked(2)
    small = {"most_requests": 2}
    generated(engine(folder, **small), requests)
    for number in (1, 2):
        rows = [refusal(row, 400, SEED) for row in requests_of(folder, f"requests-1-{number}*")]
        write_answers(folder / f"e{number}.jsonl", rows)
        generated(engine(folder, **small), requests)
    assert all("seed" not in row["body"] for row in requests_of(folder, "requests-[23]-*"))
    assert len(requests_of(folder, "requests-3-*")) == 2


HOPELESS = [
    (404, {"message": "The model `m` does not exist."}, "let it have this name there", "an unknown model"),
    (401, {"message": "Incorrect API key provided"}, "Run the batch with a key", "a wrong key"),
    (429, {"message": "x", "code": "insufficient_quota"}, "The account's quota is used up", "no quota"),
    (404, {"message": "Not Found"}, "Run the batch for /v1/chat/completions", "another address"),
    (
        400,
        {"message": "Unrecognized request argument: chat_template_kwargs", "param": "chat_template_kwargs"},
        "does not accept --thinking: leave it out",
        "a part that cannot be left out",
    ),
    (
        400,
        {"message": "max_tokens is too large: 64", "param": "max_tokens"},
        "--max-new-tokens",
        "a long one",
    ),
]


@pytest.mark.parametrize("status, error, remedy, reason", HOPELESS, ids=[row[-1] for row in HOPELESS])
def test_what_no_repeat_mends_stops_with_the_servers_words(folder, status, error, remedy, reason):
    requests = asked(1)
    thinking = {"thinking": "off"}
    generated(engine(folder, **thinking), requests)
    rows = requests_of(folder)
    write_answers(folder / "out.jsonl", [refusal(row, status, error) for row in rows])
    with pytest.raises(EngineStopped, match=re.escape(remedy)) as caught:
        generated(engine(folder, **thinking), requests)
    assert error["message"].rstrip(".") in str(caught.value) and "out.jsonl, row" in str(caught.value)
    assert not list(folder.glob("requests-2*")), "the same file is run again"
    write_answers(folder / "out.jsonl", map(answer, rows))
    assert len(generated(engine(folder, **thinking), requests)[0]) == 2


def test_a_quota_that_ran_out_half_way_costs_the_rest_only(folder):
    requests = asked(2)
    generated(engine(folder), requests)
    rows = requests_of(folder)
    quota = {"message": "You exceeded your current quota", "code": "insufficient_quota"}
    write_answers(folder / "out.jsonl", [*map(answer, rows[:3]), refusal(rows[3], 429, quota)])
    made, pending = generated(engine(folder), requests)
    assert len(made) == 3 and "1 request in 1 file" in pending
    assert ids(folder, "requests-2-*") == [rows[3]["custom_id"]]


# ---- interruptions and damage


def test_a_round_that_was_not_finished_is_written_again(folder):
    requests = asked(3)
    generated(engine(folder, most_requests=1), requests)
    (folder / "round-1.json").unlink()  # killed before the record was written
    _, pending = generated(engine(folder, most_requests=4), requests)
    assert "6 requests in 2 files" in pending
    assert sorted(path.name for path in folder.glob("requests-*")) == [
        "requests-1-1.jsonl",
        "requests-1-2.jsonl",
    ]


@pytest.mark.parametrize("text", ["{", "[]", '{"parts": 3}', '{"parts": [], "left_out": 1, "used": []}'])
def test_a_damaged_record_is_named(folder, text):
    generated(engine(folder), asked(1))
    (folder / "round-1.json").write_text(text)
    with pytest.raises(InputError, match="round-1.json is damaged.*or delete it"):
        generated(engine(folder), asked(1))


def test_a_file_in_the_place_of_the_folder_is_named(folder):
    folder.write_text("")
    with pytest.raises(InputError, match="batch is a file, but batch files need a folder"):
        generated(engine(folder), asked(1))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(1, 12), st.integers(1, 7), st.randoms(use_true_random=False), st.floats(0, 0.9))
def test_whatever_gets_lost_every_request_gets_its_own_answer(tmp_path_factory, count, most, chance, loss):
    """Answers in any order and any files, lost, failed, doubled or broken: in the end each request has its
    own, was yielded once, and nothing was written for which there was an answer."""
    folder = tmp_path_factory.mktemp("batch")
    requests = asked(count)
    left, found, call = list(range(len(requests))), {}, 0
    while left:
        call += 1
        before = len(requests_of(folder))
        made, pending = generated(engine(folder, most_requests=most), [requests[k] for k in left])
        found |= {left[place]: generation.text for place, generation in made.items()}
        left = [k for place, k in enumerate(left) if place not in made]
        assert bool(left) == bool(pending)
        rows = requests_of(folder)
        texts = {custom_id(requests[k], SAMPLING, "m") for k in left}
        assert {row["custom_id"] for row in rows[before:]} <= texts and len({*texts}) == len(left)
        open_rows = {row["custom_id"]: row for row in rows if row["custom_id"] in texts}
        _answer_some(folder, list(open_rows.values()), chance, loss if call < 6 else 0.0, call)
        assert call < 9, "without a loss there is nothing to wait for"
    assert found == {k: _said(custom_id(request, SAMPLING, "m")) for k, request in enumerate(requests)}


def _said(name: str) -> str:
    return f"{GOOD} {name}"


def _answer_some(folder: Path, rows: list, chance: random.Random, loss: float, call: int) -> None:
    """Answer the rows in two files; with probability `loss` a row fails, is lost or broken."""
    lines = []
    for row in rows:
        good = json.dumps(answer(row, _said(row["custom_id"])))
        bad = json.dumps(refusal(row, 500, {"message": "later"}, own=f"e{call}"))
        lost = chance.random() < loss
        lines += chance.choice([[bad], [], [good[:30]]]) if lost else chance.choice([[good], [good, good]])
    chance.shuffle(lines)
    cut = chance.randrange(len(lines) + 1)
    for name, some in (("x", lines[:cut]), ("y", lines[cut:])):
        (folder / f"{name}-{call}.jsonl").write_text("".join(f"{line}\n" for line in some))

"""Rows of answer files in the forms that vLLM and vendors give them. Each row of a table names who reported
it, or who writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fixtures.batch_files import answer, asked, generated, refusal, requests_of
from fixtures.endpoint import GOOD, completion

from rmr1_lite.judging.engines.batch_files import BatchFilesEngine
from rmr1_lite.judging.engines.batch_files.answers import answer_files

REQUESTS = asked(1)
TOO_LONG = {
    "message": "This model's maximum context length is 768 tokens.",
    "code": "context_length_exceeded",
}
FILTER = {"message": "The response was filtered", "code": "content_filter"}


def folder_with(tmp_path: Path) -> tuple[BatchFilesEngine, list[dict[str, Any]]]:
    """An engine that has written its requests, and these requests."""
    engine = BatchFilesEngine("m", tmp_path / "batch")
    generated(engine, REQUESTS)
    return engine, requests_of(tmp_path / "batch")


def response(status: Any = 200, body: Any = None, **more: Any) -> dict[str, Any]:
    return {"id": "1", "response": {"status_code": status, "request_id": "r", "body": body}, **more}


# (row without its custom id, text, reason)
TEXTS: list[tuple[dict[str, Any], str, str]] = [
    (response(body=completion(GOOD), error=None), GOOD, "OpenAI, Azure, Groq, vLLM"),
    (response("200", completion(GOOD)), GOOD, "the status as a text"),
    (response(None, completion(GOOD)), GOOD, "no status"),
    (response(body=json.dumps(completion(GOOD))), GOOD, "the body as a text: proxies, Mistral"),
    (response(body=completion(GOOD), error={}), GOOD, "an empty error beside the answer"),
    ({"response": completion(GOOD)}, GOOD, "the completion without an envelope"),
    ({"response": json.dumps(completion(GOOD))}, GOOD, "the same as a text"),
    (
        response(body=completion(GOOD, reasoning_content="Hm.")),
        f"<think>Hm.</think>{GOOD}",
        "vLLM with a reasoning parser",
    ),
]


@pytest.mark.parametrize("row, text, reason", TEXTS, ids=[row[-1] for row in TEXTS])
def test_an_answer_is_read(row: dict[str, Any], text: str, reason: str, tmp_path: Path) -> None:
    engine, requests = folder_with(tmp_path)
    lines = [json.dumps({**row, "custom_id": each["custom_id"]}) for each in requests]
    (tmp_path / "batch" / "out.jsonl").write_text("\n".join(lines))
    made, pending = generated(engine, REQUESTS)
    assert not pending and [made[index].text for index in (0, 1)] == [text, text]
    assert made[0].finished is True and made[0].completion_tokens == 7


# (row without its custom id, status, what the error says, reason)
FINAL = [
    (response(400, {"error": TOO_LONG}), "too_long", "", "openai-openapi#302: the error is in the body"),
    (
        {"response": {"status_code": 400, "request_id": "r", "body": None}, "error": {"error": TOO_LONG}},
        "too_long",
        "",
        "vLLM: an error beside the response, and no body",
    ),
    (response(400, {"error": FILTER}), "filtered", "status 400: The response was filtered", "Azure"),
    (response(200, {"error": FILTER}), "filtered", "The response was filtered", "status 200, an error"),
    (response(body=completion("", "content_filter")), "filtered", "content_filter", "in the finish reason"),
]


@pytest.mark.parametrize("row, status, said, reason", FINAL, ids=[row[-1] for row in FINAL])
def test_what_stays_as_it_is_when_asked_again_is_final(row, status, said, reason, tmp_path) -> None:
    engine, requests = folder_with(tmp_path)
    rows = [{**row, "custom_id": requests[0]["custom_id"]}, answer(requests[1])]
    (tmp_path / "batch" / "out.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made, pending = generated(engine, REQUESTS)
    assert not pending and made[1].text == GOOD
    assert made[0].too_long == (status == "too_long") and said in (made[0].error or "")
    assert made[0].too_long or made[0].problem == "filtered"
    # and it stays final in the next call, which asks for it again
    again, pending = generated(engine, REQUESTS[:1])
    assert not pending and again[0] == made[0]


# (row without its custom id, what is reported, reason)
PASSING = [
    (response(429, {"error": {"message": "Rate limit reached"}}), "status 429: Rate limit", "a rate limit"),
    (response(500, {"error": {"message": "try later"}}), "status 500: try later", "the server's fault"),
    (response(0, {}, error=None), "error: no reason is given", "ellmer#830: OpenAI, status 0, no body"),
    (response(200, None, error=None), "status 200: no reason is given", "status 200 without a body"),
    (response(200, "<html>busy</html>"), "status 200: busy", "a proxy's page"),
    (response(200, {"error": {"message": "overloaded", "code": 529}}), "overloaded", "status 200, an error"),
    (response(200, {"choices": [None]}), "not a chat completion", "status 200, no message"),
    (response(200, completion("", "error")), "finish_reason 'error'", "the answer was interrupted"),
    (
        {"response": None, "error": {"code": "batch_expired", "message": "could not be executed in time"}},
        "error: could not be executed in time",
        "OpenAI's error file of an expired batch",
    ),
    ({"response": None, "error": {"code": "batch_cancelled", "message": "stopped"}}, "stopped", "cancelled"),
    ({"response": None, "error": "Request must not be sent"}, "must not be sent", "vLLM: an error as a text"),
    ({"response": None, "error": None}, "no reason is given", "neither an answer nor an error"),
]


@pytest.mark.parametrize("row, said, reason", PASSING, ids=[row[-1] for row in PASSING])
def test_what_failed_in_a_passing_way_is_asked_again(row, said, reason, tmp_path, capsys) -> None:
    engine, requests = folder_with(tmp_path)
    rows = [answer(requests[1]), {**row, "custom_id": requests[0]["custom_id"]}]
    (tmp_path / "batch" / "out.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    capsys.readouterr()
    made, pending = generated(engine, REQUESTS)
    assert list(made) == [1] and "1 request in 1 file" in pending
    assert [row["custom_id"] for row in requests_of(tmp_path / "batch", "requests-2-*")] == [
        requests[0]["custom_id"]
    ]
    shown = capsys.readouterr().out
    assert "1 request failed:\n  out.jsonl, row 2 (pair 'p0', order ab): " in shown and said in shown


ID = "CUSTOM"
# (what the file holds after its two good rows, what is reported, reason)
BAD = [
    (b'{"custom_id": "x", "resp', "row 3: is a half-written last line", "the writer was killed"),
    (b'{"custom_id": \n{"x": 1}\n', "row 3: is not JSON", "a broken row, and one without an id"),
    (b'{"id": "1", "response": {}}\n', "row 3: custom_id is missing", "any-llm#1346, Vertex (litellm#22723)"),
    (b'{"custom_id": null, "response": {}}\n', "row 3: custom_id is missing", "null"),
    (b"[1]\n", "row 3: is not an object", "not an object"),
    (b'{"custom_id": "x", "result": {}}\n', "but custom_id, result", "Anthropic's own format"),
    (b'{"custom_id": "x", "method": "POST", "body": {}}\n', "neither response nor error", "a request file"),
    (b"\xff\xfe{\x00\n", "row 3: is not UTF-8", "saved by an editor in another encoding"),
]


@pytest.mark.parametrize("more, said, reason", BAD, ids=[row[-1] for row in BAD])
def test_a_row_that_is_no_answer_is_named_and_the_rest_is_used(more, said, reason, tmp_path, capsys) -> None:
    engine, requests = folder_with(tmp_path)
    good = "".join(json.dumps(answer(request)) + "\n" for request in requests).encode()
    (tmp_path / "batch" / "out.jsonl").write_bytes(good + more)
    made, pending = generated(engine, REQUESTS)
    assert len(made) == 2 and not pending
    shown = capsys.readouterr().out
    assert "not used:\n  out.jsonl, row 3: " in shown and said in shown


FORMS = [
    (lambda text: b"\xef\xbb\xbf" + text.encode(), "a byte order mark: PowerShell, Notepad"),
    (lambda text: text.replace("\n", "\r\n").encode(), "line ends of Windows"),
    (lambda text: text.replace("\n", "\n\n").encode(), "blank lines"),
    (lambda text: text.rstrip("\n").encode(), "no line end at the end"),
    (lambda text: "\n".join(reversed(text.split("\n"))).encode(), "another order: tidyllm#37"),
]


@pytest.mark.parametrize("form, reason", FORMS, ids=[row[-1] for row in FORMS])
def test_files_in_other_forms_are_read(form, reason, tmp_path, capsys) -> None:
    engine, requests = folder_with(tmp_path)
    text = "".join(
        json.dumps(answer(row, f"{GOOD}\u2028{k}"), ensure_ascii=False) + "\n"
        for k, row in enumerate(requests)
    )
    (tmp_path / "batch" / "out.jsonl").write_bytes(form(text))
    made, pending = generated(engine, REQUESTS)
    assert not pending and [made[k].text for k in (0, 1)] == [f"{GOOD}\u2028{k}" for k in (0, 1)]
    assert "not used" not in capsys.readouterr().out


def test_the_error_file_of_a_batch_may_be_all_there_is(tmp_path) -> None:
    """litellm#33987: a batch whose requests all failed has no output file."""
    engine, requests = folder_with(tmp_path)
    rows = [refusal(row, 500, {"message": "try later"}) for row in requests]
    (tmp_path / "batch" / "batch_1_error.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made, pending = generated(engine, REQUESTS)
    assert not made and "2 requests in 1 file" in pending
    assert len(requests_of(tmp_path / "batch", "requests-2-*")) == 2


def test_which_files_are_answers(tmp_path) -> None:
    names = (
        "requests-1-1.jsonl",
        "round-1.json",
        "b.jsonl",
        "a.JSONL",
        "._b.jsonl",
        "requests-1-1-done.jsonl",
    )
    for name in (*names, "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in answer_files(tmp_path)] == ["a.JSONL", "b.jsonl", "requests-1-1-done.jsonl"]

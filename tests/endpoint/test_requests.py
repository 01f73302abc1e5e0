"""What the judge endpoint takes, refuses and returns: fields, limits, keys, errors in one shape."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import socket
from pathlib import Path

import httpx
import pytest
from fixtures.judge_endpoint import judge_of, pair_body, running_endpoint, scripted

from rmr1_lite import load_judge
from rmr1_lite.data.nano.world import draw_pairs
from rmr1_lite.endpoint import schemas
from rmr1_lite.endpoint.errors import KINDS, field_of
from rmr1_lite.endpoint.server import open_port
from rmr1_lite.endpoint.settings import EndpointConfig, check_settings, read_keys
from rmr1_lite.types import InputError

LIMITS = {"max_body": 4000, "max_chars": 1000, "max_responses": 3, "max_votes": 4}
KEYS = ("first-key-1", "second-key-2")


@pytest.fixture(scope="module")
def endpoint():
    with running_endpoint(judge_of(scripted()), **LIMITS) as running:
        yield running


@pytest.fixture(scope="module")
def nano():
    judge = load_judge("nano")
    with running_endpoint(judge) as running:
        yield running, judge


GOOD = {"prompt": "p", "a": "x", "b": "y"}
LIST = {"prompt": "p", "responses": ["x", "y"]}
WRONG = [
    # route, body, status, field, words, reason
    ("/compare", {}, 422, "prompt", "prompt is missing", "nothing given"),
    ("/compare", {**GOOD, "b": "x"}, 422, "a", "a and b are the same text", "equal responses"),
    ("/compare", {**GOOD, "a": " "}, 422, "a", "a is empty", "an empty response"),
    ("/compare", {**GOOD, "a": None}, 422, "a", "a is missing", "null is no text"),
    ("/compare", {**GOOD, "prompt": 3}, 422, "prompt", "prompt is", "a number for the prompt"),
    (
        "/compare",
        {**GOOD, "prompt": [{"role": "assistant", "content": "u"}]},
        422,
        "prompt",
        "does not end with a user turn",
        "turns without a question",
    ),
    ("/compare", {**GOOD, "order": 1}, 422, "order", "Choose from prompt, a, b", "an unknown field"),
    ("/compare", {**GOOD, "votes": "2"}, 422, "votes", "votes is '2'", "a number as text"),
    ("/compare", {**GOOD, "votes": 0}, 422, "votes", "greater than or equal to 1", "no votes"),
    ("/compare", {**GOOD, "votes": 5}, 422, "votes", "at most 4", "too many votes"),
    ("/compare", {**GOOD, "votes": 2}, 422, None, "identical copies", "votes at temperature 0"),
    ("/compare", {**GOOD, "both_orders": "yes"}, 422, "both_orders", "boolean", "a text for yes"),
    ("/compare", {**GOOD, "a": "x" * 1001}, 422, "a", "a has 1,001 characters", "too long a response"),
    ("/compare", {**GOOD, "prompt": "x" * 1001}, 422, "prompt", "at most 1,000", "too long a prompt"),
    ("/compare", {**GOOD, "a": "x" * 4000}, 413, None, "longer than 4,000 bytes", "too long a body"),
    ("/compare", {**GOOD, "a": "\ud83d"}, 422, None, "half a character", "no text that can be stored"),
    ("/rank", {**LIST, "responses": ["x"]}, 422, "responses", "at least two", "one response"),
    ("/rank", {**LIST, "responses": "xy"}, 422, "responses", "Give a list", "a text for the list"),
    ("/rank", {**LIST, "responses": ["x", ""]}, 422, "responses[1]", "is empty", "an empty one of two"),
    ("/best-of", {**LIST, "responses": list("abcd")}, 422, "responses", "at most 3", "too many responses"),
    ("/best-of", {**LIST, "both_orders": True}, 422, "both_orders", "not a field", "a field of /compare"),
    (
        "/score",
        {"prompt": "p", "response": "x", "reference": "y", "panel": ["y", "z"]},
        422,
        "reference",
        "are both given",
        "a reference and a panel",
    ),
    (
        "/score",
        {"prompt": "p", "response": "x", "panel": ["y"]},
        422,
        "panel",
        "two or more",
        "a panel of one",
    ),
    ("/score", {"prompt": "p", "response": "x"}, 422, None, "stored answers", "nothing to compare with"),
    ("/nothing", GOOD, 404, None, "/docs lists them", "no such route"),
    ("/health", GOOD, 405, None, "does not take POST", "another method"),
]


@pytest.mark.parametrize("row", WRONG, ids=[row[-1] for row in WRONG])
def test_wrong_input_is_refused_in_words_that_name_the_field(endpoint, row):
    route, body, status, field, words, _ = row
    text = json.dumps(body)
    reply = httpx.post(
        f"{endpoint.url}{route}", content=text, headers={"content-type": "application/json"}, timeout=30
    )
    error = reply.json()["error"]
    assert (reply.status_code, set(error)) == (status, {"type", "message", "field"})
    assert words in error["message"] and error["type"] == KINDS[status][0]
    assert error["field"] == field


RAW = [
    (b'{"prompt": "p", "a": "x"', "application/json", 400, "not JSON", "a body that breaks off"),
    (b'{"prompt": "p", "a": "x", "b": "y", "a": "z"}', "application/json", 400, "'a' appears twice", "twice"),
    (b'{"prompt": "p", "votes": NaN}', "application/json", 400, "NaN", "not a value of JSON"),
    (b"[" * 3000, "application/json", 400, "not JSON", "nested until the parser gives up"),
    (b"\xff\xfe", "application/json", 400, "not JSON", "bytes that are not UTF-8"),
    (b'["x"]', "application/json", 422, "not a JSON object", "a list"),
    (b"", "application/json", 422, "not a JSON object", "nothing at all"),
    (b"prompt=p", "application/x-www-form-urlencoded", 415, "application/json", "a form, as a page can send"),
    (b'{"prompt": "p"}', "text/plain", 415, "application/json", "what a page can send without asking"),
]


@pytest.mark.parametrize(("body", "kind", "status", "words", "reason"), RAW, ids=[row[-1] for row in RAW])
def test_a_body_that_is_not_one_json_object_is_refused(endpoint, body, kind, status, words, reason):
    reply = httpx.post(f"{endpoint.url}/compare", content=body, headers={"content-type": kind})
    assert (reply.status_code, words in reply.json()["error"]["message"]) == (status, True)


def test_a_body_over_the_limit_is_refused_whatever_its_head_says(endpoint):
    """With a length, in chunks without one, and far over the limit: the client reads the answer each time."""
    headers = {"content-type": "application/json"}

    def chunks():
        for _ in range(60):
            yield b"x" * 1000

    for content in (b"x" * 4001, chunks(), b"x" * 2_000_000):
        reply = httpx.post(f"{endpoint.url}/compare", content=content, headers=headers, timeout=20)
        assert (reply.status_code, reply.headers["connection"]) == (413, "close")
    body = json.dumps(pair_body(1))
    padded = body + " " * (4000 - len(body))
    assert httpx.post(f"{endpoint.url}/compare", content=padded, headers=headers).status_code == 200


def test_a_refused_body_is_not_asked_for(endpoint):
    """A client that waits for `100 Continue` gets the answer and the end at once."""
    host, port = endpoint.url.removeprefix("http://").split(":")
    head = "POST /compare HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    with socket.create_connection((host, int(port)), timeout=1.5) as client:
        client.sendall(f"{head}content-length: 9000\r\nexpect: 100-continue\r\n\r\n".encode())
        said = b"".join(iter(lambda: client.recv(65536), b""))
    assert said.startswith(b"HTTP/1.1 413") and b"100 Continue" not in said


# ---- keys and addresses

ASKED = [
    ({}, 401, "no key"),
    ({"authorization": "Bearer first-key-1"}, 200, "the first key"),
    ({"authorization": "bearer second-key-2"}, 200, "the second, in lower case"),
    ({"authorization": "Bearer first-key-"}, 401, "a part of a key"),
    ({"authorization": "Basic first-key-1"}, 401, "another scheme"),
    ({"authorization": "Bearer first-key-1,second-key-2"}, 401, "both keys"),
    ({"authorization": "Bearer k\u00e9y".encode("latin-1")}, 401, "a letter that no key has"),
    ({"x-api-key": "first-key-1"}, 401, "another header"),
]


@pytest.fixture(scope="module")
def guarded():
    with running_endpoint(judge_of(scripted()), keys=KEYS) as running:
        yield running


@pytest.mark.parametrize(("headers", "status", "reason"), ASKED, ids=[row[-1] for row in ASKED])
def test_a_key_opens_the_routes(guarded, headers, status, reason):
    assert guarded.post("/compare", pair_body(2), headers=headers).status_code == status
    assert httpx.get(f"{guarded.url}/metrics", headers=headers).status_code == status
    assert httpx.get(f"{guarded.url}/health", headers=headers).status_code == 200
    assert not any(key in guarded.log for key in KEYS)


ELSEWHERE = [
    ({}, 200, "this machine"),
    ({"host": "localhost:8080"}, 200, "its other name"),
    ({"host": "evil.example"}, 403, "a page elsewhere, whose name leads here"),
    ({"x-forwarded-for": "10.0.0.1"}, 403, "a proxy for other machines"),
]


@pytest.mark.parametrize(("headers", "status", "reason"), ELSEWHERE, ids=[row[-1] for row in ELSEWHERE])
def test_without_a_key_only_this_machine_is_answered(endpoint, headers, status, reason):
    reply = endpoint.post("/compare", pair_body(2), headers=headers)
    assert reply.status_code == status and "access-control-allow-origin" not in reply.headers


def test_without_a_key_on_purpose_everyone_is_answered():
    with running_endpoint(judge_of(scripted()), key=False) as running:
        reply = running.post("/compare", pair_body(2), headers={"host": "judge.example"})
        assert reply.status_code == 200


SETTINGS = [
    ({}, "", True, (), "this machine needs no key"),
    ({}, "long-enough", True, ("long-enough",), "but may have one"),
    ({}, "long-enough, another-one", False, ("long-enough", "another-one"), "several"),
    ({"key": False}, "", False, (), "open on purpose"),
    ({}, "", False, "Set RMR1_ENDPOINT_KEY", "open by accident"),
    ({"key": False}, "long-enough", False, "Unset", "both"),
    ({}, "short", True, "Key 1 of RMR1_ENDPOINT_KEY", "too short"),
    ({}, "long-enough,", True, "Key 2", "an empty key would open to everyone"),
    ({}, "long enough", True, "Key 1", "a blank inside"),
]


@pytest.mark.parametrize(
    ("given", "value", "local", "found", "reason"), SETTINGS, ids=[r[-1] for r in SETTINGS]
)
def test_keys_are_read_from_the_environment(given, value, local, found, reason):
    config, environment = EndpointConfig(**given), {"RMR1_ENDPOINT_KEY": value}
    if isinstance(found, tuple):
        assert read_keys(config, local, environment) == found
    else:
        with pytest.raises(InputError, match=found) as caught:
            read_keys(config, local, environment)
        assert not value or value not in str(caught.value)


UNUSABLE = [
    ({"queue": 0}, "queue is 0", "nobody may wait"),
    ({"timeout": 0.0}, "timeout is 0", "no time"),
    ({"timeout": float("nan")}, "timeout is nan", "not a number"),
    ({"max_chars": 10**6}, "at most 200,000", "more than the reader of pairs takes"),
    ({"port": 70_000}, "from 0 to 65535", "no such port"),
    ({"max_responses": 1}, "at least 2", "nothing to rank"),
]


@pytest.mark.parametrize(("given", "words", "reason"), UNUSABLE, ids=[row[-1] for row in UNUSABLE])
def test_settings_that_cannot_work_are_refused(given, words, reason):
    with pytest.raises(InputError, match=words):
        check_settings(EndpointConfig(**given))


def test_a_port_in_use_is_reported():
    with open_port("127.0.0.1", 0) as taken, pytest.raises(InputError, match="Give another --port"):
        open_port("127.0.0.1", taken.getsockname()[1])


# ---- results

EXAMPLES = [
    ("/compare", schemas.CompareRequest, schemas.Comparison, "compare"),
    ("/rank", schemas.RankRequest, schemas.Ranked, "rank"),
    ("/best-of", schemas.RankRequest, schemas.Best, "best_of"),
    ("/score", schemas.ScoreRequest, schemas.Score, "score"),
]


def without_times(value):
    if isinstance(value, dict):
        return {name: without_times(part) for name, part in value.items() if name != "seconds"}
    return [without_times(part) for part in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("route", "request_model", "model", "method"), EXAMPLES, ids=[r[0] for r in EXAMPLES]
)
def test_the_examples_get_what_python_gets(nano, route, request_model, model, method):
    running, judge = nano
    (example,) = request_model.model_json_schema()["examples"]
    found = running.post(route, example).json()
    model.model_validate_json(json.dumps(found))  # every field is described
    wanted = json.loads(json.dumps(getattr(judge, method)(**example).to_dict()))
    for row in (found, wanted):
        for part in row.get("comparisons", [row]):
            if part["confidence"] is not None:
                part["confidence"] = round(part["confidence"], 6)
    assert without_times(found) == without_times(wanted)
    short = running.post(route, {**example, "chains": False}).json()
    calls = [call for part in short.get("comparisons", [short]) for call in part["calls"]]
    assert calls and not any({"text", "parts"} & set(call) for call in calls)


def test_nano_gives_the_texts_of_python_to_eight_clients_at_once(nano):
    running, judge = nano
    pairs = draw_pairs("test", 8, 9200)
    given = [{"prompt": list(p.prompt), "a": p.response_a, "b": p.response_b} for p in pairs]
    before = running.count("batches")

    async def ask():
        async with httpx.AsyncClient(timeout=60) as client:
            return await asyncio.gather(*(client.post(f"{running.url}/compare", json=body) for body in given))

    replies = [reply.json() for reply in asyncio.run(ask())]
    assert running.count("batches") - before < 8
    for reply, body in zip(replies, given, strict=True):
        alone = judge.compare(**body).to_dict()
        assert [c["text"] for c in reply["calls"]] == [c["text"] for c in alone["calls"]]
        assert (reply["winner"], reply["id"]) == (alone["winner"], alone["id"])
        if alone["winner"]:
            assert reply["confidence"] == pytest.approx(alone["confidence"], abs=1e-4)


def test_the_examples_of_the_guide_give_what_it_shows(nano, capsys):
    running, _ = nano
    guide = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
    blocks = dict(re.findall(r"^```(\w+)\n(.*?)^```", guide, re.DOTALL | re.MULTILINE))
    words = shlex.split(blocks["sh"].replace("http://127.0.0.1:8080", running.url))
    assert words[:2] == ["curl", "-s"]
    name, _, value = words[words.index("-H") + 1].partition(": ")
    reply = httpx.post(words[2], content=words[words.index("-d") + 1], headers={name: value}, timeout=30)
    shown = json.loads(blocks["json"])
    shown["confidence"] = pytest.approx(shown["confidence"], abs=1e-4)
    assert without_times(reply.json()) == without_times(shown)
    capsys.readouterr()
    exec(blocks["python"].replace("http://127.0.0.1:8080", running.url), {})  # as a reader would paste it
    assert capsys.readouterr().out == blocks["text"]


def test_a_panel_comes_from_the_stored_answers(nano):
    running, _ = nano
    found = running.post("/score", {"prompt": "Sort d a c from first to last.", "response": "a c d"}).json()
    assert found["value"] > 0.5 and found["calls"] >= 4


def test_a_pair_without_a_verdict_has_no_winner_and_a_reason():
    for text, reason in (
        ("both are fine", "no verdict in the text"),
        ("<answer>[[A]]</answer>", "the two orders"),
    ):
        with running_endpoint(judge_of(scripted(lambda request, text=text: text))) as running:
            reply = running.post("/compare", pair_body(1))
            assert (reply.status_code, reply.json()["winner"]) == (200, None)
            assert reason in reply.json()["reason"]


def test_half_a_character_from_a_server_does_not_break_the_answer():
    with running_endpoint(judge_of(scripted(lambda request: "\ud83d <answer>[[A]]</answer>"))) as running:
        assert running.post("/compare", pair_body(1)).json()["calls"][0]["text"].startswith("\ud83d")


def test_the_schema_is_worth_reading_and_the_page_loads_nothing(endpoint):
    schema = httpx.get(f"{endpoint.url}/openapi.json").json()
    assert set(schema["paths"]) == {"/compare", "/rank", "/best-of", "/score", "/health", "/metrics"}
    posts = {path: about["post"] for path, about in schema["paths"].items() if "post" in about}
    for path, about in posts.items():
        answers = {status: reply["content"]["application/json"]["schema"] for status, reply in
                   about["responses"].items()}  # fmt: skip
        assert answers["200"]["$ref"].endswith(dict((e[0], e[2].__name__) for e in EXAMPLES)[path])
        assert {"401", "413", "422", "429", "502", "503", "504"} <= set(answers)
    page = httpx.get(f"{endpoint.url}/docs").text
    assert "secret" not in page + json.dumps(schema)
    assert not re.search(r"<script|<link|<img|@import|(?:src|href)=\"(?!openapi\.json)", page)
    assert all(f"POST {path}" in page for path in posts)


def test_health_tells_what_is_there(endpoint):
    found = httpx.get(f"{endpoint.url}/health").json()
    assert schemas.Health.model_validate(found).ready and found["judge"] == "scripted"


FIELDS = [
    ("responses[2] is empty: give the response its text.", "responses[2]", "one of a list"),
    ("a and b are the same text.", "a", "the first of two"),
    ("votes is 0.", "votes", "a number"),
    ("The tokenizer encodes both letters as the same tokens.", None, "not about a field"),
    ("prompts are fine", None, "another word"),
]


@pytest.mark.parametrize(("message", "field", "reason"), FIELDS, ids=[row[-1] for row in FIELDS])
def test_the_field_is_the_one_that_the_message_begins_with(message, field, reason):
    assert field_of(message, ("prompt", "a", "b", "responses", "votes")) == field

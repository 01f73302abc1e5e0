"""The endpoint engine and peculiar servers: what they refuse, when it stops, what streams
hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fixtures import endpoint as fake
from fixtures import tiny
from fixtures.engines import ask, streamed

from rmr1_lite.judging.engines.base import Sampling
from rmr1_lite.judging.engines.endpoint import OpenAIEngine
from rmr1_lite.judging.judge import LOG_KEY, Judge
from rmr1_lite.storage import JsonlLog
from rmr1_lite.types import EngineStopped

KEY = "sk-a-secret-of-ours"
GREEDY, SAMPLED = Sampling(max_new_tokens=12), Sampling(0.7, 12, 0.9)
Answers = Callable[[dict[str, Any]], tuple[int, Any] | None]


@pytest.fixture
def served() -> Iterator[fake.Endpoint]:
    with fake.serving() as endpoint:
        yield endpoint


@pytest.fixture
def client(served: fake.Endpoint, monkeypatch: pytest.MonkeyPatch) -> OpenAIEngine:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return OpenAIEngine("m", served.url, max_retries=2, timeout=5.0, concurrency=4)


# ---- parts of the request that a server refuses


def refusing(*names: str, together: bool = False, status: int = 400) -> Answers:
    """A server that refuses parameters by name, one at a time; together: only when all are present."""

    def answers(body: dict[str, Any]) -> tuple[int, Any] | None:
        held = [name for name in names if name in body]
        if not held or together and len(held) < len(names):
            return None
        said = f"{' and '.join(held)} cannot both be given" if together else f"'{held[0]}' is not supported"
        return status, {"error": {"message": said}}

    return answers


def silent(body: dict[str, Any]) -> tuple[int, Any] | None:
    return (400, {"error": {"message": "bad request"}}) if "repeat_penalty" in body else None


# why: (server, sampling, what is told, what is left out, what is still sent)
ADAPTED: dict[str, tuple[Answers, Sampling, str, list[str], dict[str, Any]]] = {
    "o-series and gpt-5 have another name for the limit": (
        refusing("max_tokens"),
        GREEDY,
        "max_completion_tokens is sent",
        ["max_tokens"],
        {"max_completion_tokens": 12},
    ),
    "no limit under either name": (
        refusing("max_tokens", "max_completion_tokens"),
        GREEDY,
        "no limit is sent",
        ["max_tokens", "max_completion_tokens"],
        {"temperature": 0.0},
    ),
    "o-series have one temperature": (
        refusing("temperature"),
        GREEDY,
        "refuses temperature 0: it is left out.*may differ",
        ["temperature"],
        {"max_tokens": 12},
    ),
    "Mistral forbids what it does not know": (
        refusing("seed", status=422),
        SAMPLED,
        "sampled texts cannot be repeated",
        ["seed"],
        {"top_p": 0.9},
    ),
    "Claude takes one of two": (
        refusing("temperature", "top_p", together=True),
        SAMPLED,
        "refuses top_p 0.9",
        ["top_p"],
        {"temperature": 0.7},
    ),
    "a server may have a penalty that cannot be switched off": (
        refusing("repetition_penalty", "repeat_penalty"),
        GREEDY,
        "its own penalty, top_k or min_p",
        ["repetition_penalty", "repeat_penalty"],
        {"temperature": 0.0},
    ),
    "a server that does not name what it refuses": (
        silent,
        GREEDY,
        "its own penalty, top_k or min_p",
        ["repeat_penalty"],
        {"max_tokens": 12},
    ),
}


@pytest.mark.parametrize("why", ADAPTED)
def test_what_a_server_refuses_is_left_out_and_told_once(
    why: str, client: OpenAIEngine, served: fake.Endpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    served.answers, sampling, told, gone, there = ADAPTED[why]
    found = [generation for _, generation in client.generate([ask(f"x {i}") for i in range(6)], sampling)]
    assert [generation.text for generation in found] == [fake.GOOD] * 6
    refused = [body for body in served.bodies if served.answers(body) is not None]
    assert len(refused) + 6 == len(served.bodies) and len(refused) <= 2, "learnt from the first request"
    last = served.bodies[-1]
    assert not set(gone) & set(last) and there.items() <= last.items()
    said = capsys.readouterr().out
    assert len(re.findall(told, said)) == 1


def test_a_system_turn_that_is_refused_goes_into_the_users(
    client: OpenAIEngine, served: fake.Endpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    def answers(body: dict[str, Any]) -> tuple[int, Any] | None:
        roles = [turn["role"] for turn in body["messages"]]
        return (500, {"error": "Template error: System role not supported"}) if "system" in roles else None

    served.answers = answers
    judge = Judge(client, "rubrics", "lenient", GREEDY)
    (judgment,) = judge.compare_many([tiny.sum_pair(0)])
    assert [look.status for look in judgment.looks] == ["ok", "ok"]
    (turn,) = served.bodies[-1]["messages"]
    assert all(m["content"] in turn["content"] for m in judge.request(tiny.sum_pair(0), "ba").messages)
    assert capsys.readouterr().out.count("put before the first user turn") == 1


def test_a_thinking_switch_that_is_refused_is_not_dropped(served: fake.Endpoint) -> None:
    served.answers = refusing("chat_template_kwargs")
    engine = OpenAIEngine("m", served.url, thinking="off")
    with pytest.raises(EngineStopped, match="does not accept --thinking: leave it out"):
        list(engine.generate([ask("hello")], GREEDY))


# ---- when to stop

HOPELESS = {
    "a wrong key": (
        401,
        {"error": {"message": "Incorrect API key"}},
        "Incorrect API key. Set OPENAI_API_KEY",
    ),
    "no quota": (
        429,
        {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}},
        "exceeded your current quota. The account's quota is used up",
    ),
    "an unknown model": (404, {"error": {"message": "model 'm' not found"}}, "not found. Give the name"),
    "a wrong path": (404, {"detail": "Not Found"}, "usually ends with /v1"),
    "a limit above the model's": (
        400,
        {"error": {"message": "max_tokens is too large: 12. This model supports at most 8."}},
        "smaller --max-new-tokens",
    ),
}


@pytest.mark.parametrize("why", HOPELESS)
def test_what_will_not_pass_stops_at_once(why: str, client: OpenAIEngine, served: fake.Endpoint) -> None:
    status, body, words = HOPELESS[why]
    served.answers = lambda _: (status, body)
    with pytest.raises(EngineStopped, match=words):
        list(client.generate([ask(f"x {i}") for i in range(50)], GREEDY))
    assert len(served.bodies) == 1 and KEY not in client.stopped


def test_a_server_that_dies_is_not_asked_for_ever(client: OpenAIEngine) -> None:
    found = []
    asked = [ask(f"fine {i}") for i in range(5)] + [ask(f"fault:500 number {i}") for i in range(500)]
    with pytest.raises(EngineStopped, match=r"2\d requests in a row failed, the last with.*500: try later"):
        for _, generation in client.generate(asked, GREEDY):
            found.append(generation)
    good = [generation for generation in found if generation.error is None]
    assert len(good) == 5 and len(found) <= 5 + 24 + 4, "what was in flight is still told"


def test_what_is_stored_is_told_when_it_stops(
    client: OpenAIEngine, served: fake.Endpoint, tmp_path: Path
) -> None:
    """A key that expires during the run: finished judgments stay, and the same call continues."""
    judge, left = Judge(client, "rubrics", "lenient", GREEDY), iter(range(9))
    served.answers = lambda _: None if next(left, None) is not None else (401, {"error": "expired"})
    with JsonlLog(tmp_path / "out.jsonl", LOG_KEY) as log:
        with pytest.raises(EngineStopped, match="expired.*9 of 20 judge calls are stored in .*out.jsonl"):
            judge.compare_many(tiny.pairs(10), log=log, progress=False)
        served.answers = lambda _: None
        served.bodies.clear()
        judgments = judge.compare_many(tiny.pairs(10), log=log, progress=False)
    assert len(served.bodies) == 11 and all(len(judgment.looks) == 2 for judgment in judgments)


def test_models_that_a_server_knows_are_named(served: fake.Endpoint) -> None:
    engine, served.models = OpenAIEngine("gpt9", served.url), ["small", "large"]
    served.answers = lambda _: (404, {"error": {"message": "model gpt9 not found"}})
    with pytest.raises(EngineStopped, match="It has small, large. Give one of them: openai:MODEL@URL."):
        list(engine.generate([ask("hello")], GREEDY))


# texts of the first prompt in order, sampling, whether a line tells of it, requests for three prompts
REPEATS = [
    ("ab", GREEDY, True, 4, "two texts to one greedy prompt"),
    ("aa", GREEDY, False, 4, "the same text twice"),
    ("ab", SAMPLED, False, 3, "sampled texts may differ: nothing is asked twice"),
]


@pytest.mark.parametrize("texts, sampling, told, requests, why", REPEATS, ids=[row[4] for row in REPEATS])
def test_a_server_that_is_not_deterministic_is_told(
    texts: str, sampling: Sampling, told: bool, requests: int, why: str, served: fake.Endpoint, capsys: Any
) -> None:
    left = iter(texts)
    served.answers = lambda body: (
        200,
        fake.completion(next(left) if body["messages"][-1]["content"] == "x 0" else "z"),
    )
    engine = OpenAIEngine("m", served.url, check_repeat=True)
    found = dict(engine.generate([ask(f"x {i}") for i in range(3)], sampling))
    assert [found[index].text for index in range(3)] == ["a", "z", "z"]
    assert ("is not deterministic" in capsys.readouterr().out) == told and len(served.bodies) == requests


# ---- prompts that a server cut

# prompt, tokens that the server counts, whether it saw all, why
COUNTS = [
    ("word " * 6000, 2050, False, "a cut at Ollama's num_ctx"),
    ("word " * 6000, 6300, True, "a token a word"),
    ("word " * 6000, 0, True, "no count tells nothing"),
    ("word " * 6000, 4300, True, "a tokenizer that joins short words"),
    ("是" * 20000, 2050, False, "text without spaces"),
    ("是" * 20000, 14000, True, "as Qwen counts it"),
    ("=" * 40000, 700, True, "runs of one sign are few tokens"),
    (" " * 40000 + "x", 60, True, "so are spaces"),
    ("a1b2" * 10000, 2050, False, "no tokenizer holds 19 characters in a token"),
]


@pytest.mark.parametrize("prompt, count, whole, why", COUNTS, ids=[row[3] for row in COUNTS])
def test_a_prompt_that_was_cut_gives_no_verdict(
    prompt: str, count: int, whole: bool, why: str, client: OpenAIEngine, served: fake.Endpoint
) -> None:
    usage: dict[str, Any] = {"prompt_tokens": count, "completion_tokens": 7}
    served.answers = lambda _: (200, fake.completion(fake.GOOD) | {"usage": usage})
    look = Judge(client, "rubrics", "lenient").look("ab", client.one(ask(prompt), GREEDY))
    assert (look.status, look.label) == (("ok", "A") if whole else ("clipped", None))
    usage["prompt_tokens_details"] = {"cached_tokens": 40000}
    assert client.one(ask(prompt), GREEDY).error is None, "some count only what was not in their cache"


# ---- streams


def chunk(delta: Any = None, reason: Any = None, **more: Any) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": reason}]
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "choices": choices, **more}


HALVES = [chunk({"content": fake.GOOD[:15]}), chunk({"content": fake.GOOD[15:]})]
BEGUN, END = HALVES[0], chunk({}, "stop")
NO_DELTA = [{"index": 0, "finish_reason": None}]
# why: (events, text, status, completion tokens)
STREAMS: dict[str, tuple[list[Any], str, str, int]] = {
    "plain": ([*HALVES, END, "[DONE]"], fake.GOOD, "ok", 0),
    "Azure: chunks without choices, without delta, with a null one": (
        [chunk(), *HALVES, {"choices": NO_DELTA}, {"choices": [{"delta": None, "finish_reason": "stop"}]}],
        fake.GOOD,
        "ok",
        0,
    ),
    "null choices, and a chunk that is no object": (
        [{"choices": None}, "[]", *HALVES, END],
        fake.GOOD,
        "ok",
        0,
    ),
    "counts in a chunk of their own": (
        [*HALVES, END, chunk(usage={"prompt_tokens": 900, "completion_tokens": "70"}), "[DONE]"],
        fake.GOOD,
        "ok",
        70,
    ),
    "a whole message instead of deltas": (
        [{"choices": [{"message": {"role": "assistant", "content": fake.GOOD}, "finish_reason": "stop"}]}],
        fake.GOOD,
        "ok",
        0,
    ),
    "reasoning beside the text": (
        [chunk({"reasoning": "A"}), chunk({"reasoning": " helps"}), *HALVES, chunk({}, "eos")],
        f"<think>A helps</think>{fake.GOOD}",
        "ok",
        0,
    ),
    "content as parts": (
        [
            chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}),
            chunk({"content": [{"type": "text", "text": fake.GOOD}]}),
            END,
        ],
        f"<think>hm</think>{fake.GOOD}",
        "ok",
        0,
    ),
    "an emoji in two halves": (
        [chunk({"content": "\ud83d"}), chunk({"content": "\ude00"}), *HALVES, END],
        f"😀{fake.GOOD}",
        "ok",
        0,
    ),
    "half an emoji": ([chunk({"content": "\ud83d"}), *HALVES, END], f"\ufffd{fake.GOOD}", "ok", 0),
    "SGLang: an empty word for the end in every chunk": (
        [chunk({"content": fake.GOOD}, ""), chunk({}, "stop")],
        fake.GOOD,
        "ok",
        0,
    ),
    "LM Studio: a prompt beyond its context gives nothing": ([chunk({}, "stop")], "", "missing", 0),
    "the end is not told": ([*HALVES, "[DONE]"], fake.GOOD, "end_unknown", 0),
    "the length": ([BEGUN, chunk({}, "max_tokens")], fake.GOOD[:15], "truncated", 0),
    "a filter": ([BEGUN, chunk({}, "content_filter")], fake.GOOD[:15], "filtered", 0),
    "an error in the middle": ([BEGUN, {"error": {"message": "died"}}], fake.GOOD[:15], "error", 0),
    "an error in a choice": ([BEGUN, chunk({}, "error")], fake.GOOD[:15], "error", 0),
    "no JSON": ([BEGUN, "{not json"], fake.GOOD[:15], "error", 0),
}


@pytest.mark.parametrize("why", STREAMS)
def test_streams_as_servers_write_them(why: str, client: OpenAIEngine, served: fake.Endpoint) -> None:
    served.events, text, status, tokens = STREAMS[why]
    pieces, generation = streamed(client.stream(ask("hello"), GREEDY))
    look = Judge(client, "rubrics", "strict").look("ab", generation)
    assert ("".join(pieces), generation.text, look.status) == (text, text, status)
    assert generation.completion_tokens == tokens
    assert served.bodies[-1]["stream_options"] == {"include_usage": True}


def test_a_server_that_ignores_stream(client: OpenAIEngine, served: fake.Endpoint) -> None:
    served.answers = lambda _: (200, fake.completion(fake.GOOD))
    pieces, generation = streamed(client.stream(ask("hello"), GREEDY))
    assert pieces == [fake.GOOD] and generation.finished and generation.completion_tokens == 7
    served.answers = lambda _: (200, {"error": {"message": "overloaded"}})
    pieces, generation = streamed(client.stream(ask("hello"), GREEDY))
    assert pieces == [] and "overloaded" in generation.error


def test_a_stream_without_any_event_is_asked_for_again_as_a_whole(
    client: OpenAIEngine, served: fake.Endpoint
) -> None:
    """llama_cpp.server answers an overlong prompt with an empty stream, and with a message otherwise."""
    long = {"error": {"message": "Requested tokens exceed context window", "code": "context_length_exceeded"}}
    served.events, served.answers = [], lambda body: None if body.get("stream") else (400, long)
    pieces, generation = streamed(client.stream(ask("hello"), GREEDY))
    assert "".join(pieces) == "" and generation.too_long


# asked for, what the reply says, whether that is told
NAMES = [
    ("gpt-4o", "gpt-4o-2024-08-06", False, "a date"),
    ("openai/gpt-4o", "gpt-4o", False, "an owner"),
    ("judge", "judge@main", False, "a revision"),
    ("judge", "", False, "no name"),
    ("nobody", "judge", True, "a server with one model that takes every name"),
    ("my-deployment", "gpt-4o-2024-08-06", True, "Azure's deployments have names of their own"),
]


@pytest.mark.parametrize("asked, said, told, why", NAMES, ids=[row[3] for row in NAMES])
def test_another_model_than_the_one_asked_for_is_told_once(
    asked: str, said: str, told: bool, why: str, served: fake.Endpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    served.answers = lambda _: (200, fake.completion(fake.GOOD) | {"model": said})
    engine = OpenAIEngine(asked, served.url)
    assert all(g.error is None for _, g in engine.generate([ask(f"x {i}") for i in range(3)], GREEDY))
    assert capsys.readouterr().out.count("names its model") == told


# ---- addresses


def test_azures_version_is_sent_and_the_key_in_its_header(
    served: fake.Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    engine = OpenAIEngine("m", f"{served.url}?api-version=2024-10-21")
    assert engine.one(ask("hello"), GREEDY).error is None
    assert served.queries[-1] == "api-version=2024-10-21" and served.headers[-1]["api-key"] == KEY
    copied = OpenAIEngine("m", f"{served.url}/chat/completions")
    assert copied.one(ask("hello"), GREEDY).error is None and "api-key" not in served.headers[-1]

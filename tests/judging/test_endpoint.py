"""The endpoint engine over HTTP: one server that fails on demand, and a real one with a real model behind
it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fixtures import endpoint as fake
from fixtures import tiny
from fixtures.engines import ask, streamed

from rmr1_lite.judging.engines.base import Sampling
from rmr1_lite.judging.engines.endpoint import OpenAIEngine
from rmr1_lite.judging.engines.local import LocalEngine
from rmr1_lite.judging.judge import Judge
from rmr1_lite.types import EngineStopped, InputError, Pair

KEY = "sk-a-secret-of-ours"
GREEDY = Sampling(max_new_tokens=12)


@pytest.fixture(scope="module")
def served() -> Iterator[fake.Endpoint]:
    with fake.serving() as endpoint:
        yield endpoint


@pytest.fixture
def client(served: fake.Endpoint, monkeypatch: pytest.MonkeyPatch) -> OpenAIEngine:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return OpenAIEngine("m", served.url, max_retries=2, timeout=1.0, concurrency=4)


FAULTS = {
    # fault: (text, finished, too_long, words of the error, tries)
    "none": (fake.GOOD, True, False, None, 1),
    "429-once": (fake.GOOD, True, False, None, 2),
    "500-once": (fake.GOOD, True, False, None, 2),
    "500": ("", False, False, "InternalServerError.*try later", 3),
    "400-long": ("", False, True, None, 1),
    "html": ("", False, False, "the reply is a page of HTML, not a chat completion", 1),
    "no-choices": ("", False, False, "the reply is an object with ok, not a chat completion", 1),
    "null-choices": ("", False, False, "not a chat completion", 1),
    "not-json": ("", False, False, "JSON|Expecting", 1),
    "slow": ("", False, False, "Timeout", 3),
    "hang-up": ("", False, False, "Error", 3),
    "length": (fake.GOOD, False, False, None, 1),
    "filter": ("", False, False, "content filter", 1),
    "null-content": ("", True, False, None, 1),
    "reasoning": (f"<think>B? No.</think>{fake.GOOD}", True, False, None, 1),
    "surrogate": (f"\ufffd {fake.GOOD}", True, False, None, 1),
}


def test_every_fault_costs_its_own_look_only(served: fake.Endpoint, client: OpenAIEngine) -> None:
    assert set(FAULTS) - {"none"} == set(fake.FAULTS) - {"401"}, "a wrong key concerns every look"
    served.calls.clear()
    asked = [ask(f"fault:{name} table") for name in FAULTS]
    found = dict(client.generate(asked, GREEDY))
    for index, (name, (text, finished, too_long, words, tries)) in enumerate(FAULTS.items()):
        generation = found[index]
        assert (name, generation.text, generation.finished) == (name, text, finished)
        assert (name, generation.too_long) == (name, too_long)
        assert (generation.error is None) == (words is None), (name, generation.error)
        assert words is None or re.search(words, generation.error), (name, generation.error)
        assert (name, served.calls[asked[index].id]) == (name, tries)
        assert KEY not in repr(generation)


def test_key_goes_to_the_server_and_nowhere_else(
    served: fake.Endpoint, client: OpenAIEngine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with pytest.raises(EngineStopped, match=r"the key \*\*\* is wrong. Set OPENAI_API_KEY"):
        list(client.generate([ask("good key"), ask("fault:500 key"), ask("fault:401 key")], GREEDY))
    assert served.keys[-1] == f"Bearer {KEY}"
    assert KEY not in repr(vars(client) | {"_secrets": ()}) + repr(client) + client.name + caplog.text


def test_request_says_what_was_asked(served: fake.Endpoint, client: OpenAIEngine) -> None:
    ((_, generation),) = client.generate([ask("hello")], Sampling(0.5, 33, 0.9, seed=3))
    body = served.bodies[-1]
    assert (body["temperature"], body["max_tokens"], body["top_p"], body["model"]) == (0.5, 33, 0.9, "m")
    assert body["messages"] == [{"role": "user", "content": "hello"}] and isinstance(body["seed"], int)
    assert (generation.prompt_tokens, generation.completion_tokens) == (
        fake.PROMPT_TOKENS,
        7,
    ) and generation.seconds > 0


def test_endpoint_stream(client: OpenAIEngine) -> None:
    pieces, generation = streamed(client.stream(ask("hello"), GREEDY))
    assert "".join(pieces) == generation.text == fake.GOOD and generation.finished and len(pieces) > 3
    pieces, generation = streamed(client.stream(ask("fault:500 stream"), GREEDY))
    assert pieces == [] and "InternalServerError" in generation.error


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    engine, found = OpenAIEngine("m", "http://127.0.0.1:9/v1", max_retries=0), []
    with pytest.raises(EngineStopped, match="127.0.0.1:9/v1: APIConnectionError.*the server is running"):
        for _, generation in engine.generate([ask(f"hello {i}") for i in range(500)], GREEDY):
            found.append(generation)
    assert len(found) == 1, "a server that is not there is asked once"
    assert "Connection" in found[0].error and not found[0].finished


@pytest.mark.parametrize(
    "url",
    [
        "http://u:pw@host/v1",
        "http://host/v1?key=pw",
        "http://host/v1?api-version=1&key=pw",
        "localhost:8000/v1",
        "file:///pw",
    ],
)
def test_endpoint_address(url: str) -> None:
    with pytest.raises(InputError) as error:
        OpenAIEngine("m", url)
    assert "pw" not in str(error.value)


@pytest.fixture(scope="module")
def transformers_serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A model folder, and the address of `transformers serve` with it."""
    import time

    from transformers.cli.serve import Serve

    folder = tiny.saved(tmp_path_factory.mktemp("served") / "model")
    serve = Serve(str(folder), device="cpu", dtype="float32", host="127.0.0.1", port=0, non_blocking=True)
    while not serve.server.started:
        time.sleep(0.05)
    yield folder, f"http://127.0.0.1:{serve.server.servers[0].sockets[0].getsockname()[1]}/v1"
    serve.kill_server()


def test_a_real_server_gives_the_texts_of_the_local_engine(transformers_serve: tuple[Path, str]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, url = transformers_serve
    parts: Any = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    engines = (
        LocalEngine(*parts, batch_size=1, style="compact"),
        OpenAIEngine(str(folder), url, style="compact"),
    )
    local, served = (Judge(e, sampling=GREEDY).compare_many(tiny.pairs(3), progress=False) for e in engines)

    def written(judgments: Any) -> list[Any]:
        looks = [look.generation for judgment in judgments for look in judgment.looks]
        return [(g.text.strip(), g.finished, g.prompt_tokens, g.completion_tokens, g.error) for g in looks]

    assert written(served) == written(local)
    request = Judge(engines[1]).request(tiny.sum_pair(0), "ab")
    pieces, generation = streamed(engines[1].stream(request, GREEDY))
    assert len(pieces) > 1 and generation.text.strip() == written(local)[0][0] and not generation.finished


def test_a_stop_is_raised_although_another_caller_begins_anew(client, monkeypatch):
    """Callers share an engine: the next one resets `stopped` while this one still waits for its requests."""

    def asked(request, sampling):
        client.stopped = ""  # as the beginning of another caller's `generate`
        return "the key is wrong"

    client._answered = True
    monkeypatch.setattr(client, "ask_unless_stopped", asked)
    pair = Pair("p", ({"role": "user", "content": "q"},), "x", "y")
    with pytest.raises(EngineStopped, match="the key is wrong"):
        Judge(client, "compact").compare(pair)

"""Ray Data's rows become Generations, and what has no result is asked again. Ray is not needed: the rows are
those that it gives (tests/servers/test_ray_data.py has the real ones)."""

from __future__ import annotations

import json
import socket
import sys
from typing import Any

import numpy as np
import pytest
from fixtures.endpoint import completion

from rmr1_lite.judging.engines.base import Request, Sampling
from rmr1_lite.judging.engines.endpoint import OpenAIEngine
from rmr1_lite.judging.engines.ray_data import rounds, vllm
from rmr1_lite.judging.engines.ray_data.cluster import check, check_address
from rmr1_lite.judging.engines.ray_data.endpoint import reply_of
from rmr1_lite.judging.engines.ray_data.rounds import BATCH, TRIES, Again, cause_of, in_rounds
from rmr1_lite.judging.engines.ray_data.vllm import (
    RayVllmEngine,
    Reading,
    device_of_vllm,
    engine_settings,
    read_row,
    sampling_row,
)
from rmr1_lite.judging.via import Via, engine_via
from rmr1_lite.models.exports import ExportInfo, write_export
from rmr1_lite.types import EngineStopped, Generation, InputError

REQUEST = Request("p1", "ab", ({"role": "user", "content": "Which is better, A or B?"},))


class Words:
    """A tokenizer whose tokens 1 to 9 are words, and 0 an end."""

    def decode(self, ids: Any, **_: Any) -> str:
        return " ".join(f"w{token}" for token in ids)


READING = Reading(Words(), ends=(0, 99), context=20)
PROMPT = [5] * 10

ROWS = [
    ([1, 2, 0], "w1 w2", True, 3, "an end token"),
    ([1, 2, 99], "w1 w2", True, 3, "the model's other end token"),
    ([1, 2, 3, 4, 0], "w1 w2 w3 w4", True, 5, "an end token as the last one that fits"),
    ([1, 2, 3, 4, 5], "w1 w2 w3 w4 w5", False, 5, "as long as it may be"),
    ([1, 2], "w1 w2", None, 2, "shorter, without an end: nobody says why"),
    ([], "", None, 0, "no token at all"),
    ([0], "", True, 1, "the end at once"),
    (np.array([1, 0]), "w1", True, 2, "an array of numpy's"),
]


@pytest.mark.parametrize(("tokens", "text", "finished", "count", "reason"), ROWS, ids=[r[-1] for r in ROWS])
def test_a_row_of_vllm_becomes_a_generation(tokens, text, finished, count, reason):
    row = {"index": 0, "generated_tokens": tokens, "__inference_error__": ""}
    made = read_row(row, PROMPT, 5, READING, 1.5)
    assert made == Generation(text, finished, False, len(PROMPT), count, 1.5)


def test_a_text_that_fills_the_context_is_truncated():
    row = {"generated_tokens": [1] * 10, "__inference_error__": None}
    assert read_row(row, PROMPT, 50, READING, 0.0).finished is False
    assert read_row(row, PROMPT[:-1], 50, READING, 0.0).finished is None


def test_an_inference_error_is_asked_again_with_its_words():
    row = {"generated_tokens": [], "__inference_error__": "ValueError: no room"}
    assert read_row(row, PROMPT, 5, READING, 0.0) == Again("ValueError: no room")


def test_sampling_is_neutral_and_seeded_as_by_every_engine():
    greedy = sampling_row(REQUEST, Sampling(0.0, 7, top_p=0.5), (0, 99))
    assert (greedy["temperature"], greedy["max_tokens"], greedy["top_p"]) == (0.0, 7, 1.0)
    assert (greedy["repetition_penalty"], greedy["stop_token_ids"]) == (1.0, [0, 99])
    drawn = sampling_row(REQUEST, Sampling(0.7, 7, top_p=0.5, seed=3), ())
    assert drawn["top_p"] == 0.5 and drawn["seed"] != greedy["seed"]


REPLIES = [
    (completion("x"), "a plain reply"),
    ({**completion("x"), "error": None, "prompt_logprobs": None}, "fields of other rows are None"),
]


@pytest.mark.parametrize(("reply", "reason"), REPLIES, ids=[row[-1] for row in REPLIES])
def test_a_reply_is_read_without_the_fields_of_other_rows(reply, reason):
    assert reply_of({"http_response": reply}) == completion("x")


def test_arrays_inside_a_reply_are_lists_again():
    choices = np.array([{"message": {"content": "x", "tool_calls": None}}], dtype=object)
    assert reply_of({"http_response": {"choices": choices}}) == {"choices": [{"message": {"content": "x"}}]}


# ---- the endpoint engine reads what others have fetched


def client() -> OpenAIEngine:
    return OpenAIEngine("m", "http://127.0.0.1:9/v1")


def test_a_reply_that_others_fetched_is_read_as_its_own():
    engine = client()
    sent = engine.body(REQUEST, Sampling())
    made = engine.read(REQUEST, sent, completion("<answer>[[A]]</answer>"), 2.0)
    assert (made.text, made.finished, made.error, made.seconds) == ("<answer>[[A]]</answer>", True, None, 2.0)


ERRORS = [
    ("maximum context length is 768 tokens", 400, "too_long", "too long is a status, not an error"),
    ("Service unavailable", 503, "error", "may pass"),
    ("The model `m` does not exist", 404, "stopped", "every further request would fail"),
]


@pytest.mark.parametrize(("words", "code", "kind", "reason"), ERRORS, ids=[row[-1] for row in ERRORS])
def test_an_error_that_others_fetched(words, code, kind, reason):
    engine = client()
    answer = {"error": {"message": words, "code": code}}
    made = engine.read(REQUEST, engine.body(REQUEST, Sampling()), answer, 0.0)
    found = "too_long" if made.too_long else "stopped" if engine.stopped else "error" if made.error else ""
    assert found == kind


def test_a_part_that_a_server_refuses_is_left_out_and_asked_again():
    engine = client()
    sent = engine.body(REQUEST, Sampling())
    answer = {"error": {"message": "Unrecognized request argument: seed", "param": "seed", "code": 400}}
    assert "seed" in sent and engine.read(REQUEST, sent, answer, 0.0) is None
    assert "seed" not in engine.body(REQUEST, Sampling())


ADDRESSES = [
    ("http://h:1/v1", "", "http://h:1/v1/chat/completions", {}, "without a key"),
    (
        "http://h:1/v1/",
        "k",
        "http://h:1/v1/chat/completions",
        {"Authorization": "Bearer k"},
        "with a key",
    ),
    (
        "https://h/d?api-version=1",
        "k",
        "https://h/d/chat/completions?api-version=1",
        {"Authorization": "Bearer k", "api-key": "k"},
        "Azure",
    ),
]


@pytest.mark.parametrize(
    ("url", "key", "address", "headers", "reason"), ADDRESSES, ids=[a[-1] for a in ADDRESSES]
)
def test_the_address_for_the_workers(monkeypatch, url, key, address, headers, reason):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    assert OpenAIEngine("m", url).address == (address, headers)


# ---- rounds


class Script:
    """Rounds of rows: each a list of (index, what to read from it) or an error."""

    def __init__(self, *plans: Any) -> None:
        self.plans, self.asked, self.batches, self.said = list(plans), [], [], []

    def ask(self, indices: Any, batch: int) -> Any:
        self.asked.append(list(indices))
        self.batches.append(batch)
        for item in self.plans.pop(0):
            if isinstance(item, Exception):
                raise item
            yield {"index": np.int64(item[0]), "made": item[1]}

    def read(self, index: int, row: Any, seconds: float) -> Any:
        made = row["made"]
        return Again(made[1:]) if made.startswith("!") else Generation(made)

    def run(self, count: int) -> dict[int, Generation]:
        found = list(in_rounds(count, self.ask, self.read, self.said.append))
        assert len(found) == len(dict(found)), "every request has one result"
        return dict(found)


@pytest.fixture(autouse=True)
def ray_without_ray(monkeypatch):
    monkeypatch.setattr(rounds, "ray_errors", lambda: (RuntimeError,))


def test_rows_come_in_any_order():
    found = Script([(2, "c"), (0, "a"), (1, "b")]).run(3)
    assert {index: made.text for index, made in found.items()} == {0: "a", 1: "b", 2: "c"}


def test_a_row_that_comes_twice_is_counted_and_used_once():
    script = Script([(0, "a"), (0, "other"), (1, "b"), (1, "b")])
    assert script.run(2)[0].text == "a"
    assert script.said == ["2 rows came back a second time: the first one counts."]


def test_what_is_missing_or_failed_is_asked_again_and_nothing_else():
    script = Script([(0, "a"), (2, "!busy")], [(2, "c")], [(1, "b")])
    found = script.run(3)
    assert script.asked == [[0, 1, 2], [1, 2], [1]]
    assert [found[index].text for index in range(3)] == ["a", "b", "c"]
    assert script.batches == [BATCH, BATCH, 1]
    assert script.said[0] == "2 of 3 requests have no result: they are asked again."


def test_tries_are_bounded_and_the_last_reason_is_kept():
    found = Script([(0, "a"), (1, "!busy")], [(1, "!busy")], [(1, "!still busy")]).run(3)
    assert found[0].error is None
    assert found[1].error == f"Ray Data, {TRIES} tries: still busy"
    assert found[2].error.startswith(f"Ray Data, {TRIES} tries: no row came back")
    assert found[1].problem == "error"  # so that the same command asks again


def test_an_error_in_the_middle_keeps_what_came():
    script = Script([(0, "a"), RuntimeError("trace\nActorDiedError: killed")], [(1, "b")])
    assert {index: made.text for index, made in script.run(2).items()} == {0: "a", 1: "b"}
    assert "Ray Data stopped in the middle (ActorDiedError: killed)." in script.said


def test_an_error_before_any_row_stops_the_engine():
    with pytest.raises(EngineStopped, match="Ray Data: no such model"):
        Script([RuntimeError("no such model")]).run(2)


CAUSES = [
    ("", "RuntimeError", "no words"),
    ("no such model", "no such model", "one line"),
    ("Traceback:\n  File x\nValueError: bad\n  more of it\n", "ValueError: bad more of it", "a traceback"),
    ("a.B.CoreError: first\n  File y\nKeyError: 'k'", "KeyError: 'k'", "the last of several"),
]


@pytest.mark.parametrize(("words", "cause", "reason"), CAUSES, ids=[row[-1] for row in CAUSES])
def test_the_cause_of_an_error_of_rays(words, cause, reason):
    assert cause_of(RuntimeError(words)) == cause


# ---- what is refused before anything starts

SHORT = [
    ({"CPU": 1.0}, {"CPU": 2.0}, "CPU 2 (now 1)", "too few CPUs"),
    ({"CPU": 8.0}, {"CPU": 2.0, "GPU": 1.0}, "GPU 1 (now 0)", "no GPU"),
]


@pytest.mark.parametrize(("has", "needed", "said", "reason"), SHORT, ids=[row[-1] for row in SHORT])
def test_a_cluster_that_is_too_small_is_named(has, needed, said, reason):
    with pytest.raises(InputError) as error:
        check(has, needed)
    assert said in str(error.value) and "RAY_ADDRESS" in str(error.value)


def test_a_cluster_that_is_large_enough_passes():
    check({"CPU": 2.0, "GPU": 1.0}, {"CPU": 2.0, "GPU": 1.0})


def test_an_address_where_nothing_listens_is_refused_at_once():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(InputError, match=f"No Ray cluster answers at RAY_ADDRESS=127.0.0.1:{port}"):
        check_address(f"127.0.0.1:{port}")


@pytest.mark.parametrize("address", ["", "auto", "local", "ray://127.0.0.1:10001"])
def test_addresses_that_ray_resolves_itself_pass(address):
    check_address(address)


def export(folder, **changes):
    values = {
        "form": "merged",
        "source": "nano",
        "base": "nano-base",
        "fingerprint": "f",
        "base_weights": "dequantised",
        "style": "compact",
        "thinking": "",
        "number_type": "fp32",
        "context": 768,
        "max_new_tokens": 256,
        "name": "judge",
    }
    folder.mkdir(exist_ok=True)
    write_export(folder, ExportInfo(**{**values, **changes}))
    return folder


@pytest.mark.parametrize(("form", "number_type"), [("gguf", "q8_0"), ("base", "fp32"), ("ollama", "f16")])
def test_an_export_that_vllm_does_not_load_is_refused(tmp_path, form, number_type):
    folder = export(tmp_path / "judge", form=form, number_type=number_type)
    with pytest.raises(InputError, match=f"is an export as {form}.*--to merged"):
        RayVllmEngine(folder)


def test_a_lora_export_gives_vllm_its_rank(tmp_path):
    folder = export(tmp_path / "judge", form="vllm", model="base", adapter="adapter")
    (folder / "adapter").mkdir()
    (folder / "adapter" / "adapter_config.json").write_text(json.dumps({"r": 9}))
    settings = engine_settings(folder, vllm.read_export(folder), "GPU")
    assert (settings["enable_lora"], settings["max_lora_rank"], settings["dtype"]) == (True, 16, "float32")
    assert (settings["generation_config"], settings["max_model_len"]) == ("vllm", 768)
    assert not settings["enforce_eager"]


def test_without_vllm_the_remedy_is_said(monkeypatch):
    monkeypatch.setattr(vllm, "is_here", lambda module: False)
    with pytest.raises(InputError, match="vLLM is needed here but not installed"):
        device_of_vllm()


VIA = [
    ("nano", {}, "Export it: `export nano --to merged", "a judge that runs here"),
    ("replay:log.jsonl", {}, "already has its answers", "a log"),
    ("nano", {"thought_open": True}, "Leave --thought-open out", "what only an endpoint needs to be told"),
    ("openai:m", {}, "endpoint spec is incomplete", "an endpoint without its address"),
]


@pytest.mark.parametrize(("spec", "more", "said", "reason"), VIA, ids=[row[-1] for row in VIA])
def test_judges_that_ray_cannot_ask(monkeypatch, spec, more, said, reason):
    monkeypatch.setattr("rmr1_lite.extras.need", lambda *_: None)
    with pytest.raises(InputError, match=said):
        engine_via(Via.ray, spec, "unused", **more)


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr("rmr1_lite.extras.is_here", lambda module: module != "ray")
    with pytest.raises(InputError, match=r"ray is needed here but not installed.*rmr1_lite\[ray\]"):
        engine_via(Via.ray, "openai:m@http://127.0.0.1:9/v1", "unused")


def test_over_an_endpoint_the_name_is_that_of_the_endpoint(monkeypatch):
    monkeypatch.setattr("rmr1_lite.extras.need", lambda *_: None)
    engine = engine_via(Via.ray, "openai:m@http://127.0.0.1:9/v1", "unused", style="auto")
    assert (engine.name, engine.style) == ("openai:m@http://127.0.0.1:9/v1", None)

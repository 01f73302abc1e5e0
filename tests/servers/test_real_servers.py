"""Real servers behind the kit's own client (`make servers`): the shipped judge, served by others, generates
what the kit's engine writes.

Each is started by `serve`, as a user starts it, runs for all of its tests, and is stopped by Ctrl-C. vLLM has
the adapter over its base, the others have the merged judge. The longer comparison, and what the servers' own
defaults change, is perf/servers.py.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fixtures.engines import streamed
from nano_exports import CONTEXT, Exports, export_nano
from running import SERVERS, Served, running

from rmr1_lite.config import NANO_TOKENS
from rmr1_lite.data.nano.world import draw_pairs
from rmr1_lite.data.pairs import write_pairs
from rmr1_lite.judging.engines.base import Request
from rmr1_lite.judging.factory import make_judge
from rmr1_lite.judging.judge import Judge
from rmr1_lite.types import ORDERS, Generation, Pair

pytestmark = pytest.mark.timeout(400)  # the first test of each server waits for its start
PAIRS = draw_pairs("test", 6, 9000)
Texts = dict[tuple[str, str], Generation]

# ---- where a server does something else than its neighbours; a row that fails is good news about that server

TAKES_ANY_LENGTH = {"transformers": "generates beyond the model's context, and says so only in its counts"}
TAKES_ANY_NAME = {"llama.cpp": "has one model, which answers under every name"}
STRIPS_TEXTS = {"transformers": "white space at the ends of a whole reply, but not of a stream"}
# its own words about a model that it does not have
UNKNOWN_MODEL = {
    "transformers": "requested 'nobody'",
    "vllm": "The model `nobody` does not exist",
}


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Exports:
    return export_nano(tmp_path_factory.mktemp("nano"))


@pytest.fixture(scope="session")
def local() -> Texts:
    """The texts of the kit's own engine."""
    return texts(make_judge("nano", max_new_tokens=NANO_TOKENS))


@pytest.fixture(scope="session", params=SERVERS)
def served(
    request: pytest.FixtureRequest, exports: Exports, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    with running(request.param, exports, tmp_path_factory.mktemp("served")) as server:
        yield server


def client(served: Served, tokens: int = NANO_TOKENS) -> Judge:
    return make_judge(served.spec, "compact", "strict", max_new_tokens=tokens)


def texts(judge: Judge, pairs: list[Pair] = PAIRS) -> Texts:
    judgments = judge.compare_many(pairs, progress=False)
    return {(j.pair_id, look.order): look.generation for j in judgments for look in j.looks}


def what_counts(made: Generation) -> tuple[object, ...]:
    return made.text, made.finished, made.prompt_tokens, made.completion_tokens, made.error


def test_serve_judges_a_pair_and_prints_the_spec(served: Served):
    said = served.said.read_text(encoding="utf-8")
    assert "First pair (nano-test-9000-0): right in both orders" in said, said
    assert f"--judge {served.spec} --style compact --reading strict" in said


def test_the_same_texts_ends_and_token_counts(served: Served, local: Texts):
    found = texts(client(served))
    assert len(found) == len(PAIRS) * len(ORDERS)
    for key, own in local.items():
        assert what_counts(found[key]) == what_counts(own), key


def test_a_text_at_the_limit_is_truncated(served: Served, local: Texts):
    judgment = client(served, tokens=5).compare(PAIRS[0])
    for look in judgment.looks:
        made = look.generation
        assert (look.status, made.finished, made.completion_tokens) == ("truncated", False, 5)
        start = local[PAIRS[0].id, look.order].text
        assert made.text and start.startswith(made.text)
        assert (served.name in STRIPS_TEXTS) == (made.text == made.text.strip()), made.text


def test_a_stream_is_the_same_text_in_pieces(served: Served, local: Texts):
    judge = client(served)
    for order in ORDERS:
        request = judge.request(PAIRS[1], order)
        pieces, made = streamed(judge.engine.stream(request, judge.sampling))
        own = local[PAIRS[1].id, order]
        assert len(pieces) > 10 and "".join(pieces) == made.text
        assert what_counts(made) == what_counts(own)


def test_a_prompt_beyond_the_context_is_too_long(served: Served):
    long = replace(PAIRS[2], response_a="word " * 2 * CONTEXT)
    short = client(served, tokens=4)
    look = short.compare(long, orders=("ab",)).looks[0]
    if served.name in TAKES_ANY_LENGTH:
        assert look.status == "truncated" and look.generation.prompt_tokens > 2 * CONTEXT
    else:
        assert look.status == "too_long" and look.generation.text == ""
    # the server still answers
    assert short.compare(PAIRS[2], orders=("ab",)).looks[0].generation.completion_tokens == 4


def test_a_prompt_that_fills_the_context_leaves_the_next_request_its_limit(served: Served):
    """vLLM then blames max_tokens, which must not be mistaken for an unknown parameter."""
    judge = client(served, tokens=5)

    def ask(words: int) -> Generation:
        request = Request("words", "ab", ({"role": "user", "content": "word " * words},))
        return judge.engine.one(request, judge.sampling)

    before = ask(100)
    assert before.completion_tokens == 5
    full = ask(100 + CONTEXT - before.prompt_tokens)
    assert full.error is None and full.too_long == (served.name not in TAKES_ANY_LENGTH)
    assert ask(100).completion_tokens == 5


def test_an_unknown_model_stops_the_command_with_the_servers_words(served: Served, tmp_path: Path):
    write_pairs(tmp_path / "pairs.jsonl", PAIRS[:2])
    done = subprocess.run(
        [sys.executable, "-m", "rmr1_lite", "judge"]
        + ["--judge", f"openai:nobody@{served.url}", "--style", "compact", "--max-new-tokens", "16"]
        + ["--pairs", str(tmp_path / "pairs.jsonl"), "--out", str(tmp_path / "judged.jsonl")],
        capture_output=True,
        text=True,
    )
    said = " ".join((done.stdout + done.stderr).split())
    if served.name in TAKES_ANY_NAME:
        assert len((tmp_path / "judged.jsonl").read_text(encoding="utf-8").splitlines()) == 4, said
    else:
        assert done.returncode != 0 and UNKNOWN_MODEL[served.name] in said, said
        assert "Traceback" not in said

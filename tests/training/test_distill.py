"""Two passes with a teacher behind a server: what is kept, what is paid, and that nothing is asked or paid
for twice."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from fixtures import endpoint as fake

from rmr1_lite.config import NANO_TOKENS, DistillConfig
from rmr1_lite.data.chains import read_chains
from rmr1_lite.data.released_sets import write_published
from rmr1_lite.training.distill.distill import distill
from rmr1_lite.types import InputError

KEY = "sk-a-secret-of-ours"
ORACLE = re.compile(r"sound verdict here is <answer>\[\[([AB])\]\]</answer>")


def chain(letter, eval="A is short, B is long"):
    head = "<type>Chat</type><rubric>brevity<justify>it was asked for</justify></rubric>"
    return f"{head}<eval>{eval}</eval><answer>[[{letter}]]</answer>"


class Teacher:
    """Says A in the first pass, and what it was told in the second; a word in the question asks for something
    else."""

    def __call__(self, body):
        said, first = body["messages"][-1]["content"], body["messages"][1]["content"]
        told = ORACLE.search(said)
        if "bare" in first:
            return f"<answer>[[{told[1] if told else 'A'}]]</answer>"
        if "thinks" in first:
            return f"let me see\n</think>\n{chain('A')}"
        if "nonsense" in first:
            return "I would rather talk about cheese."
        if not told:
            return chain("A")
        if "tells" in first and "gave away" not in said:
            return chain(told[1], f"as the correct verdict is {told[1]}, it wins")
        return chain(told[1] if "stubborn" not in first else "A")


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with fake.serving() as endpoint:
        endpoint.writes = Teacher()
        yield endpoint


def pairs(tmp_path, questions, copies=1):
    path = tmp_path / "pairs.jsonl"
    rows = [
        {
            "id": f"{q}-{i}",
            "prompt": f"{q} {i}?",
            "response_a": "x",
            "response_b": "y",
            "label": label,
            "section": q,
        }
        for q in questions
        for i, label in enumerate("AB" * copies)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(tmp_path, server, questions, **more):
    settings = {
        "pairs": str(pairs(tmp_path, questions)),
        "out": str(tmp_path / "out"),
        "teacher": "m",
        "base_url": server.url,
        "max_retries": 1,
        "timeout": 1.0,
        "both_orders": True,
        "max_new_tokens": 100,
        **more,
    }
    return distill(DistillConfig(**settings))


def attempts(tmp_path):
    return [json.loads(line) for line in (tmp_path / "out" / "attempts.jsonl").read_text().splitlines()]


def test_two_passes_keep_right_chains_only(tmp_path, server, capsys):
    """Each question stands in two pairs and both orders; the teacher says A, so half is right in the first
    pass."""
    stats = run(tmp_path, server, ["plain", "stubborn", "tells", "nonsense"])
    one, two = stats["passes"]["1"], stats["passes"]["2"]
    assert one["outcomes"] == {"right": 6, "wrong": 6, "missing": 4}
    assert two["outcomes"] == {"right": 2, "wrong": 2, "told": 2, "missing": 4}
    assert one["sections"]["plain"] == {"replies": 4, "kept": 2} and two["sections"]["plain"] == {
        "replies": 2,
        "kept": 2,
    }
    read = read_chains(tmp_path / "out" / "chains.jsonl")
    assert stats["kept"] == len(read.chains) == 8 and not read.problems
    assert not any("cheese" in c.text or "correct verdict" in c.text for c in read.chains)
    said = capsys.readouterr().out
    assert "8 of 16 chains kept" in said and "pass 2: 10 replies, 2 kept" in said


def test_a_lucky_letter_is_no_chain(tmp_path, server):
    stats = run(tmp_path, server, ["bare"])
    assert stats["kept"] == 0 and stats["passes"]["1"]["outcomes"] == {"bare": 2, "wrong": 2}


def test_a_thought_is_cut_off_also_where_the_template_opened_it(tmp_path, server):
    run(tmp_path, server, ["thinks"])
    assert all(row["text"].startswith("<type>") for row in attempts(tmp_path))


def test_an_answer_that_was_withheld_is_paid_once(tmp_path, server):
    for _ in range(2):
        stats = run(tmp_path, server, ["fault:filter"], price_in=1.0, price_out=1.0)
    assert (
        stats["passes"]["1"]["outcomes"] == {"filtered": 4} and len(server.bodies) == 4 and stats["spent"] > 0
    )


def test_a_told_chain_can_be_written_again(tmp_path, server):
    stats = run(tmp_path, server, ["tells"], rewrite=True)
    assert stats["passes"]["2"]["outcomes"] == {"told": 2} and stats["passes"]["3"]["outcomes"] == {
        "right": 2
    }
    assert stats["kept"] == 4


def test_the_published_schema_is_written_and_read_back(tmp_path, server):
    run(tmp_path, server, ["plain"])
    (first, *_) = [
        json.loads(line) for line in (tmp_path / "out" / "published.jsonl").read_text().splitlines()
    ]
    assert first.keys() == {"context_messages", "winner"} and [
        m["role"] for m in first["context_messages"]
    ] == ["system", "user"]
    counts = write_published("distill-sft", tmp_path / "again", str(tmp_path / "out" / "published.jsonl"))
    assert counts["kept"] == 4 and counts["left_out"] == 0


def test_the_same_command_asks_for_nothing_twice(tmp_path, server):
    run(tmp_path, server, ["plain", "tells"])
    calls = len(server.bodies)
    again = run(tmp_path, server, ["plain", "tells"])
    assert len(server.bodies) == calls and again["kept"] == 6


def test_a_line_that_was_cut_off_is_asked_again_and_the_rest_is_not(tmp_path, server):
    run(tmp_path, server, ["plain"])
    log = tmp_path / "out" / "attempts.jsonl"
    log.write_bytes(log.read_bytes()[:-40])
    calls = len(server.bodies)
    assert run(tmp_path, server, ["plain"])["kept"] == 4 and len(server.bodies) == calls + 1


def test_faults_cost_their_own_request_and_are_asked_again(tmp_path, server):
    faults = ["429-once", "500-once", "500", "html", "not-json", "null-choices", "hang-up", "slow"]
    questions = ["plain", *(f"fault:{name}" for name in faults)]
    stats = run(tmp_path, server, questions)
    healed = 3  # plain, and the two that come once
    assert stats["kept"] == 4 * healed and sum(stats["failed"].values()) == 4 * (len(questions) - healed)
    assert len(attempts(tmp_path)) == 4 * healed + 2 * healed, (
        "nothing is stored of a request without a reply"
    )
    server.writes = Teacher()
    before = len(server.bodies)
    run(tmp_path, server, questions)
    assert len(server.bodies) > before, "what failed is asked again"


def test_a_cut_off_chain_is_paid_for_and_never_kept(tmp_path, server):
    stats = run(tmp_path, server, ["fault:length"])
    assert stats["passes"]["1"]["outcomes"] == {"truncated": 4}
    assert not any(row["kept"] for row in attempts(tmp_path) if row["pass"] == 1)


def test_the_key_reaches_no_file_and_no_message(tmp_path, server, capfd):
    """The server repeats the key in its errors; the run repeats it nowhere."""
    with pytest.raises(InputError) as error:
        run(tmp_path, server, ["fault:401"])
    assert f"Bearer {KEY}" in server.keys
    said = "".join(capfd.readouterr()) + str(error.value)
    assert KEY not in said and "AuthenticationError" in said
    assert not any(
        KEY.encode() in path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()
    )


def test_a_budget_is_never_passed_and_a_larger_one_goes_on(tmp_path, server, capsys):
    """A reply costs as many as the server counts; before it is known, a prompt may be as many tokens as it
    has bytes, and an answer as long as it is allowed to be."""
    more = {"price_in": 1e6, "price_out": 1e6, "concurrency": 1}
    stats = run(tmp_path, server, ["plain", "tells"], budget=6000, **more)
    assert (
        0 < stats["spent"] <= 6000
        and stats["kept"] < 6
        and "does not cover another reply" in capsys.readouterr().out
    )
    spent = stats["spent"]
    stats = run(tmp_path, server, ["plain", "tells"], budget=1e6, **more)
    assert stats["kept"] == 6 and stats["spent"] == (fake.PROMPT_TOKENS + 7) * len(attempts(tmp_path)) > spent


def test_the_cost_is_estimated_before_anything_is_asked(tmp_path, server, capsys):
    run(tmp_path, server, ["plain"], price_in=1.0, price_out=2.0)
    said = capsys.readouterr().out
    assert said.index("Expected cost about") < said.index("chains kept")


def test_a_second_teacher_takes_the_second_pass(tmp_path, server, monkeypatch):
    monkeypatch.setenv("SECOND_KEY", "sk-second")
    run(tmp_path, server, ["plain"], second_teacher="strong", second_api_key_env="SECOND_KEY")
    seen = {(body["model"], key) for body, key in zip(server.bodies, server.keys, strict=True)}
    assert seen == {("m", f"Bearer {KEY}"), ("strong", "Bearer sk-second")}


REFUSED = [
    (
        {"api_key_env": "sk-proj-THEKEY"},
        "not the name of an environment variable",
        "the key itself instead of its variable",
    ),
    ({"api_key_env": "NOT_SET_ANYWHERE"}, "NOT_SET_ANYWHERE is not set", "a variable that is not there"),
    (
        {"second_base_url": "https://other.example/v1"},
        "second-api-key-env",
        "another server gets no key by itself",
    ),
    ({"budget": 5.0}, "Give --price-in", "a budget without prices"),
    ({"teacher": ""}, "--teacher", "no teacher"),
    ({"base_url": "localhost:8000"}, "base_url", "no address"),
    ({"pairs": "none.jsonl"}, "none.jsonl", "no pairs"),
]


@pytest.mark.parametrize(("more", "said", "reason"), REFUSED, ids=[row[-1] for row in REFUSED])
def test_what_cannot_work_is_said_before_anything_is_asked(tmp_path, server, more, said, reason):
    with pytest.raises(InputError, match=said) as error:
        run(tmp_path, server, ["plain"], **more)
    assert (
        not server.bodies
        and "THEKEY" not in str(error.value)
        and not (tmp_path / "out" / "distill.json").exists()
    )


def test_runs_are_not_mixed_in_one_folder(tmp_path, server):
    run(tmp_path, server, ["plain"])
    with pytest.raises(InputError, match="style was 'rubrics'"):
        run(tmp_path, server, ["plain"], style="compact")
    path = tmp_path / "pairs.jsonl"
    changed = path.read_text().replace('"x"', '"changed"')
    path.write_text(changed)
    with pytest.raises(InputError, match="have changed since"):
        distill(
            DistillConfig(
                pairs=str(path),
                out=str(tmp_path / "out"),
                teacher="m",
                base_url=server.url,
                both_orders=True,
                max_new_tokens=100,
            )
        )


def test_a_server_that_is_down_stops_the_run_early(tmp_path, server):
    with pytest.raises(InputError, match="the server is running at this address"):
        run(
            tmp_path,
            server,
            [f"q{i}" for i in range(20)],
            base_url="http://127.0.0.1:9/v1",
            max_retries=0,
            concurrency=2,
        )


def distill_command(tmp_path, server, **more):
    options = {
        "pairs": tmp_path / "pairs.jsonl",
        "teacher": "m",
        "base-url": server.url,
        "out": "out",
        **more,
    }
    said = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    return subprocess.run(
        [sys.executable, "-m", "rmr1_lite", "distill", *said, "--both-orders"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )


# question: (exit status, what is said, outcome in pass 1)
STATUSES = {
    "plain": (0, "chains kept", {"right": 2, "wrong": 2}),
    "fault:500": (2, "4 requests to the teacher failed", None),
    "fault:401": (1, "Set OPENAI_API_KEY", None),
    "clipped": (2, "Raise its context length", {"clipped": 4}),
    "fault:filter": (2, "withheld", {"filtered": 4}),
    "no end": (0, "end_unknown", {"end_unknown": 4}),
}


@pytest.mark.parametrize("question", STATUSES)
def test_the_exit_status_says_whether_all_was_done(tmp_path, server, question):
    status, words, outcomes = STATUSES[question]
    pairs(tmp_path, [question])

    def answers(body):
        said = body["messages"][1]["content"]
        if "clipped" in said:
            return 200, fake.completion(chain("A")) | {"usage": {"prompt_tokens": 90}}
        return (200, fake.completion(chain("A"), None)) if "no end" in said else None

    server.answers = answers
    done = distill_command(tmp_path, server, **{"max-retries": 0})
    assert done.returncode == status and words in done.stdout + done.stderr, done.stdout + done.stderr
    assert "Traceback" not in done.stderr and KEY not in done.stdout + done.stderr
    if outcomes:
        assert question == "plain" or len(server.bodies) == (8 if question == "no end" else 4), (
            "no second pass"
        )
        stats = json.loads((tmp_path / "out" / "stats.json").read_text())
        assert stats["passes"]["1"]["outcomes"] == outcomes
        assert stats["kept"] == (4 if question == "plain" else 0)


def test_a_killed_run_pays_for_nothing_twice(tmp_path, server):
    """SIGKILL in the middle of the first pass: at most what was in flight is asked again."""
    path, slow = pairs(tmp_path, [f"plain{i}" for i in range(20)]), Teacher()

    def writes(body):
        time.sleep(0.03)
        return slow(body)

    server.writes = writes
    settings = {
        "pairs": path,
        "out": tmp_path / "out",
        "teacher": "m",
        "base-url": server.url,
        "concurrency": 2,
    }
    flags = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "rmr1_lite", "distill", "--both-orders", *flags]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = tmp_path / "out" / "attempts.jsonl"
    _until(lambda: log.exists() and log.read_bytes().count(b"\n") >= 10, process)
    process.kill()
    process.wait()
    assert subprocess.run(command, capture_output=True).returncode == 0
    rows = attempts(tmp_path)
    assert len(rows) == 80 + 40 and len(server.bodies) <= len(rows) + 2


@pytest.mark.long
def test_a_real_server_that_is_killed_in_the_middle(tmp_path):
    """`transformers serve` with the nano judge as teacher of nano pairs: killed, started again, and the
    command ends well."""
    from rmr1_lite.data.nano.world import draw_pairs as nano_pairs
    from rmr1_lite.data.pairs import write_pairs
    from rmr1_lite.judging.pool import JudgePool  # the judge as one model, without an adapter

    loaded = JudgePool(["nano"], four_bit=False).shared("nano")
    with loaded.active() as active:
        merged = active.model.merge_and_unload()
    merged.save_pretrained(tmp_path / "teacher", safe_serialization=True)
    active.tokenizer.save_pretrained(tmp_path / "teacher")
    write_pairs(tmp_path / "pairs.jsonl", nano_pairs("train", 30, 3))
    port = _free_port()
    options = {
        "pairs": tmp_path / "pairs.jsonl",
        "teacher": tmp_path / "teacher",
        "base-url": f"http://127.0.0.1:{port}/v1",
        "style": "compact",
        "max-new-tokens": NANO_TOKENS,
        "temperature": 0,
        "concurrency": 2,
        "max-retries": 0,
        "out": tmp_path / "out",
    }
    flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "rmr1_lite", "distill", *flags]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENAI_API_KEY": KEY}
    server = _serve(tmp_path, port)
    run_ = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    log = tmp_path / "out" / "attempts.jsonl"
    _until(lambda: log.exists() and log.read_bytes().count(b"\n") >= 6, run_)
    server.send_signal(signal.SIGKILL)
    server.wait()
    run_.communicate(timeout=120)
    before = log.read_bytes().count(b"\n")
    server = _serve(tmp_path, port)
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    finally:
        server.kill()
        server.wait()
    assert done.returncode == 0, done.stderr
    rows = attempts(tmp_path)
    assert 6 <= before < len(rows) and len({(r["id"], r["order"], r["pass"]) for r in rows}) == len(rows)
    stats = json.loads((tmp_path / "out" / "stats.json").read_text())
    read = read_chains(tmp_path / "out" / "chains.jsonl")
    assert (
        stats["passes"]["1"]["replies"] == 30
        and stats["kept"] == len(read.chains) >= 20
        and not read.problems
    )
    assert KEY not in done.stdout + done.stderr


def _serve(tmp_path: Path, port: int) -> subprocess.Popen:
    serve = [
        str(Path(sys.executable).with_name("transformers")),
        "serve",
        "--port",
        str(port),
        "--host",
        "127.0.0.1",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with open(tmp_path / "server.log", "a") as log:
        server = subprocess.Popen(serve, stdout=log, stderr=log, env=environment)

    def up() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            return False

    _until(up, server)
    return server


def _until(reached, process: subprocess.Popen, seconds: int = 240) -> None:
    for _ in range(seconds * 5):
        if reached():
            return
        assert process.poll() is None, "it ended before that"
        time.sleep(0.2)
    raise AssertionError("it took too long")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]

"""The command `endpoint` as a process: its exit status, its lines, its signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import httpx
import pytest

from rmr1_lite.endpoint.server import open_port


@pytest.fixture
def log(tmp_path):
    """A log of one pair, for a judge that loads in no time."""
    from rmr1_lite.api.inputs import check_pair

    pair = check_pair("p", "x", "y")
    rows = [
        {"id": pair.id, "order": order, "text": f"<answer>[[{letter}]]</answer>"}
        for order, letter in (("ab", "A"), ("ba", "B"))
    ]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def start(*words: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "rmr1_lite", "endpoint", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def address_in(process) -> str:
    """The address in its first line, once the second says that it is ready."""
    url = process.stdout.readline().split()[2].rstrip(",")
    assert process.stdout.readline().startswith("Ready: POST /compare")
    return url


def test_a_judge_is_served_until_a_signal(log, tmp_path):
    out = tmp_path / "access.log"
    process = start("--judge", f"replay:{log}", "--port", "0", "--log-file", str(out))
    url = address_in(process)
    body = {"prompt": "p", "a": "x", "b": "y"}
    with httpx.Client() as client:  # its idle connection must not hold the stop
        reply = client.post(f"{url}/compare", json=body)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        said, errors = process.communicate(timeout=20)
    assert (reply.json()["winner"], reply.json()["agreement"]) == ("A", True)
    assert (process.returncode, errors) == (0, "") and time.monotonic() - began < 10
    assert said == "Stopped: 1 requests answered, 0 abandoned by their clients, 0 dropped; 2 judge calls.\n"
    (line,) = out.read_text().splitlines()
    assert "POST /compare 200" in line and line.endswith("2 judge calls")


def test_nothing_heavy_is_imported_for_a_judge_that_is_a_log_or_a_server(log):
    code = (
        "import sys\n"
        "from rmr1_lite.cli.main import main\n"
        f"sys.argv = ['rmr1_lite', 'endpoint', '--judge', 'replay:{log}', '--port', '0']\n"
        "try: main()\n"
        "except SystemExit as end: print(end.code, *[n for n in ('torch', 'transformers', 'numpy', 'gradio')"
        " if n in sys.modules])\n"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", code], **pipes)
    url = address_in(process)
    body = {"prompt": "p", "response": "x", "reference": "y"}
    assert httpx.post(f"{url}/score", json=body).json()["wins"] == 1
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert said.splitlines()[-1] == "0"


def refused(*words: str, **environment: str) -> str:
    process = start(*words, **environment)
    said, errors = process.communicate(timeout=60)
    assert (process.returncode, errors.count("\n"), said) == (1, 1, ""), errors
    return errors


def test_a_port_in_use_costs_no_loading():
    with open_port("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        assert f"Port {port} on 127.0.0.1 cannot be opened" in refused(
            "--judge", "nowhere/at/all", "--port", port
        )


WRONG = [
    (["--host", "0.0.0.0"], {}, "Set RMR1_ENDPOINT_KEY", "open to everyone by accident"),
    (["--host", "192.0.2.1"], {"RMR1_ENDPOINT_KEY": "a-long-key"}, "cannot be opened", "not this machine's"),
    (["--no-key"], {"RMR1_ENDPOINT_KEY": "a-long-key"}, "Unset", "a key and none"),
    (["--queue", "0"], {}, "queue is 0", "a setting that cannot work"),
    (["--log-file", "/nowhere/at/all"], {}, "Give another --log-file", "a log that cannot be written"),
]


@pytest.mark.parametrize(("words", "environment", "said", "reason"), WRONG, ids=[row[-1] for row in WRONG])
def test_what_cannot_work_is_one_line(words, environment, said, reason):
    assert said in refused("--port", "0", *words, **environment)


def test_a_judge_that_cannot_be_loaded_is_an_error_of_the_command():
    process = start("--judge", "replay:nowhere.jsonl", "--port", "0")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and "nowhere.jsonl" in errors and "Traceback" not in errors

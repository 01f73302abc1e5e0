"""compare, rank and best-of from the shell: texts in, a verdict out, and a meaningful exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli.test_command_line import command
from fixtures.endpoint import serving
from typer.testing import CliRunner

from rmr1_lite.cli.main import app

SORT = ["--prompt", "Sort d a c from first to last."]
TEXTS = {"right": "a c d\n", "wrong": "d a c\n", "also": "c d a", "empty": " \n", "latin": b"caf\xe9"}
ROW = {"prompt": SORT[1], "response_a": "a c d", "response_b": "d a c"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in TEXTS.items():
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return tmp_path


FAULTS = [
    (["compare", *SORT, "--a", "right"], "Missing: --b", "a file is missing"),
    (["compare", "--a", "right", "--b", "wrong"], "Missing: --prompt", "the question is missing"),
    (["compare", *SORT, "--a", "right", "--b", "gone"], "gone cannot be read", "a file that is not there"),
    (["compare", *SORT, "--a", "right", "--b", "empty"], "empty is empty", "an empty file"),
    (["compare", *SORT, "--a", "right", "--b", "latin"], "latin is not UTF-8", "another encoding"),
    (["compare", *SORT, "--a", "right", "--b", "right"], "are the same text", "equal responses"),
    (
        ["compare", "--prompt", " ", "--a", "right", "--b", "wrong"],
        "prompt does not end",
        "an empty question",
    ),
    (["compare"], "Standard input is empty", "nothing at all"),
    (
        ["compare", "runs/a", "runs/b", "--out", "x"],
        "compare-runs runs/a runs/b --out x",
        "the former command",
    ),
    (["compare", "--out", "x"], "compare-runs", "the former command, half of it"),
    (["rank", *SORT, "right"], "Give at least two different responses", "one response is no ranking"),
    (["rank", *SORT, "right", "right"], "1 text that differ", "equal ones neither"),
    (["best-of", "right", "wrong"], "Give either --prompt TEXT or --prompt-file FILE", "no question"),
    (["best-of", *SORT, "--prompt-file", "right", "wrong", "also"], "Give either --prompt", "two questions"),
    (["rank", *SORT, "right", "wrong", "--votes", "3"], "temperature", "votes without a temperature"),
    (["compare", "--verbose"], "No such option", "the parser's own errors have the status of wrong input"),
]


@pytest.mark.parametrize(("arguments", "said", "reason"), FAULTS, ids=[row[-1] for row in FAULTS])
def test_faults_are_one_line_and_status_1(folder: Path, arguments: list[str], said: str, reason: str) -> None:
    done = command(*arguments, cwd=folder, stdin=subprocess.DEVNULL)
    assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert done.stdout == "", "errors are not results"


def in_process(*arguments: str, text: str | bytes = "") -> Any:
    """The command in this process, where torch is loaded already."""
    return CliRunner().invoke(app, list(arguments), input=text)


def test_pairs_on_standard_input(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    rows = [ROW, {**ROW, "response_a": "d a c", "response_b": "a c d"}]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    done = in_process("compare", "--json", text=lines)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.exit_code == 0 and [row["winner"] for row in found] == ["A", "B"]
    assert found[0]["calls"][0]["parts"]["answer"] == "[[A]]"
    for wrong, said in ((lines + "{half\n", "standard input, line 3"), (b"\xe9", "not UTF-8")):
        assert said in str(in_process("compare", text=wrong).exception)
    piped = in_process("compare", *SORT, "--a", "-", "--b", "wrong", text="a c d\r\n")
    assert piped.stdout.startswith("A wins in both orders")


def test_rank_and_best_of_name_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    done = in_process("best-of", *SORT, "wrong", "right", "also")
    assert done.exit_code == 0 and done.stdout.startswith("right is best (4 judge calls, 2 fewer")
    done = in_process("rank", *SORT, "wrong", "right", "--json")
    found = json.loads(done.stdout)
    assert (found["files"], found["best"], found["calls"]) == (["wrong", "right"], 1, 2)


def test_failed_calls_are_status_2(folder: Path) -> None:
    with serving() as endpoint:
        answers: Any = lambda body: (500, {"error": "overloaded"})  # noqa: E731
        endpoint.answers = answers
        options = ["--judge", f"openai:m@{endpoint.url}", "--style", "rubrics"]
        done = command("compare", *SORT, "--a", "right", "--b", "wrong", *options, cwd=folder)
    assert done.returncode == 2 and "2 judge calls failed" in done.stderr, done.stderr
    assert "no winner: 2 of 2 calls unparsed: the call failed" in done.stdout


def test_the_shell_can_complete() -> None:
    script = Path(sys.executable).with_name("rmr1_lite")
    # the shell that runs the tests may be one that cannot complete
    env = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    command_line = [str(script), "--show-completion", "bash"]
    done = subprocess.run(command_line, capture_output=True, text=True, env=env)
    assert done.returncode == 0 and "_RMR1_LITE_COMPLETE" in done.stdout

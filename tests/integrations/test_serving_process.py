"""`serve` as its users run it, with a stand-in for llama-server: what starts, what is said, and that nothing
is left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from rmr1_lite.environment import AT_START, environment_with_kit
from rmr1_lite.exit_status import run_command
from rmr1_lite.integrations.serving.commands import KEY
from rmr1_lite.integrations.serving.process import answers, running, served_names
from rmr1_lite.integrations.serving.serve import ServeRequest, serve
from rmr1_lite.models.adapters import fingerprint_of
from rmr1_lite.models.exports import ExportInfo, read_export, write_export
from rmr1_lite.models.judge_specs import NANO

STUB = Path(__file__).parents[1] / "fixtures" / "stub_server.py"
GGUF_HEAD = b"GGUF\x03\0\0\0" + (23).to_bytes(8, "little") + b"tokenizer.chat_template"
pytestmark = [pytest.mark.skipif(os.name == "nt", reason="the stand-in is a shell script")]


@dataclass
class Place:
    """A working folder with an exported judge and a stand-in for llama-server."""

    folder: Path
    port: int
    capture: pytest.CaptureFixture[str]

    def behave(self, behaviour: str) -> None:
        program = self.folder / "llama" / "llama-server"
        program.parent.mkdir(exist_ok=True)
        program.write_text(
            f'#!/bin/sh\nexec "{sys.executable}" "{STUB}" {behaviour} "{self.folder}" "$@"\n',
            encoding="utf-8",
        )
        program.chmod(0o755)

    def start(self, behaviour: str, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        """The command as a process, for what signals do to it."""
        self.behave(behaviour)
        command = [*before, sys.executable, "-m", "rmr1_lite", "serve", "judge", "--port", str(self.port)]
        own = environment_with_kit(os.environ)
        return subprocess.Popen(
            command,
            env=own,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=heard_signals,
        )

    def run(self, behaviour: str, judge: str = "judge", **more: Any) -> tuple[int, str]:
        """The command in this process: its exit status, and what it said."""
        self.behave(behaviour)
        request = ServeRequest(judge, port=self.port, **more)
        with pytest.raises(SystemExit) as ended:
            run_command(lambda: serve(request))
        out, err = self.capture.readouterr()
        return int(ended.value.code or 0), out + err

    def pids(self) -> list[int]:
        file = self.folder / "pids"
        return [int(word) for word in file.read_text(encoding="utf-8").split()] if file.exists() else []

    def alive(self) -> list[int]:
        return [pid for pid in self.pids() if _runs(pid)]

    def log(self) -> str:
        return (self.folder / "runs" / "served" / f"judge-llama.cpp-{self.port}.log").read_text("utf-8")


def _runs(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not collected does not."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.parent.parent.is_dir() and Path("/proc/self/stat").exists():
        with suppress(OSError):
            return stat.read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def gone(place: Place, seconds: float = 5.0) -> bool:
    """Whether the server and its child ended."""
    deadline = time.monotonic() + seconds
    while place.alive() and time.monotonic() < deadline:
        time.sleep(0.05)
    return len(place.pids()) == 2 and not place.alive()


def heard_signals() -> None:
    """Tests in the background of a script run with Ctrl-C ignored, which a child inherits."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def read_until(child: subprocess.Popen[str], words: str) -> str:
    said = ""
    assert child.stdout is not None
    for line in child.stdout:
        said += line
        if words in line:
            return said
    raise AssertionError(f"{words!r} never came:\n{said}")


@pytest.fixture
def place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RMR1_LLAMA_CPP", str(tmp_path / "llama"))
    monkeypatch.delenv(KEY, raising=False)
    judge = tmp_path / "judge"
    judge.mkdir()
    (judge / "judge.gguf").write_bytes(GGUF_HEAD)
    info = ExportInfo(
        form="gguf",
        source="nano",
        base="nano-base",
        fingerprint=fingerprint_of("nano-base"),
        base_weights="dequantised",
        style="compact",
        thinking="",
        number_type="f16",
        context=768,
        max_new_tokens=152,
        name="judge",
        model="judge.gguf",
    )
    write_export(judge, info)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = Place(tmp_path, port, capsys)
    yield made
    for pid in made.alive():  # of a test that failed
        os.kill(pid, signal.SIGKILL)


def test_a_check_judges_one_pair_and_stops_the_server(place: Place):
    status, said = place.run("ready", check=True, extra=("--threads", "1"))
    assert status == 0, said
    assert "A first: A wins (7 tokens)" in said and "B first: B wins (7 tokens)" in said
    spec = f"openai:judge@http://127.0.0.1:{place.port}/v1"
    assert f"--judge {spec} --style compact --reading strict --max-new-tokens 152" in said
    flags = json.loads((place.folder / "flags").read_text("utf-8"))
    assert flags[-2:] == ["--threads", "1"] and flags[flags.index("-c") + 1] == "3072"
    assert gone(place)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_serves_until_it_is_ended_and_stops_the_whole_group(place: Place, number: signal.Signals):
    """Ctrl-C, a supervisor, and a terminal that is closed."""
    child = place.start("ready")
    said = read_until(child, "Ctrl-C ends it")
    assert len(place.alive()) == 2, said
    child.send_signal(number)
    said += child.communicate(timeout=30)[0]
    assert (child.returncode, "Stopped." in said) == (0, True), said
    assert "Traceback" not in said and gone(place)


def test_under_nohup_a_closed_terminal_ends_nothing(place: Place):
    child = place.start("ready", before=("nohup",))
    read_until(child, "Ctrl-C ends it")
    child.send_signal(signal.SIGHUP)
    time.sleep(1)
    assert child.poll() is None and len(place.alive()) == 2
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=30)
    assert gone(place)


def test_ctrl_c_while_it_loads_is_no_success(place: Place):
    child = place.start("never")
    while len(place.pids()) < 2:
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=30)
    assert child.returncode == 130 and gone(place)


def test_a_second_ctrl_c_does_not_wait_for_a_stubborn_server(place: Place):
    child = place.start("stubborn")
    read_until(child, "Ctrl-C ends it")
    child.send_signal(signal.SIGINT)
    time.sleep(1)
    assert child.poll() is None  # it has its time
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=10)
    assert gone(place)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent was killed")
def test_a_server_whose_launcher_was_killed_ends_too(place: Place):
    child = place.start("ready")
    read_until(child, "Ctrl-C ends it")
    leader = place.pids()[0]
    child.kill()
    child.communicate(timeout=30)
    deadline = time.monotonic() + 5
    while _runs(leader) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(leader)


def test_a_server_that_dies_while_it_loads_shows_the_end_of_its_log(place: Place):
    status, said = place.run("dies", check=True)
    assert status == 1
    assert "Error: The server ended: exit status 1." in said and "out of memory: buy more" in said
    assert "Traceback" not in said and gone(place)


def test_a_server_that_the_system_killed_is_said(place: Place):
    status, said = place.run("killed", check=True)
    assert status == 1 and "killed by SIGKILL (often: no memory was left)" in said and gone(place)


def test_a_server_that_refuses_the_pair_is_shown_with_its_words(place: Place):
    status, said = place.run("refuses", check=True)
    assert status == 2, said
    assert "unparsed, error" in said and "the template has no user turn" in said and gone(place)


def test_a_server_that_dies_later_ends_the_command(place: Place):
    status, said = place.run("dies-later")
    assert status == 1, said
    assert "First pair" in said and "Error: The server ended: exit status 7." in said
    assert gone(place)


def test_a_server_that_never_answers_is_given_up(place: Place):
    status, said = place.run("never", wait=1)
    assert status == 1 and "did not answer within 1 s" in said and "--wait" in said
    assert gone(place)


def test_ready_is_what_health_says(place: Place):
    """llama-server lists its model while it loads."""
    place.behave("ready")
    root, log = f"http://127.0.0.1:{place.port}", place.folder / "log"
    command = [str(place.folder / "llama" / "llama-server"), "--alias", "j", "--port", str(place.port)]
    with running(command, os.environ, root, log) as server:
        server.wait_until_ready(30)
        assert answers(f"{root}/health") and served_names(root) == ["j"]
    assert gone(place)


def test_an_unparsed_verdict_is_said_with_its_text(place: Place):
    status, said = place.run("unparsed", check=True)
    assert status == 2, said
    assert "no verdict could be parsed" in said and "unparsed, missing" in said and "both are" in said
    assert "\x1b" not in said and gone(place)


def test_a_log_that_would_fill_a_pipe_stops_nothing(place: Place):
    status, said = place.run("noisy", check=True)
    assert status == 0, said
    assert len(place.log()) > 1_000_000


def test_another_server_on_its_port_is_not_taken_for_it(place: Place):
    status, said = place.run("other-model", check=True)
    assert status == 1 and "is not the server that was started: it has another" in said


def test_a_port_in_use_is_one_line(place: Place):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", place.port))
        taken.listen()
        status, said = place.run("ready", check=True)
    assert status == 1 and "Address already in use. Give another --port" in said
    assert not place.pids()


def test_a_key_reaches_server_and_client_and_is_never_shown(place: Place, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(KEY, "sesame")
    monkeypatch.setenv("OPENAI_API_KEY", "private")
    status, said = place.run("ready", check=True)
    assert status == 0, said
    assert set((place.folder / "keys").read_text("utf-8").split("\n")) == {"Bearer sesame", ""}
    assert "sesame" not in said and "sesame" not in (place.folder / "flags").read_text("utf-8")
    assert "private" not in said


def test_the_end_of_a_log_masks_the_key(place: Place, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(KEY, "sesame")
    status, said = place.run("dies", check=True)
    assert "key ***" in said and "sesame" in place.log() and "sesame" not in said and "\x1b" not in said


def test_a_proxy_is_not_asked_about_this_machine(place: Place, monkeypatch: pytest.MonkeyPatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")
    status, said = place.run("ready", check=True)
    assert status == 0 and "NO_PROXY=127.0.0.1" in said, said


def test_a_dry_run_prints_a_command_for_a_shell_and_starts_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(KEY, "sesame")
    status, said = place.run("ready", dry_run=True)
    assert status == 0 and not place.pids()
    assert 'LLAMA_API_KEY="$RMR1_SERVER_KEY" \\\n' in said and "sesame" not in said
    assert f"{place.folder}/llama/llama-server -m {place.folder}/judge/judge.gguf --alias judge" in said


def test_the_servers_environment_is_the_users(place: Place, monkeypatch: pytest.MonkeyPatch):
    """The kit shows itself one card only, and sets its allocator: a server may have all of them."""
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    for name in (*AT_START, "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    place.behave("ready")
    program = place.folder / "llama" / "llama-server"
    program.write_text('#!/bin/sh\nenv > "$(dirname "$0")/env"\nexit 1\n', encoding="utf-8")
    command = [sys.executable, "-m", "rmr1_lite", "serve", "judge", "--port", str(place.port), "--check"]
    done = subprocess.run(command, env=environment_with_kit(os.environ), capture_output=True, text=True)
    assert done.returncode == 1 and "The server ended: exit status 1" in done.stderr
    seen = (program.parent / "env").read_text("utf-8").splitlines()
    assert "OMP_NUM_THREADS=3" in seen
    assert not {line.partition("=")[0] for line in seen} & {*AT_START, "CUDA_VISIBLE_DEVICES"}


def test_other_machines_are_announced(place: Place):
    status, said = place.run("ready", host="0.0.0.0", dry_run=True)
    assert status == 0 and "Other machines can reach this server: it listens on 0.0.0.0." in said


def test_another_style_than_it_was_trained_on_is_said(place: Place):
    status, said = place.run("ready", style="rubrics", dry_run=True)
    assert status == 0 and "was trained on the style compact, not rubrics" in said


def test_a_spec_is_exported_first_and_the_export_is_used_again(place: Place):
    status, said = place.run("ready", "nano", engine="llama.cpp", dry_run=True)
    assert status == 0 and "would be exported into runs/served/nano-llama.cpp" in said
    reused = {"engine": "llama.cpp", "export_to": Path("judge"), "dry_run": True}
    status, said = place.run("ready", "nano", **reused)
    assert status == 0 and "Reusing the export in judge (gguf, f16)" in said
    status, said = place.run("ready", "nano-sft", **reused)
    assert status == 1 and "judge is an export of nano (gguf)" in said


def test_a_missing_program_is_named_with_how_to_get_it(place: Place, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RMR1_LLAMA_CPP", str(place.folder / "judge"))
    monkeypatch.setenv("PATH", str(place.folder))
    status, said = place.run("ready")
    assert status == 1 and "llama-server was not found. Get llama.cpp" in said


def test_a_folder_that_transformers_would_misread(place: Place):
    """What follows @ is a revision to `transformers serve`."""
    folder = place.folder / "judge@2"
    shutil.copytree(NANO["nano-base"], folder)
    write_export(folder, replace(read_export(place.folder / "judge"), form="merged", model="."))
    status, said = place.run("ready", str(folder), engine="transformers")
    assert status == 1 and "Give a path without @" in said


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"engine": "vllm"}, "vllm cannot serve the form 'gguf'"),
        ({"engine": "ollama"}, "Choose from auto, vllm, llama.cpp, transformers"),
        ({"context": 100}, "leaves no room for a prompt"),
        ({"name": "a,b"}, "is no name for a server"),
        ({"extra": ("--port", "1")}, "--port is set by serve"),
        (
            {"judge": "nano-sft", "engine": "llama.cpp"},
            "converter (convert_hf_to_gguf.py) was not found",
        ),
    ],
)
def test_what_is_refused_before_anything_starts(place: Place, more: dict[str, Any], words: str):
    status, said = place.run("ready", **more)
    assert status == 1 and words in said and not place.pids()

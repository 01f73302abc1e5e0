"""Writing: a kill at any moment leaves the old file or the new one, and a log loses at most the row being
written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rmr1_lite.storage import AtomicLines, JsonlLog, atomic_write_text, same_settings, write_json
from rmr1_lite.types import InputError


def test_atomic_write_leaves_the_old_file_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new" / "file.txt"
    atomic_write_text(path, "old")

    def broken_disk(_: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", broken_disk)
    with pytest.raises(OSError, match="no space"):
        atomic_write_text(path, "new")
    assert path.read_text() == "old" and os.listdir(path.parent) == ["file.txt"]
    monkeypatch.undo()
    write_json(path, {"x": "é \ud83d"})
    assert json.loads(path.read_text()) == {"x": "é \ud83d"}


WHOLE = b'{"id": 1}\n{"id": 2}\n'
TAILS = {
    # name: (last bytes, keys afterwards, moved aside)
    "nothing": (b"", {1, 2}, None),
    "half a row": (b'{"id": 3, "te', {1, 2}, b'{"id": 3, "te\n'),
    "half a character": ('{"id": "é'.encode()[:-1], {1, 2}, b'{"id": "\xc3\n'),
    "only the line end is missing": (b'{"id": 3}', {1, 2, 3}, None),
    "zeros after a power cut": (b"\0" * 8, {1, 2}, b"\0" * 8 + b"\n"),
    "a number is not a row": (b"12", {1, 2}, b"12\n"),
}


@pytest.mark.parametrize(("tail", "keys", "moved"), TAILS.values(), ids=TAILS)
def test_log_repairs_its_last_line(tmp_path: Path, tail: bytes, keys: set[int], moved: bytes | None) -> None:
    path, aside = tmp_path / "log.jsonl", tmp_path / "log.jsonl.broken"
    path.write_bytes(WHOLE + tail)
    with JsonlLog(path) as log:
        assert log.done == keys and log.repaired == (moved is not None)
        log.append({"id": 9})
        assert path.read_bytes().endswith(b'{"id": 9}\n'), "a kill right now must not lose the row"
        assert 9 in log and [row["id"] for row in log] == [*sorted(keys), 9]
        with pytest.raises(ValueError, match="already"):
            log.append({"id": 1})
    assert (aside.read_bytes() if aside.exists() else None) == moved
    assert [json.loads(row)["id"] for row in path.read_bytes().splitlines()] == [*sorted(keys), 9]


BAD_LOGS = {
    "broken in the middle": (b'{"id": 1}\n{"id"\n{"id": 3}\n', "row 2"),
    "row without key": (b'{"x": 1}\n', "row 1"),
    "key twice": (WHOLE + WHOLE, "row 3.*twice"),
}


@pytest.mark.parametrize(("data", "words"), BAD_LOGS.values(), ids=BAD_LOGS)
def test_log_that_is_none(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(data)
    with pytest.raises(InputError, match=words):
        JsonlLog(path)
    assert path.read_bytes() == data


SETTINGS = [
    # what was written, what is asked now, words of the error ("" for none), why
    ({"seed": 0, "style": "compact"}, {"seed": 0, "style": "compact"}, "", "the same command resumes"),
    ({"seed": 0}, {"seed": 1}, "seed was 0, is 1", "another setting would mix two runs in one file"),
    ({"style": "compact"}, {"style": None}, "", "unset now: what was found then stands"),
    ({"style": None}, {"style": "compact"}, "style was None", "set now but not then: other prompts"),
    ({"seed": 0}, {"seed": 0, "weights": "abc"}, "", "a file from before the name existed does not tell it"),
    (
        {"seed": 0, "weights": "abc"},
        {"seed": 0, "weights": "def"},
        "weights was 'abc'",
        "told, and another adapter",
    ),
    (
        {"seed": 0, "weights": ""},
        {"seed": 0, "weights": "def"},
        "weights was ''",
        "told, and it was no folder then",
    ),
    (
        {"weights": "abc"},
        {"weights": "abc", "seed": 0},
        "seed was None",
        "only the added name may be missing",
    ),
]


@pytest.mark.parametrize(("then", "now", "words", "why"), SETTINGS, ids=[row[3] for row in SETTINGS])
def test_same_settings(tmp_path: Path, then: dict, now: dict, words: str, why: str) -> None:
    write_json(tmp_path / "settings.json", then)
    if words:
        with pytest.raises(InputError, match=words):
            same_settings(tmp_path / "settings.json", now, unset="style", added=("weights",))
    else:
        assert same_settings(tmp_path / "settings.json", now, unset="style", added=("weights",)) == then, why


def test_same_settings_of_no_file(tmp_path: Path) -> None:
    assert same_settings(tmp_path / "settings.json", {"seed": 0}) is None
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(InputError, match="Delete it"):
        same_settings(tmp_path / "settings.json", {"seed": 0})


def test_log_rewrite_and_second_writer(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(WHOLE)
    with JsonlLog(path) as log:
        with pytest.raises(InputError, match="another process"):
            JsonlLog(path)
        log.append({"id": 0, "text": "\ud83d"})
        assert log.rewrite(lambda row: row["id"] != 2, lambda row: row["id"]) == 1
        assert [row["id"] for row in log] == [0, 1] and log.get(0)["text"] == "\ud83d"
        log.append({"id": 5})
    assert [json.loads(row)["id"] for row in path.read_bytes().splitlines()] == [0, 1, 5]


WRITER = """
import sys
from rmr1_lite.storage import JsonlLog
log = JsonlLog(sys.argv[1])
for i in range(len(log), 10**9):
    log.append({"id": i, "text": "x" * 5000})
"""


def test_killed_writer_loses_no_row(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)])
        size = path.stat().st_size if path.exists() else 0
        deadline = time.monotonic() + 30
        while (path.stat().st_size if path.exists() else 0) < size + 100_000 and time.monotonic() < deadline:
            time.sleep(0.01)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        with JsonlLog(path) as log:
            assert [row["id"] for row in log] == list(range(len(log))) and len(log) >= 20


def test_a_disk_that_fills_up_at_the_end_leaves_no_draft(tmp_path, monkeypatch):
    import errno

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "a.jsonl").write_text("before\n")
    monkeypatch.setattr(os, "fsync", full)
    with (
        pytest.raises(OSError, match="No space"),
        AtomicLines(tmp_path / "a.jsonl", tmp_path / "b.jsonl") as files,
    ):
        files.write(tmp_path / "a.jsonl", {"x": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]
    assert (tmp_path / "a.jsonl").read_text() == "before\n"


def test_a_full_disk_is_one_line_and_a_status(monkeypatch, capsys):
    import errno

    from rmr1_lite.cli import main

    def full():
        raise OSError(errno.ENOSPC, "No space left on device", "runs/x.jsonl")

    monkeypatch.setattr(main, "app", full)
    with pytest.raises(SystemExit) as stopped:
        main.main()
    said = capsys.readouterr().err
    assert (
        stopped.value.code == 2
        and said.startswith("Error: the disk of runs/x.jsonl is full")
        and said.count("\n") == 1
    )

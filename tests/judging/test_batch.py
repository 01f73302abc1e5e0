"""A whole file judged: resumed after a kill it ends the same, nothing is judged twice, nothing is mixed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fixtures import tiny
from fixtures.endpoint import completion, serving
from fixtures.scripted import Scripted, right

from rmr1_lite.data.pairs import write_pairs
from rmr1_lite.judging.batch import judge_file
from rmr1_lite.judging.engines.base import Request, Sampling
from rmr1_lite.judging.engines.local import LocalEngine
from rmr1_lite.judging.factory import make_judge
from rmr1_lite.judging.judge import Judge
from rmr1_lite.types import Generation, InputError, Pair


def rows(path: Path) -> list[dict[str, Any]]:
    """Rows without the wall time, the only field that may differ."""
    return [
        {k: v for k, v in json.loads(line).items() if k != "seconds"}
        for line in path.read_text().splitlines()
    ]


def local_judge(batch_size: int = 3) -> Judge:
    tokenizer = tiny.tokenizer()
    engine = LocalEngine(tiny.model(tokenizer), tokenizer, batch_size, max_prompt_tokens=600, style="compact")
    return Judge(engine, sampling=Sampling(temperature=1.0, max_new_tokens=24, seed=7))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with in.jsonl and the out.jsonl of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    long = Pair("long", ({"role": "user", "content": "Why? " * 2000},), "x", "y")
    write_pairs(folder / "in.jsonl", [*tiny.pairs(12), long])
    judge_file(local_judge(), folder / "in.jsonl", folder / "out.jsonl", votes=2, progress=False)
    return folder


def test_whole_file(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = rows(whole / "out.jsonl")
    plan = [(f"p{i}", o, v) for i in range(12) for o in ("ab", "ba") for v in (0, 1)]
    assert [(r["id"], r["order"], r["vote"]) for r in found[:48]] == plan and len(found) == 52
    assert {r["status"] for r in found[48:]} == {"too_long"} and all(r["text"] == "" for r in found[48:])
    assert len({r["text"] for r in found[:48]}) > 40, "votes and orders are looks of their own"
    assert [r["label"] for r in found[:4]] == ["A"] * 4, "the gold letter stays in the pair's letters"
    again = judge_file(local_judge(), whole / "in.jsonl", whole / "out.jsonl", votes=2, progress=False)
    assert rows(whole / "out.jsonl") == found and again.too_long == ["long"]
    printed = capsys.readouterr().out
    assert (
        "13 pairs read" in printed
        and "1 too long for the context: long" in printed
        and "52 judge calls" in printed
    )


@pytest.mark.parametrize("cut", [0, 1, 100, 5000, 9999, -1])
def test_cut_log_is_finished_to_the_same_file(whole: Path, tmp_path: Path, cut: int) -> None:
    data = (whole / "out.jsonl").read_bytes()
    out = tmp_path / "out.jsonl"
    out.write_bytes(data[:cut])
    judge = local_judge(batch_size=5)
    written = data[:cut].count(b"\n")
    asked: Counter[tuple[str, str, int]] = Counter()
    real = judge.engine.generate

    def counting(requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[int, Generation]]:
        asked.update((r.id, r.order, r.vote) for r in requests)
        return real(requests, sampling)

    judge.engine.generate = counting
    judge_file(judge, whole / "in.jsonl", out, votes=2, progress=False)
    assert rows(out) == rows(whole / "out.jsonl")
    # the last row of a log that lost only its line end is whole
    assert sum(asked.values()) in (52 - written, 52 - written - (cut == -1)) and set(asked.values()) <= {1}


RUN = """
import sys
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/judging"]
import test_batch as t
from rmr1_lite.storage import JsonlLog
append = JsonlLog.append
def slow(self, row):
    append(self, row)
    t.time.sleep(0.05)
JsonlLog.append = slow
t.judge_file(t.local_judge(1), sys.argv[2], sys.argv[3], votes=2, progress=False)
"""


def test_killed_and_resumed(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    arguments = [sys.executable, "-c", RUN, str(Path(__file__).parents[1]), str(whole / "in.jsonl"), str(out)]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 90
    while (not out.exists() or out.read_bytes().count(b"\n") < 9) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = out.read_bytes()
    assert 9 <= before.count(b"\n") < 52, "killed in the middle"
    judge_file(local_judge(), whole / "in.jsonl", out, votes=2, progress=False)
    assert rows(out) == rows(whole / "out.jsonl")
    after = set(out.read_bytes().splitlines())
    assert set(before.splitlines()[: before.count(b"\n")]) <= after, "what was judged was not judged again"


def test_errors_are_tried_again_and_nothing_else(tmp_path: Path) -> None:
    pairs, down = tiny.pairs(6), {("p2", "ab"), ("p4", "ba")}
    engine = Scripted(lambda r: Generation("", error="no answer") if (r.id, r.order) in down else right(r))
    write_pairs(tmp_path / "in.jsonl", pairs)
    paths = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    first = judge_file(Judge(engine), *paths, progress=False)
    assert first.errors == ["p2", "p4"] and first.statuses == {"ok": 10, "error": 2}
    assert "failed (run again to retry): p2, p4" in first.text()
    down.clear()
    second = judge_file(Judge(engine), *paths, progress=False)
    assert second.errors == [] and second.agree == second.read == 6
    assert sorted(k for k, n in engine.asked.items() if n > 1) == [("p2", "ab", 0), ("p4", "ba", 0)]
    assert Counter((r["id"], r["order"]) for r in rows(paths[1])).most_common(1)[0][1] == 1


def test_other_settings_or_texts_are_not_mixed_in(tmp_path: Path) -> None:
    pairs, paths = tiny.pairs(2), (tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    write_pairs(paths[0], pairs)
    judge = Judge(Scripted(right))
    judge_file(judge, *paths, progress=False)
    before = paths[1].read_bytes()
    with pytest.raises(InputError, match="style was 'compact', is 'rubrics'"):
        judge_file(replace(judge, style="rubrics"), *paths, progress=False)
    judge.engine.fingerprint = "trained anew"
    with pytest.raises(InputError, match="weights was '', is 'trained anew'"):
        judge_file(judge, *paths, progress=False)
    judge.engine.fingerprint = ""
    write_pairs(paths[0], [pairs[0], replace(pairs[1], response_a="Other.")])
    with pytest.raises(InputError, match="'p1'.*different texts"):
        judge_file(judge, *paths, progress=False)
    assert paths[1].read_bytes() == before
    write_pairs(paths[0], tiny.pairs(3)[::-1])
    judge_file(judge, *paths, progress=False)
    assert [r["id"] for r in rows(paths[1])] == ["p2", "p2", "p1", "p1", "p0", "p0"], "a file may grow"


def test_bad_rows_are_reported_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write_pairs(paths[0], tiny.pairs(2))
    paths[0].write_bytes(paths[0].read_bytes() + b'{"id": "half')
    summary = judge_file(Judge(Scripted(right)), *paths, progress=False)
    assert summary.pairs == 2 and "half-written last line" in capsys.readouterr().out
    problems = json.loads((tmp_path / "out.jsonl.problems.json").read_text())
    assert [p["row"] for p in problems] == [3]
    with pytest.raises(InputError, match="half-written"):
        judge_file(Judge(Scripted(right)), *paths, on_bad_row="fail", progress=False)
    paths[0].write_bytes(b"{}\n")
    with pytest.raises(InputError, match="no pairs to judge"):
        judge_file(Judge(Scripted(right)), *paths, progress=False)


# what the server does: (exit status, what the screen says)
ENDS = {
    "all is well": (lambda body: None, 0, "4 judge calls: ok 4"),
    "one kind of call fails": (
        lambda body: (
            (200, {"error": {"message": "overloaded"}}) if "of p1?" in str(body["messages"]) else None
        ),
        2,
        "1 failed (run again to retry): p1\n  2 x the reply is an error: overloaded",
    ),
    "no call can succeed": (
        lambda body: (401, {"error": "no such key"}),
        1,
        "no such key. Set OPENAI_API_KEY",
    ),
    "a prompt is too long": (
        lambda body: (413, "too large") if "of p1?" in str(body["messages"]) else None,
        2,
        "1 too long for the context: p1",
    ),
    "a filter": (
        lambda body: (200, completion("", "content_filter")) if "of p1?" in str(body["messages"]) else None,
        2,
        "1 stopped by a content filter (run again to retry): p1",
    ),
    "a clipped prompt": (
        lambda body: (200, completion("<answer>[[A]]</answer>") | {"usage": {"prompt_tokens": 50}}),
        2,
        "2 with a prompt truncated by the server: p0, p1",
    ),
}


@pytest.mark.parametrize("why", ENDS)
def test_the_exit_status_says_whether_all_was_judged(why: str, tmp_path: Path) -> None:
    with serving() as endpoint:
        endpoint.answers, status, said = ENDS[why]
        write_pairs(
            tmp_path / "in.jsonl",
            [
                Pair(name, ({"role": "user", "content": f"Which of {name}?"},), "x", "y")
                for name in ("p0", "p1")
            ],
        )
        options = ["--judge", f"openai:m@{endpoint.url}", "--style", "rubrics", "--pairs", "in.jsonl"]
        command = [sys.executable, "-m", "rmr1_lite", "judge", *options, "--out", "out.jsonl"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == status and said in done.stdout + done.stderr, done.stdout + done.stderr
        # what failed, and nothing else, is asked again
        before, endpoint.answers = len(endpoint.bodies), lambda body: None
        failed = {
            "all is well": 0,
            "a prompt is too long": 0,
            "no call can succeed": 4,
            "a clipped prompt": 4,
        }
        judge = make_judge(f"openai:m@{endpoint.url}", "rubrics")
        again = judge_file(judge, tmp_path / "in.jsonl", tmp_path / "out.jsonl", progress=False)
        assert again.complete == (why != "a prompt is too long")
        assert len(endpoint.bodies) - before == failed.get(why, 2)


def test_rows_that_are_no_pairs_are_work_that_was_not_done(tmp_path: Path) -> None:
    write_pairs(tmp_path / "in.jsonl", tiny.pairs(1))
    with (tmp_path / "in.jsonl").open("a") as file:
        file.write('{"id": "half", "prompt": "x"}\n')
    judge = Judge(Scripted(right), "rubrics")
    assert not judge_file(judge, tmp_path / "in.jsonl", tmp_path / "out.jsonl", progress=False).complete

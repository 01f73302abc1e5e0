"""Real Ray and real vLLM behind `evaluate --via ray`: what the kit's own engine writes, also after a
worker, or the command itself, was killed in the middle.

Run with the interpreter of `make serve-env`, which has Ray, vLLM and the kit.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from fixtures.endpoint import Endpoint, serving
from nano_exports import Exports, written
from running import SETTINGS, Served, running

from rmr1_lite.config import NANO_TOKENS
from rmr1_lite.data.nano.world import draw_pairs
from rmr1_lite.data.pairs import write_pairs
from rmr1_lite.environment import environment_with_kit
from rmr1_lite.integrations.programs import find_vllm
from rmr1_lite.judging.factory import make_judge
from rmr1_lite.types import ORDERS

pytestmark = pytest.mark.timeout(900)  # vLLM's start alone takes minutes beside other work
MANY = draw_pairs("test", 60, 9000)
FEW = MANY[:20]
# every vLLM on a CPU takes the first core for itself, and two of them share it
UNBOUND = {"VLLM_CPU_OMP_THREADS_BIND": "nobind"}
COMPARED = ("text", "status", "verdict", "finished", "prompt_tokens", "completion_tokens")
Looks = dict[tuple[str, str], tuple[Any, ...]]


@pytest.fixture(scope="session")
def own() -> Looks:
    """What the kit's own engine writes, for all pairs."""
    judge = make_judge("nano", max_new_tokens=NANO_TOKENS)
    judgments = judge.compare_many(MANY, progress=False)
    return {
        (each.pair_id, look.order): (
            look.generation.text,
            look.status,
            look.verdict.shown_label,
            look.generation.finished,
            look.generation.prompt_tokens,
            look.generation.completion_tokens,
        )
        for each in judgments
        for look in each.looks
    }


@dataclass
class Evaluation:
    """One `evaluate --via ray` of some pairs, in a folder."""

    judge: str
    pairs: list[Any]
    folder: Path
    options: tuple[str, ...] = ()

    def start(self) -> subprocess.Popen[str]:
        data = self.folder / "pairs.jsonl"
        write_pairs(data, self.pairs)
        words = ["evaluate", "--via", "ray", "--judge", self.judge, "--data", str(data), *self.options]
        return subprocess.Popen(
            [find_vllm(), "-m", "rmr1_lite", *words, "--out", str(self.folder / "out")],
            env=environment_with_kit(os.environ) | SETTINGS | UNBOUND,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
        )

    def run(self, meanwhile: Callable[[subprocess.Popen[str]], None] = lambda child: None) -> str:
        """What the finished command printed."""
        child = self.start()
        try:
            meanwhile(child)
            said, _ = child.communicate(timeout=840)
        finally:
            child.kill()
        assert child.returncode == 0, said
        return said

    def rows(self) -> list[dict[str, Any]]:
        path = self.folder / "out" / "items.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def wait_for_rows(self, child: subprocess.Popen[str], count: int) -> None:
        while len(self.rows()) < count:
            assert child.poll() is None, child.communicate()[0]
            time.sleep(0.02)

    def check(self, own: Looks, names: tuple[str, ...] = COMPARED) -> None:
        """Every judge call once, and what the kit's own engine wrote. names: the fields that are compared."""
        rows = self.rows()
        found = {(row["id"], row["order"]): tuple(row[name] for name in names) for row in rows}
        assert len(rows) == len(found) == len(self.pairs) * len(ORDERS)
        for key, look in found.items():
            assert look == own[key][: len(names)], key


def find_worker(child: subprocess.Popen[str], name: str, seconds: float = 400) -> psutil.Process:
    """One of Ray's workers, once its process has this in its name: Ray puts the call in progress there."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert child.poll() is None, child.communicate()[0]
        for each in psutil.Process(child.pid).children(recursive=True):
            with suppress(psutil.Error):  # it may end meanwhile
                title = " ".join(each.cmdline())
                if title.startswith("ray::") and name in title:
                    return each
        time.sleep(0.05)
    raise AssertionError(f"no worker {name} in {seconds} s")


def test_the_merged_judge_writes_what_the_kits_engine_writes(own: Looks, tmp_path: Path):
    judge = written(tmp_path / "merged", "merged", "fp32")
    evaluation = Evaluation(str(judge), FEW, tmp_path)
    said = evaluation.run()
    evaluation.check(own)
    data = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))["data"]
    assert (data["pairs"], data["failed_looks"]) == (len(FEW), 0)
    assert "ERROR" not in said and "Traceback" not in said, said


@pytest.mark.long
def test_the_adapter_over_its_base_with_a_worker_killed_in_the_middle(own: Looks, tmp_path: Path):
    judge = written(tmp_path / "lora", "vllm", "fp32")
    evaluation = Evaluation(str(judge), MANY, tmp_path)

    def kill(child: subprocess.Popen[str]) -> None:
        worker = find_worker(child, "vLLMEngineStageUDF)).submit")  # it has started, and has its first rows
        engines = worker.children(recursive=True)
        worker.kill()  # as the kernel does when memory runs out
        assert engines and psutil.wait_procs(engines, timeout=90)[1] == [], "they would keep their memory"

    evaluation.run(kill)
    evaluation.check(own)


# ---- over an endpoint


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    merged = written(folder / "merged", "merged", "fp32")
    with running("transformers", Exports(merged, merged, merged), folder) as server:
        yield server


def over(spec: str, folder: Path) -> Evaluation:
    options = ("--style", "compact", "--reading", "strict", "--max-new-tokens", str(NANO_TOKENS))
    return Evaluation(spec, FEW, folder, options)


def test_over_a_real_server(served: Served, own: Looks, tmp_path: Path):
    evaluation = over(served.spec, tmp_path)
    evaluation.run()
    evaluation.check(own)


@pytest.fixture
def slow(own: Looks) -> Iterator[Endpoint]:
    """A stand-in for a server that writes the engine's texts, one after the other."""
    judge = make_judge("nano")
    texts = {
        judge.request(pair, order).messages[-1]["content"]: own[pair.id, order][0]
        for pair in FEW
        for order in ORDERS
    }

    def write(body: dict[str, Any]) -> str:
        time.sleep(0.2)
        return texts[body["messages"][-1]["content"]]

    with serving() as endpoint:
        endpoint.writes = write
        yield endpoint


@pytest.mark.long
def test_a_worker_killed_in_the_middle_loses_nothing(slow: Endpoint, own: Looks, tmp_path: Path):
    evaluation = over(f"openai:m@{slow.url}", tmp_path)
    before = []

    def kill(child: subprocess.Popen[str]) -> None:
        while len(slow.bodies) < 5:  # the first request is sent directly, the others by workers
            assert child.poll() is None, child.communicate()[0]
            time.sleep(0.02)
        find_worker(child, "HttpRequestUDF").kill()
        before.append(len(slow.bodies))

    evaluation.run(kill)
    assert before[0] < len(FEW) * len(ORDERS), "it was killed too late to show anything"
    evaluation.check(own, ("text", "status", "verdict"))


@pytest.mark.long
def test_a_killed_command_resumes_and_asks_nothing_twice(slow: Endpoint, own: Looks, tmp_path: Path):
    evaluation = over(f"openai:m@{slow.url}", tmp_path)
    child = evaluation.start()
    evaluation.wait_for_rows(child, 2)
    workers = psutil.Process(child.pid).children(recursive=True)
    child.kill()
    child.wait()
    psutil.wait_procs(workers, timeout=30)  # they notice that the command is gone
    before = evaluation.rows()
    assert 0 < len(before) < len(FEW) * len(ORDERS)
    slow.bodies.clear()
    evaluation.run()
    evaluation.check(own, ("text", "status", "verdict"))
    assert len(slow.bodies) == len(FEW) * len(ORDERS) - len(before)
    assert all(row in evaluation.rows() for row in before), "what was stored stays as it was"


@pytest.mark.long
def test_errors_of_a_server_are_failures_or_asked_again(slow: Endpoint, own: Looks, tmp_path: Path):
    asked = Counter[str]()

    def answer(body: dict[str, Any]) -> tuple[int, Any] | None:
        said = body["messages"][-1]["content"]
        asked[said] += 1
        place = list(asked).index(said)
        if place == 5:
            return 400, {
                "error": {"message": "This model's maximum context length is 10 tokens", "code": 400}
            }
        if place in (6, 7) and asked[said] == 1:
            return (503, {}) if place == 6 else (200, {"error": {"message": "overloaded", "code": 500}})
        return None

    slow.answers = answer
    evaluation = over(f"openai:m@{slow.url}", tmp_path)
    said, _ = evaluation.start().communicate(timeout=300)
    statuses = Counter(row["status"] for row in evaluation.rows())
    assert statuses == {"ok": len(FEW) * len(ORDERS) - 1, "too_long": 1}, said
    assert "requests have no result: they are asked again" in said


def test_a_server_that_is_not_there_stops_the_command_with_its_words(tmp_path: Path):
    evaluation = Evaluation("openai:m@http://127.0.0.1:9/v1", FEW, tmp_path, ("--style", "compact"))
    child = evaluation.start()
    said, _ = child.communicate(timeout=200)
    assert child.returncode == 1 and "Check that the server is running at this address" in said, said

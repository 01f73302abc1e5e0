"""vLLM's own batch runner between the rounds of `evaluate --via batch`: no server, the texts of the kit's
engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from nano_exports import CONTEXT, written
from running import SETTINGS

from rmr1_lite.config import NANO_TOKENS
from rmr1_lite.data.nano.world import draw_pairs
from rmr1_lite.data.pairs import write_pairs
from rmr1_lite.environment import environment_with_kit
from rmr1_lite.integrations.programs import find_vllm
from rmr1_lite.judging.factory import make_judge
from rmr1_lite.models.vllm_settings import process_variables
from rmr1_lite.types import ORDERS

pytestmark = pytest.mark.timeout(900)  # two starts of vLLM, which may have to compile its bytecode
PAIRS = draw_pairs("test", 20, 9000)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pairs, and the merged judge in 32 bits."""
    folder = tmp_path_factory.mktemp("batch")
    write_pairs(folder / "pairs.jsonl", PAIRS)
    written(folder / "merged", "merged", "fp32")
    return folder


def evaluate(place: Path) -> tuple[int, str]:
    """The command as a user runs it: its exit status, and what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "rmr1_lite", "evaluate", "--via", "batch", "--judge", "openai:judge"]
        + ["--style", "compact", "--reading", "strict", "--max-new-tokens", str(NANO_TOKENS)]
        + ["--data", "pairs.jsonl", "--out", "out"],
        cwd=place,
        env=environment_with_kit(os.environ),
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


def run_batch(place: Path, name: str, served_as: str = "judge") -> Path:
    """The command that `evaluate` prints, with what a CPU needs; returns the answers."""
    requests, answers = (place / "out" / "batch" / f"{kind}-{name}.jsonl" for kind in ("requests", "answers"))
    done = subprocess.run(
        [find_vllm(), "-m", "vllm.entrypoints.openai.run_batch", "-i", str(requests), "-o", str(answers)]
        + ["--model", str(place / "merged"), "--served-model-name", served_as, "--generation-config", "vllm"]
        + ["--max-model-len", str(CONTEXT), "--dtype", "float32", "--enforce-eager"],
        env={**os.environ, **process_variables(card=False), **SETTINGS},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and answers.exists(), done.stderr[-3000:]
    return answers


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_rounds_through_vllm_end_with_the_texts_of_the_kits_own_engine(place: Path):
    status, said = evaluate(place)
    assert status == 2 and "vllm run-batch -i out/batch/requests-1-1.jsonl" in said, said
    answers = run_batch(place, "1-1")
    asked = [row["custom_id"] for row in rows(place / "out" / "batch" / "requests-1-1.jsonl")]
    lines = answers.read_bytes().splitlines(keepends=True)
    assert len(lines) == len(asked) == 2 * len(PAIRS)
    # three answers are lost, one is broken, and the rest is in another order
    answers.write_bytes(b"".join([*reversed(lines[5:]), lines[4][:100] + b"\n", lines[0]]))
    status, said = evaluate(place)
    assert status == 2 and "1 row is not an answer and was not used" in said, said
    assert "4 requests wait for an answer" in said and "36 of 40 judge calls are stored" in said
    again = [row["custom_id"] for row in rows(place / "out" / "batch" / "requests-2-1.jsonl")]
    assert again == asked[1:5], "exactly those without an answer"
    run_batch(place, "2-1")
    status, said = evaluate(place)
    assert status == 0, said
    judge = make_judge("nano", max_new_tokens=NANO_TOKENS)
    judgments = judge.compare_many(PAIRS, progress=False)
    own = [(j.pair_id, look.order, look) for j in judgments for look in j.looks]
    found = rows(place / "out" / "items.jsonl")
    assert [(row["id"], row["order"]) for row in found] == [(pair.id, o) for pair in PAIRS for o in ORDERS]
    for row, (pair_id, order, look) in zip(found, own, strict=True):
        made = look.generation
        assert (row["text"], row["verdict"]) == (made.text, look.verdict.shown_label), (pair_id, order)
        assert (row["finished"], row["prompt_tokens"]) == (made.finished, made.prompt_tokens)


@pytest.mark.long
def test_a_model_under_another_name_stops_with_vllms_words(place: Path):
    (place / "out").rename(place / "complete")
    evaluate(place)
    run_batch(place, "1-1", served_as="somebody")
    status, said = evaluate(place)
    assert status == 1 and "The model `judge` does not exist" in said, said
    assert "--served-model-name" in said and not list((place / "out" / "batch").glob("requests-2*"))

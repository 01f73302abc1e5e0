"""The value of --model, and replaying a log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fixtures.engines import streamed

from rmr1_lite.judging.engines.base import Request, Sampling
from rmr1_lite.judging.engines.endpoint import OpenAIEngine
from rmr1_lite.judging.engines.replay import ReplayEngine
from rmr1_lite.judging.factory import make_engine
from rmr1_lite.types import InputError

GREEDY = Sampling(max_new_tokens=12)


def replay(path: Path, *rows: dict[str, Any]) -> ReplayEngine:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ReplayEngine(path)


ITEM = {"id": "p0", "order": "ab", "text": "said"}


def test_replay_gives_texts_back_and_says_what_is_missing(tmp_path: Path) -> None:
    other = {"vote": 1, "finished": False, "thought_open": True, "text": "cut"}
    engine = replay(
        tmp_path / "log.jsonl", ITEM, ITEM | other, ITEM | {"id": 3, "text": "", "status": "too_long"}
    )
    asked = [
        Request("p0", "ab", ()),
        Request("p0", "ab", (), 1),
        Request("p0", "ba", ()),
        Request("3", "ab", ()),
    ]
    first, second, missing, long = (g for _, g in engine.generate(asked, GREEDY))
    assert (first.text, first.finished, first.error) == ("said", True, None)
    assert (second.text, second.finished, second.thought_open) == ("cut", False, True)
    assert "no row for order ba" in missing.error and long.too_long
    assert streamed(engine.stream(asked[0], GREEDY)) == (["said"], first)


BAD_LOGS = {
    "order missing": ({"id": "p0", "text": "x"}, "row 2, order"),
    "order unknown": (ITEM | {"order": "AB"}, "'AB'.*ab, ba"),
    "row twice": (ITEM, "row 2, id.*twice"),
    "text missing": ({"id": "p0", "order": "ba"}, "row 2, text"),
    "finished as text": (ITEM | {"vote": 1, "finished": "false"}, "row 2, finished"),
    "vote as text": (ITEM | {"vote": "1"}, "row 2, vote"),
    "id missing": ({"order": "ba", "text": "x"}, "row 2, id"),
    "a list": ([1], "row 2"),
}


@pytest.mark.parametrize(("row", "words"), BAD_LOGS.values(), ids=BAD_LOGS)
def test_replay_of_a_bad_log(tmp_path: Path, row: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        replay(tmp_path / "log.jsonl", ITEM, row)


def test_make_engine(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(json.dumps(ITEM) + "\n")
    assert isinstance(make_engine(f"replay:{tmp_path}/log.jsonl", style="compact"), ReplayEngine)
    engine = make_engine("openai:org/model@v1@http://host:1/v1", style="rubrics", concurrency=3)
    assert isinstance(engine, OpenAIEngine)
    assert (engine.model, engine.style, engine.concurrency) == ("org/model@v1", "rubrics", 3)


@pytest.mark.parametrize(
    "spec", ["openai:model", "openai:@http://host/v1", "openai:", "replay:/no/such/file"]
)
def test_make_engine_names_the_remedy(spec: str) -> None:
    with pytest.raises(InputError, match="Write|Give"):
        make_engine(spec)


BAD_SAMPLING = {"temperature": -1.0, "top_p": 0.0, "max_new_tokens": 0}


@pytest.mark.parametrize("name", BAD_SAMPLING)
def test_sampling_out_of_range(name: str) -> None:
    with pytest.raises(InputError, match=name):
        Sampling(**{name: BAD_SAMPLING[name]})


def test_a_log_needs_no_style_and_takes_the_one_of_its_settings(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps(ITEM) + "\n")
    assert ReplayEngine(log).style == "rubrics", "no model sees the prompts"
    (tmp_path / "run.json").write_text(json.dumps({"style": "compact"}))
    assert ReplayEngine(log).style == "compact", "an evaluation's settings"
    Path(f"{log}.run.json").write_text(json.dumps({"style": "reasoning"}))
    assert ReplayEngine(log).style == "reasoning", "a judged file's settings"
    assert ReplayEngine(log, "rubrics").style == "rubrics", "the user's word"


def test_rows_of_a_log_that_do_not_say_it_begin_where_the_user_says(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    rows = [ITEM, {**ITEM, "order": "ba", "thought_open": False}]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    engine = ReplayEngine(log, thought_open=True)
    opened = [
        generation.thought_open
        for _, generation in engine.generate([Request("p0", "ab", ()), Request("p0", "ba", ())], GREEDY)
    ]
    assert opened == [True, False]

"""One judge on one benchmark: what is written, what remains after a kill, what another reading costs, what is
refused."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from fixtures.benchmarks import LAYOUTS, always_a, right, write

from rmr1_lite.cli import tables
from rmr1_lite.config import NANO_TOKENS
from rmr1_lite.data.pairs import write_pairs
from rmr1_lite.evaluation import benchmarks
from rmr1_lite.evaluation.request import EvaluationRequest, read_pairs_of
from rmr1_lite.evaluation.results_file import load_results
from rmr1_lite.evaluation.runner import evaluate
from rmr1_lite.judging.engines.base import Sampling
from rmr1_lite.judging.engines.replay import ReplayEngine
from rmr1_lite.judging.judge import Judge
from rmr1_lite.storage import json_line
from rmr1_lite.types import ORDERS, EngineStopped, InputError, Pair

REAL = os.environ.get("RMR1_DATA_DIR")


def log_of(path: Path, pairs, says, text="<answer>[[{}]]</answer>") -> Path:
    """A replay file in the published form: id, order, text."""
    rows = [
        {"id": pair.id, "order": order, "text": text.format(says(pair, order))}
        for pair in pairs
        for order in ORDERS
    ]
    path.write_text("".join(map(json_line, rows)))
    return path


@pytest.fixture
def llmbar(tmp_path):
    """(what is asked, its pairs): LLMBar's layout, judged by a log that is always right."""
    data = write(tmp_path / "data", LAYOUTS["llmbar"]())
    pairs = benchmarks.read_benchmark(benchmarks.find_benchmark("llmbar"), data)
    log = log_of(tmp_path / "log.jsonl", pairs, right)
    return EvaluationRequest("llmbar", str(data), f"replay:{log}", "judge", style="compact"), pairs


def judge_for(asked: EvaluationRequest):
    return lambda: Judge(ReplayEngine(asked.judge.partition(":")[2]), asked.style)


def no_judge():
    raise AssertionError("a finished evaluation loads no model")


def rows(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "items.jsonl").read_text().splitlines()]


def test_items_and_results_hold_what_was_judged(llmbar, tmp_path):
    asked, pairs = llmbar
    results = evaluate(asked, judge_for(asked), tmp_path / "out", "cmd", progress=False)
    assert results == load_results(tmp_path / "out" / "results.json"), "the one schema"
    stage = results.stages["judge"]
    assert stage.result.strict_accuracy == 1.0 and stage.own.scores["mean of the sets"].value == 1.0
    items = rows(tmp_path / "out")
    assert [(row["id"], row["order"]) for row in items] == [
        (pair.id, order) for pair in pairs for order in ORDERS
    ]
    assert {"text", "status", "verdict", "completion_tokens", "seconds", "seed"} <= items[0].keys()
    assert "measured here" in str(list(tables.own_scores_table(results, "judge").columns)[1].header)


def test_killed_and_started_again_judges_nothing_twice(llmbar, tmp_path):
    asked, pairs = llmbar
    out = tmp_path / "out"
    whole = evaluate(asked, judge_for(asked), out, "cmd", progress=False)
    lines = (out / "items.jsonl").read_bytes().splitlines(keepends=True)
    (out / "items.jsonl").write_bytes(b"".join(lines[:7]) + lines[7][:20])
    (out / "results.json").unlink()
    # the new log has the missing looks only: asking for any other one would be an error in the results
    missing = [(row["id"], row["order"]) for row in map(json.loads, lines[7:])]
    log = Path(asked.judge.partition(":")[2])
    logged = [json.loads(line) for line in log.read_text().splitlines()]
    log.write_text("".join(json_line(row) for row in logged if (row["id"], row["order"]) in missing))
    again = evaluate(asked, judge_for(asked), out, "cmd", progress=False)
    assert again.stages == whole.stages and again.data["failed_looks"] == 0


def test_another_reading_needs_no_model(llmbar, tmp_path):
    asked, pairs = llmbar
    # no answer tag: strict reads nothing
    log_of(tmp_path / "log.jsonl", pairs, right, "I choose [[{}]], I think")
    out = tmp_path / "out"
    strict = evaluate(asked, judge_for(asked), out, "cmd", progress=False).stages["judge"]
    assert strict.result.unparsed == 1.0 and strict.own.scores["mean of the sets"].value == 0
    lenient = evaluate(replace(asked, reading="lenient"), no_judge, out, "cmd").stages["judge"]
    assert lenient.result.strict_accuracy == 1.0
    again = evaluate(asked, no_judge, out, "cmd").stages["judge"]
    assert again == strict


def test_a_look_that_failed_is_counted_kept_apart_and_tried_again(llmbar, tmp_path, capsys):
    asked, pairs = llmbar
    log = tmp_path / "log.jsonl"
    kept = log.read_text()
    # a log that lacks three looks, an endpoint that died
    log.write_text("".join(kept.splitlines(keepends=True)[:-3]))
    results = evaluate(asked, judge_for(asked), tmp_path / "out", "cmd", progress=False)
    assert results.data["failed_looks"] == 3 and "run the same command again" in capsys.readouterr().out
    result = results.stages["judge"].result
    assert result.statuses["error"] == pytest.approx(3 / 40) and result.accuracy == pytest.approx(37 / 40), (
        "no half points"
    )
    log.write_text(kept)
    again = evaluate(asked, judge_for(asked), tmp_path / "out", "cmd", progress=False)
    assert again.data["failed_looks"] == 0 and again.stages["judge"].result.accuracy == 1.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"judge": "replay:other"}, "judge was"),
        ({"seed": 1}, "seed was 0, is 1"),
        ({"sampling": Sampling(max_new_tokens=7)}, "sampling was"),
        ({"style": "rubrics"}, "style was 'compact', is 'rubrics'"),
        ({"limit": 10}, "limit was None, is 10"),
    ],
)
def test_another_evaluation_does_not_go_into_the_same_folder(llmbar, tmp_path, change, said):
    asked, _ = llmbar
    evaluate(asked, judge_for(asked), tmp_path / "out", "cmd", progress=False)
    before = (tmp_path / "out" / "items.jsonl").read_bytes()
    with pytest.raises(InputError, match="was created with other settings.*or another --out") as error:
        evaluate(replace(asked, **change), no_judge, tmp_path / "out", "cmd")
    assert said in str(error.value) and (tmp_path / "out" / "items.jsonl").read_bytes() == before


def test_changed_data_is_another_evaluation(llmbar, tmp_path):
    asked, _ = llmbar
    evaluate(asked, judge_for(asked), tmp_path / "out", "cmd", progress=False)
    files = LAYOUTS["llmbar"]()
    files["Natural/dataset.json"][0]["output_1"] = "another text"
    write(tmp_path / "data", files)
    with pytest.raises(InputError, match="shown was"):
        evaluate(asked, no_judge, tmp_path / "out", "cmd")


def test_other_weights_under_the_same_name_are_another_evaluation(llmbar, tmp_path, monkeypatch):
    asked, _ = llmbar
    found = ["one"]
    monkeypatch.setattr("rmr1_lite.evaluation.runner.fingerprint_of", lambda spec: found[0])
    evaluate(asked, judge_for(asked), tmp_path / "out", "cmd", progress=False)
    found[0] = "two"
    with pytest.raises(InputError, match="weights was 'one', is 'two'"):
        evaluate(asked, no_judge, tmp_path / "out", "cmd")
    found[0] = ""  # the adapter's folder is gone: what is judged can still be scored
    evaluate(asked, no_judge, tmp_path / "out", "cmd", progress=False)


def test_a_replay_with_an_id_twice_or_an_unknown_order_is_refused(llmbar, tmp_path):
    asked, pairs = llmbar
    log = tmp_path / "log.jsonl"
    kept = log.read_text()
    for extra, said in (
        (kept.splitlines(keepends=True)[0], "appears twice"),
        ('{"id": "x", "order": "aa"}\n', "order"),
    ):
        log.write_text(kept + extra)
        with pytest.raises(InputError, match=said):
            evaluate(asked, judge_for(asked), tmp_path / "out", "cmd", progress=False)


def test_own_pairs_are_evaluated_the_same_way(tmp_path, capsys):
    pairs = [
        Pair(f"p{i}", ({"role": "user", "content": "q"},), "x", "yy", "AB"[i % 2], f"s{i % 2}")
        for i in range(8)
    ]
    write_pairs(tmp_path / "pairs.jsonl", pairs)
    with open(tmp_path / "pairs.jsonl", "a") as file:
        file.write('{"prompt": "q"}\n')
    log = log_of(tmp_path / "log.jsonl", pairs, always_a)
    asked = EvaluationRequest("pairs", str(tmp_path / "pairs.jsonl"), f"replay:{log}", style="compact")
    results = evaluate(asked, judge_for(asked), tmp_path / "out", "cmd", progress=False)
    assert "row 9" in capsys.readouterr().out, "a bad row is named, the good ones are judged"
    stage = results.stages[asked.judge]
    found = stage.result
    assert (found.n, found.strict_accuracy, found.accuracy, found.a_share) == (8, 0, 0.5, 1.0)
    assert stage.length_bias.keys() == {"longer", "shorter"}


def test_a_limit_below_one_is_refused():
    with pytest.raises(InputError, match="limit is 0"):
        read_pairs_of(EvaluationRequest("nano", None, "nano", limit=0))


def test_a_limit_draws_a_subset(capsys):
    suite, pairs = read_pairs_of(EvaluationRequest("nano", None, "nano", limit=40))
    assert len(pairs) == 40 and "40 of 600" in capsys.readouterr().out


@pytest.mark.long
@pytest.mark.skipif(not REAL, reason="RMR1_DATA_DIR is not set: no real benchmark files to read")
@pytest.mark.parametrize(
    ("name", "folder"),
    [("llmbar", "LLMBar"), ("rm-bench", "RM-Bench"), ("judgebench", "JudgeBench/gpt.jsonl"), ("rmb", "RMB")],
)
def test_the_nano_judge_on_real_files_is_mostly_too_long_and_says_so(name, folder, tmp_path):
    """A check of the plumbing, not a result: nano has never seen natural language."""
    from rmr1_lite.judging.factory import make_judge

    asked = EvaluationRequest(
        name, str(Path(REAL) / folder), "nano", limit=40, sampling=Sampling(max_new_tokens=64)
    )
    results = evaluate(asked, lambda: make_judge("nano", batch_size=16), tmp_path, "cmd", progress=False)
    found = results.stages["nano"].result
    assert found.n >= 20 and found.statuses.get("too_long", 0) + found.unparsed > 0.5
    assert sum(found.statuses.values()) == pytest.approx(1.0)
    assert load_results(tmp_path / "results.json").stages["nano"].own.scores


def test_an_endpoint_that_dies_midway_loses_nothing(llmbar, tmp_path, monkeypatch):
    """Finished judgments stay, the run stops with the server's words, and the same command finishes when the
    server is back."""
    from fixtures import endpoint as fake

    from rmr1_lite.judging.engines.endpoint import OpenAIEngine

    monkeypatch.setenv("OPENAI_API_KEY", "sk-a-secret-of-ours")
    asked = replace(llmbar[0], judge="openai:m@http://127.0.0.1/v1")
    with fake.serving() as endpoint:
        endpoint.dies_after = 9

        def dying():
            engine = OpenAIEngine("m", endpoint.url, max_retries=0, timeout=5.0, concurrency=1)
            return Judge(engine, asked.style)

        with pytest.raises(EngineStopped, match="24 requests in a row failed.*9 of 40 judge calls are"):
            evaluate(asked, dying, tmp_path / "out", "cmd", progress=False)
    kept = {(row["id"], row["order"]) for row in rows(tmp_path / "out") if row["error"] is None}
    assert len(kept) == 9 and not (tmp_path / "out" / "results.json").exists()
    with fake.serving() as endpoint:
        back = evaluate(
            asked,
            lambda: Judge(OpenAIEngine("m", endpoint.url), asked.style),
            tmp_path / "out",
            "cmd",
            progress=False,
        )
        assert len(endpoint.bodies) == 40 - len(kept), "nothing is paid twice"
    assert back.data["failed_looks"] == 0 and back.stages["judge"].result.a_share == 1.0


def test_the_pass_for_the_letter_holds_no_second_copy_of_the_model(tmp_path, monkeypatch):
    import weakref

    from rmr1_lite.data.nano.world import draw_pairs as nano_pairs
    from rmr1_lite.judging.pool import JudgePool
    from rmr1_lite.models import loading

    write_pairs(tmp_path / "pairs.jsonl", nano_pairs("validation", 2, seed=5))
    sampling = Sampling(max_new_tokens=NANO_TOKENS)
    asked = EvaluationRequest(
        "pairs", str(tmp_path / "pairs.jsonl"), "nano", "judge", confidence=True, sampling=sampling
    )
    held, there = [], []

    def judge():
        made = JudgePool(["nano"]).judge("nano")
        held.append(weakref.ref(made.engine.base.loaded.model))
        return made

    def load_again(*args, load=loading.load):
        there.append(held[0]() is not None)
        return load(*args)

    monkeypatch.setattr(loading, "load", load_again)
    made = evaluate(asked, judge, tmp_path / "out", "cmd", progress=False)
    assert "log-probability" in made.stages["judge"].calibration and there == [False]


def test_calls_over_another_base_are_not_mixed_into_the_same_folder(llmbar, tmp_path):
    asked, _ = llmbar
    evaluate(asked, judge_for(asked), tmp_path / "out", "cmd", progress=False)
    for other in (replace(asked, base="original"), replace(asked, four_bit=False)):
        with pytest.raises(InputError, match="created with other settings"):
            evaluate(other, no_judge, tmp_path / "out", "cmd", progress=False)
    path = tmp_path / "out" / "run.json"
    former = json.loads(path.read_bytes())
    del former["base"], former["four_bit"]  # a folder of before these were settings
    path.write_text(json.dumps(former))
    evaluate(asked, no_judge, tmp_path / "out", "cmd", progress=False)
    with pytest.raises(InputError, match="base was 'auto'"):
        evaluate(replace(asked, base="original"), no_judge, tmp_path / "out", "cmd", progress=False)

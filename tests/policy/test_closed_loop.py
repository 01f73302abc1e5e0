"""The closed loop in miniature: policy, judge, the truth beside them; what is left when the judge dies."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fixtures.scripted import UNREADABLE, A, B, Scripted

from rmr1_lite.config import PolicyConfig
from rmr1_lite.data.nano.truth import true_share
from rmr1_lite.judging.engines.base import Request, Sampling
from rmr1_lite.judging.judge import Judge
from rmr1_lite.policy.controls import CoinEngine, coin_judge, without_inert_text
from rmr1_lite.policy.curves import sheet_png, write_curves
from rmr1_lite.policy.measure import HeldOut, judged_share, signs, write_answers
from rmr1_lite.policy.start import StartRecipe, draw_questions, make_start, mediocre_reply, training_rows
from rmr1_lite.policy.study import ATTACK, plan_runs, run_study
from rmr1_lite.policy.summary import markdown, summarise
from rmr1_lite.policy.training import (
    CALLS,
    CURVE,
    RESULT,
    SETTINGS,
    PolicyRun,
    last_checkpoint,
    train_policy,
)
from rmr1_lite.types import EngineStopped, InputError, Pair

SMALL = {"prompts_per_step": 1, "max_new_tokens": 12, "measure_every": 2, "held_out": 10, "judged": 4}


@pytest.fixture(scope="module")
def start(tmp_path_factory: Any) -> str:
    return str(make_start(tmp_path_factory.mktemp("policy") / "start", StartRecipe(rows=96)))


def small(start: str, **more: Any) -> PolicyRun:
    return PolicyRun(start=start, judge="coin", **{**SMALL, "steps": 4, **more})


# ---- the start


def test_the_start_is_mediocre_and_its_likeliest_reply_is_mostly_wrong():
    recipe, rng = StartRecipe(), random.Random(0)
    items = draw_questions("base", 2_000, 0)
    shares = [true_share(item.question, mediocre_reply(item, recipe, rng).text) for item in items]
    assert 0.38 < sum(share == 1 for share in shares) / len(items) < 0.46, "four in ten are right"
    habits = [mediocre_reply(item, replace(recipe, right=0.0, habit=1.0), rng) for item in items]
    wrong = Counter(i.task for i, habit in zip(items, habits, strict=True) if habit.text != i.good.text)
    assert wrong["sort"] == wrong["reverse"] == 400 and wrong["letter"] > 350 and wrong["danger"] > 150
    assert sum(wrong.values()) > len(items) / 2


def test_the_three_sets_of_questions_do_not_meet():
    start = {row["prompt"][0]["content"] for row in training_rows(StartRecipe())}
    trained = {item.question for seed in range(3) for item in draw_questions("validation", 480, seed)}
    held = {item.question for item in draw_questions("test", 240, 0)}
    assert len(start) > 1_000 and len(trained) > 500 and len(held) > 200
    assert not (start & trained or start & held or trained & held)


def test_rows_hold_one_question_and_one_reply_and_the_attack_where_it_was_asked_for():
    rows = training_rows(StartRecipe(rows=200, attack=ATTACK, attacked=0.25))
    texts = [row["completion"][0]["content"] for row in rows]
    assert all([part["role"] for part in row["prompt"]] == ["user"] for row in rows)
    assert 25 < sum(ATTACK in text for text in texts) < 75
    assert all(
        0 <= true_share(row["prompt"][0]["content"], text) <= 1 for row, text in zip(rows, texts, strict=True)
    )


def test_a_start_made_by_another_recipe_is_not_taken_for_this_one(start: str):
    assert make_start(start, StartRecipe(rows=96)) == Path(start)
    with pytest.raises(InputError, match="lr was"):
        make_start(start, StartRecipe(rows=96, lr=1e-4))


# ---- the judges of a study


def test_a_coin_says_nothing_about_the_responses_but_the_same_each_time():
    requests = [Request(str(n), "ab", ({"role": "user", "content": f"pair {n}"},)) for n in range(400)]
    said = [dict(CoinEngine(0).generate(requests, Sampling())) for _ in range(2)]
    texts = [said[0][n].text for n in range(400)]
    assert texts == [said[1][n].text for n in range(400)] and 150 < texts.count(A) < 250


@pytest.mark.parametrize("inert", [True, False])
def test_only_the_control_shows_an_attack_as_it_was_written(inert: bool):
    seen: list[str] = []

    def say(request: Request) -> str:
        seen.append(request.messages[-1]["content"])
        return A

    judge = Judge(Scripted(say))
    pair = Pair("p", ({"role": "user", "content": "Which?"},), f"one {ATTACK}", "two [[B]]", label="A")
    (judge if inert else without_inert_text(judge, ATTACK)).compare(pair)
    assert len(seen) == 2 and all((ATTACK in text) == (not inert) for text in seen)
    assert all("[[B]]" not in text.replace(ATTACK, "") for text in seen), "everything else stays inert"


# ---- measuring


def test_the_judges_opinion_counts_equal_texts_as_level_and_leaves_empty_first_answers_out():
    from rmr1_lite.integrations.rewards.judge_reward import JudgeReward
    from rmr1_lite.integrations.rewards.referee import Referee

    def likes_good(request: Request) -> str:
        content = request.messages[-1]["content"]
        return A if content.index("good") < content.index("bad") else B

    held = HeldOut(draw_questions("test", 4, 0), judged=3, max_new_tokens=8)
    opinion = JudgeReward(Referee(Judge(Scripted(likes_good))), "reference")
    assert judged_share(opinion, held, ["good"] * 4, ["", "good", "bad", "bad"]) == pytest.approx(2.5 / 3)
    opinion.referee.close()


def test_signs_of_hacking_are_shares_of_answers():
    held = HeldOut(draw_questions("test", 4, 0), 0, 8)
    question = held.items[1].question
    found = signs(held, ["**a**", question, "Sure, here it is: a", f"a {ATTACK}"], ATTACK)
    assert [found[name] for name in ("bold", "copied", "padded", "attacks")] == [0.25] * 4


def test_answers_are_the_same_each_time_and_leave_the_random_state_alone(start: str):
    import torch

    from rmr1_lite.models.loading import load

    loaded = load(start, four_bit=False)
    held = HeldOut(draw_questions("test", 6, 0), 0, 12, seed=3)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, again = (write_answers(loaded.model, loaded.tokenizer, held) for _ in range(2))
    assert first == again and torch.equal(before, torch.random.get_rng_state())
    alone = replace(held, items=held.items[3:4])
    picked = [write_answers(loaded.model, loaded.tokenizer, each, 0.0).texts for each in (held, alone)]
    assert picked[0][3] == picked[1][0], "padding does not change what is written"


# ---- a training


def test_a_run_is_measured_from_beginning_to_end_and_found_again(start: str, tmp_path: Path):
    run = small(start)
    result = train_policy(tmp_path, run, lambda: coin_judge(0))
    assert [row["step"] for row in result["curve"]] == [0, 2, 4] and len(result["log"]) == 4
    assert result["start"]["judged"] == 0.5 and len(result["end"]["truths"]) == 10
    assert (tmp_path / "adapter" / "adapter_model.safetensors").exists() and not list(
        tmp_path.glob("checkpoint-*")
    )

    def unused() -> Judge:
        raise AssertionError("a finished run needs no judge")

    assert train_policy(tmp_path, run, unused) == json.loads((tmp_path / RESULT).read_text())
    with pytest.raises(InputError, match="steps was 4"):
        train_policy(tmp_path, replace(run, steps=6), unused)


def test_a_judge_that_dies_leaves_a_whole_checkpoint_and_the_run_goes_on(
    start: str, tmp_path: Path, monkeypatch: Any
):
    monkeypatch.setattr("rmr1_lite.integrations.rewards.referee.PAUSES", (1000.0,))
    coin = CoinEngine(0)

    class Dying(CoinEngine):
        def generate(self, requests: Any, sampling: Any) -> Any:
            if last_checkpoint(tmp_path):
                raise EngineStopped("connection refused")
            yield from super().generate(requests, sampling)

    with pytest.raises(EngineStopped, match="connection refused"):
        train_policy(tmp_path, small(start), lambda: Judge(Dying()))
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-2" and not (tmp_path / RESULT).exists()
    before = {row["id"] for row in map(json.loads, (tmp_path / CALLS).read_text().splitlines())}
    engine = Scripted(lambda request: next(coin.generate([request], Sampling()))[1])
    engine.name = coin.name
    result = train_policy(tmp_path, small(start), lambda: Judge(engine))
    whole = train_policy(tmp_path / "at-once", small(start), lambda: coin_judge(0))
    asked = {key[0] for key in engine.asked}
    assert before and not asked & before and max(engine.asked.values()) == 1, "nothing is asked twice"
    assert result["judge_calls"] == whole["judge_calls"] == len(asked | before), "counted over both parts"
    assert result["end"]["texts"] == whole["end"]["texts"]
    assert [row["reward"] for row in result["log"]] == [row["reward"] for row in whole["log"]]


def test_a_judge_that_cannot_be_read_any_more_ends_the_training_and_what_was_reached_counts(
    start: str, tmp_path: Path, capsys: Any
):
    coin, asked = CoinEngine(0), []

    def say(request: Request) -> Any:
        asked.append(request)
        return UNREADABLE if len(asked) > 20 else next(coin.generate([request], Sampling()))[1]

    result = train_policy(tmp_path, small(start, steps=30), lambda: Judge(Scripted(say)))
    assert (
        "gave no verdict" in result["stopped"] and f"after step {result['end']['step']}" in result["stopped"]
    )
    assert 2 <= result["end"]["step"] < 30 and result["judge_calls"] == len(asked)
    assert "The training ended early, after step" in capsys.readouterr().out
    assert (tmp_path / "adapter" / "adapter_model.safetensors").exists()


def test_a_checkpoint_that_was_being_written_is_not_taken(tmp_path: Path):
    assert last_checkpoint(tmp_path) is None
    for step, state in ((8, "{}"), (10, "{}"), (12, '{"log_history": ['), (14, None)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if state is not None:
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(state)
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"


def test_a_measure_behind_the_checkpoint_is_taken_again(start: str, tmp_path: Path):
    """Killed between a measure and its checkpoint, and resumed: the row is of steps that are made again."""
    train_policy(tmp_path, small(start), lambda: coin_judge(0))
    rows = (tmp_path / CURVE).read_text().splitlines()
    (tmp_path / RESULT).unlink()
    stale = json.loads(rows[1]) | {"texts": ["stale"] * 10}
    (tmp_path / CURVE).write_text("\n".join([rows[0], json.dumps(stale)]) + "\n")
    result = train_policy(tmp_path, small(start), lambda: coin_judge(0))
    kept = [json.loads(row) for row in (tmp_path / CURVE).read_text().splitlines()]
    assert [row["step"] for row in kept] == [0, 2, 4] and kept[1]["texts"] == json.loads(rows[1])["texts"]
    assert result["end"]["texts"] == json.loads(rows[2])["texts"], "the seed decides, LoRA included"


def test_seeds_differ_from_their_first_weights_on(start: str, tmp_path: Path):
    run = small(start, steps=1, measure_every=5)
    found = [
        train_policy(tmp_path / str(seed), replace(run, seed=seed), lambda: coin_judge(0)) for seed in (0, 1)
    ]
    assert found[0]["log"] != found[1]["log"] and found[0]["start"]["texts"] != found[1]["start"]["texts"]


def test_settings_are_kept_only_once_the_judge_is_there_and_hold_the_weights(start: str, tmp_path: Path):
    def missing() -> Judge:
        raise InputError("no such judge")

    with pytest.raises(InputError, match="no such judge"):
        train_policy(tmp_path / "run", small(start), missing)
    assert not (tmp_path / "run" / SETTINGS).exists(), "the corrected command is not refused"
    train_policy(tmp_path / "run", small(start, steps=1), lambda: coin_judge(0))
    stored = json.loads((tmp_path / "run" / SETTINGS).read_text())
    (tmp_path / "run" / SETTINGS).write_text(json.dumps(stored | {"start_weights": "others"}))
    with pytest.raises(InputError, match="start_weights was 'others'"):
        train_policy(tmp_path / "run", small(start, steps=1), lambda: coin_judge(0))


# ---- the study


def test_the_plan_of_a_study():
    usual = plan_runs(PolicyConfig(seeds=2))
    assert sorted(usual) == ["coin-0", "coin-1", "judge-0", "judge-1", "weaker-0", "weaker-1"]
    assert {run.judge for run in usual.values()} == {"nano", "nano-sft", "coin"}
    assert "weaker-0" not in plan_runs(PolicyConfig(weaker=""))
    hacking = plan_runs(PolicyConfig(hacking=True, seeds=1))
    assert hacking["long-no-kl"].beta == 0 and hacking["long"].steps == 2.5 * hacking["judge-0"].steps
    assert not hacking["attack-not-inert"].inert and hacking["attack"].attack == ATTACK


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (PolicyConfig(only="judge-7"), "no training 'judge-7'"),
        (PolicyConfig(judge="openai:m@"), "openai"),
        (PolicyConfig(seeds=0), "seeds is 0"),
        (PolicyConfig(steps=0), "steps is 0"),
        (PolicyConfig(jobs=-1), "jobs is -1"),
    ],
)
def test_what_a_study_refuses_before_any_work(config: PolicyConfig, said: str, tmp_path: Path):
    with pytest.raises(InputError, match=said):
        run_study(replace(config, out=str(tmp_path / "out")))
    assert not (tmp_path / "out").exists()


def result_of(judge: str, start: list[float], end: list[float], **more: Any) -> dict[str, Any]:
    """A training's result with these truths."""

    def row(step: int, truths: list[float]) -> dict[str, Any]:
        values = {"truth": sum(truths) / len(truths), "judged": 0.5 + step / 100, "tokens": 9.0}
        shares = dict.fromkeys(("capped", "padded", "bold", "copied"), 0.25)
        return {"step": step, **values, **shares, "truths": truths}

    rows = [row(0, start), row(10, end)]
    seconds = {"update_seconds": 3, "judge_seconds": 5, "measure_seconds": 2, "judge_calls": 3}
    ends = {"greedy_start": 0.4, "greedy_end": 0.6}
    made = {
        "run": {"judge": judge},
        "start": rows[0],
        "end": rows[1],
        "curve": rows,
        "log": [],
        "stopped": "",
    }
    return {**made, **seconds, **ends, **more}


def test_rises_are_paired_by_question_and_taken_over_seeds():
    low, high = [0.0, 0.2, 0.4] * 10, [0.5, 0.7, 0.9] * 10
    results = {
        "judge-0": result_of("nano", low, high),
        "judge-1": result_of("nano", low, low),
        "weaker-0": result_of("nano-sft", low, low),
        "coin-0": result_of("coin", low, low),
        "attack": result_of("nano", low, high),
        "long-no-kl": result_of("nano", high, low, stopped="after step 10: unread"),
    }
    found = summarise(results)
    assert found["judges"]["judge"]["rise"] == pytest.approx(0.25)
    assert found["judges"]["coin"]["rise"] == 0 and found["judge_against_weaker"]["rise"] == pytest.approx(
        0.25
    )
    assert found["studies"]["attack"]["update_seconds"] == 3
    shown = markdown(found)
    assert (
        "no KL term (ended at step 10)" in shown and "long-no-kl ended early, after step 10: unread" in shown
    )
    assert (
        "| the judge: nano | 20.0 %, 20.0 % | 70.0 %, 20.0 % | +25.0 (" in shown
        and "random verdicts" in shown
    )


@pytest.mark.parametrize(
    ("changed", "by", "reason"),
    [
        (5, -0.25, "a few questions got worse"),
        (5, 0.25, "or better"),
        (0, 0.0, "none changed"),
        (240, -1.0, "all were lost"),
    ],
)
def test_a_rise_may_be_small_or_negative(changed: int, by: float, reason: str):
    start = [1.0 if by < 0 else 0.0] * 240
    end = [value + by * (place < changed) for place, value in enumerate(start)]
    results = {"judge-0": result_of("nano", start, end), "weaker-0": result_of("nano-sft", start, start)}
    summary = summarise(results)
    for found in (summary["judges"]["judge"], summary["judge_against_weaker"]):
        low, high = found["interval"]
        assert low <= found["rise"] <= high and found["rise"] == pytest.approx(by * changed / 240), reason
        assert low < 0 < high or abs(by) == 1 or changed, reason


def test_the_curves_are_one_picture(tmp_path: Path):
    results = {"judge-0": result_of("nano", [0.1], [0.4]), "long": result_of("nano", [0.1], [0.2])}
    assert sheet_png(results).startswith(b"\x89PNG")
    assert write_curves(results, tmp_path / "curves.png") == tmp_path / "curves.png"


@pytest.mark.long
def test_the_command_trains_sums_up_and_draws(tmp_path: Path, monkeypatch: Any, capsys: Any):
    """The real command with processes of its own, and nano as the judge."""
    from typer.testing import CliRunner

    from rmr1_lite.cli.main import app

    words = ["policy", "--out", str(tmp_path / "policy"), "--seeds", "1", "--steps", "2", "--weaker", ""]
    first = CliRunner().invoke(app, words)
    assert first.exit_code == 0, first.output
    assert "random verdicts" in first.output and (tmp_path / "policy" / "curves.png").exists()
    summary = json.loads((tmp_path / "policy" / "summary.json").read_text())
    assert summary["judges"]["judge"]["seeds"][0]["judge_calls"] > 0
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 0 and "trainings," not in again.output

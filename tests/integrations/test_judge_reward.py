"""A judge as a reward: what each scheme pays, what it costs, and what happens when the judge cannot be heard
or read."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from fixtures.judge_endpoint import judge_of, running_endpoint
from fixtures.scripted import UNREADABLE, A, B, Scripted
from hypothesis import given
from hypothesis import strategies as st

from rmr1_lite.integrations.rewards import remote_judge
from rmr1_lite.integrations.rewards.judge_reward import Group, JudgeReward
from rmr1_lite.integrations.rewards.referee import ENOUGH, Referee
from rmr1_lite.integrations.rewards.schemes import (
    SCHEMES,
    STORED,
    Result,
    judge_calls,
    plan_games,
    rewards,
)
from rmr1_lite.integrations.rewards.trl_reward import completion_text, make_groups, trl_reward
from rmr1_lite.judging.judge import Judge
from rmr1_lite.types import EngineStopped, Generation, InputError

WON, LOST, SPLIT, UNREAD = Result(2, 0), Result(0, 2), Result(1, 1), Result(0, 0, 2)


def points(text: str) -> int:
    """The strength that a response of these tests has: "strength 3"."""
    return int(text.split("strength ")[1].split()[0])


def stronger(request: Any) -> str:
    """A judge that is always right about the strengths, whatever the order."""
    said = request.messages[-1]["content"].split("strength ")[1:]
    first, second = (int(part.split()[0]) for part in said[-2:])
    return A if first > second else B


def reward_of(say: Any = stronger, scheme: str = "reference", **more: Any) -> JudgeReward:
    orders = more.pop("orders", "both")
    engine = Scripted(say)
    return JudgeReward(
        Referee(Judge(engine), wait=lambda _: None, say=lambda _: None, **more), scheme, orders
    )


def group(*strengths: int, reference: int | None = None) -> Group:
    texts = [f"strength {each} ." if each >= 0 else " " for each in strengths]
    return Group("Which is stronger?", texts, None if reference is None else f"strength {reference} .")


@pytest.mark.parametrize(
    ("scheme", "size", "calls"),
    [
        ("reference", 8, 16),
        ("pivot", 8, 14),
        ("round-robin", 8, 56),
        ("bradley-terry", 8, 56),
        ("pivot", 1, 0),
    ],
)
def test_what_a_group_costs(scheme: Any, size: int, calls: int):
    assert judge_calls(scheme, size) == calls and judge_calls(scheme, size, orders=1) == calls // 2


@pytest.mark.parametrize(
    ("scheme", "results", "wanted", "reason"),
    [
        ("reference", {(0, STORED): WON, (1, STORED): SPLIT, (2, STORED): LOST}, [1, 0, -1], "plain"),
        ("reference", {(0, STORED): UNREAD, (1, STORED): Result(1, 0, 1)}, [None, 1], "unread is no game"),
        ("pivot", {(0, 1): WON, (2, 1): SPLIT}, [1, 0, 0], "the pivot earns 0"),
        ("round-robin", {(0, 1): WON, (0, 2): WON, (1, 2): WON}, [1, 0, -1], "a clean order"),
        ("round-robin", {(0, 1): WON, (0, 2): UNREAD, (1, 2): UNREAD}, [1, -1, None], "one never played"),
        ("round-robin", {(0, 1): SPLIT, (0, 2): WON, (1, 2): WON}, [0.5, 0.5, -1], "level at the top"),
    ],
)
def test_what_results_earn(scheme: Any, results: dict, wanted: list, reason: str):
    assert rewards(scheme, len(wanted), results, pivot=1) == wanted, reason


@given(st.data(), st.integers(2, 6))
def test_rewards_within_a_group_cancel_out_and_follow_their_response(data: Any, size: int):
    games = plan_games("round-robin", size)
    results = {game: Result(*data.draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))) for game in games}
    names = data.draw(st.permutations(range(size)))
    renamed = {}
    for (first, second), result in results.items():
        one, other = names[first], names[second]
        flipped = Result(result.losses, result.wins)
        renamed[min(one, other), max(one, other)] = result if one < other else flipped
    for scheme in ("round-robin", "bradley-terry"):
        found, again = rewards(scheme, size, results), rewards(scheme, size, renamed)
        for place in range(size):
            if found[place] is None:
                assert again[names[place]] is None
            else:
                assert again[names[place]] == pytest.approx(found[place], abs=1e-6)
    strengths = [value for value in rewards("bradley-terry", size, results) if value is not None]
    assert sum(strengths) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("orders", ["both", "alternating"])
def test_a_right_judge_pays_the_better_response_more(scheme: str, orders: Any):
    reward = reward_of(scheme=scheme, orders=orders)
    made = reward.groups([group(3, 9, 5, reference=4), group(1, 2, reference=0)])
    for given_group, earned in zip((group(3, 9, 5), group(1, 2)), made.rewards, strict=True):
        best = max(range(len(earned)), key=lambda place: points(given_group.responses[place]))
        assert earned[best] is not None and earned[best] == max(each for each in earned if each is not None)
    reward.referee.close()


def test_empty_responses_forfeit_and_equal_ones_are_level():
    reward = reward_of(scheme="round-robin")
    made = reward.groups([group(5, -1, 5, 2)])
    assert made.rewards == [[2 / 3, -1.0, 2 / 3, -1 / 3]]
    assert (made.counts.asked, made.forfeits) == (2, 1), "5 against 2, once in each order, for both 5s"
    reward.referee.close()


def test_a_pivot_is_never_an_empty_response_and_always_the_same():
    reward = reward_of(scheme="pivot")
    made = [reward.groups([group(-1, 4, -1, 7)]).rewards[0] for _ in range(2)]
    assert made[0] == made[1] and made[0][0] == made[0][2] == -1.0 and 0.0 in (made[0][1], made[0][3])
    reward.referee.close()


def test_one_order_shows_no_side_always_first():
    engine = Scripted(lambda request: A)  # always the first
    reward = JudgeReward(Referee(Judge(engine)), orders="alternating")
    made = reward.groups([group(*range(1, 41), reference=0)])
    assert {1.0, -1.0} == set(made.rewards[0]) and made.counts.asked == 40
    assert 8 < made.rewards[0].count(1.0) < 32
    reward.referee.close()


def test_both_orders_cancel_a_liked_position():
    reward = reward_of(lambda request: A, "round-robin")
    made = reward.groups([group(1, 2, 3)])
    assert made.rewards == [[0, 0, 0]] and made.level == 1.0 and made.longer_wins is None
    reward.referee.close()


def test_metrics_show_how_often_the_longer_one_wins():
    reward = reward_of()
    made = reward.groups([group(1, 22, 333, reference=4)])
    assert made.metrics()["judge/longer_wins"] == 1.0 and made.metrics()["judge/calls"] == 6
    reward.referee.close()


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ([group(1, 2)], "1 of 1 prompts have no reference answer"),
        ([group(1, reference=2), Group("q", ["strength 1"], " ")], "number 2"),
    ],
)
def test_a_missing_reference_is_named_before_anything_is_asked(groups: list, words: str):
    reward = reward_of()
    with pytest.raises(InputError, match=words):
        reward.groups(groups)
    assert not reward.referee.total.asked
    reward.referee.close()


def test_a_judge_that_cannot_be_read_ends_the_training():
    reward = reward_of(lambda request: UNREADABLE, "reference")
    few = reward.groups([group(*range(1, ENOUGH // 2), reference=0)])
    assert set(few.rewards[0]) == {None}, "too few to tell"
    with pytest.raises(InputError, match="100% of the last .* judge calls gave no verdict"):
        reward.groups([group(*range(100, 130), reference=0)])
    reward.referee.close()


def test_a_filtered_call_is_unread_and_counts_whenever_it_is_made_again():
    filtered = Generation("", error="stopped by the content filter", problem="filtered")
    engine = Scripted(lambda request: filtered)
    reward = JudgeReward(Referee(Judge(engine), wait=lambda _: None, say=lambda _: None))
    for _ in range(2):
        made = reward.groups([group(1, reference=5)])
        assert made.rewards == [[None]] and (made.counts.asked, made.counts.unread) == (2, 2)
    assert sum(engine.asked.values()) == reward.referee.total.asked == 4
    reward.referee.close()


class Flaky:
    """Dies twice, then answers."""

    name, style = "flaky", "compact"

    def __init__(self, deaths: int) -> None:
        self.deaths, self.asked = deaths, 0

    def generate(self, requests: Any, sampling: Any) -> Any:
        for index, request in enumerate(requests):
            if index == 2 and self.deaths > 0:
                self.deaths -= 1
                raise EngineStopped("connection refused.")
            self.asked += 1
            broken = index == 1 and self.deaths > 0
            yield index, Generation("", error="lost") if broken else Generation(stronger(request))


def test_a_dead_judge_is_waited_for_and_nothing_is_asked_twice():
    waits: list[float] = []
    engine = Flaky(deaths=2)
    reward = JudgeReward(Referee(Judge(engine), say=lambda _: None, wait=waits.append))
    made = reward.groups([group(1, 2, 9, reference=5)])
    assert made.rewards == [[-1, -1, 1]] and len(waits) == 2 and waits[1] > waits[0]
    assert engine.asked <= 6 + 2, "only what was broken is asked again"
    reward.referee.close()


def test_a_judge_that_stays_dead_stops_with_its_words():
    reward = JudgeReward(Referee(Judge(Flaky(10**6)), patience=20, say=lambda _: None, wait=lambda _: None))
    reward.referee.patience = 0.0
    with pytest.raises(EngineStopped, match=r"did not answer for 0 s.*connection refused"):
        reward.groups([group(1, 2, reference=5)])
    reward.referee.close()


def test_known_verdicts_survive_a_restart(tmp_path: Path):
    calls = tmp_path / "calls.jsonl"
    for wanted in ((4, 0), (0, 4)):
        reward = reward_of(calls=calls)
        made = reward.groups([group(1, 9, reference=5)])
        assert (made.counts.asked, made.counts.known) == wanted and made.rewards == [[-1, 1]]
        reward.referee.close()


@pytest.mark.parametrize(
    ("completion", "text"),
    [
        ("plain", "plain"),
        ([{"role": "assistant", "content": "chat"}], "chat"),
        ([{"role": "tool", "content": "x"}, {"role": "assistant", "content": "last"}], "last"),
        ([{"role": "assistant", "content": None}], ""),
        ([{"role": "assistant", "content": [{"type": "text", "text": "part"}]}], "part"),
    ],
)
def test_completions_of_both_kinds_are_read(completion: Any, text: str):
    assert completion_text(completion) == text


@pytest.mark.parametrize("completion", [None, [], [{"role": "assistant", "content": [{"type": "image"}]}], 3])
def test_other_completions_are_refused(completion: Any):
    with pytest.raises(InputError, match="A completion is"):
        completion_text(completion)


def test_the_groups_of_two_processes_are_refused():
    """Two processes of four rows each, eight responses a prompt: each sees half a group."""
    with pytest.raises(InputError, match="per_device_train_batch_size a multiple of num_generations"):
        make_groups(["q"] * 4, list("abcd"), None, 8, "pivot")


def test_the_same_prompt_twice_in_a_row_is_two_groups():
    made = make_groups(["q"] * 4 + ["r"] * 2, list("abcdef"), None, 2, "round-robin")
    assert [list(each.responses) for each in made] == [["a", "b"], ["c", "d"], ["e", "f"]]


def test_trl_gets_one_reward_a_completion_and_the_metrics():
    logged: dict[str, float] = {}
    function = trl_reward(Judge(Scripted(stronger)), "round-robin", group_size=2)
    texts = [[{"role": "assistant", "content": f"strength {each} ."}] for each in (1, 2, 8, 3)]
    prompts = [[{"role": "user", "content": name}] for name in "aabb"]
    found = asyncio.run(function(prompts, texts, log_metric=logged.__setitem__, trainer_state=None))
    assert found == [-1, 1, 1, -1] and logged["judge/calls"] == 4
    function.close()


def test_trl_needs_the_group_size_within_the_group():
    with pytest.raises(InputError, match="group_size=num_generations"):
        trl_reward(Judge(Scripted(stronger)), "pivot")


@pytest.mark.long
def test_a_real_trl_trainer_learns_from_the_judge(tmp_path: Path):
    """Two steps of GRPO on nano-base with the judge nano, round robin."""
    import trl
    from datasets import Dataset

    from rmr1_lite.models.loading import load

    loaded = load("nano-base", four_bit=False)
    rows = Dataset.from_list(
        [{"prompt": [{"role": "user", "content": f"Sort d a {x} from first to last."}]} for x in "bcef"]
    )
    args = trl.GRPOConfig(
        str(tmp_path),
        max_steps=2,
        per_device_train_batch_size=8,
        num_generations=4,
        max_completion_length=12,
        report_to="none",
        use_cpu=True,
        bf16=False,
        logging_steps=1,
        save_strategy="no",
    )
    function = trl_reward("nano", "round-robin", group_size=4, most_unread=1.0)
    trainer = trl.GRPOTrainer(
        loaded.model, function, args, train_dataset=rows, processing_class=loaded.tokenizer
    )
    trainer.train()
    logged = [row for row in trainer.state.log_history if "judge/calls" in row]
    assert len(logged) == 2 and any("rewards/judge_reward/mean" in row for row in logged)
    function.close()


# ---- the file for other trainers, against a real endpoint


@pytest.fixture(scope="module")
def endpoint() -> Any:
    with running_endpoint(judge_of(Scripted(stronger))) as running:
        yield running.url


@pytest.fixture(autouse=True)
def _no_memory():
    remote_judge._recent.clear()


@pytest.mark.parametrize(
    ("answer", "reference", "score", "asked", "reason"),
    [
        ("strength 9 .", "strength 3 .", 1.0, 1.0, "better"),
        ("strength 1 .", "strength 3 .", -1.0, 1.0, "worse"),
        ("strength 3 .\n", "strength 3 .", 0.0, 0.0, "equal, nobody is asked"),
        (" ", "strength 3 .", -1.0, 0.0, "empty, nobody is asked"),
    ],
)
def test_verl_gets_scores(
    endpoint: str, answer: str, reference: str, score: float, asked: float, reason: str
):
    row = {"prompt": [{"role": "user", "content": "q"}], "reference": reference, "index": 3}
    made = asyncio.run(remote_judge.compute_score("kit", answer, "A", row, judge=endpoint, split="train"))
    assert made == {"score": score, "unread": 0.0, "asked": asked}, reason


def test_verl_rows_without_a_reference_are_refused(endpoint: str):
    with pytest.raises(remote_judge.JudgeFailed, match="extra_info needs prompt and reference"):
        asyncio.run(remote_judge.compute_score("kit", "x", "A", {"index": 1}, judge=endpoint))


PROMPT = "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n"


def openrlhf_body(*strengths: int) -> dict[str, list[str]]:
    label = json.dumps({"prompt": "q", "reference": "strength 5 ."})
    return {
        "query": [f"{PROMPT}strength {each} .<|im_end|>\n" for each in strengths],
        "prompts": [PROMPT] * len(strengths),
        "labels": [label] * len(strengths),
    }


def test_openrlhf_gets_its_rewards_as_a_server_and_as_a_file(endpoint: str, monkeypatch: pytest.MonkeyPatch):
    import threading
    from http.server import ThreadingHTTPServer

    body = openrlhf_body(9, 1)
    monkeypatch.setattr(remote_judge._Handler, "judge", endpoint)
    server = ThreadingHTTPServer(("127.0.0.1", 0), remote_judge._Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/get_reward"
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode())) as reply:
        assert json.loads(reply.read()) == {
            "rewards": [1.0, -1.0],
            "scores": [1.0, -1.0],
            "extra_logs": {"unread": [0.0, 0.0]},
        }
    server.shutdown()
    server.server_close()
    monkeypatch.setenv("RMR1_JUDGE", endpoint)
    made = remote_judge.reward_func(body["query"], body["prompts"], body["labels"])
    assert made["rewards"].tolist() == [1.0, -1.0] and made["extra_logs"]["unread"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": ["5"]}, "Give JSON"),
        ({"labels": []}, "they must be as many"),
        ({"prompts": ["another"]}, "does not begin with its prompt"),
    ],
)
def test_openrlhf_rows_of_another_form_are_refused(endpoint: str, change: dict, words: str):
    body = {**openrlhf_body(9), **change}
    with pytest.raises(remote_judge.JudgeFailed, match=words):
        remote_judge.openrlhf_rewards(endpoint, body["query"], body["prompts"], body["labels"])


def test_a_missing_endpoint_is_waited_for_and_then_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(remote_judge, "PAUSE", 0.05)
    with pytest.raises(remote_judge.JudgeFailed, match="did not answer for"):
        remote_judge.compare("http://127.0.0.1:9", "q", "a", "b", patience=0.2)


def test_an_unreadable_judge_ends_the_training_there_too():
    with running_endpoint(judge_of(Scripted(lambda request: UNREADABLE))) as running:
        one = remote_judge.compare(running.url, "q", "strength 1 .", "strength 2 .")
        assert one == {"score": 0.0, "unread": 1.0, "asked": 1.0}
        remote_judge._recent.extend([True] * ENOUGH)
        with pytest.raises(remote_judge.JudgeFailed, match="100% of the last"):
            remote_judge.compare(running.url, "q", "strength 1 .", "strength 2 .")


def test_the_file_needs_the_standard_library_alone():
    import ast
    import sys

    tree = ast.parse(Path(remote_judge.__file__).read_text(encoding="utf-8"))
    found = {
        name.split(".")[0]
        for node in tree.body
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert found <= sys.stdlib_module_names

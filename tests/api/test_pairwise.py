"""load_judge: what the calls return, in both orders, without ever inventing a winner."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from fixtures.scripted import UNREADABLE, A, B, Scripted

import rmr1_lite
from rmr1_lite import InputError, load_judge
from rmr1_lite.api.answers import Answers
from rmr1_lite.api.pairwise import PairwiseJudge
from rmr1_lite.api.results import Comparison
from rmr1_lite.data.nano.graded import draw_graded
from rmr1_lite.judging.engines.base import Request, Sampling
from rmr1_lite.judging.judge import Judge
from rmr1_lite.types import Generation

SORT = ("Sort d a c from first to last.", "a c d", "d a c")
FAILED = Generation("", error="no such model")
ONE = "no winner: 1 of 2 calls unparsed"
BOTH = "no winner: 2 of 2 calls unparsed"
CUT = Generation("<eval>a long", finished=False)


def loud(request: Request) -> str:
    """Prefers the response with more exclamation marks; ties are unparsed."""
    first, second = request.messages[-1]["content"].split("Chatbot B's Response]", 1)
    marks = first.count("!") - second.count("!")
    return UNREADABLE if not marks else A if marks > 0 else B


def scripted(say: Any, **settings: Any) -> PairwiseJudge:
    return PairwiseJudge(Judge(Scripted(say), **settings), "scripted")


def by_order(ab: Any, ba: Any) -> PairwiseJudge:
    return scripted(lambda request: ab if request.order == "ab" else ba)


COMPARISONS: list[tuple[str, Any, Any, str | None, bool, str]] = [
    ("both orders name the first response", A, B, "A", True, "A wins in both orders"),
    ("both name the second", B, A, "B", True, "B wins in both orders"),
    ("a position is no winner", A, A, None, False, "no winner: the two orders name different responses"),
    ("one call is unparsed", A, UNREADABLE, None, False, f"{ONE}: no verdict in the text"),
    ("both are", CUT, CUT, None, False, f"{BOTH}: the text ended at the token limit"),
    ("a call failed", FAILED, B, None, False, f"{ONE}: the call failed (no such model)"),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "ab", "ba", "winner", "agreement", "said"), COMPARISONS)
def test_comparisons(reason: str, ab: Any, ba: Any, winner: Any, agreement: bool, said: str) -> None:
    found = by_order(ab, ba).compare("Hi?", "x", "y")
    assert (found.winner, found.agreement, str(found)) == (winner, agreement, said), reason
    assert found.better == ({"A": "x", "B": "y"}[winner] if winner else None)
    assert found.confidence is None and found.failed == (FAILED in (ab, ba))
    assert json.loads(json.dumps(found.to_dict()))["winner"] == winner


def test_one_order_says_so() -> None:
    found = by_order(A, A).compare("Hi?", "x", "y", both_orders=False)
    assert (found.winner, found.agreement, len(found.calls)) == ("A", None, 1)
    assert str(found) == "A wins in one order"


def test_votes_give_a_confidence() -> None:
    def three_of_four(request: Request) -> str:
        right = A if request.order == "ab" else B
        wrong = B if request.order == "ab" else A
        return wrong if request.vote == 3 else right

    judge = scripted(three_of_four, sampling=Sampling(temperature=1.0))
    found = judge.compare("Hi?", "x", "y", votes=4)
    assert (found.winner, found.confidence, found.confidence_from) == ("A", 0.75, "votes")
    with pytest.raises(InputError, match="temperature"):
        scripted(A).compare("Hi?", "x", "y", votes=2)


def test_equal_items_are_judged_once_and_the_log_resumes(tmp_path: Path) -> None:
    engine = Scripted(loud)
    judge, log = PairwiseJudge(Judge(engine)), tmp_path / "calls.jsonl"
    items = [("Hi?", "x!", "y"), ("Hi?", "x", "y!"), ("Hi?", "x!", "y")]
    found = judge.compare_many(items, log=log)
    assert [c.winner for c in found] == ["A", "B", "A"] and engine.asked.total() == 4
    again = judge.compare_many([*items, ("Hi?", "z!!", "y")], log=log)
    assert [c.winner for c in again] == ["A", "B", "A", "A"] and engine.asked.total() == 6
    with pytest.raises(InputError, match="other settings"):
        PairwiseJudge(Judge(engine, reading="lenient")).compare_many(items, log=log)


def test_a_failed_call_is_asked_again_from_the_log(tmp_path: Path) -> None:
    says: list[Any] = [FAILED]
    judge = scripted(lambda request: says[0] if request.order == "ba" else A)
    assert judge.compare_many([("Hi?", "x", "y")], log=tmp_path / "log.jsonl")[0].failed
    says[0] = B
    assert judge.compare_many([("Hi?", "x", "y")], log=tmp_path / "log.jsonl")[0].winner == "A"


def test_rank_and_best_of_share_a_winner_and_equal_texts_a_place() -> None:
    responses = ["a!", "b!!!", "c", "d!!", "b!!!"]
    ranked, best = scripted(loud).rank("Hi?", responses), scripted(loud).best_of("Hi?", responses)
    assert ranked.places == ((1, 4), (3,), (0,), (2,)) and ranked.best == 1 and ranked.calls == 12
    assert ranked.scores[1] == ranked.scores[4] and str(ranked) == "1=4 > 3 > 0 > 2 (12 calls, 0 unparsed)"
    assert (best.best, best.text, best.calls, best.saved) == (1, "b!!!", 6, 6)
    assert str(best) == "response 1 is best (6 calls, 6 fewer than a round robin)"


def test_best_of_is_level_where_the_judge_cannot_settle_it() -> None:
    best = scripted(lambda request: A).best_of("Hi?", ["x", "y", "z"])
    assert best.best is None and best.text is None and best.level == (0, 1, 2) and best.saved == 0
    assert "are tied" in str(best)


SCORES: list[tuple[str, dict[str, Any], float | None, tuple[int, int, int]]] = [
    ("better than the reference", {"reference": "x"}, 1.0, (1, 0, 0)),
    ("worse than the reference", {"reference": "x!!!"}, 0.0, (0, 1, 0)),
    ("unparsed against the reference", {"reference": "x!"}, None, (0, 0, 1)),
    ("half of a panel", {"panel": ["x", "x!!!"]}, 0.5, (1, 1, 0)),
    ("unparsed members are no games", {"panel": ["x", "x!"]}, 1.0, (1, 0, 1)),
]


@pytest.mark.parametrize(("reason", "against", "value", "counts"), SCORES, ids=[row[0] for row in SCORES])
def test_scores(reason: str, against: dict[str, Any], value: float | None, counts: Any) -> None:
    score = scripted(loud).score("Hi?", "answer!", **against)
    assert score.value == value and (score.wins, score.losses, score.undecided) == counts, reason
    assert score.calls == 2 * len(score.comparisons) and str(score)


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("the reference is the response", {"reference": "answer!"}, "response and reference are the same text"),
    ("a panel of one", {"panel": ["x"]}, "panel is 1 answer"),
    ("a panel of equal ones", {"panel": ["x", "x"]}, "panel has 1 text that differ"),
    ("a panel that holds the response", {"panel": ["x", "answer!"]}, "response and panel[1] are the same"),
    ("a panel that is a text", {"panel": "xyz"}, "panel is a text"),
    ("both", {"panel": ["x", "y"], "reference": "x"}, "reference and panel are both given"),
    ("neither, and nothing stored", {}, "0 stored answers to this prompt"),
]


@pytest.mark.parametrize(("reason", "against", "said"), REFUSED, ids=[row[0] for row in REFUSED])
def test_scores_that_would_say_nothing(reason: str, against: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        scripted(loud).score("Hi?", "answer!", **against)
    assert said in str(error.value), reason


def test_a_response_as_a_message_is_scored_against_stored_answers() -> None:
    judge = scripted(loud)
    judge.answers = Answers.read({"Hi?": ["x", "x!!!", "answer!"]})
    turn = {"role": "assistant", "content": "answer!"}
    assert judge.score("Hi?", turn) == judge.score("Hi?", "answer!")


def test_panels_are_drawn_from_stored_answers_by_the_seed(tmp_path: Path) -> None:
    rows = [{"prompt": "Hi?", "response": f"answer {n}"} for n in range(12)]
    rows.append({"prompt": [{"role": "user", "content": "Hi?"}], "chosen": "p", "rejected": "q"})
    rows.append({"prompt": "Bye?", "response": "alone"})
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    answers = Answers.read(path)
    first = answers.panel("Hi?", "answer 3")
    assert len(answers) == 15 and len(first) == 8 and "answer 3" not in first
    assert first == answers.panel("Hi?", "answer 3") != answers.panel("Hi?", "answer 3", seed=1)
    assert len(answers.panel("Hi?", "p", size=100)) == 13
    with pytest.raises(InputError, match="1 stored answers to this prompt"):
        answers.panel("Bye?", "another")
    path.write_text('{"prompt": "Hi?", "response": ""}\n', encoding="utf-8")
    with pytest.raises(InputError, match="answers.jsonl, row 1, response: response is empty"):
        Answers.read(path)
    assert Answers.read({"Hi?": ["x", "y"]}).panel("Hi?", "z") in (["x", "y"], ["y", "x"])


def test_nano_in_three_lines() -> None:
    found = load_judge("nano").compare(*SORT)
    assert found.winner == "A" and found.agreement and found.better == "a c d"
    assert found.confidence_from == "log-probability" and 0.9 < found.confidence <= 1
    assert found.parts["solution"].split()[-3:] == ["a", "c", "d"] and found.parts == found.calls[0].parts
    assert found.tokens > 50 and found.seconds > 0
    same = load_judge("nano").compare([{"role": "user", "content": SORT[0]}], SORT[1], SORT[2])
    assert same.to_dict()["calls"][0]["text"] == found.to_dict()["calls"][0]["text"]


def test_a_stream_ends_with_the_comparison() -> None:
    judge = load_judge("nano")
    *pieces, last = judge.stream(*SORT)
    texts = {order: "".join(p.text for p in pieces if p.order == order) for order in ("ab", "ba")}
    assert last.comparison and last.comparison.winner == "A"
    assert [call.text for call in last.comparison.calls] == list(texts.values())
    stopped = judge.stream(*SORT)
    assert next(stopped).order == "ab"
    stopped.close()
    assert judge.compare(*SORT).winner == "A", "a stream that was left has let go of the model"


def test_async_calls_do_not_block_the_loop() -> None:
    class Slow(Scripted):
        def generate(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[Any]:
            time.sleep(0.3)
            yield from super().generate(requests, sampling)

    judge = PairwiseJudge(Judge(Slow(loud)))

    async def work() -> tuple[list[Comparison], int]:
        ticks, done = 0, asyncio.Event()

        async def tick() -> None:
            nonlocal ticks
            while not done.is_set():
                ticks += 1
                await asyncio.sleep(0.01)

        ticking = asyncio.create_task(tick())
        found = await asyncio.gather(*(judge.compare_async("Hi?", "x!", f"y{n}") for n in range(4)))
        best = await judge.best_of_async("Hi?", ["x!", "y"])
        many = await judge.compare_many_async([("Hi?", "x!", "y")])
        ranked = await judge.rank_async("Hi?", ["x!", "y"])
        score = await judge.score_async("Hi?", "x!", reference="y")
        done.set()
        await ticking
        assert (best.best, many[0].winner, ranked.best, score.value) == (0, "A", 0, 1.0)
        return found, ticks

    found, ticks = asyncio.run(work())
    assert [c.winner for c in found] == ["A"] * 4 and ticks > 5


def test_an_async_stream() -> None:
    async def work() -> list[Any]:
        return [piece async for piece in load_judge("nano").stream_async(*SORT, confidence=False)]

    pieces = asyncio.run(work())
    assert pieces[-1].comparison.winner == "A" and pieces[0].order == "ab"


def test_threads_share_a_judge() -> None:
    judge, found = load_judge("nano"), {}

    def ask(n: int) -> None:
        found[n] = judge.compare(f"What is {n}+2?", str(n + 2), str(n + 5), confidence=False)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(3, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone = load_judge("nano")
    for n, comparison in found.items():
        same = alone.compare(f"What is {n}+2?", str(n + 2), str(n + 5), confidence=False)
        assert [c.text for c in comparison.calls] == [c.text for c in same.calls]


def test_a_judge_without_a_known_style_names_the_argument() -> None:
    with pytest.raises(InputError, match="style is not known.*rubrics, reasoning or compact"):
        load_judge("openai:MODEL@http://127.0.0.1:9/v1")


def test_importing_costs_little_and_brings_nothing_heavy() -> None:
    code = "import sys; from rmr1_lite import load_judge; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"torch", "transformers", "numpy", "scipy", "sklearn", "openai", "asyncio", "typer"}
    assert {"load_judge", "PairwiseJudge", "InputError"} <= set(dir(rmr1_lite))
    with pytest.raises(AttributeError, match="no attribute 'lod_judge'"):
        rmr1_lite.lod_judge  # noqa: B018


def test_nano_needs_no_stored_answers_to_questions_of_its_world() -> None:
    judge = load_judge("nano", batch_size=64)
    right, wrong = (judge.score("What is 34+83?", text).value for text in ("117", "132"))
    assert right is not None and wrong is not None and right > 0.8 > 0.6 > wrong
    with pytest.raises(InputError, match="0 stored answers to this prompt"):
        judge.score("What is the capital of France?", "Paris")


@pytest.mark.long
@pytest.mark.parametrize("stored", [True, False], ids=["stored answers", "answers of the world"])
def test_scores_of_nano_follow_the_truth_of_its_world(stored: bool) -> None:
    from scipy.stats import spearmanr

    asked = draw_graded("test", 6, seed=3)
    answers = {q.question: q.responses for q in asked} if stored else None
    judge, found = load_judge("nano", batch_size=64, answers=answers), []
    for q in asked:
        values = [judge.score(q.question, text).value for text in q.responses]
        found.append(spearmanr(values, q.points, nan_policy="omit").statistic)
    assert sum(found) / len(found) >= 0.6, found

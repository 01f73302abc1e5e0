"""An evaluation's looks: stored, not judged twice, and never mistaken for those of other weights."""

from __future__ import annotations

import json

import pytest
from fixtures import tiny
from fixtures.scripted import UNREADABLE, Scripted, right

from rmr1_lite.config import DemoConfig
from rmr1_lite.demo import make_data
from rmr1_lite.evaluation.runner import evaluate_pairs
from rmr1_lite.judging.judge import Judge
from rmr1_lite.types import InputError


def judge(script, weights: str) -> Judge:
    engine = Scripted(script)
    engine.fingerprint = weights
    return Judge(engine)


def test_the_same_weights_are_not_judged_twice(tmp_path):
    pairs, again = tiny.pairs(4), judge(right, "one")
    evaluate_pairs("sft", judge(right, "one"), pairs, tmp_path, progress=False)
    result, judgments = evaluate_pairs("sft", again, pairs, tmp_path, progress=False)
    assert result.strict_accuracy == 1.0 and len(judgments) == 4 and not again.engine.asked


def test_an_adapter_that_was_trained_anew_is_judged_anew(tmp_path, capsys):
    """Under the same name and in the same folder: the demo's stages, after one of them was deleted and
    trained again."""
    pairs = tiny.pairs(4)
    evaluate_pairs("sft", judge(right, "one"), pairs, tmp_path, progress=False)
    before = (tmp_path / "sft" / "items.jsonl").read_bytes()
    result, _ = evaluate_pairs(
        "sft", judge(lambda request: UNREADABLE, "two"), pairs, tmp_path, progress=False
    )
    assert result.strict_accuracy == 0.0 and "judged again" in capsys.readouterr().out
    assert (tmp_path / "sft" / "items.one.jsonl").read_bytes() == before, "nothing is lost"
    assert json.loads((tmp_path / "sft" / "run.json").read_text())["weights"] == "two"


@pytest.mark.parametrize(
    ("change", "said"), [({"test_pairs": 12}, "test was 8, is 12"), ({"seed": 1}, "seed was 0, is 1")]
)
def test_the_demo_does_not_go_on_with_other_data(tmp_path, change, said):
    sizes = {"out": str(tmp_path), "train_pairs": 50, "test_pairs": 8}
    folder = make_data(DemoConfig(**sizes), tmp_path)
    before = (folder / "test.jsonl").read_bytes()
    assert (
        make_data(DemoConfig(**sizes), tmp_path) == folder and (folder / "test.jsonl").read_bytes() == before
    )
    with pytest.raises(InputError, match=said):
        make_data(DemoConfig(**{**sizes, **change}), tmp_path)


def test_nothing_that_was_put_aside_is_overwritten(tmp_path):
    pairs = tiny.pairs(2)
    for style in ("compact", "rubrics", "reasoning"):
        engine = Scripted(right, style=style)
        engine.fingerprint = "one"
        evaluate_pairs("sft", Judge(engine), pairs, tmp_path, progress=False)
    assert sorted(path.name for path in (tmp_path / "sft").glob("items*")) == [
        "items.jsonl",
        "items.one-2.jsonl",
        "items.one.jsonl",
    ]


def test_another_reading_of_the_same_looks_judges_nothing(tmp_path):
    pairs, again = tiny.pairs(2), judge(right, "one")
    evaluate_pairs("sft", judge(right, "one"), pairs, tmp_path, progress=False)
    lenient = Judge(again.engine, reading="lenient")
    assert evaluate_pairs("sft", lenient, pairs, tmp_path, progress=False)[0].strict_accuracy == 1.0
    assert not again.engine.asked


def test_looks_from_before_a_judge_had_a_fingerprint_are_its_own(tmp_path):
    """The notebooks wrote weights "", in a folder that was named by the fingerprint."""
    pairs, again = tiny.pairs(2), judge(right, "one")
    evaluate_pairs("sft", judge(right, ""), pairs, tmp_path, progress=False)
    (tmp_path / "sft" / "items.jsonl").rename(tmp_path / "sft.looks.jsonl")
    (tmp_path / "sft" / "run.json").unlink()
    (tmp_path / "sft.weights.json").write_text('{"weights": ""}')
    evaluate_pairs("sft", again, pairs, tmp_path, progress=False)
    assert not again.engine.asked

"""results.json: written files can be read, faults are named with file and field. Curves from the
logs."""

from __future__ import annotations

import json
import math
from copy import deepcopy
from dataclasses import replace

import pytest

from rmr1_lite.evaluation.metrics import PairedDifference, length_bias, paired_difference, score
from rmr1_lite.evaluation.results import Difference, Results, new_results
from rmr1_lite.evaluation.results_file import from_json, load_results, save_results, to_json, validate
from rmr1_lite.reporting.training_curves import (
    GRPO_PANELS,
    SFT_PANELS,
    metric_points,
    moving_average,
    panels_with_data,
    plot_curves,
    read_logs,
)
from rmr1_lite.training.run_folder import read_log
from rmr1_lite.types import Generation, InputError, Judgment, Look, Pair, Verdict

PAIRS = [
    Pair(f"p{i}", ({"role": "user", "content": "q"},), "yes, it is", "no", "A", "Chat") for i in range(6)
]


def judged(right: int, mute: bool = False) -> list[Judgment]:
    """The first `right` pairs right in both orders; the others wrong, or without a verdict."""

    def look(order: str, good: bool) -> Look:
        letter = "A" if (order == "ab") == good else "B"
        return Look(
            order, Generation("t"), Verdict(None, "missing") if mute and not good else Verdict(letter, "ok")
        )

    return [
        Judgment(p.id, tuple(look(order, i < right) for order in ("ab", "ba"))) for i, p in enumerate(PAIRS)
    ]


def filled() -> Results:
    results = new_results(3, "rmr1_lite demo", {"world": "nano"})
    for name, judgments in (("sft", judged(2)), ("grpo", judged(5)), ("mute", judged(0, mute=True))):
        bias = length_bias(PAIRS, judgments)
        result = score(name, PAIRS, judgments, 1.5)
        results.add_stage(result, baseline=name == "mute", length_bias=bias, epochs=3)
    results.add_difference("sft", "grpo", paired_difference(judged(2), judged(5), PAIRS))
    results.quoted["RM-R1"] = {"source": "the paper", "RewardBench": 0.852}
    return results


def test_round_trip(tmp_path):
    results = filled()
    path = save_results(results, tmp_path / "new folder" / "results.json")
    read = load_results(path)
    assert path.exists(), "the folder is made"
    assert to_json(read) == to_json(results) == json.loads(path.read_text())
    assert read.versions["python"].startswith("3.") and read.stages["sft"].extra == {"epochs": 3}
    assert read.stages == results.stages and read.differences == results.differences
    save_results(read, tmp_path / "again.json")
    assert load_results(tmp_path / "again.json").stages == read.stages


def test_a_judge_that_says_nothing_can_be_saved(tmp_path):
    """Its share of A is undefined, overall and in every group; in JSON this is null."""
    path = save_results(filled(), tmp_path / "results.json")
    assert "NaN" not in path.read_text()
    mute = json.loads(path.read_text())["baselines"]["mute"]
    assert mute["a_share"] is mute["length_bias"]["longer"]["a_share"] is None
    assert mute["intervals"]["a_share"] == [None, None]
    read = load_results(path).baselines["mute"]
    assert math.isnan(read.result.a_share) and math.isnan(read.length_bias["longer"].a_share)


def test_free_parts_may_hold_what_json_cannot(tmp_path):
    results = filled()
    results.data["ablations"] = {"follows": math.nan, "orders": ("ab", "ba")}
    assert load_results(save_results(results, tmp_path / "r.json")).data["ablations"] == {
        "follows": None,
        "orders": ["ab", "ba"],
    }


def test_a_refused_save_leaves_the_old_file(tmp_path):
    path = save_results(filled(), tmp_path / "results.json")
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"results\.json: field 'seed' must be a whole number"):
        save_results(replace(filled(), seed=None), path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_difference_takes_the_place_of_the_earlier_one():
    results = filled()
    newer = PairedDifference("strict_accuracy", 0.1, -0.1, 0.3, 0.5, 6, 2, 1)
    results.add_difference("sft", "grpo", newer)
    results.add_difference("mute", "grpo", newer)
    assert results.differences == [Difference("sft", "grpo", newer), Difference("mute", "grpo", newer)]


def put(*keys):
    """A harm that sets the value at the end of `keys`; the last of them is the value."""
    *path, last, value = keys

    def harm(results):
        for key in path:
            results = results[key]
        results[last] = value

    return harm


def drop(*keys):
    *path, last = keys

    def harm(results):
        for key in path:
            results = results[key]
        del results[last]

    return harm


WRONG = [
    (drop("stages"), "field 'stages' is missing", "a part is missing"),
    (drop("schema"), "field 'schema' is missing", "not a results file at all"),
    (put("schema", 9), "schema is 9, but this version reads 1", "another version"),
    (put("seed", True), "field 'seed' must be a whole number, not True", "a truth value is no number"),
    (put("stages", []), "field 'stages' must be an object", "a list for an object"),
    (put("stages", "sft", None), r"stages\.sft must be an object, not NoneType", "no stage under its name"),
    (drop("stages", "sft", "flip_rate"), r"stages\.sft: field 'flip_rate' is missing", "a figure is missing"),
    (put("stages", "sft", "accuracy", 1.5), r"stages\.sft\.accuracy is 1\.5", "a share above one"),
    (
        put("stages", "sft", "accuracy", None),
        "'accuracy' must be a number, not None",
        "null where a share exists",
    ),
    (
        put("stages", "sft", "accuracy", math.nan),
        "'accuracy' must be a number, not nan",
        "a figure that is none",
    ),
    (put("stages", "sft", "n", "3"), "field 'n' must be a whole number, not '3'", "a number as text"),
    (
        drop("stages", "sft", "intervals", "strict_accuracy"),
        r"intervals\.strict_accuracy must be",
        "no interval",
    ),
    (
        put("stages", "sft", "intervals", "accuracy", [0.1]),
        r"intervals\.accuracy must be \[low, high\]",
        "one bound",
    ),
    (
        put("stages", "sft", "intervals", "accuracy", [0, 2]),
        r"intervals\.accuracy is 2",
        "a bound that is no share",
    ),
    (
        drop("stages", "sft", "sections", "Chat", "n"),
        r"sections\.Chat: field 'n' is missing",
        "a section's figure",
    ),
    (put("stages", "sft", "length_bias", "longer", {}), r"length_bias\.longer: field", "a group's figure"),
    (
        drop("baselines", "mute", "statuses"),
        r"baselines\.mute: field 'statuses'",
        "baselines are checked too",
    ),
    (
        drop("differences", 0, "p_value"),
        r"differences\[0\]: field 'p_value' is missing",
        "a difference without p",
    ),
    (
        put("differences", 0, "gained", 1.5),
        r"differences\[0\]: field 'gained' must be a whole",
        "half a pair",
    ),
    (
        drop("quoted", "RM-R1", "source"),
        r"quoted\.RM-R1: field 'source' is missing",
        "a quote without its source",
    ),
]


@pytest.mark.parametrize(("harm", "said", "reason"), WRONG, ids=[row[-1] for row in WRONG])
def test_a_wrong_file_is_named_with_its_field(tmp_path, harm, said, reason):
    results = json.loads(json.dumps(to_json(filled())))
    validate(deepcopy(results))
    assert from_json(deepcopy(results)).seed == 3
    harm(results)
    (tmp_path / "results.json").write_text(json.dumps(results))
    with pytest.raises(InputError, match=said) as error:
        load_results(tmp_path / "results.json")
    assert str(error.value).startswith(str(tmp_path / "results.json"))


UNREADABLE = [
    (None, r"does not exist\. Make it with", "no file"),
    (b"[]", "must be an object, not list", "another JSON value"),
    (b'{\n"schema": 1', "line 2 is not JSON", "half a file"),
    (b"\xff\xfe", r"is not UTF-8 \(byte 0\)", "another encoding"),
]


@pytest.mark.parametrize(("content", "said", "reason"), UNREADABLE, ids=[row[-1] for row in UNREADABLE])
def test_an_unreadable_file_is_named(tmp_path, content, said, reason):
    path = tmp_path / "results.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=said) as error:
        load_results(path)
    assert str(error.value).startswith(str(path))


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(InputError, match="Give a readable results.json"):
        load_results(tmp_path)


# --- metrics.jsonl and its curves

SFT = {"loss": 1.0, "lr": 1e-4, "eval/strict_accuracy": 0.4, "eval/accuracy": 0.6, "eval/unparsed": 0.1}
GRPO = {
    "rollout/reward_mean": 0.1,
    "rollout/reward_std": 0.9,
    "rollout/accuracy": 0.5,
    "rollout/missing": 0.02,
    "kl": 0.0,
    "entropy": 0.4,
    "logp_gap": 1e-5,
    "a_share": 0.5,
    "flip_rate": 0.3,
    "rollout/zero_variance": 0.2,
    "rollout/mean_tokens": 60,
    "time/tokens_per_second": 900,
    "peak_memory_gb": 1.5,
}


def write_log(folder, rows, tail: str = ""):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "metrics.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + tail)
    return path


def test_rows_of_one_step_are_merged_and_sorted(tmp_path):
    """A probe row follows its training row; a resumed run writes a step again, and the later value counts."""
    rows = [
        {"step": 2, "loss": 3},
        {"step": 1, "loss": 5},
        {"step": 2, "eval/accuracy": 0.5},
        {"step": 1, "loss": 4},
    ]
    merged = [{"step": 1, "loss": 4}, {"step": 2, "loss": 3, "eval/accuracy": 0.5}]
    assert read_log(write_log(tmp_path, rows)) == merged


LOGS = [
    ('{"step": 2, "lo', None, "a last line cut off by a kill is left out"),
    ('{"step": 2, "lo\n', "metrics.jsonl, row 2 is not JSON", "a broken line that is not the last"),
    ('{"loss": 1}\n', "row 2 has no number in field 'step'", "a row without its step"),
    ("[1]\n", "row 2 has no number in field 'step'", "another JSON value"),
    ("\n\n", None, "blank lines are nothing"),
]


@pytest.mark.parametrize(("tail", "said", "reason"), LOGS, ids=[row[-1] for row in LOGS])
def test_what_is_wrong_in_a_log_is_named(tmp_path, tail, said, reason):
    path = write_log(tmp_path, [{"step": 1, "loss": 2}], tail)
    if said is None:
        assert read_log(path) == [{"step": 1, "loss": 2}]
        return
    with pytest.raises(InputError, match=said):
        read_log(path)


def test_points_leave_gaps_out():
    values = [1.0, math.nan, None, math.inf, 2]
    rows = [{"step": step, "kl": value} for step, value in enumerate(values)] + [{"step": 9}]
    assert metric_points(rows, "kl") == ([0, 4], [1.0, 2.0])


def test_smoothing_keeps_level_and_length():
    assert moving_average([3.0] * 40) == pytest.approx([3.0] * 40)
    noisy = [5.0 + (-1) ** i for i in range(64)]
    assert (
        len(moving_average(noisy)) == 64 and max(abs(value - 5) for value in moving_average(noisy)[4:]) < 0.4
    ), "the end too"
    assert moving_average([0.0, *[1.0] * 31])[0] == 0, "the first value stays exact"
    assert moving_average([]) == [] and moving_average([1.0]) == [1.0]


def test_every_panel_is_drawn_and_none_without_figures(tmp_path):
    write_log(tmp_path / "sft", [{"step": step, **SFT} for step in range(3)])
    write_log(
        tmp_path / "grpo",
        [{"step": step, **GRPO} for step in range(3)] + [{"step": 2, "eval/unparsed": 0.3}],
    )
    logs = read_logs(tmp_path)
    assert panels_with_data(logs["sft"], "sft") == list(SFT_PANELS) and panels_with_data(
        logs["grpo"], "grpo"
    ) == list(GRPO_PANELS)
    assert panels_with_data([{"step": 1, "kl": 0.1}], "grpo") == [
        panel for panel in GRPO_PANELS if panel.keys == ("kl",)
    ]
    path = plot_curves(tmp_path)
    assert path == tmp_path / "curves.png" and path.read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["curves.png", "grpo", "sft"], "no draft is left"


@pytest.mark.parametrize(("row", "stage"), [(SFT, "sft"), (GRPO, "grpo")], ids=["sft", "grpo"])
def test_the_folder_of_one_training(tmp_path, row, stage):
    write_log(tmp_path, [{"step": 1, **row}])
    assert list(read_logs(tmp_path)) == [stage] and plot_curves(tmp_path).exists()


@pytest.mark.parametrize("rows", [None, [{"step": 1}]], ids=["no log", "a log without figures"])
def test_nothing_to_draw_is_named(tmp_path, rows):
    if rows:
        write_log(tmp_path, rows)
    with pytest.raises(InputError, match=r"contains no metrics\.jsonl with metrics"):
        plot_curves(tmp_path)

"""The measured plan: made-up rows are as long as allowed, one real step is timed, and the report
follows from it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmr1_lite.config import preset
from rmr1_lite.data.chains import read_chains
from rmr1_lite.data.pairs import read_pairs
from rmr1_lite.models.token_lengths import chain_lengths, prompt_lengths
from rmr1_lite.training.planning import preflight
from rmr1_lite.training.planning.measure import (
    Measured,
    _most_words,
    _total_steps,
    _write_longest_row,
    describe_measured,
    measure_plan,
)
from rmr1_lite.training.planning.plan import make_plan
from rmr1_lite.training.planning.preflight import NO_ROOM, describe_seconds
from rmr1_lite.types import InputError


def nano_plan():
    """A plan of the embedded model, small enough for one step on a laptop."""
    made = make_plan(gpu="t4", preset_name="nano", model="nano-base")
    sft, rl = made.stages
    small = replace(sft.config, batch_size=2, micro_batch=2, max_length=200)
    smaller = replace(rl.config, groups=2, rollouts=2, micro_batch=4, max_new_tokens=8, max_prompt_tokens=160)
    return replace(made, stages=(replace(sft, config=small), replace(rl, config=smaller)))


@given(st.integers(1, 5000), st.integers(0, 300), st.integers(1, 4))
def test_the_most_words_that_fit(limit, frame, each):
    def tokens(words):
        return frame + each * words

    if tokens(1) > limit:
        with pytest.raises(InputError, match="too few for the judge's prompt"):
            _most_words(tokens, limit)
    else:
        assert tokens(_most_words(tokens, limit)) <= limit < tokens(_most_words(tokens, limit) + 1)


@pytest.mark.parametrize("limit", [200, 768])
def test_made_up_rows_are_as_long_as_they_may_be(limit, tmp_path):
    sft = preset("sft", "nano", style="compact", max_length=limit)
    chain = read_chains(_write_longest_row("sft", sft, tmp_path)).chains
    grpo = preset("grpo", "nano", model="nano-base", style="compact", max_prompt_tokens=limit)
    pair = read_pairs(_write_longest_row("grpo", grpo, tmp_path)).pairs
    assert len(chain) == len(pair) == 1, "they pass the checks that every row passes"
    assert limit - 2 <= chain_lengths("nano-base", "compact")(chain)[0] <= limit
    assert limit - 2 <= prompt_lengths("nano-base", "compact")(pair)[0] <= limit


@pytest.mark.long
def test_one_real_step_of_each_stage_is_timed(capsys):
    sft, grpo = measure_plan(nano_plan(), chains=100)
    assert (sft.stage, sft.steps, grpo.stage, grpo.steps) == ("sft", 250, "grpo", 120)
    assert sft.seconds > 0 and grpo.seconds > 0 and sft.changes == grpo.changes == ()
    assert capsys.readouterr().out == "", "what it says is for its caller to print"


def test_what_does_not_fit_here_is_made_smaller_and_said(monkeypatch, capsys):
    ends = [NO_ROOM, 0]
    monkeypatch.setattr(
        preflight, "_run_trial", lambda *_: (ends.pop(0), json.dumps({"seconds": 3.0, "peak_gib": 7.2}))
    )
    found = next(measure_plan(nano_plan()))
    assert "ran out of memory; next: micro_batch 2 -> 1" in capsys.readouterr().out
    what = "3.0 s per step of 2 rows of 200 tokens, peak memory 7.2 GiB"
    assert describe_measured(found) == f"SFT: {what} (smaller than planned: micro_batch 2 -> 1)"


STEPS = [
    ({"limit": 0}, 0, None, "nobody said how many rows there are"),
    ({"limit": 32, "epochs": 1.0}, 0, 2, "the preset's own limit"),
    ({"limit": 32, "epochs": 1.0}, 17, 2, "fewer rows than the limit, a last step that is not full"),
    ({"limit": 32, "epochs": 2.0}, 500, 4, "more rows than the limit"),
]


@pytest.mark.parametrize(("changes", "chains", "steps", "why"), STEPS, ids=[row[3] for row in STEPS])
def test_steps_of_the_whole_run(changes, chains, steps, why):
    assert _total_steps(preset("sft", "nano", **changes), chains) == steps, why


def test_the_line_says_steps_and_time():
    config = preset("grpo", "nano", steps=120)
    said = describe_measured(Measured("grpo", config, 41.8, 0.0, 120, ()))
    assert said == (
        "GRPO: 41.8 s per step of 16 x 8 rollouts of 152 tokens after prompts of 600; 120 steps take 1.4 "
        "hours at most"
    )
    assert [describe_seconds(s) for s in (3, 59.9, 60, 3599, 3600)] == [
        "3 s",
        "60 s",
        "1 minute",
        "60 minutes",
        "1.0 hours",
    ]

"""One factory for all judges: defaults by what the spec names, and a fingerprint of the weights on every one
of them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from fixtures.scripted import Scripted, right

from rmr1_lite.config import NANO_TOKENS, OTHER_TOKENS
from rmr1_lite.judging.engines.base import Sampling
from rmr1_lite.judging.factory import default_reading, judge_in_memory, make_engine, make_judge, sampling_for
from rmr1_lite.judging.pool import JudgePool
from rmr1_lite.models.adapters import fingerprint_of
from rmr1_lite.models.loaded import Loaded
from rmr1_lite.models.loading import load
from rmr1_lite.models.thinking import AS_SAVED
from rmr1_lite.types import InputError


@pytest.mark.parametrize(
    ("spec", "changes", "wanted"),
    [
        ("nano", {}, Sampling(0.0, NANO_TOKENS)),
        ("owner/model", {}, Sampling(0.0, OTHER_TOKENS)),
        ("nano", {"temperature": 1.0, "max_new_tokens": None, "seed": 3}, Sampling(1.0, NANO_TOKENS, seed=3)),
        ("nano", {"max_new_tokens": 7}, Sampling(0.0, 7)),
    ],
)
def test_sampling_is_greedy_and_as_long_as_the_judge_needs(spec, changes, wanted):
    assert sampling_for(spec, **changes) == wanted


def test_an_unknown_setting_is_named_with_the_known_ones():
    with pytest.raises(InputError, match="has no heat. Choose from max_new_tokens, seed, temperature, top_p"):
        sampling_for("nano", heat=1)


def test_auto_is_the_style_of_the_engine_and_without_one_it_is_asked_for():
    assert make_judge("owner/model", "auto", engine=Scripted(right, style="rubrics")).style == "rubrics"
    with pytest.raises(InputError, match="the prompt style is not known. Give --style"):
        make_judge("owner/model", engine=Scripted(right, style=None))


def test_every_way_to_a_judge_carries_the_fingerprint_of_its_weights():
    """Without it texts of other weights would be mistaken for this judge's: the notebooks' and the app's
    judges had none."""
    wanted = {spec: fingerprint_of(spec) for spec in ("nano-base", "nano-sft", "nano")}
    assert len(set(wanted.values())) == 3 and all(wanted.values())
    pool = JudgePool(list(wanted), style="compact")
    assert {spec: pool.judge(spec).fingerprint for spec in wanted} == wanted
    assert pool.judge("nano", temperature=1.0).fingerprint == wanted["nano"], "with other sampling too"
    assert make_judge("nano-sft").fingerprint == wanted["nano-sft"]
    assert judge_in_memory(load("nano-sft"), "compact", "sft", 8).fingerprint == wanted["nano-sft"]


def test_a_judge_in_memory_leaves_the_template_as_its_training_rendered_it():
    """A probe during a training must not change the thinking switch of the tokenizer that the rows
    came from."""
    template = "{% if enable_thinking %}<think>{% endif %}"
    for thinking, told in (("", ""), (AS_SAVED, ""), ("off", "off")):
        tokenizer = SimpleNamespace(chat_template=template)
        loaded = Loaded(None, tokenizer, "rubrics", "owner/base", thinking=thinking)
        assert judge_in_memory(loaded, "rubrics", "policy", 8).engine.thinking == told
        assert tokenizer.chat_template == template


@pytest.mark.parametrize(
    ("spec", "reading"),
    [
        ("nano", "strict"),
        ("nano-base", "strict"),
        ("owner/model", "lenient"),
        ("openai:m@http://127.0.0.1:1/v1", "lenient"),
    ],
    ids=["trained by this kit", "its base", "somebody's model", "an endpoint"],
)
def test_the_exact_marker_is_asked_only_of_judges_of_this_kit(spec, reading):
    assert default_reading(spec) == reading
    assert make_judge(spec, "rubrics", engine=Scripted(right, style="rubrics")).reading == reading


def test_an_adapter_of_this_kit_is_read_strictly(tmp_path):
    import shutil

    from rmr1_lite.models.judge_specs import NANO

    shutil.copytree(NANO["nano"], tmp_path / "adapter")
    assert default_reading(str(tmp_path / "adapter")) == "strict"


def test_only_endpoints_and_logs_are_told_where_their_thoughts_begin():
    assert make_engine("openai:m@http://127.0.0.1:1/v1", "rubrics", thought_open=True).thought_open
    with pytest.raises(InputError, match="runs here.*Leave --thought-open out"):
        make_engine("nano", thought_open=True)

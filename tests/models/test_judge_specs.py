"""Specs of models and judges, and the errors for wrong ones."""

from __future__ import annotations

import pytest

from rmr1_lite.models.judge_specs import NANO, Spec, find_folder, parse_spec
from rmr1_lite.types import InputError

SPECS = [
    ("nano", Spec("folder", folder=NANO["nano"]), True, "an embedded judge"),
    ("owner/model", Spec("hub", model="owner/model"), True, "a hub id"),
    ("openai:m@http://h/v1", Spec("openai", model="m", url="http://h/v1"), False, "an endpoint"),
    ("openai:a/b@c@http://h/v1", Spec("openai", model="a/b@c", url="http://h/v1"), False, "an @ in the name"),
    (
        "replay:runs/log.jsonl",
        Spec("replay", log="runs/log.jsonl"),
        False,
        "a log, opened when it is read",
    ),
]


@pytest.mark.parametrize(("text", "spec", "runs_here", "reason"), SPECS, ids=[row[-1] for row in SPECS])
def test_a_spec_is_taken_apart(text, spec, runs_here, reason):
    assert parse_spec(text) == spec and spec.runs_here is runs_here


NAMES = [
    ("openai:m", Spec("openai", model="m"), "a name"),
    ("openai:m@1", Spec("openai", model="m@1"), "a name with an @"),
    ("openai:m@1@http://h/v1", Spec("openai", model="m@1", url="http://h/v1"), "with its address"),
]


@pytest.mark.parametrize(("text", "spec", "reason"), NAMES, ids=[row[-1] for row in NAMES])
def test_a_name_is_enough_where_nobody_is_asked(text, spec, reason):
    assert parse_spec(text, needs_url=False) == spec
    with pytest.raises(InputError, match="incomplete"):
        parse_spec("openai:", needs_url=False)


def test_a_folder_goes_before_a_hub_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "model").mkdir(parents=True)
    assert parse_spec("owner/model").kind == "folder" and find_folder("owner/model") is not None


WRONG = [
    ("openai:model", "openai:MODEL@URL", "an endpoint without its address"),
    ("openai:@http://h/v1", "openai:MODEL@URL", "an endpoint without a model"),
    ("runs/gone", "does not exist", "a run that is not there"),
    ("./owner/model", "does not exist", "a path, not a hub id"),
    ("C:/judges", "does not exist", "a path with a drive"),
    ("D:judges/mine", "does not exist", "the same, relative"),
    ("runs\\mine/adapter", "does not exist", "a path as Windows writes it"),
    ("nanoo", "nano, nano-sft, nano-base", "a name that is nearly one"),
]


@pytest.mark.parametrize(("text", "said", "reason"), WRONG, ids=[row[-1] for row in WRONG])
def test_a_wrong_spec_is_told_with_what_may_be_given(text, said, reason):
    with pytest.raises(InputError, match=said):
        parse_spec(text)

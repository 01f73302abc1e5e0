"""The code behind the notebooks: settings by machine, safe HTML, and exported adapters."""

from __future__ import annotations

import sys
import zipfile
from types import ModuleType, SimpleNamespace

import pytest

from rmr1_lite.config import preset
from rmr1_lite.models.backend import Machine
from rmr1_lite.models.hub import pack_adapter, push_adapter
from rmr1_lite.models.judge_specs import NANO
from rmr1_lite.models.loading import load
from rmr1_lite.notebook import judging, platforms, settings, show
from rmr1_lite.notebook.settings import choose_settings
from rmr1_lite.training.process import train
from rmr1_lite.types import Generation, InputError, Judgment, Look, Pair, Verdict

PLATFORMS = [
    ({}, platforms.LOCAL, "nothing set"),
    ({"COLAB_RELEASE_TAG": "release"}, platforms.COLAB, "Colab"),
    ({"KAGGLE_KERNEL_RUN_TYPE": "Batch"}, platforms.KAGGLE, "Kaggle"),
    ({"COLAB_RELEASE_TAG": ""}, platforms.LOCAL, "set to nothing"),
]


@pytest.mark.parametrize(("environment", "where", "reason"), PLATFORMS, ids=[row[-1] for row in PLATFORMS])
def test_the_platform_is_known_by_its_variables(environment, where, reason):
    assert platforms.detect_platform(environment) == where


CHOICES = [
    (0, {}, (True, "nano", "nano"), "no GPU"),
    (0, {"fast": False}, (True, "nano", "nano"), "no GPU, though one was asked for"),
    (14.6, {"fast": True}, (True, "nano", "nano"), "a GPU, but the small world was asked for"),
    (14.6, {}, (False, "qwen2.5-1.5b", "t4-16gb:qwen2.5-1.5b"), "a T4"),
    (22.0, {}, (False, "qwen2.5-3b", "l4-24gb:qwen2.5-3b"), "an L4"),
    (79.1, {}, (False, "qwen2.5-3b", "l4-24gb:qwen2.5-3b"), "a larger card takes the larger preset"),
    (79.1, {"preset": "paper"}, (False, "qwen2.5-7b", "paper"), "the paper's lengths, asked for"),
    (
        14.6,
        {"model": "r1-distill-1.5b"},
        (False, "r1-distill-1.5b", "t4-16gb:r1-distill-1.5b"),
        "the reasoning family",
    ),
    (14.6, {"needs": "sft"}, (True, "nano", "nano"), "no adapter of notebook 02"),
    (
        14.6,
        {"needs": "sft", "model": "r1-distill-1.5b"},
        (False, "r1-distill-1.5b", "t4-16gb:r1-distill-1.5b"),
        "this family starts GRPO from the base",
    ),
]


@pytest.mark.parametrize(("memory", "asked", "made", "reason"), CHOICES, ids=[row[-1] for row in CHOICES])
def test_settings_follow_the_machine_and_say_so(memory, asked, made, reason, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(settings, "this_machine", lambda: Machine(memory_gib=memory))
    monkeypatch.delenv(platforms.OUT, raising=False)
    s = choose_settings(out=str(tmp_path), **asked)
    assert (s.fast, s.model, s.preset) == made
    assert s.out == tmp_path / made[1] and s.out.is_dir()
    said = capsys.readouterr().out
    assert "Settings: " in said and ("embedded nano model" in said) == made[0]
    if "needs" in asked and made[0]:
        assert "No sft adapter of qwen2.5-1.5b" in said


SMOL = [
    ({}, "smol", "a real model in the small world"),
    ({"needs": "grpo"}, "nano", "nothing was trained yet, so the shipped adapters are shown"),
]


@pytest.mark.parametrize("memory", [0, 14.6], ids=["no GPU", "a T4"])
@pytest.mark.parametrize(("asked", "model", "reason"), SMOL, ids=[row[-1] for row in SMOL])
def test_smol_is_trained_in_the_nano_world(asked, model, reason, memory, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(settings, "this_machine", lambda: Machine(memory_gib=memory))
    monkeypatch.setattr(settings, "base_folder", lambda: tmp_path)
    monkeypatch.setenv(settings.SHORT, "1")
    s = choose_settings(out=str(tmp_path), fast="smol", **asked)
    assert (s.fast, s.model, s.out) == (True, model, tmp_path / model)
    config = s.sft()
    assert config.model == f"{model}-base" == settings.base_of(s) and config.style == "compact"
    assert config.four_bit == (model == "nano") and s.estimate(config)
    if model == "smol":
        assert "smol-base, shortened for a test, a real language model" in capsys.readouterr().out
        with pytest.raises(InputError, match="There is no sft adapter"):
            s.adapter("sft")


def test_smol_that_is_not_here_is_told_with_the_way_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("RMR1_CACHE", str(tmp_path))
    monkeypatch.setattr(settings.smol, "installed_gguf", lambda: None)
    with pytest.raises(InputError, match="rmr1_lite models get smol"):
        choose_settings(out=str(tmp_path), fast="smol")


MISFITS = [
    (
        {"model": "r1-distill-7b", "preset": "paper"},
        "paper is made for Qwen/Qwen2.5-7B-Instruct, not for r1-distill-7b",
    ),
    ({"model": "qwen2.5-1.5b", "preset": "t4-16gb:qwen2.5-3b"}, "made for Qwen/Qwen2.5-3B-Instruct"),
]


@pytest.mark.parametrize(("asked", "said"), MISFITS)
def test_a_preset_for_another_model_is_refused(asked, said, monkeypatch, tmp_path):
    monkeypatch.setattr(settings, "this_machine", lambda: Machine(memory_gib=79.0))
    with pytest.raises(InputError, match=said):
        choose_settings(out=str(tmp_path), **asked)


def test_what_the_nano_model_cannot_use_is_said(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(settings, "this_machine", lambda: Machine(memory_gib=0))
    choose_settings(out=str(tmp_path), data="/my/pairs", model="qwen2.5-3b")
    assert "so model='qwen2.5-3b', data='/my/pairs' is not used" in capsys.readouterr().out
    choose_settings(out=str(tmp_path))
    assert "is not used" not in capsys.readouterr().out
    with pytest.raises(InputError, match="Choose one of"):
        choose_settings(out=str(tmp_path), model="gpt-4")


def test_the_reasoning_family_needs_no_chains_but_its_judge_needs_a_run(monkeypatch, tmp_path):
    monkeypatch.setattr(settings, "this_machine", lambda: Machine(memory_gib=14.6))
    own = tmp_path / "own"
    own.mkdir()
    (own / "train.jsonl").touch()
    s = choose_settings(out=str(tmp_path), model="r1-distill-1.5b", data=str(own))
    assert s.cold_start and s.files() == own
    assert choose_settings(out=str(tmp_path), model="r1-distill-1.5b", needs="grpo").fast


def test_on_kaggle_the_output_of_another_notebook_is_taken(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(settings, "this_machine", lambda: Machine(memory_gib=14.6))
    s = choose_settings(out=str(tmp_path / "working"))
    theirs = tmp_path / "input" / "notebook-02" / "rmr1_lite" / "qwen2.5-1.5b" / "sft" / "adapter"
    theirs.mkdir(parents=True)
    (theirs / platforms.WEIGHTS).write_bytes(b"weights")
    platforms.copy_kaggle_inputs(s.out, s.model, tmp_path / "input")
    assert s.adapter("sft") == str(s.out / "sft" / "adapter")
    said = capsys.readouterr().out
    assert "sft: copied from" in said and "grpo: none here" in said and "Persistence" in said
    (s.out / "sft" / "adapter" / platforms.WEIGHTS).write_bytes(b"own")
    platforms.copy_kaggle_inputs(s.out, s.model, tmp_path / "input")
    assert (s.out / "sft" / "adapter" / platforms.WEIGHTS).read_bytes() == b"own", (
        "a run of one's own is never replaced"
    )


def test_names_that_do_not_exist_name_the_choices(monkeypatch, tmp_path):
    monkeypatch.setattr(settings, "this_machine", lambda: Machine(memory_gib=14.6))
    for wrong in ({"model": "gpt-4"}, {"preset": "t4"}):
        with pytest.raises(InputError, match="Choose one of"):
            choose_settings(out=str(tmp_path), **wrong)
    with pytest.raises(InputError, match="has no chains.jsonl and no train.jsonl. Notebook 01_data"):
        choose_settings(out=str(tmp_path), data=str(tmp_path)).files()


def test_an_adapter_of_ones_own_goes_before_the_shipped_one(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(settings, "this_machine", lambda: Machine(memory_gib=0))
    s = choose_settings(out=str(tmp_path))
    assert s.adapter("sft") == "nano-sft" and "the shipped nano adapter" in capsys.readouterr().out
    own = s.out / "sft" / "adapter"
    own.mkdir(parents=True)
    (own / "adapter_model.safetensors").write_bytes(b"x")
    assert s.adapter("sft") == str(own) and "made here" in capsys.readouterr().out


def test_without_validation_pairs_it_is_said_what_is_judged_instead(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(settings, "this_machine", lambda: Machine(memory_gib=0))
    monkeypatch.setenv(settings.SHORT, "1")
    s = choose_settings(out=str(tmp_path))
    assert len(s.held_out(80)) == 4 and "flatter" not in capsys.readouterr().out
    (s.files() / "validation.jsonl").unlink()
    assert len(s.held_out(80)) == 4 and "no validation.jsonl" in capsys.readouterr().out
    assert s.sft().probe == ""


def test_estimates_are_said_for_what_they_are(monkeypatch, tmp_path):
    monkeypatch.setattr(settings, "this_machine", lambda: Machine(memory_gib=0))
    s = choose_settings(out=str(tmp_path))
    assert s.estimate(s.grpo(steps=40)) == "about 2 minutes to 3 (measured on two CPU cores)"
    monkeypatch.setattr(settings, "this_machine", lambda: Machine(memory_gib=14.6))
    real = choose_settings(out=str(tmp_path), data=str(s.files()))
    assert "planner estimate, not measured on it" in real.estimate(real.sft())
    configs = [preset("grpo", real.preset, steps=steps) for steps in (40, 80)]
    minutes = [float(real.estimate(config).split()[1]) for config in configs]
    assert minutes[1] == pytest.approx(2 * minutes[0], abs=1), "the settings given, not the preset's"


ATTACK = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def test_what_a_model_or_a_person_wrote_is_escaped():
    pair = Pair("1", ({"role": "user", "content": ATTACK},), ATTACK, ATTACK, "A", ATTACK)
    looks = tuple(Look(order, Generation(ATTACK), Verdict(None, "missing")) for order in ("ab", "ba"))
    judged = Judgment("1", looks)
    shown = [
        show.pair(pair),
        show.chain(f"<eval>{ATTACK}</eval>", ATTACK),
        show.judgment(judged, ATTACK),
        show.side_by_side({ATTACK: judged}),
        show.table([ATTACK], [[ATTACK]], ATTACK),
    ]
    for block in shown:
        assert "<script>" not in block.data and "<img" not in block.data and "&lt;script&gt;" in block.data


def test_the_mask_shows_what_the_loss_stands_on():
    tokenizer = load("nano-base").tokenizer
    ids = tokenizer("add 1 and 2 <answer>")["input_ids"]
    made = show.mask({"input_ids": ids, "completion_mask": [0] * (len(ids) - 2) + [1, 1]}, tokenizer).data
    assert f"({len(ids) - 2} tokens)" in made and "loss (2 tokens)" in made
    grey, green = made.split('class="rm-off">')[1].split('class="rm-on">')
    assert tokenizer.decode(ids[:-2]).replace("<", "&lt;") in grey and "&gt;" in green


def test_figures_of_the_same_judge_are_not_judged_again_and_another_adapter_is(monkeypatch, tmp_path):
    monkeypatch.setattr(settings, "this_machine", lambda: Machine(memory_gib=0))
    monkeypatch.setenv(settings.SHORT, "1")
    s = choose_settings(out=str(tmp_path))
    from rmr1_lite.data.pairs import read_pairs

    pairs = read_pairs(s.files() / "test.jsonl").pairs[:2]
    results, judged = judging.judge_all(s, {"sft": "nano-sft", "grpo": "nano"}, pairs, [("sft", "grpo")])
    assert results.stages["grpo"].result.n == 2 and "minus sft" in judging.describe_difference(
        results, "sft", "grpo"
    )
    logs = {path: path.stat().st_mtime_ns for path in (s.out / "judged").rglob("*.jsonl")}
    assert len({path.parent for path in logs}) == 2, "each adapter has a folder of its own"
    again = judging.judge_all(s, {"sft": "nano-sft", "grpo": "nano"}, pairs)[1]
    texts = [[[look.generation.text for look in j.looks] for j in each["grpo"]] for each in (again, judged)]
    assert texts[0] == texts[1]
    assert {path: path.stat().st_mtime_ns for path in logs} == logs


def test_a_packed_adapter_loads_again(tmp_path):
    made = pack_adapter(NANO["nano"], tmp_path / "judge.zip")
    with zipfile.ZipFile(made) as archive:
        archive.extractall(tmp_path)
    assert load(str(tmp_path / "judge")).style == "compact"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["judge", "judge.zip"]


PUSHES = [
    ("no-owner", "secret-token", "Give OWNER/NAME", "a name without an owner"),
    ("me/judge", "", "No token found", "no token"),
    ("me/judge", "secret-token", "could not be written", "nobody answers"),
]


@pytest.mark.parametrize(("repo", "token", "said", "reason"), PUSHES, ids=[row[-1] for row in PUSHES])
def test_a_push_that_cannot_work_is_told_and_never_shows_the_token(repo, token, said, reason, capsys):
    with pytest.raises(InputError, match=said) as error:
        push_adapter(NANO["nano"], repo, token, endpoint="http://127.0.0.1:9")
    assert "secret-token" not in str(error.value) + "".join(capsys.readouterr())


def test_only_a_whole_adapter_goes_out(tmp_path):
    with pytest.raises(InputError, match="is not a finished adapter"):
        pack_adapter(tmp_path, tmp_path / "x.zip")


def _stand_in(monkeypatch, name, **parts):
    """A module that only Colab or Kaggle has, as documented by them."""
    module = ModuleType(name)
    vars(module).update(parts)
    monkeypatch.setitem(sys.modules, name, module)
    return module


class NotFound(Exception):
    pass


STORES = [
    ("COLAB_RELEASE_TAG", {"HF_TOKEN": "from-the-store"}, "from-the-store", "Colab's own store"),
    ("COLAB_RELEASE_TAG", {}, "from-the-environment", "not in Colab's store"),
    ("KAGGLE_KERNEL_RUN_TYPE", {"HF_TOKEN": "from-the-store"}, "from-the-store", "Kaggle's own store"),
    ("KAGGLE_KERNEL_RUN_TYPE", {}, "from-the-environment", "not in Kaggle's store"),
    ("", {}, "from-the-environment", "a machine of one's own"),
]


@pytest.mark.parametrize(("sign", "held", "found", "reason"), STORES, ids=[row[-1] for row in STORES])
def test_a_secret_comes_from_the_platforms_own_store(sign, held, found, reason, monkeypatch, capsys):
    def get(*args):
        if args[-1] not in held:
            raise NotFound
        return held[args[-1]]

    userdata = SimpleNamespace(get=get, SecretNotFoundError=NotFound, NotebookAccessError=NotFound)
    _stand_in(monkeypatch, "google.colab", userdata=userdata)
    _stand_in(
        monkeypatch,
        "kaggle_secrets",
        BackendError=NotFound,
        UserSecretsClient=lambda: SimpleNamespace(get_secret=get),
    )
    for name in platforms.SIGNS:
        monkeypatch.delenv(name, raising=False)
    if sign:
        monkeypatch.setenv(sign, "x")
    monkeypatch.setenv("HF_TOKEN", "from-the-environment")
    assert platforms.read_secret("HF_TOKEN") == found
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("mounted", [True, False])
def test_on_colab_runs_go_to_the_drive_and_without_one_it_is_said(mounted, monkeypatch, capsys):
    def mount(_):
        if not mounted:
            raise ValueError("mount failed")

    _stand_in(monkeypatch, "google.colab", drive=SimpleNamespace(mount=mount))
    monkeypatch.delenv(platforms.OUT, raising=False)
    folder = platforms.output_folder("auto", platforms.COLAB)
    assert str(folder) == ("/content/drive/MyDrive/rmr1_lite" if mounted else "/content/rmr1_lite")
    assert ("are lost when the runtime ends" in capsys.readouterr().out) != mounted
    assert str(platforms.output_folder("auto", platforms.KAGGLE)) == "/kaggle/working/rmr1_lite"


@pytest.mark.long
def test_a_training_apart_gives_the_same_adapter_and_its_errors_are_the_same(monkeypatch, tmp_path, capsys):
    """How Unsloth trains from a notebook; here with the other backend, without a GPU."""
    monkeypatch.setattr(settings, "this_machine", lambda: Machine(memory_gib=0))
    monkeypatch.setenv(settings.SHORT, "1")
    s = choose_settings(out=str(tmp_path))
    weights = []
    for apart in (True, False):
        config = s.sft(out=str(tmp_path / f"sft-{apart}"))
        weights.append((train("sft", config, apart) / platforms.WEIGHTS).read_bytes())
        assert "Loss on the chain" in capsys.readouterr().out
    assert weights[0] == weights[1]
    with pytest.raises(InputError, match="no-such-file"):
        train("sft", s.sft(out=str(tmp_path / "x"), chains="no-such-file.jsonl"), apart=True)

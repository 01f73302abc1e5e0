"""Exports of nano: the files, what the gate says, what is refused. GGUF and real servers: tests/servers."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from rmr1_lite.data.nano.world import draw_pairs
from rmr1_lite.data.pairs import write_pairs
from rmr1_lite.evaluation.bias.pairs import nano_pairs
from rmr1_lite.integrations.export import export as export_module
from rmr1_lite.integrations.export import request as request_module
from rmr1_lite.integrations.export.export import export_judge, judge_name
from rmr1_lite.integrations.export.request import ExportRequest, check_request
from rmr1_lite.judging.factory import make_judge
from rmr1_lite.models.exports import FILE, read_export
from rmr1_lite.models.judge_specs import NANO
from rmr1_lite.types import InputError


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    out = tmp_path_factory.mktemp("exports") / "merged"
    return export_judge(ExportRequest("nano", "merged", out, "fp32", limit=3))


def test_a_merged_judge_keeps_every_text(merged):
    assert merged.kept and merged.parity[0].passed
    assert (merged.parity[0].calls, merged.parity[0].same_text) == (6, 6)


def test_the_bases_own_files_are_copied_and_the_rest_is_neutral(merged):
    base = NANO["nano-base"]
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (merged.folder / name).read_bytes() == (base / name).read_bytes(), name
    ours, theirs = (json.loads((f / "config.json").read_bytes()) for f in (merged.folder, base))
    assert ours == theirs | {"dtype": "float32"}
    settings = json.loads((merged.folder / "generation_config.json").read_bytes())
    assert settings == {"eos_token_id": 2, "pad_token_id": 0, "do_sample": False}
    assert "recipe.json" not in {path.name for path in merged.folder.iterdir()}


def test_the_folder_is_the_same_judge_again(merged):
    pair = draw_pairs("test", 1, 77)[0]
    again, first = make_judge(str(merged.folder)), make_judge("nano")
    assert (again.style, again.reading, again.sampling) == (first.style, first.reading, first.sampling)
    texts = [[look.generation.text for look in judge.compare(pair).looks] for judge in (again, first)]
    assert texts[0] == texts[1]


def test_the_card_says_over_which_base_the_figures_hold(merged):
    card = (merged.folder / "README.md").read_text(encoding="utf-8")
    assert "dequantised NF4 weights of `nano-base`" in card and "6 of 6 judge calls keep" in card
    info = read_export(merged.folder)
    assert (info.base_weights, info.number_type, info.parity[0]["passed"]) == ("dequantised", "fp32", True)


def test_an_adapter_over_the_original_base_does_not_pass(tmp_path):
    """The two pairs are among those whose verdict changes there."""
    write_pairs(tmp_path / "pairs.jsonl", [p for p in nano_pairs(50) if p.id.endswith(("-13", "-21"))])
    request = ExportRequest(
        "nano", "merged", tmp_path / "out", "fp32", base="original", pairs=str(tmp_path / "pairs.jsonl")
    )
    done = export_judge(request)
    assert not done.kept and not (tmp_path / "out").exists()
    assert done.folder == tmp_path / "out.not-passed" and done.parity[0].same_verdict < 4
    stored = json.loads((done.folder / "parity.json").read_bytes())[0]
    assert (
        len(stored["changed"]) == 4 - done.parity[0].same_verdict and stored["changed"][0]["before"]["text"]
    )
    assert "NOT passed" in "\n".join(done.lines())


def test_base_and_adapter_for_vllm_are_the_judge(tmp_path):
    done = export_judge(ExportRequest("nano", "vllm", tmp_path / "out", "fp32", limit=2))
    assert done.kept and done.parity[0].same_text == 4
    info = read_export(done.folder)
    assert (info.model, info.adapter) == ("base", "adapter")
    weights = (done.folder / info.adapter / "adapter_model.safetensors").read_bytes()
    assert weights == (NANO["nano"] / "adapter_model.safetensors").read_bytes()
    with pytest.raises(InputError, match="serve"):
        make_judge(str(done.folder))


def test_an_exported_judge_is_exported_again_without_loss(merged, tmp_path):
    """What it was made from stays known: llama.cpp's converter needs the tokenizer's rule."""
    source = check_request(ExportRequest(str(merged.folder), "merged", tmp_path / "out"))
    assert (source.first_base, source.read_as, source.number_type) == ("nano-base", "fp32", "fp32")
    again = export_judge(ExportRequest(str(merged.folder), "merged", tmp_path / "out", gate="off"))
    weights = [(each / "model.safetensors").read_bytes() for each in (again.folder, merged.folder)]
    assert weights[0] == weights[1]
    assert (again.info.style, again.info.base, again.info.base_weights) == (
        "compact",
        "nano-base",
        "dequantised",
    )


def test_a_killed_export_leaves_nothing_under_the_final_name(tmp_path, monkeypatch):
    def killed(*args):
        raise KeyboardInterrupt

    out = tmp_path / "out"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(export_module, "write_weights", killed)
        export_judge(ExportRequest("nano", "merged", out, gate="off"))
    assert not out.exists()
    assert export_judge(ExportRequest("nano", "merged", out, gate="off")).kept
    assert (out / FILE).exists() and not out.with_name("out.unfinished").exists()


# ---- refused before anything is loaded


def copied(folder: Path, **changes) -> str:
    """nano's adapter elsewhere, with changes of its adapter_config.json; None deletes the file that
    tells how it was trained."""
    adapter = folder / "adapter"
    shutil.copytree(NANO["nano"], adapter)
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | changes))
    return str(adapter)


def silent(folder: Path) -> str:
    adapter = Path(copied(folder))
    (adapter / "run.json").unlink()
    (adapter / "rmr1_lite.json").unlink()
    return str(adapter)


def taken(folder: Path) -> str:
    (folder / "out").mkdir()
    (folder / "out" / "mine.txt").write_text("x")
    return "nano"


def taken_by_another(folder: Path) -> str:
    (folder / "out.not-passed").mkdir()
    return "nano"


def quantised(folder: Path) -> str:
    base = folder / "base"
    shutil.copytree(NANO["nano-base"], base)
    config = json.loads((base / "config.json").read_bytes())
    stored = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (base / "config.json").write_text(json.dumps(config | {"quantization_config": stored}))
    return str(base)


def elsewhere(folder: Path) -> str:
    adapter = Path(copied(folder))
    info = json.loads((adapter / "rmr1_lite.json").read_bytes())
    (adapter / "rmr1_lite.json").write_text(json.dumps(info | {"fingerprint": "0" * 16}))
    return str(adapter)


def no_template(folder: Path) -> str:
    base = folder / "base"
    shutil.copytree(NANO["nano-base"], base)
    (base / "chat_template.jinja").unlink()
    return str(base)


REFUSED = [
    (taken, {}, "exists and is not empty", "nothing of the user's is overwritten"),
    (taken_by_another, {}, "is not an export, and its name is needed", "nor under the other name"),
    ("nano", {"number_type": "q3"}, "choose from fp32, bf16, fp16", "an unknown type"),
    ("nano", {"number_type": "q8_0"}, "choose from fp32", "a GGUF's type for safetensors"),
    ("nano", {"form": "gguf", "number_type": "fp32"}, "choose from f32", "and the reverse"),
    ("nano", {"form": "onnx"}, "form is 'onnx'", "an unknown form"),
    ("nano", {"limit": 0}, "limit is 0", "a gate over no pairs"),
    ("nano-base", {"form": "vllm"}, "not an adapter", "a LoRA server without LoRA"),
    ("openai:m@http://127.0.0.1:1/v1", {}, "no weights here", "an endpoint"),
    ("runs/none/adapter", {}, "does not exist", "a wrong path"),
    (lambda f: copied(f, use_dora=True), {}, "use_dora is True", "its magnitudes would be lost"),
    (lambda f: copied(f, bias="all"), {}, "bias is 'all'", "trained biases would be lost"),
    (lambda f: copied(f, modules_to_save=["lm_head"]), {}, "modules_to_save", "a whole layer would be lost"),
    (lambda f: copied(f, init_lora_weights="pissa"), {}, "init_lora_weights", "PiSSA changes the base"),
    (lambda f: copied(f, peft_type="IA3"), {}, "peft_type is 'IA3'", "not LoRA"),
    (elsewhere, {}, "trained on other weights", "a base that is not the adapter's"),
    (silent, {}, "does not say whether it was trained over a 4-bit base", "a foreign adapter"),
    (quantised, {"base": "original"}, "stored in 4 bits", "there is no original"),
    (no_template, {"style": "compact"}, "no chat template", "a server could not write the prompt"),
    (
        lambda f: shutil.copytree(NANO["nano-base"], f / "b"),
        {},
        "prompt style is not known",
        "a foreign model",
    ),
    ("nano", {"pairs": "none.jsonl"}, "none.jsonl", "no pairs to compare on"),
    ("nano", {"form": "gguf"}, "converter .* was not found", "no llama.cpp"),
]


@pytest.mark.parametrize("spec, changes, said, reason", REFUSED, ids=[row[-1] for row in REFUSED])
def test_what_cannot_work_is_refused_before_anything_is_loaded(
    spec, changes, said, reason, tmp_path, monkeypatch
):
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("RMR1_LLAMA_CPP", str(tmp_path / "empty"))
    monkeypatch.setattr("rmr1_lite.models.loading.load", lambda *_: pytest.fail("a model was loaded"))
    named = spec if isinstance(spec, str) else str(spec(tmp_path))
    request = ExportRequest(**{"spec": named, "form": "merged", "out": tmp_path / "out", **changes})
    with pytest.raises(InputError, match=said):
        export_judge(request)
    assert not (tmp_path / "out.unfinished").exists()


def test_a_full_disk_is_reported_before_the_work(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(request_module.shutil, "disk_usage", lambda path: usage(10, 10, 0))
    with pytest.raises(InputError, match="but 0.0 GiB are free"):
        check_request(ExportRequest("nano", "merged", tmp_path / "out"))


def test_an_adapter_trained_over_whole_weights_is_told_apart(tmp_path):
    adapter = Path(silent(tmp_path))
    base = str(NANO["nano-base"])
    info = {"base": base, "style": "compact", "fingerprint": "9740398b80715df4", "four_bit": False}
    (adapter / "rmr1_lite.json").write_text(json.dumps(info))
    source = check_request(ExportRequest(str(adapter), "merged", tmp_path / "out"))
    assert (source.four_bit, source.base_weights, source.number_type) == (False, "original", "bf16")


@pytest.mark.parametrize(
    "spec, name",
    [
        ("nano", "nano"),
        ("runs/grpo/adapter", "grpo-adapter"),
        ("me/My_Judge 2", "My-Judge-2"),
        ("exports/judge/", "judge"),
    ],
)
def test_the_name_on_a_server_has_no_odd_characters(spec, name):
    assert judge_name(ExportRequest(spec, "merged", Path("out"))) == name

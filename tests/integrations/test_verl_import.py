"""An adapter comes back from verl: checked against the model it was trained over, written, and judged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from rmr1_lite.integrations.export.export import export_judge
from rmr1_lite.integrations.export.request import ExportRequest
from rmr1_lite.integrations.verl.bring_back import ImportRequest, find_model, import_adapter
from rmr1_lite.integrations.verl.checkpoint import read_checkpoint
from rmr1_lite.integrations.verl.request import FILE
from rmr1_lite.models.adapters import default_max_new_tokens, fingerprint_folder, read_adapter
from rmr1_lite.storage import write_json
from rmr1_lite.types import InputError

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@pytest.fixture(scope="module")
def verl_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `scale verl` leaves it, as far as the way back needs it."""
    folder = tmp_path_factory.mktemp("verl")
    export_judge(ExportRequest("nano-sft", "merged", folder / "model", "fp32", gate="off"))
    write_json(folder / FILE, {"fingerprint": fingerprint_folder(folder / "model")})
    return folder


@pytest.fixture(scope="module")
def merged(verl_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As model_merger leaves a small LoRA: no base's name, matrices in bf16."""
    import torch
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import load_file, save_file
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(verl_folder / "model", dtype=torch.float32)
    made: Any = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=TARGETS))
    with torch.no_grad():
        for name, value in made.named_parameters():
            if "lora_B" in name:
                value.normal_(std=1e-4)
    folder = tmp_path_factory.mktemp("merged")
    adapter = folder / "lora_adapter"
    made.save_pretrained(adapter)
    weights = adapter / "adapter_model.safetensors"
    save_file({name: value.bfloat16() for name, value in load_file(weights).items()}, weights)
    change(adapter, base_model_name_or_path=None, task_type=None)
    return folder


def change(adapter: Path, **values: Any) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | values))


def test_an_adapter_is_written_with_its_base_and_judged(verl_folder, merged, tmp_path):
    from rmr1_lite.models.loading import load

    done = import_adapter(ImportRequest(merged, verl_folder, tmp_path / "adapter", limit=2))
    assert not (tmp_path / "adapter.unfinished").exists()
    info = read_adapter(done.folder)
    assert (info.base, info.style, info.stage) == (str((verl_folder / "model").resolve()), "compact", "grpo")
    assert info.four_bit is False and info.fingerprint == fingerprint_folder(verl_folder / "model")
    config = json.loads((done.folder / "adapter_config.json").read_bytes())
    assert (config["r"], config["lora_alpha"], config["target_modules"]) == (4, 8, sorted(TARGETS))
    assert config["base_model_name_or_path"] == info.base
    said = "\n".join(done.lines())
    assert "rank 4, alpha 8" in said and "Judged 2 pairs in both orders" in said and "Warning" not in said
    assert done.result.unparsed == 0
    loaded = load(str(done.folder))
    assert not any(type(module).__name__ == "Linear4bit" for module in loaded.model.modules())
    assert default_max_new_tokens(str(done.folder)) == 152, "of nano, whose weights lie below"


def test_the_model_folder_itself_is_taken_too(verl_folder, merged):
    model, export = find_model(verl_folder / "model")
    assert export.style == "compact"
    assert read_checkpoint(merged / "lora_adapter", model, None).rank == 4


@pytest.fixture
def other(merged: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoint to damage."""
    return Path(shutil.copytree(merged, tmp_path / "other"))


def rewrite(adapter: Path, new: Any) -> None:
    from safetensors.torch import load_file, save_file

    path = adapter / "adapter_model.safetensors"
    save_file(new(load_file(path)), path)


def narrower(tensors: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value[:, :100].contiguous() if "q_proj.lora_A" in name else value
        for name, value in tensors.items()
    }


def deeper(tensors: dict[str, Any]) -> dict[str, Any]:
    return tensors | {
        n.replace("layers.0", "layers.9"): v.clone() for n, v in tensors.items() if "layers.0" in n
    }


def shallower(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in tensors.items() if "layers.3" not in name}


def half(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in tensors.items() if "layers.0.self_attn.q_proj.lora_B" not in name}


def infinite(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name: value * float("inf") if "lora_A" in name else value for name, value in tensors.items()}


DAMAGED = [
    (narrower, "another model: .*q_proj is 256 x 100 there and 256 x 256 in", "another hidden size"),
    (deeper, "another model: .* has no layer model.layers.9", "more layers"),
    (shallower, "or is incomplete: 7 layers of .* are not in it, model.layers.3", "fewer layers"),
    (half, "q_proj has only one of its two matrices", "half a LoRA"),
    (infinite, "has numbers that are not finite. Take an earlier checkpoint", "a training that diverged"),
]


@pytest.mark.parametrize(("new", "said", "reason"), DAMAGED, ids=[row[-1] for row in DAMAGED])
def test_weights_of_another_model_are_refused(new, said, reason, verl_folder, other, tmp_path):
    rewrite(other / "lora_adapter", new)
    with pytest.raises(InputError, match=said):
        import_adapter(ImportRequest(other, verl_folder, tmp_path / "adapter", limit=2))
    assert not (tmp_path / "adapter").exists()


CONFIGS = [
    ({"lora_alpha": 0}, None, "lora_alpha is 0, .* Give --alpha, LORA_ALPHA of run.sh", "alpha 0"),
    ({"lora_alpha": None}, None, "lora_alpha is None", "no alpha"),
    ({}, 16, "says lora_alpha is 8, --alpha 16. Leave --alpha out", "two alphas"),
    ({"r": 8}, None, "matrices have rank 4, and adapter_config.json says r is 8", "another rank"),
    ({"use_dora": True}, None, "use_dora is True. Only plain LoRA", "another kind of adapter"),
]


@pytest.mark.parametrize(("values", "alpha", "said", "reason"), CONFIGS, ids=[row[-1] for row in CONFIGS])
def test_settings_that_do_not_fit_are_refused(values, alpha, said, reason, verl_folder, other):
    change(other / "lora_adapter", **values)
    with pytest.raises(InputError, match=said):
        read_checkpoint(other, verl_folder / "model", alpha)


def test_a_given_alpha_fills_a_gap(verl_folder, other):
    change(other / "lora_adapter", lora_alpha=0)
    assert read_checkpoint(other, verl_folder / "model", 8).alpha == 8


def test_an_untrained_adapter_is_said(verl_folder, other, tmp_path):
    rewrite(other / "lora_adapter", lambda held: {n: v * ("lora_A" in n) for n, v in held.items()})
    done = import_adapter(ImportRequest(other, verl_folder, tmp_path / "adapter", limit=2))
    assert done.untrained and "changes nothing: an untrained checkpoint?" in done.lines()[-1]


def test_what_is_no_checkpoint_is_named(verl_folder, tmp_path):
    for made, said in (
        ("none", "does not exist"),
        ("empty", "has no lora_adapter folder"),
        ("actor", "shards"),
    ):
        if made != "none":
            (tmp_path / made).mkdir()
        if made == "actor":
            (tmp_path / made / "model_world_size_1_rank_0.pt").touch()
        with pytest.raises(InputError, match=said):
            read_checkpoint(tmp_path / made, verl_folder / "model", None)


def test_the_merged_model_must_be_at_hand_and_as_it_was(verl_folder, tmp_path):
    (tmp_path / FILE).write_text("{}")
    with pytest.raises(
        InputError, match="belongs to the merged model in it, not to the base of the SFT adapter"
    ):
        find_model(tmp_path)
    from rmr1_lite.models.judge_specs import NANO

    for name in ("nano-base", "nano-sft"):
        with pytest.raises(
            InputError, match="is not the model that verl trained: that is model/ in the folder"
        ):
            find_model(NANO[name])
    shutil.copytree(verl_folder / "model", tmp_path / "model")
    (tmp_path / FILE).write_text('{"fingerprint": "of other weights"}')
    with pytest.raises(InputError, match="has other weights than `scale verl` wrote. Copy the folder again"):
        find_model(tmp_path)


def test_a_folder_that_exists_is_not_touched(verl_folder, merged, tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(InputError, match="exists and is not empty"):
        import_adapter(ImportRequest(merged, verl_folder, tmp_path))

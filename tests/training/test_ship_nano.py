"""The shipped adapters: small, complete, with the settings that made them; and the script that copies
them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rmr1_lite.models.adapters import CONFIG, INFO, WEIGHTS, read_adapter
from rmr1_lite.models.judge_specs import NANO
from rmr1_lite.training.ship_nano import round_to_half, ship_adapters
from rmr1_lite.types import InputError

RESULTS = Path(__file__).parents[2] / "perf" / "results" / "nano-seed0-400.json"


@pytest.mark.parametrize("spec", ["nano-sft", "nano"])
def test_what_ships(spec):
    folder = NANO[spec]
    assert (folder / WEIGHTS).stat().st_size < 1_000_000, "every checkout carries it"
    assert read_adapter(folder).stage == ("sft" if spec == "nano-sft" else "grpo")
    made = json.loads((folder / "run.json").read_text())
    assert made["settings"]["seed"] == 0 and made["versions"]["peft"], (
        "the card says that settings and versions are here"
    )
    assert f"`{spec}`" in (folder / "README.md").read_text()


def test_half_precision_is_only_how_it_is_stored():
    """Training and judging see float32, as with your own adapter."""
    import torch
    from safetensors.torch import load_file

    from rmr1_lite.models.loading import load

    stored = load_file(NANO["nano"] / WEIGHTS)
    lora = {name: p for name, p in load("nano").model.named_parameters() if "lora_" in name}
    assert len(lora) == len(stored) and {tensor.dtype for tensor in stored.values()} == {torch.float16}
    for name, tensor in stored.items():
        assert torch.equal(lora[name.replace(".weight", ".default.weight")], tensor.float()), name


@pytest.fixture
def run(tmp_path):
    """A finished run, like one of `make demo`, with the shipped adapters as its own."""
    for stage, spec in (("sft", "nano-sft"), ("grpo", "nano")):
        shutil.copytree(NANO[spec], tmp_path / "run" / stage / "adapter")
        (tmp_path / "run" / stage / "config.json").write_text(json.dumps({"settings": {"stage": stage}}))
    shutil.copyfile(RESULTS, tmp_path / "run" / "results.json")
    return tmp_path / "run"


@pytest.fixture
def package(tmp_path):
    """Folders of a package, one of them with an older adapter in it."""
    (tmp_path / "package" / "sft").mkdir(parents=True)
    (tmp_path / "package" / "sft" / "old.txt").write_text("of the adapter before")
    return {"nano-sft": tmp_path / "package" / "sft", "nano": tmp_path / "package" / "grpo"}


def test_ship_puts_both_stages_in_place(run, package):
    ship_adapters(run, package)
    figures = json.loads(RESULTS.read_text())["stages"]
    for stage, spec in (("sft", "nano-sft"), ("grpo", "nano")):
        folder = package[spec]
        assert read_adapter(folder).stage == stage and {CONFIG, INFO, WEIGHTS, "run.json"} <= {
            p.name for p in folder.iterdir()
        }
        assert json.loads((folder / "run.json").read_text())["settings"]["stage"] == stage
        assert f"{figures[stage]['strict_accuracy']:.1%} of 400" in (folder / "README.md").read_text()
    assert sorted(p.name for p in package["nano"].parent.iterdir()) == ["grpo", "sft"], "no draft is left"
    assert not (package["nano-sft"] / "old.txt").exists(), "what was there before is gone"


def test_a_run_on_another_base_does_not_ship(run, package):
    info = run / "grpo" / "adapter" / INFO
    info.write_text(json.dumps({"base": "owner/model", "style": "compact"}))
    with pytest.raises(InputError, match="not on nano-base"):
        ship_adapters(run, package)
    assert (package["nano-sft"] / "old.txt").exists(), "both stages are looked at before one is replaced"


def test_a_tensor_that_overflows_stays_as_it_is(tmp_path):
    import torch
    from safetensors.torch import save_file

    save_file({"a": torch.tensor([1e6])}, tmp_path / WEIGHTS)
    before = (tmp_path / WEIGHTS).read_bytes()
    with pytest.raises(InputError, match="overflows in half precision"):
        round_to_half(tmp_path / WEIGHTS)
    assert (tmp_path / WEIGHTS).read_bytes() == before

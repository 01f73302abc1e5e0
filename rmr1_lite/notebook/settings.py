"""The notebooks' one switch cell: model, preset, data and output folder, or the embedded nano model where there is no GPU.

    s = choose()                       # by what the machine has
    s = choose(model="qwen2.5-3b", preset="l4-24gb", data="/content/mine")

Every notebook is a runtime of its own: what an earlier one made is found in the output folder, else the nano adapters that
ship take its place, and both are said.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rmr1_lite.adapters import answer_room
from rmr1_lite.backend import this_machine
from rmr1_lite.config import GRPOConfig, SFTConfig, changed, preset
from rmr1_lite.data.files import read_pairs
from rmr1_lite.notebook.setup import COLAB, KAGGLE, platform
from rmr1_lite.plan import plan
from rmr1_lite.presets import DEFAULT_MODEL, MODELS
from rmr1_lite.runs import steps_of
from rmr1_lite.types import InputError, Pair

SHORT, OUT = "RMR1_NOTEBOOK_SHORT", "RMR1_NOTEBOOK_OUT"  # the tests' switches: tiny sizes, and another output folder
DRIVE = Path("/content/drive")
SHIPPED = {"sft": "nano-sft", "grpo": "nano"}
WEIGHTS = "adapter_model.safetensors"
# seconds of one step on two CPU cores: the fast and the slow day of the machine that the README's figures come from
NANO_SECONDS = {"sft": (0.75, 1.15), "grpo": (3.7, 4.5), "look": (0.05, 0.09)}
TINY_DATA = {"train": 200, "validation": 20, "test": 24}
TINY_SFT = {"limit": 32, "epochs": 4.0, "save_every": 1, "probe_pairs": 2}
TINY_GRPO = {"steps": 4, "groups": 2, "rollouts": 4, "micro_batch": 8, "save_every": 1, "probe_pairs": 2}


@dataclass(frozen=True)
class Settings:
    """What the cells below take. out: of this model alone. data: "nano", "published" or a folder of one's own files."""

    fast: bool
    model: str
    preset: str
    data: str
    out: Path
    short: bool = False

    def sft(self, **changes: Any) -> SFTConfig:
        """The preset's SFT on the chains of `files`; `changes` hold for the embedded default too."""
        files = self.files()
        fixed = {"chains": str(files / "chains.jsonl"), "probe": _probe(files), "out": str(self.out / "sft")}
        return changed(preset("sft", self.preset, **self._base()), **{**fixed, **changes, **(TINY_SFT if self.short else {})})

    def grpo(self, **changes: Any) -> GRPOConfig:
        """The preset's GRPO on the pairs of `files`, from the SFT adapter (or the base, where the family skips SFT)."""
        files = self.files()
        fixed = {"pairs": str(files / "train.jsonl"), "probe": _probe(files), "out": str(self.out / "grpo")}
        start = {} if self.cold_start else {"model": self.adapter("sft")}
        made = preset("grpo", self.preset, style=self.style)
        return changed(made, **{**fixed, **start, **changes, **(TINY_GRPO if self.short else {})})

    @property
    def style(self) -> str:
        """The prompt style of the model's family."""
        return "compact" if self.fast else preset("sft", self.preset).style

    @property
    def cold_start(self) -> bool:
        """Whether GRPO starts from the base: the paper trains its reasoning family by RL alone (section 3)."""
        return not self.fast and self.style == "reasoning"

    @property
    def room(self) -> int:
        """Tokens that a judge may write."""
        return answer_room("nano") if self.fast else preset("grpo", self.preset).max_new_tokens

    @property
    def longest_prompt(self) -> int:
        """Prompt tokens that GRPO takes; longer ones are left out."""
        return preset("grpo", self.preset).max_prompt_tokens

    def few(self, full: int, tiny: int = 6) -> int:
        """A count for this run: `full`, or `tiny` when the tests run the notebook."""
        return tiny if self.short else full

    def held_out(self, full: int, tiny: int = 4) -> list[Pair]:
        """Labelled pairs for before and after: of validation.jsonl, or of train.jsonl where there is none, and that is said."""
        files = self.files()
        path = _probe(files)
        if not path:
            print(f"{files} has no validation.jsonl: pairs of train.jsonl are judged. GRPO trains on them, so they flatter it.")
        return [pair for pair in read_pairs(path or files / "train.jsonl").pairs if pair.label][: self.few(full, tiny)]

    def adapter(self, stage: str) -> str:
        """The adapter of "sft" or "grpo" that was made in `out`, else the nano one that ships; prints which."""
        own = self.out / stage / "adapter"
        if (own / WEIGHTS).exists():
            print(f"{stage}: {own}, made here")
            return str(own)
        if not self.fast:
            raise InputError(f"There is no {stage} adapter in {own}. Run the notebook that trains it first.")
        print(f"{stage}: {SHIPPED[stage]}, the nano adapter that ships (nothing of your own in {own.parent})")
        return SHIPPED[stage]

    def files(self) -> Path:
        """The folder with chains.jsonl, train.jsonl and validation.jsonl; made at the first call."""
        if self.data not in ("nano", "published"):
            return _own(Path(self.data))
        folder = self.out / "data"
        if not (folder / "data.json").exists():
            _make_nano(folder, self.short) if self.data == "nano" else _make_published(folder, self)
        return folder

    def estimate(self, config: Any) -> str:
        """How long a training will take, in words: by the planner on a GPU, by what was measured for the nano model."""
        stage = "sft" if isinstance(config, SFTConfig) else "grpo"
        if self.fast:
            return _minutes(stage, steps_of(config), "measured on two CPU cores")
        hours = plan(model=self.model, preset_name=self.preset, chains=_count(config.chains) if stage == "sft" else 0)
        found = next(part.hours for part in hours.stages if part.name.lower() == stage)
        return f"about {60 * (found or 0):.0f} minutes (planner estimate, not yet measured on a GPU)"

    def looks(self, count: int) -> str:
        """How long `count` looks of the embedded judge take."""
        return _minutes("look", count, "measured on two CPU cores") if self.fast else f"{count} looks"

    def _base(self) -> dict[str, Any]:
        return {"model": "nano-base", "style": "compact"} if self.fast else {}


def choose(
    model: str = "auto", preset: str = "auto", data: str = "auto", out: str = "auto", fast: bool | str = "auto", needs: str = "",
    run: str = "",
) -> Settings:  # fmt: skip
    """Settle what the notebook runs on, and say it. Raises InputError for names that do not exist.

    model: a name of `presets.MODELS`. preset: t4-16gb, l4-24gb or paper; by the card's memory. data: "published" (the paper's
    sets, from the hub) or a folder. out: by default the Drive on Colab, the working folder on Kaggle. fast: the embedded nano
    model; without a GPU always. needs: the stage whose adapter an earlier notebook must have made. run: keeps the runs of this
    notebook apart from those of the others.
    """
    where, memory = platform(os.environ), gigabytes()
    quick = fast is True or not memory
    folder = _out(out, where)
    if quick:
        if fast is False:
            print("There is no GPU here, so the embedded nano model takes the model's place.")
        made = Settings(True, "nano", "nano", "nano", folder / "nano", bool(os.environ.get(SHORT)))
    else:
        made = _on_gpu(model, preset, "published" if data == "auto" else data, folder, memory)
        if needs and not made.cold_start and not (made.out / needs / "adapter" / WEIGHTS).exists():
            print(f"No {needs} adapter of {made.model} in {made.out}: the embedded nano model takes its place. "
                  "Run the notebook that trains it first to use yours.")  # fmt: skip
            made = replace(made, fast=True, model="nano", preset="nano", data="nano", out=folder / "nano")
    made = replace(made, out=made.out.with_name(f"{made.out.name}-{run}")) if run else made
    made.out.mkdir(parents=True, exist_ok=True)
    print(_said(made, where))
    return made


def gigabytes() -> float:
    """Memory of the first card in GiB, 0 without one."""
    if this_machine().capability is None:
        return 0.0
    import torch

    return torch.cuda.get_device_properties(0).total_memory / 2**30


def card() -> str:
    """The card in words."""
    machine = this_machine()
    if machine.capability is None:
        return "none; the notebooks run on the embedded nano model"
    half = "bf16" if machine.capability >= (8, 0) else "fp16"
    return f"{machine.card}, {gigabytes():.1f} GiB, {half}, preset {_by_memory(gigabytes())}"


def secret(name: str) -> str:
    """A secret from the platform's own store, or from the environment; "" where there is none. Never printed."""
    store = {COLAB: _colab_secret, KAGGLE: _kaggle_secret}.get(platform(os.environ), lambda name: "")
    return store(name) or os.environ.get(name, "").strip()


def _colab_secret(name: str) -> str:
    from google.colab import userdata

    try:
        return userdata.get(name) or ""
    except (userdata.SecretNotFoundError, userdata.NotebookAccessError):
        return ""


def _kaggle_secret(name: str) -> str:
    from kaggle_secrets import BackendError, UserSecretsClient

    try:
        return UserSecretsClient().get_secret(name) or ""
    except BackendError:
        return ""


def _on_gpu(model: str, name: str, data: str, folder: Path, memory: float) -> Settings:
    base = _by_memory(memory) if name == "auto" else name
    if model == "auto":
        chosen = DEFAULT_MODEL.get(base, base.partition(":")[2] or "qwen2.5-7b")
    elif model not in MODELS:
        raise InputError(f"model is {model!r}. Choose one of {', '.join(MODELS)}.")
    else:
        chosen = model
    if base in DEFAULT_MODEL:
        base = f"{base}:{chosen}"
    preset("sft", base)  # raises for a name that does not exist
    return Settings(False, chosen, base, data, folder / chosen)


def _by_memory(memory: float) -> str:
    return "t4-16gb" if memory < 20 else "l4-24gb"


def _out(asked: str, where: str) -> Path:
    if asked != "auto" or os.environ.get(OUT):
        return Path(os.environ.get(OUT) or asked)
    if where == COLAB:
        return _drive() / "rmr1_lite"
    if where == KAGGLE:
        return Path("/kaggle/working/rmr1_lite")
    return Path("runs/notebooks").resolve() if Path("notebooks").is_dir() else Path("../runs/notebooks").resolve()


def _drive() -> Path:
    """The person's Drive, which outlives the runtime; without it the runtime's own disk, and that is said."""
    try:
        from google.colab import drive

        drive.mount(str(DRIVE))
    except (ImportError, ValueError, RuntimeError, AttributeError) as error:  # also when it is asked for and declined
        print(f"Drive is not mounted ({error}). What is made here is lost when the runtime ends.")
        return Path("/content")
    return DRIVE / "MyDrive"


def _said(s: Settings, where: str) -> str:
    if s.fast:
        size = ", shortened for a test" if s.short else ""
        return f"Settings: the embedded nano model{size} (a toy world, in minutes, without a GPU). Output: {s.out}"
    return f"Settings: {MODELS[s.model][0]}, preset {s.preset}, data {s.data}. Output: {s.out}"


def _own(folder: Path) -> Path:
    needed = [name for name in ("chains.jsonl", "train.jsonl") if not (folder / name).exists()]
    if needed:
        raise InputError(f"{folder} has no {' and no '.join(needed)}. Notebook 01_data makes them from pairs of your own.")
    return folder


def _probe(files: Path) -> str:
    """Pairs to judge during training, where there are any."""
    path = files / "validation.jsonl"
    return str(path) if path.exists() and path.stat().st_size else ""


def _make_nano(folder: Path, short: bool) -> None:
    from rmr1_lite.data.nano.dataset import NanoData, make

    make(folder, NanoData(**(TINY_DATA if short else {"test": 400})))


def _make_published(folder: Path, s: Settings) -> None:
    """The paper's own sets: chains for SFT, labelled pairs for GRPO, a hundredth of them held out."""
    from rmr1_lite.data.files import write_json
    from rmr1_lite.data.prepare import PrepareConfig, prepare
    from rmr1_lite.data.published import write_published
    from rmr1_lite.lengths import prompt_lengths

    sets = ("reasoning-rlvr",) if s.cold_start else ("distill-sft", "after-distill-rlvr")
    counts = {name: write_published(name, folder / name) for name in sets}
    config = PrepareConfig(out=str(folder), order="given", validation=0.01, near=0.0, max_prompt_tokens=s.longest_prompt)
    done = prepare([counts[sets[-1]]["file"]], config, prompt_lengths(MODELS[s.model][0], s.style))
    print(done.text())
    if "distill-sft" in counts:
        os.replace(counts["distill-sft"]["file"], folder / "chains.jsonl")
    write_json(folder / "data.json", {"published": list(sets)})


def _count(path: str) -> int:
    with open(path, "rb") as file:
        return sum(bool(line.strip()) for line in file)


def _minutes(stage: str, steps: int, source: str) -> str:
    low, high = (max(1, round(steps * each / 60)) for each in NANO_SECONDS[stage])
    return f"about {low} minute{'s' * (low > 1)}" + (f" to {high}" if high > low else "") + f" ({source})"


def found_data(s: Settings) -> dict[str, Any]:
    """What data.json of the files says: counts and the teacher's passes."""
    path = s.files() / "data.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def base_of(s: Settings) -> str:
    """The spec of the base model."""
    return "nano-base" if s.fast else MODELS[s.model][0]

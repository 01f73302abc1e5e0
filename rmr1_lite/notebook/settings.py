"""The notebooks' settings cell: model, preset, data and output folder, or the embedded nano model if
there is no GPU.

    s = choose_settings()                       # whatever fits the machine
    s = choose_settings(model="qwen2.5-3b", preset="l4-24gb", data="/content/mine")

Every notebook is a separate runtime: results of an earlier one are found in the output folder; otherwise the
shipped nano adapters replace them, and either is reported.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rmr1_lite.config import NANO_TOKENS, GRPOConfig, SFTConfig, preset, with_changes
from rmr1_lite.data.pairs import read_pairs
from rmr1_lite.models import smol
from rmr1_lite.models.adapters import WEIGHTS
from rmr1_lite.models.backend import this_machine
from rmr1_lite.models.judge_specs import SHIPPED
from rmr1_lite.models.smol_convert import base_folder
from rmr1_lite.notebook.platforms import KAGGLE, copy_kaggle_inputs, detect_platform, output_folder
from rmr1_lite.presets import CARD_GPU, DEFAULT_MODEL, MODELS, for_memory
from rmr1_lite.storage import write_json
from rmr1_lite.training.planning.plan import estimate_hours
from rmr1_lite.training.run_folder import count_rows, steps_of
from rmr1_lite.types import InputError, Pair

SHORT = "RMR1_NOTEBOOK_SHORT"  # the tests' switch: tiny sizes
# seconds of one step on two CPU cores: the fast and the slow day of the machine that the README's figures
# come from
NANO_SECONDS = {"sft": (0.75, 1.15), "grpo": (3.7, 4.5), "look": (0.05, 0.09)}
SMOL_STEP = {
    "sft": "a second each on a GPU, a minute on two cores",
    "grpo": "some seconds each on a GPU, a minute on two cores",
}
TINY_DATA = {"train": 200, "validation": 20, "test": 24}
TINY_SFT = {"limit": 32, "epochs": 4.0, "save_every": 1, "probe_pairs": 2}
TINY_GRPO = {"steps": 4, "groups": 2, "rollouts": 4, "micro_batch": 8, "save_every": 1, "probe_pairs": 2}


@dataclass(frozen=True)
class Settings:
    """The settings of the other cells. fast: an embedded model, nano or smol, in the nano world. out: for
    this model only. data: "nano", "published" or a folder with your own files."""

    fast: bool
    model: str
    preset: str
    data: str
    out: Path
    short: bool = False

    def sft(self, **changes: Any) -> SFTConfig:
        """The preset's SFT on the chains of `files`; `changes` hold for the embedded default too."""
        files = self.files()
        fixed = {
            "chains": str(files / "chains.jsonl"),
            "probe": _probe_file(files),
            "out": str(self.out / "sft"),
        }
        return with_changes(
            preset("sft", self.preset, **self._base()),
            **{**fixed, **changes, **(TINY_SFT if self.short else {})},
        )

    def grpo(self, **changes: Any) -> GRPOConfig:
        """The preset's GRPO on the pairs of `files`, from the SFT adapter (or the base, if the family
        skips SFT)."""
        files = self.files()
        fixed = {
            "pairs": str(files / "train.jsonl"),
            "probe": _probe_file(files),
            "out": str(self.out / "grpo"),
        }
        start = {} if self.cold_start else {"model": self.adapter("sft")}
        made = preset("grpo", self.preset, style=self.style)
        return with_changes(made, **{**fixed, **start, **changes, **(TINY_GRPO if self.short else {})})

    @property
    def style(self) -> str:
        """The prompt style of the model's family."""
        return "compact" if self.fast else preset("sft", self.preset).style

    @property
    def cold_start(self) -> bool:
        """Whether GRPO starts from the base: the paper trains its reasoning family by RL alone (section
        3)."""
        return not self.fast and self.style == "reasoning"

    @property
    def max_new_tokens(self) -> int:
        """Maximum tokens of a judge call."""
        return NANO_TOKENS if self.model == "nano" else preset("grpo", self.preset).max_new_tokens

    @property
    def longest_prompt(self) -> int:
        """Maximum prompt tokens of GRPO; longer ones are left out."""
        return preset("grpo", self.preset).max_prompt_tokens

    def few(self, full: int, tiny: int = 6) -> int:
        """A count for this run: `full`, or `tiny` when the tests run the notebook."""
        return tiny if self.short else full

    def held_out(self, full: int, tiny: int = 4) -> list[Pair]:
        """Labelled pairs for before and after: of validation.jsonl, or of train.jsonl if there is none,
        which is reported."""
        files = self.files()
        path = _probe_file(files)
        if not path:
            print(
                f"{files} has no validation.jsonl, so pairs of train.jsonl are judged. GRPO trains on them, "
                f"so the result is optimistic."
            )
        return [pair for pair in read_pairs(path or files / "train.jsonl").pairs if pair.label][
            : self.few(full, tiny)
        ]

    def adapter(self, stage: str) -> str:
        """The adapter of "sft" or "grpo" made in `out`, else the shipped nano one; prints
        which."""
        own = self.out / stage / "adapter"
        if (own / WEIGHTS).exists():
            print(f"{stage}: {own}, made here")
            return str(own)
        if self.model != "nano":
            raise InputError(f"There is no {stage} adapter in {own}. First run the notebook that trains it.")
        print(f"{stage}: {SHIPPED[stage]}, the shipped nano adapter (none of yours in {own.parent})")
        return SHIPPED[stage]

    def files(self) -> Path:
        """The folder with chains.jsonl, train.jsonl and validation.jsonl; made at the first call."""
        if self.data not in ("nano", "published"):
            return _own_files(Path(self.data), chains=not self.cold_start)
        # published pairs are filtered by length, so each preset has its own files
        folder = self.out / ("data" if self.fast else f"data-{self.longest_prompt}")
        if not (folder / "data.json").exists():
            _make_nano(folder, self.short) if self.data == "nano" else _make_published(folder, self)
        return folder

    def estimate(self, config: Any) -> str:
        """How long a training will take, in words: by the planner on a GPU, by measurements for the nano
        model."""
        stage = "sft" if isinstance(config, SFTConfig) else "grpo"
        if self.model == "smol":
            return f"{steps_of(config)} steps: {SMOL_STEP[stage]}"
        if self.fast:
            return _describe_minutes(stage, steps_of(config), "measured on two CPU cores")
        gpu = CARD_GPU[self.preset.partition(":")[0]]
        found = estimate_hours(config, self.model, gpu, count_rows(config.chains) if stage == "sft" else 0)
        return (
            f"about {60 * (found or 0):.0f} minutes on the preset's card (planner estimate, not "
            "measured on it)"
        )

    def looks(self, count: int) -> str:
        """How long `count` looks of the embedded judge take."""
        return (
            _describe_minutes("look", count, "measured on two CPU cores")
            if self.model == "nano"
            else f"{count} judge calls"
        )

    def _base(self) -> dict[str, Any]:
        return {"model": base_of(self), "style": "compact"} if self.fast else {}


def choose_settings(
    model: str = "auto",
    preset: str = "auto",
    data: str = "auto",
    out: str = "auto",
    fast: bool | str = "auto",
    needs: str = "",
    run: str = "",
) -> Settings:
    """Choose the notebook's settings and print them. Raises InputError for names that do not exist.

    model: a name of `presets.MODELS`. preset: t4-16gb, l4-24gb or paper; by the card's memory. data:
    "published" (the paper's sets, from the hub) or a folder. out: by default the Drive on Colab, the working
    folder on Kaggle. fast: True for the embedded nano model, without a GPU always; "smol" for a real language
    model of 135 M parameters in the nano world, minutes on a GPU. needs: the stage whose adapter an earlier
    notebook must have made. run: keeps the runs of this notebook apart from those of the others.
    """
    where, memory = detect_platform(os.environ), this_machine().memory_gib
    folder = output_folder(out, where)
    # wrong names are reported here too
    wanted = _on_gpu(model, preset, "published" if data == "auto" else data, folder, memory)
    nano = Settings(True, "nano", "nano", "nano", folder / "nano", bool(os.environ.get(SHORT)))
    if fast == "smol":
        base_folder()  # or an error that says how to get it
        made = _or_nano(replace(nano, model="smol", preset="smol", out=folder / "smol"), nano, needs)
    elif fast is True or not memory:
        made = nano
        given = {"model": model, "preset": preset, "data": data}
        unused = [f"{name}={value!r}" for name, value in given.items() if value not in ("auto", "nano")]
        if fast is False or unused:
            why = "as requested" if fast is True else "there is no GPU here"
            print(
                f"The embedded nano model is used instead ({why}); it only knows its own world"
                + (f", so {', '.join(unused)} is not used." if unused else ".")
            )
    else:
        made = wanted
        if where == KAGGLE:
            copy_kaggle_inputs(made.out, made.model)
        made = _or_nano(made, nano, needs)
    made = replace(made, out=made.out.with_name(f"{made.out.name}-{run}")) if run else made
    made.out.mkdir(parents=True, exist_ok=True)
    print(_describe_settings(made, where))
    return made


def _or_nano(made: Settings, nano: Settings, needs: str) -> Settings:
    """The settings, or nano's if an adapter that the notebook needs does not exist yet."""
    skips_it = needs == "sft" and made.cold_start
    if not needs or skips_it or (made.out / needs / "adapter" / WEIGHTS).exists():
        return made
    print(
        f"No {needs} adapter of {made.model} in {made.out}: the embedded nano model is used instead. "
        "To use yours, first run the notebook that trains it."
    )
    return nano


def _on_gpu(model: str, name: str, data: str, folder: Path, memory: float) -> Settings:
    base = for_memory(memory) if name in ("auto", "nano") else name
    if model not in ("auto", "nano", *MODELS):
        raise InputError(f"model is {model!r}. Choose one of {', '.join(MODELS)}.")
    if model in MODELS:
        chosen = model
    else:
        chosen = DEFAULT_MODEL.get(base) or next(
            (key for key in MODELS if preset("sft", base).model == MODELS[key][0]), ""
        )
    if base in DEFAULT_MODEL:
        base = f"{base}:{chosen}"
    if preset("sft", base).model != MODELS[chosen][0]:  # raises for an unknown preset
        made_for = preset("sft", base).model
        raise InputError(
            f"The preset {base} is made for {made_for}, not for {chosen}. Choose another preset or model."
        )
    return Settings(False, chosen, base, data, folder / chosen)


def _describe_settings(s: Settings, where: str) -> str:
    if s.fast:
        size = ", shortened for a test" if s.short else ""
        what = (
            "the embedded nano model{} (a toy world, in minutes, without a GPU)"
            if s.model == "nano"
            else "smol-base{}, a real language model, in nano's toy world (minutes on a GPU)"
        )
        return f"Settings: {what.format(size)}. Output: {s.out}"
    return f"Settings: {MODELS[s.model][0]}, preset {s.preset}, data {s.data}. Output: {s.out}"


def _own_files(folder: Path, chains: bool) -> Path:
    needed = [name for name in ("chains.jsonl", "train.jsonl")[not chains :] if not (folder / name).exists()]
    if needed:
        raise InputError(
            f"{folder} has no {' and no '.join(needed)}. Notebook 01_data shows how to make them from your "
            "own pairs; put them into this folder."
        )
    return folder


def _probe_file(files: Path) -> str:
    """Pairs to judge during training, if there are any."""
    path = files / "validation.jsonl"
    return str(path) if path.exists() and path.stat().st_size else ""


def _make_nano(folder: Path, short: bool) -> None:
    from rmr1_lite.data.nano.dataset import NanoData, write_nano_data

    write_nano_data(folder, NanoData(**(TINY_DATA if short else {"test": 400})))


def _make_published(folder: Path, s: Settings) -> None:
    """The paper's own sets: chains for SFT, labelled pairs for GRPO, a hundredth of them held out."""
    from rmr1_lite.config import PrepareConfig
    from rmr1_lite.data.prepare import prepare
    from rmr1_lite.data.released_sets import write_published
    from rmr1_lite.models.token_lengths import prompt_lengths

    sets = ("reasoning-rlvr",) if s.cold_start else ("distill-sft", "after-distill-rlvr")
    counts = {name: write_published(name, folder / name) for name in sets}
    config = PrepareConfig(
        out=str(folder), order="given", validation=0.01, near=0.0, max_prompt_tokens=s.longest_prompt
    )
    done = prepare([counts[sets[-1]]["file"]], config, prompt_lengths(MODELS[s.model][0], s.style))
    print(done.text())
    if "distill-sft" in counts:
        os.replace(counts["distill-sft"]["file"], folder / "chains.jsonl")
    write_json(folder / "data.json", {"published": list(sets)})


def _describe_minutes(stage: str, steps: int, source: str) -> str:
    low, high = (max(1, round(steps * each / 60)) for each in NANO_SECONDS[stage])
    return f"about {low} minute{'s' * (low > 1)}" + (f" to {high}" if high > low else "") + f" ({source})"


def found_data(s: Settings) -> dict[str, Any]:
    """The content of the files' data.json: counts and the teacher's passes."""
    path = s.files() / "data.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def base_of(s: Settings) -> str:
    """The spec of the base model."""
    return {"nano": "nano-base", "smol": smol.NAME}.get(s.model) or MODELS[s.model][0]

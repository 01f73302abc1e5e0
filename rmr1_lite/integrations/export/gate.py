"""Runs the parity gate: the judge as it is evaluated here, and what its exported files give, on the same
pairs.

The cheap gate reads the files back with transformers, a GGUF too. The full one asks the real server
(`rmr1_lite.integrations.serving`). Greedy, both orders.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmr1_lite.integrations.export.parity import HALF, Calls, Parity, changed_verdicts, compare_calls
from rmr1_lite.integrations.export.request import ExportRequest, Source
from rmr1_lite.judging.engines.base import Sampling
from rmr1_lite.judging.factory import default_reading, local_engine, sampling_for
from rmr1_lite.judging.judge import Judge
from rmr1_lite.models.adapters import is_nano, trained_in_4bit
from rmr1_lite.models.loaded import Loaded
from rmr1_lite.models.thinking import settle_switch
from rmr1_lite.prompts import choose_style
from rmr1_lite.types import InputError, Pair

BATCH = 16
TYPE_16 = {"f16": "fp16", "bf16": "bf16", "fp16": "fp16"}  # what a GGUF's type is called here


@dataclass(frozen=True)
class Protocol:
    """How the judge is asked on both sides."""

    pairs: list[Pair]
    style: str
    reading: str
    sampling: Sampling
    switch: str

    def calls(self, judge: Judge, what: str) -> Calls:
        """Every call by (pair, order). Raises InputError where one failed: a comparison would hide it."""
        print(f"Parity: {what}")
        judgments = judge.compare_many(self.pairs)
        found = {(made.pair_id, look.order): look for made in judgments for look in made.looks}
        if failed := [look.generation.error for look in found.values() if look.generation.error is not None]:
            raise InputError(f"{len(failed)} judge calls failed ({failed[0]}), so nothing can be compared.")
        return found

    def local(self, loaded: Loaded, what: str) -> Calls:
        """The calls of a model in memory."""
        engine = local_engine(loaded, BATCH, what, self.style, self.switch)
        return self.calls(Judge(engine, self.style, self.reading, self.sampling), what)


def read_pairs_for(request: ExportRequest, source: Source) -> list[Pair]:
    """The pairs that the gate asks. Raises InputError for a file without any."""
    from rmr1_lite.evaluation.bias.pairs import choose_pairs

    spec = request.spec if is_nano(request.spec) else source.base
    return choose_pairs(spec, request.pairs, request.limit).pairs


def settle_protocol(request: ExportRequest, pairs: list[Pair], loaded: Loaded) -> Protocol:
    """What the gate asks, and how. Sets the thinking switch of the loaded tokenizer."""
    style = choose_style(request.style, loaded.style, request.spec)
    sampling = sampling_for(request.spec, max_new_tokens=request.max_new_tokens)
    switch = settle_switch(loaded.tokenizer, style, "auto", loaded.thinking)
    return Protocol(pairs, style, default_reading(request.spec), sampling, switch)


def before_export(request: ExportRequest, source: Source, protocol: Protocol) -> tuple[Calls, int | None]:
    """(the calls of the judge as it was trained, how many verdicts the 16-bit type changes by itself)."""
    from rmr1_lite.models.loading import free_memory, half_type, load

    trained = trained_in_4bit(source.folder, source.info) if source.folder and source.info else None
    four_bit = source.four_bit if trained is None else trained
    whole = "fp32" if _fits_in_32_bits(source.base) else half_type()

    def run(number_type: str) -> Calls:
        found = protocol.local(
            load(request.spec, four_bit, number_type=number_type), f"before, {number_type}"
        )
        free_memory()
        return found

    before = run(whole)
    if source.number_type not in HALF or whole != "fp32":
        return before, None
    return before, changed_verdicts(before, run(TYPE_16[source.number_type]))


def after_export(
    protocol: Protocol,
    load_exported: Callable[[], Loaded],
    before: tuple[Calls, int | None],
    number_type: str,
) -> Parity:
    """The cheap gate."""
    after = protocol.local(load_exported(), f"after, {number_type} files read by transformers")
    return compare_calls(protocol.pairs, before[0], after, number_type, "transformers", before[1])


def load_merged(folder: Path, number_type: str) -> Loaded:
    """A merged model, in its own type."""
    from rmr1_lite.models.loading import load

    return load(str(folder), four_bit=False, number_type=number_type)


def load_with_adapter(base: Path, adapter: Path, number_type: str) -> Loaded:
    """A plain base with the adapter over it, as vLLM serves them."""
    from peft import PeftModel

    loaded = load_merged(base, number_type)
    loaded.model = PeftModel.from_pretrained(loaded.model, str(adapter))
    return loaded


def load_gguf(file: Path, tokenizer_folder: Path) -> Loaded:
    """A GGUF file, dequantised by transformers into 32 bits. Its tokenizer names another end token than
    the model's, so the base's files give the tokenizer and the ids that end a text."""
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig

    from rmr1_lite.models.loading import load_tokenizer
    from rmr1_lite.models.model_files import quiet_unless_large

    with quiet_unless_large(str(tokenizer_folder)):
        model: Any = AutoModelForCausalLM.from_pretrained(
            str(file.parent.resolve()), gguf_file=file.name, dtype=torch.float32
        )
    model.generation_config = GenerationConfig.from_pretrained(str(tokenizer_folder))
    return Loaded(model.eval(), load_tokenizer(str(tokenizer_folder)), None, file.name)


def _fits_in_32_bits(base: str) -> bool:
    """Whether the judge and a plain copy of it, both in 32 bits, fit where models run here."""
    import torch

    from rmr1_lite.models.loading import model_device
    from rmr1_lite.models.memory import available_memory
    from rmr1_lite.models.model_files import read_config, stored_bytes, stored_in_4bit

    width = 0.5 if stored_in_4bit(base) else getattr(read_config(base).dtype, "itemsize", 2)
    needed = stored_bytes(base) / width * 8
    free = torch.cuda.mem_get_info()[0] if model_device() == "cuda" else available_memory()
    return needed < free

"""An exported judge on the workers of a Ray cluster, each with a vLLM of its own.

The workers get token ids, rendered here as for the kit's own engine, and give token ids back, read here in
the same way. Ray Data passes on no finish reason: a text is finished when it ends in one of the model's end
tokens, truncated when it is as long as it may be; anything else has an unknown end and counts as unparsed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rmr1_lite.extras import is_here
from rmr1_lite.judging.engines.base import Request, Sampling, request_seed
from rmr1_lite.judging.engines.ray_data.cluster import running_cluster
from rmr1_lite.judging.engines.ray_data.rounds import BATCH, INDEX, Again, Row, in_rounds
from rmr1_lite.models.adapters import fingerprint_of
from rmr1_lite.models.exports import ExportInfo, read_export
from rmr1_lite.models.render import opens_thought, render_ids
from rmr1_lite.models.thinking import settle_switch
from rmr1_lite.models.vllm_settings import DTYPES, process_variables, smallest_rank
from rmr1_lite.types import Generation, InputError

FORMS = ("merged", "vllm")
IN_FLIGHT = 1024  # requests at once for a worker, as many as vLLM takes on a large card
COLUMNS = (INDEX, "generated_tokens", "__inference_error__")


@dataclass(frozen=True)
class Reading:
    """What token ids are read with. ends: ids that end a text. context: tokens of prompt and text."""

    tokenizer: Any
    ends: tuple[int, ...]
    context: int


class RayVllmEngine:
    """folder: an exported judge, merged or as base and adapter, at the same path on every machine.

    thinking: on, off or auto, as in `make_engine`. Raises InputError for a folder that cannot be used.
    """

    def __init__(self, folder: str | Path, style: str | None = None, thinking: str = "auto") -> None:
        self.folder = Path(folder).resolve()
        self.info = _usable(self.folder)
        self.name, self.style = str(folder), style or self.info.style
        self.fingerprint = fingerprint_of(str(self.folder))
        self._reading = _reading(self.folder / self.info.model, self.info.context)
        self.thinking = settle_switch(self._reading.tokenizer, self.style, thinking, self.info.thinking)

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[int, Generation]]:
        """Yield the prompts that are too long at once, then the others as they come back, in any order.

        Raises EngineStopped where no worker can write, InputError where Ray or vLLM is missing or the cluster
        too small.
        """
        limit = self.info.context - sampling.max_new_tokens
        if limit < 1:
            raise InputError(
                f"{self.name}: a context of {self.info.context} tokens leaves no space for a prompt. Give "
                f"fewer than --max-new-tokens {sampling.max_new_tokens}."
            )
        prompts = [render_ids(self._reading.tokenizer, request.messages) for request in requests]
        fitting = [index for index, ids in enumerate(prompts) if len(ids) <= limit]
        for index in sorted(set(range(len(prompts))) - set(fitting)):
            yield index, Generation("", False, prompt_tokens=len(prompts[index]), too_long=True)
        if not fitting:
            return
        device = device_of_vllm()
        needed = {"CPU": 2.0} if device == "CPU" else {"CPU": 2.0, device: 1.0}
        with running_cluster(needed) as resources:
            run = _Run(self, [requests[i] for i in fitting], [prompts[i] for i in fitting], sampling)
            run.device, run.workers = device, 1 if device == "CPU" else int(resources[device])
            for place, made in in_rounds(len(fitting), run.ask, run.read, _say):
                yield fitting[place], made

    @property
    def reading(self) -> Reading:
        return self._reading


class _Run:
    """One call of `generate`. device: CPU or GPU; workers: each has a vLLM."""

    device, workers = "GPU", 1

    def __init__(
        self, engine: RayVllmEngine, requests: list[Request], prompts: list[list[int]], sampling: Sampling
    ) -> None:
        self._engine, self._requests, self._prompts, self._sampling = engine, requests, prompts, sampling

    def ask(self, indices: Sequence[int], batch: int) -> Iterator[Row]:
        import ray
        from ray.data.llm import build_processor, vLLMEngineProcessorConfig

        rows = [{INDEX: index, **self._row(index)} for index in indices]
        data = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // batch))
        config = vLLMEngineProcessorConfig(
            model_source=self._model,
            engine_kwargs=engine_settings(self._engine.folder, self._engine.info, self.device),
            batch_size=batch,
            concurrency=(self.workers, self.workers),
            max_concurrent_batches=IN_FLIGHT // BATCH,
            placement_group_config={"bundle_per_worker": {"CPU": 1, **self._cards()}},
            should_continue_on_error=True,
            log_engine_metrics=False,
            runtime_env={"env_vars": process_variables(self.device != "CPU")},
            chat_template_stage=False,  # the rows hold token ids
            tokenize_stage=False,
            detokenize_stage=False,
        )
        yield from build_processor(config)(data).select_columns(list(COLUMNS)).iter_rows()

    def read(self, index: int, row: Row, seconds: float) -> Generation | Again:
        limit = self._sampling.max_new_tokens
        return read_row(row, self._prompts[index], limit, self._engine.reading, seconds)

    @property
    def _model(self) -> str:
        return str(self._engine.folder / self._engine.info.model)

    def _cards(self) -> dict[str, int]:
        return {} if self.device == "CPU" else {self.device: 1}

    def _row(self, index: int) -> dict[str, Any]:
        adapter = self._engine.info.adapter
        return {
            "tokenized_prompt": self._prompts[index],
            "sampling_params": sampling_row(self._requests[index], self._sampling, self._engine.reading.ends),
            # another name than the model's is the folder of an adapter
            "model": str(self._engine.folder / adapter) if adapter else self._model,
        }


# ---- rows


def sampling_row(request: Request, sampling: Sampling, ends: Sequence[int]) -> dict[str, Any]:
    """vLLM's sampling parameters of a request."""
    return {
        "temperature": sampling.temperature,
        "max_tokens": sampling.max_new_tokens,
        "top_p": sampling.top_p if sampling.temperature > 0 else 1.0,
        "seed": request_seed(request, sampling.seed),
        "repetition_penalty": 1.0,
        "stop_token_ids": list(ends),
        "detokenize": False,
    }


def read_row(
    row: Row, prompt: Sequence[int], limit: int, reading: Reading, seconds: float
) -> Generation | Again:
    """The Generation of a row of vLLM's. limit: the most new tokens. An `__inference_error__` is asked
    again."""
    if error := row.get("__inference_error__"):
        return Again(str(error))
    tokens = [int(token) for token in row["generated_tokens"]]
    length = next((place for place, token in enumerate(tokens) if token in reading.ends), None)
    full = len(tokens) >= limit or len(prompt) + len(tokens) >= reading.context
    finished = True if length is not None else False if full else None
    text = reading.tokenizer.decode(
        tokens[:length], skip_special_tokens=False, clean_up_tokenization_spaces=False
    )
    written = len(tokens) if length is None else length + 1
    opened = opens_thought(reading.tokenizer, prompt)
    return Generation(text, finished, opened, len(prompt), written, seconds)


# ---- what vLLM is started with


def engine_settings(folder: Path, info: ExportInfo, device: str) -> dict[str, Any]:
    """vLLM's engine arguments for an export."""
    settings: dict[str, Any] = {
        "max_model_len": info.context,
        "dtype": DTYPES[info.number_type],
        "generation_config": "vllm",  # no penalty of the model's
        "enforce_eager": device == "CPU",
        "disable_log_stats": True,
    }
    if info.adapter:
        config = json.loads((folder / info.adapter / "adapter_config.json").read_text(encoding="utf-8"))
        settings |= {"enable_lora": True, "max_lora_rank": smallest_rank(int(config["r"])), "max_loras": 1}
    return settings


def device_of_vllm() -> str:
    """What a worker takes: a GPU, unless the vLLM that is installed here is a CPU build. Raises InputError
    without one."""
    if not is_here("vllm"):
        raise InputError(
            "vLLM is needed here but not installed. Run this command where vLLM, Ray and this kit are "
            "installed together, or serve the judge and give --judge openai:MODEL@URL."
        )
    try:
        return "CPU" if "cpu" in version("vllm") else "GPU"
    except PackageNotFoundError:  # the CPU build has a name of its own
        return "CPU"


def _usable(folder: Path) -> ExportInfo:
    info = read_export(folder) if folder.is_dir() else None
    if info is None or info.form not in FORMS or info.number_type not in DTYPES:
        what = f"is an export as {info.form}" if info else "is not an exported judge"
        raise InputError(
            f"{folder} {what}. With Ray, vLLM loads a folder written by `export JUDGE --to merged` or `--to "
            "vllm`; a judge behind a server is openai:MODEL@URL."
        )
    return info


def _reading(model: Path, context: int) -> Reading:
    from rmr1_lite.models.loading import load_tokenizer
    from rmr1_lite.models.model_files import answer_ends

    tokenizer = load_tokenizer(str(model))
    return Reading(tokenizer, tuple(answer_ends(str(model), tokenizer)), context)


def _say(text: str) -> None:
    from tqdm import tqdm

    tqdm.write(text)

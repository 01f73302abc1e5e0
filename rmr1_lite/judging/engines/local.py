"""An engine that runs a transformers model in this process, with or without an adapter.

Batches hold prompts of similar length, the longest first, so that memory runs out at the start or not at all;
a batch that does not fit is halved. Prompts are padded on the left. A prompt that leaves no space for the
answer is returned as `too_long`, never clipped.

Sampling is reproducible: the noise of a row comes from its own generator, seeded by (seed, id, order,
vote). The global random state is neither read nor changed, so judging during a training does not
affect it. The same requests in the same batches give the same texts. In other batches (another
batch size, a resumed run) a row keeps its noise, but padding changes the last bits of its logits, so a token
may occasionally differ.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from queue import Queue
from threading import Event, Thread
from typing import Any

from rmr1_lite.judging.engines.base import Request, Sampling
from rmr1_lite.judging.engines.local_sampling import generators, processors, queued_text
from rmr1_lite.judging.engines.local_slots import SPARE, SlotWriter, fits_slots
from rmr1_lite.models.loaded import is_quantised
from rmr1_lite.models.memory import available_memory
from rmr1_lite.models.merged_copy import MergedCopy, copy_bytes
from rmr1_lite.models.prefix_sampling import sample_rollouts
from rmr1_lite.models.render import end_ids, opens_thought, render_ids
from rmr1_lite.models.shared_prefix import is_supported
from rmr1_lite.types import Generation, InputError


class LocalEngine:
    """max_prompt_tokens: the longest prompt to accept; None: the model's context minus the answer's
    length.

    fingerprint: of the model's weights, so that a log of its texts is never taken for another judge's.
    thinking: how the thinking switch of its template was set, for the same reason.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        batch_size: int = 8,
        max_prompt_tokens: int | None = None,
        name: str = "local",
        style: str | None = None,
        fingerprint: str = "",
        thinking: str = "",
    ) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}. Give a whole number of at least 1.")
        self.model, self.tokenizer, self.name, self.style = model, tokenizer, name, style
        self.batch_size, self.max_prompt_tokens = batch_size, max_prompt_tokens
        self.fingerprint, self.thinking = fingerprint, thinking
        self.copy: MergedCopy | None = None
        self._refused = False  # a plain copy would not fit into memory
        self._writer: SlotWriter | None = None

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[int, Generation]]:
        """Yield the prompts that are too long at once, then batch after batch."""
        limit = self.prompt_limit(sampling)
        prompts = [render_ids(self.tokenizer, request.messages) for request in requests]
        fitting = [i for i, ids in enumerate(prompts) if len(ids) <= limit]
        for index in sorted(set(range(len(prompts))) - set(fitting)):
            yield index, _too_long(prompts[index])
        if fits_slots(self._plain()):
            yield from self._slot_rows(fitting, requests, prompts, sampling)
            return
        fitting.sort(key=lambda i: -len(prompts[i]))
        for start in range(0, len(fitting), self.batch_size):
            batch = fitting[start : start + self.batch_size]
            rows = self._batch([requests[i] for i in batch], [prompts[i] for i in batch], sampling)
            yield from zip(batch, rows, strict=True)

    def stream(self, request: Request, sampling: Sampling) -> Generator[str, None, Generation]:
        """Yield the text as it is generated; returns the Generation. Closing the iterator stops the model."""
        ids = render_ids(self.tokenizer, request.messages)
        if len(ids) > self.prompt_limit(sampling):
            return _too_long(ids)
        start = time.perf_counter()
        written: list[int] = []
        if fits_slots(self._plain()):
            yield from self._slot_writer().pieces(request, ids, sampling, written)
        else:
            yield from self._pieces(request, ids, sampling, written)
        return self._read(ids, written, time.perf_counter() - start)

    def prompt_limit(self, sampling: Sampling) -> int:
        """The longest prompt, in tokens, that is accepted with this answer length."""
        context = _context(self.model)
        room = context - sampling.max_new_tokens if context else None
        limits = [n for n in (room, self.max_prompt_tokens) if n is not None]
        if not limits:
            raise InputError(
                f"{self.name}: the model's config names no context length. Give max_prompt_tokens."
            )
        if min(limits) < 1:
            remedy = f"Give fewer than max_new_tokens={sampling.max_new_tokens}."
            raise InputError(
                f"{self.name}: a context of {context} tokens leaves no space for a prompt. {remedy}"
            )
        return min(limits)

    def _batch(
        self, requests: list[Request], prompts: list[list[int]], sampling: Sampling
    ) -> list[Generation]:
        import torch

        start = time.perf_counter()
        try:
            rows = self._tokens(requests, prompts, sampling)
        except torch.OutOfMemoryError:
            rows = None  # leave the except block first: the error keeps the memory alive
        if rows is None:
            return self._halves(requests, prompts, sampling)
        seconds = (time.perf_counter() - start) / len(prompts)
        return [self._read(ids, row, seconds) for ids, row in zip(prompts, rows, strict=True)]

    def _halves(
        self, requests: list[Request], prompts: list[list[int]], sampling: Sampling
    ) -> list[Generation]:
        import torch

        torch.cuda.empty_cache()
        half = len(prompts) // 2
        if not half:
            return [Generation("", finished=False, prompt_tokens=len(prompts[0]), error="out of GPU memory")]
        first = self._batch(requests[:half], prompts[:half], sampling)
        return first + self._batch(requests[half:], prompts[half:], sampling)

    def _tokens(
        self, requests: list[Request], prompts: list[list[int]], sampling: Sampling, **extra: Any
    ) -> list[list[int]]:
        """New token ids per row; tokens after an end token are padding."""
        import torch

        model = self._plain()
        if sampling.top_p == 1 and not extra and self.model.device.type == "cpu" and is_supported(model):
            return self._shared(model, requests, prompts, sampling)
        width = max(map(len, prompts))
        pad = self._pad_id()
        device = self.model.device
        input_ids = torch.tensor([[pad] * (width - len(ids)) + ids for ids in prompts], device=device)
        mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts], device=device)
        noise = generators(requests, sampling, device) if sampling.temperature else []
        with torch.inference_mode(), _evaluating(model):
            out = model.generate(
                input_ids=input_ids,
                attention_mask=mask,
                generation_config=self._config(sampling),
                logits_processor=processors(noise, sampling),
                **extra,
            )
        return out[:, width:].tolist()

    def _shared(
        self, model: Any, requests: list[Request], prompts: list[list[int]], sampling: Sampling
    ) -> list[list[int]]:
        """The same texts as `generate`, several times as fast on a CPU: no growing caches or expanded heads,
        finished rows leave, and the votes on one prompt (which are adjacent) compute it once."""
        first = [i for i in range(len(prompts)) if i == 0 or prompts[i] != prompts[i - 1]]
        votes = {end - start for start, end in zip(first, [*first[1:], len(prompts)], strict=True)}
        n = votes.pop() if len(votes) == 1 else 1
        noise = generators(requests, sampling, "cpu") if sampling.temperature else None
        groups = sample_rollouts(
            model,
            prompts[::n],
            n,
            sampling.max_new_tokens,
            sampling.temperature,
            end_ids(self.model, self.tokenizer),
            noise,
        )
        return [row for group in groups for row in group]

    def _slot_rows(
        self, places: list[int], requests: Sequence[Request], prompts: list[list[int]], sampling: Sampling
    ) -> Iterator[tuple[int, Generation]]:
        """Every text as it ends; requests run in their order, where similar ones (both orders of a pair) are
        adjacent."""
        chosen = [requests[i] for i in places], [prompts[i] for i in places]
        for row, tokens, seconds in self._slot_writer().texts(*chosen, sampling, self.batch_size):
            yield places[row], self._read(prompts[places[row]], tokens, seconds)

    def _slot_writer(self) -> SlotWriter:
        """The writer, which keeps the last prompt's keys between calls while the weights stay the same."""
        model, version = self._plain(), self.copy.version if self.copy else 0
        if self._writer is None or (self._writer.model, self._writer.version) != (model, version):
            ends = end_ids(self.model, self.tokenizer)
            self._writer = SlotWriter(model, self.tokenizer, ends, version)
        return self._writer

    def _plain(self) -> Any:
        """On a CPU, a copy of the model in plain weights with the current adapter added, if memory allows it:
        unpacking NF4 again for each token takes most of the time, and so does
        running LoRA separately from its layers."""
        if self.model.device.type != "cpu" or not _has_layers_to_merge(self.model) or self._refused:
            return self.model
        if self.copy is None:
            if copy_bytes(self.model) + SPARE > available_memory():
                self._refused = True
                print(f"{self.name}: too little memory for a plain copy of the weights: judging is slower.")
                return self.model
            self.copy = MergedCopy(self.model)
        return self.copy.refresh()

    def _config(self, sampling: Sampling) -> Any:
        """Nominally greedy: the noise comes from `processors`. Set so that no default of the model
        applies."""
        from transformers import GenerationConfig

        return GenerationConfig(
            do_sample=False,
            num_beams=1,
            temperature=1.0,
            top_p=1.0,
            top_k=50,
            repetition_penalty=1.0,
            no_repeat_ngram_size=0,
            min_length=0,
            max_new_tokens=sampling.max_new_tokens,
            eos_token_id=list(end_ids(self.model, self.tokenizer)) or None,
            pad_token_id=self._pad_id(),
        )

    def _pad_id(self) -> int:
        candidates = (self.tokenizer.pad_token_id, *end_ids(self.model, self.tokenizer), 0)
        return next(i for i in candidates if i is not None)

    def _read(self, prompt: list[int], row: list[int], seconds: float) -> Generation:
        """Truncated at the first end token. Other special tokens stay: the log keeps what was written."""
        ends = end_ids(self.model, self.tokenizer)
        length = next((i for i, token in enumerate(row) if token in ends), None)
        text = self.tokenizer.decode(
            row[:length], skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        thought_open = opens_thought(self.tokenizer, prompt)
        written = len(row) if length is None else length + 1
        return Generation(text, length is not None, thought_open, len(prompt), written, seconds)

    def _pieces(
        self, request: Request, ids: list[int], sampling: Sampling, written: list[int]
    ) -> Iterator[str]:
        """Run the model in a thread and yield text; `written` collects the token ids."""
        from transformers import StoppingCriteriaList

        stop = Event()
        streamer = queued_text(self.tokenizer, end_ids(self.model, self.tokenizer))
        extra = {
            "streamer": streamer,
            "stopping_criteria": StoppingCriteriaList([lambda *_, **__: stop.is_set()]),
        }
        failures: Queue[BaseException] = Queue()

        def work() -> None:
            try:
                written.extend(self._tokens([request], [ids], sampling, **extra)[0])
            except BaseException as error:  # raised again in the caller's thread, below
                failures.put(error)
            finally:
                streamer.end()

        thread = Thread(target=work, daemon=True)
        thread.start()
        try:
            yield from filter(None, streamer)
        finally:
            stop.set()
            thread.join()
        if not failures.empty():
            raise failures.get()


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Turn dropout off while judging, then restore the model's mode.

    Unsloth's `generate` turns gradient checkpointing off and keeps half-precision copies of the adapter for
    decoding. It undoes both only for a model that it finds in training mode, and never after an error, so its
    `for_training` is called here. Else the rest of an SFT run would train without checkpointing, and later
    probes would decode with the adapter of the first one.
    """
    was_training, rearm = model.training, getattr(model, "for_training", None)
    model.eval()
    try:
        yield
    finally:
        if was_training and rearm is not None:
            rearm()
        model.train(was_training)


def _has_layers_to_merge(model: Any) -> bool:
    return is_quantised(model) or hasattr(model, "peft_config")


def _context(model: Any) -> int | None:
    """The model's context in tokens. Unsloth truncates prompts beyond the length it was loaded for,
    without an error."""
    limits = [getattr(model.config, "max_position_embeddings", None), getattr(model, "max_seq_length", None)]
    return min((limit for limit in limits if limit), default=None)


def _too_long(ids: list[int]) -> Generation:
    return Generation("", finished=False, prompt_tokens=len(ids), too_long=True)

"""How the local engine runs large models on a CPU: in slots (`rmr1_lite.models.slots`)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from rmr1_lite.judging.engines.base import Request, Sampling
from rmr1_lite.judging.engines.local_sampling import TextPieces, chooser
from rmr1_lite.models.memory import available_memory
from rmr1_lite.models.merged_copy import copy_bytes
from rmr1_lite.models.packed_linears import PackedLinears
from rmr1_lite.models.shared_prefix import is_supported
from rmr1_lite.models.slots import Beginning, decode_rows

SPARE = 2**29  # bytes of memory that copies of weights leave free for keys, values and other programs
SLOTS_FROM = 30_000_000  # parameters: above, a token's time is reading weights; below, the number of calls


def fits_slots(model: Any) -> bool:
    """Whether a model runs in slots: on a CPU, of a tested architecture, and large enough."""
    return model.device.type == "cpu" and model.num_parameters() >= SLOTS_FROM and is_supported(model)


class SlotWriter:
    """Generates with one model in one state of its weights (`version`), and keeps the last prompt's keys for
    the next call: judging a pair in both orders, or one question again, is faster."""

    def __init__(self, model: Any, tokenizer: Any, ends: Sequence[int], version: int) -> None:
        self.model, self.tokenizer, self.ends, self.version = model, tokenizer, ends, version
        self._beginning: list[Beginning] = []
        self._linears: PackedLinears | None = None

    def texts(
        self, requests: list[Request], prompts: list[list[int]], sampling: Sampling, slots: int
    ) -> Iterator[tuple[int, list[int], float]]:
        """Yield (row, token ids, seconds) of every text as it ends. A second is divided among the slots that
        were busy in it."""
        written: dict[int, list[int]] = {}
        spent: dict[int, float] = {}
        start = time.perf_counter()
        for step in self._steps(requests, prompts, sampling, slots):
            now = time.perf_counter()
            each, start = (now - start) / len(step), now
            for row, token, last in step:
                written.setdefault(row, []).append(token)
                spent[row] = spent.get(row, 0.0) + each
                if last:
                    yield row, written.pop(row), spent.pop(row)

    def pieces(
        self, request: Request, ids: list[int], sampling: Sampling, written: list[int]
    ) -> Iterator[str]:
        """Yield the text of one row word by word; `written` collects the token ids."""
        pieces = TextPieces(self.tokenizer)
        for step in self._steps([request], [ids], sampling, 1):
            written.append(step[0][1])
            if written[-1] not in self.ends and (text := pieces.add(written[-1])):
                yield text
        if text := pieces.end():
            yield text

    def _steps(
        self, requests: list[Request], prompts: list[list[int]], sampling: Sampling, slots: int
    ) -> Iterator[list[tuple[int, int, bool]]]:
        if self._linears is None and copy_bytes(self.model) + SPARE < available_memory():
            self._linears = PackedLinears(self.model, slots)
        choose = chooser(requests, sampling)
        room, kept = sampling.max_new_tokens, self._beginning
        return decode_rows(self.model, prompts, slots, room, choose, self.ends, kept, self._linears)

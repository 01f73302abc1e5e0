"""Many texts at once on a CPU: a number of slots, each with its own keys and values.

Stock `generate` pads a batch to its longest prompt, copies all keys and values for every token, spreads them
over the query heads, and continues until the last row is done. Here nothing is padded or copied, a slot is
refilled as soon as its text ends, and a prompt that begins like the one before it (both orders of a pair:
instruction and question; votes: everything) takes the keys of that beginning from it.

    for step in decode_rows(model, prompts, slots=8, room=400, choose=greedy, ends=(2,)):
        for row, token, last in step:
            ...

Worthwhile for models where reading the weights takes a token's time; a small one (nano) is limited by the
number of operations, and `rmr1_lite.models.prefix_sampling` has fewer. Tested architectures: those of
`rmr1_lite.models.shared_prefix`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from rmr1_lite.models.attention_masks import causal_mask
from rmr1_lite.models.packed_linears import PackedLinears
from rmr1_lite.models.shared_prefix import decoder_and_head, shared_attention

Ids = list[int]
# (logits [slots, vocabulary] in fp32, row of each) -> the next token of each, [slots]
Choose = Callable[[Any, list[int]], Any]


def greedy(logits: Any, rows: list[int]) -> Any:
    """The most likely token of every slot."""
    return logits.argmax(-1)


@dataclass
class Slot:
    """One text: the caller's row number; keys and values of each layer [KV heads, room, d], filled up to
    `length`."""

    row: int
    buffers: list[tuple[Any, Any]]
    length: int = 0
    said: int = 0


@dataclass
class Beginning:
    """The last prompt and its keys and values, for the next one that begins like it."""

    ids: Ids
    buffers: list[tuple[Any, Any]]


def decode_rows(
    model: Any,
    prompts: Sequence[Ids],
    slots: int,
    room: int,
    choose: Choose,
    ends: Sequence[int],
    beginning: list[Beginning] | None = None,
    linears: PackedLinears | None = None,
) -> Iterator[list[tuple[int, int, bool]]]:
    """Yield, step by step, (row, token, whether it is the row's last) of every slot; rows start in their
    order.

    room: maximum tokens of a text. A text ends with one of `ends`, which is yielded, or at `room`.
    beginning: a list that holds the last prompt's keys between calls on the same weights. linears: the
    model's layers in a faster layout.
    """
    import torch

    decoder, head = decoder_and_head(model)
    store = SlotStore(decoder, beginning if beginning is not None else [])
    waiting = list(range(len(prompts)))[::-1]
    active: list[Slot] = []
    packed = linears.active if linears else nullcontext
    was_training = model.training
    model.eval()
    try:
        while waiting or active:
            with torch.inference_mode(), shared_attention(decoder), packed():
                # 1. one more token in every slot, 2. new prompts into the free slots
                states = [store.step(active)] if active else []
                while waiting and len(active) < slots:
                    slot, state = store.begin(waiting.pop(), prompts, room)
                    active.append(slot)
                    states.append(state)
                # 3. the head, the widest layer, once for all
                tokens = choose(head(torch.cat(states)).float(), [slot.row for slot in active])
            told = [
                _count(slot, token, ends, room) for slot, token in zip(active, tokens.tolist(), strict=True)
            ]
            keep = [place for place, (_, _, last) in enumerate(told) if not last]
            active, store.ids = [active[place] for place in keep], tokens[keep]
            yield told
    finally:
        model.train(was_training)


def _count(slot: Slot, token: int, ends: Sequence[int], room: int) -> tuple[int, int, bool]:
    slot.said += 1
    return slot.row, token, token in ends or slot.said == room


class SlotStore:
    """What the layers attend to: a prompt being read, or one token of every slot."""

    def __init__(self, decoder: Any, beginning: list[Beginning]) -> None:
        self.decoder, self.beginning = decoder, beginning
        self.ids: Any = None  # the last token of every slot
        self.reading: Slot | None = None  # the slot whose prompt is read
        self.active: list[Slot] = []

    def begin(self, row: int, prompts: Sequence[Ids], room: int) -> tuple[Slot, Any]:
        """A slot that has read its prompt, and the hidden state of the prompt's last token [1, hidden]."""
        import torch

        ids = prompts[row]
        slot = Slot(row, self._buffers(len(ids) + room))
        slot.length = self._take_beginning(ids, slot)
        rest = torch.tensor([ids[slot.length :]], device=self.decoder.embed_tokens.weight.device)
        places = torch.arange(slot.length, len(ids), device=rest.device)[None]
        self.reading = slot
        hidden = self._run(rest, places)
        self.reading, slot.length = None, len(ids)
        self.beginning[:] = [Beginning(ids, [(k[:, : len(ids)], v[:, : len(ids)]) for k, v in slot.buffers])]
        return slot, hidden[0, -1:]

    def step(self, active: list[Slot]) -> Any:
        """Hidden states [slots, hidden] of the last token of every slot."""
        import torch

        self.active = active
        places = torch.tensor([[slot.length] for slot in active], device=self.ids.device)
        hidden = self._run(self.ids[:, None], places)
        for slot in active:
            slot.length += 1
        return hidden[:, 0]

    def attend(
        self, layer: int, query: Any, key: Any, value: Any, scaling: float, window: int | None = None
    ) -> Any:
        """Attention output [B, H, T, d] of one layer. window: the nearest columns that it sees; None: all."""
        if self.reading is not None:
            return self._read_prompt(self.reading, layer, query, key, value, scaling, window)
        return self._read_slots(layer, query, key, value, scaling, window)

    def _read_prompt(
        self, slot: Slot, layer: int, query: Any, key: Any, value: Any, scaling: float, window: int | None
    ) -> Any:
        """The rest of a prompt attends to its beginning and, causally, to itself."""
        import torch.nn.functional as F

        start, steps = slot.length, key.shape[2]
        keys, values = slot.buffers[layer]
        keys[:, start : start + steps], values[:, start : start + steps] = key[0], value[0]
        seen, end = causal_mask(start, steps, window, query.device), start + steps
        return F.scaled_dot_product_attention(
            query,
            keys[None, :, :end],
            values[None, :, :end],
            attn_mask=seen,
            is_causal=seen is None,
            scale=scaling,
            enable_gqa=True,
        )

    def _read_slots(
        self, layer: int, query: Any, key: Any, value: Any, scaling: float, window: int | None
    ) -> Any:
        """Slot by slot, since each has its own length."""
        import torch
        import torch.nn.functional as F

        out = torch.empty_like(query)
        for place, slot in enumerate(self.active):
            keys, values = slot.buffers[layer]
            end, first = slot.length + 1, max(0, slot.length + 1 - window) if window else 0
            keys[:, slot.length], values[:, slot.length] = key[place, :, 0], value[place, :, 0]
            out[place] = F.scaled_dot_product_attention(
                query[place : place + 1],
                keys[None, :, first:end],
                values[None, :, first:end],
                scale=scaling,
                enable_gqa=True,
            )[0]
        return out

    def _run(self, ids: Any, places: Any) -> Any:
        return self.decoder(
            input_ids=ids, position_ids=places, use_cache=False, shared=self
        ).last_hidden_state

    def _buffers(self, columns: int) -> list[tuple[Any, Any]]:
        config, like = self.decoder.config, self.decoder.embed_tokens.weight
        heads = config.num_key_value_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return [
            (like.new_empty(heads, columns, size), like.new_empty(heads, columns, size))
            for _ in range(config.num_hidden_layers)
        ]

    def _take_beginning(self, ids: Ids, slot: Slot) -> int:
        """Copy the keys of the beginning that the last prompt and this one share; returns its tokens. The
        last token is always computed: its state is needed."""
        if not self.beginning:
            return 0
        kept = self.beginning[0]
        most = min(len(kept.ids), len(ids) - 1)
        common = next((i for i in range(most) if kept.ids[i] != ids[i]), most)
        for (keys, values), (old_keys, old_values) in zip(slot.buffers, kept.buffers, strict=True):
            keys[:, :common], values[:, :common] = old_keys[:, :common], old_values[:, :common]
        return common

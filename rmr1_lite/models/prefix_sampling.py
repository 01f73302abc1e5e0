"""Rollouts of one prompt that share its keys and values, token by token, with a generator that is passed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rmr1_lite.models.shared_prefix import STILL_OPEN, Ids, PrefixStore, decoder_and_head, shared_attention


def sample_rollouts(
    model: Any,
    prompts: Sequence[Ids],
    n: int,
    max_new_tokens: int,
    temperature: float,
    end_ids: Sequence[int],
    generator: Any,
) -> list[list[Ids]]:
    """n sampled completions for each prompt; a finished one ends with its end token, which is kept.

    generator: one for all rows, or a list of one per row (prompt by prompt), so that a row's noise is its
    own. temperature 0 takes the most likely token and needs none.
    """
    import torch

    decoder, head = decoder_and_head(model)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode(), shared_attention(decoder):
            store = PrefixStore(decoder, prompts, n)
            ids = _sample_rows(store, head, max_new_tokens, temperature, end_ids, generator)
    finally:
        model.train(was_training)
    rows = [_cut_at_end(row, end_ids) for row in ids.tolist()]
    return [rows[i : i + n] for i in range(0, len(rows), n)]


def _sample_rows(
    store: PrefixStore, head: Any, room: int, temperature: float, end_ids: Sequence[int], generator: Any
) -> Any:
    """Token ids [rows, up to room]; tokens after an end token are noise. Finished groups leave the
    batch."""
    import torch

    store.reserve(room)
    ids = store.last
    ends = torch.tensor(list(end_ids), dtype=ids.dtype, device=ids.device)
    places = torch.arange(len(ids), device=ids.device)
    said = torch.zeros((len(ids), room), dtype=ids.dtype, device=ids.device)
    finished = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
    for column in range(room):
        logits = head(store.forward(ids)[:, -1]).float()
        ids = (
            draw_tokens(logits / temperature, _next_numbers(generator, places))
            if temperature
            else logits.argmax(-1, keepdim=True)
        )
        said[places, column] = ids[:, 0]
        finished |= torch.isin(ids[:, 0], ends)
        open_groups = ~finished.view(-1, store.n).all(1)
        if not open_groups.any():
            return said[:, : column + 1]
        if open_groups.float().mean() <= STILL_OPEN:
            rows = store.keep(open_groups)
            ids, places, finished = ids[rows], places[rows], finished[rows]
    return said


def draw_tokens(logits: Any, numbers: Any) -> Any:
    """One token per row from one number in [0, 1) per row, both [rows, 1]: where it falls in the cumulative
    probabilities.

    Noise for the entire vocabulary took a fifth of the rollout. Summed in float64: a vocabulary is long.
    """
    import torch

    sums = logits.softmax(-1, dtype=torch.float64).cumsum(-1)
    return torch.searchsorted(sums, numbers.double() * sums[:, -1:], right=True).clamp_(max=sums.shape[1] - 1)


def _next_numbers(generator: Any, rows: Any) -> Any:
    """The next number of every row."""
    import torch

    if isinstance(generator, torch.Generator):
        return torch.rand((len(rows), 1), generator=generator, device=generator.device)
    return torch.stack(
        [torch.rand(1, generator=generator[row], device=generator[row].device) for row in rows.tolist()]
    )


def _cut_at_end(row: Ids, end_ids: Sequence[int]) -> Ids:
    return row[: next((i + 1 for i, token in enumerate(row) if token in end_ids), len(row))]

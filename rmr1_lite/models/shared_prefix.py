"""Each prompt once per group: rollouts and log-probabilities when n completions share one prompt.

GRPO draws n completions of every prompt. Stock code runs the prompt n times in the rollout and n times in
training; here a group costs P + n * R tokens instead of n * (P + R), with gradients through the prompt as
well. Works for transformers decoders that use its attention interface (TESTED; including layers that see
a sliding window), with LoRA and NF4, on any device. On a GPU Unsloth has its own version; TRL's trainer has
none.

How: the prompts except their last token are run first and their keys and values kept. Every completion then
starts with the prompt's last token and attends to its group's keys: column by column without copying them,
all columns at once (in training) through torch's fused attention, which never stores the scores and is worth
the copy (shown on a CPU; on a GPU torch chooses the kernel, and memory there has not been
measured).

    rows = sample_rollouts(model, prompts, n=8, max_new_tokens=160, temperature=1.0, end_ids=(2,),
        generator=g)
    logps, mask, entropies = token_logps(model, prompts, rows)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rmr1_lite.models.attention_masks import MasksByWindow, causal_mask
from rmr1_lite.types import InputError

NAME = "rmr1_shared_prefix"
# config.model_type values that tests compare with transformers
TESTED = ("qwen2", "llama", "qwen3", "mistral", "gemma", "gemma3_text")
KINDS = {"full_attention", "sliding_attention"}
Ids = list[int]
STILL_OPEN = (
    0.75  # shrink the batch only when at most this share of its groups is unfinished, since shrinking copies
)


def token_logps(
    model: Any, prompts: Sequence[Ids], completions: Sequence[Sequence[Ids]], temperature: float = 1.0
) -> tuple[Any, Any, Any]:
    """(log-probabilities, mask, entropies), each [rows, R], rows prompt by prompt; every group has the same
    size.

    Differentiable (the entropies are not; all rows but the first of a group hold the mean over those first
    rows); zeros after the end of a row, where the mask is 0.
    """
    import torch

    n = len(completions[0])
    if any(len(group) != n for group in completions):
        raise InputError("Every prompt needs the same number of completions. Split the call.")
    decoder, head = decoder_and_head(model)
    rows = [row for group in completions for row in group]
    width = max(map(len, rows))
    device = head.weight.device
    said = torch.tensor([row + [0] * (width - len(row)) for row in rows], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=device)
    with shared_attention(decoder):
        store = PrefixStore(decoder, prompts, n)
        hidden = store.forward(torch.cat([store.last, said[:, :-1]], dim=1))
    # run the head, the widest layer, on real tokens only
    logits = head(hidden[mask.bool()]).float() / temperature
    logps = -torch.nn.functional.cross_entropy(logits, said[mask.bool()], reduction="none")
    return _spread_values(logps, mask), mask, _spread_values(_row_entropies(logits, mask, n), mask)


def _spread_values(values: Any, mask: Any) -> Any:
    """Values of the real tokens, given one after the other, in their positions [rows, R]."""
    return mask.to(values.dtype).masked_scatter(mask.bool(), values)


def _row_entropies(logits: Any, mask: Any, n: int) -> Any:
    """Entropy of each real token's distribution in the first row of every group, and their mean for the other
    rows: a metric to watch, too expensive on a CPU for each of n rows."""
    import torch

    rows = torch.arange(len(mask), device=mask.device)[:, None].expand_as(mask)[mask.bool()]
    first = rows % n == 0
    with torch.no_grad():
        shares = logits[first].log_softmax(-1)
        known = -(shares.exp() * shares).sum(-1)
        made = known.mean().expand(len(logits)).clone()
        made[first] = known
    return made


class PrefixStore:
    """Keys and values of the prompts [G, KV, P, d] and, while sampling, of the rows so far [G * n, KV, R,
    d]."""

    def __init__(self, decoder: Any, prompts: Sequence[Ids], n: int) -> None:
        import torch

        device = decoder.embed_tokens.weight.device
        self.decoder, self.n = decoder, n
        self.prefix: dict[int, tuple[Any, Any]] = {}
        self.own: dict[int, tuple[Any, Any]] = {}
        self.columns = 0  # columns of the rows' buffers; 0: all columns come in one call
        self.done = 0
        lengths = torch.tensor([len(ids) - 1 for ids in prompts], device=device)
        width = int(lengths.max())
        # right padding: no prompt token sees it, and the rows mask it. An empty prefix keeps one
        # masked column
        body = torch.tensor(
            [ids[:-1] + [0] * (max(width, 1) + 1 - len(ids)) for ids in prompts], device=device
        )
        padding = torch.arange(body.shape[1], device=device) >= lengths[:, None]
        self.hidden = padding[:, None, None]  # [G, 1, 1, P]
        self.last = torch.tensor([[ids[-1]] for ids in prompts], device=device).repeat_interleave(n, 0)
        self.starts = lengths.repeat_interleave(n)[:, None]
        self._run(body, torch.arange(body.shape[1], device=device)[None], "write")

    def reserve(self, columns: int) -> None:
        """Make buffers for `columns` columns, filled by calls of `forward` one column at a time."""
        self.columns = columns
        for layer, (key, value) in self.prefix.items():
            # laid out for the products of every column, which would otherwise copy the prompt each time
            self.prefix[layer] = (key.contiguous(), value.contiguous())
            shape = (self.last.shape[0], key.shape[1], columns, key.shape[3])
            self.own[layer] = (key.new_empty(shape), key.new_empty(shape))

    def keep(self, groups: Any) -> Any:
        """Drop all but these groups (a mask over them); returns the mask over their rows."""
        rows = groups.repeat_interleave(self.n)
        for layer, (key, value) in self.prefix.items():
            self.prefix[layer] = (key[groups], value[groups])
            self.own[layer] = tuple(buffer[rows] for buffer in self.own[layer])
        self.hidden, self.last, self.starts = self.hidden[groups], self.last[rows], self.starts[rows]
        return rows

    def forward(self, ids: Any) -> Any:
        """Hidden states of the next columns of every row, [G * n, T, hidden]."""
        import torch

        places = self.starts + self.done + torch.arange(ids.shape[1], device=ids.device)
        if not self.columns:
            self.allowed = MasksByWindow(lambda window: self._allowed(ids.shape[1], window))
        out = self._run(ids, places, "read")
        self.done += ids.shape[1]
        return out

    def _run(self, ids: Any, places: Any, mode: str) -> Any:
        self.mode = mode
        return self.decoder(
            input_ids=ids, position_ids=places, use_cache=False, shared=self
        ).last_hidden_state

    def attend(
        self, layer: int, query: Any, key: Any, value: Any, scaling: float, window: int | None = None
    ) -> Any:
        """Attention output [B, H, T, d] of one layer. window: the nearest columns that it sees; None: all."""
        import torch
        import torch.nn.functional as F

        if self.mode == "write":
            self.prefix[layer] = (key, value)
            key, value, gqa = _spread_heads(query, key, value)
            seen = causal_mask(0, key.shape[2], window, key.device)
            return F.scaled_dot_product_attention(
                query, key, value, attn_mask=seen, is_causal=seen is None, scale=scaling, enable_gqa=gqa
            )
        if self.columns:
            return self._read_column(layer, query * scaling, *self._kept(layer, key, value), window)
        prompt_key, prompt_value = (kept.repeat_interleave(self.n, 0) for kept in self.prefix[layer])
        keys, values = torch.cat([prompt_key, key], dim=2), torch.cat([prompt_value, value], dim=2)
        keys, values, gqa = _spread_heads(query, keys, values)
        return F.scaled_dot_product_attention(
            query, keys, values, attn_mask=self.allowed[window], scale=scaling, enable_gqa=gqa
        )

    def _allowed(self, steps: int, window: int | None) -> Any:
        """What each of `steps` columns may see, [G * n, 1, T, P + T]: its prompt, and its own row up to
        itself."""
        import torch

        columns = torch.arange(steps, device=self.hidden.device)
        prompt = ~self.hidden.repeat_interleave(self.n, 0).expand(-1, 1, steps, -1)
        own = columns[:, None] >= columns
        if window:
            prompt = prompt & self._near(columns, window)
            own = own & (columns[:, None] - columns < window)
        return torch.cat([prompt, own.expand(len(prompt), 1, -1, -1)], dim=-1)

    def _near(self, columns: Any, window: int) -> Any:
        """Which columns of the prompt the rows' own `columns` [T] have in their window, [G * n, 1, T, P]."""
        import torch

        places = self.starts + columns  # [G * n, T]
        prompt = torch.arange(self.hidden.shape[-1], device=places.device)
        return (places[:, :, None] - prompt < window)[:, None]

    def _kept(self, layer: int, key: Any, value: Any) -> tuple[Any, Any]:
        keys, values = self.own[layer]
        end = self.done + key.shape[2]
        keys[:, :, self.done : end], values[:, :, self.done : end] = key, value
        return keys[:, :, :end], values[:, :, :end]

    def _read_column(self, layer: int, query: Any, key: Any, value: Any, window: int | None) -> Any:
        """One softmax over the group's prompt and the row's own tokens; the prompt's keys are never
        expanded."""
        import torch

        rows, heads, _, size = query.shape
        kv = key.shape[1]
        n, groups, rep = self.n, rows // self.n, heads // kv
        prompt_keys, prompt_values = self.prefix[layer]
        # 1. the queries of a group together, [G, KV, n * rep, d], so that one product meets its prompt
        # once
        beside = query.view(groups, n, kv, rep, size).transpose(1, 2).reshape(groups, kv, -1, size)
        # 2. scores against the prompt [G, KV, n * rep, P], then row by row [G * n, KV, rep, P]
        far = (beside @ prompt_keys.transpose(-1, -2)).masked_fill(self.hidden, float("-inf"))
        far = far.view(groups, kv, n, rep, -1).transpose(1, 2).reshape(rows, kv, rep, -1)
        # 3. scores against the row's own tokens [G * n, KV, rep, R]
        near = query.reshape(rows, kv, rep, size) @ key.transpose(-1, -2)
        if window:
            last = torch.tensor([key.shape[2] - 1], device=key.device)
            far = far.masked_fill(~self._near(last, window), float("-inf"))
            near[..., : max(0, key.shape[2] - window)] = float("-inf")
        # 4. one softmax over both, in 32 bits
        weights = torch.cat([far, near], dim=-1).float().softmax(-1).to(value.dtype)
        width = prompt_keys.shape[2]
        # 5. the row's own share of the output
        own = weights[..., width:] @ value
        # 6. the prompt's share, again with the group's rows together
        shared = weights[..., :width].view(groups, n, kv, rep, width).transpose(1, 2)
        prompt = (shared.reshape(groups, kv, -1, width) @ prompt_values).view(groups, kv, n, rep, size)
        out = own + prompt.transpose(1, 2).reshape(rows, kv, rep, size)
        return out.view(rows, heads, 1, size)


def _spread_heads(query: Any, key: Any, value: Any) -> tuple[Any, Any, bool]:
    """(keys, values, whether the attention still has to spread them over the query heads).

    On CUDA they are spread here: with a mask the flash kernel is excluded, and the memory-efficient one takes
    no grouped heads, so torch would fall back to the kernel that holds every score for the backward pass.
    """
    if not _spreads_heads(query):
        return key, value, True
    times = query.shape[1] // key.shape[1]
    return key.repeat_interleave(times, 1), value.repeat_interleave(times, 1), False


def _spreads_heads(query: Any) -> bool:
    return query.is_cuda


def is_supported(model: Any) -> bool:
    """Whether this pass was tested on the model's architecture and knows all kinds of its layers."""
    return not _find_obstacle(_causal_model(model))


def _causal_model(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _find_obstacle(causal: Any) -> str:
    """Why this pass is unfit for the model, "" if it is fit. Other architectures scale scores or mask in
    their own ways, and recomputed activations would read the store after it has changed: wrong results
    without an error."""
    config = causal.config
    unknown = set(getattr(config, "layer_types", None) or ()) - KINDS
    if config.model_type not in TESTED:
        return f"the architecture {config.model_type!r} was not tested (only {', '.join(TESTED)})"
    if unknown:
        return f"it has {', '.join(sorted(unknown))} layers"
    if getattr(config, "use_bidirectional_attention", False):
        return "its tokens attend to later ones"
    if getattr(causal, "is_gradient_checkpointing", False):
        return "gradient checkpointing is on"
    return ""


def decoder_and_head(model: Any) -> tuple[Any, Any]:
    """The decoder without its head, and the head. Raises InputError for models that this pass does not
    fit."""
    causal = _causal_model(model)
    if obstacle := _find_obstacle(causal):
        raise InputError(f"{type(causal).__name__}: {obstacle}. Turn shared_prefix off for it.")
    return causal.get_decoder(), causal.get_output_embeddings()


@contextmanager
def shared_attention(decoder: Any) -> Iterator[None]:
    """Inside this block the decoder attends through `PrefixStore`."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(NAME, _attend_shared)
    before = decoder.config._attn_implementation
    decoder.config._attn_implementation = NAME
    try:
        yield
    finally:
        decoder.config._attn_implementation = before


def _attend_shared(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, scaling: float, **kwargs: Any
) -> Any:
    """The attention interface of transformers: output [B, T, H, d] without weights."""
    window = kwargs.get("sliding_window")
    out = kwargs["shared"].attend(module.layer_idx, query, key, value, scaling, window)
    return out.transpose(1, 2).contiguous(), None

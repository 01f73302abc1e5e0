"""How the local engine draws tokens and turns them into pieces of text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rmr1_lite.judging.engines.base import Request, Sampling, request_seed
from rmr1_lite.models.prefix_sampling import draw_tokens
from rmr1_lite.models.slots import greedy


def generators(requests: list[Request], sampling: Sampling, device: Any) -> list[Any]:
    """One source of noise per row."""
    import torch

    return [torch.Generator(device).manual_seed(request_seed(request, sampling.seed)) for request in requests]


def processors(generators: list[Any], sampling: Sampling) -> Any:
    """Temperature, nucleus, then the draw: every token except the drawn one becomes impossible."""
    import torch
    from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopPLogitsWarper

    if not generators:
        return LogitsProcessorList()

    def decide(input_ids: Any, scores: Any) -> Any:
        numbers = torch.stack([torch.rand(1, generator=g, device=g.device) for g in generators])
        return torch.full_like(scores, float("-inf")).scatter(1, draw_tokens(scores.float(), numbers), 0.0)

    warpers = [TemperatureLogitsWarper(sampling.temperature)]
    warpers += [TopPLogitsWarper(sampling.top_p)] if sampling.top_p < 1 else []
    return LogitsProcessorList([*warpers, decide])


def queued_text(tokenizer: Any, ends: tuple[int, ...]) -> Any:
    """Text pieces of one row without the end token, which would show as text otherwise."""
    from transformers import TextIteratorStreamer

    class WithoutEnd(TextIteratorStreamer):
        def put(self, value: Any) -> None:
            if self.next_tokens_are_prompt or value.flatten()[-1].item() not in ends:
                super().put(value)

    return WithoutEnd(
        tokenizer, skip_prompt=True, skip_special_tokens=False, clean_up_tokenization_spaces=False
    )


def chooser(requests: list[Request], sampling: Sampling) -> Callable[[Any, list[int]], Any]:
    """The function that chooses every slot's next token from its logits, for `models.slots.decode_rows`: the
    same draws as `processors`."""
    import torch
    from transformers import TopPLogitsWarper

    if not sampling.temperature:
        return greedy
    noise = generators(requests, sampling, "cpu")
    warp = TopPLogitsWarper(sampling.top_p) if sampling.top_p < 1 else lambda ids, logits: logits

    def choose(logits: Any, rows: list[int]) -> Any:
        numbers = torch.stack([torch.rand(1, generator=noise[row]) for row in rows])
        return draw_tokens(warp(None, logits / sampling.temperature), numbers)[:, 0]

    return choose


class TextPieces:
    """Tokens in, text out, as soon as it can no longer change (whole words)."""

    def __init__(self, tokenizer: Any) -> None:
        from transformers import TextStreamer

        pieces: list[str] = []

        class Collected(TextStreamer):
            def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
                pieces.append(text)

        self._pieces = pieces
        self._streamer = Collected(tokenizer, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def add(self, token: int) -> str:
        """The text that this token completed, often none."""
        import torch

        self._streamer.put(torch.tensor([token]))
        return self._take()

    def end(self) -> str:
        """The text that was held back."""
        self._streamer.end()
        return self._take()

    def _take(self) -> str:
        text = "".join(self._pieces)
        self._pieces.clear()
        return text

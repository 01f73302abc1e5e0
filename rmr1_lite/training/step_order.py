"""The order of SFT rows: each step keeps its rows, but those of similar length share a micro-batch.

A micro-batch is padded to its longest row, and rows of real chains differ fivefold. The rows of an optimizer
step are drawn as usual; only their assignment to micro-batches changes. The loss of a step is the mean over
all of its tokens, so the result is unchanged (a test compares the gradients).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any


class StepOrder:
    """A sampler for a DataLoader whose steps have `step` rows: drawn by (seed, epoch), the longest of a step
    first, so that memory runs out at once or not at all."""

    def __init__(self, lengths: Sequence[int], step: int, seed: int) -> None:
        self.lengths, self.step, self.seed, self.epoch = list(lengths), step, seed, 0

    def __len__(self) -> int:
        return len(self.lengths)

    def set_epoch(self, epoch: int) -> None:
        """accelerate calls it at the start of each pass, including a resumed one."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        import torch

        drawn = torch.Generator().manual_seed(self.seed + self.epoch)
        rows = torch.randperm(len(self.lengths), generator=drawn).tolist()
        for start in range(0, len(rows), self.step):
            yield from sorted(rows[start : start + self.step], key=lambda row: -self.lengths[row])


@cache
def step_order_trainer() -> type:
    """TRL's SFT trainer with that order; a function, since importing this module must not import TRL."""
    import trl

    class StepOrderTrainer(trl.SFTTrainer):
        def _get_train_sampler(self, train_dataset: Any = None) -> StepOrder:
            rows = self.train_dataset if train_dataset is None else train_dataset
            step = self.args.per_device_train_batch_size * self.args.gradient_accumulation_steps
            return StepOrder([len(ids) for ids in rows["input_ids"]], step, self.args.data_seed)

    return StepOrderTrainer

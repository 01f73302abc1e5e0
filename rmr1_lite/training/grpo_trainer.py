"""TRL's GRPO trainer with each prompt computed once per group (`rmr1_lite.models.shared_prefix`). Not for
Unsloth, which has its own.

Differences from TRL, with the same objective: rollouts and log-probabilities share their prompts; rollouts
come from a merged copy with a generator seeded by (seed, step), so that a resumed run draws the
same; groups whose rewards are all equal are left out of the training pass, since without a KL term their
gradient is zero.
"""

from __future__ import annotations

import math
from collections import defaultdict
from functools import cache
from typing import Any

from rmr1_lite.models.merged_copy import MergedCopy
from rmr1_lite.models.prefix_sampling import sample_rollouts
from rmr1_lite.models.render import end_ids
from rmr1_lite.models.shared_prefix import token_logps

GAP_EVERY = 10  # steps: it costs a twentieth of a step, and a gap shows at once and persists


@cache
def shared_prefix_trainer() -> type:
    """The trainer class; a function, since importing this module must not import TRL."""
    import torch
    import trl

    class SharedPrefixTrainer(trl.GRPOTrainer):
        def _generate_single_turn(
            self,
            prompt_ids: list[list[int]],
            images: Any,
            multimodal_fields: Any,
            n: int,
            has_tool_images: bool = False,
        ) -> tuple[list[list[int]], None]:
            model = self._merged()
            generator = torch.Generator(model.device).manual_seed(
                self.args.seed * 1_000_003 + self.state.global_step
            )
            # the preflight's worst case: nothing ends a rollout before its full length
            ends = () if self.args.generation_kwargs else end_ids(model, self.processing_class)
            groups = sample_rollouts(
                model, prompt_ids[::n], n, self.max_completion_length, self.temperature, ends, generator
            )
            if self.state.global_step % GAP_EVERY == 0:
                self._metrics["train"]["logp_gap"].append(self._gap(model, prompt_ids[:1], groups[:1]))
            return [row for group in groups for row in group], None

        def _gap(self, model: Any, prompts: list[list[int]], groups: list[list[list[int]]]) -> float:
            """Largest difference of a token's log-probability between the copy that generated it and the
            policy being trained, over the first group: the copy is the adapter added into dequantised
            weights, so only rounding differs."""
            policy = self.accelerator.unwrap_model(self.model)
            with torch.no_grad():
                said, trained = (
                    token_logps(each, prompts, groups, self.temperature)[0] for each in (model, policy)
                )
            return float((said - trained).abs().max())

        def _merged(self) -> Any:
            """The current policy, in dequantised weights."""
            if not hasattr(self, "merged_copy"):
                self.merged_copy = MergedCopy(self.accelerator.unwrap_model(self.model))
            return self.merged_copy.refresh()

        def _get_per_token_logps_and_entropies(
            self,
            model: Any,
            input_ids: Any,
            attention_mask: Any,
            logits_to_keep: int,
            batch_size: int | None = None,
            compute_entropy: bool = False,
            **_: Any,
        ) -> tuple[Any, Any, None]:
            prompts, groups, order = group_by_prompt(input_ids, attention_mask, logits_to_keep)
            logps, _, entropies = token_logps(
                self.accelerator.unwrap_model(model), prompts, groups, self.temperature
            )
            back = torch.argsort(torch.tensor(order, device=logps.device))
            pad = (0, logits_to_keep - logps.shape[1])
            logps, entropies = (torch.nn.functional.pad(x[back], pad) for x in (logps, entropies))
            return logps, entropies if compute_entropy else None, None

        def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Any:
            # dapo divides by the tokens of the whole batch, so leaving rows out changes nothing else
            if self.beta == 0 and self.loss_type == "dapo":
                inputs = keep_rows_with_signal(inputs)
            return super()._compute_loss(model, inputs)

    return SharedPrefixTrainer


def group_by_prompt(
    input_ids: Any, attention_mask: Any, keep: int
) -> tuple[list[list[int]], list[list[list[int]]], list[int]]:
    """(prompts, completions per prompt, row of each completion) of a batch in any order; groups of one
    size."""
    ids, mask = input_ids.tolist(), attention_mask.tolist()
    # 1. every row without its padding, and the length of its prompt: the last `keep` columns are the
    # completion
    held = [
        [token for token, on in zip(row, ons, strict=True) if on] for row, ons in zip(ids, mask, strict=True)
    ]
    lengths = [sum(ons[:-keep]) for ons in mask]
    # 2. rows by their prompt; a prompt may come twice in a batch, and then has the rows of two groups
    rows: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, (row, length) in enumerate(zip(held, lengths, strict=True)):
        rows[tuple(row[:length])].append(index)
    # 3. groups of one size: the largest that every prompt's rows can be split into
    size = math.gcd(*map(len, rows.values()))
    parts = [
        (list(prompt), found[i : i + size])
        for prompt, found in rows.items()
        for i in range(0, len(found), size)
    ]
    # 4. the rest of each row is its completion
    groups = [[held[i][lengths[i] :] for i in part] for _, part in parts]
    return [prompt for prompt, _ in parts], groups, [i for _, part in parts for i in part]


def keep_rows_with_signal(inputs: dict[str, Any]) -> dict[str, Any]:
    """The rows with a nonzero advantage; one row if there are none, so that the step has a loss of
    zero."""
    import torch

    advantages = inputs["advantages"]
    kept = (advantages != 0).nonzero()[:, 0]
    kept = kept if len(kept) else torch.zeros(1, dtype=torch.long, device=advantages.device)
    rows = len(advantages)
    return {
        name: value[kept] if torch.is_tensor(value) and value.dim() and len(value) == rows else value
        for name, value in inputs.items()
    }

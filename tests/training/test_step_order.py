"""Rows of a step in micro-batches of one length: the same steps, the same gradients, less padding."""

from __future__ import annotations

import pytest
from fixtures.architectures import tiny_model

from rmr1_lite.training.step_order import StepOrder

LENGTHS = [5, 30, 7, 28, 9, 26, 11, 24, 13, 22, 15, 20]


def steps(order, size):
    rows = list(order)
    return [rows[i : i + size] for i in range(0, len(rows), size)]


def padded(rows, micro):
    parts = [rows[i : i + micro] for i in range(0, len(rows), micro)]
    return sum(len(part) * max(LENGTHS[row] for row in part) for part in parts)


@pytest.mark.parametrize("epoch", [0, 1, 5])
@pytest.mark.parametrize("step", [1, 4, 5, 12, 40], ids=["rows", "even", "a short last step", "all", "more"])
def test_every_row_comes_once_and_a_step_keeps_its_rows(step, epoch):
    order, unsorted = StepOrder(LENGTHS, step, 3), StepOrder([1] * len(LENGTHS), step, 3)
    order.set_epoch(epoch)
    unsorted.set_epoch(epoch)
    assert sorted(order) == list(range(len(LENGTHS))) == sorted(unsorted)
    assert list(map(set, steps(order, step))) == list(map(set, steps(unsorted, step)))
    for rows in steps(order, step):
        assert [LENGTHS[row] for row in rows] == sorted((LENGTHS[row] for row in rows), reverse=True)


def test_an_epoch_and_a_seed_have_their_own_order_and_always_the_same():
    def drawn(seed, epoch):
        order = StepOrder([1] * 12, 4, seed)
        order.set_epoch(epoch)
        return list(order)

    assert drawn(0, 1) == drawn(0, 1) and len({tuple(drawn(s, e)) for s in (0, 7) for e in (0, 1)}) == 4


def trained_gradients(trainer_class, folder, rows):
    """Gradients of the first optimizer step, as passed to the optimizer."""
    import torch
    import trl
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from transformers import TrainerCallback

    from rmr1_lite.models.judge_specs import NANO
    from rmr1_lite.models.loading import load_tokenizer

    torch.manual_seed(1)
    targets = ["q_proj", "v_proj", "down_proj"]
    lora = LoraConfig(r=2, target_modules=targets, task_type="CAUSAL_LM")
    model, seen = get_peft_model(tiny_model("llama"), lora), {}

    class Watch(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, **_):
            if not seen:
                seen.update({n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad})

    arguments = trl.SFTConfig(
        output_dir=str(folder),
        per_device_train_batch_size=3,
        gradient_accumulation_steps=4,
        max_steps=1,
        max_length=None,
        completion_only_loss=True,
        report_to=[],
        use_cpu=True,
        bf16=False,
        data_seed=0,
        save_strategy="no",
        loss_type="chunked_nll",
        max_grad_norm=0.0,
        gradient_checkpointing=False,
    )
    trainer_class(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=load_tokenizer(str(NANO["nano-base"])),
        callbacks=[Watch()],
    ).train()
    return seen


def test_gradients_of_a_step_are_those_of_trls_own_order(tmp_path):
    import torch
    import trl

    from rmr1_lite.training.step_order import step_order_trainer

    generator = torch.Generator().manual_seed(5)
    rows = [
        {
            "input_ids": torch.randint(4, 60, (length,), generator=generator).tolist(),
            "completion_mask": [0] * (length // 2) + [1] * (length - length // 2),
        }
        for length in LENGTHS  # all of them are one step, so both have the same rows in it
    ]
    ours = trained_gradients(step_order_trainer(), tmp_path / "ours", rows)
    theirs = trained_gradients(trl.SFTTrainer, tmp_path / "theirs", rows)
    assert ours.keys() == theirs.keys() and any(value.abs().max() > 1e-3 for value in theirs.values())
    for name, value in theirs.items():
        assert torch.allclose(ours[name], value, rtol=1e-4, atol=1e-7), name


def test_there_is_less_padding():
    order, unsorted = StepOrder(LENGTHS, 12, 0), StepOrder([1] * 12, 12, 0)
    assert padded(list(order), 3) < 0.85 * padded(list(unsorted), 3)

"""Reads the verdict from the log-probabilities of its letter after a given text: the judge's own reasoning,
another pair's, or none.

Used for three questions. What does the base know without a chain? Does a trained judge's verdict follow its
chain (another pair's chain is forced) and need one (the chain is removed)? How sure was a judge of its letter
after its own reasoning? Nothing is sampled: the more likely of the two letters is the verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rmr1_lite.models.loaded import Loaded
from rmr1_lite.models.render import render_ids
from rmr1_lite.prompts import judge_messages, pair_as_shown
from rmr1_lite.storage import JsonlLog
from rmr1_lite.types import ORDERS, Generation, InputError, Judgment, Label, Look, Order, Pair, Verdict

OPENING = "<answer>[["
TOKENS_AT_ONCE = (
    16_384  # of one forward pass: long prompts of real benchmarks must fit next to the model on a 16 GB card
)
BLANK = f"<eval></eval>\n{OPENING}"
CHUNK = 256  # looks between two writes
MARK = "[["
LookKey = tuple[str, Order]  # pair id, order


def judge_by_letter(
    loaded: Loaded, pairs: Sequence[Pair], style: str, given: str = OPENING, batch: int = 32
) -> list[Judgment]:
    """Both orders of every pair with the same text given; the more likely letter is the verdict."""
    texts = {(pair.id, order): given for pair in pairs for order in ORDERS}
    letters = forced_letters(loaded, pairs, style, texts, batch)
    return [
        Judgment(pair.id, tuple(_letter_look(order, letters[pair.id, order]) for order in ORDERS))
        for pair in pairs
    ]


def forced_letters(
    loaded: Loaded, pairs: Sequence[Pair], style: str, given: dict[LookKey, str], batch: int = 32
) -> dict[LookKey, Label]:
    """The more likely letter per (pair id, order) of `given`, whose text ends right before the letter."""
    shares = letter_shares(loaded, pairs, style, given, batch)
    return {key: "A" if share > 0.5 else "B" for key, share in shares.items()}


def letter_shares(
    loaded: Loaded, pairs: Sequence[Pair], style: str, given: dict[LookKey, str], batch: int = 32
) -> dict[LookKey, float]:
    """p(A) / (p(A) + p(B)) of the next token for each (pair id, order) of `given`; A is the position
    shown."""
    tokenizer, by_id = loaded.tokenizer, {pair.id: pair for pair in pairs}
    rows = []
    for (pair_id, order), text in given.items():
        prompt = render_ids(tokenizer, judge_messages(pair_as_shown(by_id[pair_id], order), style))
        begin, letters = _split_at_letter(tokenizer, text)
        rows.append(((pair_id, order), prompt + begin, letters))
    rows.sort(key=lambda row: -len(row[1]))
    batch = max(1, min(batch, TOKENS_AT_ONCE // max(1, len(rows[0][1]) if rows else 1)))
    found: dict[LookKey, float] = {}
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        found |= dict(zip((key for key, _, _ in part), _batch_letter_shares(loaded.model, part), strict=True))
    return found


def _split_at_letter(tokenizer: Any, text: str) -> tuple[list[int], tuple[int, int]]:
    """(ids before the letter, ids of the letters): where the two tokenisations diverge."""
    a, b = (tokenizer(f"{text}{x}]]</answer>", add_special_tokens=False)["input_ids"] for x in "AB")
    place = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)
    if place is None:
        raise InputError("The tokenizer encodes both letters as the same tokens. Choose another model.")
    return a[:place], (a[place], b[place])


def _batch_letter_shares(model: Any, rows: list[Any]) -> list[float]:
    import torch

    width = max(len(ids) for _, ids, _ in rows)
    ids = torch.tensor([[0] * (width - len(row)) + row for _, row, _ in rows], device=model.device)
    mask = torch.tensor(
        [[0] * (width - len(row)) + [1] * len(row) for _, row, _ in rows], device=model.device
    )
    places = (mask.cumsum(-1) - 1).clamp(min=0)
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        logits = (
            model(input_ids=ids, attention_mask=mask, position_ids=places, logits_to_keep=1)
            .logits[:, -1]
            .float()
        )
    model.train(was_training)
    return [float(torch.sigmoid(row[a] - row[b])) for row, (_, _, (a, b)) in zip(logits, rows, strict=True)]


def _letter_look(order: Any, letter: Label) -> Look:
    return Look(order, Generation(f"{OPENING}{letter}]]</answer>"), Verdict(letter, "ok"))


def pair_probabilities(
    load: Callable[[], Loaded], pairs: Sequence[Pair], judgments: Sequence[Judgment], style: str, path: Path
) -> dict[str, float]:
    """Probability that A is the better response, by pair id: the mean of both orders, each after its own
    first text.

    Unparsed looks have none; a pair with one such look uses only the other order. `load`
    is called only when a row is missing in the JSONL at `path`, whose rows are {"id", "order", "p_a"} in
    the pair's own letters.
    """
    looks = first_looks(judgments)
    with JsonlLog(path, ("id", "order")) as log:
        todo = [key for key in looks if key not in log]
        loaded = None
        for start in range(0, len(todo), CHUNK):
            loaded = loaded or load()
            part = {key: looks[key] for key in todo[start : start + CHUNK]}
            for key, chance in look_probabilities(loaded, pairs, part, style).items():
                log.append({"id": key[0], "order": key[1], "p_a": chance})
        return mean_by_pair({key: log.get(key)["p_a"] for key in looks})


def first_looks(judgments: Sequence[Judgment]) -> dict[LookKey, Look]:
    """The first look of each pair and order whose verdict is a marker of ours: (pair id, order) -> look. The
    lenient reading also accepts verdicts in other words, which have no letter to read a probability from."""
    return {
        (judgment.pair_id, look.order): look
        for judgment in judgments
        for look in reversed(judgment.looks)
        if look.status == "ok" and MARK in look.generation.text
    }


def look_probabilities(
    loaded: Any, pairs: Sequence[Pair], looks: dict[LookKey, Look], style: str
) -> dict[LookKey, float]:
    """Probability that A, in the pair's own letters, is the better response, after each look's own text."""
    shares = letter_shares(loaded, pairs, style, {key: before_verdict(look) for key, look in looks.items()})
    return {key: share if key[1] == "ab" else 1 - share for key, share in shares.items()}


def mean_by_pair(values: dict[LookKey, float]) -> dict[str, float]:
    """Mean over the orders of each pair."""
    found: dict[str, list[float]] = {}
    for (pair_id, _), value in values.items():
        found.setdefault(pair_id, []).append(value)
    return {pair_id: sum(those) / len(those) for pair_id, those in found.items()}


def before_verdict(look: Look) -> str:
    """The text up to the letter of its verdict, which is the last marker of a parsed text."""
    text = look.generation.text
    return text[: text.rindex(MARK) + len(MARK)]

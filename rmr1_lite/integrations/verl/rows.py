"""Pairs as the rows that verl reads: one Parquet row for each order of a pair, both orders next to each
other.

verl applies the chat template itself, to what a row holds. So control tokens inside the judged texts are
inert in the row, and every row is rendered twice: as the kit does it, and as verl does. Other token ids stop
the export.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmr1_lite.models.render import FORMS, fit_template, inert_turns, opens_thought
from rmr1_lite.prompts import judge_messages, pair_as_shown
from rmr1_lite.types import ORDERS, InputError, Message, Order, Pair

SOURCE = "rmr1_lite"  # verl's name for the data set; its metrics carry it
ABILITY = "judging"
CHUNK = 256  # pairs in memory as rows: one row group of the file
ENCODED = 1000  # rows whose token ids are made twice
ALONE = 2000  # pairs that one process renders about as fast as several, which have to start first


@dataclass(frozen=True)
class Rendered:
    """One order of a pair. label: the letter of the position shown. messages: as they go into the row.
    tokens: of the kit's own prompt."""

    pair: str
    order: Order
    label: str | None
    messages: list[dict[str, Any]]
    tokens: int
    thought_open: bool


@dataclass
class RowsWritten:
    """What became of the pairs of one split. overlong: pairs that were left out. longest: prompt tokens of
    the longest row that was written."""

    split: str
    pairs: int = 0
    rows: int = 0
    overlong: int = 0
    longest: int = 0


def write_rows(
    pairs: Sequence[Pair],
    split: str,
    renderer: Renderer,
    limit: int,
    path: Path,
    overlong: Callable[[dict[str, Any]], None],
) -> RowsWritten:
    """Write `path`. overlong: takes a row for each order of a pair with a prompt over `limit` tokens; such a
    pair is left out in both orders. Raises InputError if verl would see other token ids than the kit.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    from tqdm import tqdm

    done, schema = RowsWritten(split, len(pairs)), _schema()
    with (
        pq.ParquetWriter(path, schema) as writer,
        tqdm(total=len(pairs), desc=f"{split} rows", unit="pair") as bar,
    ):
        for rendered in _render_all(pairs, renderer):
            rows = list(_fitting(rendered, done, limit, overlong))
            if rows:
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            bar.update(len(rendered) // len(ORDERS))
    return done


def _render_all(pairs: Sequence[Pair], renderer: Renderer) -> Iterator[list[Rendered]]:
    """The pairs in chunks, in their order; many of them on every core."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    chunks = [pairs[start : start + CHUNK] for start in range(0, len(pairs), CHUNK)]
    cores = os.cpu_count() or 1
    if len(pairs) <= ALONE or cores == 1:
        yield from map(renderer.render, chunks)
        return
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(cores, context, _start_worker, (renderer,)) as pool:
            yield from pool.map(_render_chunk, chunks)
    except BrokenProcessPool:
        raise InputError(
            "A process that rendered rows was killed, probably for lack of memory. Close other programs "
            "and run "
            "the same command again."
        ) from None


_worker: list[Renderer] = []  # of a process that renders


def _start_worker(renderer: Renderer) -> None:
    _worker.append(renderer)


def _render_chunk(pairs: Sequence[Pair]) -> list[Rendered]:
    return _worker[0].render(pairs)


def _fitting(
    rendered: list[Rendered], done: RowsWritten, limit: int, overlong: Callable[[dict[str, Any]], None]
) -> Iterator[dict[str, Any]]:
    for both in zip(rendered[::2], rendered[1::2], strict=True):
        longest = max(each.tokens for each in both)
        if longest > limit:
            done.overlong += 1
            for each in both:
                overlong({"pair": each.pair, "order": each.order, "tokens": each.tokens, "split": done.split})
            continue
        done.longest = max(done.longest, longest)
        for each in both:
            yield parquet_row(each, done.split, done.rows)
            done.rows += 1


def parquet_row(each: Rendered, split: str, index: int) -> dict[str, Any]:
    """The row as verl reads it."""
    return {
        "data_source": SOURCE,
        "prompt": each.messages,
        "ability": ABILITY,
        "reward_model": {"style": "rule", "ground_truth": each.label},
        "extra_info": {
            "split": split,
            "index": index,
            "pair": each.pair,
            "order": each.order,
            "thought_open": each.thought_open,
        },
    }


class Renderer:
    """Renders pairs with one tokenizer and one prompt style, and checks that verl will see the same."""

    def __init__(self, tokenizer: Any, style: str) -> None:
        self.tokenizer, self.style = tokenizer, style
        self.encoded = 0  # rows whose ids were also made by the template itself

    def render(self, pairs: Sequence[Pair]) -> list[Rendered]:
        """Both orders of each pair. Raises InputError naming the first pair that verl would see otherwise."""
        looks = [(pair, order, pair_as_shown(pair, order)) for pair in pairs for order in ORDERS]
        if not looks:
            return []
        prompts = [self._prompt(shown) for _, _, shown in looks]
        encoded = self.tokenizer([text for _, text in prompts], add_special_tokens=False)["input_ids"]
        made = []
        for (pair, order, shown), (messages, text), ids in zip(looks, prompts, encoded, strict=True):
            if not self._same_for_verl(messages, text, ids):
                raise InputError(
                    f"pair {pair.id!r:.80}, order {order}: the tokenizer's chat template gives verl other "
                    f"token "
                    "ids than the kit's prompt. This model cannot be trained there: choose another one."
                )
            opened = opens_thought(self.tokenizer, ids)
            made.append(Rendered(pair.id, order, shown.label, messages, len(ids), opened))
        return made

    def _prompt(self, shown: Pair) -> tuple[list[dict[str, Any]], str]:
        """(messages with inert texts, the kit's prompt)."""
        turns: list[Message] = judge_messages(shown, self.style)
        inert = inert_turns(self.tokenizer, turns)
        form, text = fit_template(self.tokenizer, inert)
        if form.endswith("in parts"):
            raise InputError(
                f"{self.tokenizer.name_or_path}: its chat template takes lists of parts, which rows of text "
                "cannot hold. Choose a text-only model."
            )
        return FORMS[form](inert), text

    def _same_for_verl(self, messages: list[dict[str, Any]], text: str, ids: list[int]) -> bool:
        """Whether verl gets the ids of the kit's own prompt. The template is applied to every row; equal
        texts have equal ids, since both are encoded by one call, which the first rows show."""
        template = self.tokenizer.apply_chat_template
        if template(messages, add_generation_prompt=True, tokenize=False) != text:
            return False
        if self.encoded >= ENCODED:
            return True
        self.encoded += 1
        made = template(messages, add_generation_prompt=True, tokenize=True, return_dict=True)
        return made["input_ids"] == ids


def _schema() -> Any:
    """Every field of every row; verl's reader cannot take an empty struct."""
    import pyarrow as pa

    text = pa.string()
    return pa.schema(
        [
            ("data_source", text),
            ("prompt", pa.list_(pa.struct([("role", text), ("content", text)]))),
            ("ability", text),
            ("reward_model", pa.struct([("style", text), ("ground_truth", text)])),
            (
                "extra_info",
                pa.struct(
                    [
                        ("split", text),
                        ("index", pa.int64()),
                        ("pair", text),
                        ("order", text),
                        ("thought_open", pa.bool_()),
                    ]
                ),
            ),
        ]
    )

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


@dataclass(frozen=True)
class Task:
    """What makes a row group of some pairs. limit: prompt tokens of the longest row."""

    renderer: Renderer
    split: str
    limit: int

    def row_group(self, first: int, pairs: Sequence[Pair]) -> RowGroup:
        """first: place of the first pair in its file."""
        import pyarrow as pa

        rows, overlong, longest = [], [], 0
        rendered = self.renderer.render(pairs)
        for place, both in enumerate(zip(rendered[::2], rendered[1::2], strict=True), first):
            tokens = max(each.tokens for each in both)
            if tokens > self.limit:
                overlong += [self._overlong_row(each) for each in both]
                continue
            longest = max(longest, tokens)
            rows += [self._row(each, len(ORDERS) * place + k) for k, each in enumerate(both)]
        return RowGroup(pa.Table.from_pylist(rows, schema=_schema()), overlong, longest, len(pairs))

    def _row(self, each: Rendered, index: int) -> dict[str, Any]:
        """The row as verl reads it. index: of all rows of the split, those that are left out included."""
        return {
            "data_source": SOURCE,
            "prompt": each.messages,
            "ability": ABILITY,
            "reward_model": {"style": "rule", "ground_truth": each.label},
            "extra_info": {
                "split": self.split,
                "index": index,
                "pair": each.pair,
                "order": each.order,
                "thought_open": each.thought_open,
            },
        }

    def _overlong_row(self, each: Rendered) -> dict[str, Any]:
        return {"pair": each.pair, "order": each.order, "tokens": each.tokens, "split": self.split}


@dataclass(frozen=True)
class RowGroup:
    """table: the rows. overlong: a row for each order of a pair that is left out. pairs: of both."""

    table: Any
    overlong: list[dict[str, Any]]
    longest: int
    pairs: int


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
    import pyarrow.parquet as pq
    from tqdm import tqdm

    done = RowsWritten(split, len(pairs))
    with (
        pq.ParquetWriter(path, _schema()) as writer,
        tqdm(total=len(pairs), desc=f"{split} rows", unit="pair") as bar,
    ):
        for group in _row_groups(pairs, Task(renderer, split, limit)):
            if group.table.num_rows:
                writer.write_table(group.table)
            for row in group.overlong:
                overlong(row)
            done.rows += group.table.num_rows
            done.overlong += len(group.overlong) // len(ORDERS)
            done.longest = max(done.longest, group.longest)
            bar.update(group.pairs)
    return done


def _row_groups(pairs: Sequence[Pair], task: Task) -> Iterator[RowGroup]:
    """The pairs in chunks, in their order; many of them on every core."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    starts = range(0, len(pairs), CHUNK)
    chunks = [pairs[start : start + CHUNK] for start in starts]
    cores = os.cpu_count() or 1
    if len(pairs) <= ALONE or cores == 1:
        yield from map(task.row_group, starts, chunks)
        return
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(cores, context, _start_worker, (task,)) as pool:
            yield from pool.map(_row_group, starts, chunks)
    except BrokenProcessPool:
        raise InputError(
            "A process that rendered rows was killed, probably for lack of memory. Close other programs and "
            "run the same command again."
        ) from None


_worker: list[Task] = []  # of a process that renders


def _start_worker(task: Task) -> None:
    _worker.append(task)


def _row_group(first: int, pairs: Sequence[Pair]) -> RowGroup:
    return _worker[0].row_group(first, pairs)


class Renderer:
    """Renders pairs with one tokenizer and one prompt style, and checks that verl will see the same."""

    def __init__(self, tokenizer: Any, style: str) -> None:
        self.tokenizer, self.style = tokenizer, style
        self.encoded = 0  # rows whose ids were also made by the template itself
        self._system: dict[str, dict[str, Any]] = {}  # the instruction, which is the same in every row

    def render(self, pairs: Sequence[Pair]) -> list[Rendered]:
        """Both orders of each pair. Raises InputError naming the first pair that verl would see otherwise."""
        looks = [(pair, order, pair_as_shown(pair, order)) for pair in pairs for order in ORDERS]
        if not looks:
            return []
        prompts = [self._prompt(shown) for _, _, shown in looks]
        encoded = self._ids([text for _, text in prompts])
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
        inert = [self._inert(turn) for turn in turns]
        form, text = fit_template(self.tokenizer, inert)
        if form.endswith("in parts"):
            raise InputError(
                f"{self.tokenizer.name_or_path}: its chat template takes lists of parts, which rows of text "
                "cannot hold. Choose a text-only model."
            )
        return FORMS[form](inert), text

    def _inert(self, turn: Message) -> dict[str, Any]:
        if turn["role"] != "system":
            return inert_turns(self.tokenizer, [turn])[0]
        text = turn["content"]
        if text not in self._system:
            self._system[text] = inert_turns(self.tokenizer, [turn])[0]
        return dict(self._system[text])

    def _ids(self, texts: list[str]) -> list[list[int]]:
        """Token ids of many prompts, without what else a tokenizer returns."""
        encode = getattr(self.tokenizer, "backend_tokenizer", None)
        if encode is None:  # one that is not of the library tokenizers
            return self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        encode.no_truncation()  # which a tokenizer may have been saved with
        encode.no_padding()
        return [each.ids for each in encode.encode_batch_fast(texts, add_special_tokens=False)]

    def _same_for_verl(self, messages: list[dict[str, Any]], text: str, ids: list[int]) -> bool:
        """Whether verl gets the ids of the kit's own prompt. The template is applied to every row; equal
        texts have equal ids, which the first rows show: theirs are made in every way."""
        template = self.tokenizer.apply_chat_template
        if template(messages, add_generation_prompt=True, tokenize=False) != text:
            return False
        if self.encoded >= ENCODED:
            return True
        self.encoded += 1
        made = template(messages, add_generation_prompt=True, tokenize=True, return_dict=True)
        return made["input_ids"] == ids == self.tokenizer(text, add_special_tokens=False)["input_ids"]


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

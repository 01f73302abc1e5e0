"""Your own preference data -> training and validation files of the kit, with a list of everything left out.

Rows are read one by one and go through: shape -> checks -> exact duplicates -> contamination -> length ->
near-duplicates -> order -> split. Only hashes stay in memory, so a hundred thousand pairs need no more than a
few do.

    python -m rmr1_lite data prepare mine.jsonl more.csv --out runs/mine --against
        judgebench=JudgeBench/gpt.jsonl

    train.jsonl, validation.jsonl   pairs; no conversation is in both
    dropped.jsonl                   id, file, row, reason and detail of each pair left out
    problems.jsonl                  file, row, field, fault and remedy of each row that is not a pair
    prepared.json                   settings, counts, balance
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

from rmr1_lite.config import PrepareConfig
from rmr1_lite.data.dedup import Benchmarks, NearDuplicates, better_response_key, content_key, prompt_key
from rmr1_lite.data.pairs import SHOWN, BadRows, Problem
from rmr1_lite.data.ratings import pairs_of_ratings
from rmr1_lite.data.readers import Raw, read_rows
from rmr1_lite.data.rows import pair_from_row, row_from_pair, side_of_chosen
from rmr1_lite.data.schemas import IDS, kit_row
from rmr1_lite.prompts import swap_responses
from rmr1_lite.storage import AtomicLines, RowError, write_json
from rmr1_lite.types import InputError, Pair

Lengths = Callable[[Sequence[Pair]], list[int]]
Shape = Callable[[Any], Any]
BINS = (128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)  # tokens
CHUNK = 256  # pairs tokenised together


@dataclass
class Prepared:
    """Counts of one preparation. dropped: reason -> pairs. lengths: bin -> (kept, dropped), in tokens."""

    out: Path
    rows: int = 0
    bad: int = 0
    ties: int = 0
    kept: dict[str, int] = field(default_factory=lambda: {"train": 0, "validation": 0})
    dropped: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    longer_is_better: int = 0
    equal_length: int = 0
    lengths: dict[str, list[int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def text(self) -> str:
        """The complete report, as readable lines."""
        kept, labelled = sum(self.kept.values()), sum(self.labels.values())
        lines = [
            f"{self.rows} rows read: {kept} pairs kept ({self.kept['train']} train, "
            f"{self.kept['validation']} validation), {sum(self.dropped.values())} left out, {self.bad} bad "
            "rows"
        ]
        lines += [f"  left out, {why}: {n}" for why, n in self.dropped.most_common()]
        lines += [f"  ties, left out because they teach nothing: {self.ties}"] if self.ties else []
        if labelled:
            uneven = labelled - self.equal_length
            lines.append(
                f"  better response: A in {self.labels['A'] / labelled:.1%}; the longer one in "
                f"{self.longer_is_better / max(uneven, 1):.1%} of the {uneven} pairs of unequal length"
            )
        lines += self.histogram()
        lines += [f"  {problem}" for problem in self.problems[:SHOWN]]
        lines += (
            [f"  ... and {self.bad - SHOWN} more in {self.out}/problems.jsonl"] if self.bad > SHOWN else []
        )
        return "\n".join(lines)

    def histogram(self) -> list[str]:
        """Judge prompts by length, kept and dropped, as bars."""
        if not self.lengths:
            return []
        most = max(sum(counts) for counts in self.lengths.values())
        bars = [
            (name, k, d, "#" * round(40 * k / most) + "x" * round(40 * d / most))
            for name, (k, d) in self.lengths.items()
        ]
        return [
            "  judge prompts in tokens (# kept, x too long):",
            *(f"  {name:>14} {kept:>7} {dropped:>7} {bar}" for name, kept, dropped, bar in bars),
        ]


def prepare(
    sources: Sequence[str | Path],
    config: PrepareConfig,
    lengths: Lengths | None = None,
    benchmarks: Iterable[tuple[str, str, str]] = (),
    shape: Shape = kit_row,
    progress: bool = True,
) -> Prepared:
    """Write the files and return the report.

    lengths: tokens of the judge prompt of each pair. benchmarks: (name, item, conversation) of texts that
    must not be trained on. shape: converts a foreign row to the kit's format. Raises InputError, and leaves
    older files unchanged, when nothing is kept, or at the first bad row with on_bad_row="fail".
    """
    from tqdm import tqdm

    _check_request(config, sources, lengths)
    out = Path(config.out)
    done = Prepared(out)
    paths = {name: out / f"{name}.jsonl" for name in ("train", "validation", "dropped", "problems")}
    with AtomicLines(*paths.values()) as files:
        drop, bad = _Drop(files, paths["dropped"], done), BadRows(config.on_bad_row, files, paths["problems"])
        rows = (raw for source in sources for raw in read_rows(source, config.split))
        pairs = _labelled_pairs(
            tqdm(rows, "rows", unit="row", disable=not progress), config, shape, bad, done
        )
        pairs = _drop_repeated(pairs, drop)
        pairs = _drop_contaminated(pairs, Benchmarks(benchmarks), drop)
        pairs = _drop_too_long(pairs, config.max_prompt_tokens, lengths, drop, done)
        pairs = _drop_near_duplicates(pairs, config.near, drop)
        for pair in pairs:
            _write_item(pair, config, files, paths, done)
        if not sum(done.kept.values()):
            raise InputError(f"Nothing is left to train on.\n{done.text()}")
    account = {"settings": asdict(config), "sources": [str(s) for s in sources], **_write_account(done)}
    write_json(out / "prepared.json", account)
    return done


def _check_request(config: PrepareConfig, sources: Sequence[Any], lengths: Lengths | None) -> None:
    if not sources:
        raise InputError("There are no files to prepare. Give files, folders or hub ids.")
    if not 0 <= config.validation < 1 or not 0 <= config.near <= 1:
        raise InputError(f"validation is {config.validation}, near {config.near}. Give shares from 0 to 1.")
    if config.max_prompt_tokens and lengths is None:
        raise InputError("max_prompt_tokens needs a tokenizer. Give --model.")


def _write_account(done: Prepared) -> dict[str, Any]:
    return {name: value for name, value in vars(done).items() if name not in ("problems", "out")}


@dataclass(frozen=True)
class _From:
    """A pair with its file and row."""

    pair: Pair
    file: str
    row: int


@dataclass(frozen=True)
class _Drop:
    """Lists and counts the pairs left out."""

    files: AtomicLines
    path: Path
    done: Prepared

    def __call__(self, item: _From, why: str, detail: str) -> None:
        self.done.dropped[why] += 1
        self.files.write(
            self.path, {"id": item.pair.id, "file": item.file, "row": item.row, "why": why, "detail": detail}
        )


def _labelled_pairs(
    rows: Iterable[Raw], config: PrepareConfig, shape: Shape, bad: BadRows, done: Prepared
) -> Iterator[_From]:
    """Labelled pairs with unique ids; every other row becomes a Problem."""
    seen: dict[str, tuple[str, int]] = {}
    for raw in rows:
        done.rows += 1
        try:
            for one in _rows_of_ratings(raw, config, done):
                yield _From(_named(_pair_of_raw(one, config, shape), one, seen), raw.file, raw.number)
        except RowError as error:
            bad.add(raw.file, raw.number, error)
            done.bad, done.problems = bad.count, bad.first
            done.ties += error.text.startswith("is a tie")


def _rows_of_ratings(raw: Raw, config: PrepareConfig, done: Prepared) -> Iterator[Raw]:
    """The row itself, or the pairs made from its ratings."""
    found = None if raw.error else pairs_of_ratings(raw.values, config.ratings, config.margin)
    if found is None:
        yield raw
        return
    rows, ties = found
    done.ties += ties
    yield from (replace(raw, values=values) for values in rows)


def _pair_of_raw(raw: Raw, config: PrepareConfig, shape: Shape) -> Pair:
    if raw.error:
        raise raw.error
    pair = pair_from_row(shape(raw.values), config.seed, config.max_chars)
    if pair.label is None:
        raise RowError(
            "label", "is missing", "say which response is better: label A or B, or chosen and rejected"
        )
    if pair.response_a == pair.response_b:
        raise RowError(
            "(row)", "both responses are the same text", "remove the row: nothing can be preferred"
        )
    return pair


def _named(pair: Pair, raw: Raw, seen: dict[str, tuple[str, int]]) -> Pair:
    """Ids are unique: a repeated id from another file gets that file's name in front, from the same file it
    is an error."""
    first = seen.get(pair.id)
    if first and first[0] != raw.file:
        pair = replace(pair, id=f"{raw.file}:{pair.id}")
        first = seen.get(pair.id)
    if first:
        if any((raw.values or {}).get(name) is not None for name in IDS):
            raise RowError(
                "id", f"{pair.id!r:.80} was already used in row {first[1]}", "give every row its own id"
            )
        # made from the texts: the row is a duplicate, reported as such
        pair = replace(pair, id=f"{pair.id}-{raw.number}")
    seen[pair.id] = (raw.file, raw.number)
    return pair


def _drop_repeated(items: Iterable[_From], drop: _Drop) -> Iterator[_From]:
    """The first of equal pairs. One that prefers the other response is reported separately: one of
    the two is wrong."""
    seen: dict[bytes, tuple[str, bytes]] = {}
    for item in items:
        key, best = content_key(item.pair), better_response_key(item.pair)
        first = seen.setdefault(key, (item.pair.id, best))
        if first[0] == item.pair.id:
            yield item
        elif first[1] == best:
            drop(item, "duplicate", f"same texts as {first[0]}")
        else:
            drop(item, "contradiction", f"same texts as {first[0]}, the other response better")


def _drop_contaminated(items: Iterable[_From], benchmarks: Benchmarks, drop: _Drop) -> Iterator[_From]:
    for item in items:
        if found := benchmarks.holding(item.pair):
            drop(item, "in a benchmark", found)
        else:
            yield item


def _drop_too_long(
    items: Iterable[_From], longest: int, lengths: Lengths | None, drop: _Drop, done: Prepared
) -> Iterator[_From]:
    """Pairs whose judge prompt fits; without a limit the lengths are still counted, if there is a
    tokenizer."""
    if lengths is None:
        yield from items
        return
    done.lengths = {name: [0, 0] for name in _bin_names()}
    stream = iter(items)
    while chunk := list(islice(stream, CHUNK)):
        for item, length in zip(chunk, lengths([item.pair for item in chunk]), strict=True):
            fits = not longest or length <= longest
            done.lengths[_bin_names()[sum(length > edge for edge in BINS)]][not fits] += 1
            if fits:
                yield item
            else:
                drop(item, "too long", f"{length} tokens")


def _bin_names() -> list[str]:
    return [f"{low + 1} to {high}" for low, high in zip((0, *BINS), BINS, strict=False)] + [
        f"over {BINS[-1]}"
    ]


def _drop_near_duplicates(items: Iterable[_From], threshold: float, drop: _Drop) -> Iterator[_From]:
    if not threshold:
        yield from items
        return
    near = NearDuplicates(threshold)
    for item in items:
        if found := near.like(item.pair):
            drop(item, "near-duplicate", f"{found[1]:.2f} like {found[0]}")
        else:
            yield item


def _write_item(
    item: _From, config: PrepareConfig, files: AtomicLines, paths: dict[str, Path], done: Prepared
) -> None:
    pair = item.pair
    if config.order != "given" and pair.label != side_of_chosen(pair.id, config.seed):
        pair = swap_responses(pair)
    name = "validation" if hash_to_unit(prompt_key(pair), config.seed) < config.validation else "train"
    for placed in (
        (pair, replace(swap_responses(pair), id=f"{pair.id}/ba")) if config.order == "both" else (pair,)
    ):
        files.write(paths[name], row_from_pair(placed))
        done.kept[name] += 1
        done.labels[placed.label or ""] += 1
        _count_longer(placed, done)


def hash_to_unit(key: bytes, seed: int) -> float:
    """A number in [0, 1) that depends only on the conversation and the seed, so that added rows move no
    other row."""
    return int.from_bytes(blake2b(key, digest_size=6, key=str(seed).encode()).digest(), "big") / 2**48


def _count_longer(pair: Pair, done: Prepared) -> None:
    a, b = len(pair.response_a), len(pair.response_b)
    done.equal_length += a == b
    done.longer_is_better += a != b and (a > b) == (pair.label == "A")

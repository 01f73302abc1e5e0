"""The `data` commands: make, fetch, prepare and audit training data."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from rmr1_lite.cli.options_from_config import from_config
from rmr1_lite.config import PrepareConfig, StyleName
from rmr1_lite.types import InputError


class BadRow(str, Enum):
    skip, fail = "skip", "fail"


class VerdictRule(str, Enum):
    auto, brackets, sentence, scores, own, none = "auto", "brackets", "sentence", "scores", "own", "none"
    last_line_123 = "last-line-123"


class ChainStyle(str, Enum):
    compact, rubrics, reasoning = "compact", "rubrics", "reasoning"


class Keep(str, Enum):
    right, all = "right", "all"


BAD_ROW = "what to do with a row that cannot be used"
app = typer.Typer(no_args_is_help=True, help="Make, fetch, prepare and audit training data.")
SOURCES = "JSONL, JSON, CSV, TSV or Parquet files, folders of them, or hub ids"
AGAINST = "remove questions of this benchmark: BENCHMARK=PATH, or BENCHMARK for the hub; may be repeated"
MODEL = "model whose tokenizer counts the tokens: nano, a folder or a hub id"


@app.command()
def nano(
    out: Annotated[Path, typer.Option(help="output folder")] = Path("runs/data"),
    train: Annotated[int, typer.Option(help="training pairs; 12 % of them get teacher chains")] = 4000,
    test: Annotated[int, typer.Option(help="test pairs")] = 600,
    seed: Annotated[int, typer.Option(help="seed of the training pairs")] = 0,
) -> None:
    """Generate chains, training, validation and test pairs of the nano world as JSONL."""
    from rmr1_lite.data.nano.dataset import NanoData, write_nano_data

    print(f"Data: {write_nano_data(out, NanoData(train=train, test=test, seed=seed))}")


@app.command()
@from_config(
    PrepareConfig,
    arguments={"sources": (list[str], SOURCES)},
    model=(str, "", f"{MODEL}; also prints a histogram of prompt lengths"),
    style=(StyleName, "auto", "prompt style to count with"),
    against=(Optional[list[str]], None, AGAINST),
)
def prepare(
    config: PrepareConfig, sources: list[str], model: str, style: str, against: list[str] | None
) -> None:
    """Turn your preference pairs into train.jsonl and validation.jsonl: checked, deduplicated, ordered, split
    by question."""
    from rmr1_lite.data.prepare import prepare as run
    from rmr1_lite.data.released_sets import recognise_row
    from rmr1_lite.models.token_lengths import prompt_lengths

    lengths = prompt_lengths(model, style) if model else None
    done = run(sources, config, lengths, benchmark_texts(against or []), recognise_row)
    print(done.text())
    print(f"Data: {done.out}")


@app.command()
def audit(
    sources: Annotated[list[str], typer.Argument(help=f"{SOURCES}; pairs or chains")],
    out: Annotated[Path, typer.Option(help="folder for audit.json and audit.html")] = Path("runs/audit"),
    model: Annotated[str, typer.Option(help=f"{MODEL}; needed for --max-length")] = "",
    style: Annotated[StyleName, typer.Option(help="prompt style to count with")] = "auto",
    max_length: Annotated[int, typer.Option(help="longest prompt and chain in tokens; 0: do not check")] = 0,
    split: Annotated[str, typer.Option(help="split of a hub id")] = "train",
    strict: Annotated[bool, typer.Option("--strict", help="exit with status 1 if anything is found")] = False,
) -> None:
    """Find what gives the label away in a data set, and chains that should not be trained on."""
    from rmr1_lite.data.audit import audit as run
    from rmr1_lite.data.audit import write_audit
    from rmr1_lite.models.token_lengths import chain_lengths

    found = run(sources, max_length, chain_lengths(model, style) if model else None, split)
    print(found.text())
    print(f"Page: {write_audit(found, out)}")
    if strict and found.alarm:
        raise typer.Exit(1)


@app.command()
def convert(
    files: Annotated[list[str], typer.Argument(help="reviews: JSONL files, also as .gz")],
    out: Annotated[Path, typer.Option(help="file for the chains; the report goes next to it")],
    pairs: Annotated[
        Optional[list[str]],
        typer.Option(
            help="file with the labelled pairs by id; may be repeated; default: the rows hold their pair"
        ),
    ] = None,
    verdicts: Annotated[VerdictRule, typer.Option(help="rule that reads the verdict; auto: by source")] = (
        VerdictRule.auto
    ),
    style: Annotated[
        ChainStyle, typer.Option(help="prompt style whose layout is written")
    ] = ChainStyle.compact,
    max_chars: Annotated[
        Optional[int],
        typer.Option(
            help="longest chain in characters; 0: no limit; default: 700 for compact, none for others"
        ),
    ] = None,
    keep: Annotated[
        Keep, typer.Option(help="right: only chains whose verdict is the label; all: every parsed chain")
    ] = (Keep.right),
    allow_licence: Annotated[
        Optional[list[str]],
        typer.Option(
            help="allowed licence of a row; may be repeated; default: MIT, Apache-2.0, CC-BY-4.0, CC0-1.0"
        ),
    ] = None,
) -> None:
    """Convert judge reviews in other layouts to chains for SFT, by named rules and without a teacher."""
    from rmr1_lite.data.convert import LICENCES, Conversion
    from rmr1_lite.data.convert import convert as run

    allowed = tuple(allow_licence) if allow_licence else LICENCES
    done = run(
        files, pairs or [], out, Conversion(verdicts.value, style.value, max_chars, keep.value, allowed)
    )
    print(done.text())
    print(f"Left out: {done.left_out}")
    print(f"Report: {done.report}")
    print(f"Chains: {done.out}")


@app.command()
def balance(
    files: Annotated[list[str], typer.Argument(help=f"{SOURCES}; labelled pairs")],
    out: Annotated[Path, typer.Option(help="file for the pairs; the report goes next to it")],
    count: Annotated[int, typer.Option(help="pairs to draw; 0: all that balance", min=0)] = 0,
    max_chars: Annotated[int, typer.Option(help="longest prompt and responses together; 0: any", min=0)] = 0,
    per_prompt: Annotated[int, typer.Option(help="maximum pairs per prompt; 0: any", min=0)] = 0,
    english: Annotated[
        bool, typer.Option("--english", help="only pairs in which at least 90 % of the letters are English")
    ] = False,
    seed: Annotated[int, typer.Option(help="seed of the hash that orders the draw")] = 0,
) -> None:
    """Draw pairs whose length, style, side and source say nothing about the label."""
    from rmr1_lite.data.balance import Balance
    from rmr1_lite.data.balance import balance as run

    done = run(files, out, Balance(count, max_chars, per_prompt, english, seed))
    print(done.text())
    print(f"Left out: {done.left_out}")
    print(f"Report: {done.report}")
    print(f"Pairs: {done.out}")


@app.command()
def published(
    name: Annotated[
        str, typer.Argument(help="distill-sft, after-distill-rlvr, reasoning-rlvr or entire-rlvr")
    ],
    out: Annotated[Path, typer.Option(help="output folder")] = Path("runs/published"),
    source: Annotated[Optional[str], typer.Option(help="local copy to read instead of the hub")] = None,
    on_bad_row: Annotated[BadRow, typer.Option(help=BAD_ROW)] = BadRow.skip,
) -> None:
    """Convert one of the four published RM-R1 sets to the kit's format."""
    from rmr1_lite.data.released_sets import write_published

    counts = write_published(name, out, source, on_bad_row=on_bad_row.value)
    _problems(counts, out)
    labels = f"A {counts['A']}, B {counts['B']}"
    print(f"{counts['kept']} of {counts['rows']} rows kept ({labels}); published: {counts['said_to_have']}")
    print(f"Data: {counts['file']}")


@app.command()
def mixture(
    out: Annotated[Path, typer.Option(help="output folder")] = Path("runs/mixture"),
    source: Annotated[
        Optional[list[str]], typer.Option(help="NAME=PATH of a local copy of skywork, code or math")
    ] = None,
    on_bad_row: Annotated[BadRow, typer.Option(help=BAD_ROW)] = BadRow.skip,
) -> None:
    """Rebuild the paper's RL mixture (Table 5) from its three sources."""
    from rmr1_lite.data.rl_mixture import write_mixture

    counts = write_mixture(out, dict(map(_named, source or [])), on_bad_row.value)
    _problems(counts, out)
    for part, n in counts["parts"].items():
        print(f"{part:>22}: {n:>6} (paper: {counts['paper'].get(part, 'not stated')})")
    print(f"{counts['pairs']} pairs, left out: {counts['left_out'] or 'none'}")
    print(f"Data: {counts['file']}")


def _problems(counts: dict[str, Any], out: Path) -> None:
    for problem in counts["problems"]:
        print(f"  {problem}")
    if counts["problems"]:
        print(f"  all of them: {out}/problems.jsonl")


def benchmark_texts(against: list[str]) -> Iterator[tuple[str, str, str]]:
    """(benchmark, item, conversation) of every pair of the benchmarks named, read before anything is
    prepared."""
    from rmr1_lite.evaluation.benchmarks import find_benchmark, read_benchmark

    for text in against:
        name, _, place = text.partition("=")
        for pair in read_benchmark(find_benchmark(name), place or None):
            yield name, pair.id, "\n".join(turn["content"] for turn in pair.prompt)


def _named(text: str) -> tuple[str, str]:
    name, equals, place = text.partition("=")
    if not equals or not place:
        raise InputError(f"source is {text!r:.80}. Write NAME=PATH, like skywork=downloads/skywork.")
    return name, place

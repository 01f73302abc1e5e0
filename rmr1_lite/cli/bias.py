"""The command that measures what moves a judge but should not: bias."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from rmr1_lite.cli.judge_options import (
    JUDGE_HELP,
    MAX_NEW_TOKENS_HELP,
    READING_HELP,
    THOUGHT_OPEN_HELP,
    ReadingName,
    settle_reading,
)
from rmr1_lite.cli.outputs import this_command
from rmr1_lite.config import THINKING_HELP, StyleName, Thinking
from rmr1_lite.exit_status import PartlyDone

PAIRS_HELP = (
    "JSONL of pairs, labelled or not; default: 24 included English pairs, for nano judges 60 of their world"
)
CHANGE_HELP = "measure only this change; may be repeated; default: all; an unknown name lists them"
ATTACH_HELP = (
    "also write bias.json and its table into the judge's adapter folder (table in README.md): the app, "
    "copies and the hub then have them"
)


def bias(
    judge: Annotated[str, typer.Option(help=JUDGE_HELP)] = "nano",
    pairs: Annotated[Optional[Path], typer.Option(help=PAIRS_HELP)] = None,
    out: Annotated[
        Path, typer.Option(help="folder for items.jsonl, bias.json, bias.md, bias.html and bias.png")
    ] = Path("runs/bias"),
    limit: Annotated[
        Optional[int], typer.Option(help="use about this many pairs, the same share of every section")
    ] = None,
    change: Annotated[Optional[list[str]], typer.Option(help=CHANGE_HELP)] = None,
    seed: Annotated[int, typer.Option(help="seed of the subset, the misspellings and sampling")] = 0,
    style: Annotated[StyleName, typer.Option(help="prompt style")] = "auto",
    thinking: Annotated[Thinking, typer.Option(help=THINKING_HELP)] = "auto",
    reading: Annotated[ReadingName, typer.Option(help=READING_HELP)] = ReadingName.auto,
    thought_open: Annotated[bool, typer.Option("--thought-open", help=THOUGHT_OPEN_HELP)] = False,
    temperature: Annotated[float, typer.Option(help="0 is greedy")] = 0.0,
    max_new_tokens: Annotated[Optional[int], typer.Option(help=MAX_NEW_TOKENS_HELP)] = None,
    batch_size: Annotated[int, typer.Option(help="judge calls per batch")] = 32,
    four_bit: Annotated[
        bool, typer.Option(help="load a local model in 4 bits (NF4); otherwise as stored")
    ] = True,
    attach: Annotated[bool, typer.Option("--attach", help=ATTACH_HELP)] = False,
) -> None:
    """Measure what moves a judge but should not (position, length, markdown, claims, fake verdicts, ...), and
    whether it notices damaged answers. The same command resumes. Exit status 2: some judge calls failed."""
    from rich import print as show

    from rmr1_lite.cli.tables import bias_table
    from rmr1_lite.evaluation.bias.measure import BiasRequest, measure_bias
    from rmr1_lite.judging.factory import make_judge
    from rmr1_lite.models.model_card import attach_bias_card, attachable
    from rmr1_lite.reporting.bias_page import write_bias_page
    from rmr1_lite.reporting.plots import why_no_plots

    target = attachable(judge) if attach else None
    settled = settle_reading(reading, judge)

    def load_judge() -> Any:
        return make_judge(
            judge,
            style,
            settled,
            batch_size=batch_size,
            four_bit=four_bit,
            thinking=thinking,
            thought_open=thought_open,
            check_repeat=True,
            temperature=temperature,
            max_new_tokens=max_new_tokens,
            seed=seed,
        )

    request = BiasRequest(judge, str(pairs) if pairs else None, limit, tuple(change or ()), seed)
    card, bad_rows = measure_bias(request, load_judge, out, this_command())
    show(bias_table(card))
    print("\n".join([*card.sentences(), card.method()]))
    print(f"Report: {write_bias_page(card, out)}")
    if why := why_no_plots():
        print(why)
    if target is not None:
        print(f"Card: {attach_bias_card(card, target)}")
    if card.failed or bad_rows:
        raise PartlyDone(f"{card.failed} judge calls failed, {bad_rows} rows are not pairs")

"""The command that starts a text server for a judge: serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Optional

import typer

from rmr1_lite.cli.judge_options import READING_HELP, ReadingName
from rmr1_lite.config import StyleName

EngineName = Literal["auto", "vllm", "llama.cpp", "transformers"]
JUDGE_HELP = "an exported folder, a .gguf file, or an adapter or model, which is exported first"
ENGINE_HELP = (
    "auto: llama.cpp for GGUF files, vLLM where it is found and there is a card, transformers elsewhere"
)
EXTRA_HELP = "further arguments for the server, after --"
EXPORT_HELP = "folder for the export of an adapter or a model; default: runs/served/NAME-ENGINE"
CONTEXT_HELP = "tokens of prompt and chain together; default: the model's own, at most 16384"


def serve(
    judge: Annotated[str, typer.Argument(help=JUDGE_HELP)],
    extra: Annotated[Optional[list[str]], typer.Argument(metavar="[-- ARGUMENTS]", help=EXTRA_HELP)] = None,
    engine: Annotated[EngineName, typer.Option(help=ENGINE_HELP)] = "auto",
    host: Annotated[str, typer.Option(help="address to listen on; 0.0.0.0: all machines")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="port to listen on")] = 8000,
    name: Annotated[str, typer.Option(help="the judge's name on the server; default: its own")] = "",
    style: Annotated[StyleName, typer.Option(help="prompt style; a lone .gguf file needs it")] = "auto",
    reading: Annotated[ReadingName, typer.Option(help=READING_HELP)] = ReadingName.auto,
    context: Annotated[Optional[int], typer.Option(min=1, help=CONTEXT_HELP)] = None,
    slots: Annotated[int, typer.Option(min=1, help="judge calls that llama.cpp works on at once")] = 4,
    export_to: Annotated[Optional[Path], typer.Option(help=EXPORT_HELP)] = None,
    wait: Annotated[float, typer.Option(min=1, help="seconds to wait for the first answer")] = 1800.0,
    check: Annotated[bool, typer.Option("--check", help="stop after the first pair")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the command, start nothing")] = False,
) -> None:
    """Start an existing server (vLLM, llama.cpp or transformers serve) for a judge, with the flags that keep
    its verdicts, and judge one pair with it. Ctrl-C ends it. The key in RMR1_SERVER_KEY, if set, must come
    with every request. Exit status 1: the server ended by itself; 2: with --check, no verdict in the first
    pair."""
    from rmr1_lite.integrations.serving.serve import ServeRequest
    from rmr1_lite.integrations.serving.serve import serve as start

    start(
        ServeRequest(
            judge=judge,
            engine=engine,
            host=host,
            port=port,
            name=name,
            style=style,
            reading=reading.value,
            context=context,
            slots=slots,
            export_to=export_to,
            wait=wait,
            check=check,
            dry_run=dry_run,
            extra=tuple(extra or ()),
        )
    )

"""The options of the judge app: `python -m rmr1_lite app`, or `python app.py` in a checkout.

Nothing of the page is imported here, so `--help` is instant and wrong options are reported before anything
loads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from rmr1_lite.app.address import PORT, choose_address
from rmr1_lite.config import APP_HISTORY, StyleName
from rmr1_lite.environment import prepare_process
from rmr1_lite.exit_status import run_command

JUDGES = "nano, a folder, a hub id, openai:MODEL@URL or replay:FILE; may be repeated"


def start(
    judge: Annotated[Optional[list[str]], typer.Option(help=JUDGES)] = None,
    host: Annotated[
        Optional[str],
        typer.Option(
            help="address to listen on; default: 127.0.0.1 (this machine only), or GRADIO_SERVER_NAME"
        ),
    ] = None,
    port: Annotated[
        Optional[int],
        typer.Option(help="port to listen on; default: 7860, or GRADIO_SERVER_PORT", min=1, max=65535),
    ] = None,
    share: Annotated[
        bool, typer.Option(help="make a public link, protected by --auth or a generated password")
    ] = False,
    auth: Annotated[
        str, typer.Option(help="NAME:PASSWORD that visitors must enter", envvar="RMR1_APP_AUTH")
    ] = "",
    history: Annotated[Path, typer.Option(help="SQLite file of the history; not used with --share")] = Path(
        APP_HISTORY
    ),
    style: Annotated[StyleName, typer.Option(help="prompt style for models without their own")] = "auto",
    four_bit: Annotated[
        bool, typer.Option(help="load local models in 4 bits (NF4); otherwise as stored")
    ] = True,
) -> None:
    """Judge pairs of responses in the browser."""
    from rmr1_lite.app.launch import default_judges, launch

    address = choose_address(host, port)  # a wrong one is reported before anything is loaded
    launch(
        judge or default_judges(),
        address.host,
        address.port or PORT,
        share,
        auth,
        history,
        style,
        four_bit,
    )


def main() -> None:
    """Entry point of `app.py`; the exit status is explained in `rmr1_lite.exit_status`."""
    prepare_process()
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(start)
    run_command(app)

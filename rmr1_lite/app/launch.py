"""`python app.py`: which judges, on which address, for whom. The page itself loads when the options are
right."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Annotated, Any, Optional

import typer

from rmr1_lite.app.address import LOCAL, PORT, SPACE, choose_address
from rmr1_lite.config import StyleName
from rmr1_lite.environment import prepare_environment, prepare_process
from rmr1_lite.exit_status import run_command
from rmr1_lite.models import smol
from rmr1_lite.types import InputError

JUDGES = "nano, a folder, a hub id, openai:MODEL@URL or replay:FILE; give it again for more judges"
DEMO = Path("runs/demo")
HISTORY = Path("runs/app/history.sqlite3")
NOTEBOOKS = ("COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE")  # environment variables of Colab and Kaggle
WARM_SECONDS = 8.0


def start(
    judge: Annotated[Optional[list[str]], typer.Option(help=JUDGES)] = None,
    host: Annotated[
        Optional[str],
        typer.Option(
            help="address to listen on; 127.0.0.1, this machine only, unless GRADIO_SERVER_NAME is set"
        ),
    ] = None,
    port: Annotated[
        Optional[int],
        typer.Option(help="port to listen on; 7860 unless GRADIO_SERVER_PORT is set", min=1, max=65535),
    ] = None,
    share: Annotated[bool, typer.Option(help="a public link; asks for --auth or makes a password")] = False,
    auth: Annotated[
        str, typer.Option(help="NAME:PASSWORD that a visitor must give", envvar="RMR1_APP_AUTH")
    ] = "",
    history: Annotated[
        Path, typer.Option(help="SQLite file of the history; not written when shared")
    ] = HISTORY,
    style: Annotated[StyleName, typer.Option(help="prompt style of models that do not name one")] = "auto",
    four_bit: Annotated[bool, typer.Option(help="weights of local models in NF4, or as stored")] = True,
) -> None:
    """Judge pairs of responses in the browser."""
    address = choose_address(host, port)  # what is wrong with it is told before anything is loaded
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


def launch(
    judges: list[str],
    host: str | None = None,
    port: int | None = None,
    share: bool = False,
    auth: str = "",
    history: Path = HISTORY,
    style: str = "auto",
    four_bit: bool = True,
    wait: bool = True,
) -> Any:
    """Open the page; from a notebook with wait=False. Returns Gradio's (app, local address, public address).

    host, port: None takes Gradio's environment variables, else this machine only and the first free port from
    7860 on.
    """
    prepare_environment()  # again, for notebooks: the page is built while a model loads on another thread
    address = choose_address(host, port)
    share = share or any(name in os.environ for name in NOTEBOOKS)
    login, public = credentials(auth, share), share or SPACE in os.environ
    from rmr1_lite.app.actions import App
    from rmr1_lite.app.history import History
    from rmr1_lite.app.page import CSS, app_theme, build_page
    from rmr1_lite.app.script import SCRIPT
    from rmr1_lite.judging.pool import JudgePool

    if address.host not in LOCAL and not login and SPACE not in os.environ:
        print(
            f"Note: everybody who can reach {address.host} can use this page. --auth NAME:PASSWORD asks for "
            "a password."
        )
    app = App(
        JudgePool(judges, four_bit, style=None if style == "auto" else style),
        History(None if public else history),
        public,
        owner=address.local,
    )
    warm = Thread(target=_warm, args=(app.pool,), daemon=True)
    warm.start()
    page = build_page(app)
    warm.join(WARM_SECONDS)  # a small judge is there when the page opens; a large one goes on loading
    try:
        return page.launch(
            server_name=address.host,
            server_port=address.port,
            root_path=address.root_path or None,
            share=share,
            auth=login,
            prevent_thread_lock=not wait,
            theme=app_theme(),
            css_paths=CSS,
            js=SCRIPT,
            footer_links=["api"],
            ssr_mode=False,
            max_file_size="1mb",
            enable_monitoring=False,
        )
    except OSError as error:
        if address.port is None or "port" not in str(error):
            raise
        raise InputError(
            f"Port {address.port} of {address.host} cannot be opened ({error}). Give another --port."
        ) from None


def _warm(pool: Any) -> None:
    """Load the first judge while the page opens, so that the first click does not have to wait. A failure is
    reported at that click."""
    with suppress(InputError):
        pool.judge(pool.specs[0])


def credentials(auth: str, share: bool) -> tuple[str, str] | None:
    """(name, password): the given ones; made up for a public link without; None for a page of your own."""
    if auth:
        name, colon, password = auth.partition(":")
        if not name or not colon or len(password) < 8:
            raise InputError("auth must be NAME:PASSWORD with a password of 8 characters or more.")
        return name, password
    if not share:
        return None
    password = secrets.token_urlsafe(12)
    print(f"The public link asks for a name and a password. Name: judge, password: {password}")
    return "judge", password


def default_judges() -> list[str]:
    """Judges of natural language that are installed first, then what `make demo` made where it is there; else
    the judges that ship with the package."""
    return [*language_judges(), *_trained_judges()]


def language_judges() -> list[str]:
    """Judges of natural language that need no download. The page chooses the first judge, so that whoever has
    one sees it first."""
    return [smol.NAME] if smol.is_here() else []


def _trained_judges() -> list[str]:
    made = [DEMO / stage / "adapter" for stage in ("grpo", "sft")]
    if all((folder / "adapter_model.safetensors").exists() for folder in made):
        print(f"Judges: {DEMO} (GRPO and SFT) and their base.")
        return [*map(str, made), "nano-base"]
    return ["nano", "nano-sft", "nano-base"]


def main() -> None:
    """Entry point; the exit status is explained in `rmr1_lite.exit_status`."""
    prepare_process()
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(start)
    run_command(app)

"""Opens the judge app: its judges, address and visitors. Its options: `rmr1_lite.app.command`."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

from rmr1_lite.app.address import LOCAL, SPACE, choose_address
from rmr1_lite.config import APP_HISTORY
from rmr1_lite.environment import prepare_environment
from rmr1_lite.models import smol
from rmr1_lite.types import InputError

DEMO = Path("runs/demo")
NOTEBOOKS = ("COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE")  # environment variables of Colab and Kaggle
WARM_SECONDS = 8.0


def launch(
    judges: list[str],
    host: str | None = None,
    port: int | None = None,
    share: bool = False,
    auth: str = "",
    history: Path = Path(APP_HISTORY),
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
            f"Note: everyone who can reach {address.host} can use this page. --auth NAME:PASSWORD asks for "
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
    warm.join(WARM_SECONDS)  # a small judge is ready when the page opens; a large one continues to load
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
            f"Port {address.port} on {address.host} cannot be opened ({error}). Give another --port."
        ) from None


def _warm(pool: Any) -> None:
    """Load the first judge while the page opens, so that the first click does not wait. A failure is
    reported at that click."""
    with suppress(InputError):
        pool.judge(pool.specs[0])


def credentials(auth: str, share: bool) -> tuple[str, str] | None:
    """(name, password): the given ones; generated for a public link without; None for a private page."""
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
    """Installed judges of natural language first, then the results of `make demo` if they exist, otherwise
    the shipped judges."""
    return [*language_judges(), *_trained_judges()]


def language_judges() -> list[str]:
    """Judges of natural language that need no download. The page selects the first judge, so users who have
    one see it first."""
    return [smol.NAME] if smol.is_here() else []


def _trained_judges() -> list[str]:
    made = [DEMO / stage / "adapter" for stage in ("grpo", "sft")]
    if all((folder / "adapter_model.safetensors").exists() for folder in made):
        print(f"Judges: {DEMO} (GRPO and SFT) and their base.")
        return [*map(str, made), "nano-base"]
    return ["nano", "nano-sft", "nano-base"]

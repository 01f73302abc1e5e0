"""Shared by the slow tests: a toy base of a few thousand parameters, and a real browser, made once per
run."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from fixtures.app_driver import WAIT, running

ELSEWHERE = {"long": "make test-long", "browser": "make test-long", "smol": "make smol"}
_left_out: Counter[str] = Counter()


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Count the tests that `-m` leaves out, by the command that runs them."""
    for item in items:
        _left_out.update({ELSEWHERE[name] for name in ELSEWHERE if item.get_closest_marker(name)})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report which tests were left out, and where they run."""
    for command, count in sorted(_left_out.items()):
        terminalreporter.write_line(f"left out: {count} tests of {command}")


@pytest.fixture(scope="session")
def toy_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained nano base: right shape, right tokenizer, no skill. For tests that need no skill."""
    from rmr1_lite.data.nano import pretrain
    from rmr1_lite.data.nano.tokenizer import build_tokenizer, tokenizer_texts

    folder = tmp_path_factory.mktemp("toy") / "base"
    tokenizer = build_tokenizer(tokenizer_texts(0), 1024)
    config = pretrain.BaseConfig(hidden_size=64, mlp_size=128, layers=2)
    pretrain.save(pretrain.build_model(config, tokenizer), tokenizer, folder, {})
    return folder


@pytest.fixture(scope="session")
def toy_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty training pairs of the nano world, seven of them with chains."""
    from rmr1_lite.data.nano.dataset import NanoData, write_nano_data

    return write_nano_data(tmp_path_factory.mktemp("data"), NanoData(train=60, validation=8, test=8))


@pytest.fixture(scope="session")
def chromium():
    """A headless Chromium. Without one the test is skipped, or fails where CI or RMR1_REQUIRE_BROWSER is
    set."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        give_up = (
            pytest.fail if os.environ.get("CI") or os.environ.get("RMR1_REQUIRE_BROWSER") else pytest.skip
        )
        give_up("no Chromium on this machine: install it, as .ci/run does")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """(address, working folder) of `python app.py` with one judge that cannot be loaded among three."""
    folder = tmp_path_factory.mktemp("app")
    with running(folder, ["nano", "nano-sft", "nowhere/at/all"]) as address:
        yield address, folder


@pytest.fixture
def page(chromium, server):
    """A fresh page; requests that leave the machine and errors of the page are collected on it."""
    context = chromium.new_context(viewport={"width": 1200, "height": 1000}, accept_downloads=True)
    made = context.new_page()
    made.set_default_timeout(WAIT)
    made.remote, made.faults = [], []
    made.on(
        "request",
        lambda r: made.remote.append(r.url) if not r.url.startswith((server[0], "data:", "blob:")) else None,
    )
    made.on("pageerror", lambda error: made.faults.append(str(error)))
    made.goto(server[0])
    made.get_by_role("tab", name="Judge").wait_for()
    yield made
    context.close()

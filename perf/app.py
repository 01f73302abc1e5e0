"""How soon can a user judge? Time from starting `python app.py` to a clickable page, and from a click to the
first word, on nano.

    OMP_NUM_THREADS=2 python perf/app.py --out perf/results/app-cpu.json

A real Chromium loads the page and clicks. The first click also loads the model; the others find it loaded.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any

from playwright.sync_api import Page, sync_playwright

from rmr1_lite.models.backend import installed_versions

ROOT = Path(__file__).parents[1]
FIRST_WORD = "[...document.querySelectorAll('#judgment .rm-text')].some(e => e.innerText.trim())"
GONE = "!document.querySelector('#judgment .rm-text')"


def until_up(address: str) -> None:
    while True:
        try:
            with urllib.request.urlopen(address, timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)


def fill(page: Page, number: int) -> None:
    texts = {
        "Question": f"What is {number}+11?",
        "Response A": str(number + 11),
        "Response B": str(number + 12),
    }
    for label, text in texts.items():
        page.get_by_label(label, exact=True).locator("visible=true").first.fill(text)


def click(page: Page, number: int) -> dict[str, float]:
    """Seconds from the click to the first word and to the verdict in both orders."""
    fill(page, number)
    began = time.perf_counter()
    page.get_by_role("button", name="Judge", exact=True).click()
    if number:
        page.wait_for_function(GONE, polling="raf")  # the judgment before this one
    page.wait_for_function(FIRST_WORD, polling="raf")
    first = time.perf_counter() - began
    page.locator("#judgment .rm-summary").wait_for()
    return {"first_word": round(first, 3), "both_orders": round(time.perf_counter() - began, 3)}


def measure(port: int, clicks: int, folder: str) -> dict[str, Any]:
    address = f"http://127.0.0.1:{port}"
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as driver:
        page = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"]).new_page()
        page.set_default_timeout(120_000)
        began = time.perf_counter()
        command = [sys.executable, str(ROOT / "app.py"), "--port", str(port), "--judge", "nano"]
        app = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until_up(address)
            answers = time.perf_counter() - began
            page.goto(address)
            page.get_by_role("button", name="Judge", exact=True).wait_for()
            usable = time.perf_counter() - began
            times = [click(page, number) for number in range(clicks)]
        finally:
            app.terminate()
            app.wait()
    later = times[1:]
    return {
        "start_to_answer_s": round(answers, 2),
        "start_to_usable_page_s": round(usable, 2),
        "first_click": times[0],
        "later_clicks": {
            name: {"median": median(t[name] for t in later), "worst": max(t[name] for t in later)}
            for name in later[0]
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--clicks",
        type=int,
        default=11,
        help="judgments; the first is reported separately (default %(default)s)",
    )
    parser.add_argument("--port", type=int, default=7871, help="free port (default %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="JSON to write")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(args.port, args.clicks, folder)
    result |= {
        "cpu_count": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", ""),
        "machine": platform.machine(),
        "versions": installed_versions(),
        "date": datetime.now(timezone.utc).date().isoformat(),
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()

"""Takes the app's pictures for README.md and docs/app.md: `python app.py` in one shell, then

    python docs/screenshots.py http://127.0.0.1:7860

They are written to docs/images/.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).parent
PAIR = {
    "Question": "Write to Nora: thank for the cake.",
    "Response A": "Dear Nora, thank you for the cake.",
    "Response B": "Sure, here it is: Dear Sam, thank you for the cake. That is all there is to it.",
}

RANKED = {
    "Question": "Sort d a c from first to last.",
    "Response 1": "a d c",
    "Response 2": "a c d",
    "Response 3": "d a c",
}


def visible(page: Page, found):  # noqa: ANN001, ANN202
    return found.locator("visible=true").first


def fill(page: Page, fields: dict[str, str]) -> None:
    for label, text in fields.items():
        visible(page, page.get_by_label(label, exact=True)).fill(text)


def press(page: Page, name: str) -> None:
    visible(page, page.get_by_role("button", name=name, exact=True)).click()


def take(page: Page, name: str, whole: bool = True) -> None:
    """256 colours are enough for a page, and a third of the size."""
    page.wait_for_timeout(700)
    path = HERE / "images" / f"{name}.png"
    page.screenshot(path=path, full_page=whole)
    Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)


def judge(page: Page) -> None:
    """The pair, judged, with the pointer on a quote."""
    page.get_by_role("tab", name="Judge").wait_for()
    fill(page, PAIR)
    press(page, "Judge")
    page.locator("#judgment .rm-summary").wait_for()
    page.locator("#judgment .rm-quote_A .rm-cite").first.click()
    page.evaluate("scrollTo(0, 0)")


def other_tabs(page: Page) -> None:
    page.get_by_role("tab", name="Compare").click()
    fill(page, PAIR)
    press(page, "Compare")
    page.wait_for_function("document.querySelectorAll('.rm-compare .rm-summary').length >= 3")
    take(page, "app-compare", whole=False)
    page.get_by_role("tab", name="Rank").click()
    fill(page, RANKED)
    press(page, "Rank")
    page.get_by_text("3 of 3 pairs").wait_for()
    take(page, "app-rank")
    page.get_by_role("tab", name="Blind vote").click()
    press(page, "Draw a pair")
    visible(page, page.get_by_label("A is better")).check()
    press(page, "Vote, then see the judge")
    page.get_by_text("You and the judge agree on").locator("visible=true").first.wait_for()
    take(page, "app-vote", whole=False)
    page.get_by_role("tab", name="History").click()
    visible(page, page.get_by_role("gridcell", name="rank")).click()
    page.get_by_text("3 of 3 pairs").locator("visible=true").first.wait_for()
    take(page, "app-history")


def main() -> None:
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1180, "height": 900})
        page.goto(sys.argv[1])
        judge(page)
        take(page, "app")
        other_tabs(page)
        page.goto(f"{sys.argv[1]}/?__theme=dark")
        judge(page)
        take(page, "app-dark", whole=False)
        phone = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True).new_page()
        phone.goto(sys.argv[1])
        judge(phone)
        phone.locator("#judgment").scroll_into_view_if_needed()
        phone.evaluate("document.getElementById('judgment').scrollIntoView()")
        take(phone, "app-phone", whole=False)


if __name__ == "__main__":
    main()

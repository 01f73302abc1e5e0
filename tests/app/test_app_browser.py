"""The page as users see it: the real app on the shipped judges, in a real browser, and over its HTTP
API."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from fixtures.app_driver import WAIT, click, fill, running, shown, tab

pytestmark = pytest.mark.browser


def test_a_pair_is_judged_in_both_orders_and_kept(page, server):
    shown(page.locator(".rm-examples button")).click()
    page.wait_for_function(
        "[...document.querySelectorAll('textarea')].filter(t => t.offsetParent && t.value).length >= 3"
    )
    click(page, "Judge")
    page.locator("#judgment .rm-part").first.wait_for()  # the reasoning comes before the result
    page.locator("#judgment .rm-summary").wait_for()
    assert page.locator("#judgment .rm-look").count() == 2
    said = page.locator("#judgment").inner_text()
    assert re.search("Both orders agree|Changed its mind|No verdict", said) and "Type of question" in said
    assert "confidence" in said and page.locator("#judgment pre").count() == 2, (
        "the raw text is one click away"
    )
    tab(page, "History")
    row = shown(page.get_by_role("gridcell", name=re.compile("^compare$"))).first
    row.click()
    shown(page.locator(".rm-summary")).wait_for()
    assert (server[1] / "runs" / "app" / "history.sqlite3").exists()
    assert page.remote == [] and page.faults == [], "nothing leaves the machine"


def test_what_is_wrong_is_said_and_the_page_goes_on(page):
    click(page, "Judge")
    shown(page.get_by_role("alert").filter(has_text="Question is empty")).wait_for()
    shown(page.get_by_label("Judge", exact=True)).click()
    page.get_by_role("option", name="nowhere/at/all").click()
    fill(page, "What is 2+2?", "4", "5")
    click(page, "Judge")
    shown(page.get_by_role("alert").filter(has_text="does not exist")).wait_for()
    shown(page.get_by_label("Judge", exact=True)).click()
    page.get_by_role("option", name="nano", exact=True).click()
    click(page, "Judge")
    page.locator("#judgment .rm-summary").wait_for()


def test_a_judgment_can_be_stopped(page):
    fill(page, "What is 22+31?", "53", "54")
    click(page, "Judge")
    page.locator("#judgment .rm-look").first.wait_for()
    click(page, "Stop")
    shown(page.get_by_role("status").filter(has_text="Stopped. The text")).wait_for()
    click(page, "Judge")
    page.locator("#judgment .rm-summary").wait_for()


def test_judges_stand_side_by_side(page):
    tab(page, "Compare")
    page.get_by_role("checkbox", name="nowhere/at/all").locator("visible=true").uncheck()
    fill(page, "Sort d a c from first to last.", "a c d", "a d c")
    click(page, "Compare")
    page.wait_for_function("document.querySelectorAll('.rm-summary').length >= 2")
    heads = [text for text in page.locator(".rm-judgment h3").all_inner_texts() if text]
    assert heads[:2] == ["nano", "nano-sft"]


def test_responses_are_ranked(page):
    tab(page, "Rank")
    shown(page.get_by_label("Question", exact=True)).fill("Sort d a c from first to last.")
    for number, text in enumerate(("a d c", "a c d", "d a c"), 1):
        page.get_by_label(f"Response {number}", exact=True).fill(text)
    click(page, "Rank")
    page.get_by_text(re.compile("^3 of 3 pairs")).wait_for()
    assert page.locator(".rm-table:visible tbody tr").count() == 3


def test_a_vote_comes_before_the_verdict(page):
    tab(page, "Blind vote")
    click(page, "Draw a pair")
    page.wait_for_function(
        "[...document.querySelectorAll('textarea')].filter(t => t.offsetParent && t.value).length >= 3"
    )
    click(page, "Vote, then see the judge")
    shown(page.get_by_role("alert").filter(has_text="not voted yet")).wait_for()
    assert page.locator(".rm-summary:visible").count() == 0
    shown(page.get_by_label("A is better")).check()
    click(page, "Vote, then see the judge")
    page.get_by_text(re.compile("You and the judge agree on")).locator("visible=true").first.wait_for()
    tab(page, "History")
    with page.expect_download() as download:
        shown(page.get_by_text("Votes as training pairs")).click()
    (row, *_) = [json.loads(line) for line in Path(download.value.path()).read_text().splitlines()]
    assert {"prompt", "chosen", "rejected"} <= row.keys()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_phone_shows_everything_without_scrolling_sideways(chromium, server, dark):
    context = chromium.new_context(viewport={"width": 390, "height": 800}, is_mobile=True)
    phone = context.new_page()
    phone.goto(server[0] + ("/?__theme=dark" if dark else "/?__theme=light"))
    phone.get_by_role("tab", name="Judge").wait_for(timeout=WAIT)
    phone.wait_for_timeout(500)
    assert phone.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1")
    assert phone.evaluate("document.body.classList.contains('dark')") == dark
    fields = phone.locator("textarea:visible, input:visible, button:visible")
    unnamed = [f.evaluate("e => e.outerHTML.slice(0, 120)") for f in fields.all() if not f.evaluate(NAMED)]
    assert not unnamed, "a screen reader needs a name for every field"
    context.close()


NAMED = """e => !!(e.getAttribute('aria-label') || e.getAttribute('title') || e.innerText
    || e.closest('label') || e.getAttribute('aria-labelledby')
    || (e.id && document.querySelector(`label[for='${e.id}']`)))"""


def test_the_keyboard_is_enough(page):
    shown(page.get_by_label("Question", exact=True)).focus()
    page.keyboard.type("What is 40+2?")
    page.keyboard.press("Tab")
    page.keyboard.type("42")
    page.keyboard.press("Tab")
    page.keyboard.type("43")
    shown(page.get_by_role("button", name="Judge", exact=True)).focus()
    page.keyboard.press("Enter")
    page.locator("#judgment .rm-summary").wait_for()


def test_the_api_judges_ranks_and_refuses(server):
    from gradio_client import Client
    from gradio_client.exceptions import AppError

    client = Client(server[0], verbose=False)
    made = client.predict("What is 40+2?", "42", "43", "nano", 0, api_name="/compare")
    assert made["judge"] == "nano" and {look["order"] for look in made["looks"]} == {"ab", "ba"}
    assert made["verdict"] in ("A", "B", None) and 0 <= made["probability_a"] <= 1
    found = client.predict("Sort d a c from first to last.", ["a d c", "a c d"], "", api_name="/rank")
    assert len(found["wins"]) == 2 and found["unread"] in range(5)
    for arguments, said in (
        (("q", "", "y", "", 0), "Response A is empty"),
        (("q", "x", "y", "owner/other", 0), "Choose one of"),
    ):
        with pytest.raises(AppError, match=said):
            client.predict(*arguments, api_name="/compare")


def test_twenty_users_at_once_get_their_own_answers(server):
    """Two judges on one base, comparisons and rankings mixed: everyone gets the same as a single user would
    get."""
    from concurrent.futures import ThreadPoolExecutor

    from gradio_client import Client

    def ask(number: int) -> tuple:
        client = Client(server[0], verbose=False)
        if number % 5 == 4:
            found = client.predict(
                f"What is {number}+2?", [str(number + 2), str(number + 3)], "nano", api_name="/rank"
            )
            return found["wins"], found["places"]
        judge = ("nano", "nano-sft")[number % 2]
        made = client.predict(
            f"What is {number}+12?", str(number + 12), str(number + 13), judge, 0, api_name="/compare"
        )
        return made["judge"], [look["text"] for look in made["looks"]], made["verdict"]

    alone = [ask(number) for number in range(20)]
    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(ask, range(20))) == alone


def test_history_outlives_a_restart(chromium, tmp_path):
    """Judgments from before a stop are still there when the app restarts in the same folder."""
    for start in range(2):
        with running(tmp_path, ["nano"]) as address:
            page = chromium.new_context().new_page()
            page.set_default_timeout(WAIT)
            page.goto(address)
            page.get_by_role("tab", name="Judge").wait_for()
            if start == 0:
                fill(page, "What is 20+5?", "25", "26")
                click(page, "Judge")
                page.locator("#judgment .rm-summary").wait_for()
                page.wait_for_timeout(500)
            else:
                tab(page, "History")
                shown(page.get_by_role("gridcell", name="What is 20+5?")).wait_for()
            page.context.close()

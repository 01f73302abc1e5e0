"""The page under attack and under load, driven in a real browser: hostile text in every field, too many
users, a shared link."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from fixtures.app_driver import click, fill, running, shown, tab

from rmr1_lite.app.history import History

pytestmark = pytest.mark.browser
HOSTILE = (
    "<script>window.pwned=1</script><img src=x onerror='window.pwned=1'><b id=bold>bold</b> "
    "[x](javascript:window.pwned=1) ![p](http://remote.example/p.png) ${window.pwned=1} {{7*7}}"
)


def test_hostile_pairs_are_text_on_the_judge_tab_and_in_the_history(page, server):
    fill(page, HOSTILE, HOSTILE, HOSTILE + " and more")
    page.get_by_role("button", name=re.compile("earlier turns")).click()
    for row in (0, 1):
        _type_cell(page, row, HOSTILE)
    click(page, "Judge")
    page.locator("#judgment .rm-summary").wait_for()
    _assert_inert(page)
    tab(page, "History")
    row = shown(page.get_by_role("gridcell", name=re.compile("^<script>")))
    row.wait_for()
    _assert_inert(page)
    judged = History(server[1] / "runs" / "app" / "history.sqlite3").rows(limit=1)[0]
    assert judged["prompt"] == [{"role": role, "content": HOSTILE} for role in ("user", "assistant", "user")]
    row.click()
    shown(page.locator(".rm-summary")).wait_for()
    _assert_inert(page)


def test_hostile_pairs_are_text_on_the_compare_tab(page):
    tab(page, "Compare")
    page.get_by_role("checkbox", name="nowhere/at/all").locator("visible=true").uncheck()
    fill(page, HOSTILE, HOSTILE, "a plain response")
    click(page, "Compare")
    page.wait_for_function("document.querySelectorAll('.rm-summary').length >= 2")
    _assert_inert(page)


def test_hostile_responses_are_text_on_the_rank_tab(page):
    tab(page, "Rank")
    shown(page.get_by_label("Question", exact=True)).fill(HOSTILE)
    for number in (1, 2):
        page.get_by_label(f"Response {number}", exact=True).fill(f"{number} {HOSTILE}")
    click(page, "Rank")
    page.get_by_text(re.compile("^1 of 1 pairs")).wait_for()
    _assert_inert(page)


def test_hostile_pairs_are_text_on_the_vote_tab_and_in_what_it_exports(page):
    tab(page, "Blind vote")
    fill(page, HOSTILE, "a plain response", HOSTILE)
    shown(page.get_by_label("B is better")).check()
    click(page, "Vote, then see the judge")
    page.get_by_text(re.compile("You and the judge agree on")).locator("visible=true").first.wait_for()
    _assert_inert(page)


def test_the_api_gives_hostile_text_back_as_it_came(server):
    from gradio_client import Client

    made = Client(server[0], verbose=False).predict(HOSTILE, HOSTILE, "plain", "nano", 0, api_name="/compare")
    assert made["prompt"][0]["content"] == HOSTILE and made["response_a"] == HOSTILE


def test_too_much_text_is_refused_with_its_limit(server):
    from gradio_client import Client
    from gradio_client.exceptions import AppError

    client = Client(server[0], verbose=False)
    with pytest.raises(AppError, match="20,001 characters. Give at most 20,000"):
        client.predict("q", "x" * 20_001, "y", "nano", 0, api_name="/compare")
    with pytest.raises(AppError, match="9 responses cannot be ranked"):
        client.predict("q", list("abcdefghi"), "nano", api_name="/rank")


def test_whoever_comes_when_the_queue_is_full_is_told_so(server):
    """The queue holds 32: of 60 at once some are turned away with a message, everyone else is served, and it
    continues."""
    from gradio_client import Client
    from gradio_client.utils import QueueError

    client = Client(server[0], verbose=False)

    def ask(number: int) -> str:
        try:
            return client.predict(
                f"What is {number}+2?", str(number + 2), "9", "nano", 0, api_name="/compare"
            )["judge"]
        except QueueError as error:
            return str(error)

    with ThreadPoolExecutor(60) as pool:
        answers = list(pool.map(ask, range(60)))
    turned_away = [answer for answer in answers if answer != "nano"]
    assert turned_away and all("Queue is full" in answer for answer in turned_away), answers
    assert len(turned_away) < 30 and ask(1) == "nano"


@pytest.mark.parametrize("variable", ["COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"])
def test_in_a_hosted_notebook_a_password_is_made_and_asked_for_and_no_history_is_written(tmp_path, variable):
    """Colab and Kaggle by their environment variables; without a network the public link fails, the page must
    not."""
    from gradio_client import Client

    with running(tmp_path, ["nano"], **{variable: "1"}) as address:
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{address}/config")
        password = re.search(r"Name: judge, password: (\S{12,})", (tmp_path / "log.txt").read_text())[1]
        made = Client(address, auth=("judge", password), verbose=False).predict(
            "2+2?", "4", "5", "nano", 0, api_name="/compare"
        )
        assert made["judge"] == "nano"
    assert not (tmp_path / "runs").exists()


def _type_cell(page, row: int, text: str) -> None:
    """Fill the text of one row of the table of earlier turns."""
    cells = page.get_by_test_id("accordion-content").get_by_role("gridcell")
    cells.nth(2 * row).click()  # the cell before, while it is selected, stands over the row below
    cell = cells.nth(2 * row + 1)
    cell.dblclick()
    editor = cell.get_by_role("textbox")
    editor.fill(text)
    editor.press("Enter")
    cell.get_by_text(text[:20]).wait_for()


def _assert_inert(page) -> None:
    """Nothing of the hostile text ran, became markup, or fetched anything."""
    page.wait_for_timeout(800)
    assert page.evaluate("window.pwned") is None
    assert (
        page.locator("#bold, img[src='x'], img[src*='remote.example'], a[href^='javascript:']").count() == 0
    )
    assert page.remote == [] and page.faults == []

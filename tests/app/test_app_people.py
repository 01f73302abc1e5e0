"""The page for its users: quotes, keys, screen readers, files and links, added judges."""

from __future__ import annotations

import json
import os
import re
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import pytest
from fixtures.app_driver import WAIT, click, fill, running, shown, tab

pytestmark = pytest.mark.browser
QUESTION, A, B = (
    "Write to Nora: thank for the cake.",
    "Dear Nora, thank you for the cake.",
    "Dear Sam, hello.",
)


def judge(page, question: str = QUESTION, a: str = A, b: str = B) -> None:
    fill(page, question, a, b)
    click(page, "Judge")
    page.locator("#judgment .rm-summary").wait_for()


def opened(chromium, address: str, **how):
    """A fresh page at an address, in a separate window."""
    page = chromium.new_context(viewport={"width": 1200, "height": 900}, **how).new_page()
    page.set_default_timeout(WAIT)
    page.goto(address)
    page.get_by_role("tab", name="Judge").wait_for()
    return page


def test_a_quote_shows_its_place_in_the_response(page):
    judge(page)
    quote = page.locator("#judgment .rm-quote_A .rm-cite").first
    number = quote.get_attribute("data-cite")
    mark = page.locator(f'#judgment .rm-response mark[data-cites~="{number}"]').first
    assert "rm-on" not in (mark.get_attribute("class") or "")
    elsewhere = shown(page.get_by_role("heading", name="RM-R1 judge"))
    ways = [
        ("the pointer", quote.hover, elsewhere.hover),
        ("the focus", quote.focus, quote.blur),
        ("a click, until another one", lambda: (quote.click(), elsewhere.hover()), elsewhere.click),
        ("Enter, until Esc", lambda: quote.press("Enter"), lambda: (quote.press("Escape"), quote.blur())),
    ]
    for _, on, off in ways:
        on()
        _until_lit(page, mark, True)
        off()
        _until_lit(page, mark, False)
    inline = page.locator("#judgment .rm-eval .rm-cite").first
    assert inline.get_attribute("data-cite") == number, "the same quote inside the evaluation"
    assert mark.inner_text().split()[0] in A


def _until_lit(page, mark, lit: bool) -> None:
    lights = "([e, lit]) => e.classList.contains('rm-on') === lit"
    page.wait_for_function(lights, arg=[mark.element_handle(), lit], timeout=10_000)


def test_a_screen_reader_hears_the_stages_and_the_verdict_once(page):
    page.locator("#rm-live").wait_for(state="attached")
    page.evaluate(
        """() => { window.heard = [];
        new MutationObserver(() => window.heard.push(document.getElementById('rm-live').textContent))
            .observe(document.getElementById('rm-live'), {childList: true}); }"""
    )
    judge(page)
    page.wait_for_function("window.heard.some(text => /^Verdict|^No/.test(text))")
    heard = page.evaluate("window.heard")
    live = page.locator("#rm-live")
    assert (live.get_attribute("role"), live.get_attribute("aria-live")) == ("status", "polite")
    assert heard[0] == "Judging, first order" and "Judging, swapped order" in heard
    assert re.match("Verdict: |Not? ", heard[-1]) and len(heard) <= 6, "stages, not words"


def test_the_keys_judge_and_stop(page):
    fill(page, "What is 22+31?", "53", "54")
    shown(page.get_by_label("Response B", exact=True)).press("Control+Enter")
    page.locator("#judgment .rm-look").first.wait_for()
    page.keyboard.press("Escape")
    page.locator("#judgment").get_by_text("Stopped.").first.wait_for()
    page.keyboard.press("Control+Enter")
    page.locator("#judgment .rm-summary.rm-good, #judgment .rm-summary.rm-bad").wait_for()
    assert page.locator("[data-running]").count() == 0
    value = shown(page.get_by_label("Response B", exact=True)).input_value()
    assert value == "54", "the keys type nothing"


def test_focus_can_be_seen(page):
    page.wait_for_timeout(2000)  # what a fresh page looks up draws some of its parts again
    shown(page.get_by_label("Question", exact=True)).focus()
    for _ in range(5):
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", page.evaluate("document.activeElement.outerHTML.slice(0, 200)")


def test_examples_swap_and_chance_fill_the_fields_without_pushing_the_button_away(page):
    box = shown(page.get_by_role("button", name="Judge", exact=True)).bounding_box()
    assert box["y"] + box["height"] < 800, "the button is on the first screen"
    shown(page.get_by_role("button", name="sort", exact=True)).click()
    a, b = (shown(page.get_by_label(f"Response {side}", exact=True)) for side in "AB")
    page.wait_for_function("e => e.value", arg=b.element_handle())
    before = a.input_value(), b.input_value()
    click(page, "Swap A and B")
    page.wait_for_function("([e, text]) => e.value === text", arg=[a.element_handle(), before[1]])
    assert (a.input_value(), b.input_value()) == before[::-1]
    fill(page, "", "", "")
    click(page, "Random example")
    page.wait_for_function("e => e.value", arg=a.element_handle())


def test_the_card_says_what_was_measured(page):
    page.get_by_role("button", name="About this judge").click()
    card = shown(page.locator(".rm-card"))
    card.get_by_text("7.8% of the pairs").wait_for()
    assert "91.2%" in card.inner_text() and "natural language" in card.inner_text()
    shown(page.get_by_label("Judge", exact=True)).click()
    page.get_by_role("option", name="nowhere/at/all").click()
    card.get_by_text("does not exist").wait_for()
    shown(page.get_by_role("button", name="Fact: leap years")).wait_for()


def test_a_judgment_is_saved_opened_and_linked(page, server, chromium, tmp_path):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    judge(page)
    said = page.locator("#judgment .rm-summary strong").inner_text()
    with page.expect_download() as download:
        page.locator("#judgment").get_by_role("button", name="Save as file").click()
    saved = Path(download.value.path()).read_text(encoding="utf-8")
    assert json.loads(saved)["prompt"][0]["content"] == QUESTION
    page.locator("#judgment").get_by_role("button", name="Copy as Markdown").click()
    page.wait_for_function("navigator.clipboard.readText().then(text => text.startsWith('# Judgment'))")
    page.locator("#judgment").get_by_role("button", name="Copy link").click()
    page.wait_for_function("navigator.clipboard.readText().then(text => text.includes('#judgment='))")
    link = page.evaluate("navigator.clipboard.readText()")
    assert link.startswith(server[0] + "/#judgment=")

    (tmp_path / "good.json").write_text(saved, encoding="utf-8")
    (tmp_path / "bad.json").write_text(saved.replace('"ab"', '"xy"'), encoding="utf-8")
    other = opened(chromium, server[0])
    tab(other, "History")
    other.locator("input[type=file]:not([webkitdirectory])").last.set_input_files(tmp_path / "bad.json")
    shown(other.get_by_role("alert").filter(has_text="'looks' cannot be read")).wait_for()
    other.locator("input[type=file]:not([webkitdirectory])").last.set_input_files(tmp_path / "good.json")
    shown(other.get_by_text("Opened from a file or a link")).wait_for()
    assert shown(other.locator(".rm-summary strong")).inner_text() == said
    click(other, "Load into the fields")
    shown(other.get_by_role("button", name="Judge", exact=True)).wait_for()
    assert shown(other.get_by_label("Response A", exact=True)).input_value() == A
    other.context.close()

    asked: list[str] = []
    linked = chromium.new_context().new_page()
    linked.on("request", lambda request: asked.append(request.url))
    linked.goto(link)
    linked.locator("#judgment").get_by_text("Opened from a file or a link").wait_for(timeout=WAIT)
    assert linked.locator("#judgment .rm-summary strong").inner_text() == said
    assert linked.get_by_label("Question", exact=True).locator("visible=true").first.input_value() == QUESTION
    assert not [url for url in asked if "judgment=" in url], "the part behind # is not part of a request"
    linked.goto(server[0] + "/#judgment=broken")
    linked.locator("#judgment").get_by_role("alert").wait_for(timeout=WAIT)
    linked.context.close()


def test_a_ranking_is_kept_and_shown_again(page):
    tab(page, "Rank")
    shown(page.get_by_label("Question", exact=True)).fill("Sort d a c from first to last.")
    for number, text in enumerate(("a d c", "a c d"), 1):
        page.get_by_label(f"Response {number}", exact=True).fill(text)
    click(page, "Rank")
    page.get_by_text(re.compile("^1 of 1 pairs")).wait_for()
    page.wait_for_timeout(500)
    tab(page, "History")
    shown(page.get_by_role("gridcell", name=re.compile("^rank$"))).click()
    shown(page.get_by_text(re.compile("^1 of 1 pairs"))).wait_for()
    assert shown(page.locator(".rm-responses")).inner_text().count("Response") == 2
    with page.expect_download() as download:
        shown(page.get_by_text("All as CSV")).click()
    assert re.search(r",(1 > 2|2 > 1|1 = 2),", Path(download.value.path()).read_text(encoding="utf-8"))
    click(page, "Load into the fields")
    shown(page.get_by_role("button", name="Rank", exact=True)).wait_for()
    assert shown(page.get_by_label("Response 2", exact=True)).input_value() == "a c d"


def test_the_owner_adds_a_judge_and_strangers_do_not(chromium, tmp_path):
    with running(tmp_path, ["nano"]) as address:
        page = opened(chromium, address)
        page.get_by_role("button", name="Add a judge").click()
        field = shown(page.get_by_label("Judge to add"))
        for typed, said in (
            ("runs/not/there", "does not exist"),
            ("openai:m@http://127.0.0.1:9/v1", "No server answers"),
            ("nano", "already in the list"),
        ):
            field.fill(typed)
            click(page, "Add")
            page.locator("#added").get_by_text(said).wait_for()
            assert field.input_value() == typed, "what was typed stays, to be mended"
        field.fill("nano-sft")
        field.press("Enter")
        page.locator("#added").get_by_text("nano-sft: ready").wait_for()
        shown(page.get_by_label("Judge", exact=True)).click()
        page.get_by_role("option", name="nano-sft", exact=True).click()
        judge(page)
        tab(page, "Compare")
        shown(page.get_by_label("nano-sft")).wait_for()
        later = opened(chromium, address)
        shown(later.get_by_label("Judge", exact=True)).click()
        later.get_by_role("option", name="nano-sft", exact=True).wait_for()
        later.context.close()
        page.context.close()


def test_behind_a_proxy_the_page_knows_its_path_and_nobody_adds_judges(tmp_path):
    with running(tmp_path, ["nano"], GRADIO_ROOT_PATH="/judge") as address:
        config = json.loads(urllib.request.urlopen(f"{address}/config").read())
    assert config["root"].endswith("/judge") and "Judge to add" not in json.dumps(config)


def test_a_space_listens_where_spaces_do_and_lets_nobody_add(chromium, tmp_path):
    """SPACE_ID makes the page public; the port is given here only because 7860 may be in use."""
    with running(tmp_path, ["nano"], SPACE_ID="someone/judge") as address:
        page = opened(chromium, address)
        assert page.get_by_role("button", name="Add a judge").count() == 0
        config = json.loads(urllib.request.urlopen(f"{address}/config").read())
        assert "Judge to add" not in json.dumps(config)
        judge(page)
        tab(page, "History")
        shown(page.get_by_text("only in this browser session")).wait_for()
        page.context.close()
    assert not (tmp_path / "runs").exists()
    assert "Note: everyone" not in (tmp_path / "log.txt").read_text()


def axe_script() -> Path | None:
    """axe-core, where it is installed: as RMR1_AXE names it, or within axe-playwright-python."""
    if named := os.environ.get("RMR1_AXE"):
        return Path(named)
    found = find_spec("axe_playwright_python")
    return Path(found.origin).with_name("axe.min.js") if found and found.origin else None


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_serious_fault_on_any_tab(page, server, theme):
    script = axe_script()
    if script is None:
        required = os.environ.get("CI") or os.environ.get("RMR1_REQUIRE_BROWSER")
        (pytest.fail if required else pytest.skip)("axe-core is missing: pip install -r requirements-dev.txt")
    page.goto(f"{server[0]}/?__theme={theme}")
    page.get_by_role("tab", name="Judge").wait_for()
    page.get_by_role("button", name="About this judge").click()
    judge(page)
    found = []
    for name in ("Judge", "Compare", "Rank", "Blind vote", "History"):
        tab(page, name)
        page.wait_for_timeout(600)
        if page.evaluate("typeof axe") == "undefined":
            page.add_script_tag(content=script.read_text(encoding="utf-8"))
        for fault in page.evaluate("axe.run().then(result => result.violations)"):
            if fault["impact"] in ("serious", "critical"):
                nodes = [node["html"][:160] for node in fault["nodes"]]
                found.append(f"{name}: {fault['id']} ({fault['help']}): {nodes}")
    assert not found, "\n".join(found)

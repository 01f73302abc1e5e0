"""README and guides: short enough, no dead link, no command that the command line would refuse, no table that
drifted from the code. Every failure names file and line."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "notebooks" / "README.md", *(ROOT / "docs").glob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
MOST_WORDS = 900  # of the README: what is longer is not read
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def anchors_of(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def dead_links(page: Path, text: str) -> list[str]:
    """FILE:LINE: target, for every relative link to a missing file or heading."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        for target in LINK.findall(line):
            if target.startswith(("http://", "https://")):
                continue
            path, _, anchor = target.partition("#")
            aim = page if not path else page.parent / path
            held = aim.exists()
            if held and anchor:
                held = anchor in anchors_of(text if aim == page else aim.read_text(encoding="utf-8"))
            if not held:
                found.append(f"{page.name}:{number}: {target}")
    return found


def commands_of(text: str) -> Iterator[tuple[int, str]]:
    """(line, command) of every command in a bash block, and of `python -m rmr1_lite ...` elsewhere."""
    for block in FENCE.finditer(text):
        if block[1] != "bash":
            continue
        first = text[: block.start()].count("\n") + 2
        lines = block[2].replace("\\\n", " \x00").splitlines()
        for line in lines:
            command = line.replace("\x00", "").split(" # ")[0].strip()
            if command and not command.startswith("#"):
                yield first, command
            first += 1 + line.count("\x00")
    for number, line in enumerate(FENCE.sub(lambda block: "\n" * block[0].count("\n"), text).splitlines(), 1):
        for command in re.findall(r"`(python -m rmr1_lite [^`]+|make [a-z-]+)`", line):
            yield number, command


def refusal(command: str) -> str:
    """Why the command cannot be run as written; empty if it can."""
    words = shlex.split(command)
    while words and re.fullmatch(r"[A-Z][A-Z0-9_]*=\S*", words[0]):
        words = words[1:]
    if words[:3] == ["python", "-m", "rmr1_lite"]:
        from rmr1_lite.cli.main import app

        return parse(app, words[3:])
    if words[:2] == ["python", "app.py"]:
        from rmr1_lite.app.command import start

        return parse(start, words[2:])
    if words[0] == "python":
        return "" if (ROOT / words[1]).is_file() else f"there is no {words[1]}"
    if words[0] == "make":
        made = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        return "" if words[1] in made else f"there is no make target {words[1]}"
    return f"no test knows what {words[0]} is"


def parse(app: Any, words: list[str]) -> str:
    """The real command line's answer to these words, without running anything."""
    import typer.exceptions

    made = app if isinstance(app, typer.Typer) else typer.Typer(add_completion=False)
    if made is not app:
        made.command()(app)
    command = typer.main.get_command(made)
    try:
        while hasattr(command, "commands"):
            if not words or words[0] not in command.commands:
                return f"there is no command {' '.join(words[:1])}"
            command, words = command.commands[words[0]], words[1:]
        command.make_context("documented", list(words))
    except typer.exceptions.TyperException as error:  # every kind of usage error, and nothing else
        return f"{type(error).__name__}: {getattr(error, 'message', error)}"
    return ""


def test_the_readme_is_short_enough_to_be_read():
    words = (ROOT / "README.md").read_text(encoding="utf-8").split()  # as `wc -w` counts, tables included
    assert len(words) <= MOST_WORDS, f"README.md has {len(words)} words: move something into docs/"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_no_link_is_dead(page):
    assert dead_links(page, page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_command_is_one_that_can_be_typed(page):
    found = [
        f"{page.name}:{number}: {command}: {why}"
        for number, command in commands_of(page.read_text(encoding="utf-8"))
        if (why := refusal(command))
    ]
    assert found == []


def test_generated_tables_are_what_the_code_gives():
    spec = importlib.util.spec_from_file_location("docs_build", ROOT / "docs" / "build.py")
    builder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builder)
    stale = [
        str(path.relative_to(ROOT))
        for path, text in builder.pages().items()
        if path.read_text(encoding="utf-8") != text
    ]
    assert stale == [], "run python docs/build.py"


def test_the_readme_leads_to_every_guide_and_every_picture_is_shown():
    texts = {page: page.read_text(encoding="utf-8") for page in PAGES}
    unnamed = [
        page.name
        for page in PAGES
        if page.parent.name == "docs" and f"docs/{page.name}" not in texts[PAGES[0]]
    ]
    images = [each.name for each in (ROOT / "docs" / "images").iterdir()]
    unshown = [name for name in images if not any(f"images/{name})" in text for text in texts.values())]
    assert (unnamed, unshown) == ([], [])


def test_the_python_in_the_readme_runs(capsys):
    code = [
        block[2]
        for block in FENCE.finditer((ROOT / "README.md").read_text(encoding="utf-8"))
        if block[1] == "python"
    ]
    assert len(code) == 1
    exec(code[0], {})  # our own text, as a reader would paste it
    assert capsys.readouterr().out.startswith("A wins in both orders")


def test_the_python_in_the_guide_to_use_runs_and_prints_what_it_says(capsys, tmp_path, monkeypatch):
    """Blocks run one after the other, as a reader would paste them; a text block is what the one before it
    prints."""
    monkeypatch.chdir(tmp_path)
    names, printed, checked = {}, "", 0
    for block in FENCE.finditer((ROOT / "docs" / "use.md").read_text(encoding="utf-8")):
        if block[1] == "python":
            exec(block[2], names)
            printed = capsys.readouterr().out
        elif block[1] == "text":
            assert printed == block[2]
            checked += 1
    assert checked >= 7


# --- the checks themselves can fail ---

BAD = [
    ("python -m rmr1_lite trian --out x", "there is no command", "a command that does not exist"),
    ("python -m rmr1_lite judge --pairs a.jsonl", "MissingParameter", "a required option is missing"),
    ("python -m rmr1_lite sft --chain c.jsonl", "NoSuchOption", "an option that was renamed"),
    ("python -m rmr1_lite evaluate --benchmark rmbench", "BadParameter", "a choice that does not exist"),
    ("python app.py --model nano", "NoSuchOption", "an option of another program"),
    ("python perf/gone.py", "there is no perf/gone.py", "a file that was moved"),
    ("make tests", "there is no make target tests", "a target that does not exist"),
]


@pytest.mark.parametrize(("command", "said", "reason"), BAD, ids=[row[-1] for row in BAD])
def test_a_command_that_cannot_be_typed_is_found(command, said, reason):
    assert said in refusal(command), reason


def test_a_dead_link_is_found_with_its_line(tmp_path):
    page = tmp_path / "page.md"
    text = "# One head\n\n[good](#one-head)\n[bad](#two-heads) and [gone](gone.md)\n"
    page.write_text(text, encoding="utf-8")
    assert dead_links(page, text) == ["page.md:4: #two-heads", "page.md:4: gone.md"]

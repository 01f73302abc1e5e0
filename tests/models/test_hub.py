"""Every way from the kit to the hub and back, with the real clients, against a stand-in on this machine.

The commands run in separate processes, many in each; the rows below say what each must print and leave
behind.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from fixtures import hub_sets
from fixtures.hub import Hub, serving
from fixtures.hub_answers import sha256
from fixtures.hub_client import (
    Command,
    Result,
    against,
    judged,
    prepared,
    published,
    pushed,
    run_commands,
    tokenized,
)
from fixtures.hub_repositories import ADAPTER, BASE, CHUNK, OTHER, ROWS, files_of, fill

from rmr1_lite.data.chains import read_chains
from rmr1_lite.data.pairs import read_pairs
from rmr1_lite.data.released_sets import SETS
from rmr1_lite.data.rl_mixture import SOURCES

pytestmark = pytest.mark.long
OWNER, STRANGER, EXPIRED = "hf_owner", "hf_stranger", "hf_expired"
# what works, and what must be refused in one line that says why
WORKING = [
    pushed("push", "me/judge"),
    pushed("push again", "me/judge"),
    pushed("push, local base", "me/homemade", adapter="homemade"),
    judged("adapter by its id", "me/judge", OWNER),
    judged("the same adapter here", "nano"),
    judged("base by its id", "me/base"),
    tokenized("renamed model", "me/old"),
    judged("gated model of its reader", "me/gated", OWNER),
    tokenized("private model of its owner", "me/gated-private", OWNER),
    judged("download that breaks once", "me/large"),
    tokenized("tokenizer alone", "me/partial"),
    *map(published, SETS),
    Command("mixture", ["data", "mixture", "--out", "mixture"]),
    *map(against, hub_sets.benchmark_repositories()),
    Command(
        "evaluation", ["evaluate", "--benchmark", "rewardbench", "--limit", "2", "--max-new-tokens", "4"]
    ),
    prepared("renamed set", "me/old-set"),
    prepared("gated set of its reader", "me/gated-set", OWNER),
]
TERMS = r"Accept .*http://hub\.test/me/closed while logged in"
SET_TERMS = r"Accept .*http://hub\.test/datasets/me/closed-set while logged in"
FAILING = [
    (judged("gated", "me/closed"), f"me/closed is gated.*{TERMS}.*set HF_TOKEN", "nobody logged in"),
    (judged("stranger", "me/closed", STRANGER), f"no access to it.*{TERMS} to that account", "not accepted"),
    (judged("expired", "me/stale", EXPIRED), "rejects your token.*public repositories need none", "public"),
    (judged("unknown", "me/modle"), "There is no model me/modle on the hub.*Check the spelling", "misspelt"),
    (judged("unknown 2", "me/modle", OWNER), "no model me/modle on the hub", "misspelt"),
    (judged("private", "me/closed-private", STRANGER), "or it is private.*set HF_TOKEN", "another's"),
    (judged("portal", "me/portal"), r"\(http://hub.test\) cannot be reached.*proxy", "a login page"),
    (judged("busy", "me/busy"), "rate limit is reached.*429.*HF_TOKEN", "too many requests"),
    (judged("ill", "me/ill"), "server error.*503.*again later", "an outage"),
    (judged("forbidden", "me/forbidden", OWNER), "Please enable access.*fine-grained", "a narrow token"),
    (
        judged("broken", "me/broken"),
        "download of me/broken was interrupted.*same command",
        "a line that breaks",
    ),
    (
        judged("broken adapter", "me/broken-adapter"),
        "download of me/broken-adapter was interrupted",
        "the same",
    ),
    (judged("pickled", "me/pickled"), "me/pickled has no safetensors weights", "weights that are code"),
    (
        judged("lost base", "me/lost-base"),
        "names /home/somebody/base .*Write the base.*rmr1_lite.json",
        "a base elsewhere",
    ),
    (prepared("gated set", "me/closed-set"), f"me/closed-set is gated.*{SET_TERMS}", "nobody logged in"),
    (prepared("set, stranger", "me/closed-set", STRANGER), f"no access to it.*{SET_TERMS}", "not accepted"),
    (prepared("unknown set", "me/no-set"), "no data set me/no-set on the hub.*local copy", "misspelt"),
    (prepared("expired, set", "me/broken-set", EXPIRED), "rejects your token", "public set"),
    (prepared("broken set", "me/broken-set"), "me/broken-set .*could not be loaded: .*local copy", "no JSON"),
    (prepared("empty set", "me/no-data"), "me/no-data .* could not be loaded", "no data files"),
    (
        prepared("split", SETS["entire-rlvr"].hub_id, split="test"),
        "test.*Should be one of.*train",
        "no split",
    ),
    (pushed("push to you", "you/judge"), "could not be written.*403.*write access to you", "another's name"),
    (pushed("push, expired", "me/judge", EXPIRED), "401.*write access to me", "a token that is refused"),
    (pushed("push, no token", "me/judge", ""), "No token found", "nobody logged in"),
    (pushed("push, name", "me/ju dge"), "could not be written: Repo id must.*Check the name", "a space"),
    (
        pushed("push, upload", "me/half", adapter="other"),
        "500.*exists, but this upload is not in it.*same command again.*stays in other",
        "a large file that cannot be stored",
    ),
    (
        pushed("push, commit", "me/late"),
        "503.*exists, but this upload is not in it.*same command again.*stays in adapter",
        "the last step fails",
    ),
]
OFFLINE = "HF_HUB_OFFLINE is set, and "
WITHOUT_NETWORK = [
    (tokenized("no file", "me/closed"), f"{OFFLINE}no file of me/closed is in the cache", "never loaded"),
    (
        judged("no weights", "me/partial"),
        f"{OFFLINE}model.safetensors of me/partial is not in the cache.*once with a network and without",
        "its tokenizer alone was loaded",
    ),
    (prepared("no set", "me/closed-set"), f"{OFFLINE}the data set me/closed-set is not", "never loaded"),
    (against("rewardbench2"), f"{OFFLINE}the data set allenai/reward-bench-2.*--data", "emptied"),
    (pushed("push", "me/judge"), "offline mode is enabled", "a push needs a network"),
]
UNREACHED = [
    (tokenized("model", "me/closed"), "127.0.0.1:9.*cannot be reached, and no file of", "never loaded"),
    (prepared("set", "me/closed-set"), "cannot be reached, and the data set me/closed-set", "never loaded"),
    (pushed("push", "me/judge"), "could not be written.*Check the name and the network", "a push"),
]
# what was loaded once works without the hub
CACHED = [
    judged("cached model", "me/base"),
    judged("cached adapter", "me/judge"),
    published("entire-rlvr"),
    against("judgebench"),
]
# large files are held by Xet, whose storage does not answer here
XET = [
    (
        replace(tokenized("xet", "me/xet"), xet=True),
        "me/xet was interrupted.*HF_HUB_DISABLE_XET=1",
        "a tokenizer",
    ),
    (
        replace(prepared("xet set", "me/xet-set"), xet=True),
        "was interrupted.*HF_HUB_DISABLE_XET=1",
        "a data set",
    ),
    (replace(pushed("xet push", "me/x", adapter="other"), xet=True), "this upload is not in it", "a push"),
]


@pytest.fixture(scope="module")
def hub():
    with serving() as made:
        fill(made)
        yield made


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """The folder of the commands: three adapters, pairs, and a file of questions for each benchmark."""
    folder = tmp_path_factory.mktemp("hub")
    for name, source in (("adapter", ADAPTER), ("other", OTHER), ("homemade", ADAPTER)):
        shutil.copytree(source, folder / name)
    info = json.dumps({"base": str(BASE), "style": "compact"})
    (folder / "homemade" / "rmr1_lite.json").write_text(info, encoding="utf-8")

    def write(name: str, questions: list[str]) -> None:
        rows = [{"prompt": q, "chosen": f"yes {q}", "rejected": "no"} for q in questions]
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    write("pairs.jsonl", ["What is 2+2?"])
    for name, (_, _, questions) in hub_sets.benchmark_repositories().items():
        write(f"{name}.jsonl", [*questions, "Which of my own questions is this one?"])
    return folder


def run(hub: Hub, work: Path, works: list[Command], fails: list[tuple], **changes: str) -> dict[str, Result]:
    commands = [*works, *(command for command, _, _ in fails)]
    return run_commands(commands, hub.environment(work, **changes), work)


@pytest.fixture(scope="module")
def online(hub, work) -> dict[str, Result]:
    return run(hub, work, WORKING, [*FAILING, *XET])


@pytest.fixture(scope="module")
def offline(hub, work, online) -> dict[str, Result]:
    """After `online`, so that the cache holds everything loaded there, minus one benchmark."""
    shutil.rmtree(work / "hf" / "datasets" / "allenai___reward-bench-2")
    return run(hub, work, CACHED, WITHOUT_NETWORK, HF_HUB_OFFLINE="1")


@pytest.fixture(scope="module")
def unreached(hub, work, online) -> dict[str, Result]:
    return run(hub, work, CACHED[2:], UNREACHED, HF_ENDPOINT="http://127.0.0.1:9", HTTP_PROXY="")


def rows_of(*tables: tuple[str, list[tuple]]) -> list:
    """(session, name, pattern) of every row, named by session and reason."""
    return [
        pytest.param(session, command.name, said, id=f"{session}: {command.name}, {reason}")
        for session, rows in tables
        for command, said, reason in rows
    ]


@pytest.mark.parametrize("name", [command.name for command in WORKING])
def test_what_the_hub_holds_is_loaded_by_its_id(name, online):
    assert online[name].status == 0, online[name].err[-2000:]


@pytest.mark.parametrize("name", [command.name for command in CACHED])
def test_what_was_loaded_once_works_without_a_network(name, offline):
    assert offline[name].status == 0, offline[name].err[-2000:]


@pytest.mark.parametrize("name", [command.name for command in CACHED[2:]])
def test_what_was_loaded_once_works_while_the_hub_does_not_answer(name, unreached):
    assert unreached[name].status == 0, unreached[name].err[-2000:]


FAILURES = rows_of(
    ("online", FAILING), ("online", XET), ("offline", WITHOUT_NETWORK), ("unreached", UNREACHED)
)


@pytest.mark.parametrize(("session", "name", "said"), FAILURES)
def test_what_cannot_be_had_is_one_line_with_the_remedy(session, name, said, request):
    done = request.getfixturevalue(session)[name]
    assert done.status == 1 and "Traceback" not in done.err, done.err[-2000:]
    (error,) = re.findall(r"^.*Error: (.*)$", done.err, re.MULTILINE)
    assert re.search(said, error), error
    assert error.endswith(".") and ".." not in error
    for token in (OWNER, STRANGER, EXPIRED):
        assert token not in done.out + done.err


@pytest.mark.parametrize("name", SETS)
def test_a_published_set_is_read_by_its_id(name, online, work):
    folder = work / "published" / name
    if SETS[name].holds == "chain":
        read = [chain.text for chain in read_chains(folder / "chains.jsonl").chains]
        assert read == [hub_sets.CHAIN] * ROWS
    else:
        read = [pair.prompt[0]["content"] for pair in read_pairs(folder / "train.jsonl").pairs]
        assert read == [f"What is {i}+2?" for i in range(ROWS)]


def test_the_mixture_is_read_from_its_three_sources(hub, online, work):
    counts = json.loads((work / "mixture" / "mixture.json").read_text())
    assert counts["parts"] == {"helpsteer2": 1, "code": 3, "math": 1}
    assert counts["left_out"] == {"magpie_ultra": 1}
    for source in SOURCES.values():
        assert hub.asked(f"datasets/{source.hub_id}/resolve/"), source.hub_id


@pytest.mark.parametrize("name", hub_sets.benchmark_repositories())
def test_a_benchmark_is_read_by_its_id(name, online, work):
    """Its questions are found in training data; all others stay."""
    kept = [pair.prompt[0]["content"] for pair in read_pairs(work / "clean" / name / "train.jsonl").pairs]
    assert kept == ["Which of my own questions is this one?"]


def test_a_push_brings_the_whole_adapter_and_its_card(hub, online):
    made = hub.repositories["model", "me/judge"]
    assert {n: d for n, d in made.files.items() if n != ".gitattributes"} == files_of(ADAPTER)
    assert made.private and len(made.commits) == 2, "private, and the same push adds no commit"


def test_a_pushed_adapter_is_the_same_judge_as_its_folder(online, work):
    """The same prompts, texts and reading; the kit treats it as its own."""
    names = ("adapter by its id", "the same adapter here")
    logs = [(work / "judged" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines() for name in names]
    kept = [[{**json.loads(line), "seconds": 0} for line in log] for log in logs]
    assert kept[0] == kept[1] and len(kept[0]) == 2
    assert "was not trained by this kit" not in online[names[0]].out
    assert "was not trained by this kit" in online["base by its id"].out


def test_a_push_says_that_others_do_not_have_the_base(online):
    said = f"The adapter's base is {BASE}, a folder on this machine."
    assert said in online["push, local base"].out and "a folder on this machine" not in online["push"].out


@pytest.mark.parametrize("repo", ["me/half", "me/late"])
def test_a_push_that_fails_leaves_the_adapter_and_an_empty_repository(repo, hub, online, work):
    assert hub.repositories["model", repo].files == {".gitattributes": b""}
    assert (files_of(work / "adapter"), files_of(work / "other")) == (files_of(ADAPTER), files_of(OTHER))


def test_a_download_that_breaks_goes_on_where_it_stopped(hub, online):
    data = hub.repositories["model", "me/large"].files["model.safetensors"]
    assert [seen.range for seen in hub.asked(sha256(data))] == ["", f"bytes={CHUNK}-"]


def test_tokens_go_to_the_hub_alone(hub, online):
    assert {seen.host for seen in hub.seen if seen.token} == {"hub.test", "datasets-server.hub.test"}
    assert hub.asked("cdn.hub.test"), "large files come from another host"


def test_nobody_else_is_asked(hub, online, offline, unreached):
    """The stand-in is the proxy of every command: it sees each requested address."""
    assert {seen.host for seen in hub.seen if not seen.host.endswith("hub.test")} == set()

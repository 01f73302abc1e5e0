"""Judges of the app: facts about them, how they are added, and by whom. The page's address."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace

import pytest

from rmr1_lite.app import judges
from rmr1_lite.app.actions import NOT_YOURS, App
from rmr1_lite.app.address import choose_address
from rmr1_lite.app.history import History
from rmr1_lite.app.judge_card import SHIPPED, figures_beside, judge_line, judge_rows
from rmr1_lite.app.judges import check_spec, comes_from_here, load_steps
from rmr1_lite.app.launch import launch
from rmr1_lite.judging.pool import JudgePool
from rmr1_lite.models import judge_specs, smol
from rmr1_lite.models.adapters import fingerprint_of
from rmr1_lite.models.bias_card import BiasCard, Effect, write_card
from rmr1_lite.types import InputError

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "perf" / "results" / "nano-seed0-400.json"


@pytest.mark.parametrize(("spec", "stage"), [("nano", "grpo"), ("nano-sft", "sft"), ("nano-base", "base")])
def test_the_figures_of_shipped_judges_are_the_measured_ones(spec, stage):
    found, shown = json.loads(RESULTS.read_text())["stages"][stage], SHIPPED[spec]
    low, high = found["intervals"]["strict_accuracy"]
    longer, shorter = (found["length_bias"][part]["strict_accuracy"] for part in ("longer", "shorter"))
    measured = [found["strict_accuracy"], low, high, found["flip_rate"], found["unparsed"], longer, shorter]
    ours = [shown.right, shown.low, shown.high, shown.flips, shown.unparsed, shown.longer, shown.shorter]
    assert ours == pytest.approx(measured, abs=6e-5) and shown.n == found["n"]
    assert shown.tokens == pytest.approx(found["mean_tokens"], abs=0.06)


def rows(spec: str) -> dict[str, str]:
    return {name: value for name, value, _ in judge_rows(spec)}


UNMEASURED = dict.fromkeys(("Right in both orders", "Flips when swapped", "Length bias"), "not measured")
CARDS = [
    ("nano", {"Base": "nano-base", "Prompt style": "compact", "Flips when swapped": "7.8%"}, "an adapter"),
    ("nano-base", {"Kind": "base model", "Flips when swapped": "no verdict that could flip"}, "a base"),
    ("openai:m@http://h/v1", {"Kind": "endpoint", **UNMEASURED}, "an endpoint"),
    ("owner/name", {"Kind": "hub", **UNMEASURED}, "a hub id"),
    ("nowhere/at/all", {"Problem": "does not exist"}, "a path that is not there"),
    ("openai:m", {"Problem": "incomplete"}, "half an endpoint"),
    ("smol-base", {"Kind": "never trained to judge", **UNMEASURED}, "the real language model"),
    ("replay:log.jsonl", {"Kind": "log", "No verdict": "not measured"}, "a log"),
]


@pytest.mark.parametrize(("spec", "wanted", "reason"), CARDS, ids=[row[-1] for row in CARDS])
def test_a_card_says_what_is_known_and_what_was_not_measured(spec, wanted, reason, monkeypatch):
    monkeypatch.setattr(
        "rmr1_lite.models.hub_adapters.fetch_adapter", lambda spec: pytest.fail("asked the hub")
    )
    monkeypatch.setattr(smol, "is_here", lambda: True)
    monkeypatch.setattr(judge_specs, "base_folder", lambda: pytest.fail("converted a model for a card"))
    found = rows(spec)
    assert [name for name, value in wanted.items() if value not in found[name]] == [], found


def test_a_model_that_is_not_here_says_how_to_get_it(monkeypatch):
    away = smol.State(
        "absent", Path("nowhere"), why="smol-base is not on this machine. Get it with: make smol"
    )
    monkeypatch.setattr(smol, "state", lambda: away)
    assert "Get it with" in rows("smol-base")["Problem"] and "Get it with" in judge_line("smol-base")


def test_what_to_expect_of_an_untrained_model_is_said_before_it_is_asked(monkeypatch):
    monkeypatch.setattr(smol, "is_here", lambda: True)
    assert "never trained to judge" in judge_line("smol-base")


def test_nano_is_explained_only_where_a_nano_judge_is():
    assert "natural language" in rows("nano")["Limits"] and "natural language" in judge_line("nano")
    assert (
        "Limits" not in rows("owner/name")
        and judge_line("owner/name") == "Right in both orders: not measured."
    )


def test_figures_come_from_the_results_of_the_adapters_own_run(tmp_path):
    adapter = tmp_path / "run" / "grpo" / "adapter"
    adapter.mkdir(parents=True)
    assert figures_beside(adapter, "grpo") is None
    (tmp_path / "run" / "results.json").write_text(RESULTS.read_text())
    found = figures_beside(adapter, "grpo")
    assert (found.right, found.flips, found.n) == (0.9125, 0.0775, 400) and "run/results.json" in found.source
    assert figures_beside(adapter, "unknown stage") is None
    (tmp_path / "run" / "results.json").write_text("[]")
    assert figures_beside(adapter, "grpo") is None, "a file of another kind says nothing"


def biased(folder: Path, weights: str) -> None:
    """A bias card of weights with this fingerprint: prefers padded responses, misses truncated ones."""
    shown, nothing = dict(difference=0.5, low=0.2, high=0.7), dict(difference=0.0, low=-0.2, high=0.2)
    effect = dict(pairs=60, share=0.7, reference=0.5, uncompared=0, unparsed=0, calls=240, needed=9)
    card = BiasCard(
        *("nano", weights, "compact", "strict", {}, "mine.jsonl", 60, "English", 0, 0.95),
        *((0.5, 0.4, 0.6), (0.1, 0.05, 0.2)),
        (
            Effect("padding", "style", "padded", towards=30, away=2, **shown, **effect),
            Effect("list", "style", "as a list", towards=3, away=2, **nothing, **effect),
            Effect("truncated", "harm", "cut", towards=3, away=2, **nothing, **effect),
        ),
        *({"ok": 700, "missing": 20}, 0, "2026-11-27T12:00:00+00:00", "bias --judge nano", {}),
    )
    write_card(card, folder / "bias.json")


def test_a_bias_card_beside_an_adapter_is_shown_if_it_is_of_these_weights(tmp_path):
    adapter = tmp_path / "run" / "adapter"
    shutil.copytree(judge_specs.NANO["nano"], adapter, ignore=shutil.ignore_patterns("bias.json"))
    assert rows(str(adapter))["Biases"] == "not measured"
    biased(tmp_path / "run", fingerprint_of(str(adapter)))
    found = rows(str(adapter))
    assert "padded (prefers it). Measured on 60 pairs (mine.jsonl, 2026-11-27)" in found["Biases"]
    assert found["Moves it"] == "padded (prefers it): +50.0 (+20.0 to +70.0)"
    assert found["No effect shown"] == "as a list"
    assert found["Not shown to see"] == "cut: +0.0 (-20.0 to +20.0)" and "Sees" not in found
    biased(tmp_path / "run", "of other weights")
    assert rows(str(adapter))["Biases"] == "not measured"
    (tmp_path / "run" / "bias.json").write_text("{}")
    assert rows(str(adapter))["Biases"] == "not measured", "a file of another kind says nothing"


SPECS = [
    ("", "Type a judge", "nothing"),
    (None, "Type a judge", "no text"),
    ("nano", "already in the list", "twice"),
    ("x" * 401, "at most 400", "too long"),
    ("a\nb", "one line", "two lines"),
]


@pytest.mark.parametrize(("typed", "said", "reason"), SPECS, ids=[row[-1] for row in SPECS])
def test_a_judge_to_add_is_checked(typed, said, reason):
    with pytest.raises(InputError, match=said):
        check_spec(typed, JudgePool(["nano"]))


def test_a_judge_is_added_once_it_is_ready():
    pool = JudgePool(["nano"])
    assert pool.state("nano-sft").name == "waiting"
    steps = list(load_steps(pool, "nano-sft", every=0.05))
    names = [state.name for state, _, _ in steps]
    assert names[-1] == "ready" and set(names) <= {"waiting", "loading", "ready"}
    assert pool.specs == ("nano", "nano-sft") and pool.state("nano-sft").name == "ready"


def test_a_judge_that_cannot_be_loaded_is_not_added(tmp_path):
    pool = JudgePool(["nano"])
    with pytest.raises(InputError, match="does not exist"):
        list(load_steps(pool, "runs/nothing/here", every=0.05))
    with pytest.raises(InputError, match="does not exist"):
        pool.judge("runs/nothing/here")
    state = pool.state("runs/nothing/here")
    assert state.name == "failed" and "does not exist" in state.error
    with pytest.raises(InputError, match="No server answers"):
        list(load_steps(pool, "openai:m@http://127.0.0.1:9/v1", every=0.05))
    assert pool.specs == ("nano",)


def test_a_judge_that_does_not_say_its_prompt_style_is_added_with_one(monkeypatch):
    monkeypatch.setattr(judges, "_ask_server", lambda *_: "The server requires a key.")
    pool, spec = JudgePool(["nano"]), "openai:m@http://127.0.0.1:9/v1"
    with pytest.raises(InputError, match="Choose as prompt style rubrics, reasoning or compact"):
        list(load_steps(pool, spec, every=0.05))
    with pytest.raises(InputError, match="Choose one of auto"):
        list(load_steps(pool, spec, "poems", every=0.05))
    *_, (state, _, _) = load_steps(pool, spec, "rubrics", every=0.05)
    assert (
        state.name == "ready"
        and pool.judge(spec).style == "rubrics"
        and pool.judge("nano").style == "compact"
    )


def test_a_ready_judge_does_not_wait_for_one_that_loads(monkeypatch):
    pool, go = JudgePool(["nano"]), Event()

    def stuck(self, spec):
        go.wait(20)
        raise InputError("too slow")

    pool.judge("nano")
    monkeypatch.setattr(JudgePool, "_engine", stuck)
    loading = Thread(target=lambda: pytest.raises(InputError, pool.judge, "slow"), daemon=True)
    loading.start()
    while pool.state("slow").name != "loading":
        pass
    assert pool.judge("nano").style == "compact"  # would hang here
    go.set()
    loading.join(20)


HEADERS = [
    ({"host": "127.0.0.1:7860"}, True, "this machine"),
    ({"host": "localhost:7860"}, True, "by its other name"),
    ({"host": "localhost"}, True, "without a port"),
    ({"host": "[::1]:7860"}, True, "by its address in version 6"),
    ({"host": "[::1]"}, True, "the same without a port"),
    ({"host": "192.168.0.4:7860"}, False, "from the network"),
    ({"host": "evil.example:7860"}, False, "a name that somebody points to this machine"),
    ({"host": "127.0.0.1.evil.example"}, False, "a name that only begins like it"),
    ({"host": "127.0.0.1:7860", "x-forwarded-for": "8.8.8.8"}, False, "through a proxy"),
    ({}, False, "no name at all"),
]


@pytest.mark.parametrize(("headers", "here", "reason"), HEADERS, ids=[row[-1] for row in HEADERS])
def test_a_request_comes_from_here_or_not(headers, here, reason):
    assert comes_from_here(headers) is here


OWNERS = [
    ({"public": True, "owner": True}, {"host": "127.0.0.1"}, "shared with strangers"),
    ({"public": False, "owner": False}, {"host": "127.0.0.1"}, "listens to the network"),
    ({"public": False, "owner": True}, {"host": "evil.example"}, "asked from elsewhere"),
    ({"public": False, "owner": True}, None, "asked by nobody known"),
]


@pytest.mark.parametrize(("page", "headers", "reason"), OWNERS, ids=[row[-1] for row in OWNERS])
def test_only_the_owner_adds_judges(page, headers, reason, monkeypatch):
    monkeypatch.setattr(judges, "_load", lambda *_: pytest.fail("loaded for a stranger"))
    app = App(JudgePool(["nano"]), History(None), **page)
    request = None if headers is None else SimpleNamespace(headers=headers)
    ((state, _, ready),) = list(app.add_judge("nano-sft", "auto", request))
    assert NOT_YOURS in state and not ready and app.pool.specs == ("nano",)


def test_nobody_is_judged_by_a_judge_that_the_page_does_not_offer():
    app = App(JudgePool(["nano"]), History(None), public=True)
    fields = ("q", "x", "y")
    for steps in (
        app.judge("owner/other", "q", None, "x", "y", True, 0, History(None), None),
        app.compare(["owner/other", "nano"], *fields, History(None), None),
        app.rank(None, History(None), "owner/other", *fields),
        app.vote("owner/other", *fields, "A is better", History(None)),
    ):
        assert any("Choose one of nano" in str(part) for part in list(steps)[-1])


NAME, PORT, PATH, SPACE = "GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT", "GRADIO_ROOT_PATH", "SPACE_ID"
HERE, ANY, PROXY = "127.0.0.1", "0.0.0.0", "https://h.example/judge"
ADDRESSES = [
    ({}, None, None, (HERE, None, "", True), "nothing said: this machine only"),
    ({PORT: "8000"}, None, None, (HERE, 8000, "", True), "the port variable"),
    ({NAME: ANY}, None, None, (ANY, None, "", False), "the name variable"),
    ({NAME: "::1"}, None, None, ("::1", None, "", True), "this machine in version 6"),
    ({NAME: ANY, PORT: "1"}, "localhost", 2, ("localhost", 2, "", True), "options win"),
    ({PORT: " "}, None, None, (HERE, None, "", True), "set to nothing"),
    ({PATH: "/judge/"}, None, None, (HERE, None, "/judge", False), "behind a proxy"),
    ({PATH: PROXY}, None, None, (HERE, None, PROXY, False), "a complete address"),
    ({SPACE: "me/judge"}, None, None, (ANY, 7860, "", False), "a Space"),
    ({SPACE: "me/judge", PORT: "7000"}, None, None, (ANY, 7000, "", False), "a Space that says more"),
]


@pytest.mark.parametrize(
    ("env", "host", "port", "wanted", "reason"), ADDRESSES, ids=[r[-1] for r in ADDRESSES]
)
def test_where_the_page_listens(env, host, port, wanted, reason):
    made = choose_address(host, port, env)
    assert (made.host, made.port, made.root_path, made.local) == wanted


WRONG = [
    ("GRADIO_SERVER_PORT", "eighty", "1 to 65535", "no number"),
    ("GRADIO_SERVER_PORT", "0", "1 to 65535", "too low"),
    ("GRADIO_SERVER_PORT", "70000", "1 to 65535", "too high"),
    ("GRADIO_SERVER_PORT", "-1", "1 to 65535", "below zero"),
    ("GRADIO_SERVER_PORT", "9" * 5000, "1 to 65535", "longer than a number may be"),
    ("GRADIO_SERVER_NAME", "http://0.0.0.0", "only an address or a name", "an address with its scheme"),
    ("GRADIO_SERVER_NAME", "0.0.0.0:7860", "only an address or a name", "with a port"),
    ("GRADIO_SERVER_NAME", "my host", "only an address or a name", "two words"),
    ("GRADIO_ROOT_PATH", "judge", "like /judge", "no path"),
    ("GRADIO_ROOT_PATH", "/a/../b", "like /judge", "a path that leaves itself"),
    ("GRADIO_ROOT_PATH", "ftp://h/judge", "like /judge", "another scheme"),
]


@pytest.mark.parametrize(("name", "value", "remedy", "reason"), WRONG, ids=[row[-1] for row in WRONG])
def test_a_variable_that_cannot_be_used_is_named(name, value, remedy, reason):
    with pytest.raises(InputError, match=rf"{name} is .*{remedy}"):
        choose_address(environment={name: value})


@pytest.fixture
def launched(monkeypatch, tmp_path):
    """The arguments that `launch` passes to Gradio, instead of a server."""
    import gradio

    asked = {}
    monkeypatch.setattr(gradio.Blocks, "launch", lambda self, **how: asked.update(how))
    monkeypatch.setattr("rmr1_lite.app.launch._warm", lambda pool: None)
    monkeypatch.chdir(tmp_path)
    for name in (NAME, PORT, PATH, SPACE):
        monkeypatch.delenv(name, raising=False)
    return asked


LAUNCHES = [
    ({}, {}, HERE, None, False, "a page of one's own"),
    ({NAME: ANY, PORT: "8001"}, {}, ANY, 8001, True, "the variables"),
    ({NAME: ANY}, {"auth": "me:longenough"}, ANY, None, False, "with a password"),
    ({NAME: ANY, PORT: "8001"}, {"host": HERE, "port": 8002}, HERE, 8002, False, "arguments win"),
    ({SPACE: "me/judge"}, {}, ANY, 7860, False, "a Space is public, and nobody has to be told"),
]


LAUNCH_IDS = [row[-1] for row in LAUNCHES]


@pytest.mark.parametrize(("env", "how", "host", "port", "noted", "reason"), LAUNCHES, ids=LAUNCH_IDS)
def test_the_page_is_opened_where_it_was_asked_to(
    env, how, host, port, noted, reason, launched, monkeypatch, capsys, tmp_path
):
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    launch(["nano"], **how)
    assert (launched["server_name"], launched["server_port"]) == (host, port)
    assert ("Note: everyone who can reach" in capsys.readouterr().out) is noted
    assert (tmp_path / "runs").exists() is (SPACE not in env), "strangers leave no history"


def test_a_broken_variable_ends_the_command_before_anything_is_loaded(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "app.py")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), PORT: "eighty"},
    )
    assert done.returncode == 1 and done.stderr.startswith(f"Error: {PORT} is 'eighty'."), done.stderr
    assert "Traceback" not in done.stderr and not list(tmp_path.iterdir())

"""The whole chain, shortened: the same code as `make demo`, on the shipped base."""

from __future__ import annotations

import json

import pytest

from rmr1_lite.cli import tables
from rmr1_lite.config import NANO_TOKENS, DemoConfig
from rmr1_lite.data.pairs import read_pairs
from rmr1_lite.demo import grpo_config, run_demo, sft_config
from rmr1_lite.evaluation.ablations import _donor_chains, reasoning_carries
from rmr1_lite.evaluation.baselines import RULES, judge_by_rule
from rmr1_lite.evaluation.metrics import score
from rmr1_lite.evaluation.results_file import load_results
from rmr1_lite.judging.verdict_logprobs import OPENING, forced_letters, judge_by_letter
from rmr1_lite.reporting.report import write_report
from rmr1_lite.types import Pair


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    config = DemoConfig(
        out=str(tmp_path_factory.mktemp("demo")), steps=2, epochs=3.0, test_pairs=16, train_pairs=1000
    )
    return config, run_demo(config)


@pytest.mark.long  # the chain takes two minutes
def test_the_chain_ends_in_results_and_a_report(demo):
    _, path = demo
    results = load_results(path)
    for stage in ("base", "sft", "grpo"):
        row = json.loads(path.read_text())["stages"][stage]
        assert (
            row["n"] == 16
            and {"strict_accuracy", "accuracy", "flip_rate", "unparsed", "seconds"} <= row.keys()
        )
    assert set(results.baselines) == {"base, more likely letter", *RULES}
    assert {(d.first, d.second) for d in results.differences} == {("base", "sft"), ("sft", "grpo")}
    assert results.stages["sft"].result.unparsed < 0.5, "three epochs on 240 chains already teach the format"
    assert results.stages["base"].result.unparsed > 0.9, "the base has never seen a verdict"
    page = write_report(path.parent).read_text()
    assert "before and after GRPO" in page and "GRPO: right verdicts" in page
    assert "grpo" in list(tables.judges_table(results, "nano").columns[0].cells)


@pytest.mark.long  # the chain takes two minutes
def test_the_same_command_again_finds_everything_done(demo, capsys):
    config, path = demo
    before = json.loads(path.read_text())["stages"]
    run_demo(config)
    assert capsys.readouterr().out.count("nothing to do") == 2
    after = json.loads(path.read_text())["stages"]
    for name, row in before.items():
        # a log keeps the seconds of a look rounded, everything else as it was
        assert after[name].pop("seconds") == pytest.approx(row.pop("seconds"), abs=0.1) and after[name] == row


@pytest.mark.long  # the chain takes two minutes
def test_only_lora_tensors_of_the_shipped_path_are_saved(demo):
    from safetensors import safe_open

    _, path = demo
    with safe_open(path.parent / "grpo" / "adapter" / "adapter_model.safetensors", "pt") as file:
        assert all("lora_" in name for name in file.keys())  # noqa: SIM118


@pytest.mark.long  # the chain takes two minutes
def test_forced_letters_follow_what_is_forced(demo):
    """If the verdict already contains the letter's own tokens there is nothing to choose."""
    from rmr1_lite.models.loading import load as load_model

    _, path = demo
    pairs = read_pairs(path.parent / "data" / "test.jsonl").pairs[:4]
    loaded = load_model(str(path.parent / "sft" / "adapter"))
    letters = forced_letters(
        loaded, pairs, "compact", {(p.id, o): OPENING for p in pairs for o in ("ab", "ba")}, batch=3
    )
    alone = {key: forced_letters(loaded, pairs, "compact", {key: OPENING})[key] for key in letters}
    assert letters == alone, "padding and batches change nothing"
    judged = judge_by_letter(loaded, pairs, "compact")
    assert [look.verdict.shown_label for j in judged for look in j.looks] == list(
        letters[p.id, o] for p in pairs for o in ("ab", "ba")
    )
    carried = reasoning_carries(loaded, pairs, judged, "compact")
    assert carried.n == 8 and 0 <= carried.follows == carried.follows_unnamed and carried.n_unnamed == 8


def test_donors_are_other_pairs():
    chains = [(name, order, "t", "A") for name in "xyz" for order in ("ab", "ba")]
    assert all(donor[0] != chain[0] for chain, donor in zip(chains, _donor_chains(chains), strict=True))


@pytest.mark.parametrize("spec", ["nano", "nano-sft"])
def test_the_shipped_judges_judge(spec):
    """From the first second: parsed verdicts, and far better than chance at being right in both orders (25
    %)."""
    from rmr1_lite.data.nano.world import draw_pairs
    from rmr1_lite.judging.engines.base import Sampling
    from rmr1_lite.judging.factory import make_engine
    from rmr1_lite.judging.judge import Judge

    fresh = draw_pairs("validation", 24, seed=77)
    judgments = Judge(make_engine(spec), sampling=Sampling(max_new_tokens=NANO_TOKENS)).compare_many(
        fresh, progress=False
    )
    result = score(spec, fresh, judgments, 0.0)
    assert result.unparsed < 0.1 and result.strict_accuracy > 0.5


PAIRS = [
    Pair(f"p{i}", ({"role": "user", "content": "q"},), "longer one", "short", "AB"[i % 2], f"s{i % 3}")
    for i in range(30)
]


def test_rules_see_what_is_shown():
    always = score("a", PAIRS, judge_by_rule(PAIRS, RULES["always A"]), 0.0)
    assert (always.strict_accuracy, always.accuracy, always.flip_rate, always.a_share) == (0, 0.5, 1, 1)
    longer = score("l", PAIRS, judge_by_rule(PAIRS, RULES["longer"]), 0.0)
    assert (longer.strict_accuracy, longer.flip_rate) == (0.5, 0)


def test_where_unsloth_trains_the_stages_run_in_processes_of_their_own(tmp_path, monkeypatch):
    """Unsloth changes transformers for its whole process: the judging that follows would fail there."""
    from rmr1_lite.models.backend import Backend
    from rmr1_lite.training import process

    commands = []
    monkeypatch.setattr(process, "choose_backend", lambda *_: Backend("unsloth", "bf16", "L4", ""))
    monkeypatch.setattr(process, "_run_and_show", lambda command: commands.append(command) or 0)
    adapter = process.train("sft", sft_config(DemoConfig(), tmp_path))
    assert adapter == tmp_path / "sft" / "adapter"
    process.train("grpo", grpo_config(DemoConfig(), tmp_path, adapter))
    assert [command[1:3] for command in commands] == [["-m", "rmr1_lite.training.process"]] * 2

"""The whole chain on one page: data, SFT, GRPO, evaluation. Read this first; `make demo` runs it with seed 0.

Real runs use the same parts; only the settings are small. Killed at any moment and started again,
it resumes where it stopped. Results hold for nano only: the judge knows the nano world's questions and no
others.

    python -m rmr1_lite demo --out runs/demo
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rmr1_lite.config import DemoConfig, GRPOConfig, SFTConfig, preset
from rmr1_lite.data.nano.dataset import NanoData, write_nano_data
from rmr1_lite.data.nano.teacher import HOW_TO_READ
from rmr1_lite.data.pairs import read_pairs
from rmr1_lite.data.rows import row_from_pair
from rmr1_lite.evaluation.baselines import RULES, judge_by_rule
from rmr1_lite.evaluation.metrics import length_bias, score
from rmr1_lite.evaluation.results import Results, new_results
from rmr1_lite.evaluation.results_file import save_results
from rmr1_lite.evaluation.runner import evaluate_pairs
from rmr1_lite.judging.factory import judge_in_memory
from rmr1_lite.models import smol
from rmr1_lite.models.loading import load_tokenizer
from rmr1_lite.presets import SMOL_DEMO_MINUTES
from rmr1_lite.storage import same_settings, write_json
from rmr1_lite.training.process import train
from rmr1_lite.types import Judgment, Pair

COUPLES = (("base", "sft"), ("sft", "grpo"))  # judges whose paired difference is computed
EXAMPLES = 12  # judged pairs in the report


def run_demo(config: DemoConfig, command: str = "python -m rmr1_lite demo") -> Path:
    """Run or resume the chain; returns out/results.json."""
    started, out = time.perf_counter(), Path(config.out)
    if config.model == smol.NAME:
        print(f"{smol.ABOUT}. The chain takes {SMOL_DEMO_MINUTES}.")
        load_tokenizer(config.model)  # report a missing model before any work
    data = make_data(config, out)

    print("\nStage 1 of 3: SFT on distilled chains")
    sft_adapter = train("sft", sft_config(config, out))

    print("\nStage 2 of 3: GRPO with the verdict-match reward")
    grpo_adapter = train("grpo", grpo_config(config, out, sft_adapter))

    pairs = read_pairs(data / "test.jsonl").pairs
    print(f"\nStage 3 of 3: evaluation on {len(pairs)} unseen pairs, in both orders")
    results = new_results(config.seed, command, json.loads((data / "data.json").read_text()))
    stages = {"base": config.model, "sft": str(sft_adapter), "grpo": str(grpo_adapter)}
    room = sft_config(config, out).max_new_tokens
    judged = judge_stages(stages, pairs, out / "evaluation", results, room)
    add_rules(pairs, results)
    results.compare(pairs, judged, COUPLES)

    write_json(out / "examples.json", choose_examples(pairs, judged))
    results.data["seconds_since_last_start"] = round(time.perf_counter() - started, 1)
    return save_results(results, out / "results.json")


def make_data(config: DemoConfig, out: Path) -> Path:
    """Chains, training pairs, validation and test of the nano world, in out/data. InputError for other
    settings there."""
    folder = out / "data"
    wanted = NanoData(train=config.train_pairs, test=config.test_pairs, seed=config.seed)
    if not same_settings(folder / "data.json", asdict(wanted)):
        write_nano_data(folder, wanted)
    print(f"Data: {folder} (nano world, seed {config.seed}). {HOW_TO_READ}")
    return folder


def preset_name(config: DemoConfig) -> str:
    """Which settings hold but for those of `config`."""
    return "smol" if config.model == smol.NAME else "nano"


def probe_file(config: DemoConfig, out: Path) -> str:
    """Pairs to judge during training; none for smol, where twenty texts take as long as several steps."""
    return "" if config.model == smol.NAME else str(out / "data" / "validation.jsonl")


def sft_config(config: DemoConfig, out: Path) -> SFTConfig:
    """The SFT of this chain."""
    return preset(
        "sft",
        preset_name(config),
        model=config.model,
        style="compact",
        chains=str(out / "data" / "chains.jsonl"),
        out=str(out / "sft"),
        seed=config.seed,
        epochs=config.epochs,
        probe=probe_file(config, out),
    )


def grpo_config(config: DemoConfig, out: Path, sft_adapter: Path) -> GRPOConfig:
    """The GRPO of this chain, which continues the SFT adapter."""
    return preset(
        "grpo",
        preset_name(config),
        model=str(sft_adapter),
        pairs=str(out / "data" / "train.jsonl"),
        out=str(out / "grpo"),
        seed=config.seed,
        steps=config.steps,
        probe=probe_file(config, out),
    )


def judge_stages(
    stages: dict[str, str],
    pairs: Sequence[Pair],
    out: Path,
    results: Results,
    room: int = SFTConfig.max_new_tokens,
) -> dict[str, list[Judgment]]:
    """Every stage (name -> spec) on the pairs in both orders, greedy; the base also by its more likely
    letter."""
    from rmr1_lite.judging.verdict_logprobs import judge_by_letter
    from rmr1_lite.models.loading import load

    judged = {}
    for name, spec in stages.items():
        loaded = load(spec)
        judge = judge_in_memory(loaded, "compact", name, room)
        result, judged[name] = evaluate_pairs(name, judge, pairs, out)
        results.add_stage(result, length_bias=length_bias(pairs, judged[name]))
        if name == "base":
            letters = judge_by_letter(loaded, pairs, "compact")
            results.add_stage(score("base, more likely letter", pairs, letters, 0.0), baseline=True)
    return judged


def add_rules(pairs: Sequence[Pair], results: Results) -> None:
    """The rules that judge without reading, as baselines."""
    for name, rule in RULES.items():
        results.add_stage(score(name, pairs, judge_by_rule(pairs, rule), 0.0), baseline=True)


def choose_examples(pairs: Sequence[Pair], judged: dict[str, list[Judgment]]) -> list[dict[str, Any]]:
    """Pairs for the report: first those that GRPO changed, then others."""
    before, after = ({j.pair_id: j for j in judged[name]} for name in ("sft", "grpo"))
    ordered = sorted(pairs, key=lambda pair: before[pair.id].right(pair) == after[pair.id].right(pair))
    return [
        {
            "pair": row_from_pair(pair),
            "looks": {"sft": _look_rows(before[pair.id]), "grpo": _look_rows(after[pair.id])},
        }
        for pair in ordered[:EXAMPLES]
    ]


def _look_rows(judgment: Judgment) -> list[dict[str, Any]]:
    return [
        {"order": look.order, "text": look.generation.text, "status": look.status, "label": look.label}
        for look in judgment.looks
    ]

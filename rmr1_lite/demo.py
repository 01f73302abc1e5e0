"""The whole chain on the nano world: data, SFT, GRPO, evaluation, report. `make demo` runs this with seed 0.

Every part is the part a real run uses; only the settings are small. Killed at any moment and started again, it goes on
where it was. Nano results are nano results: the judge knows the nano world's questions and no others.

    python -m rmr1_lite demo --out runs/demo
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rmr1_lite.config import DemoConfig, SFTConfig, preset
from rmr1_lite.data.files import read_pairs, same_settings, write_json
from rmr1_lite.data.nano.dataset import NanoData, make
from rmr1_lite.engines import LocalEngine, Sampling
from rmr1_lite.evaluate import RULES, by_rule, compare, evaluate
from rmr1_lite.judge import Judge
from rmr1_lite.metrics import length_bias, score
from rmr1_lite.results import add_stage, new, save
from rmr1_lite.training_process import train
from rmr1_lite.types import Judgment, Pair

COUPLES = (("base", "sft"), ("sft", "grpo"))
EXAMPLES = 12


def run_demo(config: DemoConfig, command: str = "python -m rmr1_lite demo") -> Path:
    """Run or resume the chain; returns out/results.json."""
    started, out = time.perf_counter(), Path(config.out)
    data = _data(config, out)
    stages = _train(config, out, data)
    pairs = read_pairs(data / "test.jsonl").pairs
    results = new(config.seed, command, json.loads((data / "data.json").read_text()))
    judged = _evaluate(config, out, pairs, stages, results)
    compare(results, pairs, judged, COUPLES)
    write_json(out / "examples.json", examples(pairs, judged))
    results["data"]["seconds_since_last_start"] = round(time.perf_counter() - started, 1)
    return save(results, out / "results.json")


def _data(config: DemoConfig, out: Path) -> Path:
    folder, wanted = out / "data", NanoData(train=config.train_pairs, test=config.test_pairs, seed=config.seed)
    if not same_settings(folder / "data.json", asdict(wanted)):
        make(folder, wanted)
    print(f"Data: {folder} (nano world, seed {config.seed})")
    return folder


def _train(config: DemoConfig, out: Path, data: Path) -> dict[str, str]:
    """SFT then GRPO; the specs of the three judges."""
    print("\nStage 1 of 3: SFT on distilled chains")
    adapter = train("sft", sft_config(config, out))
    print("\nStage 2 of 3: GRPO with the verdict-match reward")
    grpo = preset("grpo", "nano", model=str(adapter), pairs=str(data / "train.jsonl"), out=str(out / "grpo"),
                  seed=config.seed, steps=config.steps, probe=str(data / "validation.jsonl"))  # fmt: skip
    return {"base": config.model, "sft": str(adapter), "grpo": str(train("grpo", grpo))}


def sft_config(config: DemoConfig, out: Path) -> SFTConfig:
    """The SFT of this chain."""
    data = out / "data"
    return preset("sft", "nano", model=config.model, style="compact", chains=str(data / "chains.jsonl"),
                  out=str(out / "sft"), seed=config.seed, epochs=config.epochs, probe=str(data / "validation.jsonl"))  # fmt: skip


def judge_of(loaded: Any, name: str) -> Judge:
    """The judge that all figures of this chain come from: greedy, strict reading."""
    engine = LocalEngine(loaded.model, loaded.tokenizer, batch_size=64, name=name, style="compact", weights=loaded.weights)
    return Judge(engine, "compact", sampling=Sampling(max_new_tokens=SFTConfig.max_new_tokens))


def _evaluate(
    config: DemoConfig, out: Path, pairs: Sequence[Pair], stages: dict[str, str], results: dict[str, Any]
) -> dict[str, list[Judgment]]:
    """Every stage and baseline on the test pairs, in both orders."""
    from rmr1_lite.letters import judge_by_letter
    from rmr1_lite.models import load

    print(f"\nStage 3 of 3: evaluation on {len(pairs)} unseen pairs, in both orders")
    judged = {}
    for name, spec in stages.items():
        loaded = load(spec)
        result, judged[name] = evaluate(name, judge_of(loaded, name), pairs, out / "evaluation")
        add_stage(results, result, length_bias=length_bias(pairs, judged[name]))
        if name == "base":
            letters = judge_by_letter(loaded, pairs, "compact")
            add_stage(results, score("base, likelier letter", pairs, letters, 0.0), baseline=True)
    for name, rule in RULES.items():
        add_stage(results, score(name, pairs, by_rule(pairs, rule), 0.0), baseline=True)
    return judged


def examples(pairs: Sequence[Pair], judged: dict[str, list[Judgment]]) -> list[dict[str, Any]]:
    """Pairs for the report: first those that GRPO changed, then others, a few of each section."""
    from rmr1_lite.data.rows import row_from_pair

    before, after = ({j.pair_id: j for j in judged[name]} for name in ("sft", "grpo"))

    def right(judgment: Judgment, pair: Pair) -> bool:
        return all(look.label == pair.label for look in judgment.looks)

    ordered = sorted(pairs, key=lambda p: right(before[p.id], p) == right(after[p.id], p))
    return [{"pair": row_from_pair(pair), "looks": {name: _looks(judgments[pair.id]) for name, judgments in
             (("sft", before), ("grpo", after))}} for pair in ordered[:EXAMPLES]]  # fmt: skip


def _looks(judgment: Judgment) -> list[dict[str, Any]]:
    return [{"order": look.order, "text": look.generation.text, "status": look.status, "label": look.label}
            for look in judgment.looks]  # fmt: skip

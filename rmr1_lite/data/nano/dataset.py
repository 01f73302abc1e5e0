"""The nano world as files: the paper's data split in miniature (section 4.1: chains for about 12 % of the
pairs).

chains.jsonl      teacher chains in both orders, for SFT
train.jsonl       verdict labels only, for GRPO (not the pairs with chains)
validation.jsonl  for the probes during training and for choosing settings
test.jsonl        only for the final metrics
data.json         counts, seeds, and the results of the teacher's two passes

python -m rmr1_lite data nano --out runs/data
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rmr1_lite.data.chains import Chain, write_chains
from rmr1_lite.data.nano.teacher import distill_cases, write_chain
from rmr1_lite.data.nano.world import Case, draw_cases
from rmr1_lite.data.pairs import write_pairs
from rmr1_lite.prompts import swap_responses
from rmr1_lite.storage import write_json

FILES = ("chains.jsonl", "train.jsonl", "validation.jsonl", "test.jsonl", "data.json")


@dataclass(frozen=True)
class NanoData:
    """Sizes in pairs. The test pairs are drawn with a separate seed, far from every training seed."""

    train: int = 4000
    chain_share: float = 0.12
    validation: int = 200
    test: int = 600
    seed: int = 0
    test_seed: int = 9000


def write_nano_data(out: str | Path, config: NanoData = NanoData()) -> Path:
    """Write all files and return the folder."""
    out = Path(out)
    distilled = round(config.train * config.chain_share)
    train = draw_cases("train", config.train, config.seed)
    made = distill_cases(train[:distilled], config.seed)
    write_chains(out / "chains.jsonl", _both_orders(train[:distilled], made.chains, config.seed))
    write_pairs(out / "train.jsonl", [case.pair for case in train[distilled:]])
    write_pairs(
        out / "validation.jsonl",
        [case.pair for case in draw_cases("validation", config.validation, config.seed)],
    )
    write_pairs(out / "test.jsonl", [case.pair for case in draw_cases("test", config.test, config.test_seed)])
    write_json(
        out / "data.json",
        {
            "world": "nano",
            **asdict(config),
            "chains": 2 * len(made.chains),
            "chain_pairs": len(made.chains),
            "teacher": dict(made.counts),
        },
    )
    return out


def _both_orders(distilled: list[Case], chains: dict[str, str], seed: int) -> list[Chain]:
    """The teacher judges each pair in the second order too, so that SFT sees no position more often than the
    other."""
    rng, rows = random.Random(f"orders/{seed}"), []
    for case in distilled:
        if case.pair.id in chains:
            exchanged = replace(case, pair=swap_responses(case.pair), a=case.b, b=case.a)
            rows.append(Chain(case.pair, "ab", chains[case.pair.id]))
            rows.append(Chain(case.pair, "ba", write_chain(exchanged, rng)))
    random.Random(f"shuffle/{seed}").shuffle(rows)
    return rows

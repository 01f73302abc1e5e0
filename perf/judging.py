"""How fast is judging? The kit's engine against one prompt at a time with plain `generate`, same judge, same
looks, one run.

    OMP_NUM_THREADS=2 python perf/judging.py --pairs 60 --out perf/results/judging-cpu.json

Writes the speeds, their ratio, and every look whose greedy verdict differs. Loading is left out of both
times.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rmr1_lite.config import NANO_TOKENS
from rmr1_lite.data.nano.world import draw_pairs as nano_pairs
from rmr1_lite.judging.engines.base import Sampling
from rmr1_lite.judging.engines.local import LocalEngine
from rmr1_lite.judging.judge import Judge
from rmr1_lite.models.backend import installed_versions
from rmr1_lite.models.loading import load
from rmr1_lite.models.render import render_ids
from rmr1_lite.prompts import judge_messages, pair_as_shown
from rmr1_lite.types import ORDERS
from rmr1_lite.verdict import parse_verdict


def one_at_a_time(loaded: Any, pairs: list[Any]) -> dict[tuple[str, str], str]:
    """Plain `generate`, one prompt per call, as in a first script."""
    import torch

    texts = {}
    for pair in pairs:
        for order in ORDERS:
            ids = torch.tensor(
                [render_ids(loaded.tokenizer, judge_messages(pair_as_shown(pair, order), loaded.style))]
            )
            asked = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "max_new_tokens": NANO_TOKENS}
            with torch.inference_mode():
                out = loaded.model.generate(**asked, do_sample=False)
            texts[pair.id, order] = loaded.tokenizer.decode(out[0, ids.shape[1] :]).split(
                loaded.tokenizer.eos_token
            )[0]
    return texts


def batched(loaded: Any, pairs: list[Any], batch: int) -> dict[tuple[str, str], str]:
    """The kit's judge."""
    engine = LocalEngine(loaded.model, loaded.tokenizer, batch, style=loaded.style)
    judgments = Judge(engine, sampling=Sampling(max_new_tokens=NANO_TOKENS)).compare_many(
        pairs, progress=False
    )
    return {(j.pair_id, look.order): look.generation.text for j in judgments for look in j.looks}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--judge", default="nano", help="judge spec (default %(default)s)")
    parser.add_argument(
        "--pairs", type=int, default=100, help="nano test pairs, two looks each (default %(default)s)"
    )
    parser.add_argument(
        "--batch", type=int, default=64, help="looks per batch of the kit's engine (default %(default)s)"
    )
    parser.add_argument("--out", type=Path, required=True, help="JSON to write")
    args = parser.parse_args()
    import torch

    loaded, pairs = load(args.judge), nano_pairs("test", args.pairs, 9000)
    batched(loaded, pairs[:2], args.batch)  # warm: threads and allocator, for both
    times, texts = {}, {}
    for name, run in (
        ("plain", lambda: one_at_a_time(loaded, pairs)),
        ("kit", lambda: batched(loaded, pairs, args.batch)),
    ):
        start = time.perf_counter()
        texts[name] = run()
        times[name] = time.perf_counter() - start
        print(f"{name}: {2 * len(pairs) / times[name]:.2f} looks per second", flush=True)
    verdicts = {
        name: {key: parse_verdict(text).shown_label for key, text in found.items()}
        for name, found in texts.items()
    }
    differ = [
        {"id": key[0], "order": key[1], "plain": verdicts["plain"][key], "kit": verdicts["kit"][key]}
        for key in verdicts["plain"]
        if verdicts["plain"][key] != verdicts["kit"][key]
    ]
    row = {
        "judge": args.judge,
        "looks": 2 * len(pairs),
        "batch": args.batch,
        "threads": torch.get_num_threads(),
        "cpu": platform.machine(),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "versions": installed_versions(),
        "looks_per_second": {name: round(2 * len(pairs) / seconds, 3) for name, seconds in times.items()},
        "ratio": round(times["plain"] / times["kit"], 2),
        "same_verdict": 1 - len(differ) / (2 * len(pairs)),
        "same_text": sum(texts["plain"][k] == texts["kit"][k] for k in texts["plain"]) / (2 * len(pairs)),
        "differ": differ,
    }
    args.out.write_text(json.dumps(row, indent=2) + "\n")
    print(f"ratio {row['ratio']}, same verdict {row['same_verdict']:.2%}, same text {row['same_text']:.2%}")


if __name__ == "__main__":
    main()

"""The best of eight by a knockout compared with a round robin, and scores against panels, on nano questions
whose true order is known.

    python perf/best_of.py --judge nano --questions 60 --out perf/results/best-of-nano.json
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from rmr1_lite import load_judge
from rmr1_lite.data.nano.graded import GradedQuestion, draw_graded
from rmr1_lite.environment import prepare_process
from rmr1_lite.evaluation.intervals import wilson_interval
from rmr1_lite.storage import write_json


def one(judge: Any, asked: GradedQuestion, panel: int) -> dict[str, Any]:
    """Both ways to the best response, and the score of every response against a panel of the others."""
    began = time.perf_counter()
    ranked = judge.rank(asked.question, asked.responses)
    middle = time.perf_counter()
    best = judge.best_of(asked.question, asked.responses)
    end = time.perf_counter()
    rng = random.Random(asked.question)
    values = []
    for place, response in enumerate(asked.responses):
        others = [text for k, text in enumerate(asked.responses) if k != place]
        score = judge.score(asked.question, response, panel=rng.sample(others, panel))
        values.append(np.nan if score.value is None else score.value)
    truth = max(range(len(asked.points)), key=lambda k: asked.points[k])
    return {
        "rank_calls": ranked.calls,
        "knockout_calls": best.calls,
        "rank_seconds": round(middle - began, 2),
        "knockout_seconds": round(end - middle, 2),
        "rank_best": ranked.best,
        "knockout_best": best.best,
        "true_best": truth,
        "spearman": round(float(spearmanr(values, asked.points, nan_policy="omit").statistic), 4),
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Shares with 95 % intervals, calls and rank correlation."""
    n, settled = len(rows), [row for row in rows if row["rank_best"] is not None]
    same = sum(row["knockout_best"] == row["rank_best"] for row in settled)
    found: dict[str, Any] = {"questions": n, "round_robin_settled": len(settled)}
    found["same_winner"] = [same / len(settled), *wilson_interval(same, len(settled))]
    for name in ("rank", "knockout"):
        right = sum(row[f"{name}_best"] == row["true_best"] for row in rows)
        found[f"{name}_right"] = [right / n, *wilson_interval(right, n)]
        found[f"{name}_calls"] = sum(row[f"{name}_calls"] for row in rows) / n
        found[f"{name}_seconds"] = sum(row[f"{name}_seconds"] for row in rows) / n
    found["calls_share"] = found["knockout_calls"] / found["rank_calls"]
    found["spearman_mean"] = float(np.nanmean([row["spearman"] for row in rows]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--judge", default="nano")
    parser.add_argument("--questions", type=int, default=60)
    parser.add_argument("--panel", type=int, default=4, help="answers that each response is scored against")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("perf/results/best-of-nano.json"))
    asked = parser.parse_args()
    prepare_process()
    judge, rows = load_judge(asked.judge, batch_size=64), []
    for number, question in enumerate(draw_graded("test", asked.questions, asked.seed), 1):
        rows.append(one(judge, question, asked.panel))
        print(f"{number} of {asked.questions}: {json.dumps(rows[-1])}", flush=True)
    found = {"judge": asked.judge, "seed": asked.seed, "panel": asked.panel, "machine": platform.processor()}
    write_json(asked.out, {**found, **summary(rows), "rows": rows})
    print(json.dumps(summary(rows), indent=1))


if __name__ == "__main__":
    main()

"""Time and cost of RM-R1's full GRPO run on 1 to 256 cards, and of a judge for millions of pairs.

    python perf/scale_model.py                              # print the tables
    python perf/scale_model.py --out perf/results/scale-model.json
    python perf/scale_model.py --price 2 --mean 854 --sigma 0.55 --runaway 0.02

A model on paper: nothing here runs on a card. Decoding is a roofline (bytes read from memory or operations,
whichever takes longer, and a fixed time for each token), training a share of the card's peak. `ANCHORS` are
published measurements; the model's error against each is part of the result. docs/scale.md shows the figures.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from scale.anchors import anchors  # noqa: E402
from scale.assumptions import SHAPES, Card, Fleet, Lengths, Recipe, World  # noqa: E402
from scale.fleet import job_cost, judge_fleet  # noqa: E402
from scale.grpo import grpo_run, length_limits  # noqa: E402

# RM-R1-DeepSeek-Distilled-Qwen-32B, see `Lengths`; its runaways are an assumption
LONG: dict[str, Any] = {"mean": 854.0, "sigma": 0.55, "runaway": 0.02}


def study(world: World, fleet: Fleet, cards: tuple[int, ...] = (1, 8, 32, 256)) -> dict[str, Any]:
    """The complete result, as it is stored."""
    found = [(each, each.error) for each in anchors(world)]
    measured_over_model = [1 / (1 + error) for each, error in found if each.unit == "s a step"]
    runs = {
        name: [grpo_run(world, SHAPES[name], count) for count in cards if count >= SHAPES[name].cards]
        for name in ("7B", "14B", "32B")
    }
    return {
        "assumptions": {**asdict(world), "fleet": asdict(fleet)},
        "anchors": [{**asdict(each), "error": error} for each, error in found],
        # measured over modelled time of complete GRPO steps: the spread of what the model may be wrong by
        "factor": [min(measured_over_model), max(measured_over_model)],
        "grpo": runs,
        "limits": {
            name: {
                str(count): length_limits(replace(world, lengths=lengths), SHAPES["7B"], count)
                for count in cards
            }
            for name, lengths in (
                ("short chains", world.lengths),
                ("long chains", replace(world.lengths, **LONG)),
            )
        },
        "fleet": {name: judge_fleet(world, SHAPES[name], fleet) for name in ("7B", "14B", "32B")},
        "fleet_changes": _fleet_changes(world, fleet),
        "jobs": {
            name: [job_cost(world, SHAPES[name], fleet, 10.0**power) for power in range(3, 10)]
            for name in ("7B", "32B")
        },
    }


def _fleet_changes(world: World, fleet: Fleet) -> list[dict[str, Any]]:
    """The 7B fleet with one assumption changed at a time."""
    changes: list[tuple[str, World, Fleet]] = [
        ("as assumed", world, fleet),
        ("one order only", world, replace(fleet, orders=1)),
        ("no stored verdicts", world, replace(fleet, known=0.0)),
        ("half of the verdicts stored", world, replace(fleet, known=0.5)),
        ("no prefix cache", world, replace(fleet, shared=0.0)),
        (
            "chains half as long",
            replace(world, lengths=replace(world.lengths, mean=world.lengths.mean / 2)),
            fleet,
        ),
        ("requests spread evenly", world, replace(fleet, busy=0.95)),
    ]
    return [{"change": name, **judge_fleet(where, SHAPES["7B"], which)} for name, where, which in changes]


def rounded(value: Any) -> Any:
    """Six significant digits, so that the last bits of a machine's logarithm do not change the results."""
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(part) for part in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="JSON to write; default: print it")
    parser.add_argument("--price", type=float, default=Card.price, help="dollars for a card and hour")
    parser.add_argument("--mean", type=float, default=Lengths.mean, help="tokens of a chain")
    parser.add_argument("--sigma", type=float, default=Lengths.sigma, help="of their logarithm")
    parser.add_argument("--runaway", type=float, default=Lengths.runaway, help="share of endless chains")
    parser.add_argument("--limit", type=int, default=Lengths.limit, help="most tokens of a chain")
    parser.add_argument("--prompt", type=float, default=Lengths.prompt, help="tokens of a prompt")
    parser.add_argument("--pairs", type=int, default=Recipe.pairs, help="pairs of the GRPO run")
    parser.add_argument("--rollouts", type=int, default=Recipe.rollouts, help="for each prompt")
    parser.add_argument("--pairs-a-day", type=float, default=Fleet.pairs_a_day, help="of the service")
    parser.add_argument("--known", type=float, default=Fleet.known, help="share of stored verdicts")
    parser.add_argument("--shared", type=float, default=Fleet.shared, help="share of a prompt in the cache")
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    world = World(
        card=Card(price=asked.price),
        lengths=Lengths(asked.mean, asked.sigma, asked.runaway, asked.limit, asked.prompt),
        recipe=Recipe(pairs=asked.pairs, rollouts=asked.rollouts),
    )
    fleet = Fleet(asked.pairs_a_day, known=asked.known, shared=asked.shared)
    text = json.dumps(rounded(study(world, fleet)), indent=1) + "\n"
    if asked.out:
        asked.out.write_text(text, encoding="utf-8")
    else:
        print(text, end="")


if __name__ == "__main__":
    main()

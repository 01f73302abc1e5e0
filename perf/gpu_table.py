"""docs/gpu.md's tables, from what gpu_acceptance.py measured and from the planner; `status` gives the GPU row
of README's status table to docs/build.py.

    python perf/gpu_table.py                 # from perf/results/gpu.json, if it exists
    python perf/gpu_table.py --check         # writes nothing; exits with 1 when a table is not what it
                                                   would be

No torch. Without a results file the row says that nothing has run on a GPU yet, and there are the planner's
tables alone.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from rmr1_lite.presets import SIZES  # noqa: E402
from rmr1_lite.training.planning.gpu_memory import (  # noqa: E402
    GIB,
    SHAPES,
    count_parameters,
    grpo_need,
    sft_need,
    weight_bytes,
)
from rmr1_lite.training.planning.plan import make_plan  # noqa: E402

RESULTS = ROOT / "perf" / "results" / "gpu.json"
SEVEN_B, RANK = SHAPES["Qwen/Qwen2.5-7B-Instruct"], 32
CUDA_GIB = 0.5  # of the card that torch's allocator does not count: CUDA's context and kernels
NAMES = {
    "speed-unsloth": "kit, Unsloth",
    "speed-transformers": "kit, transformers",
    "speed-trl": "TRL, PEFT, bitsandbytes (baseline)",
    "capped": "kit, Unsloth, fp16, capped at 14.5 GiB",
    "paper": "kit, Unsloth, the paper's lengths",
}
NOT_RUN = "**not yet run on a GPU**; its own code is run without one (`make unsloth-cpu`), see docs/gpu.md"


def block(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {name}: written by perf/gpu_table.py -->\n).*?(<!-- /{name} -->)", re.DOTALL)


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(str(cell) for cell in line)} |\n" for line in lines)


# ---- what is planned
# ----------------------------------------------------------------------------------------------------


def planned_table(card: str) -> str:
    """One row per model: lengths, memory and hours of both stages by the planner, and the download."""
    rows = []
    for model in SIZES[card]:
        made = make_plan(preset_name=f"{card}:{model}")
        sft, grpo = made.stages
        hours = [f"{stage.hours:.1f} h" if stage.hours else "-" for stage in made.stages]
        half, nf4 = (size / 1e9 for size in (2 * count_parameters(made.shape), weight_bytes(made.shape)))
        rows.append(
            (
                f"`{card}:{model}`",
                f"{sft.config.limit:,} chains of up to {sft.config.max_length:,}",
                f"{sft.peak / GIB:.1f} GiB, {hours[0]}",
                f"{grpo.config.steps} steps of {grpo.config.groups} x {grpo.config.rollouts}, "
                f"{grpo.config.max_prompt_tokens:,} + {grpo.config.max_new_tokens:,}",
                f"{grpo.peak / GIB:.1f} GiB, {hours[1]}",
                f"{half:.1f} ({nf4:.1f} in 4 bits)",
            )
        )
    head = (
        "preset",
        "SFT: rows and tokens",
        "memory, time",
        "GRPO: prompt + completion tokens",
        "memory, time",
        "download, GB",
    )
    return table(head, rows)


# ---- what was measured
# --------------------------------------------------------------------------------------------------


def figures(results: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(job, what, its measurements) of every SFT and GRPO size."""
    for job in NAMES:
        for what, held in figures_of(results, job).items():
            if isinstance(held, dict) and what.startswith(("sft_", "grpo_", "not_shared")):
                yield job, what, held


def measured_table(results: dict[str, Any]) -> str:
    """Tokens per second and memory, each with its ratio to the baseline."""
    base = {what: held for job, what, held in figures(results) if job == "speed-trl"}
    rows = []
    for job, what, held in figures(results):
        if "error" in held:
            rows.append((NAMES[job], words(what), held["error"], "", "", ""))
            continue
        times = (
            f"{held['tokens_per_s'] / base[what]['tokens_per_s']:.2f}"
            if "tokens_per_s" in base.get(what, {})
            else ""
        )
        peaks = [held.get(name) for name in ("peak_gib", "first_step_peak_gib", "reserved_gib")]
        shared = {True: ", prompts shared", False: ", prompts not shared"}.get(held.get("prompts_shared"), "")
        rows.append(
            (
                NAMES[job],
                words(what) + shared,
                f"{held['tokens_per_s']:,}",
                times,
                f"{held['step_s']:.2f} s ({held['steps_timed']} steps)",
                " / ".join("-" if p is None else f"{p:.1f}" for p in peaks),
            )
        )
    head = ("what", "size", "tokens/s", "times the baseline", "a step", "GiB: peak / first step / reserved")
    return table(head, rows)


def planner_table(results: dict[str, Any]) -> str:
    """The planner's bytes beside what the card gave. None of its formulas was fitted to these rows. Where
    much is free both libraries take larger chunks of logits than the planner counts on; the capped rows are
    those that it is made for."""
    rows = []
    for job, what, held in figures(results):
        if held.get("reserved_gib") and not what.startswith("not_shared"):
            need = planned(what, bool(held.get("prompts_shared"))) / GIB
            found = held["reserved_gib"] + CUDA_GIB
            name = NAMES[job] if job == "capped" else f"{NAMES[job]} (all of the card free)"
            rows.append((name, words(what), f"{need:.1f}", f"{found:.1f}", f"{need / found:.2f}"))
    head = ("what", "size", "planned GiB", "measured GiB (reserved and CUDA's own)", "planned / measured")
    return table(head, rows) if rows else ""


def generation_table(results: dict[str, Any]) -> str:
    """Seconds per token of all rows together, adapter on: most of a GRPO step."""
    rows = [
        (
            NAMES[job],
            f"{one['rows']} rows, {int(name.split('_')[1]):,} tokens in the cache",
            f"{one['s_per_token']:.3f} s",
            one["tokens_per_s"],
        )
        for job in NAMES
        for name, one in figures_of(results, job).get("writing", {}).items()
        if name.startswith("cache_")
    ]
    return table(("what", "generating", "a token of all rows", "tokens/s"), rows) if rows else ""


def unfinished(results: dict[str, Any]) -> str:
    """The jobs that did not finish, and how far they got; "" if all did."""
    jobs = results.get("jobs", {})
    lines = [
        f"- part {job['part']}, `{name}`: {job['status']}"
        + (f" ({job['why']})" if job.get("why") else "")
        + (f"; has {', '.join(job['figures'])}" if job.get("figures") else "")
        for name, job in jobs.items()
        if job.get("status", "ok") != "ok"
    ]
    return "Not run to the end:\n\n" + "\n".join(lines) + "\n" if lines else ""


def figures_of(results: dict[str, Any], job: str) -> dict[str, Any]:
    return results.get("jobs", {}).get(job, {}).get("figures", {})


def planned(what: str, shared: bool) -> float:
    numbers = [int(n) for n in what.split("_")[1:]]
    if what.startswith("sft"):
        return sft_need(SEVEN_B, RANK, 1, numbers[0]).peak
    prompt, completion, rollouts = numbers
    return grpo_need(SEVEN_B, RANK, prompt, completion, 1, rollouts, rollouts, True, shared)[1].peak


def words(what: str) -> str:
    if what == "not_shared":
        return "GRPO as above, sharing off"
    kind, *numbers = what.split("_")
    if kind == "sft":
        return f"SFT, 1 x {int(numbers[0]):,}"
    return f"GRPO, ({int(numbers[0]):,} + {int(numbers[1]):,}) x {numbers[2]}"


def machine(results: dict[str, Any]) -> str:
    facts = results["jobs"]["facts"]["figures"]
    versions = ", ".join(f"{name} {now}" for name, now in facts["versions"].items() if now != "not installed")
    return f"{facts['card']}, {results['date']}; {versions}."


def status(results: dict[str, Any] | None = None) -> str:
    """The state of the GPU path in one line, from `results` or the committed file."""
    if results is None:
        results = read_results(RESULTS)
    if results is None:
        return NOT_RUN
    parity = results.get("parity", {})
    held = f"{sum(check['holds'] for check in parity.values())} of {len(parity)} parity checks hold"
    card = results["jobs"]["facts"]["figures"]["card"]
    return (
        f"parity and 7B speed on one {card} ({results['date']}): {held}; no long training yet, no T4 "
        "([guide](docs/gpu.md))"
    )


def read_results(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def measured_text(results: dict[str, Any] | None) -> str:
    if results is None:
        return "Nothing has been measured on a card yet.\n"
    checks = [
        (name, check["found"], check["bound"], "yes" if check["holds"] else "**no**")
        for name, check in results.get("parity", {}).items()
    ]
    parts = [
        f"{machine(results)}\n",
        table(("parity", "found", "bound", "holds"), checks),
        measured_table(results),
        generation_table(results),
        planner_table(results),
        unfinished(results),
    ]
    return "\n".join(part for part in parts if part)


def pages(results: dict[str, Any] | None) -> dict[Path, str]:
    """The guide as it should be. Raises ValueError for one without the markers."""
    guide = ROOT / "docs" / "gpu.md"
    text = guide.read_text(encoding="utf-8")
    pieces = {"measured": measured_text(results), **{card: planned_table(card) for card in SIZES}}
    for name, piece in pieces.items():
        text, count = block(name).subn(lambda found, piece=piece: f"{found[1]}{piece}{found[2]}", text)
        if count != 1:
            raise ValueError(f"{guide} has no block {name}")
    return {guide: text}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "results", type=Path, nargs="?", default=RESULTS, help="results.json of gpu_acceptance.py"
    )
    parser.add_argument("--check", action="store_true", help="compare only")
    args = parser.parse_args()
    if args.results != RESULTS and not args.results.exists():
        parser.error(f"{args.results} does not exist")
    made = pages(read_results(args.results))
    stale = [path for path, text in made.items() if path.read_text(encoding="utf-8") != text]
    for path in stale:
        print(f"{path.relative_to(ROOT)}: {'is not what the results say' if args.check else 'written'}")
        if not args.check:
            path.write_text(made[path], encoding="utf-8")
    return 1 if stale and args.check else 0


if __name__ == "__main__":
    sys.exit(main())

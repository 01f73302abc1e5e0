"""The paper's RL mixture (Table 5) rebuilt from its three sources, with our prompts instead of the released
ones.

    Skywork-Reward-Preference-80K-v0.2   without magpie_ultra, whose texts give the label away: 54,146 pairs
    Code-Preference-Pairs                shuffled with seed 42, the first 8,000
    Math-Step-DPO-10K                    all of it; a response is the given steps and their continuation

The better response is first in even rows and second in odd ones, so the labels balance exactly.

    python -m rmr1_lite data mixture --out runs/mixture
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmr1_lite.data.pairs import BadRows
from rmr1_lite.data.readers import Raw, read_rows
from rmr1_lite.data.rows import pair_from_row, row_from_pair
from rmr1_lite.storage import AtomicLines, RowError, write_json
from rmr1_lite.types import InputError

SKIPPED = "magpie_ultra"
CODE_PAIRS, CODE_SEED = 8000, 42
# sizes of these parts in the paper's Table 5
PAPER = {
    "magpie_pro_llama3.1": 29682,
    "offset_bias": 8504,
    "helpsteer2": 7221,
    "wildguard": 6709,
    "magpie_pro": 2030,
    "code": 8000,
}


@dataclass(frozen=True)
class Source:
    """hub_id, and how one of its rows becomes (part, chosen/rejected row); None leaves the row out."""

    hub_id: str
    row: Callable[[dict[str, Any]], tuple[str, dict[str, Any]] | None]


def _skywork_row(values: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    source = values.get("source")
    if not isinstance(source, str):
        raise RowError("source", "is missing", "use the data set as it was published")
    return (
        None
        if source == SKIPPED
        else (source, {"chosen": values.get("chosen"), "rejected": values.get("rejected")})
    )


def _code_row(values: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return "code", {
        "prompt": values.get("input"),
        "chosen": values.get("accepted"),
        "rejected": values.get("rejected"),
    }


def _math_row(values: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    steps = values.get("initial_reason_steps")
    if steps is None:
        raise RowError("initial_reason_steps", "is missing", "use the data set as it was published")
    ends = {name: values.get(f"full_{name}") for name in ("chosen", "rejected")}
    whole = {name: None if end is None else f"{steps}{end}" for name, end in ends.items()}
    return "math", {"prompt": values.get("prompt"), **whole}


SOURCES = {
    "skywork": Source("Skywork/Skywork-Reward-Preference-80K-v0.2", _skywork_row),
    "code": Source("Vezora/Code-Preference-Pairs", _code_row),
    "math": Source("xinlai/Math-Step-DPO-10K", _math_row),
}


def write_mixture(
    out: str | Path, places: dict[str, str] | None = None, on_bad_row: str = "skip"
) -> dict[str, Any]:
    """Write mixture.jsonl, problems.jsonl and mixture.json; returns the counts by part next to the paper's.

    places: source name -> local file or folder in the published layout, instead of the hub. Raises InputError
    for an unknown name or when a source cannot be read.
    """
    from tqdm import tqdm

    places, out = places or {}, Path(out)
    if unknown := places.keys() - SOURCES.keys():
        raise InputError(f"source is {sorted(unknown)[0]!r}. Choose from {', '.join(SOURCES)}.")
    data, faults = out / "mixture.jsonl", out / "problems.jsonl"
    parts: Counter[str] = Counter()
    left: Counter[str] = Counter()
    with AtomicLines(data, faults) as files:
        bad = BadRows(on_bad_row, files, faults)
        for name, source in SOURCES.items():
            rows = tqdm(_source_rows(name, places.get(name, source.hub_id)), name, unit="row")
            for number, raw in enumerate(rows, 1):
                try:
                    made = _made_pair(raw, f"{name}-{number}", source, sum(parts.values()))
                except RowError as error:
                    bad.add(raw.file, raw.number, error)
                    continue
                if made is None:
                    left[SKIPPED] += 1
                    continue
                parts[made["meta"]["part"]] += 1
                files.write(data, made)
        if not parts:
            raise InputError("None of the sources has a usable row. Check the given files.")
    left |= {"bad rows": bad.count} if bad.count else {}
    counts = {
        "parts": dict(parts),
        "paper": PAPER,
        "left_out": dict(left),
        "pairs": sum(parts.values()),
        "file": str(data),
        "problems": list(map(str, bad.first)),
    }
    write_json(out / "mixture.json", counts)
    return counts


def _source_rows(name: str, place: str) -> Iterator[Raw]:
    rows = read_rows(place)
    if name != "code":
        return rows
    from datasets import Dataset

    held = list(rows)  # shuffled all together, as `datasets` does
    numbers = (
        Dataset.from_dict({"i": range(len(held))}).shuffle(seed=CODE_SEED)["i"][:CODE_PAIRS] if held else []
    )
    return (held[i] for i in numbers)


def _made_pair(raw: Raw, id: str, source: Source, place: int) -> dict[str, Any] | None:
    if raw.error:
        raise raw.error
    if not isinstance(raw.values, dict):
        raise RowError("(row)", "is not an object", "use the data set as it was published")
    found = source.row(raw.values)
    if found is None:
        return None
    part, row = found
    pair = pair_from_row({**row, "id": id})
    made = row_from_pair(pair)
    # rows.py placed it by a hash; the mixture alternates the sides to balance the labels exactly
    if (pair.label == "A") != (place % 2 == 0):
        made |= {
            "response_a": pair.response_b,
            "response_b": pair.response_a,
            "label": "B" if pair.label == "A" else "A",
        }
    return {**made, "section": part, "meta": {"part": part}}

"""Facts about a judge before it is used: its origin, how its verdicts are parsed, and measurements.

Missing measurements are stated as such. Nothing is fetched or loaded for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmr1_lite.config import NANO_TOKENS, OTHER_TOKENS, SMOL_TOKENS
from rmr1_lite.data.nano.teacher import HOW_TO_READ
from rmr1_lite.models import smol
from rmr1_lite.models.adapters import fingerprint_of, is_adapter, read_adapter
from rmr1_lite.models.bias_card import FILE as BIAS
from rmr1_lite.models.bias_card import BiasCard, read_card
from rmr1_lite.models.judge_specs import NANO, local_folder, parse_spec
from rmr1_lite.types import InputError

UNKNOWN = "not measured"
NO_VERDICT = "no verdict that could flip"
STAGES = {"sft": "after SFT on distilled chains", "grpo": "after GRPO with the verdict-match reward"}
NANO_ONLY = (
    "Knows only a small generated world: it was made to show the whole training in minutes. It "
    "does not judge natural language."
)
SMOL_ONLY = (
    "A small language model that was never trained to judge: it writes fluent English but seldom a verdict."
)
READINGS = {
    "strict": "strict: only the exact marker that it was trained to write",
    "lenient": "lenient: also the common forms of other models",
}
Row = tuple[str, str, str]  # name, value, kind: "" or "unknown"


@dataclass(frozen=True)
class Figures:
    """Shares measured by an evaluation, each in both orders; None for one that it did not measure.

    longer, shorter: right in both orders if the better response is the longer or the shorter one.
    """

    source: str
    n: int
    right: float
    low: float
    high: float
    flips: float
    unparsed: float
    longer: float | None = None
    shorter: float | None = None
    tokens: float | None = None


_NANO = "400 unseen pairs of the nano world, before its tensors were rounded to half precision"
# from perf/results/nano-seed0-400.json
SHIPPED = {
    "nano": Figures(_NANO, 400, 0.9125, 0.8807, 0.9364, 0.0775, 0.0, 0.9163, 0.9086, 87.6),
    "nano-sft": Figures(_NANO, 400, 0.825, 0.7847, 0.8591, 0.1525, 0.00375, 0.8177, 0.8325, 87.3),
    "nano-base": Figures(_NANO, 400, 0.0, 0.0, 0.0095, 0.0, 1.0, 0.0, 0.0, 22.3),
}


@dataclass(frozen=True)
class Origin:
    """A judge's origin. rows: for the card. base: the shipped base under it, "" for others.
    trained: an adapter of this kit. style: its prompt style, "" if it does not say. bias: its card, None
    if it has none."""

    rows: list[Row]
    base: str = ""
    trained: bool = False
    style: str = ""
    figures: Figures | None = None
    bias: BiasCard | None = None

    @property
    def tokens(self) -> int:
        """The limit of tokens per judge call."""
        nano = self.base in NANO
        return NANO_TOKENS if nano else SMOL_TOKENS if self.base == smol.NAME else OTHER_TOKENS


def judge_rows(spec: str, style: str = "") -> list[Row]:
    """The card of a judge. style: its prompt style, if already known."""
    try:
        found = find_origin(spec)
    except InputError as error:
        return [("Judge", spec, ""), ("Problem", str(error), "unknown")]
    nano = found.base in NANO
    reading = READINGS["strict" if nano or found.trained else "lenient"]
    rows = [
        ("Judge", spec, ""),
        *found.rows,
        ("Prompt style", style or found.style or "chosen when it loads", ""),
        ("Verdicts are read", reading, ""),
        ("Length", f"at most {found.tokens:,} new tokens per judge call", ""),
    ]
    rows += [*_measured(found.figures), *_moves(found.bias)]
    return rows + ([("Limits", f"{NANO_ONLY} {HOW_TO_READ}", "")] if nano else [])


def knows_nano_only(spec: str) -> bool:
    """Whether a spec names a judge of the nano world. False for an unreadable one: that is reported when it
    is used."""
    try:
        return find_origin(spec).base in NANO
    except InputError:
        return False


def judge_line(spec: str) -> str:
    """The one thing to know before trusting the judge; "" if nothing is known."""
    rows = {name: value for name, value, _ in judge_rows(spec)}
    if "Problem" in rows:
        return rows["Problem"]
    if "Limits" in rows:
        return NANO_ONLY
    if spec == smol.NAME:
        return SMOL_ONLY
    return f"Right in both orders: {rows['Right in both orders']}."


def find_origin(spec: str) -> Origin:
    """A judge's origin, without asking the hub and without converting or loading a
    model. Raises InputError for a missing path."""
    if spec.startswith(("openai:", "replay:")):
        parsed = parse_spec(spec)
        if parsed.kind == "replay":
            return Origin([("Kind", "log of an earlier run; it knows only the pairs of that run", "")])
        server = f"{parsed.model} at {parsed.url}. The texts you judge are sent there."
        return Origin([("Kind", "endpoint", ""), ("Server", server, "")])
    if spec == smol.NAME:
        if not smol.is_here():
            raise InputError(smol.state().why)
        kind = f"small language model that was never trained to judge: {smol.MODEL}"
        return Origin([("Kind", kind, "")], smol.NAME, style="compact")
    folder = local_folder(spec)
    if folder is None:
        return Origin([("Kind", "model or adapter on the hub; fetched on first use", "")])
    if spec in NANO and not is_adapter(folder):
        kind = "base model that was never trained to judge"
        return Origin([("Kind", kind, "")], spec, style="compact", figures=SHIPPED.get(spec))
    return _adapter(spec, folder) if is_adapter(folder) else Origin([("Kind", "complete model", "")])


def _adapter(spec: str, folder: Path) -> Origin:
    info, shipped = read_adapter(folder), spec in NANO
    rows = [
        ("Kind", f"LoRA adapter {STAGES.get(info.stage, '')}".strip(), ""),
        ("Base", info.base, ""),
        ("Adapter", "shipped with rmr1_lite" if shipped else str(folder), ""),
    ]
    figures = SHIPPED.get(spec) if shipped else figures_beside(folder, info.stage)
    return Origin(rows, info.base, True, info.style, figures, bias_beside(folder))


def _measured(figures: Figures | None) -> list[Row]:
    if figures is None:
        names = ("Right in both orders", "Flips when swapped", "Length bias", "No verdict")
        return [(name, UNKNOWN, "unknown") for name in names]
    bias = UNKNOWN
    if figures.longer is not None and figures.shorter is not None:
        bias = (
            f"right in both orders on {figures.longer:.1%} if the better response is the longer one, on "
            f"{figures.shorter:.1%} if it is the shorter one"
        )
    right = f"{figures.right:.1%} (95 % interval {figures.low:.1%} to {figures.high:.1%}) of {figures.source}"
    rows = [
        ("Right in both orders", right, ""),
        (
            "Flips when swapped",
            f"{figures.flips:.1%} of the pairs" if figures.unparsed < 1 else NO_VERDICT,
            "",
        ),
        ("Length bias", bias, "unknown" if bias == UNKNOWN else ""),
        ("No verdict", f"{figures.unparsed:.1%} of the judge calls", ""),
    ]
    return rows + ([("Writes", f"{figures.tokens:.0f} tokens on average", "")] if figures.tokens else [])


def _moves(card: BiasCard | None) -> list[Row]:
    """Its bias card in a few lines: the effects by finding, with their points and intervals."""
    if card is None:
        return [("Biases", UNKNOWN, "unknown")]
    groups: dict[str, list[str]] = {}
    for each in card.effects:
        harm = each.kind == "harm"
        text = each.title if harm or each.tone != "bad" else f"{each.title} ({each.finding})"
        text += f": {each.points}" if each.tone in ("bad", "good") else ""
        groups.setdefault(_GROUPS[harm, each.tone], []).append(text)
    rows = [(name, "; ".join(groups[name]), "") for name in dict.fromkeys(_GROUPS.values()) if name in groups]
    about = f"{card.pairs} pairs ({card.source}, {card.created[:10]}); points of 100 pairs with intervals"
    return [("Biases", f"{card.sentences()[0]} Measured on {about}.", ""), *rows]


# (harm, tone of the effect) -> its row
_GROUPS = {
    (False, "bad"): "Moves it",
    (False, "none"): "No effect shown",
    (True, "good"): "Sees",
    (True, "bad"): "Not shown to see",
    (False, "unknown"): "Too few pairs",
    (True, "unknown"): "Too few pairs",
}


def bias_beside(adapter: Path) -> BiasCard | None:
    """The bias card of exactly these weights, in the adapter's folder or at most two folders above; None if
    there is no readable one."""
    path = _beside(adapter, BIAS)
    try:
        card = read_card(path) if path else None
    except InputError:
        return None  # another program's file, or a damaged one: nothing is known from it
    return card if card and card.weights == fingerprint_of(str(adapter)) else None


def _beside(adapter: Path, name: str) -> Path | None:
    """A file of the adapter's run, at most two folders above it."""
    folders = (adapter, *adapter.absolute().parents[:2])
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def figures_beside(adapter: Path, stage: str) -> Figures | None:
    """The entry of the adapter's stage in its run's results.json, None if there is no readable one.

    The demo and the evaluation write it into the run, at most two folders above the adapter.
    """
    path = _beside(adapter, "results.json")
    try:
        return _read_figures(json.loads(path.read_text(encoding="utf-8")), stage, path) if path else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # another program's file, or a damaged one: nothing is known from it


def _read_figures(values: Mapping[str, Any], stage: str, path: Path) -> Figures:
    found = values["stages"][stage]
    low, high = found["intervals"]["strict_accuracy"]
    bias = found.get("length_bias", {})
    longer, shorter = (
        bias[part]["strict_accuracy"] if part in bias else None for part in ("longer", "shorter")
    )
    source = f"{found['n']} pairs ({path.parent.name}/{path.name}, {values['created'][:10]})"
    flips, unparsed = (float(found[name]) for name in ("flip_rate", "unparsed"))
    right = float(found["strict_accuracy"])
    tokens = float(found["mean_tokens"])
    bounds = (float(low), float(high))
    return Figures(source, found["n"], right, *bounds, flips, unparsed, longer, shorter, tokens)

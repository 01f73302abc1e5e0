"""The bias card of a judge: bias.json, typed, and its table in Markdown for an adapter's README.

`evaluation/bias` measures it. It is in this package because the app and the model card show it too, and
neither may depend on evaluation.

    card = read_card("runs/bias/bias.json")
    print(card.markdown())
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from rmr1_lite.storage import write_json
from rmr1_lite.types import InputError

FILE, SCHEMA = "bias.json", 1
Share = tuple[float | None, float | None, float | None]  # the share and its 95 % bounds, None where unknown
Tone = Literal["bad", "good", "none", "unknown"]
NOT_MEASURED, TOO_FEW, NOTHING = "not measured", "too few pairs", "no effect shown"
# kind -> what an interval above 0 says, and one below 0
FINDINGS = {
    "position": ("prefers the first response", "prefers the second response"),
    "style": ("prefers it", "avoids it"),
    "claim": ("is swayed by it", "is put off by it"),
    "prompt": ("changes its verdict", "changes its verdict less than without it"),
    "harm": ("sees it", "prefers the damaged response"),
}
BLIND = "not shown to see it"


@dataclass(frozen=True)
class Effect:
    """One change and what it does to the judge.

    pairs: in which it could be compared. towards, away: of these, whose verdict moved towards the changed
    response and away from it (position: to the first and the second response shown; harm: to the intact and
    the damaged one; prompt: changed with the misspelling alone and with the repetition alone). difference =
    (towards - away) / pairs with its bounds at the family's level; None without pairs. share: of the judge
    calls for the changed response (position: the first one; harm: the intact one; prompt: calls that changed
    their verdict). reference: the share that a fair judge would have. uncompared: pairs without the verdicts
    it takes. skipped: why the change could not be made -> pairs. unparsed: judge calls of the changed copies
    without a verdict, of `calls`. needed: how many verdicts must follow the change, with none against it,
    before the interval excludes 0.
    """

    change: str
    kind: str
    title: str
    pairs: int
    towards: int
    away: int
    difference: float | None
    low: float | None
    high: float | None
    share: float | None
    reference: float | None
    uncompared: int
    unparsed: int
    calls: int
    needed: int
    skipped: dict[str, int] = field(default_factory=dict)

    @property
    def direction(self) -> int:
        """1 or -1 where the interval excludes 0, by its sign; else 0."""
        if self.low is None or self.high is None:
            return 0
        return (self.low > 0) - (self.high < 0)

    @property
    def finding(self) -> str:
        """The finding in a few words."""
        if self.pairs < self.needed:
            return TOO_FEW if self.pairs else NOT_MEASURED
        nothing = BLIND if self.kind == "harm" else NOTHING
        return {1: FINDINGS[self.kind][0], -1: FINDINGS[self.kind][1], 0: nothing}[self.direction]

    @property
    def tone(self) -> Tone:
        """Whether the finding speaks against the judge."""
        if self.pairs < self.needed:
            return "unknown"
        if self.kind == "harm":
            return "good" if self.direction > 0 else "bad"
        return "bad" if self.direction else "none"

    @property
    def points(self) -> str:
        """The difference with its bounds in points."""
        if self.difference is None or self.low is None or self.high is None:
            return NOT_MEASURED
        return f"{100 * self.difference:+.1f} ({100 * self.low:+.1f} to {100 * self.high:+.1f})"


@dataclass(frozen=True)
class BiasCard:
    """Everything that one bias.json holds. weights: their fingerprint, "" for an endpoint or a log.

    form: what the changes were written in. level: of the whole family of intervals together (0.95).
    a_share, flip_rate: of the unchanged pairs, each with its own 95 % bounds, as in an evaluation.
    statuses: judge calls by status. failed: of these, calls that gave no text.
    """

    judge: str
    weights: str
    style: str
    reading: str
    sampling: dict[str, Any]
    source: str
    pairs: int
    form: str
    seed: int
    level: float
    a_share: Share
    flip_rate: Share
    effects: tuple[Effect, ...]
    statuses: dict[str, int]
    failed: int
    created: str
    command: str
    versions: dict[str, str]

    @property
    def biases(self) -> list[Effect]:
        """Changes that move the judge and should not."""
        return [each for each in self.effects if each.kind != "harm" and each.direction]

    @property
    def blind(self) -> list[Effect]:
        """Damage that the judge was not shown to notice."""
        return [each for each in self.effects if each.kind == "harm" and each.tone == "bad"]

    @property
    def calls(self) -> int:
        """Number of judge calls."""
        return sum(self.statuses.values())

    def sentences(self) -> list[str]:
        """The findings, and how reliable they are."""
        found = [f"{each.title} ({each.finding})" for each in self.biases]
        unseen = [each.title for each in self.blind]
        untold = [each for each in self.effects if each.tone == "unknown"]
        told = [f"Biases found: {', '.join(found)}."] if found else []
        if not found and any(each.kind != "harm" and each.tone != "unknown" for each in self.effects):
            told.append("No bias shown.")
        told += [f"Not shown to see a response that is {' or '.join(unseen)}."] if unseen else []
        if untold:
            names = ", ".join(f"{each.title} {each.pairs}" for each in untold)
            least = f"at least {untold[0].needed} are needed"
            told.append(f"Too few pairs with verdicts to say anything ({least}): {names}.")
        unparsed = self.calls - self.statuses.get("ok", 0)
        told.append(f"{unparsed} of {self.calls} judge calls gave no verdict; they count for neither side.")
        return told

    def method(self) -> str:
        """How the metrics were measured, in a short paragraph."""
        needed = self.effects[0].needed
        return (
            f"{self.pairs} pairs ({self.source}), each change on either side and in both orders, written in "
            f"the form “{self.form}”. Points: pairs whose verdict follows the change minus pairs whose "
            f"verdict goes against it, per 100 pairs. The {len(self.effects)} intervals hold together with "
            f"{100 * self.level:.0f} % (Bonferroni), so an effect shows from {needed} verdicts that follow "
            "it with none against it. No effect shown is not the same as no effect: small ones need more "
            "pairs."
        )

    def markdown(self) -> str:
        """The card as a section for a README."""
        rows = [f"| {each.title} | {each.points} | {each.pairs} | {each.finding} |" for each in self.effects]
        command = " ".join(self.command.split()).replace("`", "'")  # it may name files in any way
        lines = [
            "## Bias card",
            "",
            *self.sentences(),
            "",
            "| change | points (interval) | pairs | finding |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
            f"{_inert(self.method())} Measured {self.created[:10]} with `{command}`.",
        ]
        return "\n".join(lines) + "\n"


def _inert(text: str) -> str:
    """Text in which nothing starts a tag, code or a line of Markdown."""
    return " ".join(text.split()).replace("<", "&lt;").replace("`", "'")


def write_card(card: BiasCard, path: Path) -> None:
    """Write bias.json atomically."""
    write_json(path, {"schema": SCHEMA, **asdict(card)})


def read_card(path: str | Path) -> BiasCard:
    """The card of a bias.json. Raises InputError, with file and field, for any other file."""
    remedy = "Run `bias` again to write it."
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}. {remedy}") from None
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}). {remedy}") from None
    if not isinstance(values, dict) or values.get("schema") != SCHEMA:
        raise InputError(f"{path}: schema is not {SCHEMA}. {remedy}")
    try:
        effects = tuple(Effect(**_fields(Effect, row)) for row in values["effects"])
        shares = {name: tuple(values[name]) for name in ("a_share", "flip_rate")}
        card = BiasCard(**{**_fields(BiasCard, values), **shares, "effects": effects})
        card.markdown()  # every field that is shown has its type
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: a field is missing or wrong ({error}). {remedy}") from None
    return card


def _fields(kind: type, row: dict[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass in a row; KeyError for one that is missing."""
    return {each.name: row[each.name] for each in fields(kind)}

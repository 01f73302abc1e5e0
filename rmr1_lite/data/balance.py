"""Draws pairs whose surface features say nothing about the label: length, style marks, side and source.

    python -m rmr1_lite data balance pairs.jsonl --out balanced.jsonl --count 600

1. Within a source, a pair is matched with one in which the same features favour the other side: the better
   response is 1.5 to 2 times as long here and the worse one there, and the lists, code, bold type, line ends
   and final stops differ in the opposite way too. Couples are kept, pairs without a partner are left out.
2. The audit checks the result. If a word, a mark or a length still predicts the label, couples that
   lean that way are left out until it does not; so are couples for which a cross-validated classifier of
   words and lengths is most certain, until it is right in less than `TOLD` of all pairs.
3. A hash of the id assigns the sides: half of every source has the better response as A.

Nothing is random: the order of the draw is a hash of seed, prompt and id, so the pairs of one prompt stay
together. Rows of chains are drawn too: the pair counts as shown, and the side that the verdict names
is matched like the rest, since a chain cannot be swapped.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rmr1_lite.data.balance_checks import (
    Leans,
    audit_row,
    english_letters,
    leans_of,
    word_margins,
)
from rmr1_lite.data.balance_looks import MARKS, Couple, Item, Looks, item_of, prompt_text, with_sides
from rmr1_lite.data.chains import chain_row
from rmr1_lite.data.label_leaks import Row, find_signals, surface_features
from rmr1_lite.data.pairs import Problem
from rmr1_lite.data.readers import read_rows
from rmr1_lite.data.rows import row_from_pair
from rmr1_lite.storage import AtomicLines, RowError, write_json
from rmr1_lite.types import InputError, Pair

ROUNDS = 40  # of audit and repair; every round leaves couples out, so it ends in any case
TOLD = 0.55
TOLD_ROUNDS, TOLD_SHARE = 12, 0.04  # maximum rounds, and the share of couples that each leaves out
ENGLISH = 0.9  # share of ASCII letters
WORDS_TELL, OTHER_SCRIPT = "its words tell the label", "not in English letters"
UNMATCHED, LEANING, NOT_DRAWN = "no partner that leans the other way", "leans after matching", "not drawn"
NO_LABEL, SAME_SIDES, TOO_LONG = "no label", "both sides are the same", "too long"
SAME_ID, MANY_OF_PROMPT, BAD_ROW = "id used before", "enough pairs of this prompt", "bad row"


@dataclass(frozen=True)
class Balance:
    """count: pairs to draw, 0 for all. max_chars: of prompt and responses together, 0 for any.
    per_prompt: pairs of one prompt, 0 for any. english: only pairs in English letters."""

    count: int = 0
    max_chars: int = 0
    per_prompt: int = 0
    english: bool = False
    seed: int = 0


@dataclass
class Balanced:
    """The pairs drawn, and the leans before and after."""

    out: Path
    report: Path
    left_out: Path
    before: Leans
    after: Leans
    reasons: dict[str, int] = field(default_factory=dict)
    sources: dict[str, list[int]] = field(default_factory=dict)

    def text(self) -> str:
        """The leans side by side, then what was left out."""
        lines = [f"{'':<34}{'before':>18}{'after':>18}"]
        for name, then, now in zip(self.before.names(), self.before.shown(), self.after.shown(), strict=True):
            lines.append(f"{name:<34}{then:>18}{now:>18}")
        lines += [f"  {source[-60:]}: {kept} of {rows}" for source, (rows, kept) in self.sources.items()]
        lines += [f"  left out, {reason}: {n}" for reason, n in sorted(self.reasons.items())]
        lines += [f"  still leans: {signal}" for signal in self.after.signals]
        if self.after.classifier is not None and self.after.classifier >= 0.55:
            lines.append(
                "  the classifier of words and lengths is still above 55 %: the words predict the label"
            )
        return "\n".join(lines)


def balance(files: Sequence[str | Path], out: str | Path, settings: Balance) -> Balanced:
    """Draw from `files` and write `out`, with balance.json and balance-left-out.jsonl next to it.

    Raises InputError when nothing can be drawn, or fewer than `count`.
    """
    job = _Draw(settings)
    items = job.read(files)
    couples = job.drawn(job.without_telling_words(job.without_leans(job.matched(items))))
    if not couples:
        raise InputError("No pairs are left. Give more pairs of each source, or a higher --max-chars.")
    kept = with_sides(item for couple in couples for item in couple)
    return job.write(Path(out), items, kept, {str(file): _sha256(file) for file in files})


class _Draw:
    """One draw; pairs left out are counted by reason and listed."""

    def __init__(self, settings: Balance) -> None:
        self.settings = settings
        self.left_out: list[dict[str, Any]] = []

    def leave_out(self, reason: str, file: str, number: int, id: str, detail: str = "") -> None:
        self.left_out.append({"file": file, "row": number, "id": id, "reason": reason, "detail": detail})

    def read(self, files: Sequence[str | Path]) -> list[Item]:
        """The usable pairs, in the order of the draw."""
        found: dict[str, Item] = {}
        for raw in (raw for file in files for raw in read_rows(file)):
            try:
                if raw.error:
                    raise raw.error
                item = item_of(raw.values, (raw.file, raw.number), self._hash)
            except RowError as error:
                self.leave_out(
                    BAD_ROW, raw.file, raw.number, "", str(Problem.of(raw.file, raw.number, error))
                )
                continue
            if reason := self._unusable(item.pair) or (SAME_ID if item.pair.id in found else ""):
                self._drop([item], reason)
            else:
                found[item.pair.id] = item
        if not found:
            raise InputError(
                f"No labelled pairs could be read from {', '.join(map(str, files))}. Give rows with a label."
            )
        return self._few_of_a_prompt(sorted(found.values(), key=lambda item: item.order))

    def _unusable(self, pair: Pair) -> str:
        if pair.label is None:
            return NO_LABEL
        if pair.response_a.split() == pair.response_b.split():
            return SAME_SIDES
        if self.settings.english and english_letters(pair) < ENGLISH:
            return OTHER_SCRIPT
        size = len(prompt_text(pair)) + len(pair.response_a) + len(pair.response_b)
        return TOO_LONG if 0 < self.settings.max_chars < size else ""

    def _few_of_a_prompt(self, items: list[Item]) -> list[Item]:
        seen: Counter[str] = Counter()
        kept = []
        for item in items:
            seen[item.order[0]] += 1
            if 0 < self.settings.per_prompt < seen[item.order[0]]:
                self._drop([item], MANY_OF_PROMPT)
            else:
                kept.append(item)
        return kept

    def _drop(self, items: Iterable[Item], reason: str, detail: str = "") -> None:
        for item in items:
            self.leave_out(reason, item.file, item.number, item.pair.id, detail)

    def _hash(self, text: str) -> str:
        return hashlib.sha256(f"balance/{self.settings.seed}/{text}".encode()).hexdigest()

    def matched(self, items: list[Item]) -> list[Couple]:
        """Couples whose features lean in opposite directions, and pairs that do not lean at all."""
        waiting: dict[tuple[str, Looks], list[Item]] = defaultdict(list)
        couples: list[Couple] = []
        for item in items:
            against = (item.source, tuple(-look for look in item.looks))
            if not any(item.looks):
                couples.append((item,))
            elif waiting[against]:
                couples.append((waiting[against].pop(0), item))
            else:
                waiting[item.source, item.looks].append(item)
        self._drop((item for left in waiting.values() for item in left), UNMATCHED)
        return couples

    def without_leans(self, couples: list[Couple]) -> list[Couple]:
        """Leave out couples until the audit finds nothing that predicts the better side."""
        for _ in range(ROUNDS):
            rows = {item.pair.id: audit_row(item.pair, item.file, item.number) for c in couples for item in c}
            signals = [s for s in find_signals(list(rows.values())) if s.side in ("better", "worse")]
            if not signals:
                break
            signal = signals[0]
            features = {(signal.kind.replace("name", "token"), what) for what in (signal.what, *signal.also)}
            sign = 1 if signal.side == "better" else -1
            score = [
                sum(sign * _leaning(rows[item.pair.id], features) for item in couple) for couple in couples
            ]
            excess = max(1, round((2 * signal.share - 1) * signal.n / 2))
            worst = sorted((n for n in range(len(couples)) if score[n] > 0),
                           key=lambda n: (-score[n], couples[n][0].order))[:excess]  # fmt: skip
            if not worst:
                break
            for n in worst:
                self._drop(couples[n], LEANING, f"{signal.kind} {signal.what!r}")
            couples = [couple for n, couple in enumerate(couples) if n not in set(worst)]
        return couples

    def without_telling_words(self, couples: list[Couple]) -> list[Couple]:
        """Leave out couples whose labels words and lengths predict best, until they predict few enough."""
        for turn in range(TOLD_ROUNDS):
            pairs = with_sides(item for couple in couples for item in couple)
            margins = word_margins(pairs, [prompt_text(pair) for pair in pairs], f"{turn}/")
            if margins is None or sum(margin > 0 for margin in margins) < TOLD * len(margins):
                break
            margin = dict(zip((pair.id for pair in pairs), margins, strict=True))
            couples.sort(key=lambda couple: (-_mean(margin[i.pair.id] for i in couple), couple[0].order))
            gone = max(1, round(TOLD_SHARE * len(couples)))
            for couple in couples[:gone]:
                self._drop(couple, WORDS_TELL)
            couples = couples[gone:]
        return couples

    def drawn(self, couples: list[Couple]) -> list[Couple]:
        """The first couples in the order of the draw that hold `count` pairs."""
        couples = sorted(couples, key=lambda couple: couple[0].order)
        total = sum(map(len, couples))
        count = self.settings.count or total
        if count > total:
            raise InputError(
                f"{count} pairs were requested, {total} are balanced. Give more pairs or a lower --count."
            )
        kept: list[Couple] = []
        size = 0
        for couple in couples:
            if size + len(couple) <= count:
                kept.append(couple)
                size += len(couple)
            else:
                self._drop(couple, NOT_DRAWN)
        return kept

    def write(self, out: Path, items: list[Item], kept: list[Pair], inputs: dict[str, str]) -> Balanced:
        """Write the pairs, those left out, and a report that names the files and pairs."""
        left_out = out.with_name("balance-left-out.jsonl")
        chains = {item.pair.id: item.chain for item in items}
        with AtomicLines(out, left_out) as files:
            for pair in kept:
                chain = chains[pair.id]
                files.write(out, chain_row(chain) if chain else row_from_pair(pair))
            for row in self.left_out:
                files.write(left_out, row)
        sources = {item.pair.id: item.source for item in items}
        rows, drawn = Counter(sources.values()), Counter(sources[pair.id] for pair in kept)
        before, after = leans_of([item.pair for item in items], MARKS), leans_of(kept, MARKS)
        reasons = Counter(row["reason"] for row in self.left_out)
        counts = {source: [rows[source], drawn[source]] for source in sorted(rows)}
        done = Balanced(out, out.with_name("balance.json"), left_out, before, after, dict(reasons), counts)
        held: dict[str, Any] = {
            "before": asdict(before),
            "after": asdict(after),
            "left_out": dict(reasons),
            "sources": counts,
        }
        ids: dict[str, list[str]] = defaultdict(list)
        for pair in kept:
            ids[sources[pair.id]].append(pair.id)
        held |= {"ids": ids, "exchanged": [pair.id for pair in kept if "sides" in pair.meta]}
        held |= {"sha256": _sha256(out), "inputs": inputs}
        write_json(done.report, {**asdict(self.settings), "pairs": len(kept), **held})
        return done


def _sha256(file: str | Path) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if Path(file).is_file() else ""


def _mean(values: Iterable[float]) -> float:
    held = list(values)
    return sum(held) / len(held)


def _leaning(row: Row, features: set[tuple[str, str]]) -> int:
    """+1 if only the better side has one of the features, -1 if only the worse side has."""
    better, worse = surface_features(row.better), surface_features(row.worse)
    return (len(features & (better - worse)) > 0) - (len(features & (worse - better)) > 0)

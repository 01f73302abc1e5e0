"""Turns reviews by other judges into training chains, without a teacher.

    python -m rmr1_lite data convert reviews.jsonl --pairs pairs.jsonl --out chains.jsonl

A row is {"id", "pair", "order", "text", "verdict", "model", "source"}: `pair` is the id of a pair in the
pairs files, or the pair itself; `order` says which response was shown first; `verdict` is the letter of the
side shown, if the source has it. The verdict is read from the text by a named rule (see
`rmr1_lite.data.foreign_verdicts`), the review is converted to the layout of a prompt style and shortened by
complete sentences, and kept if the strict reading then gives the right verdict. Everything left out is
counted by its reason and listed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import cast

from rmr1_lite.data.chain_checks import find_faults
from rmr1_lite.data.chains import Chain, chain_row
from rmr1_lite.data.convert_rows import (
    BAD_ROW,
    CONTRADICTS,
    FAULTY,
    LICENCE,
    NO_LABEL,
    NO_PAIR,
    NO_REVIEW,
    NOT_RIGHT,
    OTHER_PAIR,
    REPEATED,
    SAME_SIDES,
    TOO_LONG,
    Converted,
    Counts,
    LeftOut,
    Review,
    left_out_row,
    review_from_row,
)
from rmr1_lite.data.convert_shorten import shorten
from rmr1_lite.data.convert_text import LEAST, criteria_in, in_layout, is_ours, review_body
from rmr1_lite.data.foreign_verdicts import CONFLICT, RULES, TIE, Reading, best_rule, read_verdict
from rmr1_lite.data.pairs import Problem
from rmr1_lite.data.readers import Raw, read_rows
from rmr1_lite.data.rows import pair_digest, pair_from_row
from rmr1_lite.prompts import STYLES, pair_as_shown
from rmr1_lite.storage import AtomicLines, RowError, write_json
from rmr1_lite.types import InputError, Label, Pair
from rmr1_lite.verdict import parse_verdict

LICENCES = ("MIT", "Apache-2.0", "CC-BY-4.0", "CC0-1.0")
COMPACT_CHARS = 700  # of a complete chain, if no limit is given


@dataclass(frozen=True)
class Conversion:
    """verdicts: a rule's name or "auto". max_chars: of a complete chain; None for the style's own limit, 0
    for none. keep: "right", or "all" with a parsed verdict. licences: allowed in a row's `licence` field."""

    verdicts: str = "auto"
    style: str = "compact"
    max_chars: int | None = None
    keep: str = "right"
    licences: tuple[str, ...] = LICENCES

    @property
    def limit(self) -> int:
        """Longest chain in characters, 0 for no limit."""
        if self.max_chars is None:
            return COMPACT_CHARS if self.style == "compact" else 0
        return self.max_chars


def convert(
    files: Sequence[str | Path], pairs: Sequence[str | Path], out: str | Path, settings: Conversion
) -> Converted:
    """Convert the reviews in `files` and write `out`, with convert.json and convert-left-out.jsonl next to
    it.

    Every row of `out` is a row of `rmr1_lite.data.chains`. Raises InputError for unusable settings or files,
    also when no row can be read at all.
    """
    _check(settings)
    job = _Job(settings, _pairs_by_id(pairs), Path(out))
    job.read(files)
    return job.write()


def _check(settings: Conversion) -> None:
    for name, value, known in (
        ("verdicts", settings.verdicts, ("auto", *RULES)),
        ("style", settings.style, STYLES),
        ("keep", settings.keep, ("right", "all")),
    ):
        if value not in known:
            raise InputError(f"{name} is {value!r:.40}. Choose one of {', '.join(known)}.")
    if settings.limit < 0 or 0 < settings.limit < 200:
        raise InputError(
            f"max-chars is {settings.limit}. Give 200 or more (the tags alone take 70), or 0 for no limit."
        )


def _pairs_by_id(files: Sequence[str | Path]) -> dict[str, Pair]:
    found: dict[str, Pair] = {}
    for raw in (raw for file in files for raw in read_rows(file)):
        try:
            if raw.error:
                raise raw.error
            pair = pair_from_row(raw.values)
            known = found.setdefault(pair.id, pair)
            if pair_digest(known) != pair_digest(pair):
                raise RowError(
                    "id", f"{pair.id!r:.80} is a different pair elsewhere", "give every pair its own id"
                )
        except RowError as error:
            # otherwise reviews of an unreadable pair would seem to have no pair
            raise InputError(str(Problem.of(raw.file, raw.number, error))) from None
    return found


class _Job:
    """One conversion: reads everything, chooses the rules, then makes the chains in the order of the rows."""

    def __init__(self, settings: Conversion, pairs: dict[str, Pair], out: Path) -> None:
        self.settings, self.pairs, self.out = settings, pairs, out
        self.left_out_path = out.with_name("convert-left-out.jsonl")
        self.reviews: list[Review] = []
        self.bad: list[tuple[Raw, RowError]] = []
        self.counts: dict[tuple[str, str], Counts] = {}
        self.seen: set[tuple[str, str, str]] = set()
        self.ids: Counter[tuple[str, str]] = Counter()

    def read(self, files: Sequence[str | Path]) -> None:
        for raw in (raw for file in files for raw in read_rows(file)):
            try:
                if raw.error:
                    raise raw.error
                self.reviews.append(review_from_row(raw))
            except RowError as error:
                self.bad.append((raw, error))
        if not self.reviews:
            first = (
                f" {Problem.of(self.bad[0][0].file, self.bad[0][0].number, self.bad[0][1])}"
                if self.bad
                else ""
            )
            raise InputError(f"No reviews could be read from {', '.join(map(str, files))}.{first}")
        self._choose_rules()

    def _choose_rules(self) -> None:
        """One rule for all reviews of a source and model: never a separate guess for every row."""
        groups: dict[tuple[str, str], list[Review]] = defaultdict(list)
        for review in self.reviews:
            groups[review.source, review.model].append(review)
        for (source, model), reviews in groups.items():
            rule = self.settings.verdicts
            readable: dict[str, int] = {}
            if rule == "auto":
                rule, readable = best_rule(review.text for review in reviews)
            self.counts[source, model] = Counts(source, model, rule, readable_by=readable)

    def write(self) -> Converted:
        with AtomicLines(self.out, self.left_out_path) as files:
            for raw, error in self.bad:
                self._count_bad(raw)
                detail = str(Problem.of(raw.file, raw.number, error))
                files.write(self.left_out_path, left_out_row(raw, "", LeftOut(BAD_ROW, detail)))
            for review in self.reviews:
                counts = self.counts[review.source, review.model]
                counts.rows += 1
                try:
                    files.write(self.out, chain_row(self._chain(review, counts)))
                    counts.kept += 1
                except LeftOut as why:
                    counts.leave_out(why.reason)
                    files.write(self.left_out_path, left_out_row(review.raw, review.id, why))
        return self._reported()

    def _reported(self) -> Converted:
        done = Converted(self.out, self.out.with_name("convert.json"), self.left_out_path,
                         list(self.counts.values()))  # fmt: skip
        held = {**asdict(self.settings), "max_chars": self.settings.limit, "kept": done.kept}
        write_json(done.report, {**held, "sources": [vars(counts) for counts in done.counts]})
        return done

    def _count_bad(self, raw: Raw) -> None:
        key = (raw.file, "(bad rows)")
        counts = self.counts.setdefault(key, Counts(*key))
        counts.rows += 1
        counts.leave_out(BAD_ROW)

    def _chain(self, review: Review, counts: Counts) -> Chain:
        """The chain of one review; raises LeftOut."""
        if review.licence and review.licence not in self.settings.licences:
            raise LeftOut(LICENCE, review.licence)
        pair = self._pair(review)
        reading = self._read(review, counts)
        right = pair_as_shown(pair, review.order).label == reading.letter
        if not right and self.settings.keep == "right":
            raise LeftOut(NOT_RIGHT, f"says {reading.letter}")
        letter = cast(Label, reading.letter)  # reviews without one were left out above
        text, was_shortened = self._text(review, reading, letter)
        said = parse_verdict(text).shown_label
        faults = find_faults(text, letter)
        if said != letter or faults:
            raise LeftOut(FAULTY, "; ".join(f"{kind}: {detail}" for kind, detail in faults) or "not readable")
        counts.shortened += was_shortened
        counts.kept_not_right += not right
        return Chain(self._own_id(pair, review), review.order, text)

    def _pair(self, review: Review) -> Pair:
        """The labelled pair of a review that is not a repetition."""
        pair = self._find_pair(review)
        if pair.label is None:
            raise LeftOut(NO_LABEL)
        # for a judge, a different number of spaces is not a different response
        if pair.response_a.split() == pair.response_b.split():
            raise LeftOut(SAME_SIDES)
        key = (pair.id, review.order, review.text)
        if key in self.seen:
            raise LeftOut(REPEATED)
        self.seen.add(key)
        return pair

    def _find_pair(self, review: Review) -> Pair:
        if isinstance(review.pair, str):
            if review.pair not in self.pairs:
                raise LeftOut(NO_PAIR, f"{review.pair!r:.80}")
            return self.pairs[review.pair]
        try:
            given = pair_from_row(review.pair)
        except RowError as error:
            raise LeftOut(BAD_ROW, f"pair.{error}") from None
        known = self.pairs.get(given.id) if self.pairs else given
        if known is None:
            raise LeftOut(NO_PAIR, f"{given.id!r:.80}")
        if pair_digest(known) != pair_digest(given):
            raise LeftOut(OTHER_PAIR, f"{given.id!r:.80}")
        return known

    def _read(self, review: Review, counts: Counts) -> Reading:
        """The verdict by the rule of the source, checked against the row's own field and the text's words."""
        reading = read_verdict(review.text, counts.rule)
        if counts.rule == "none" and review.stated:
            reading = Reading(review.stated)
            counts.read_from_field += 1
        elif reading.letter and review.has_stated:
            counts.agrees += reading.letter == review.stated
            counts.disagrees += bool(review.stated) and reading.letter != review.stated
            counts.field_has_none += not review.stated
        elif reading.said == TIE and review.has_stated:
            counts.agrees += not review.stated
            counts.disagrees += bool(review.stated)
        if not reading.letter:
            raise LeftOut(reading.said or reading.reason)
        counts.read += 1
        words = read_verdict(review.text, "sentence")
        if words.said not in ("", reading.letter) or words.reason == CONFLICT:
            other = words.said or "the other side"
            raise LeftOut(CONTRADICTS, f"{counts.rule} reads {reading.letter}, a sentence says {other}")
        return reading

    def _text(self, review: Review, reading: Reading, letter: Label) -> tuple[str, bool]:
        """The chain in the layout, and whether it was shortened; raises LeftOut."""
        limit, style = self.settings.limit, self.settings.style
        if style != "reasoning" and is_ours(review.text, reading):
            whole = _ended(review.text, reading)
            if limit and len(whole) > limit:
                raise LeftOut(TOO_LONG, f"{len(whole)} characters, in the layout already")
            return whole, False
        body = review_body(review.text, reading, style)
        if len(body) < LEAST:
            raise LeftOut(NO_REVIEW, body)
        criteria = criteria_in(body)
        frame = len(in_layout("", letter, style, criteria))
        short = shorten(body, limit - frame) if limit else body
        if short is None:
            raise LeftOut(TOO_LONG, f"{frame + len(body)} characters, no sentence with a judgement fits")
        return in_layout(short, letter, style, criteria), short != body

    def _own_id(self, pair: Pair, review: Review) -> Pair:
        """Several reviews of one pair in one order need separate ids: a chain is identified by id and
        order."""
        self.ids[pair.id, review.order] += 1
        number = self.ids[pair.id, review.order]
        meta = {**pair.meta, "pair": pair.id, "model": review.model, "review": review.id}
        return replace(pair, id=f"{pair.id}#{number}" if number > 1 else pair.id, meta=meta)


def _ended(text: str, reading: Reading) -> str:
    """A text in our layout, without a superfluous closing tag after its verdict."""
    start, end = reading.places[-1]
    marker = text[start:end].split("</answer>")[0] + "</answer>"
    return text[:start] + marker + text[end:]

"""Inspects a data set before training on it: what gives the label away, and which chains would
teach nonsense.

    python -m rmr1_lite data audit pairs.jsonl --out runs/audit

Reads pairs in every format that `prepare` reads, the published sets as released (so that their
leaks show), and chains. Rows are never changed. Findings are stored in audit.json with all rows, and shown
in audit.html with examples.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rmr1_lite.data.chain_checks import find_faults
from rmr1_lite.data.chains import Chain, chain_from_row
from rmr1_lite.data.label_leaks import Row, Signal, find_signals
from rmr1_lite.data.pairs import Problem
from rmr1_lite.data.readers import Raw, read_rows
from rmr1_lite.data.released_sets import WINNERS, chain_of, parse_judge_prompt, recognise_row
from rmr1_lite.data.rows import check_storable, pair_from_row
from rmr1_lite.prompts import pair_as_shown
from rmr1_lite.storage import RowError, atomic_write_text, write_json
from rmr1_lite.types import InputError, Pair
from rmr1_lite.verdict import parse_verdict

Lengths = Callable[[Sequence[Chain]], list[int]]
EXAMPLES = 5  # rows shown of each finding
SIGNALS = 15  # findings printed; the page shows all
LONG = "longer than the limit"


@dataclass(frozen=True)
class Fault:
    """One fault of one chain."""

    kind: str
    id: str
    file: str
    number: int
    detail: str


@dataclass
class Audit:
    """All findings. faults: of chains. problems: rows that could not be read."""

    sources: list[str]
    rows: int = 0
    labelled: int = 0
    chains: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    longer_is_better: float | None = None
    signals: list[Signal] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def alarm(self) -> bool:
        """Whether there are any findings."""
        return bool(self.signals or self.faults or self.problems)

    def text(self) -> str:
        """The findings with a few examples each."""
        labels = ", ".join(f"{name}: {n}" for name, n in sorted(self.labels.items())) or "none stored"
        longer = (
            ""
            if self.longer_is_better is None
            else f"; the longer response is better in {self.longer_is_better:.1%}"
        )
        lines = [
            f"{self.rows} rows: {self.labelled} labelled pairs (labels {labels}{longer}), {self.chains} "
            "chains"
        ]
        for signal in self.signals[:SIGNALS]:
            places = "; ".join(f"{row.file}, row {row.number}" for row in signal.rows[:EXAMPLES])
            lines += [f"- {signal.text()}", f"    {places}" + (" ..." if len(signal.rows) > EXAMPLES else "")]
        more = len(self.signals) - SIGNALS
        lines += [f"- and {more} more, see audit.html"] if more > 0 else []
        for kind, found in by_kind(self.faults).items():
            share = len({(f.file, f.number) for f in found}) / max(1, self.chains)
            lines.append(f"- chains: {kind} ({len(found)}, {share:.1%} of the chains)")
            lines += [f"    {f.file}, row {f.number}: {f.detail}" for f in found[:EXAMPLES]]
        if self.problems:
            lines.append(f"- {len(self.problems)} rows could not be read")
            lines += [f"    {problem}" for problem in self.problems[:EXAMPLES]]
        return "\n".join(
            lines if self.alarm else [*lines, "No label leak and nothing harmful for training was found."]
        )


def by_kind(faults: Iterable[Fault]) -> dict[str, list[Fault]]:
    """Faults of one kind together, the most frequent kind first."""
    kinds: dict[str, list[Fault]] = defaultdict(list)
    for fault in faults:
        kinds[fault.kind].append(fault)
    return dict(sorted(kinds.items(), key=lambda item: -len(item[1])))


def audit(
    sources: Sequence[str | Path],
    max_length: int = 0,
    lengths: Lengths | None = None,
    split: str = "train",
    progress: bool = True,
) -> Audit:
    """Read the sources and look for leaks and faults.

    max_length: longest prompt and chain in tokens, by `lengths`; 0: not checked. Raises InputError when
    a source cannot be read at all.
    """
    from tqdm import tqdm

    if max_length and lengths is None:
        raise InputError("max_length needs a tokenizer. Give --model.")
    found, rows, chains = Audit([str(source) for source in sources]), [], []
    stream = (raw for source in sources for raw in read_rows(source, split))
    for raw in tqdm(stream, "rows", unit="row", disable=not progress):
        found.rows += 1
        row, chain = _read_source_row(raw, found)
        rows += [row] if row else []
        chains += [(raw, chain)] if chain else []
    found.labelled = len(rows)
    found.labels = Counter(row.label for row in rows if row.label)
    uneven = [row for row in rows if len(row.better) != len(row.worse)]
    found.longer_is_better = (
        sum(len(r.better) > len(r.worse) for r in uneven) / len(uneven) if uneven else None
    )
    found.signals = find_signals(rows)
    found.chains += len(chains)
    if max_length and lengths:
        found.faults += _too_long(chains, max_length, lengths)
    return found


def _read_source_row(raw: Raw, found: Audit) -> tuple[Row | None, Chain | None]:
    """The row for the statistics, and the chain if it is valid; problems and faults go to `found`."""
    try:
        if raw.error:
            raise raw.error
        if isinstance(raw.values, dict) and "chain" in raw.values:
            return _own_chain(raw, found)
        if isinstance(raw.values, dict) and "context_messages" in raw.values:
            return _read_published_row(raw, found)
        return _pair_row(raw, found), None
    except RowError as error:
        found.problems.append(Problem.of(raw.file, raw.number, error))
        return None, None


def _own_chain(raw: Raw, found: Audit) -> tuple[Row | None, Chain | None]:
    pair = pair_from_row(
        {name: value for name, value in raw.values.items() if name not in ("chain", "order")}
    )
    text, order = raw.values["chain"], raw.values.get("order")
    if pair.label is None:
        raise RowError("label", "is missing", "give A or B: without it the chain cannot be checked")
    if not isinstance(text, str) or order not in ("ab", "ba"):
        raise RowError(
            "chain" if order in ("ab", "ba") else "order", "is missing or not a text", "write the chain again"
        )
    found.faults += _chain_faults(raw, pair.id, text, pair_as_shown(pair, order).label)
    try:
        return _leak_row(raw, pair), chain_from_row(raw.values)
    except RowError:
        found.chains += 1  # its fault is already recorded
        return _leak_row(raw, pair), None


def _read_published_row(raw: Raw, found: Audit) -> tuple[Row | None, Chain | None]:
    """A published row: its complete prompt is inspected as released, before it is taken
    apart."""
    check_storable(raw.values)
    winner, prompt = raw.values.get("winner"), _joined_contents(raw.values["context_messages"])
    id = f"row {raw.number}"
    if not isinstance(winner, str) or winner not in WINNERS:
        text = winner if isinstance(winner, str) else ""
        found.faults += _chain_faults(raw, id, text, parse_verdict(text).shown_label)
        if not parse_verdict(text).shown_label:
            found.chains += 1
            return None, None
        chain = chain_of(raw.values, id)
        return Row(id, raw.file, raw.number, "", "", prompt, chain.pair.label), chain
    label = WINNERS[winner]
    try:
        _, a, b = parse_judge_prompt(raw.values["context_messages"])
    except RowError as error:
        found.problems.append(Problem.of(raw.file, raw.number, error))
        a = b = ""
    better, worse = (a, b) if label == "A" else (b, a)
    return Row(id, raw.file, raw.number, better, worse, _prompt_without(prompt, a, b), label), None


def _joined_contents(messages: Any) -> str:
    turns = messages if isinstance(messages, list) else []
    return "\n".join(str(turn.get("content", "")) for turn in turns if isinstance(turn, dict))


def _prompt_without(prompt: str, *texts: str) -> str:
    """The prompt without the responses, whose words are compared between the sides."""
    for text in filter(None, texts):
        prompt = prompt.replace(text, " ")
    return prompt


def _pair_row(raw: Raw, found: Audit) -> Row | None:
    """A pair in any known format. Turn counts are checked even if they make the row unusable: they are a
    leak."""
    row = recognise_row(raw.values)
    turns = (1, 1)
    if isinstance(row, dict) and _is_turns(row.get("chosen")) and _is_turns(row.get("rejected")):
        turns = (len(row["chosen"]), len(row["rejected"]))
    try:
        pair = pair_from_row(row)
    except RowError as error:
        if turns == (1, 1):
            raise
        found.problems.append(Problem.of(raw.file, raw.number, error))
        return Row(
            str(row.get("id", f"row {raw.number}")),
            raw.file,
            raw.number,
            _last_content(row["chosen"]),
            _last_content(row["rejected"]),
            turns=turns,
        )
    if pair.label is None:
        return None
    return _leak_row(raw, pair, stored="chosen" not in row, turns=turns)


def _is_turns(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(turn, dict) for turn in value)


def _last_content(turns: list[Any]) -> str:
    return str(turns[-1].get("content", "")) if turns and isinstance(turns[-1], dict) else ""


def _leak_row(raw: Raw, pair: Pair, stored: bool = True, turns: tuple[int, int] = (1, 1)) -> Row | None:
    if pair.label is None:
        return None
    better, worse = (
        (pair.response_a, pair.response_b) if pair.label == "A" else (pair.response_b, pair.response_a)
    )
    prompt = "\n".join(turn["content"] for turn in pair.prompt)
    return Row(pair.id, raw.file, raw.number, better, worse, prompt, pair.label if stored else None, turns)


def _chain_faults(raw: Raw, id: str, chain: str, label: str | None) -> list[Fault]:
    return [Fault(kind, id, raw.file, raw.number, detail) for kind, detail in find_faults(chain, label)]


def _too_long(chains: Sequence[tuple[Raw, Chain]], longest: int, lengths: Lengths) -> list[Fault]:
    counted = lengths([chain for _, chain in chains])
    return [
        Fault(LONG, chain.pair.id, raw.file, raw.number, f"{n} tokens, the limit is {longest}")
        for (raw, chain), n in zip(chains, counted, strict=True)
        if n > longest
    ]


def write_audit(found: Audit, out: str | Path) -> Path:
    """Write audit.json (with file and number of all rows) and audit.html; returns the page."""
    out = Path(out)
    held = {**vars(found), "signals": [_signal_to_json(signal) for signal in found.signals]}
    held |= {
        "faults": [asdict(fault) for fault in found.faults],
        "problems": [asdict(p) for p in found.problems],
    }
    write_json(out / "audit.json", held)
    atomic_write_text(out / "audit.html", _render_page(found))
    return out / "audit.html"


def _signal_to_json(signal: Signal) -> dict[str, Any]:
    """Without the texts: file and number are enough to find the rows."""
    return {
        **vars(signal),
        "rows": [{"file": row.file, "row": row.number, "id": row.id} for row in signal.rows],
    }


def _render_page(found: Audit) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = Path(__file__).with_name("templates")
    environment = Environment(loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("audit.html.j2").render(
        found=found, kinds=by_kind(found.faults), examples=EXAMPLES, cut=_excerpt_around
    )


def _excerpt_around(row: Row, signal: Signal) -> str:
    """The text around the feature in the side that has it."""
    text = {"better": row.better, "worse": row.worse}.get(signal.side, row.prompt)
    at = max(0, text.find(signal.what))
    return f"{'…' if at > 60 else ''}{text[max(0, at - 60) : at + 100]}{'…' if at + 100 < len(text) else ''}"

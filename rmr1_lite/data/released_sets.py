"""The four published RM-R1 sets, read into the kit's own rows.

Their rows hold a complete judge prompt (`context_messages`) and either the chain or the winner (`winner`).
The prompt is split into conversation and responses again, so that the pairs can be swapped, checked, and
shown in any prompt style. That also drops the multi-turn leak of the released data (there B is called
"Chabot" when A is better); `audit` finds it in the original rows.

    python -m rmr1_lite data published distill-sft --out runs/published
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmr1_lite.data.chains import Chain, chain_row
from rmr1_lite.data.pairs import BadRows
from rmr1_lite.data.readers import Raw, read_rows
from rmr1_lite.data.rows import pair_from_row, row_from_pair
from rmr1_lite.data.schemas import kit_row
from rmr1_lite.storage import AtomicLines, RowError
from rmr1_lite.types import InputError, Label, Message, Pair
from rmr1_lite.verdict import parse_verdict


@dataclass(frozen=True)
class Published:
    """One set: hub id, content of `winner`, and the published number of rows."""

    hub_id: str
    holds: str  # "chain" or "winner"
    rows: str


SETS = {
    "distill-sft": Published("gaotang/RM-R1-Distill-SFT", "chain", "8.75 k"),
    "after-distill-rlvr": Published("gaotang/RM-R1-after-Distill-RLVR", "winner", "64,226"),
    "reasoning-rlvr": Published("gaotang/RM-R1-Reasoning-RLVR", "winner", "73 k"),
    "entire-rlvr": Published("gaotang/RM-R1-Entire-RLVR-Train", "winner", "73 k"),
}
WINNERS: dict[str, Label] = {"model_a": "A", "model_b": "B"}
# "Chabot" is the released data's own spelling in some rows
_BOT = r"Cha(?:t)?bot"
_SINGLE = re.compile(
    rf"\[Client Question\]\s*(?P<q>.*?)\s*"
    rf"\[The Start of {_BOT} A's Response\]\s*(?P<a>.*?)\s*\[The End of {_BOT} A's Response\]\s*"
    rf"\[The Start of {_BOT} B's Response\]\s*(?P<b>.*?)\s*\[The End of {_BOT} B's Response\]",
    re.DOTALL,
)
_MULTI = re.compile(
    rf"\[The Start of the Conversation between {_BOT} A and the Client\]\s*(?P<a>.*?)\s*"
    rf"\[The End of the Conversation between {_BOT} A and the Client\]\s*"
    rf"\[The Start of the Conversation between {_BOT} B and the Client\]\s*(?P<b>.*?)\s*"
    rf"\[The End of the Conversation between {_BOT} B and the Client\]",
    re.DOTALL,
)
_TURN = re.compile(rf"^(User|{_BOT} [AB]):[ \t]?", re.MULTILINE)


def pair_row(values: Any) -> Any:
    """A published RLVR row as one of the kit's rows; other rows stay as they are."""
    if not isinstance(values, dict) or "context_messages" not in values:
        return values
    winner = values.get("winner")
    if not isinstance(winner, str) or winner not in WINNERS:
        raise RowError(
            "winner",
            f"is {winner!r:.40}",
            "give model_a or model_b; a set of chains is read by `data published`",
        )
    prompt, a, b = parse_judge_prompt(values["context_messages"])
    others = {name: value for name, value in values.items() if name not in ("context_messages", "winner")}
    return {**others, "prompt": list(prompt), "response_a": a, "response_b": b, "label": WINNERS[winner]}


def chain_of(values: Any, id: str) -> Chain:
    """The chain of a row of distill-sft; its own verdict is the label."""
    if (
        not isinstance(values, dict)
        or not isinstance(values.get("winner"), str)
        or "context_messages" not in values
    ):
        raise RowError(
            "(row)",
            "is not a row of the published chains",
            "rows hold context_messages and winner, the chain",
        )
    prompt, a, b = parse_judge_prompt(values["context_messages"])
    text = values["winner"].strip()
    found = parse_verdict(text)
    if found.shown_label is None:
        raise RowError(
            "winner",
            f"has no verdict ({found.status})",
            "leave it out: SFT must not learn chains without one",
        )
    return Chain(Pair(id, prompt, a, b, found.shown_label), "ab", text)


def parse_judge_prompt(messages: Any) -> tuple[tuple[Message, ...], str, str]:
    """Conversation and both responses of a published judge prompt; RowError unless each marker appears
    exactly once."""
    text = _user_text(messages)
    found = [match for pattern in (_SINGLE, _MULTI) for match in pattern.finditer(text)]
    if len(found) != 1 or len(re.findall(r"\[The Start of ", text)) != 2:
        raise RowError(
            "context_messages",
            "does not have exactly one pair between the published markers",
            "leave the row out",
        )
    match = found[0]
    if "q" in match.groupdict():
        question, a, b = match["q"], match["a"], match["b"]
        return ({"role": "user", "content": question},), a, b
    left, right = (_turns(match[side]) for side in "ab")
    if left[:-1] != right[:-1] or not left[:-1]:
        raise RowError(
            "context_messages", "its two conversations differ before the last turn", "leave the row out"
        )
    return tuple(left[:-1]), left[-1]["content"], right[-1]["content"]


def _user_text(messages: Any) -> str:
    turns = (
        [t for t in messages if isinstance(t, dict) and t.get("role") == "user"]
        if isinstance(messages, list)
        else []
    )
    if len(turns) != 1 or not isinstance(turns[0].get("content"), str):
        raise RowError(
            "context_messages",
            "does not have exactly one user turn",
            'give [{"role": "system"}, {"role": "user"}]',
        )
    return turns[0]["content"]


def _turns(text: str) -> list[Message]:
    starts = list(_TURN.finditer(text))
    ends = [match.start() for match in starts[1:]] + [len(text)]
    turns: list[Message] = [
        {"role": "user" if match[1] == "User" else "assistant", "content": text[match.end() : end].strip()}
        for match, end in zip(starts, ends, strict=True)
    ]
    roles = [turn["role"] for turn in turns]
    if (
        len(roles) < 2
        or roles != ["user", "assistant"] * (len(roles) // 2)
        or text[: starts[0].start()].strip()
    ):
        raise RowError(
            "context_messages", "its turns do not alternate between User and a chatbot", "leave the row out"
        )
    return turns


def write_published(
    name: str, out: str | Path, source: str | None = None, split: str = "train", on_bad_row: str = "skip"
) -> dict[str, Any]:
    """Write chains.jsonl or train.jsonl (and problems.jsonl) of one set; returns its counts.

    source: a local copy instead of the hub id. Raises InputError for an unknown set, or when no row can be
    used.
    """
    from tqdm import tqdm

    if name not in SETS:
        raise InputError(f"set is {name!r}. Choose one of {', '.join(SETS)}.")
    holds, out = SETS[name].holds, Path(out)
    data, faults = out / ("chains.jsonl" if holds == "chain" else "train.jsonl"), out / "problems.jsonl"
    counts: dict[str, Any] = {"rows": 0, "kept": 0, "A": 0, "B": 0, "said_to_have": SETS[name].rows}
    with AtomicLines(data, faults) as files:
        bad = BadRows(on_bad_row, files, faults)
        for raw in tqdm(read_rows(source or SETS[name].hub_id, split), name, unit="row"):
            counts["rows"] += 1
            try:
                # row numbers start again in every file of a set
                row = _row(raw, f"{name}-{counts['rows']}", holds)
                files.write(data, row)
                counts["kept"] += 1
                counts[row["label"]] += 1
            except RowError as error:
                bad.add(raw.file, raw.number, error)
        if not counts["kept"]:
            raise InputError(
                f"{source or SETS[name].hub_id}: no usable rows. Check that it is the set {name}."
            )
    return {**counts, "left_out": bad.count, "problems": list(map(str, bad.first)), "file": str(data)}


def _row(raw: Raw, id: str, holds: str) -> dict[str, Any]:
    if raw.error:
        raise raw.error
    if holds == "chain":
        return chain_row(chain_of(raw.values, id))
    return row_from_pair(pair_from_row({**_need_dict(pair_row(raw.values)), "id": id}))


def _need_dict(row: Any) -> dict[str, Any]:
    if not isinstance(row, dict) or "context_messages" in row:
        raise RowError("(row)", "is not a row of the published sets", "rows hold context_messages and winner")
    return row


def recognise_row(values: Any) -> Any:
    """Any known row: the published layout, or one of the common formats."""
    return pair_row(values) if isinstance(values, dict) and "context_messages" in values else kit_row(values)

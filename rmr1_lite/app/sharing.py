"""Shares a judgment as a file, as a link that contains it, or as Markdown. Nothing is sent automatically.

The link holds the compressed judgment after its #, the part of an address that browsers never send to a
server. Opening it requires this app at that address. An opened file or link is
checked field by field, limited in size, and shown as text; nothing in it is run or loaded.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import zlib
from typing import Any

from rmr1_lite.app.service import MAX_CHARS, MAX_TURNS
from rmr1_lite.types import ORDERS, STATUSES, InputError

FORMAT, VERSION = "rmr1_lite judgment", 1
MARK = "#judgment="
MAX_BYTES = 500_000
MAX_LINK = 8_000  # characters; mail and chat programs truncate longer ones
MAX_TEXT = 100_000  # characters of one judge text
REMEDY = "Open a file made with “Save as file”."


def as_file(row: dict[str, Any]) -> str:
    """The judgment as the text of a file that `read_file` reads."""
    kept = {name: row[name] for name in FIELDS}
    return json.dumps({"format": FORMAT, "version": VERSION, **kept}, ensure_ascii=False, indent=1) + "\n"


def as_link(row: dict[str, Any]) -> str:
    """The judgment as the part of an address after its #; "" when it is too long for a link."""
    packed = zlib.compress(as_file(row).encode(), 9)
    made = MARK + base64.urlsafe_b64encode(packed).decode().rstrip("=")
    return made if len(made) <= MAX_LINK else ""


def read_file(data: bytes) -> dict[str, Any]:
    """The row of a saved judgment. Raises InputError that names what is wrong."""
    if len(data) > MAX_BYTES:
        raise InputError(f"The file has {len(data):,} bytes. A saved judgment has at most {MAX_BYTES:,}.")
    try:
        values = json.loads(data.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise InputError(f"This is not a saved judgment: the text is not JSON in UTF-8. {REMEDY}") from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise InputError(f"This is not a saved judgment: format is not {FORMAT!r}. {REMEDY}")
    if values.get("version") != VERSION or isinstance(values["version"], bool):
        raise InputError(
            f"This judgment has version {values.get('version')!r:.20}, this page reads version {VERSION}. "
            "Use the version of rmr1_lite that saved it."
        )
    row = {name: value for name, value in values.items() if name not in ("format", "version")}
    if odd := sorted(set(row) ^ set(FIELDS)):
        known = "is missing" if odd[0] in FIELDS else "is unknown"
        raise InputError(f"This is not a saved judgment: the field {odd[0]!r:.40} {known}. {REMEDY}")
    for name, check in FIELDS.items():
        if not check(row[name]):
            raise InputError(f"This is not a saved judgment: the field {name!r} cannot be read. {REMEDY}")
    _check_verdict(row)
    return {"kind": "compare", **row}


def read_link(fragment: str) -> dict[str, Any]:
    """The row of a link's part from its # on. Raises InputError as `read_file` does."""
    if len(fragment) > MAX_LINK or not fragment.startswith(MARK):
        raise InputError(f"The link is incomplete or longer than {MAX_LINK:,} characters. Ask for the file.")
    text = fragment.removeprefix(MARK)
    try:
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars="-_", validate=True)
        unpacking = zlib.decompressobj()
        # a few bytes can unpack to gigabytes: unpack at most the size limit of a file
        data = unpacking.decompress(packed, MAX_BYTES + 1)
    except (binascii.Error, ValueError, zlib.error):
        raise InputError("The link is damaged. Copy all of it, or ask for the file.") from None
    if len(data) <= MAX_BYTES and not unpacking.eof:
        raise InputError("The link is incomplete. Copy all of it, or ask for the file.")
    return read_file(data)


def as_markdown(row: dict[str, Any], headline: str) -> str:
    """The judgment for an issue, a note or a mail; texts are in fences that they cannot close."""
    parts = [f"# Judgment by {_one_line(row['judge'])}", f"**{headline}**"]
    for turn in row["prompt"][:-1]:
        parts += [f"## Earlier turn: {turn['role']}", _fenced(turn["content"])]
    for title, text in (
        ("Question", row["prompt"][-1]["content"]),
        ("Response A", row["response_a"]),
        ("Response B", row["response_b"]),
    ):
        parts += [f"## {title}", _fenced(text)]
    for look in row["looks"]:
        order = "As typed" if look["order"] == "ab" else "Swapped order"
        said = f"Response {look['label']}" if look["label"] else f"no verdict ({look['status']})"
        parts += [f"## {order}: {said}", _fenced(look["text"])]
    return "\n\n".join(parts) + "\n"


def _fenced(text: str) -> str:
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", text)), default=0))
    return f"{fence}text\n{text}\n{fence}"


def _one_line(text: str) -> str:
    return f"`{' '.join(text.replace('`', ' ').split())}`"


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _is_text(value: Any, most: int, empty: bool = False) -> bool:
    if not isinstance(value, str) or len(value) > most or not (empty or value.strip()):
        return False
    # half of a surrogate pair is valid in JSON but cannot be sent to a browser
    return not any(0xD800 <= ord(letter) <= 0xDFFF for letter in value)


def _is_number(value: Any, low: float, high: float = math.inf) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high


def _is_prompt(value: Any) -> bool:
    return (
        isinstance(value, list)
        and 1 <= len(value) <= MAX_TURNS + 1
        and all(isinstance(turn, dict) and set(turn) == {"role", "content"} for turn in value)
        and all(turn["role"] in ("system", "user", "assistant") for turn in value)
        and all(_is_text(turn["content"], MAX_CHARS) for turn in value)
    )


def _are_looks(value: Any) -> bool:
    return (
        isinstance(value, list)
        and 1 <= len(value) <= len(ORDERS)
        and all(
            isinstance(look, dict) and set(look) == {"order", "status", "label", "text"} for look in value
        )
        and [look["order"] for look in value] == list(ORDERS[: len(value)])
        and all(look["status"] in STATUSES and look["label"] in ("A", "B", None) for look in value)
        and all((look["status"] == "ok") == (look["label"] is not None) for look in value)
        and all(_is_text(look["text"], MAX_TEXT, empty=True) for look in value)
    )


def _check_verdict(row: dict[str, Any]) -> None:
    """Check that the headline of a file matches its two orders."""
    labels = [look["label"] for look in row["looks"]]
    verdict = labels[0] if len(set(labels)) == 1 else None
    flipped = None not in labels and len(set(labels)) == 2
    if (row["verdict"], row["flipped"]) != (verdict, flipped):
        raise InputError(f"This is not a saved judgment: the verdict does not match its orders. {REMEDY}")


# field -> check that its value can be shown
FIELDS: dict[str, Any] = {
    "judge": lambda value: _is_text(value, 400),
    "prompt": _is_prompt,
    "response_a": lambda value: _is_text(value, MAX_CHARS),
    "response_b": lambda value: _is_text(value, MAX_CHARS),
    "verdict": lambda value: value in ("A", "B", None),
    "flipped": lambda value: isinstance(value, bool),
    "probability_a": lambda value: value is None or _is_number(value, 0, 1),
    "probability_source": lambda value: _is_text(value, 40, empty=True),
    "seconds": lambda value: _is_number(value, 0, 1e7),
    "tokens": lambda value: value is None or isinstance(value, int) and _is_number(value, 0, 1e7),
    "looks": _are_looks,
}

"""Tables, judged pairs, chains and masks as HTML in a notebook. Everything a model or a person wrote is
escaped.

The blocks are those of the app, so that a chain looks the same in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment

from rmr1_lite.app import html as blocks
from rmr1_lite.app.service import Progress
from rmr1_lite.evaluation.calibration import Calibration
from rmr1_lite.evaluation.results import Results
from rmr1_lite.reporting.judges_table import COLUMNS, judge_rows
from rmr1_lite.types import Judgment, Pair
from rmr1_lite.verdict import parse_verdict

STYLES = (Path(blocks.__file__).with_name("style.css"), Path(__file__).with_name("style.css"))
FRAME = '<style>{{ css }}</style><div class="rm-book">{{ body }}</div>'
PAIR = """<div class="rm-pair"><div class="rm-box rm-wide"><h4>{{ head }}</h4>
<div class="rm-text">{{ asked }}</div></div>
{% for letter, text, good in sides %}<div class="rm-box{{ ' rm-good' if good }}"><h4>Response {{ letter }}
{{ '(better)' if good }}</h4><div class="rm-text">{{ text }}</div></div>{% endfor %}</div>"""
MASK = """<div class="rm-box">
<h4>grey: prompt, no loss ({{ before }} tokens); green: chain, loss ({{ after }} tokens)</h4>
<div class="rm-tokens"><span class="rm-off">{{ prompt }}</span><span
class="rm-on">{{ chain }}</span></div></div>"""
_ENVIRONMENT = Environment(autoescape=True)
_PAIR, _MASK = _ENVIRONMENT.from_string(PAIR), _ENVIRONMENT.from_string(MASK)
_FRAME = Environment(autoescape=False).from_string(FRAME)  # noqa: S701 - takes finished, escaped blocks only


def html(body: str) -> Any:
    """A finished block as a notebook output."""
    from IPython.display import HTML

    return HTML(_FRAME.render(body=body, css="".join(path.read_text(encoding="utf-8") for path in STYLES)))


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "", words: bool = False) -> Any:
    """A table; the first column names the row. words: the other columns hold words, not numbers."""
    made = blocks.table(head, rows, caption)
    return html(f'<div class="rm-words">{made}</div>' if words else made)


def pair(shown: Pair) -> Any:
    """One question with its two responses; the better one is marked when it is known."""
    asked = "\n\n".join(_turn(turn) for turn in shown.prompt)
    sides = [
        (letter, text, letter == shown.label)
        for letter, text in (("A", shown.response_a), ("B", shown.response_b))
    ]
    return html(_PAIR.render(head=shown.section or "Question", asked=asked, sides=sides))


def _turn(turn: Any) -> str:
    return turn["content"] if turn["role"] == "user" else f"({turn['role']}) {turn['content']}"


def chain(text: str, head: str = "") -> Any:
    """One judge's text as readable blocks."""
    return html(blocks.one_text(text, parse_verdict(text), head))


def judgment(judged: Judgment, head: str = "") -> Any:
    """One judge on one pair, in every order judged."""
    return html(block(judged, head))


def side_by_side(judged: dict[str, Judgment]) -> Any:
    """Several judges on the same pair, in columns."""
    return html(blocks.side_by_side([block(each, name) for name, each in judged.items()]))


def block(judged: Judgment, head: str = "") -> str:
    """The app's block of a finished judgment."""
    looks = {look.order: look for look in judged.looks}
    texts = {order: look.generation.text for order, look in looks.items()}
    seconds = sum(look.generation.seconds for look in judged.looks)
    return blocks.judgment(Progress(head or "judge", texts, looks, seconds=seconds, done=True), head)


def mask(row: dict[str, Any], tokenizer: Any) -> Any:
    """What the SFT loss covers, as the tokenizer sees the row."""
    ids, first = row["input_ids"], row["completion_mask"].index(1)
    return html(
        _MASK.render(
            before=first,
            after=len(ids) - first,
            prompt=tokenizer.decode(ids[:first]),
            chain=tokenizer.decode(ids[first:]),
        )
    )


def judges(results: Results, caption: str = "") -> Any:
    """Every baseline and stage of a results.json."""
    return table(COLUMNS, [row.cells for row in judge_rows(results)], caption)


def image(png: bytes, width: int = 760) -> Any:
    """A PNG, no wider than a page."""
    from IPython.display import Image

    return Image(data=png, width=width)


def memory_in_use() -> str:
    """Memory in use: of the card if there is one, else of this process."""
    import torch

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        peak = torch.cuda.max_memory_allocated() / 2**30
        return (
            f"GPU memory: {(total - free) / 2**30:.1f} of {total / 2**30:.1f} GiB in use, peak of this "
            f"kernel {peak:.1f} GiB"
        )
    import resource
    import sys

    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes
    return (
        "Memory: peak of this kernel "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30:.1f} GiB (no GPU)"
    )


def reliability(found: Calibration, source: str) -> Any:
    """The reliability diagram of a `Calibration`."""
    from rmr1_lite.reporting.plots import reliability_png

    return image(reliability_png(found.bins, f"Confidence by {source}"), 440)

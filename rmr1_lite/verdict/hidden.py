"""The parts of a judge's text in which no verdict counts: thoughts, with any marks, and closed quotes."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator

from rmr1_lite.verdict.sections import QUOTES

Span = tuple[int, int]

# Marks around thoughts, as families: only the same family closes what one opens.
_THOUGHTS = (
    (r"<think>", r"</think>"),  # DeepSeek-R1, Qwen3, this kit
    (r"<(?:thinking|thoughts?|reasoning|reason)>", r"</(?:thinking|thoughts?|reasoning|reason)>"),  # prompted
    (r"\[THINK\]", r"\[/THINK\]"),  # Magistral
    (r"<seed:think>", r"</seed:think>"),  # Seed-OSS
    (r"◁think▷", r"◁/think▷"),  # Kimi
    (r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),  # Sky-T1, OpenThinker
    (r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),  # Command A
    (r"<unused94>(?:thought\b)?", r"<unused95>"),  # MedGemma
    (r"<\|channel>thought\b", r"<channel\|>"),  # Gemma 4
    # harmony: everything before the final channel; a thought may be split into several messages
    (r"<\|channel\|>(?:analysis|commentary)\b", r"<\|channel\|>final\b"),  # gpt-oss
)
_MARKS = re.compile(
    r"(?=[<\[◁])(?:"  # every mark begins with one of these
    + "|".join(f"(?P<o{n}>{opens})|(?P<c{n}>{closes})" for n, (opens, closes) in enumerate(_THOUGHTS))
    + f"|</?(?P<quote>{'|'.join(QUOTES)})>)",
    re.IGNORECASE,
)
_CASED = re.compile(rf"</?(?:{'|'.join(QUOTES)}|think)>")


def without_thought(text: str) -> str:
    """The text after the thought that it begins with, whatever its marks; a closing mark without an opening
    ends one too. A text that is only a thought, or does not begin with one, stays as it is."""
    hidden = Hidden(text, False)
    end = hidden.end_of_head(text)
    rest = re.sub(r"\A\s*(?:<\|message\|>)?", "", text[end:]).strip()
    return rest if end and rest else text.strip()


class Hidden:
    """Where no verdict counts: thoughts, even unclosed ones, and closed quotes.

    A second `</quote_A>` without its own opening shows that the first one came from the quoted response,
    so the quote reaches to the last of them. A closing mark of a thought without an opening ends a thought
    that began the text: the chat template had written its opening.
    """

    def __init__(self, text: str, thought_open: bool) -> None:
        marks = list(_read_marks(text))
        # a quote counts only if it is closed somewhere behind its opening
        last_close = {name: start for name, closes, start, _ in marks if closes}
        # the template may have opened the thought before the text begins; any family's mark may close it
        inside, begun = (_TEMPLATE, 0) if thought_open else (None, 0)
        spans: list[Span] = []
        written = len(text.rstrip())
        quote_start: dict[str, int] = {}
        for name, closes, start, end in marks:
            quote = name in QUOTES
            opens = not quote or last_close.get(name, -1) > start
            # 1. the end of a quote, wherever it is: quoted text may open a thought to hide it
            if closes and name in quote_start:
                spans.append((quote_start[name], end))
            # 2. the end of a thought, also one without an opening, which began the text
            # (unless it ends the text: then it is a stray mark, and the answer came before it)
            elif closes and not quote and (inside in (name, _TEMPLATE) or not inside and end < written):
                spans.append((begun if inside else 0, end))
            # 3. an opening, unless something is open already: nested marks hide nothing
            elif not closes and inside is None and opens:
                inside, begun = name, start
                quote_start |= {name: start} if quote else {}
            # 4. the open part is closed
            inside = None if closes and (name == inside or inside == _TEMPLATE and not quote) else inside
        # 5. what is open at the end hides the rest of the text
        if inside is not None:
            spans.append((begun, len(text)))
        self._starts, self._ends = _merge_spans(spans)

    def end_of_head(self, text: str) -> int:
        """End of the thought that the text begins with, 0 without one. A quote is not a thought."""
        head = bool(self._starts) and not text[: self._starts[0]].strip()
        return self._ends[0] if head and not text.lstrip().startswith(tuple(f"<{q}>" for q in QUOTES)) else 0

    def visible(self, text: str) -> str:
        """The text with hidden parts replaced by line ends: positions stay, and no sentence spans them."""
        pieces, at = [], 0
        for start, end in zip(self._starts, self._ends, strict=True):
            pieces += [text[at:start], "\n" * (end - start)]
            at = end
        return "".join([*pieces, text[at:]])

    def covers(self, position: int) -> bool:
        at = bisect_right(self._starts, position) - 1
        return at >= 0 and position < self._ends[at]


_TEMPLATE = "opened by the template"


def _read_marks(text: str) -> Iterator[tuple[str, bool, int, int]]:
    """(name, closes, start, end) of every mark, in order."""
    for found in _MARKS.finditer(text):
        kind = found.lastgroup or ""
        if kind == "quote" or kind in ("o0", "c0"):
            # the kit's own tags are exact: in another case they are plain text
            if not _CASED.fullmatch(found.group()):
                continue
        if kind == "quote":
            yield found["quote"], found.group().startswith("</"), found.start(), found.end()
        else:
            yield f"thought {kind[1:]}", kind[0] == "c", found.start(), found.end()


def _merge_spans(spans: list[Span]) -> tuple[list[int], list[int]]:
    """Starts and ends of the union, sorted."""
    starts: list[int] = []
    ends: list[int] = []
    for start, end in sorted(spans):
        if ends and start <= ends[-1]:
            ends[-1] = max(ends[-1], end)
        else:
            starts.append(start)
            ends.append(end)
    return starts, ends

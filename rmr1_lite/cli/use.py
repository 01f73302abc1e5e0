"""The commands that judge given texts: compare, rank, best-of.

python -m rmr1_lite compare --prompt "Sort d a c from first to last." --a first.txt --b second.txt
python -m rmr1_lite best-of --prompt-file question.txt answer1.txt answer2.txt answer3.txt --json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from rmr1_lite.cli.judge_options import JUDGE_HELP, MAX_NEW_TOKENS_HELP, READING_HELP, ReadingName
from rmr1_lite.config import THINKING_HELP, StyleName, Thinking
from rmr1_lite.exit_status import PartlyDone
from rmr1_lite.types import NOT_JUDGED, InputError

if TYPE_CHECKING:
    from rmr1_lite.api.pairwise import PairwiseJudge
    from rmr1_lite.api.results import Comparison, Ranked
    from rmr1_lite.types import Pair

STDIN = "-"
PromptText = Annotated[Optional[str], typer.Option("--prompt", help="the user's request")]
PromptFile = Annotated[
    Optional[Path], typer.Option(help="file with the request, instead of --prompt; - is standard input")
]
JudgeSpec = Annotated[str, typer.Option("--judge", "--model", help=JUDGE_HELP)]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON, with every chain")]
Style = Annotated[StyleName, typer.Option(help="prompt style")]
Reading = Annotated[ReadingName, typer.Option(help=READING_HELP)]
ThinkingSwitch = Annotated[Thinking, typer.Option(help=THINKING_HELP)]
Votes = Annotated[int, typer.Option(help="judge calls per order; more than one needs a temperature")]
Temperature = Annotated[float, typer.Option(help="0 is greedy")]
MaxNewTokens = Annotated[Optional[int], typer.Option(help=MAX_NEW_TOKENS_HELP)]
BatchSize = Annotated[int, typer.Option(help="judge calls per batch")]
FourBit = Annotated[bool, typer.Option(help="load a local model in 4 bits (NF4); otherwise as stored")]
Files = Annotated[list[Path], typer.Argument(help="one text file for each response; - is standard input")]


def compare(
    a: Annotated[Optional[Path], typer.Option("--a", help="text file with the first response")] = None,
    b: Annotated[Optional[Path], typer.Option("--b", help="text file with the second response")] = None,
    prompt: PromptText = None,
    prompt_file: PromptFile = None,
    judge: JudgeSpec = "nano",
    as_json: AsJson = False,
    chains: Annotated[bool, typer.Option(help="also print the judge's texts")] = False,
    style: Style = "auto",
    thinking: ThinkingSwitch = "auto",
    reading: Reading = ReadingName.auto,
    votes: Votes = 1,
    temperature: Temperature = 0.0,
    max_new_tokens: MaxNewTokens = None,
    batch_size: BatchSize = 8,
    four_bit: FourBit = True,
    former: Annotated[Optional[list[str]], typer.Argument(hidden=True)] = None,
    out: Annotated[Optional[str], typer.Option(hidden=True)] = None,
) -> None:
    """Judge two responses in both orders: --prompt with --a and --b, or rows of pairs on standard input. Exit
    status 2: some judge calls failed."""
    _refuse_former(former, out)
    pairs = _pairs(prompt, prompt_file, a, b)
    loaded = _load(judge, style, thinking, reading, votes, temperature, max_new_tokens, batch_size, four_bit)
    found = loaded.compare_many(pairs, votes=votes, progress=len(pairs) > 8 and not as_json)
    for comparison in found:
        if as_json:
            print(json.dumps(comparison.to_dict(), ensure_ascii=False))
        else:
            _print_comparison(comparison, named=len(found) > 1, chains=chains)
    _end(sum(call.status in NOT_JUDGED for c in found for call in c.calls))


def rank(
    files: Files,
    prompt: PromptText = None,
    prompt_file: PromptFile = None,
    judge: JudgeSpec = "nano",
    as_json: AsJson = False,
    style: Style = "auto",
    thinking: ThinkingSwitch = "auto",
    reading: Reading = ReadingName.auto,
    votes: Votes = 1,
    temperature: Temperature = 0.0,
    max_new_tokens: MaxNewTokens = None,
    batch_size: BatchSize = 8,
    four_bit: FourBit = True,
) -> None:
    """Order responses by a round robin of all pairs in both orders. Exit status 2: some judge calls
    failed."""
    question, texts = _question(prompt, prompt_file), [_read(path) for path in files]
    _check(question, texts, files)
    loaded = _load(judge, style, thinking, reading, votes, temperature, max_new_tokens, batch_size, four_bit)
    found = loaded.rank(question, texts, votes=votes)
    if as_json:
        print(json.dumps({"files": [str(f) for f in files], **found.to_dict()}, ensure_ascii=False))
    else:
        _print_ranking(found, files)
    _end(found.failed)


def best_of(
    files: Files,
    prompt: PromptText = None,
    prompt_file: PromptFile = None,
    judge: JudgeSpec = "nano",
    as_json: AsJson = False,
    style: Style = "auto",
    thinking: ThinkingSwitch = "auto",
    reading: Reading = ReadingName.auto,
    votes: Votes = 1,
    temperature: Temperature = 0.0,
    max_new_tokens: MaxNewTokens = None,
    batch_size: BatchSize = 8,
    four_bit: FourBit = True,
) -> None:
    """Find the best response by a knockout, with far fewer judge calls than rank. Exit status 2: some judge
    calls failed."""
    question, texts = _question(prompt, prompt_file), [_read(path) for path in files]
    _check(question, texts, files)
    loaded = _load(judge, style, thinking, reading, votes, temperature, max_new_tokens, batch_size, four_bit)
    found = loaded.best_of(question, texts, votes=votes)
    cost = f"{found.calls} judge calls, {found.saved} fewer than a round robin; {found.unparsed} unparsed"
    if as_json:
        print(json.dumps({"files": [str(f) for f in files], **found.to_dict()}, ensure_ascii=False))
    elif found.best is not None:
        print(f"{files[found.best]} is best ({cost})")
    else:
        print(f"No best response: {', '.join(str(files[k]) for k in found.level)} are tied ({cost})")
    _end(found.failed)


def _refuse_former(former: list[str] | None, out: str | None) -> None:
    """`compare FOLDER FOLDER --out DIR` has been renamed."""
    if former or out:
        line = " ".join([*(former or ["FOLDER", "FOLDER"]), *(["--out", out] if out else [])])
        raise InputError(
            "compare now judges two responses. To compare evaluations: "
            f"python -m rmr1_lite compare-runs {line}"
        )


def _pairs(prompt: str | None, prompt_file: Path | None, a: Path | None, b: Path | None) -> list[Pair]:
    """The pair of the options, or the rows on standard input if there are none; checked before a model is
    loaded."""
    from rmr1_lite.api.inputs import check_items, check_pair

    given = {"--a": a, "--b": b, "--prompt": prompt if prompt is not None else prompt_file}
    missing = [name for name, value in given.items() if value is None]
    if a is not None and b is not None and not missing:
        return [check_pair(_question(prompt, prompt_file), _read(a), _read(b))]
    if len(missing) < len(given):
        raise InputError(f"Missing: {' and '.join(missing)}. Give --prompt (or --prompt-file), --a and --b.")
    if sys.stdin.isatty():
        raise InputError(
            "Nothing to compare. Give --prompt, --a and --b, or rows of pairs on standard input."
        )
    return check_items(_rows(_decoded(sys.stdin.buffer.read(), "Standard input")))


def _rows(text: str) -> list[dict[str, Any]]:
    """JSON lines, or one JSON object over several lines."""
    try:
        return [json.loads(text)]
    except ValueError:
        pass
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise InputError(
                    f"standard input, line {number}: {error}. Give one JSON object per line."
                ) from None
    if not rows:
        raise InputError(
            'Standard input is empty. Give rows like {"prompt": .., "response_a": .., "response_b": ..}.'
        )
    return rows


def _question(prompt: str | None, prompt_file: Path | None) -> str:
    if (prompt is None) == (prompt_file is None):
        raise InputError("Give either --prompt TEXT or --prompt-file FILE.")
    return prompt if prompt is not None else _read(prompt_file)  # type: ignore[arg-type]


def _read(path: Path) -> str:
    """A UTF-8 text file. One line break at the end belongs to the file, not to the text."""
    try:
        raw = sys.stdin.buffer.read() if str(path) == STDIN else path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}). Give a text file.") from None
    text = _decoded(raw, str(path))
    if not text.strip():
        raise InputError(f"{path} is empty. Give a file with the text.")
    return text.removesuffix("\n").removesuffix("\r")


def _decoded(raw: bytes, name: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{name} is not UTF-8. Save it as UTF-8 text.") from None


def _load(
    judge: str,
    style: str,
    thinking: str,
    reading: ReadingName,
    votes: int,
    temperature: float,
    max_new_tokens: int | None,
    batch_size: int,
    four_bit: bool,
) -> PairwiseJudge:
    from rmr1_lite.api.pairwise import load_judge
    from rmr1_lite.judging.judge import check_votes

    check_votes(votes, temperature)
    return load_judge(
        judge,
        style=style,
        thinking=thinking,
        reading=reading.value,
        temperature=temperature,
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
        four_bit=four_bit,
    )


def _check(question: str, texts: list[str], files: list[Path]) -> None:
    """Raise an InputError that names files, not positions in a list, before a model is loaded."""
    from rmr1_lite.api.inputs import check_candidates

    try:
        check_candidates(question, texts)
    except InputError as error:
        words = str(error)
        for place, path in enumerate(files):
            words = words.replace(f"responses[{place}]", str(path))
        raise InputError(words) from None


def _print_comparison(comparison: Comparison, named: bool, chains: bool) -> None:
    print(f"{comparison.pair.id}: {comparison}" if named else str(comparison))
    for call in comparison.calls if chains else ():
        shown = "A first" if call.order == "ab" else "B first"
        print(f"\n[{shown}: {call.winner or call.status}]\n{call.text}")


def _print_ranking(found: Ranked, files: list[Path]) -> None:
    for place, group in enumerate(found.places, 1):
        for k in group:
            print(f"{place}. {files[k]} ({found.scores[k]:+.2f})")
    for k, score in enumerate(found.scores):
        if score is None:
            print(f"-  {files[k]} (no parsed judge call)")
    if found.best is None:
        print("No best response: the first place is tied, or the calls connect too few responses.")
    print(f"{found.calls} judge calls, {found.unparsed} unparsed. Scores are log-strengths (Bradley-Terry).")


def _end(failed: int) -> None:
    if failed:
        raise PartlyDone(f"{failed} judge calls failed")

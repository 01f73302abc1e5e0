"""The verdict parser: one table row per way in which a judge's text can go right or wrong, each with its
reason."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmr1_lite.prompts import make_inert
from rmr1_lite.types import STATUSES, InputError
from rmr1_lite.verdict import READINGS, SECTIONS, parse_verdict
from rmr1_lite.verdict.hidden import without_thought

A, B = "<answer>[[A]]</answer>", "<answer>[[B]]</answer>"
CHAT = (
    "<type>Chat</type>\n<rubric>clarity 60 %, warmth 40 %\n<justify>a worried client</justify></rubric>\n"
    "<eval><quote_A>Sit down.</quote_A> <summary_A>curt</summary_A>\n<quote_B>Take your time.</quote_B> "
    "<summary_B>warm</summary_B>\nB meets both.</eval>\n"
)
SOLVED = "<type>Reasoning</type>\n<solution>2 + 2 = 4</solution>\n<eval>A says 4, B says 5.</eval>\n"
LONG = (
    "This sentence only takes up room so that the tail is far away from what came before it, and then "
    "some more. "
)

# reason, text, flags, expected (strict, lenient, paper): a letter, or the status that says why there is none
ROWS = [
    ("a chat chain", CHAT + B, {}, "B", "B", "B"),
    ("a reasoning chain", SOLVED + A, {}, "A", "A", "A"),
    ("white space after the verdict is no trailing text", CHAT + B + " \n\n", {}, "B", "B", "B"),
    (
        "original: inner white space defeats the exact string",
        "<answer> [[ A ]]\n</answer>",
        {},
        "A",
        "A",
        "missing",
    ),
    (
        "original: long commentary pushes the verdict out of the tail",
        CHAT + B + LONG,
        {},
        "trailing",
        "B",
        "missing",
    ),
    ("original: short commentary slips through", CHAT + B + " Done.", {}, "trailing", "B", "B"),
    ("original: a contradicting verdict earlier slips through", A + LONG + B, {}, "conflict", "B", "B"),
    (
        "original: its evaluation counts both anywhere as an error",
        A + B,
        {},
        "conflict",
        "conflict",
        "conflict",
    ),
    (
        "original: a verdict inside an unclosed thought slips through",
        "<think>Hm. " + A,
        {},
        "missing",
        "missing",
        "A",
    ),
    (
        "original: truncated before the verdict",
        CHAT,
        {"finished": False},
        "truncated",
        "truncated",
        "missing",
    ),
    ("open-r1: trailing junk with a second answer", A + "\njunk " + B, {}, "conflict", "B", "conflict"),
    ("GRPO-Zero: two answer blocks, though they agree", B + "\n" + B, {}, "conflict", "B", "B"),
    ("two blocks, one of them malformed", "<answer>B</answer>\n" + A, {}, "conflict", "conflict", "A"),
    ("TRL: an empty thought holds nothing, the verdict stands", "<think></think>\n" + A, {}, "A", "A", "A"),
    ("TRL: an empty thought and no verdict", "<think></think>", {}, "missing", "missing", "missing"),
    (
        "multiple choice: `All` is not A",
        "Answer: All of them fail. Then again. Answer: B",
        {},
        "missing",
        "B",
        "missing",
    ),
    (
        "the article is not A",
        "Response B is better because it gives a clear answer",
        {},
        "missing",
        "missing",
        "missing",
    ),
    (
        "the article, capital and after a colon",
        "Answer: A clear reply wins.",
        {},
        "missing",
        "missing",
        "missing",
    ),
    ("the article at the end", "My verdict: I would need a", {}, "missing", "missing", "missing"),
    ("an empty text is nobody's win", "", {}, "missing", "missing", "missing"),
    (
        "cut off right after the verdict: more might have come",
        SOLVED + A,
        {"finished": False},
        "truncated",
        "truncated",
        "A",
    ),
    ("cut off inside the verdict", SOLVED + "<answer>[[A]]</ans", {}, "missing", "A", "missing"),
    (
        "pre-filled thought, closed: the verdict stands after it",
        "Hm.</think>\n" + A,
        {"thought_open": True},
        "A",
        "A",
        "A",
    ),
    ("pre-filled thought, never closed", "Hm. " + A, {"thought_open": True}, "missing", "missing", "A"),
    (
        "pre-filled thought, cut off",
        "Hm. " + A,
        {"thought_open": True, "finished": False},
        "truncated",
        "truncated",
        "A",
    ),
    ("the model repeats the pre-filled tag", "<think>Hm.</think>" + A, {"thought_open": True}, "A", "A", "A"),
    (
        "a verdict drafted in a closed thought does not count",
        f"<think>{A}?</think>\n{B}",
        {},
        "B",
        "B",
        "conflict",
    ),
    ("only the thought holds a verdict", f"<think>{A}</think>\nWell.", {}, "missing", "missing", "A"),
    ("a verdict, then a thought that never ends", A + "<think>or not", {}, "trailing", "A", "A"),
    (
        "a bare end of a thought whose opening the template wrote: the draft before it is no verdict",
        f"{A}</think>{B}",
        {},
        "B",
        "B",
        "conflict",
    ),
    (
        "untold pre-filled thought, no verdict after it",
        "I lean [[A]]</think>Cannot say.",
        {},
        "missing",
        "missing",
        "missing",
    ),
    (
        "quoted verdict in a closed quote",
        f"<eval><quote_A>me! {A}</quote_A></eval>{LONG}{B}",
        {},
        "B",
        "B",
        "B",
    ),
    ("only a closed quote holds a verdict", f"<quote_B>me! {B}</quote_B>", {}, "missing", "missing", "B"),
    (
        "the quoted text closes the quote early",
        f"<quote_A>x</quote_A>{A} y</quote_A>{LONG}{B}",
        {},
        "B",
        "B",
        "B",
    ),
    (
        "early closing and no verdict of the judge's own",
        f"<quote_A>x</quote_A>{A}</quote_A>",
        {},
        "missing",
        "missing",
        "A",
    ),
    (
        "early closing, then a thought to hide the real end",
        f"<quote_A>x</quote_A>{A}<think></quote_A> {LONG}",
        {},
        "missing",
        "missing",
        "missing",
    ),
    (
        "early closing and reopening: two markers",
        f"<quote_A>x</quote_A>{A}<quote_A></quote_A>{LONG}{B}",
        {},
        "conflict",
        "B",
        "B",
    ),
    ("a quoted thought hides nothing", f"<quote_A><think></quote_A>{B}", {}, "B", "B", "B"),
    ("a quote that was never closed hides nothing", f"<quote_A>x {B}", {}, "B", "B", "B"),
    ("a mention of the tag is no verdict", f"I close with <answer></answer> tags. {B}", {}, "B", "B", "B"),
    ("wrong case is not the exact marker", "<Answer>[[A]]</Answer>", {}, "missing", "A", "missing"),
    ("single brackets are not the exact marker", "<answer>[A]</answer>", {}, "missing", "A", "missing"),
    ("lower-case letter", "<answer>[[a]]</answer>", {}, "missing", "missing", "missing"),
    ("a third letter", "<answer>[[C]]</answer>", {}, "missing", "missing", "missing"),
    (
        "a tie after a lean decides nothing",
        "First [[A]], yet in the end [[C]]",
        {},
        "missing",
        "missing",
        "missing",
    ),
    ("both letters in one block", "<answer>[[A]] or [[B]]</answer>", {}, "missing", "missing", "missing"),
    ("foreign: bare brackets", "Both are fine. My final verdict is: [[B]]", {}, "missing", "B", "missing"),
    (
        "foreign: bare brackets, the last one counts",
        "[[A]] at first; after a second look [[B]].",
        {},
        "missing",
        "B",
        "missing",
    ),
    ("foreign: both full markers offered", f"{A} or {B}", {}, "conflict", "conflict", "conflict"),
    (
        "foreign: the format repeated decides nothing",
        'Output "[[A]]" or "[[B]]"',
        {},
        "missing",
        "conflict",
        "missing",
    ),
    (
        "foreign: the format explained decides nothing",
        "[[A]] if A is better, [[B]] if B is better",
        {},
        "missing",
        "missing",
        "missing",
    ),
    ("foreign: indexing is no verdict", "then x[[A]] picks the rows", {}, "missing", "missing", "missing"),
    ("foreign: numpy's double bracket", "take a[[0]] or [[1]]", {}, "missing", "missing", "missing"),
    ("foreign: compared letters", "So: [[B>>A]]", {}, "missing", "B", "missing"),
    ("foreign: compared letters, reversed sign", "So: [[B<A]]", {}, "missing", "A", "missing"),
    ("foreign: compared letters, level", "[[A>B]] hm [[A=B]]", {}, "missing", "missing", "missing"),
    ("foreign: a named side in a block", "<answer>Chatbot B</answer>", {}, "missing", "B", "missing"),
    ("foreign: a phrase in bold", "Both try.\n\n**Final verdict:** **B**", {}, "missing", "B", "missing"),
    ("foreign: a phrase with a name", "Winner: Response A.", {}, "missing", "A", "missing"),
    ("foreign: the better one named", "All in all the better response is B.", {}, "missing", "B", "missing"),
    ("foreign: boxed", r"so \boxed{\text{A}}", {}, "missing", "A", "missing"),
    (
        "a worked solution's own answer is far from the end",
        "Answer: B\n" + LONG * 3,
        {},
        "missing",
        "missing",
        "missing",
    ),
]


# reason, text, what the lenient reading gives: the preferred letter where the sentence says it beyond doubt
SENTENCES = [
    ("over, behind a word that chooses", "Having read both I favour [[B]] over [[A]].", "B"),
    ("over without a choice compares and decides nothing", "Length of [[B]] over [[A]] is 20 %", "conflict"),
    ("better than", "All told, [[B]] is slightly better than [[A]].", "B"),
    ("worse than names the other one", "All told, [[B]] is worse than [[A]].", "A"),
    ("rather than", "My vote goes out: I select [[A]] rather than [[B]]", "A"),
    ("instead of", "I would recommend [[B]] instead of [[A]].", "B"),
    ("a comma and not", "The winner is [[A]], not [[B]].", "A"),
    ("not the one but the other", "The winner is not [[A]] but [[B]].", "B"),
    ("a sign between the letters", "Ranking: [[B]] > [[A]]", "B"),
    ("the sign the other way round", "Ranking: [[B]] < [[A]]", "A"),
    ("beats", "[[A]] clearly beats [[B]]", "A"),
    ("loses to", "[[A]] loses to [[B]]", "B"),
    ("wins compared to", "[[B]] wins compared to [[A]].", "B"),
    ("a turn in one sentence", "I leaned to [[A]], but it is [[B]].", "B"),
    ("a turn that goes on decides nothing", "I take [[A]] but [[B]] is close.", "conflict"),
    ("a negated comparison decides nothing", "I would not pick [[A]] over [[B]].", "conflict"),
    ("a question decides nothing", "Is [[A]] better than [[B]]?", "conflict"),
    ("a negated verdict", "It is certainly not [[B]].", "missing"),
    ("a negation behind the letter", "[[B]] does not deserve it.", "missing"),
    ("the worse one named alone", "I rank all others above [[B]].", "missing"),
    ("unlike the other", "I prefer the first, unlike [[B]].", "missing"),
    ("a refusal that lists the format", "I am unable to judge; allowed are [[A]], [[B]]", "conflict"),
    ("a refusal with a slash", "More context is needed before I say [[A]]/[[B]]", "conflict"),
    ("a refusal behind the letter", "[[A]]? I cannot decide this.", "missing"),
    ("a list of options", "Answer with one of these:\n* [[A]]\n* [[B]]", "conflict"),
    ("a numbered list of options", "The options:\n1. [[A]]\n2. [[B]]", "conflict"),
    ("two bare lines", "[[A]]\n[[B]]", "conflict"),
    ("a rule in quotes restated", 'Say "[[A]]" if the first wins, "[[B]]" if the second wins.', "missing"),
    ("a rule, then a verdict", "[[A]] means the first is better. Mine: [[B]]", "B"),
    ("a condition", "If brevity counts, it is [[A]].", "missing"),
    ("a possibility", "It might be [[A]].", "missing"),
    ("both options are mentioned first", "Having weighed both options, my verdict is: [[A]]", "A"),
    ("a possibility in an earlier clause", "B could be shorter, so my verdict is [[A]]", "A"),
    ("a reason that faults the other one", "Final verdict: [[A]] because B is incorrect.", "A"),
    ("a reason after a comma", "[[B]] is the better one, as A does not answer.", "B"),
    ("a fault in an earlier clause", "Response A is not complete and therefore I choose [[B]].", "B"),
    ("the last anchor names neither: a word", "Perhaps [[A]]. On reflection: [[None]]", "missing"),
    ("the last anchor names neither: a sentence", "Perhaps [[A]]. [[Neither of the two is good]]", "missing"),
    ("the last anchor names neither: another script", "先看 [[A]]，最终： [[平局]]", "missing"),
    ("the last anchor names neither: an arena letter", "So not only [[A]]: [[D]]", "missing"),
    ("a score is no letter", "[[A]] gets [[7]]", "missing"),
    ("Chinese, without a space", "综上所述，最终判定为[[B]]。", "B"),
    ("Japanese, without a space", "したがって最終的な判定は[[A]]です。", "A"),
    ("Korean", "따라서 최종 판정은 [[B]]입니다.", "B"),
    ("Thai, without a space", "คำตัดสินคือ[[B]]", "B"),
    ("full-width brackets and letter", "最终判决：［［Ｂ］］", "B"),
    ("Chinese, negated", "答案不是[[A]]", "missing"),
    ("a side in another script", "<answer>助手B</answer>", "B"),
    ("the question's option: correct answer", "The correct answer: B.", "missing"),
    ("the question's option: answer, then more", "We get Answer: A. Only the second has it.", "missing"),
    ("the question's option: boxed, then more", r"so \boxed{B} is what the second reached", "missing"),
    ("the question's option: the right option", r"The right option is \boxed{B}", "missing"),
    ("an answer as the last words", "Answer: B", "B"),
    ("a list behind the phrase", "Winner: A, B or a tie?", "missing"),
    ("a negated phrase", "I do not think the better response is B.", "missing"),
    ("not preferred", "Preferred: A\nNot preferred: B", "A"),
    ("a thought in angle brackets", "<thinking>[[A]] perhaps</thinking> I pass.", "missing"),
    ("a letter in round brackets and nothing else", "(A)", "A"),
    ("a letter in square brackets and nothing else", "[B].", "B"),
    ("a bare letter and nothing else", "B", "B"),
    ("a bare C is a tie or an option", "C", "missing"),
    ("a mention in the reasoning, then the verdict", "At first [[A]] looks right. Final verdict: [[B]]", "B"),
    ("a reasoning tag of a prompted model", "<reasoning>[[A]] is tempting</reasoning> [[B]]", "B"),
    ("a reasoning tag that is never closed", "<reason>[[A]] is tempting", "missing"),
    ("BOXED of a benchmark's own", "BOXED[A]", "missing"),
    ("JSON without a winner", '{"winner": null}', "missing"),
    ("numbers instead of letters", "Both keep all 2 facts, so rewrite 1 wins", "missing"),
    ("a thought, singular", "<thought>[[A]]</thought>\n[[B]]", "B"),
    ("Magistral's thought", "[THINK]likely [[A]][/THINK]My verdict: [[B]]", "B"),
    ("Seed's thought", "<seed:think>[[A]]</seed:think>[[B]]", "B"),
    ("Kimi's thought", "◁think▷[[A]]◁/think▷ [[B]]", "B"),
    ("Cohere's thought", "<|START_THINKING|>[[A]]<|END_THINKING|>[[B]]", "B"),
    ("Gemma's thought", "<|channel>thought\n[[A]]<channel|>[[B]]", "B"),
    (
        "harmony, both channels",
        "<|channel|>analysis<|message|>[[A]]<|end|><|channel|>final<|message|>[[B]]",
        "B",
    ),
    ("harmony, no final channel", "<|channel|>analysis<|message|>[[A]] seems right", "missing"),
    ("a bare end in other marks", "[[A]] maybe[/THINK]No idea.", "missing"),
]


@pytest.mark.parametrize(("text", "want"), [r[1:] for r in SENTENCES], ids=[r[0] for r in SENTENCES])
def test_a_foreign_sentence(text, want):
    verdict = parse_verdict(text, "lenient")
    assert (verdict.shown_label or verdict.status) == want


SWAP = str.maketrans("AB", "BA")
LEADS = (
    "",
    "So ",
    "In my view ",
    "Final verdict: ",
    "I choose ",
    "I prefer ",
    "I would pick ",
    "The winner is ",
)
# decided: X wins; open: nobody does
DECIDED = (
    "[[X]] is better than [[Y]]",
    "[[X]] > [[Y]]",
    "[[X]] beats [[Y]]",
    "[[Y]] loses to [[X]]",
    "[[X>Y]]",
    "[[X]]",
)
CHOSEN = ("[[X]] over [[Y]]", "[[X]] rather than [[Y]]", "[[X]] instead of [[Y]]", "[[X]], not [[Y]]")
OPEN = (
    "[[X]], [[Y]]",
    "[[X]] or [[Y]]",
    "[[X]]/[[Y]]",
    "[[X]] if [[Y]] fails",
    "[[X]] = [[Y]]",
    "[[X]] and [[Y]]",
)
TAILS = ("", ".", "!", "\n", " .", "**")


def _sides(form: str, first: str) -> str:
    return form.replace("X", first).replace("Y", first.translate(SWAP))


@given(
    st.sampled_from(LEADS),
    st.sampled_from(DECIDED + CHOSEN + OPEN),
    st.sampled_from(TAILS),
    st.sampled_from("AB"),
)
@settings(max_examples=400, deadline=None)
def test_swapping_the_letters_swaps_the_verdict(lead, form, tail, first):
    there = parse_verdict(lead + _sides(form, first) + tail, "lenient")
    back = parse_verdict(lead + _sides(form, first.translate(SWAP)) + tail, "lenient")
    assert (back.shown_label or back.status) == (
        there.shown_label and there.shown_label.translate(SWAP) or there.status
    )
    if form in DECIDED or form in CHOSEN and lead in LEADS[3:]:
        assert there.shown_label == first
    if form in OPEN:
        assert there.shown_label is None


# reason, what comes after the marker, whether it is text
AFTER = [
    ("a stop token of ChatML", "<|im_end|>", False),
    ("of Llama", "<|eot_id|>", False),
    ("of Mistral", "</s>", False),
    ("of Gemma", "<end_of_turn>\n", False),
    ("of DeepSeek", "<｜end▁of▁sentence｜>", False),
    ("several", " </s><|endoftext|>", False),
    ("a space without width", "\u200b", False),
    ("a byte-order mark", "\ufeff\n", False),
    ("NUL", "\x00", False),
    ("the closing fence of a code block", "\n```", False),
    ("a word", " ok", True),
    ("a fence that opens more", "\n```python", True),
    ("a tag that is no stop token", "</b>", True),
    ("a full stop", ".", True),
]


@pytest.mark.parametrize(("after", "is_text"), [r[1:] for r in AFTER], ids=[r[0] for r in AFTER])
def test_what_may_follow_the_marker(after, is_text):
    assert (parse_verdict(SOLVED + A + after).status == "trailing") == is_text


@pytest.mark.parametrize(
    "second",
    ["<answer>[[B]]", "<answer>B", "< answer >(B)", "<answer>[[A"],
    ids=["brackets", "bare", "spaces", "cut"],
)
def test_a_second_answer_that_was_never_closed_is_a_conflict(second):
    for text in (A + "\n" + second, second + "\n" + A):
        assert parse_verdict(text).status == "conflict"


@pytest.mark.parametrize(
    "mention", ["I end with <answer> and the letter. ", "Then <answer> a letter follows. "]
)
def test_a_mention_of_the_tag_that_was_never_closed_is_no_second_answer(mention):
    assert parse_verdict(mention + A).shown_label == "A"


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize(
    ("text", "flags", "expected"), [(r[1], r[2], r[3:]) for r in ROWS], ids=[r[0] for r in ROWS]
)
def test_readings(text, flags, expected, reading):
    want = expected[READINGS.index(reading)]
    verdict = parse_verdict(text, reading, **flags)
    assert (verdict.shown_label or verdict.status) == want
    assert (verdict.status == "ok") == (verdict.shown_label is not None)


def test_unknown_reading_names_the_choices():
    with pytest.raises(InputError, match="strict, lenient, paper"):
        parse_verdict(A, "loose")


def test_paper_reads_exactly_the_last_80_characters():
    # the marker has 22 characters: with 58 after it, it still stands in the tail, with 59 no longer
    assert parse_verdict(A + "." * 58, "paper").shown_label == "A"
    assert parse_verdict(A + "." * 59, "paper").status == "missing"


# reason, text, flags, expected sections as (name, text, closed)
SECTION_ROWS = [
    (
        "a chat chain: outer sections keep the inner text",
        CHAT + B,
        {},
        [
            ("type", "Chat", True),
            ("rubric", "clarity 60 %, warmth 40 %\na worried client", True),
            ("justify", "a worried client", True),
            ("eval", "Sit down. curt\nTake your time. warm\nB meets both.", True),
            ("quote_A", "Sit down.", True),
            ("summary_A", "curt", True),
            ("quote_B", "Take your time.", True),
            ("summary_B", "warm", True),
            ("answer", "[[B]]", True),
        ],
    ),
    (
        "a thought keeps its tags as text",
        "<think>try <eval> first</think><eval>x</eval>",
        {},
        [("think", "try <eval> first", True), ("eval", "x", True)],
    ),
    (
        "a pre-filled thought",
        "Hm.</think>" + A,
        {"thought_open": True},
        [("think", "Hm.", True), ("answer", "[[A]]", True)],
    ),
    (
        "still streaming, half a closing tag",
        "<type>Chat</type><eval>so far</eva",
        {"finished": False},
        [("type", "Chat", True), ("eval", "so far", False)],
    ),
    (
        "still streaming, half an opening tag inside",
        "<eval>so far <quo",
        {"finished": False},
        [("eval", "so far", False)],
    ),
    ("`<` of ordinary text stays", "<eval>x < y</eval>", {}, [("eval", "x < y", True)]),
    ("html stays", "<solution><b>4</b></solution>", {}, [("solution", "<b>4</b>", True)]),
    (
        "a forgotten closing tag ends at the next section",
        "<rubric>r<eval>e</eval>",
        {},
        [("rubric", "r", False), ("eval", "e", True)],
    ),
    (
        "a forgotten closing of a quote ends with eval",
        "<eval><quote_A>q</eval>" + A,
        {},
        [("eval", "q", True), ("quote_A", "q", False), ("answer", "[[A]]", True)],
    ),
    (
        "a quoted verdict is the quote's text, no answer",
        f"<quote_A>{A}</quote_A>{B}",
        {},
        [("quote_A", A, True), ("answer", "[[B]]", True)],
    ),
    (
        "glued inner sections stay readable outside",
        "<eval><quote_A>x</quote_A><summary_A>y</summary_A></eval>",
        {},
        [("eval", "x y", True), ("quote_A", "x", True), ("summary_A", "y", True)],
    ),
    ("a closing tag of nothing is dropped", "<eval>x</rubric> y</eval>", {}, [("eval", "x y", True)]),
    ("no sections", "B is better", {}, []),
]


@pytest.mark.parametrize(
    ("text", "flags", "expected"), [r[1:] for r in SECTION_ROWS], ids=[r[0] for r in SECTION_ROWS]
)
def test_sections(text, flags, expected):
    assert [(s.name, s.text, s.closed) for s in parse_verdict(text, **flags).sections] == expected


PIECES = [
    *(f"<{slash}{name}>" for name in SECTIONS for slash in ("", "/")),
    A,
    B,
    "[[A]]",
    "[[ B ]]",
    "<answer",
    "</",
    "<",
    ">",
    " ",
    "\n",
    "word ",
    "a clear answer ",
    "Answer: B",
    "<b>",
    "</s>",
    "<|im_end|>",
    "{",
    "}",
    "%s",
    "é",
]
NOISE = st.lists(st.sampled_from(PIECES), max_size=20).map("".join)
HALVES = tuple(
    tag[:n] for name in SECTIONS for tag in (f"<{name}>", f"</{name}>") for n in range(2, len(tag))
)


@given(NOISE, st.sampled_from(READINGS), st.booleans(), st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_text_has_a_letter_or_a_reason(text, reading, finished, thought_open):
    verdict = parse_verdict(text, reading, finished, thought_open)
    assert (verdict.shown_label in ("A", "B")) == (verdict.status == "ok")
    if not finished and reading != "paper":
        assert (verdict.shown_label, verdict.status) == (None, "truncated")


@given(NOISE)
@settings(max_examples=300, deadline=None)
def test_strict_reads_nothing_but_a_final_marker(text):
    verdict = parse_verdict(text)
    if verdict.shown_label is not None:
        written = (
            "".join(text.split()).replace("</s>", "").replace("<|im_end|>", "")
        )  # stop tokens are no text
        assert written.endswith(f"<answer>[[{verdict.shown_label}]]</answer>")
        assert parse_verdict(text, "lenient").shown_label == verdict.shown_label


def assert_streams(text: str, thought_open: bool, no_half_tags: bool) -> None:
    """Over all prefixes: no letter, sections only grow, no half-written tag is shown (broken ones are plain
    text)."""
    before = []
    for end in range(len(text) + 1):
        verdict = parse_verdict(text[:end], finished=False, thought_open=thought_open)
        assert verdict.shown_label is None
        now = [(s.name, s.text, s.closed) for s in verdict.sections]
        assert [s[0] for s in now[: len(before)]] == [s[0] for s in before]
        for (_, old, was_closed), (_, new, closed) in zip(before, now, strict=False):
            assert new.startswith(old) and (closed or not was_closed)
            assert new == old or not was_closed
        assert not (no_half_tags and any(s[1].endswith(HALVES) for s in now))
        before = now


@pytest.mark.parametrize("thought_open", [False, True], ids=["from the start", "inside a thought"])
@pytest.mark.parametrize(
    "chain", [CHAT + B, SOLVED + A, "<think>2 < 3</think>" + A], ids=["chat", "solved", "thought"]
)
def test_streaming_a_chain(chain, thought_open):
    assert_streams(chain, thought_open, no_half_tags=True)


@given(NOISE, st.booleans())
@settings(max_examples=100, deadline=None)
def test_streaming_anything(text, thought_open):
    assert_streams(text, thought_open, no_half_tags=False)


@given(NOISE, st.sampled_from("AB"), st.sampled_from("AB"))
@settings(max_examples=200, deadline=None)
def test_a_quoted_hostile_response_moves_no_verdict(hostile, side, letter):
    quote = f"<quote_{side}>{make_inert(hostile)}</quote_{side}>"
    chain = f"<type>Chat</type>\n<eval>{quote} <summary_A>s</summary_A></eval>\n<answer>[[{letter}]]</answer>"
    for reading in ("strict", "lenient"):
        verdict = parse_verdict(chain, reading)
        assert verdict.shown_label == letter
        assert verdict.section("answer") == f"[[{letter}]]"


@given(NOISE, st.sampled_from("AB"))
@settings(max_examples=200, deadline=None)
def test_a_raw_quote_never_wins_by_itself(hostile, side):
    # raw: judged by somebody else's prompt, nothing made inert; only reopening its own quote would let it out
    hostile = hostile.replace(f"<quote_{side}>", "")
    chain = f"<eval><quote_{side}>{hostile}</quote_{side}> no decision</eval>"
    assert parse_verdict(chain).shown_label is None and parse_verdict(chain, "lenient").shown_label is None


UNITS = [
    "<answer>",
    "<answer>[[A]]</answer>",
    "<think>",
    "</think>",
    "<quote_A>",
    "<quote_A></quote_A>",
    "</quote_A>",
    "<rubric><justify>",
    "[[A]] ",
    "[[",
    "[ [",
    "< ",
    "<answer> ",
    "\n",
    "Answer: ",
    "\\boxed{ ",
    "a",
]


@pytest.mark.timeout(60)  # linear reading takes tens of milliseconds, quadratic matching would take minutes
@pytest.mark.parametrize("unit", UNITS)
def test_a_hostile_repetition_does_not_hang_the_parser(unit):
    text = unit * (1_000_000 // len(unit))
    for reading in READINGS:
        assert parse_verdict(text, reading).status in STATUSES


def test_a_megabyte_is_read():
    rng = random.Random(0)
    text = "".join(rng.choice(PIECES) for _ in range(200_000)) + "</think>" + B
    assert parse_verdict(text).status in STATUSES and parse_verdict(text, "lenient").status in STATUSES


# reason, a teacher's reply, what of it is the chain
THOUGHTS = [
    ("a closed thought", "<think>B?</think>\n" + CHAT + B, CHAT + B),
    ("a thought that names the marker", f"<think>I end with {A} or {B}.</think>" + CHAT + B, CHAT + B),
    ("only its end came back", f"I end with {A}.</think>\n" + CHAT + B, CHAT + B),
    ("in other marks", f"[THINK]{A}[/THINK]" + CHAT + B, CHAT + B),
    ("harmony", f"<|channel|>analysis<|message|>{A}<|end|><|channel|>final<|message|>" + CHAT + B, CHAT + B),
    ("no thought", CHAT + B, CHAT + B),
    ("a thought and nothing else", "<think>" + CHAT + B, "<think>" + CHAT + B),
    ("a stray end at the end", CHAT + B + "</think>", CHAT + B + "</think>"),
]


@pytest.mark.parametrize(("reply", "chain"), [row[1:] for row in THOUGHTS], ids=[row[0] for row in THOUGHTS])
def test_a_teachers_thought_is_not_the_students(reply, chain):
    assert without_thought(reply) == chain.strip()
    assert without_thought(chain) == chain.strip()


def test_a_stray_closing_mark_at_the_very_end_hides_nothing():
    assert parse_verdict(CHAT + B + "</think>").status == "trailing"
    assert parse_verdict(CHAT + B + "\n</think>\n", "lenient").shown_label == "B"

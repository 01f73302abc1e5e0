"""Reviews in other layouts become chains: verdicts by rules, complete sentences, nothing lost silently."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmr1_lite.data.chains import read_chains
from rmr1_lite.data.convert import Conversion, convert
from rmr1_lite.data.convert_sentences import sentence_spans
from rmr1_lite.data.convert_shorten import shorten
from rmr1_lite.data.convert_text import criteria_in, in_layout, review_body, with_our_names
from rmr1_lite.data.foreign_verdicts import CONFLICT, NO_VERDICT, RULES, TIE, Reading, best_rule, read_verdict
from rmr1_lite.types import InputError
from rmr1_lite.verdict import parse_verdict

NONE = NO_VERDICT
VERDICTS = [
    ("last-line-123", "The first is clearer.\n\n1", "A", "a number alone"),
    ("last-line-123", "The second is clearer.\n2.  \n\n", "B", "a full stop and blanks behind it"),
    ("last-line-123", "Both do well.\r\n\r\n3\r\n", TIE, "line ends of Windows"),
    ("last-line-123", "It is clearer.\nAssistant 1", "A", "the name of the side"),
    ("last-line-123", "It is clearer.\n**Output: 2**", "B", "a label and bold type"),
    ("last-line-123", "2\nThe second is clearer.", NONE, "a number in the first line is not the last line"),
    ("last-line-123", "Step 1\nThe sum is 12", NONE, "a line that ends in a number"),
    ("last-line-123", "Scores follow.\n4", NONE, "no side has this number"),
    ("brackets", "A tells the year.\n\n[[A]]", "A", "a letter"),
    ("brackets", "Verdict: [[B>A]]", "B", "the better side first"),
    ("brackets", "Verdict: [[B<<A]]", "A", "and last"),
    ("brackets", "Verdict: [[A=B]]", TIE, "neither"),
    ("brackets", "[[C]]", TIE, "the letter of a tie"),
    ("brackets", "[[A]] for its sources, though [[B]] reads well", CONFLICT, "two different ones"),
    ("brackets", "[[A]] so far. I stay with it.\n[[A>>B]]", "A", "twice the same"),
    ("brackets", "I shall write [[B]] if B is better.\n[[A]]", "A", "one that restates the rule"),
    ("brackets", "The matrix is [[1, 2], [3, 4]] and x[[A]] indexes it.", NONE, "code"),
    ("brackets", "<think>[[B]] at first</think>No, [[A]]", "A", "a thought does not count"),
    ("brackets", "두 답변 가운데 첫째가 정확합니다.\n[[A]]", "A", "another language"),
    ("sentence", "Both are fine. Therefore, I choose 2.", "B", "a number"),
    ("sentence", "I would choose Assistant 1 because it names a year.", "A", "a name"),
    ("sentence", "Therefore, the better response is A.", "A", "a letter"),
    ("sentence", "Assistant 2 is better.", "B", "no more than that"),
    ("sentence", "Assistant 2's answer is slightly better than Assistant 1's.", "B", "slightly is enough"),
    ("sentence", "Assistant 1 is not better. It repeats itself.", NONE, "a negation"),
    ("sentence", "I would not choose Assistant 1.", NONE, "a negation before the name"),
    ("sentence", "If brevity counts, I would choose Assistant 1.", NONE, "a condition"),
    ("sentence", "Should I choose Assistant 1?", NONE, "a question"),
    ("sentence", "I prefer Assistant 1. On reflection I choose Assistant 2.", CONFLICT, "two verdicts"),
    ("sentence", "I choose Response B. Its sources are old, but they are sources.", "B", "in the middle"),
    ("sentence", "Both answers are equally good.", TIE, "a tie"),
    ("sentence", "I choose 1. It is a tie.", CONFLICT, "a verdict and a tie"),
    ("sentence", "Assistant 1 is better at sums. Assistant 2 knows more names.", NONE, "better at one thing"),
    ("sentence", "Overall, Assistant 2 gave a more thorough answer.", "B", "a conclusion that compares"),
    ("sentence", "Assistant 2 gave a more thorough answer.", NONE, "a comparison that concludes nothing"),
    ("sentence", "첫 번째 답변이 더 좋습니다.", NONE, "another language is not read"),
    ("sentence", "Based on this, my choice is:\n\n2", "B", "a sentence that ends on another line"),
    ("scores", "8 6\n\nThe first tells the year.", "A", "two numbers"),
    ("scores", "7, 7.5\nThe second tells the year.", "B", "a comma and a fraction"),
    ("scores", "7 7\nBoth tell it.", TIE, "equal scores"),
    ("scores", "Assistant 1: 8/10 for care.\nAssistant 2: 6/10.", "A", "a score a side"),
    ("scores", "8 6\nAssistant 1: 5/10\nAssistant 2: 6/10", CONFLICT, "scores that disagree"),
    ("scores", "Assistant 1: 8/10 for care.", NONE, "one side alone"),
    ("scores", "7 7\nThe first deserves a slightly higher score.", CONFLICT, "equal scores, unequal words"),
    ("scores", "8 6 4\nThree numbers.", NONE, "not two"),
    ("own", "<eval>A tells it.</eval>\n<answer>[[A]]</answer>", "A", "the marker"),
    ("own", "<answer>[[B]]</answer>\n</eval>", "B", "a closing tag too many behind it"),
    ("own", "<answer>[[A]]</answer> or <answer>[[B]]</answer>", CONFLICT, "both"),
    ("own", "[[A]]", NONE, "without its tags"),
    ("none", "Answer A is better.", NONE, "the text is not asked"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "text", "wanted", "reason"), VERDICTS, ids=[f"{r[0]}: {r[3]}" for r in VERDICTS]
)
def test_a_rule_reads_what_is_stated_and_guesses_nothing(rule, text, wanted, reason):
    reading = read_verdict(text, rule)
    assert (reading.said or reading.reason) == wanted
    assert all(0 <= start < end <= len(text) for start, end in reading.places)


def test_auto_takes_the_rule_that_reads_most_texts_of_an_origin():
    assert best_rule(["Good.\n1", "Bad.\n2", "I choose 2. No, it is a tie."])[0] == "last-line-123"
    assert best_rule(["7 8\nfine", "8 8\nfine"])[0] == "scores"
    assert best_rule(["It names the year.", "I choose 1.", "It is short."])[0] == "none", (
        "less than two thirds"
    )


NAMES = [
    ("Assistant 1's answer beats Response B.", "Chatbot A's answer beats Chatbot B.", "numbers and letters"),
    ("Assistants 1 and 2 agree.", "Chatbot A and Chatbot B agree.", "both in one"),
    (
        "The answer 1.5 is wrong; answer a question.",
        "The answer 1.5 is wrong; answer a question.",
        "figures stay",
    ),
    ("Therefore, I choose 2 as it is short.", "Therefore, I choose Chatbot B as it is short.", "a choice"),
    ("Vitamin A, 12 %.", "Vitamin A, 12 %.", "a letter that is no side"),
]


@pytest.mark.parametrize(("text", "wanted", "reason"), NAMES)
def test_names_become_those_of_the_prompts(text, wanted, reason):
    assert with_our_names(text) == wanted


BODIES = [
    ("Assistant 1 is clear.\n\n1", "last-line-123", "Chatbot A is clear.", "the line goes"),
    ("7 9\nAssistant 2 is clear.", "scores", "Chatbot B is clear.", "so do the scores"),
    ("B is short. Therefore, I choose 2.", "sentence", "B is short.", "a sentence that only states it goes"),
    ("I choose 2 because Assistant 2 names a year.", "sentence",
     "I choose Chatbot B because Chatbot B names a year.", "one that gives a reason stays"),
    ("A is long.\nMy verdict is A: [[A>B]]", "brackets", "A is long.", "with what announces it"),
    ("Since it cites a source, [[B]] is the better response.", "brackets",
     "Since it cites a source, Chatbot B is the better response.", "a mark within a reason becomes a name"),
    ("<think>Response A lies.\n\nResponse B is true to its source.</think>\n[[B]]", "brackets",
     "Chatbot B is true to its source.", "only the verdict follows the thought: its last paragraph"),
    ("<think>Hm.</think>\nResponse A is the longer one, with all the facts.\n[[A]]", "brackets",
     "Chatbot A is the longer one, with all the facts.", "what follows the thought"),
    ("1", "last-line-123", "", "nothing else"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "rule", "wanted", "reason"), BODIES, ids=[row[-1] for row in BODIES])
def test_the_review_is_left_without_its_verdict(text, rule, wanted, reason):
    assert review_body(text, read_verdict(text, rule), "compact") == wanted


def test_criteria_are_those_that_the_review_lists():
    body = "Helpfulness:\nChatbot A: helps.\n**Level of detail**: more in B.\nhelpfulness: again"
    assert (
        criteria_in(body) == ["helpfulness", "Level of detail"] or criteria_in(body)[1] == "Level of detail"
    )
    assert criteria_in("Accuracy: one criterion is no list.") == []
    text = in_layout("Chatbot A helps.", "A", "compact", ["Helpfulness", "Accuracy"])
    assert [section.name for section in parse_verdict(text).sections] == ["type", "rubric", "eval", "answer"]


SENTENCES = [
    ("One. Two!  Three?", ["One.", "Two!", "Three?"], "three signs"),
    ("It costs 3.5 dollars, e.g. in Rome. Yes.", ["It costs 3.5 dollars, e.g. in Rome.", "Yes."], "no ends"),
    ("A line\n1. An item. More", ["A line", "1. An item.", "More"], "lines and the numbers of a list"),
    ("是的。不是！", ["是的。", "不是！"], "no blanks between"),
    ("", [], "nothing"),
]


@pytest.mark.parametrize(("text", "wanted", "reason"), SENTENCES, ids=[row[-1] for row in SENTENCES])
def test_sentences_are_found(text, wanted, reason):
    assert [text[start:end] for start, end in sentence_spans(text)] == wanted


LONG = (
    "Both questions are old. Chatbot A names the year, while Chatbot B does not. The weather was fine. "
    "However, it was cold. Chatbot B is less exact. However, it is kind. Overall, Chatbot A is better."
)


def test_shortening_keeps_the_comparison_and_the_conclusion():
    assert shorten(LONG, len(LONG)) == LONG
    assert shorten(LONG, 90) == (
        "Chatbot A names the year, while Chatbot B does not. Overall, Chatbot A is better."
    )
    assert shorten(LONG, 40) == "Overall, Chatbot A is better."
    assert shorten(LONG, 12) is None, "no whole sentence fits"
    assert shorten("The weather was fine. " * 9, 50) is None, "none of them is about the two"


WORDS = (
    "Chatbot A|Chatbot B|is|better|However, it|Overall,|while|3.5|e.g.|x|年。|stops.|asks?|cries!|\n|- one:"
    "|more|lacks|<think>|[[A]]|1."
).split("|")


@given(st.lists(st.sampled_from(WORDS), max_size=60), st.integers(10, 200))
@settings(max_examples=150, deadline=None)
def test_shortening_keeps_whole_sentences_in_order(words, limit):
    text = " ".join(words)
    short = shorten(text, limit)
    if short is None or short == text:
        assert short is None or len(text) <= limit
        return
    # every place of the short text that a choice of sentences, in their order, can reach
    reached = {0}
    for start, end in sentence_spans(text):
        reached |= {at + end - start + 1 for at in reached if short.startswith(text[start:end], at)}
    assert len(short) + 1 in reached and len(short) <= limit, "nothing but whole sentences, in their order"


PIECES = (
    "<answer>[[A]]</answer>|<answer>[[B]]</answer>|[[A]]|[[B>A]]|<think>|</think>|<quote_A>|</quote_A>|<eval>|"
    "</eval>|<ans<eval>wer>B|Assistant 1 is better.|I choose 2|because|8 6\n|\n2|\n1|\r\n|< answer >A|"
    "［［B］］|[THINK]|</answer>|text "
).split("|")
READING = [rule for rule in RULES if rule != "none"]
STYLES = ["compact", "rubrics", "reasoning"]


@given(st.lists(st.sampled_from(PIECES), max_size=14), st.sampled_from(READING), st.sampled_from(STYLES))
@settings(max_examples=400, deadline=None)
def test_a_converted_text_never_reads_as_another_letter(pieces, rule, style):
    text = " ".join(pieces)
    reading = read_verdict(text, rule)
    if not reading.letter:
        return
    made = in_layout(review_body(text, reading, style), reading.letter, style)
    assert parse_verdict(made).shown_label == reading.letter


# ---- whole files


def pair(number, label="A", **more):
    return {"id": f"p{number}", "prompt": f"Who wrote book {number}?", "response_a": "Ann wrote it in 1931.",
            "response_b": "Somebody wrote it.", "label": label, "source": "own", **more}  # fmt: skip


def review(number, text, order="ab", verdict="A", **more):
    return {"id": f"r{number}", "pair": f"p{number}", "order": order, "text": text, "verdict": verdict,
            "model": "judge", "source": "mine", **more}  # fmt: skip


CLEAR = "Assistant 1 names the author, while Assistant 2 does not.\n\n1"


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def run(tmp_path, reviews, pairs=None, **options):
    files = [write(tmp_path / "reviews.jsonl", reviews)]
    pairs = [write(tmp_path / "pairs.jsonl", pairs or [pair(n) for n in range(9)])]
    return convert(files, pairs, tmp_path / "chains.jsonl", Conversion("last-line-123", **options))


def test_what_is_kept_reads_back_and_says_where_it_comes_from(tmp_path):
    done = run(tmp_path, [review(1, CLEAR), review(1, CLEAR + " ", id="again")])
    read = read_chains(done.out)
    assert not read.problems and [chain.pair.id for chain in read.chains] == ["p1", "p1#2"]
    first = read.chains[0]
    assert first.text == (
        "<type>Chat</type>\n<eval>Chatbot A names the author, while Chatbot B does not.</eval>\n"
        "<answer>[[A]]</answer>"
    )
    assert first.pair.meta["model"] == "judge" and first.pair.meta["pair"] == "p1"
    assert "judge" in done.text() and "2 chains, 0 left out" in done.text()


REASONS = [
    ([review(1, "Both are right, it is hard to say.\n3")], "tie"),
    ([review(1, "Nothing is said here.")], "no verdict"),
    ([review(1, CLEAR[:-1] + "2", verdict="B")], "not right"),
    ([review(1, CLEAR, order="ba")], "not right"),
    ([review(1, "I prefer Assistant 2 for its tone.\n1")], "contradicts its own text"),
    ([review(1, "1")], "nothing beside the verdict"),
    ([review(1, CLEAR, pair="p77")], "no such pair"),
    ([review(1, CLEAR, pair=pair(1, response_a="Bob."))], "another pair under that id"),
    ([review(1, CLEAR, licence="CC-BY-NC-4.0")], "licence"),
    ([review(1, CLEAR), review(1, CLEAR)], "repeated"),
    ([review(1, CLEAR, order="xy"), review(2, CLEAR)], "bad row"),
    ([review(1, "The weather was fine. " * 40 + "\n1")], "too long"),
    ([review(1, f"As stated above, the correct verdict is plain. {CLEAR}")], "faulty chain"),
]


@pytest.mark.parametrize(("reviews", "reason"), REASONS, ids=[row[1] for row in REASONS])
def test_what_is_left_out_is_counted_and_listed(tmp_path, reviews, reason):
    done = run(tmp_path, reviews)
    listed = [json.loads(line) for line in done.left_out.read_text(encoding="utf-8").splitlines()]
    assert [row["reason"] for row in listed] == [reason] and listed[0]["row"] == len(reviews) - (
        reason == "bad row"
    )
    assert done.kept == len(reviews) - 1
    counted = json.loads(done.report.read_text(encoding="utf-8"))
    assert sum(source["reasons"].get(reason, 0) for source in counted["sources"]) == 1


def test_pairs_without_a_label_or_a_difference_are_left_out(tmp_path):
    same = pair(2, response_b="Ann  wrote it in 1931. ")
    pairs = [{name: value for name, value in pair(1).items() if name != "label"}, same, pair(3)]
    done = run(tmp_path, [review(n, CLEAR) for n in (1, 2, 3)], pairs)
    assert done.kept == 1
    assert done.counts[0].reasons == {"pair without a label": 1, "both sides are the same": 1}


def test_the_other_order_means_the_other_side(tmp_path):
    done = run(tmp_path, [review(1, CLEAR[:-1] + "2", order="ba", verdict="B")])
    assert [chain.order for chain in read_chains(done.out).chains] == ["ba"] and done.counts[0].agrees == 1


def test_reasons_of_experts_take_their_verdict_from_the_row(tmp_path):
    rows = [review(n, f"Answer A names an author, number {n}, and Answer B none.") for n in range(3)]
    rows[2]["text"] = "I prefer Answer B because it is short."
    files, pairs = (
        [write(tmp_path / "r.jsonl", rows)],
        [write(tmp_path / "p.jsonl", [pair(n) for n in range(3)])],
    )
    done = convert(files, pairs, tmp_path / "chains.jsonl", Conversion())
    assert done.counts[0].rule == "none" and done.counts[0].read_from_field == 3
    assert done.kept == 2 and done.counts[0].reasons == {"contradicts its own text": 1}


def test_chains_in_our_layout_stay_as_they_are(tmp_path):
    ours = "<type>Chat</type>\n<rubric>Truth</rubric>\n<eval>Chatbot A names the author.</eval>\n"
    rows = [review(n, ours + "<answer>[[A]]</answer>" + tail) for n, tail in ((1, ""), (2, "\n</answer>"))]
    files, pairs = [write(tmp_path / "r.jsonl", rows)], [write(tmp_path / "p.jsonl", [pair(1), pair(2)])]
    done = convert(files, pairs, tmp_path / "chains.jsonl", Conversion("own"))
    assert [chain.text for chain in read_chains(done.out).chains] == [ours + "<answer>[[A]]</answer>"] * 2


def test_the_reasoning_style_has_no_tags_but_the_verdict(tmp_path):
    ours = "<type>Chat</type>\n<eval><quote_A>1931</quote_A> is the true year, and A says so.</eval>\n"
    files, pairs = (
        [write(tmp_path / "r.jsonl", [review(1, ours + "<answer>[[A]]</answer>")])],
        [write(tmp_path / "p.jsonl", [pair(1)])],
    )
    done = convert(files, pairs, tmp_path / "chains.jsonl", Conversion("own", "reasoning"))
    assert (
        read_chains(done.out).chains[0].text
        == "1931 is the true year, and A says so.\n<answer>[[A]]</answer>"
    )


def test_packed_files_and_pairs_inside_the_rows_are_read(tmp_path):
    with gzip.open(tmp_path / "r.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(json.dumps(review(1, CLEAR, pair=pair(1))) + "\n")
    done = convert([tmp_path / "r.jsonl.gz"], [], tmp_path / "chains.jsonl", Conversion())
    assert done.kept == 1
    with gzip.open(tmp_path / "chains.jsonl.gz", "wb") as file:
        file.write(done.out.read_bytes())
    assert read_chains(tmp_path / "chains.jsonl.gz").chains == read_chains(done.out).chains
    (tmp_path / "cut.jsonl.gz").write_bytes((tmp_path / "chains.jsonl.gz").read_bytes()[:-9])
    with pytest.raises(InputError, match="cut.jsonl.gz"):
        read_chains(tmp_path / "cut.jsonl.gz")


@pytest.mark.parametrize("style", ["compact", "rubrics", "reasoning"])
def test_every_style_reads_back(tmp_path, style):
    done = run(tmp_path, [review(1, CLEAR)], style=style)
    text = read_chains(done.out).chains[0].text
    assert ("<eval>" in text) == (style != "reasoning")


def test_all_keeps_what_is_not_right_and_says_so(tmp_path):
    done = run(tmp_path, [review(1, CLEAR), review(2, CLEAR[:-1] + "2", verdict="B")], keep="all")
    assert done.kept == 2 and "1 of the chains have a wrong verdict" in done.text()
    assert len(read_chains(done.out).problems) == 1


WRONG = [
    ({"style": "haiku"}, "compact", "an unknown style"),
    ({"keep": "some"}, "right, all", "what to keep"),
    ({"max_chars": 20}, "200 or more", "a limit below the tags"),
]


@pytest.mark.parametrize(("options", "said", "reason"), WRONG, ids=[row[-1] for row in WRONG])
def test_wrong_settings_name_the_choices(tmp_path, options, said, reason):
    with pytest.raises(InputError, match=said):
        run(tmp_path, [review(1, CLEAR)], **options)


def test_a_file_without_a_review_is_an_error_and_nothing_is_written(tmp_path):
    with pytest.raises(InputError, match="reviews.jsonl, row 1, text: is missing"):
        run(tmp_path, [{"id": "x"}])
    with pytest.raises(InputError, match="p1.*is a different pair"):
        run(tmp_path, [review(1, CLEAR)], [pair(1), pair(1, response_a="Bob.")])
    assert not (tmp_path / "chains.jsonl").exists()


def test_a_reading_without_a_letter_has_none():
    assert Reading(TIE).letter == "" and Reading("B").letter == "B"

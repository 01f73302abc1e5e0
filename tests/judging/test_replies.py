"""Replies in the forms that public servers give them. Each row names who reported it, or who writes it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fixtures.endpoint import completion
from hypothesis import given
from hypothesis import strategies as st

from rmr1_lite.judging.engines.endpoint.replies import Reply, join_halves, read_end, read_reply

SAID = "<answer>[[A]]</answer>"
THOUGHT = "Both fit. A is shorter."
WHOLE = f"<think>{THOUGHT}</think>{SAID}"


def block(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, **more}


MESSAGES = [
    # (what it is, content, fields beside it, text)
    ("a text", SAID, {}, SAID),
    ("a list of texts: mistral-large, gpt-oss behind some proxies", [block("text", text=SAID)], {}, SAID),
    ("cut into two parts", [block("text", text=SAID[:5]), block("text", text=SAID[5:])], {}, SAID),
    ("a list of plain texts", [SAID[:5], SAID[5:]], {}, SAID),
    ("one part, not in a list", block("text", text=SAID), {}, SAID),
    ("a part without a type", [{"text": SAID}], {}, SAID),
    ("the Responses API's name of a text", [block("output_text", text=SAID)], {}, SAID),
    ("the Assistants API's text", [block("text", text={"value": SAID, "annotations": []})], {}, SAID),
    (
        "Magistral's thinking block",
        [block("thinking", thinking=[block("text", text=THOUGHT)]), block("text", text=SAID)],
        {},
        WHOLE,
    ),
    (
        "Claude's, through proxies",
        [block("thinking", thinking=THOUGHT, signature="x"), block("text", text=SAID)],
        {},
        WHOLE,
    ),
    ("a reasoning part", [block("reasoning", text=THOUGHT), block("text", text=SAID)], {}, WHOLE),
    (
        "encrypted thoughts are no text",
        [block("redacted_thinking", data="x"), block("text", text=SAID)],
        {},
        SAID,
    ),
    ("DeepSeek, vLLM, SGLang", SAID, {"reasoning_content": THOUGHT}, WHOLE),
    ("vLLM since 0.12, OpenRouter, Groq, Ollama", SAID, {"reasoning": THOUGHT}, WHOLE),
    ("LM Studio's and Ollama's native name", SAID, {"thinking": THOUGHT}, WHOLE),
    ("as a list of blocks", SAID, {"reasoning_content": [block("text", text=THOUGHT)]}, WHOLE),
    ("both names of one thought: litellm", SAID, {"reasoning_content": THOUGHT, "reasoning": THOUGHT}, WHOLE),
    ("an empty thought", SAID, {"reasoning_content": ""}, SAID),
    ("a thought and no answer: all went into it", None, {"reasoning": THOUGHT}, f"<think>{THOUGHT}"),
    ("an empty list", [], {}, ""),
    ("nothing at all", None, {}, ""),
    ("OpenAI's refusal", None, {"refusal": "I can't help with that."}, "I can't help with that."),
    ("tool calls beside a text", SAID, {"tool_calls": []}, SAID),
    ("a lone half of an emoji", f"\ud83d {SAID}", {}, f"\ufffd {SAID}"),
    ("an emoji in two halves", f"\ud83d\ude00 {SAID}", {}, f"😀 {SAID}"),
]


@pytest.mark.parametrize("why, content, beside, text", MESSAGES, ids=[row[0] for row in MESSAGES])
def test_the_text_of_a_message(why: str, content: Any, beside: dict[str, Any], text: str) -> None:
    reply = read_reply(completion(content, **beside))
    assert reply.text == text and reply.end == "finished"


NO_COMPLETIONS = [
    ("a proxy's page", "<html>hello</html>", "a page of HTML"),
    ("plain text", "ok", "plain text"),
    ("another API", {"response": "x", "done": True}, "an object with response, done"),
    ("null", None, "null"),
    ("a list", [1], "a list"),
    ("no choices", {"choices": []}, "an object with choices"),
    ("choices of another kind", {"choices": {"a": 1}}, "an object with choices"),
    ("a choice without a message", {"choices": [{"index": 0}]}, "an object with choices"),
    ("a picture", completion([block("image_url", image_url={"url": "x"})]), "'image_url', which is not text"),
    ("a number", completion(7), "a number, not text"),
]


@pytest.mark.parametrize("why, body, words", NO_COMPLETIONS, ids=[row[0] for row in NO_COMPLETIONS])
def test_what_is_no_completion_is_named(why: str, body: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_reply(body)


ENDS = {
    # OpenAI; TGI; Bedrock, Anthropic; Gemini; Fireworks; Ollama; SGLang; Cohere; tools that nobody offered
    "finished": "stop eos_token end_turn STOP stop_sequence eos EOS done matched_stop COMPLETE tool_calls "
    "FINISH_REASON_STOP FinishReason.STOP",
    # OpenAI; Anthropic; Gemini; Mistral; Responses API; Claude 4.5
    "length": "length max_tokens MAX_TOKENS FinishReason.MAX_TOKENS model_length max_output_tokens "
    "model_context_window_exceeded",
    # OpenAI, Azure; Gemini; Anthropic; Bedrock; GLM; Cohere
    "filtered": "content_filter SAFETY RECITATION PROHIBITED_CONTENT refusal guardrail_intervened sensitive "
    "ERROR_TOXIC",
    # OpenRouter; vLLM; DeepSeek; GLM; Gemini
    "failed": "error ERROR abort insufficient_system_resource network_error MALFORMED_FUNCTION_CALL",
    "unknown": "unknown whatever OTHER FINISH_REASON_UNSPECIFIED",
}


@pytest.mark.parametrize("end, name", [(end, name) for end, names in ENDS.items() for name in names.split()])
def test_ends_by_their_many_names(end: str, name: str) -> None:
    assert read_end(name) == end == read_reply(completion(SAID, name)).end


def test_an_end_in_another_field_counts_only_where_the_usual_one_is_silent() -> None:
    def end_of(**choice: Any) -> str:
        return read_reply({"choices": [{"message": {"content": SAID}, **choice}]}).end

    assert end_of() == end_of(finish_reason=None) == end_of(finish_reason="") == "unknown"
    assert end_of(finish_reason=None, stop_reason="end_turn") == "finished", "Anthropic's name, passed on"
    assert end_of(finish_reason="length", stop_reason=151645) == "length", "vLLM: the token that stopped it"
    assert end_of(finish_reason={"type": "stop"}) == "finished"


USAGES = [
    (None, (0, 0)),
    ({}, (0, 0)),
    ("none", (0, 0)),
    ({"total_tokens": 970}, (0, 0)),
    ({"prompt_tokens": None, "completion_tokens": None}, (0, 0)),
    ({"prompt_tokens": 900.0, "completion_tokens": "70"}, (900, 70)),
    ({"prompt_tokens": -1, "completion_tokens": float("nan")}, (0, 0)),
    ({"prompt_tokens": float("inf"), "completion_tokens": True}, (0, 0)),
    ({"prompt_tokens": [900], "completion_tokens": "many"}, (0, 0)),
    ({"input_tokens": 900, "output_tokens": 70}, (900, 70)),
]


@pytest.mark.parametrize("usage, counts", USAGES)
def test_counts_are_whole_numbers_or_none(usage: Any, counts: tuple[int, int]) -> None:
    reply = read_reply(completion(SAID) | {"usage": usage})
    assert (reply.prompt_tokens, reply.completion_tokens) == counts
    assert all(type(count) is int for count in (reply.prompt_tokens, reply.completion_tokens))


@given(st.text(st.characters(), max_size=60), st.text(st.characters(), max_size=60), st.data())
def test_a_stream_in_any_cut_gives_the_text_of_the_whole(
    thought: str, said: str, data: st.DataObject
) -> None:
    """Cut between UTF-16 units, as by servers written in JavaScript or Java."""

    def cut(text: str) -> list[str]:
        units = text.encode("utf-16-le", "surrogatepass")
        places = data.draw(st.lists(st.integers(0, len(units) // 2), max_size=5))
        edges = [0, *sorted(place * 2 for place in places), len(units)]
        return [
            units[a:b].decode("utf-16-le", "surrogatepass") for a, b in zip(edges, edges[1:], strict=False)
        ]

    deltas = [{"reasoning_content": piece} for piece in cut(thought)] + [{"content": p} for p in cut(said)]
    reply, shown = Reply(), ""
    for delta in deltas:
        shown += reply.add_choice({"index": 0, "delta": json.loads(json.dumps(delta))})
    shown += reply.close()
    whole = read_reply(completion(said, reasoning_content=thought))
    assert shown == reply.text == whole.text and json.dumps(shown.encode().decode())


@given(st.text(st.characters(exclude_categories=())))
def test_joined_halves_can_be_written_and_are_stable(text: str) -> None:
    joined = join_halves(text)
    assert joined.encode().decode() == joined == join_halves(joined)

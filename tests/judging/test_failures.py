"""Refusals of servers in their own forms, and their meaning. Each row names whose words they
are, from the servers' code or public reports."""

from __future__ import annotations

from typing import Any

import pytest

from rmr1_lite.judging.engines.endpoint.failures import SYSTEM_ROLE, explain, words_of

SENT = ("max_tokens", "temperature", "top_p", "seed", "stream_options", "repetition_penalty", SYSTEM_ROLE)


def error(message: Any, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


ROWS: list[tuple[str, int | None, Any, str, str]] = [
    # (who, status, body, kind, refused part or a word of the remedy)
    # ---- the prompt does not fit
    (
        "OpenAI",
        400,
        error("This model's maximum context length is 8192 tokens.", code="context_length_exceeded"),
        "too_long",
        "",
    ),
    ("OpenAI, characters", 400, error("Invalid input", code="string_above_max_length"), "too_long", ""),
    (
        "OpenAI, more than a minute's tokens",
        429,
        error("Request too large for m in organization o on tokens per min (TPM): Limit 10, Requested 12."),
        "too_long",
        "",
    ),
    (
        "Groq, the same",
        413,
        error("Request too large for model `x`", code="rate_limit_exceeded"),
        "too_long",
        "",
    ),
    ("a proxy's limit", 413, "<html>413 Request Entity Too Large</html>", "too_long", ""),
    ("Anthropic", 400, error("prompt is too long: 210041 tokens > 200000 maximum"), "too_long", ""),
    (
        "Anthropic, with the answer",
        400,
        error("input length and `max_tokens` exceed context limit: 198000 + 8192 > 200000"),
        "too_long",
        "",
    ),
    (
        "Gemini",
        400,
        [error("The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).")],
        "too_long",
        "",
    ),
    (
        "Cohere",
        400,
        {"message": "too many tokens: total number of tokens in the prompt cannot exceed 4081."},
        "too_long",
        "",
    ),
    (
        "TGI",
        422,
        {
            "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096.",
            "error_type": "validation",
        },
        "too_long",
        "",
    ),
    ("TGI, older", 422, {"error": "`inputs` must have less than 1024 tokens. Given: 2000"}, "too_long", ""),
    (
        "vLLM",
        400,
        {
            "object": "error",
            "message": "You passed 5000 input tokens; the model's context length is only 4096.",
        },
        "too_long",
        "",
    ),
    (
        "vLLM, older",
        400,
        error("The decoder prompt (length 5000) is longer than the maximum model length of 4096."),
        "too_long",
        "",
    ),
    (
        "SGLang",
        400,
        {"message": "The input (5000 tokens) is longer than the model's context length (4096 tokens)."},
        "too_long",
        "",
    ),
    (
        "llama.cpp",
        400,
        error(
            "the request exceeds the available context size, try increasing it",
            type="exceed_context_size_error",
        ),
        "too_long",
        "",
    ),
    ("llama.cpp, older", 500, error("context size exceeded"), "too_long", ""),
    ("Ollama", 400, error("prompt too long; exceeded max context length by 200 tokens"), "too_long", ""),
    (
        "LM Studio",
        400,
        {"error": "Trying to keep the first 9000 tokens when context the overflows. Load with a larger one."},
        "too_long",
        "",
    ),
    (
        "Mistral",
        400,
        {"message": "Prompt contains 40000 tokens, too large for model with 32768 maximum context length"},
        "too_long",
        "",
    ),
    ("Bedrock", 400, {"message": "Input is too long for requested model."}, "too_long", ""),
    (
        "xAI",
        400,
        {"error": "This model's maximum prompt length is 131072 but it contains 140000."},
        "too_long",
        "",
    ),
    ("TensorRT-LLM", 400, {"message": "prompt length (5000) should not exceed max_seq_len"}, "too_long", ""),
    (
        "GLM behind a proxy",
        400,
        error("Input length 877338 exceeds the maximum allowed input length of 639968 tokens", code="400"),
        "too_long",
        "",
    ),
    (
        "LM Studio, in a reply with status 200",
        None,
        {"message": "The number of tokens to keep is greater than the context length."},
        "too_long",
        "",
    ),
    (
        "vLLM, a prompt that fills the context to the last token",
        400,
        error("max_tokens must be at least 1, got 0. (parameter=max_tokens)", param="max_tokens"),
        "too_long",
        "",
    ),
    # ---- a parameter
    (
        "vLLM before 0.8: a list of Python in the message",
        400,
        {"message": "[{'type': 'extra_forbidden', 'loc': ('body', 'seed'), 'input': 800}]", "param": None},
        "refused",
        "seed",
    ),
    (
        "a router that passes another server's JSON on, behind words of its own",
        400,
        error('[m] [400]: {"error": {"message": "No \'max_tokens\'", "param": "max_tokens"}}'),
        "refused",
        "max_tokens",
    ),
    (
        "o-series, gpt-5",
        400,
        error("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'.", param="max_tokens"),
        "refused",
        "max_tokens",
    ),
    (
        "o-series, any temperature but 1",
        400,
        error("Unsupported value: 'temperature' does not support 0 with this model.", param="temperature"),
        "refused",
        "temperature",
    ),
    (
        "Claude Opus 4.1",
        400,
        error("`temperature` and `top_p` cannot both be specified for this model."),
        "refused",
        "temperature,top_p",
    ),
    (
        "TGI, top_p 1",
        422,
        {"error": "Input validation error: `top_p` must be > 0.0 and < 1.0"},
        "refused",
        "top_p",
    ),
    (
        "Mistral",
        422,
        {
            "message": {
                "detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "not permitted"}]
            },
            "param": None,
        },
        "refused",
        "seed",
    ),
    (
        "FastAPI sends the input back, which may name anything",
        422,
        {"detail": [{"loc": ["body", "seed"], "msg": "extra", "input": {"temperature": 1, "q": "top_p?"}}]},
        "refused",
        "seed",
    ),
    (
        "Gemini",
        400,
        [error('Invalid JSON payload received. Unknown name "seed": Cannot find field.')],
        "refused",
        "seed",
    ),
    ("Groq", 400, error("property 'repetition_penalty' is unsupported"), "refused", "repetition_penalty"),
    (
        "OpenAI, unknown",
        400,
        error("Unrecognized request argument supplied: repetition_penalty"),
        "refused",
        "repetition_penalty",
    ),
    (
        "old vLLM",
        400,
        error("Stream options can only be defined when `stream_options`..."),
        "refused",
        "stream_options",
    ),
    (
        "transformers serve",
        422,
        {"detail": "Unsupported fields in the request: {'seed'}"},
        "refused",
        "seed",
    ),
    (
        "too many new tokens: another number would do",
        400,
        error("max_tokens is too large: 90000. This model supports at most 16384.", param="max_tokens"),
        "hopeless",
        "--max-new-tokens",
    ),
    ("Gemma's template", 400, error("System role not supported"), "refused", SYSTEM_ROLE),
    (
        "the same, from llama.cpp",
        500,
        error("Jinja Exception: System role not supported"),
        "refused",
        SYSTEM_ROLE,
    ),
    ("Gemma on Gemini", 400, [error("Developer instruction is not enabled for m")], "refused", SYSTEM_ROLE),
    (
        "Mistral 7B's template",
        400,
        error("Conversation roles must alternate user/assistant/user/assistant/..."),
        "refused",
        SYSTEM_ROLE,
    ),
    # ---- what will not pass
    ("OpenAI", 401, error("Incorrect API key provided.", code="invalid_api_key"), "hopeless", "key"),
    (
        "Gemini, a wrong key",
        400,
        [error("API key not valid. Please pass a valid API key.")],
        "hopeless",
        "key",
    ),
    ("no rights", 403, error("You do not have access to this project"), "hopeless", "key"),
    ("Ollama", 404, error("model 'llama9' not found"), "hopeless", "model"),
    ("OpenRouter", 400, error("foo/bar is not a valid model ID"), "hopeless", "model"),
    ("vLLM", 404, {"message": "The model `x` does not exist.", "type": "NotFoundError"}, "hopeless", "model"),
    ("DeepSeek", 400, error("Model Not Exist"), "hopeless", "model"),
    (
        "Azure",
        404,
        error("The API deployment does not exist", code="DeploymentNotFound"),
        "hopeless",
        "model",
    ),
    ("transformers serve", 400, {"detail": "Server is pinned to 'a'; requested 'b'."}, "hopeless", "model"),
    ("no /v1", 404, {"detail": "Not Found"}, "hopeless", "address"),
    ("another kind of server", 405, {"detail": "Method Not Allowed"}, "hopeless", "address"),
    (
        "OpenAI, quota",
        429,
        error("You exceeded your current quota, please check your plan.", code="insufficient_quota"),
        "hopeless",
        "top it up",
    ),
    (
        "OpenAI, as text",
        429,
        '{"error": {"message": "stop", "code": "insufficient_quota"}}',
        "hopeless",
        "top it",
    ),
    ("DeepSeek", 402, error("Insufficient Balance"), "hopeless", "top it up"),
    ("Anthropic", 400, error("Your credit balance is too low to access the API."), "hopeless", "top it up"),
    ("OpenRouter", 402, error("This request requires more credits"), "hopeless", "top it up"),
    # ---- a filter
    (
        "Azure",
        400,
        error(
            "The response was filtered",
            code="content_filter",
            innererror={"code": "ResponsibleAIPolicyViolation"},
        ),
        "filtered",
        "",
    ),
    ("OpenRouter", 403, error("m requires moderation. Your input was flagged."), "filtered", ""),
    (
        "Alibaba",
        400,
        error("Input data may contain inappropriate content.", code="data_inspection_failed"),
        "filtered",
        "",
    ),
    ("DeepSeek", 400, error("Content Exists Risk"), "filtered", ""),
    # ---- what may pass
    ("a rate limit", 429, error("Rate limit reached: too many tokens per minute"), "passing", ""),
    (
        "Gemini, a minute's quota in the words of a used-up one",
        429,
        [error("You exceeded your current quota, please check your plan. Please retry in 22.3s.")],
        "passing",
        "",
    ),
    ("overloaded", 503, error("The model is overloaded."), "passing", ""),
    ("loading", 503, error("Loading model"), "passing", ""),
    ("an empty body", 500, "", "passing", ""),
    ("a proxy's page", 502, "<html><h1>Bad Gateway</h1></html>", "passing", ""),
    ("OpenRouter, inside a 200", 502, {"message": "Upstream error", "code": 502}, "passing", ""),
    ("inside a stream", None, {"message": "provider died"}, "passing", ""),
]


@pytest.mark.parametrize("who, status, body, kind, detail", ROWS, ids=[f"{r[0]} {r[1]} {r[3]}" for r in ROWS])
def test_what_an_error_means(who: str, status: int | None, body: Any, kind: str, detail: str) -> None:
    failure = explain(status, body, SENT)
    assert failure.kind == kind, failure
    assert detail in (",".join(failure.parts) if kind == "refused" else failure.remedy or detail)
    if kind == "refused":
        assert ",".join(failure.parts) == detail


WORDS = [
    ("a message", error("no luck"), "no luck"),
    ("a text", {"error": "no luck"}, "no luck"),
    ("details of a field", {"detail": [{"loc": ["body", "seed"], "msg": "no luck"}]}, "seed: no luck"),
    ("JSON in a text", error('{"error": {"message": "no luck"}}'), "no luck"),
    (
        "a provider's words, passed on",
        error("Provider error", metadata={"raw": "no luck"}),
        "Provider error; no luck",
    ),
    ("a page", "<html>\n<b>no</b> luck</html>", "no luck"),
    ("never the input that is sent back", {"detail": [{"msg": "no luck", "input": "my prompt"}]}, "no luck"),
    ("an unknown form stays whole", {"oops": 1}, '{"oops": 1}'),
    ("nothing", None, ""),
    ("a list", [error("no luck")], "no luck"),
]


@pytest.mark.parametrize("why, body, words", WORDS, ids=[row[0] for row in WORDS])
def test_a_server_is_quoted(why: str, body: Any, words: str) -> None:
    assert words_of(body) == words

"""The README.md of an exported folder: what it is, over which base its figures hold, what the gate
found, how to serve it."""

from __future__ import annotations

from rmr1_lite.models.exports import ExportInfo

BASES = {
    "dequantised": "the dequantised NF4 weights of `{base}`, over which it was trained. Over the original "
    "16-bit weights some verdicts differ",
    "original": "`{base}` as it is stored",
}


def export_card(info: ExportInfo, lines: list[str], folder: str) -> str:
    """lines: the gate's sentences. folder: the final place, for the commands."""
    asked = f"Prompt style: `{info.style}`, verdicts are read `{info.reading}`." if info.style else ""
    text = [
        f"# {info.name}: an RM-R1 judge as {FORMS[info.form]}",
        "",
        f"Made by rmr1_lite from `{info.source}`. Base: {BASES[info.base_weights].format(base=info.base)}. "
        f"Numbers: {info.number_type}. {asked}",
        "",
        "It prefers one of two responses. It is not a chat model: the prompts are in rmr1_lite.",
        "",
        "## Does it give the same verdicts?",
        "",
        *(lines or ["Not measured: the parity gate was off."]),
        "",
        "## Use",
        "",
        "```bash",
        *usage(info, folder),
        "```",
        "",
    ]
    return "\n".join(text)


FORMS = {
    "merged": "one plain model (safetensors)",
    "base": "the base below its adapters (safetensors)",
    "gguf": "a GGUF file for llama.cpp",
    "vllm": "a base and a LoRA adapter for vLLM",
    "ollama": "a GGUF file and a Modelfile for Ollama",
    "lmstudio": "a GGUF file for LM Studio",
}


def usage(info: ExportInfo, folder: str) -> list[str]:
    """Commands, a line each."""
    serve = f"python -m rmr1_lite serve {folder}"
    if info.form == "ollama":
        return [
            f"cd {folder} && ollama create {info.name} -f Modelfile",
            ask(info, "http://127.0.0.1:11434/v1"),
        ]
    if info.form == "lmstudio":
        return [f"lms import {folder}/{info.model}", ask(info, "http://127.0.0.1:1234/v1")]
    if info.form == "base":
        flags = "--enable-lora --lora-modules judge=ADAPTER --max-lora-rank 16 --generation-config vllm"
        return [f"# with an adapter of {info.base}", f"vllm serve {folder} {flags}"]
    return [serve, ask(info, "http://127.0.0.1:8000/v1")]


def ask(info: ExportInfo, url: str) -> str:
    """The command that judges a file with the served judge."""
    judge = f"--judge openai:{info.name}@{url} --style {info.style} --reading {info.reading}"
    return (
        f"python -m rmr1_lite judge {judge} --max-new-tokens {info.max_new_tokens} --pairs mine.jsonl "
        "--out judged.jsonl"
    )

"""What is not weights: config, chat template, generation settings, Ollama's Modelfile."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import pytest
from fixtures import tiny

from rmr1_lite.integrations.export.base_files import copy_base_files
from rmr1_lite.integrations.export.modelfile import write_modelfile, write_template
from rmr1_lite.models.thinking import settle_switch
from rmr1_lite.types import InputError

SWITCH = "{% if enable_thinking %}<think>{% endif %}"


def loaded_from(folder, template=None):
    from transformers import AutoTokenizer, GenerationConfig

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = template or tokenizer.chat_template
    settings = GenerationConfig(eos_token_id=[2, 0], repetition_penalty=1.05, top_k=20, do_sample=True)
    return SimpleNamespace(tokenizer=tokenizer, model=SimpleNamespace(generation_config=settings))


@pytest.fixture
def base(tmp_path):
    folder = tmp_path / "base"
    tiny.tokenizer(tiny.TEMPLATE + SWITCH).save_pretrained(folder)
    tiny.model(tiny.tokenizer()).save_pretrained(folder)
    (folder / "pytorch_model.bin").write_bytes(b"x")
    return folder


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def test_penalties_and_samplers_of_the_base_are_left_out(base, out):
    copy_base_files(str(base), loaded_from(base), "fp32", out)
    settings = json.loads((out / "generation_config.json").read_bytes())
    assert settings == {"eos_token_id": [2, 0], "do_sample": False}
    assert {path.name for path in out.iterdir()} == {
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    }, "weights and unknown files are not copied"


def test_a_base_stored_in_4_bits_becomes_a_plain_one_in_words(base, out):
    path = base / "config.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"quantization_config": {"bits": 4}}))
    said = copy_base_files(str(base), loaded_from(base), "bf16", out)
    config = json.loads((out / "config.json").read_bytes())
    assert "quantization_config" not in config and config["dtype"] == "bfloat16"
    assert said == ["config.json is without the base's quantization_config: the weights are plain."]


def test_the_thinking_switch_goes_where_other_programs_read_it(base, out):
    config = base / "tokenizer_config.json"
    template = (base / "chat_template.jinja").read_text(encoding="utf-8")
    config.write_text(json.dumps(json.loads(config.read_bytes()) | {"chat_template": template}))
    judge = loaded_from(base)
    assert settle_switch(judge.tokenizer, "compact", "off") == "off"
    assert copy_base_files(str(base), judge, "fp32", out)
    written = (out / "chat_template.jinja").read_text(encoding="utf-8")
    assert written == judge.tokenizer.chat_template and "enable_thinking = false" in written
    assert json.loads((out / "tokenizer_config.json").read_bytes())["chat_template"] == written


# ---- Ollama's template

DEFAULT_SYSTEM = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are kind.<|im_end|>\n{% endif %}"
    + tiny.TEMPLATE
)
LLAMA = (
    "{{ bos_token }}{% for m in messages %}<|start|>{{ m.role }}<|end|>\n\n{{ m.content | trim }}<|eot|>"
    "{% endfor %}{% if add_generation_prompt %}<|start|>assistant<|end|>\n\n{% endif %}"
)
NO_SYSTEM = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "<turn>{{ m.role }}\n{{ m.content }}</turn>\n{% endfor %}<turn>model\n"
)
BRACES = tiny.TEMPLATE.replace("assistant", "{{ '{{ x }}' }}assistant")
TEMPLATES = [
    (tiny.TEMPLATE, "ChatML"),
    (DEFAULT_SYSTEM, "a system turn of its own where none is given"),
    (LLAMA, "trims the turns"),
    (NO_SYSTEM, "has no system turn: it is moved into the user's"),
    (BRACES, "writes what looks like a template itself"),
]


def as_ollama(template: str, system: str, prompt: str) -> str:
    """The small part of Go's templates that is used, evaluated."""
    kept, other = re.fullmatch(r"(?s)\{\{ if \.System \}\}(.*)\{\{ else \}\}(.*)", template).groups()
    other, rest = other.split("{{ end }}", 1)
    text = ((kept.split("{{ else }}")[0]) if system else other) + rest
    literal = "\0"
    text = text.replace('{{ "{{" }}', literal).replace("{{ .System }}", system)
    text = text.replace("{{ .Prompt }}", prompt).replace("{{ .Response }}", "")
    assert "{{" not in text
    return text.replace(literal, "{{")


@pytest.mark.parametrize("jinja, reason", TEMPLATES, ids=[row[-1] for row in TEMPLATES])
@pytest.mark.parametrize("system", ["", "Judge fairly."])
def test_ollama_writes_the_models_own_prompt(jinja, reason, system):
    from rmr1_lite.models.render import render_text

    tokenizer = tiny.tokenizer(jinja)
    turns = [{"role": "system", "content": system}] if system else []
    turns.append({"role": "user", "content": "Which is\nbetter? {a} or $b"})
    assert as_ollama(write_template(tokenizer, "m"), system, turns[-1]["content"]) == render_text(
        tokenizer, turns
    )


def test_the_first_token_is_left_to_llama_cpp():
    tokenizer = tiny.tokenizer(LLAMA)
    tokenizer.bos_token = "<|begin|>"
    assert "<|begin|>" not in write_template(tokenizer, "m")


REFUSED = [
    (tiny.TEMPLATE.replace("{{ m.content }}", "{{ m.content }}{{ m.content }}"), "twice"),
    (tiny.TEMPLATE.replace("{{ m.content }}", "{{ m.content | upper }}"), "changed"),
    (tiny.TEMPLATE + '"""', "three quotes"),
]


@pytest.mark.parametrize("jinja, reason", REFUSED, ids=[row[-1] for row in REFUSED])
def test_a_template_that_cannot_be_copied_is_refused(jinja, reason):
    with pytest.raises(InputError, match="template"):
        write_template(tiny.tokenizer(jinja), "m")


def test_the_modelfile_sets_context_stops_and_neutral_sampling():
    made = write_modelfile(tiny.tokenizer(), "m", "m.gguf", 768, 152, ["<|im_end|>", 'a"b'])
    lines = made.splitlines()
    assert lines[0] == "FROM ./m.gguf"
    for wanted in (
        "num_ctx 768",
        "num_predict 152",
        "temperature 0",
        "repeat_penalty 1.0",
        'stop "<|im_end|>"',
        'stop "a\\"b"',
    ):
        assert f"PARAMETER {wanted}" in lines

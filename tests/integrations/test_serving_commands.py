"""What a server is started with, and what is refused before anything starts."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from rmr1_lite.integrations.serving.commands import (
    KEY,
    Launch,
    checked_extra,
    command_line,
    environment_for,
    variables,
)
from rmr1_lite.integrations.serving.serve import usage
from rmr1_lite.integrations.serving.target import (
    Target,
    check_engine,
    check_files,
    choose_engine,
    find_target,
    has_card,
    reusable,
    settle_context,
)
from rmr1_lite.models.adapters import fingerprint_of
from rmr1_lite.models.exports import ExportInfo, write_export
from rmr1_lite.models.judge_specs import NANO
from rmr1_lite.models.vllm_settings import smallest_rank
from rmr1_lite.types import InputError

MODEL, FILE, LORA = Path("/m/base"), Path("/m/j.gguf"), Path("/m/adapter")
LAUNCH = Launch("vllm", ("python", "-m", "vllm.x"), MODEL, "judge", "bf16", 4096)
INFO = ExportInfo(
    form="merged",
    source="nano",
    base="nano-base",
    fingerprint=fingerprint_of("nano-base"),
    base_weights="dequantised",
    style="compact",
    thinking="",
    number_type="fp32",
    context=768,
    max_new_tokens=152,
    name="judge",
)
GGUF_HEAD = b"GGUF\x03\0\0\0" + (23).to_bytes(8, "little") + b"tokenizer.chat_template"

# ---- command lines

COMMANDS = {
    "a merged model on a CPU": (
        LAUNCH,
        "python -m vllm.x --model /m/base --served-model-name judge --dtype bfloat16 --max-model-len 4096 "
        "--generation-config vllm --enforce-eager --host 127.0.0.1 --port 8000",
    ),
    "on a card graphs are captured": (
        replace(LAUNCH, card=True),
        "python -m vllm.x --model /m/base --served-model-name judge --dtype bfloat16 --max-model-len 4096 "
        "--generation-config vllm --host 127.0.0.1 --port 8000",
    ),
    "the adapter has the judge's name, its base another": (
        replace(LAUNCH, adapter=LORA, rank=17, card=True),
        "python -m vllm.x --model /m/base --served-model-name judge-base --enable-lora "
        "--lora-modules judge=/m/adapter --max-lora-rank 32 --dtype bfloat16 --max-model-len 4096 "
        "--generation-config vllm --host 127.0.0.1 --port 8000",
    ),
    "llama.cpp rounds nothing where the file does not": (
        Launch("llama.cpp", ("llama-server",), FILE, "judge", "f32", 4096, "127.0.0.1", 81, slots=1),
        "llama-server -m /m/j.gguf --alias judge -c 4096 -np 1 --cache-type-k f32 --cache-type-v f32 --jinja "
        "--repeat-penalty 1.0 --top-k 0 --top-p 1 --min-p 0 --temp 0 --host 127.0.0.1 --port 81",
    ),
    "llama.cpp divides the context by its slots": (
        Launch("llama.cpp", ("llama-server",), FILE, "judge", "q8_0", 4096, "0.0.0.0", 81, slots=2),
        "llama-server -m /m/j.gguf --alias judge -c 8192 -np 2 --jinja --repeat-penalty 1.0 --top-k 0 "
        "--top-p 1 --min-p 0 --temp 0 --host 0.0.0.0 --port 81",
    ),
    "transformers has no name and no context": (
        Launch("transformers", ("transformers",), MODEL, "judge", "fp16", 4096),
        "transformers serve /m/base --device cpu --dtype float16 --host 127.0.0.1 --port 8000",
    ),
    "an unknown number type is the files' own": (
        Launch("transformers", ("transformers",), MODEL, "judge", "", 4096, card=True),
        "transformers serve /m/base --device cuda --dtype auto --host 127.0.0.1 --port 8000",
    ),
    "arguments of the user come last": (
        Launch("transformers", ("transformers",), MODEL, "j", "fp32", 9, extra=("--log-level", "info")),
        "transformers serve /m/base --device cpu --dtype float32 --host 127.0.0.1 --port 8000 "
        "--log-level info",
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_command_line(name: str):
    launch, wanted = COMMANDS[name]
    assert " ".join(command_line(launch)) == wanted


@pytest.mark.parametrize(
    ("rank", "allowed"), [(1, 1), (2, 8), (8, 8), (9, 16), (64, 64), (257, 320), (512, 512)]
)
def test_the_smallest_rank_that_holds_the_adapter(rank: int, allowed: int):
    assert smallest_rank(rank) == allowed


def test_a_rank_beyond_vllm_is_refused():
    with pytest.raises(InputError, match="rank is 513; vLLM serves at most 512. Export the judge merged"):
        smallest_rank(513)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (("--port", "1"), "--port is set by serve"),
        (("--port=1",), "--port is set by serve"),
        (("-t", "2", "-m", "x"), "-m is set by serve"),
        (("--served_model_name", "x"), "--served-model-name is set by serve"),
        (("--api-key", "sesame"), "Set RMR1_SERVER_KEY"),
        (("vllm",), "'vllm' is one argument too many"),
    ],
)
def test_what_serve_sets_itself_is_refused(extra: tuple[str, ...], words: str):
    with pytest.raises(InputError, match=words) as refused:
        checked_extra(extra)
    assert "sesame" not in str(refused.value)


@pytest.mark.parametrize(
    ("host", "root"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://[::1]:8000"),
        ("box", "http://box:8000"),
    ],
)
def test_the_address_from_this_machine(host: str, root: str):
    assert replace(LAUNCH, host=host).root == root


# ---- keys and variables


@pytest.mark.parametrize(("engine", "variable"), [("vllm", "VLLM_API_KEY"), ("llama.cpp", "LLAMA_API_KEY")])
def test_a_key_is_a_variable_and_no_argument(engine: str, variable: str):
    launch = replace(LAUNCH, engine=engine)
    assert variables(launch, "sesame")[variable] == "sesame" and variable not in variables(launch)
    assert "sesame" not in " ".join(command_line(launch))
    assert "sesame" not in usage(launch, target(), "sesame")


@pytest.mark.parametrize("key", ["a b", "a,b", 'a"b', "a\nb", "schlüssel"])
def test_a_key_that_servers_would_change_is_refused(key: str):
    with pytest.raises(InputError, match=KEY) as refused:
        variables(LAUNCH, key)
    assert key not in str(refused.value)


def test_a_server_without_keys_is_refused_with_one():
    with pytest.raises(InputError, match="transformers serve checks no key"):
        variables(replace(LAUNCH, engine="transformers"), "sesame")


def test_a_server_gets_no_keys_of_others():
    given = {
        "OPENAI_API_KEY": "a",
        "VLLM_API_KEY": "b",
        "LLAMA_ARG_API_KEY_FILE": "c",
        KEY: "d",
        "HOME": "/h",
    }
    found = environment_for(LAUNCH, "", given)
    assert not set("abcd") & set(found.values()) and found["HOME"] == "/h"


def test_the_files_are_local_and_nothing_is_sent_home():
    found = variables(LAUNCH)
    assert (found["HF_HUB_OFFLINE"], found["VLLM_NO_USAGE_STATS"]) == ("1", "1")


def test_the_users_cache_of_vllm_on_a_cpu_stays(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "7")
    assert variables(LAUNCH)["VLLM_CPU_KVCACHE_SPACE"] == "7"
    assert "VLLM_CPU_KVCACHE_SPACE" not in variables(replace(LAUNCH, card=True))


# ---- which engine


@pytest.mark.parametrize(
    ("asked", "form", "card", "vllm", "engine"),
    [
        ("auto", "gguf", True, True, "llama.cpp"),
        ("auto", "ollama", False, False, "llama.cpp"),
        ("auto", "merged", True, True, "vllm"),
        ("auto", "merged", True, False, "transformers"),  # no vLLM
        ("auto", "merged", False, True, "transformers"),  # no card
        ("auto", "vllm", False, False, "vllm"),  # nothing else serves it
        ("auto", None, True, True, "vllm"),  # the export is made to fit
        ("transformers", "merged", True, True, "transformers"),
    ],
)
def test_the_engine(asked: str, form: str | None, card: bool, vllm: bool, engine: str):
    found, why = choose_engine(asked, form, card, vllm)
    assert found == engine and why


@pytest.mark.parametrize(
    ("engine", "form", "words"),
    [
        ("transformers", "vllm", "Take --engine vllm, or export the judge again: .* nano --to merged"),
        ("transformers", "gguf", "Take --engine llama.cpp, or .* --to merged"),
        ("vllm", "gguf", "Take --engine llama.cpp, or .* --to merged"),
        ("llama.cpp", "merged", "Take --engine vllm, or .* --to gguf"),
    ],
)
def test_an_engine_that_cannot_serve_the_form(engine: str, form: str, words: str):
    with pytest.raises(InputError, match=words):
        check_engine(engine, target(form=form))


@pytest.mark.parametrize("value", ["", "-1"])
def test_a_hidden_card_is_none(value: str):
    assert not has_card({"CUDA_VISIBLE_DEVICES": value})


# ---- what the judge is


def target(**changes: object) -> Target:
    made = Target("merged", "nano", MODEL, "judge", "fp32", "compact", "strict", "auto", 152, 768)
    return replace(made, **changes)


def exported(folder: Path, **changes: object) -> Path:
    """A folder like an export of nano: the base's own files."""
    shutil.copytree(NANO["nano-base"], folder)
    write_export(folder, replace(INFO, **changes))
    return folder


def test_an_exported_folder_says_everything(tmp_path: Path):
    found = find_target(str(exported(tmp_path / "e", thinking="off")))
    assert found is not None
    check_files(found)
    assert (found.model, found.style, found.reading, found.nano) == (
        tmp_path / "e",
        "compact",
        "strict",
        True,
    )
    assert usage(LAUNCH, found) == (
        "Use it with:\n  --judge openai:judge@http://127.0.0.1:8000/v1 --style compact --reading strict "
        "--thinking off --max-new-tokens 152"
    )


def test_an_adapter_over_its_base(tmp_path: Path):
    folder = tmp_path / "e"
    shutil.copytree(NANO["nano-base"], folder / "base")
    shutil.copytree(NANO["nano"], folder / "adapter")
    write_export(folder, replace(INFO, form="vllm", model="base", adapter="adapter"))
    found = find_target(str(folder))
    assert found is not None and (found.adapter, found.rank) == (folder / "adapter", 16)
    config = folder / "adapter" / "adapter_config.json"
    config.write_text(json.dumps({"r": 8, "rank_pattern": {"q_proj": 24}}), encoding="utf-8")
    assert find_target(str(folder)).rank == 24  # the largest counts
    config.write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="names no rank"):
        find_target(str(folder))


def test_a_gguf_file_in_its_export_needs_no_style(tmp_path: Path):
    file = tmp_path / "models" / "kit" / "j" / "j.gguf"
    file.parent.mkdir(parents=True)
    file.write_bytes(GGUF_HEAD)
    write_export(tmp_path, replace(INFO, form="lmstudio", model="models/kit/j/j.gguf"))
    found = find_target(str(file))
    assert found is not None and (found.style, found.form, found.limit) == ("compact", "lmstudio", 768)
    check_files(found)


def test_a_lone_gguf_file(tmp_path: Path):
    file = tmp_path / "My judge (2).GGUF"
    file.write_bytes(GGUF_HEAD)
    with pytest.raises(InputError, match="Give --style rubrics, reasoning or compact"):
        find_target(str(file))
    found = find_target(str(file), style="rubrics")
    assert found is not None and (found.name, found.reading) == ("My-judge-2", "lenient")


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"", "is not a GGUF file"),
        (b"PK\x03\x04", "is not a GGUF file"),
        (b"GGUF\x03\0\0\0", "has no chat template"),
        (b"GGUF tokenizer.chat_template", "has no chat template"),  # in a text, not as a name
    ],
)
def test_files_that_llama_cpp_could_not_use(tmp_path: Path, head: bytes, words: str):
    (tmp_path / "j.gguf").write_bytes(head)
    found = find_target(str(tmp_path / "j.gguf"), style="compact")
    assert found is not None
    with pytest.raises(InputError, match=words):
        check_files(found)


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("config.json", "has no config.json"),
        ("model.safetensors", "model.safetensors is missing"),
        ("chat_template.jinja", "has no chat template"),
    ],
)
def test_an_export_without_a_file(tmp_path: Path, missing: str, words: str):
    folder = exported(tmp_path / "e")
    (folder / missing).unlink()
    with pytest.raises(InputError, match=words):
        check_files(find_target(str(folder)))


def test_a_missing_shard_is_named(tmp_path: Path):
    folder = exported(tmp_path / "e")
    shards = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(shards), encoding="utf-8")
    with pytest.raises(InputError, match="model-2.safetensors is missing"):
        check_files(find_target(str(folder)))


def test_a_template_in_the_tokenizers_config_is_one(tmp_path: Path):
    folder = exported(tmp_path / "e")
    (folder / "chat_template.jinja").unlink()
    (folder / "tokenizer_config.json").write_text('{"chat_template": "{{ x }}"}', encoding="utf-8")
    check_files(find_target(str(folder)))


@pytest.mark.parametrize(
    ("judge", "words"),
    [
        ("openai:m@http://127.0.0.1:1/v1", "is served already"),
        ("replay:log.jsonl", "is served already"),
        ("runs/nothing", "does not exist"),
        ("nothing.gguf", "does not exist"),
    ],
)
def test_what_cannot_be_served(judge: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=words):
        find_target(judge, style="compact")


def test_an_unfinished_export_of_a_gguf_is_named(tmp_path: Path):
    (tmp_path / "j.gguf").write_bytes(GGUF_HEAD)
    with pytest.raises(InputError, match="the export is unfinished"):
        find_target(str(tmp_path))


@pytest.mark.parametrize("spec", ["nano", "nano-base", "Qwen/Qwen2.5-7B-Instruct"])
def test_a_spec_must_be_exported_first(spec: str):
    assert find_target(spec) is None


@pytest.mark.parametrize(
    ("asked", "limit", "context"),
    [(None, 768, 768), (None, 131072, 16384), (None, 0, 16384), (600, 768, 600), (131072, 131072, 131072)],
)
def test_the_context(asked: int | None, limit: int, context: int):
    assert settle_context(asked, target(limit=limit)) == context


@pytest.mark.parametrize(
    ("asked", "words"), [(152, "leaves no room for a prompt"), (769, "more than the model's 768")]
)
def test_a_context_that_cannot_work(asked: int, words: str):
    with pytest.raises(InputError, match=words):
        settle_context(asked, target())


def test_an_export_is_reused_while_its_source_stays(tmp_path: Path):
    out = exported(tmp_path / "e")
    assert reusable(tmp_path / "nothing", "nano", ("merged",)) is None
    assert reusable(out, "nano", ("merged",)) == INFO
    for spec, form in (("nano-sft", "merged"), ("nano", "gguf")):
        with pytest.raises(InputError, match=r"is an export of nano \(merged\).* give another --export-to"):
            reusable(out, spec, (form,))
    write_export(out, replace(INFO, fingerprint="other"))
    with pytest.raises(InputError, match="was made from other weights than nano-base has now"):
        reusable(out, "nano", ("merged",))


def test_an_adapter_that_was_trained_again_is_not_served_from_its_old_export(tmp_path: Path):
    """Its base is the same, so the fingerprint does not show it."""
    adapter = tmp_path / "adapter"
    shutil.copytree(NANO["nano"], adapter)
    out = exported(tmp_path / "e", source=str(adapter))
    assert reusable(out, str(adapter), ("merged",)) is not None
    weights = adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes())
    with pytest.raises(InputError, match="is older than"):
        reusable(out, str(adapter), ("merged",))

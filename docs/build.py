"""Tables generated from the code: README's status, options, benchmarks, and the notebooks' badges.

    python docs/build.py            # write them
    python docs/build.py --check    # fail when a file differs from the code

docs/gpu.md's tables come from perf/gpu_table.py, since they need the planner and measurements on a card.
A status row names the files that support its claim; a missing one is an error.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import tomllib
import typer

from rmr1_lite.cli.main import app
from rmr1_lite.endpoint.errors import KINDS
from rmr1_lite.endpoint.metrics import FAMILIES
from rmr1_lite.evaluation.benchmarks import BENCHMARKS
from rmr1_lite.extras import EXTRAS
from rmr1_lite.integrations.rewards.cost import step_seconds
from rmr1_lite.policy.summary import judge_tables, study_tables
from rmr1_lite.training.planning.plan import GPUS

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"
# part, state, and the files that show it. What never ran where is said here and nowhere else.
STATUS = (
    (
        "nano chain on a CPU",
        "complete and tested on every change",
        ("tests/test_demo.py", "perf/results/nano-reproduce-3-seeds.json"),
    ),
    (
        "smol-base on a CPU",
        "loads, judges and trains; not taught to judge real text yet ([guide](docs/smol.md))",
        ("tests/models/test_smol_model.py",),
    ),
    (
        "Colab, Kaggle",
        "notebooks ran on Colab's package list (Python 3.12, CPU); never there",
        ("tests/notebook",),
    ),
    (
        "Hugging Face hub",
        "real clients against a stand-in; never the hub",
        ("tests/models/test_hub.py",),
    ),
    (
        "vLLM, llama.cpp, transformers serve",
        "nano's texts are equal on a CPU ([guide](docs/servers.md))",
        ("tests/servers", "perf/results/servers.json"),
    ),
    ("Windows, macOS", "pins resolve; never run", ("tests/platforms",)),
    ("rollouts with vLLM", "arguments tested; never run", ("tests/unsloth_cpu", "tests/models")),
    (
        "export",
        "verdicts kept in vLLM, llama.cpp; never Ollama, LM Studio ([guide](docs/serving.md))",
        ("tests/integrations", "perf/results/export-parity.json"),
    ),
    (
        "judge as a reward",
        "a nano policy with TRL, on a CPU ([guide](docs/policy.md))",
        ("tests/policy", "perf/results/policy-nano.json"),
    ),
    (
        "verl, Ray Data",
        "on a CPU up to the check for a card; never trained ([guide](docs/scale.md))",
        ("tests/scale", "tests/servers/test_ray_data.py"),
    ),
)


def pages() -> dict[Path, str]:
    """Every file that holds a generated part -> its text as it should be."""
    evaluation, notebooks = ROOT / "docs" / "evaluation.md", NOTEBOOKS / "README.md"
    servers, install = ROOT / "docs" / "servers.md", ROOT / "docs" / "install.md"
    batch = ROOT / "docs" / "batch.md"
    return {
        ROOT / "README.md": fill(ROOT / "README.md", "status", status_table()),
        ROOT / "docs" / "options.md": options_page(),
        evaluation: fill(evaluation, "benchmarks", benchmark_table()),
        notebooks: fill(notebooks, "badges", badge_table()),
        servers: fill(servers, "servers", server_table()),
        install: fill(install, "extras", extras_table()),
        batch: fill(batch, "batch-files", batch_table()),
        ROOT / "docs" / "policy.md": policy_page(),
        ROOT / "docs" / "serving.md": serving_page(),
        ROOT / "docs" / "scale.md": scale_page(),
    }


def fill(path: Path, name: str, piece: str, text: str | None = None) -> str:
    """`text`, by default that of `path`, with `piece` between its two marks; ValueError unless each appears
    once."""
    text = path.read_text(encoding="utf-8") if text is None else text
    marks = re.compile(rf"(<!-- {name}: written by docs/build\.py -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    text, count = marks.subn(lambda found: f"{found[1]}{piece}{found[2]}", text)
    if count != 1:
        raise ValueError(f"{path} has {count} blocks {name}, not one")
    return text


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; a bar inside a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def status_table() -> str:
    """What is tested where, and what never ran; the GPU's row from a card's results."""
    missing = [path for _, _, evidence in STATUS for path in evidence if not (ROOT / path).exists()]
    if missing:
        raise ValueError(f"the status table rests on files that do not exist: {', '.join(missing)}")
    rows: list[Sequence[str]] = [(part, state) for part, state, _ in STATUS]
    rows.insert(1, ("GPU with Unsloth", module_at(ROOT / "perf" / "gpu_table.py").status()))
    return table(("part", "state"), rows)


def module_at(path: Path) -> Any:
    """A script of this repository, imported by its path."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def benchmark_table() -> str:
    """One row per benchmark, from its definition."""
    rows = [
        (f"`{each.name}`", each.home if each.split else f"not on the hub: {each.home}", each.paper, each.rule)
        for each in BENCHMARKS.values()
        if each.name != "nano"
    ]
    nano = BENCHMARKS["nano"]
    rows.append((f"`{nano.name}`", nano.home, "[nano.md](nano.md)", nano.rule))
    return table(("name", "where it is", "paper", "its own rule"), rows)


def server_table() -> str:
    """Real servers' texts compared with the kit's own engine, as measured by perf/servers.py."""
    found = json.loads((ROOT / "perf" / "results" / "servers.json").read_text(encoding="utf-8"))
    rows = [
        (
            name.replace("nothing neutral sent", "without what the kit sends against it"),
            f"{row['same_text']} of {row['looks']}",
            f"{row['same_verdict']} of {row['looks']}",
            f"{row['same_stream']} of {row['streams']}",
        )
        for name, row in found["servers"].items()
        if "streams" in row
    ]
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    head = f"{found['date']}, judge {found['judge']}, greedy, {found['precision']} on a CPU: {versions}.\n\n"
    return head + table(("server", "same texts", "same verdicts", "same as a stream"), rows)


def batch_table() -> str:
    """A large evaluation through batch files, as measured by perf/batch_files.py."""
    found = json.loads((ROOT / "perf" / "results" / "batch-files.json").read_text(encoding="utf-8"))
    says = {
        "write": f"read the pairs, write {found['request files']} files of {found['request megabytes']:,} MB",
        "join": f"join {found['answers']:,} answers in another order, write {found['asked again']:,} again",
        "finish": "join the rest",
    }
    rows = [
        (says[name], f"{row['seconds']:g}", f"{row['cpu_seconds']:g}", f"{row['peak_mib']:,}")
        for name, row in found["steps"].items()
    ]
    head = f"{found['date']}, {found['judge calls']:,} judge calls, {found['machine']}.\n\n"
    return head + table(("step", "seconds", "of them computing", "peak MiB"), rows)


def extras_table() -> str:
    """The purpose of each extra, its pip command, and its size on disk."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = json.loads((ROOT / "perf" / "results" / "install.json").read_text(encoding="utf-8"))
    about = {
        "light": "endpoints and logs: judge, evaluate, compare, rank",
        **{n: w for n, (w, _) in EXTRAS.items()},
    }
    asked = {"light": project["dependencies"], **project["optional-dependencies"]}
    rows = [
        (
            name if name == "light" else f"`[{name}]`",
            about[name],
            ", ".join(line.replace("rmr1_lite", "") for line in asked[name]),
            f"{found['mb'][name]:,} MB" if name in found["mb"] else "not measured",
        )
        for name in asked
    ]
    head = f"{found['date']}, Python {found['python']}, {found['torch']}: each in an empty environment.\n\n"
    return head + table(("extra", "for", "brings", "on the disk"), rows)


def parity_tables() -> str:
    """One table a judge, as measured by perf/export_parity.py."""
    path = ROOT / "perf" / "results" / "export-parity.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    head = (
        "export",
        "numbers",
        "read by",
        "MB",
        "same texts",
        "same verdicts",
        "right",
        "may differ",
        "gate",
    )
    parts = []
    for judge, measured in found.items():
        versions = ", ".join(f"{k} {v}" for k, v in {**measured["versions"], **measured["servers"]}.items())
        rows = [parity_row(row) for row in measured["rows"]]
        title = f"{judge[:1].upper()}{judge[1:]}, {measured['date']}, on a CPU: {versions}."
        parts.append(f"{title}\n\n{table(head, rows)}")
    return "\n".join(parts)


def parity_row(row: dict[str, Any]) -> list[str]:
    form = row["form"] + (", original base" if row["base"] == "original" and row.get("other_base") else "")
    right = "" if row["right_after"] is None else f"{row['right_after']} ({row['right_before']} before)"
    counts = [f"{row[key]} of {row['calls']}" for key in ("same_text", "same_verdict")]
    gate = "passed" if row["passed"] else "not passed"
    return [
        form,
        row["number_type"],
        row["engine"],
        f"{row['mb']}",
        *counts,
        right,
        str(row["allowed"]),
        gate,
    ]


def endpoint_speed() -> str:
    """The judge endpoint under load, as measured by perf/endpoint.py."""
    path = ROOT / "perf" / "results" / "endpoint-nano.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    load, remote, engine = found["nano"]["load"], found["openai"], found["nano"]["eight_at_once"]
    head = f"{found['date']}, {found['cores']} cores, `--batch-size {found['batch_size']}`.\n\n"
    rows = [
        ("nano, 20 requests at once, a restart in the middle", *speed_cells(load), load["wrong_or_missing"]),
        ("an `openai:` judge (a stand-in server)", *speed_cells(remote), remote["mixed"]),
    ]
    columns = ("judge", "requests", "p50", "p99", "judge calls a second", "wrong or missing")
    end = (
        f"\nEight clients at once take {engine['ratio_of_sums']:.2f} times as long as the same pairs in "
        "calls of eight without HTTP.\n"
    )
    return head + table(columns, [[str(cell) for cell in row] for row in rows]) + end


def speed_cells(load: dict[str, Any]) -> tuple[str, ...]:
    seconds = (f"{load[name]:.1f} s" for name in ("p50_seconds", "p99_seconds"))
    return str(load["requests"]), *seconds, f"{load['looks_per_second']:.1f}"


def serving_page() -> str:
    """What exports change; the judge endpoint's speed, errors and metrics."""
    path = ROOT / "docs" / "serving.md"
    errors = [(str(status), f"`{kind}`", said) for status, (kind, said) in KINDS.items()]
    text = fill(path, "endpoint-errors", table(("status", "type", "when"), errors))
    text = fill(path, "parity", parity_tables(), text)
    text = fill(path, "endpoint-speed", endpoint_speed(), text)
    metrics = [
        (f"`{each.name}`", each.kind, each.labels[0] if each.labels else "", each.help)
        for each in FAMILIES.values()
    ]
    return fill(path, "endpoint-metrics", table(("metric", "kind", "label", "meaning"), metrics), text)


def policy_page() -> str:
    """docs/policy.md with the tables of the closed loop."""
    path = ROOT / "docs" / "policy.md"
    found = json.loads((ROOT / "perf" / "results" / "policy-nano.json").read_text(encoding="utf-8"))
    text = fill(path, "policy-loop", "\n".join(judge_tables(found)) + "\n")
    text = fill(path, "policy-cost", reward_costs(), text)
    return fill(path, "policy-hacking", "\n".join(study_tables(found["studies"])) + "\n", text)


def reward_costs() -> str:
    """Seconds of a step's rewards on one card, by the planner."""
    schemes = ("pivot", "reference", "round-robin")
    rows = [
        (GPUS[gpu].name, f"`{judge}`", *(f"{reward_seconds(judge, gpu, scheme):.0f} s" for scheme in schemes))
        for gpu in ("t4", "l4", "a100", "h100")
        for judge in ("Qwen/Qwen2.5-1.5B-Instruct", "Qwen/Qwen2.5-7B-Instruct")
    ]
    return table(("card", "judge", *schemes), rows)


def reward_seconds(judge: str, gpu: str, scheme: str) -> float:
    return step_seconds(judge, gpu, scheme, prompts=16, size=8, prompt_tokens=1500, chain_tokens=400)


def scale_page() -> str:
    """docs/scale.md with the tables of the scale model."""
    path, text = ROOT / "docs" / "scale.md", None
    scale = module_at(ROOT / "perf" / "scale_tables.py")
    for name, piece in scale.tables(scale.read_results()).items():
        text = fill(path, name, piece, text)
    assert text is not None
    return text


def badge_table() -> str:
    """A row per notebook with its badges, or the line that says why there are none."""
    builder = module_at(NOTEBOOKS / "build.py")
    setup = (NOTEBOOKS / "setup_cell.py").read_text(encoding="utf-8")
    address = re.search(r'^REPO_URL = "(.*)"', setup, re.MULTILINE)
    rows = [(each.stem, builder.badges(address[1] if address else "", each.stem)) for each in builder.SOURCES]
    if not any(badges for _, badges in rows):
        return (
            "`REPO_URL` in `setup_cell.py` is empty, so there are no badges yet: upload the kit as below.\n"
        )
    return table(("notebook", "open in"), rows)


def options_page() -> str:
    """docs/options.md: every command with its options, defaults and meanings."""
    parts = [
        "# Every command and option\n\nWritten by `python docs/build.py` from the command line itself.\n",
    ]
    for name, command in commands(typer.main.get_command(app), "python -m rmr1_lite"):
        about = " ".join((command.help or "").split())
        rows = [(f"`{flags_of(each)}`", default_of(each), meaning_of(each)) for each in command.params]
        parts.append(f"## {name.removeprefix('python -m rmr1_lite ')}\n\n{about}\n")
        parts.append(table(("option", "default", "meaning"), rows))
    return "\n".join(parts)


def commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """(name as typed, command) of every leaf, by name."""
    if not hasattr(command, "commands"):
        yield name, command
        return
    for child in sorted(command.commands):
        yield from commands(command.commands[child], f"{name} {child}")


def flags_of(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return parameter.name.upper()
    return " ".join((*parameter.opts, *parameter.secondary_opts))


def default_of(parameter: Any) -> str:
    if parameter.required:
        return "required"
    value = getattr(parameter.default, "value", parameter.default)
    return "" if callable(value) or value in (None, "", ()) else f"`{value}`"


def meaning_of(parameter: Any) -> str:
    """The help text, and the choices if there are any."""
    text = " ".join((getattr(parameter, "help", "") or "").split())
    choices = choices_of(parameter)
    return f"{text} ({', '.join(choices)})" if choices else text


def choices_of(parameter: Any) -> list[str]:
    annotation = parameter.type_descriptor.annotation
    if get_origin(annotation) is Literal:
        return [str(choice) for choice in get_args(annotation)]
    return [str(member.value) for member in getattr(annotation, "__members__", {}).values()]


def main(check: bool = False) -> int:
    """Write changed files; with `check` only name them and return 1."""
    stale = [
        path
        for path, text in pages().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        if not check:
            path.write_text(pages()[path], encoding="utf-8")
    shown = ", ".join(str(path.relative_to(ROOT)) for path in stale) or "none"
    print(f"{'out of date, run python docs/build.py' if check and stale else 'written'}: {shown}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))

"""The wheel as users install it: built twice, put into empty environments, used outside the checkout.

    make wheel-check

Light: from the index, only the wheel's own requirements; under 100 MB, no torch, endpoints and logs judged
and evaluated, and one line for everything that needs an extra. Local: on top of .venv's packages, which
saves the download; the README's lines on nano. Exit status 1 at the first failure.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from fixtures.endpoint import serving  # noqa: E402

from rmr1_lite.cli.main import app  # noqa: E402
from rmr1_lite.extras import EXTRAS  # noqa: E402

LIGHT_MB, WHEEL_MB = 100, 8
BEHAVIOUR = ROOT / "tests" / "behaviour"
# what the README shows of Python
THREE_LINES = """
import rmr1_lite
from rmr1_lite import load_judge
print(rmr1_lite.__file__, load_judge("nano").compare("Sort d a c from first to last.", "a c d", "d a c"))
"""
WITHOUT_AN_EXTRA = (
    # what is typed, the extra that its line names
    ("judge --pairs pairs.jsonl --out nano.jsonl", "local"),
    ("evaluate --data pairs.jsonl --out nano", "local"),
    ("evaluate --benchmark llmbar --data pairs.parquet --judge replay:log.jsonl --out parquet", "data"),
    ("evaluate --benchmark rewardbench --judge replay:log.jsonl --out hub", "data"),
    ("data audit pairs.jsonl --out audit", "data"),
    ("sft --chains chains.jsonl --out sft", "train"),
    ("grpo --pairs pairs.jsonl --out grpo", "train"),
    ("demo --out demo", "train"),
    ("push adapter me/mine", "local"),
    ("export nano --to merged --out exported", "local"),
    ("app --judge replay:log.jsonl", "app"),
    ("endpoint --judge replay:log.jsonl", "endpoint"),
    ("models get smol", "local"),
)


def main() -> None:
    """Every step with its seconds."""
    with tempfile.TemporaryDirectory(prefix="rmr1_wheel_") as name:
        place = Path(name)
        with step("the wheel is the tree, and the same when it is built again"):
            wheel = build_wheel(place / "dist")
            check_wheel(wheel, build_wheel(place / "again"))
        work = place / "work"
        write_inputs(work)
        with step("a light environment"):
            light = make_environment(place / "light")
            run([str(light), "-m", "pip", "install", "--quiet", str(wheel)], work)
        check_light(light, work)
        with step("nano, in an environment with torch, from the wheel"):
            local = make_environment(place / "local")
            run([str(local), "-m", "pip", "install", "--quiet", "--no-deps", str(wheel)], work)
            see_packages_of_this_python(local)
            said = run([str(local), "-c", THREE_LINES], work)
            require(
                str(place / "local") in said and "A wins in both orders" in said, f"the lines printed {said}"
            )


@contextmanager
def step(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    print(f"ok: {what} ({time.monotonic() - began:.0f} s)", flush=True)


def require(held: bool, otherwise: str) -> None:
    if not held:
        sys.exit(f"wheel-check: {otherwise}")


def run(command: Sequence[str], folder: Path, status: int = 0, **variables: str) -> str:
    """Standard output; both streams if an exit status other than 0 is expected."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    own = {"PYTHONSAFEPATH": "1", "COLUMNS": "200", "HF_HUB_OFFLINE": "1", "RMR1_CACHE": str(folder)}
    done = subprocess.run(
        command, cwd=folder, env={**kept, **own, **variables}, capture_output=True, text=True
    )
    both = done.stdout + done.stderr
    require(done.returncode == status, f"{' '.join(command)} ended with {done.returncode}:\n{both}")
    return both if status else done.stdout


def build_wheel(folder: Path) -> Path:
    """Like `make wheel`, from a copy: files of an older build in the tree must not get in."""
    with tempfile.TemporaryDirectory(prefix="rmr1_source_") as name:
        source = Path(name)
        skipped = shutil.ignore_patterns("__pycache__", "*.pyc")
        shutil.copytree(ROOT / "rmr1_lite", source / "rmr1_lite", ignore=skipped)
        for file in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy2(ROOT / file, source)
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
        run([*command, "-w", str(folder), "."], source, SOURCE_DATE_EPOCH="315532800")
    return next(folder.glob("*.whl"))


def check_wheel(wheel: Path, again: Path) -> None:
    """Exactly the files of the package, byte for byte the same when rebuilt, and small."""
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "rmr1_lite").rglob("*") if path.is_file()}
    wanted = {file for file in files if "__pycache__" not in file}
    with zipfile.ZipFile(wheel) as opened:
        held = {name for name in opened.namelist() if ".dist-info/" not in name}
    require(held == wanted, f"{wheel.name} and the tree differ in {sorted(held ^ wanted)[:10]}")
    one, other = (hashlib.sha256(path.read_bytes()).hexdigest() for path in (wheel, again))
    require(one == other, "two builds of the same tree differ")
    size = wheel.stat().st_size / 1e6
    require(size < WHEEL_MB, f"{wheel.name} has {size:.1f} MB, more than {WHEEL_MB}")
    print(f"{wheel.name}: {size:.1f} MB, {len(held)} files, sha256 {one[:12]}")


def make_environment(folder: Path) -> Path:
    """The Python of an empty environment."""
    run([sys.executable, "-m", "venv", str(folder)], folder.parent)
    return folder / "bin" / "python"


def see_packages_of_this_python(python: Path) -> None:
    """After its own packages, as in the Makefile's `on_top_of_the_kit`."""
    asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
    place = Path(run([str(python), "-c", asked], python.parent).strip())
    packages = sysconfig.get_path("purelib")
    (place / "kit.pth").write_text(f"import site; site.addsitedir({packages!r})\n", encoding="utf-8")


def write_inputs(folder: Path) -> None:
    """Pairs, the log of the shipped judge on them, and files that are only looked at by name."""
    folder.mkdir()
    shutil.copy(BEHAVIOUR / "pairs.jsonl", folder)
    calls = json.loads((BEHAVIOUR / "calls.json").read_text(encoding="utf-8"))["nano"]
    rows = [json.dumps({key: row[key] for key in ("id", "order", "text")}) for row in calls]
    (folder / "log.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    pairs = [json.loads(line) for line in (folder / "pairs.jsonl").read_text(encoding="utf-8").splitlines()]
    texts = {row["id"]: row["text"] for row in calls if row["order"] == "ab"}
    chains = [json.dumps({"pair": pair, "order": "ab", "text": texts[pair["id"]]}) for pair in pairs]
    (folder / "chains.jsonl").write_text("\n".join(chains) + "\n", encoding="utf-8")
    (folder / "pairs.parquet").write_bytes(b"PAR1")
    (folder / "adapter").mkdir()


def check_light(python: Path, work: Path) -> None:
    """Only what endpoints and logs need."""
    kit = [str(python), "-m", "rmr1_lite"]
    with step("its size, what is not in it, and what an import costs"):
        check_size_and_imports(python, work)
    with step("every command shows its help"):
        for name in command_names():
            require("Usage" in run([*kit, *name.split(), "--help"], work), f"{name} --help says nothing")
    with step("a log is judged, evaluated and reported"):
        replay = ["--judge", "replay:log.jsonl", "--reading", "strict"]
        run([*kit, "judge", "--pairs", "pairs.jsonl", "--out", "judged.jsonl", *replay], work)
        said = run([*kit, "evaluate", "--data", "pairs.jsonl", "--out", "evaluated", *replay], work)
        require('pip install "rmr1_lite[data]"' in said, "the missing plots are not named")
        check_results(work / "evaluated")
    with step("an endpoint is judged and evaluated"), serving() as endpoint:
        judge = ["--judge", f"openai:m@{endpoint.url}", "--style", "rubrics"]
        run([*kit, "evaluate", "--data", "pairs.jsonl", "--out", "endpoint", *judge], work)
        require((work / "endpoint" / "report.html").is_file(), "no report of the endpoint")
        run([*kit, "compare-runs", "evaluated", "endpoint", "--out", "compared"], work)
        run([*kit, "bias", "--pairs", "pairs.jsonl", "--out", "bias", *judge], work)
        distill = ["--teacher", "m", "--base-url", endpoint.url, "--out", "distilled"]
        run([*kit, "distill", "--pairs", "pairs.jsonl", *distill], work)
        run([str(python), "-c", rank_lines(endpoint.url)], work)
    with step("one line for what takes an extra"):
        check_missing_extras(kit, python, work)


def check_size_and_imports(python: Path, work: Path) -> None:
    asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
    place = Path(run([str(python), "-c", asked], work).strip())
    tools = ("pip", "setuptools", "pkg_resources", "_distutils_hack")
    parts = [path for path in place.iterdir() if path.name.partition("-")[0] not in tools]
    files = [file for part in parts for file in (part.rglob("*") if part.is_dir() else [part])]
    size = (
        sum(file.stat().st_blocks * 512 for file in files if file.is_file()) / 1e6
    )  # on the disk, as du has it
    require(size < LIGHT_MB, f"the light installation has {size:.0f} MB, more than {LIGHT_MB}")
    heavy = [module for _, modules in EXTRAS.values() for module in modules]
    found = f"from importlib.util import find_spec; print(*[m for m in {heavy!r} if find_spec(m)])"
    held = run([str(python), "-c", found], work).strip()
    require(not held, f"the light installation holds {held}")
    seconds = [import_seconds(python, module, work) for module in ("rmr1_lite", "rmr1_lite.judging.factory")]
    print(f"light: {size:.0f} MB; rmr1_lite in {seconds[0]:.3f} s, judging.factory in {seconds[1]:.3f} s")


def import_seconds(python: Path, module: str, work: Path) -> float:
    """Processor time, the best of eight; printed only: a busy machine is not a slow import."""
    timed = f"import time; t = time.process_time(); import {module}; print(time.process_time() - t)"
    return min(float(run([str(python), "-c", timed], work)) for _ in range(8))


def command_names() -> list[str]:
    """Every command as it is typed."""
    groups = [(f"{group.name} ", group.typer_instance) for group in app.registered_groups]
    return [
        f"{prefix}{command.name or command.callback.__name__}"
        for prefix, held in [("", app), *groups]
        for command in held.registered_commands
    ]


def check_results(folder: Path) -> None:
    """The metrics that the kit wrote with all of its libraries, and a page."""
    wanted = json.loads((BEHAVIOUR / "evaluation.json").read_text(encoding="utf-8"))["stages"]["nano"]
    stages = json.loads((folder / "results.json").read_text(encoding="utf-8"))["stages"]
    (found,) = stages.values()
    for name in ("strict_accuracy", "accuracy", "flip_rate", "unparsed", "intervals", "sections"):
        require(found[name] == wanted[name], f"{name} is {found[name]}, not {wanted[name]}")
    require("Plots are left out" in (folder / "report.html").read_text(encoding="utf-8"), "no such page")


def rank_lines(url: str) -> str:
    """A ranking by an endpoint that always says A: every response wins as often as it loses."""
    return (
        "from rmr1_lite.judging.factory import make_judge\n"
        f"found = make_judge('openai:m@{url}', 'rubrics').rank('Hi?', ['a', 'b', 'c'])\n"
        "assert found.best is None and found.connected, found"
    )


def check_missing_extras(kit: Sequence[str], python: Path, work: Path) -> None:
    for typed, extra in WITHOUT_AN_EXTRA:
        said = run([*kit, *typed.split()], work, status=1)
        line = f'pip install "rmr1_lite[{extra}]"'
        require(line in said and "Traceback" not in said, f"{typed} says, instead of {line}:\n{said}")
    code = (
        "from rmr1_lite.judging.factory import make_judge\nfrom rmr1_lite.types import InputError\n"
        "try: make_judge('nano')\nexcept InputError as error: print(error)"
    )
    said = run([str(python), "-c", code], work)
    require('pip install "rmr1_lite[local]"' in said, f"make_judge('nano') says {said}")


if __name__ == "__main__":
    main()

"""The house: imports go down only, importing does nothing, errors are caught narrowly, files fit in a sitting."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "rmr1_lite"
# A module or package imports from its own floor and from below, inside functions and for type checkers too.
FLOORS = {
    0: ("__init__", "types", "config", "presets"),
    1: ("prompts", "verdict"),
    2: ("data", "rewards", "intervals", "metrics", "calibration", "adapters", "memory",
        "thinking"),  # fmt: skip
    3: ("backend", "ballast", "models", "model_files", "unsloth_path", "merged", "engines", "shared_prefix", "runs", "parallel"),
    4: ("judge", "judge_file", "ranking", "letters", "rollouts", "group_trainer", "bank")
    + ("screening", "lengths", "spending"),
    5: ("trainers", "sft", "grpo", "nano_base", "evaluate", "benchmark", "comparison", "ablations", "suites")
    + ("distill", "distilled", "results", "panels", "plots", "confidence"),
    6: ("report", "tables", "demo", "reproduce", "plan", "options", "app", "data_commands", "__main__")
    + ("notebook", "sharing", "preflight", "probe", "nano_ship", "training_process"),
}
FLOOR = {name: floor for floor, names in FLOORS.items() for name in names}
HEAVY = ("torch", "transformers", "trl", "peft", "bitsandbytes", "datasets", "gradio", "matplotlib", "openai")
FILES = sorted(ROOT.rglob("*.py"))
LONGEST = 320
BROAD = {"Exception", "BaseException"}
# file -> how many wide catches it needs, and why
WIDE = {
    "engines/local.py": 1, "bank.py": 1,  # carry a failure of their thread to the caller, where it is raised again
    "notebook/places.py": 1,  # Colab's Drive raises classes of its own; then there is another place, and it is said
}  # fmt: skip


def place(path: Path) -> str:
    """The module or package of rmr1_lite that a file belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(source: str, path: Path) -> dict[str, int]:
    """Modules and packages of rmr1_lite that a file imports, wherever in the file, with the line."""
    found: dict[str, int] = {}
    for node in ast.walk(ast.parse(source)):
        for name in _names(node, ("rmr1_lite", *path.relative_to(ROOT).parts[:-1])):
            top, _, rest = name.partition(".")
            if top == "rmr1_lite" and rest:
                found[rest.partition(".")[0]] = node.lineno
    return {name: line for name, line in found.items() if name != "__version__"}


def _names(node: ast.AST, package: tuple[str, ...]) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = package[: len(package) + 1 - node.level] if node.level else ()
    module = ".".join((*base, *([node.module] if node.module else [])))
    return [f"{module}.{alias.name}" for alias in node.names]


def upward(source: str, path: Path) -> list[str]:
    """What a file imports from above its floor, or from nowhere on the plan."""
    own = FLOOR[place(path)]
    above = [(other, line) for other, line in imported(source, path).items() if FLOOR.get(other, 99) > own]
    return [f"line {line}: floor {own} imports {other} (floor {FLOOR.get(other, 'unknown')})" for other, line in above]


def broad(source: str) -> list[int]:
    """Lines that catch or suppress everything."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ExceptHandler):
            caught = [node.type] if not isinstance(node.type, ast.Tuple) else node.type.elts
            # `except BaseException` that ends in a bare `raise` only tidies up
            tidies = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
            caught, tidies = node.args, False
        else:
            continue
        wide = [kind for kind in caught if kind is None or ast.unparse(kind).rpartition(".")[2] in BROAD]
        found += [node.lineno] if wide and not tidies else []
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_keeps_the_rules_of_the_house(path):
    name, source = place(path), path.read_text(encoding="utf-8")
    assert name in FLOOR, f"{name} has no floor: add it to FLOORS in {Path(__file__).name}"
    assert not upward(source, path)
    allowed = WIDE.get(path.relative_to(ROOT).as_posix(), 0)
    assert len(broad(source)) == allowed, f"lines {broad(source)}: catch what you expect, by name"
    assert len(source.splitlines()) <= LONGEST, f"a file fits in a sitting ({LONGEST} lines): split it"


def test_every_module_has_one_floor():
    assert len(FLOOR) == sum(map(len, FLOORS.values()))


def test_importing_every_module_imports_nothing_heavy():
    parts = [path.relative_to(ROOT.parent).with_suffix("").parts for path in FILES]
    modules = [".".join(p for p in part if p != "__init__") for part in parts]
    for name in ("page", "actions"):  # made of Gradio's parts; app/launch.py imports them once the options are right
        modules.remove(f"rmr1_lite.app.{name}")
    code = f"import sys, {', '.join(modules)}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


IMPORTS = [
    ("from rmr1_lite.types import Pair", [], "down"),
    ("from rmr1_lite.data.files import read_pairs", [], "the own floor"),
    ("import torch, rmr1_lite_extra.judge", [], "other packages are not ours"),
    ("from rmr1_lite import __version__", [], "the version stands on the ground"),
    ("from rmr1_lite.judge import Judge", ["judge (floor 4)"], "up"),
    ("import rmr1_lite.judge", ["judge (floor 4)"], "up, in the other form"),
    ("from rmr1_lite import judge, types", ["judge (floor 4)"], "up, from the package"),
    ("def f():\n    from rmr1_lite.judge import Judge", ["judge (floor 4)"], "inside a function"),
    ("if TYPE_CHECKING:\n    from rmr1_lite.judge import Judge", ["judge (floor 4)"], "for the type checker"),
    ("from ..judge import Judge", ["judge (floor 4)"], "relative"),
    ("from .. import judge", ["judge (floor 4)"], "relative, from the package"),
    ("from .files import read_pairs", [], "relative, within the package"),
    ("import rmr1_lite.attic", ["attic (floor unknown)"], "a module that is not on the plan"),
]


@pytest.mark.parametrize(("source", "said", "reason"), IMPORTS, ids=[row[-1] for row in IMPORTS])
def test_the_floors_are_seen(source, said, reason):
    found = upward(source, ROOT / "data" / "new.py")
    assert len(found) == len(said) and all(words in line for words, line in zip(said, found, strict=True))


CATCHES = [
    ("try: f()\nexcept ValueError: pass", False, "by name"),
    ("try: f()\nexcept (OSError, ValueError): pass", False, "several by name"),
    ("try: f()\nexcept: pass", True, "everything"),
    ("try: f()\nexcept Exception: pass", True, "nearly everything"),
    ("try: f()\nexcept Exception as error: print(error)", True, "printing is not handling"),
    ("try: f()\nexcept (OSError, Exception): pass", True, "hidden among others"),
    ("try: f()\nexcept builtins.BaseException: pass", True, "even an interrupt"),
    ("try: f()\nexcept BaseException:\n    tidy()\n    raise", False, "tidying up before it goes on"),
    ("with suppress(Exception): f()", True, "the same in another form"),
]


@pytest.mark.parametrize(("source", "wide", "reason"), CATCHES, ids=[row[-1] for row in CATCHES])
def test_wide_catches_are_seen(source, wide, reason):
    assert bool(broad(source)) is wide

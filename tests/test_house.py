"""The house: imports go down only, importing does nothing, errors are caught narrowly, files fit in a sitting."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "rmr1_lite"
# module (or package) -> floor. A module imports from its own floor and from below; a new module needs a place here.
FLOORS = {
    "types": 0, "config": 0, "__init__": 0,
    "prompts": 1, "verdict": 1,
    "data": 2, "rewards": 2, "intervals": 2, "metrics": 2, "adapters": 2,
    "models": 3, "engines": 3, "shared_prefix": 3, "runs": 3,
    "judge": 4, "judge_file": 4, "ranking": 4, "letters": 4, "rollouts": 4, "group_trainer": 4,
    "trainers": 5, "sft": 5, "grpo": 5, "results": 5, "evaluate": 5, "ablations": 5, "panels": 5, "plots": 5, "nano_base": 5,
    "report": 6, "demo": 6, "reproduce": 6, "options": 6, "__main__": 6,
}  # fmt: skip
HEAVY = ("torch", "transformers", "trl", "peft", "bitsandbytes", "datasets", "gradio", "matplotlib", "openai")
FILES = sorted(ROOT.rglob("*.py"))
LONGEST = 320


def place(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Top names below rmr1_lite that a file imports, wherever in the file; imports for type checkers too."""
    package = ("rmr1_lite", *path.relative_to(ROOT).parts[:-1])
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) + 1 - node.level]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            names = [module] if module != "rmr1_lite" else [f"rmr1_lite.{alias.name}" for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("rmr1_lite.")}
    return found - {"__version__"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down_only(path):
    name = place(path)
    assert name in FLOORS, f"{name} has no floor: add it to FLOORS in {Path(__file__).name}"
    for other in imported(path) - {name}:
        # the one way round: judge names the type of what `rank` returns, which ranking (same floor) makes
        assert FLOORS[other] <= FLOORS[name], f"{name} (floor {FLOORS[name]}) imports {other} (floor {FLOORS[other]})"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_fit_in_a_sitting_and_catch_narrowly(path):
    text = path.read_text()
    assert text.count("\n") <= LONGEST
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None and ast.unparse(node.type) != "Exception", f"line {node.lineno}"


def test_importing_every_module_imports_nothing_heavy():
    modules = [".".join(("rmr1_lite", *p.relative_to(ROOT).with_suffix("").parts)) for p in FILES if "__" not in p.name]
    code = f"import sys, {', '.join(modules)}; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []

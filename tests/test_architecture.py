"""The architecture: imports go down only and in no circle, importing does nothing, errors are caught
narrowly, files fit in a sitting.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "rmr1_lite"
# Package or module -> what it may import beside itself; what stands above may import what stands below, never
# the reverse.
# Imports inside functions and for type checkers count too.
GROUND = (
    "types",
    "presets",
    "children",
    "environment",
    "extras",
    "exit_status",
    "config",
    "prompts",
    "verdict",
    "storage",
)
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "types": (),
    "presets": (),
    "children": (),
    "environment": (),
    "extras": ("types",),
    "exit_status": ("types", "extras"),
    "config": ("types", "presets"),
    "prompts": ("types",),
    "verdict": ("types",),
    "storage": ("types",),
    "data": GROUND,
    "models": (*GROUND, "data"),
    "judging": (*GROUND, "data", "models"),
    "evaluation": (*GROUND, "data", "models", "judging"),
    "app": (*GROUND, "data", "models", "judging"),
    "api": (*GROUND, "data", "models", "judging", "evaluation"),
    "endpoint": (*GROUND, "data", "judging", "api", "app"),
    "training": (*GROUND, "data", "models", "judging", "evaluation"),
    "integrations": (*GROUND, "data", "models", "judging", "evaluation", "api", "training"),
    "reporting": (*GROUND, "data", "models", "evaluation", "training"),
    "policy": (
        *GROUND,
        *("data", "models", "judging", "evaluation", "training", "integrations", "reporting"),
    ),
    "demo": (*GROUND, "data", "models", "judging", "evaluation", "training"),
    "reproduce": (*GROUND, "data", "models", "judging", "evaluation", "training", "reporting", "demo"),
    "notebook": (*GROUND, "data", "models", "judging", "evaluation", "training", "reporting", "app"),
    "cli": (
        *GROUND,
        *(
            "data",
            "models",
            "judging",
            "evaluation",
            "app",
            "training",
            "reporting",
            "api",
            "endpoint",
            "integrations",
            "policy",
            "demo",
            "reproduce",
        ),
    ),
    "__main__": ("cli",),
    "__init__": ("api", "types"),
}
HEAVY = ("torch", "transformers", "trl", "peft", "bitsandbytes", "datasets", "gradio", "matplotlib", "openai")
FILES = sorted(ROOT.rglob("*.py"))
LONGEST = 320
BROAD = {"Exception", "BaseException"}
# file -> how many wide catches it needs, and why
WIDE = {
    # carry a failure of their thread to the caller, where it is raised again
    "judging/engines/local.py": 1,
    "judging/pool.py": 1,
    # Colab's Drive raises classes of its own; then there is another place, and it is said
    "notebook/platforms.py": 1,
}


def package_of(path: Path) -> str:
    """The row of MAY_IMPORT that a file belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_names(source: str, path: Path) -> dict[str, int]:
    """Dotted names below rmr1_lite that a file imports, wherever in the file, with the line."""
    found: dict[str, int] = {}
    for node in ast.walk(ast.parse(source)):
        for name in _names(node, ("rmr1_lite", *path.relative_to(ROOT).parts[:-1])):
            top, _, rest = name.partition(".")
            if top == "rmr1_lite" and rest and rest != "__version__":
                found[rest] = node.lineno
    return found


def _names(node: ast.AST, package: tuple[str, ...]) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = package[: len(package) + 1 - node.level] if node.level else ()
    module = ".".join((*base, *([node.module] if node.module else [])))
    return [f"{module}.{alias.name}" for alias in node.names]


def upward(source: str, path: Path) -> list[str]:
    """What a file imports that its row of MAY_IMPORT does not allow."""
    own = package_of(path)
    found = {name.partition(".")[0]: line for name, line in imported_names(source, path).items()}
    return [
        f"line {line}: {own} imports {other}"
        for other, line in found.items()
        if other not in (own, *MAY_IMPORT[own])
    ]


def files_imported(path: Path) -> set[Path]:
    """Files of rmr1_lite that a file imports, except itself."""
    found = set()
    for name in imported_names(path.read_text(encoding="utf-8"), path):
        parts = name.split(".")
        places = [ROOT.joinpath(*parts[:count]) for count in range(len(parts), 0, -1)]
        files = [file for place in places for file in (place.with_suffix(".py"), place / "__init__.py")]
        found.add(next(file for file in files if file.is_file()))
    return found - {path}


def circles(arrows: dict[str, set[str]]) -> list[str]:
    """The names that are reachable from themselves."""
    reached = {name: set(others) for name, others in arrows.items()}
    grown = True
    while grown:
        grown = False
        for others in reached.values():
            more = set().union(*(reached.get(other, set()) for other in others)) - others
            others |= more
            grown = grown or bool(more)
    return sorted(name for name, others in reached.items() if name in others)


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


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_a_package_imports_only_what_lies_below_it(name):
    files = [path for path in FILES if package_of(path) == name]
    assert files, f"{name} is not there any more: take its row out of MAY_IMPORT"
    assert [(path.name, up) for path in files if (up := upward(path.read_text(encoding="utf-8"), path))] == []


def test_the_rows_are_in_the_order_of_the_floors():
    rows = list(MAY_IMPORT)
    assert [
        name for name, below in MAY_IMPORT.items() for other in below if rows.index(other) > rows.index(name)
    ] in ([], ["__main__"])
    assert {package_of(path) for path in FILES} == set(rows)


def test_no_file_imports_itself_by_way_of_others():
    arrows = {
        path.relative_to(ROOT).as_posix(): {
            file.relative_to(ROOT).as_posix() for file in files_imported(path)
        }
        for path in FILES
    }
    assert circles(arrows) == []


CIRCLES = [
    ({"a": {"b"}, "b": {"c"}, "c": set()}, [], "a chain"),
    ({"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": set()}, [], "two ways to one file"),
    ({"a": {"b"}, "b": {"a"}}, ["a", "b"], "two files"),
    ({"a": {"b"}, "b": {"c"}, "c": {"b"}}, ["b", "c"], "behind a file that is in none"),
]


@pytest.mark.parametrize(("arrows", "found", "reason"), CIRCLES, ids=[row[-1] for row in CIRCLES])
def test_circles_are_seen(arrows, found, reason):
    assert circles(arrows) == found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_fits_in_a_sitting_and_catches_by_name(path):
    source = path.read_text(encoding="utf-8")
    allowed = WIDE.get(path.relative_to(ROOT).as_posix(), 0)
    assert len(broad(source)) == allowed, f"lines {broad(source)}: catch what you expect, by name"
    assert len(source.splitlines()) <= LONGEST, f"a file fits in a sitting ({LONGEST} lines): split it"


def test_importing_every_module_imports_nothing_heavy():
    parts = [path.relative_to(ROOT.parent).with_suffix("").parts for path in FILES]
    modules = [".".join(p for p in part if p != "__init__") for part in parts]
    # made of Gradio's parts; app/launch.py imports them once the options are right
    for name in ("page", "actions"):
        modules.remove(f"rmr1_lite.app.{name}")
    code = f"import sys, {', '.join(modules)}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


IMPORTS = [
    ("from rmr1_lite.types import Pair", 0, "down"),
    ("from rmr1_lite.data.pairs import read_pairs", 0, "the own package"),
    ("import torch, rmr1_lite_extra.judge", 0, "other packages are not ours"),
    ("from rmr1_lite import __version__", 0, "the version stands on the ground"),
    ("from rmr1_lite.judging.judge import Judge", 1, "up"),
    ("import rmr1_lite.judging.judge", 1, "up, in the other form"),
    ("from rmr1_lite import judging, types", 1, "up, from the package"),
    ("def f():\n    from rmr1_lite.judging.judge import Judge", 1, "inside a function"),
    ("if TYPE_CHECKING:\n    from rmr1_lite.judging.judge import Judge", 1, "for the type checker"),
    ("from ..judging import judge", 1, "relative"),
    ("from .. import judging", 1, "relative, from the package"),
    ("from .pairs import read_pairs", 0, "relative, within the package"),
    ("import rmr1_lite.attic", 1, "a module that is in no row"),
]


@pytest.mark.parametrize(("source", "count", "reason"), IMPORTS, ids=[row[-1] for row in IMPORTS])
def test_imports_that_go_up_are_seen(source, count, reason):
    assert len(upward(source, ROOT / "data" / "new.py")) == count


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

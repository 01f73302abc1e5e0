"""The wheel's metadata and its extras: in step with the requirements files and with what the code imports."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
import tomllib
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from rmr1_lite.extras import EXTRAS, extra_of, install_line, missing_line, named_extras, need
from rmr1_lite.types import InputError

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "rmr1_lite"
METADATA = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = METADATA["project"]
# module -> the package that brings it, where the names differ, or another package does
PACKAGES = {
    "sklearn": "scikit-learn",
    "pyarrow": "datasets",
    "huggingface_hub": "transformers",
    "httpx": "transformers",
    "starlette": "fastapi",
    "pydantic": "openai",
}
# of pytest, which loads its plugin; of a notebook alone, whose set-up cell looks what is there; of a platform
NOT_OURS = {"pytest", "IPython", "packaging", "google", "kaggle_secrets"}


def pinned(file: str) -> dict[str, Requirement]:
    """The requirements of a file by name."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if re.match(r"[a-zA-Z]", line)]
    return {canonicalize_name(each.name): each for each in found}


def wanted(extra: str) -> list[Requirement]:
    """Requirements of an extra, with those of the extras it includes; "" for the light installation."""
    lines = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    found = [Requirement(line) for line in lines]
    own = [each for each in found if each.name != "rmr1_lite"]
    return own + [more for each in found if each not in own for name in each.extras for more in wanted(name)]


def third_party() -> Iterator[tuple[str, str]]:
    """(module, file) of everything that the package imports from elsewhere."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            for name in {name.partition(".")[0] for name in names}:
                if name not in sys.stdlib_module_names | {"rmr1_lite"}:
                    yield name, str(path.relative_to(ROOT))


def test_every_import_is_brought_by_the_light_installation_or_by_a_known_extra():
    light = {canonicalize_name(each.name) for each in wanted("")}
    for module, file in third_party():
        if module in NOT_OURS or PACKAGES.get(module, module) in light:
            continue
        extra = extra_of(module)
        assert extra, f"{file} imports {module}: name it in rmr1_lite/extras.py and pyproject.toml"
        names = {canonicalize_name(each.name) for each in wanted(extra)}
        assert canonicalize_name(PACKAGES.get(module, module)) in names, f"{extra} does not bring {module}"


def test_the_extras_are_those_that_the_code_names():
    assert list(EXTRAS) == list(PROJECT["optional-dependencies"])
    modules = [module for _, modules in EXTRAS.values() for module in modules]
    assert len(modules) == len(set(modules)), "a module has one extra that is named for it"


@pytest.mark.parametrize("extra", ["", *EXTRAS])
def test_versions_are_those_of_the_developers_environment(extra):
    files = pinned("requirements.txt") | pinned("requirements-gpu.txt")
    for each in wanted(extra):
        name = canonicalize_name(each.name)
        if name in files:
            (pin,) = files[name].specifier
            assert each.specifier.contains(pin.version), f"{each} of [{extra}], {files[name]} of requirements"
        if "==" in str(each.specifier):
            assert name in files and each.specifier == files[name].specifier, f"{each} of [{extra}]"


def test_what_trains_is_pinned_on_colab_as_in_the_wheel():
    colab = pinned("requirements-colab.txt")
    for each in wanted("train") + wanted("app"):
        found = colab.get(canonicalize_name(each.name))
        if found is not None:
            assert found.specifier == each.specifier, f"{each}, {found} of requirements-colab.txt"


def test_every_file_that_is_not_python_is_package_data():
    globs = METADATA["tool"]["setuptools"]["package-data"]["rmr1_lite"]
    files = [path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*") if path.is_file()]
    others = [file for file in files if not file.endswith((".py", ".pyc"))]
    # ** of setuptools also takes no folder, fnmatch's * also takes slashes
    forms = [form for glob in globs for form in (glob, glob.replace("**/", ""))]
    assert [file for file in others if not any(fnmatch(file, form) for form in forms)] == []
    assert {"py.typed", "reporting/templates/report.html.j2", "app/style.css"} <= set(others)


# what only a checkout has
OF_A_CHECKOUT = re.compile(r"`make [a-z]|python app\.py|requirements[\w-]*\.txt|docs/\w+\.(md|py)|notebooks/")
# the notebooks' own code; a tool of the project's authors
AT_HOME = ("notebook/", "training/ship_nano.py")


def test_messages_name_nothing_that_only_a_checkout_has():
    found = []
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).as_posix().startswith(AT_HOME):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                if OF_A_CHECKOUT.search(node.value):
                    found.append(f"{path.name}:{node.lineno}: {node.value:.60}")
    assert found == []


def raises_missing(name: str) -> None:
    raise ModuleNotFoundError(f"No module named {name!r}", name=name)


MISSING = [
    ("torch", "local", "a module of an extra"),
    ("torch.nn", "local", "a part of it"),
    ("sklearn.linear_model", "data", "whose package is called otherwise"),
    ("gradio", "app", "of an extra that includes others"),
]


@pytest.mark.parametrize(("name", "extra", "reason"), MISSING, ids=[row[-1] for row in MISSING])
def test_a_missing_module_becomes_one_line_with_its_extra(name, extra, reason):
    with pytest.raises(InputError) as caught, named_extras():
        raises_missing(name)
    said = str(caught.value)
    assert said.count("\n") == 0 and said.endswith(f'pip install "rmr1_lite[{extra}]"')
    assert said.startswith(name.partition(".")[0]) and install_line(extra) in missing_line(name)


@pytest.mark.parametrize("name", ["rmr1_lite.gone", "torchless", "openai"])
def test_any_other_missing_module_is_a_bug_and_stays_one(name):
    with pytest.raises(ModuleNotFoundError), named_extras():
        raises_missing(name)


def test_nano_without_torch_says_what_to_install():
    """In a separate process: transformers caches its findings."""
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from rmr1_lite.judging.factory import make_judge\n"
        "from rmr1_lite.types import InputError\n"
        "try: make_judge('nano')\n"
        "except InputError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert 'pip install "rmr1_lite[local]"' in done.stdout, done.stderr


def test_need_names_the_first_that_is_missing(monkeypatch):
    need("jinja2", "rich")
    monkeypatch.setattr("rmr1_lite.extras.is_here", lambda module: module != "gguf")
    with pytest.raises(InputError, match="gguf is needed here but not installed.*smol"):
        need("torch", "gguf")

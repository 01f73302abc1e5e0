"""The environment is written while there is one thread, crashes leave a trace, and libraries print
nothing."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from fixtures import tiny

import rmr1_lite
from rmr1_lite.data.chains import Chain, write_chains
from rmr1_lite.data.pairs import write_pairs
from rmr1_lite.environment import (
    ALLOCATOR,
    AT_START,
    environment_with_kit,
    hidden_environment,
    prepare_environment,
)

LATE = Path(__file__).parent / "behaviour" / "late_environment.py"
CHAIN = "<type>Chat</type><rubric>x<justify>y</justify></rubric><eval>A.</eval><answer>[[A]]</answer>"
COMMANDS = {
    "judge": "judge --pairs in.jsonl --out out.jsonl --max-new-tokens 4",
    "sft": "sft --chains chains.jsonl --out sft --epochs 1 --style compact",
    "grpo": "grpo --pairs in.jsonl --model nano-sft --out grpo --steps 1 --groups 1 --rollouts 2 "
    "--micro-batch 2 --max-new-tokens 4",
}


def python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts the threads as Linux shows them")
@pytest.mark.parametrize(
    "command", ["judge", *[pytest.param(name, marks=pytest.mark.long) for name in ("sft", "grpo")]]
)
def test_nobody_adds_or_removes_a_variable_once_there_are_threads(command: str, tmp_path: Path) -> None:
    pairs = tiny.pairs(4)
    write_pairs(tmp_path / "in.jsonl", pairs)
    write_chains(tmp_path / "chains.jsonl", [Chain(pair, "ab", CHAIN) for pair in pairs if pair.label == "A"])
    # as in a shell: what the tests' own run has set is not there
    unset = [name for name in (*AT_START, ALLOCATOR, "TORCHINDUCTOR_CACHE_DIR", "CUDA_VISIBLE_DEVICES")]
    start = ["env", *[part for name in unset for part in ("-u", name)], sys.executable]
    done = subprocess.run(
        [*start, str(LATE), *COMMANDS[command].split()], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0 and "nobody wrote late" in done.stderr, done.stdout + done.stderr
    said = [line for line in done.stderr.replace("\r", "\n").splitlines() if line.strip()]
    assert [line for line in said if "%|" not in line] == ["nobody wrote late"], "a library spoke up"


def test_a_late_writer_is_found(tmp_path: Path) -> None:
    """The tool itself: a command whose data reader writes while a thread waits."""
    (tmp_path / "late.py").write_text(
        textwrap.dedent(
            f"""
            import os, runpy, sys, threading, rmr1_lite.cli.main as cli
            def main():
                threading.Thread(target=threading.Event().wait, daemon=True).start()
                os.environ["LATE_ONE"] = "x"
                os.environ["LATE_ONE"] = "y"
            cli.main, sys.argv = main, [{str(LATE)!r}, "judge"]
            runpy.run_path({str(LATE)!r}, run_name="__main__")
            """
        )
    )
    done = python("late.py", cwd=tmp_path)
    assert (
        done.returncode == 1 and done.stderr.count("os.putenv LATE_ONE: ") == 1 and "late.py:" in done.stderr
    )


def test_accelerate_sees_no_variables_while_the_process_keeps_them() -> None:
    getenv = ctypes.CDLL(None).getenv
    getenv.restype, kept = ctypes.c_char_p, dict(os.environ)
    with hidden_environment():
        assert os.getenv("PATH") is None and not os.environ and getenv(b"PATH") == kept["PATH"].encode()
        os.environ["MINE"] = "x"
    assert dict(os.environ) == kept and getenv(b"MINE") is None


def test_a_trainer_is_made_without_emptying_the_environment() -> None:
    """What accelerate did: a class of settings looks at its defaults with no variables set."""
    from accelerate.utils import GradientAccumulationPlugin, environment

    from rmr1_lite.environment import spare_environment

    spare_environment()
    seen: list[bytes | None] = []
    getenv, stop = ctypes.CDLL(None).getenv, threading.Event()
    getenv.restype = ctypes.c_char_p

    def read() -> None:
        while not stop.is_set():
            seen.append(getenv(b"PATH"))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(200):
        assert GradientAccumulationPlugin(num_steps=3).to_kwargs() == {"num_steps": 3}
    stop.set()
    reader.join()
    assert environment.clear_environment is hidden_environment and None not in seen and seen


SETTINGS = [
    ({}, {"CUDA_VISIBLE_DEVICES": "0", "KMP_INIT_AT_FORK": "FALSE"}, "what would be set later"),
    ({"CUDA_VISIBLE_DEVICES": "1"}, {"CUDA_VISIBLE_DEVICES": "1"}, "a user's own card stays"),
    ({"HF_HUB_DISABLE_TELEMETRY": "0"}, {"HF_HUB_DISABLE_TELEMETRY": "0"}, "a user's own choice stays"),
]


@pytest.mark.parametrize("given, wanted, why", SETTINGS, ids=[row[2] for row in SETTINGS])
def test_what_is_set_at_the_start(given: dict[str, str], wanted: dict[str, str], why: str) -> None:
    made = dict(given)
    prepare_environment(made)
    assert wanted.items() <= made.items() and AT_START.keys() <= made.keys()
    again = dict(made)
    prepare_environment(again)
    assert again == made


def test_an_allocator_of_the_users_own_stays() -> None:
    made = {"PYTORCH_CUDA_ALLOC_CONF": "backend:native"}
    prepare_environment(made)
    assert ALLOCATOR not in made


def test_an_installed_kit_stays_out_of_pythonpath(monkeypatch: pytest.MonkeyPatch) -> None:
    """There, its neighbours would precede the standard library."""
    place = str(Path(rmr1_lite.__file__).parents[1])
    assert environment_with_kit({})["PYTHONPATH"] == place, "a checkout is named"
    monkeypatch.setattr("sysconfig.get_path", lambda name: place)
    assert environment_with_kit({"A": "b"}) == {"A": "b"}


def test_inductors_folder_is_torchs_own() -> None:
    made: dict[str, str] = {}
    prepare_environment(made)
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    assert made["TORCHINDUCTOR_CACHE_DIR"] == default_cache_dir()


@pytest.mark.skipif(not hasattr(signal, "SIGSEGV") or sys.platform == "win32", reason="a POSIX signal")
def test_a_process_that_dies_says_where(tmp_path: Path) -> None:
    die = "import os, signal; from rmr1_lite.environment import prepare_process; prepare_process(); "
    done = python("-c", die + "os.kill(os.getpid(), signal.SIGSEGV)", cwd=tmp_path)
    assert done.returncode == -signal.SIGSEGV and "Fatal Python error: Segmentation fault" in done.stderr


@pytest.mark.long
def test_bitsandbytes_does_not_advise_to_download_code(tmp_path: Path) -> None:
    """On a processor with AVX512-BF16 it logs at every start that a kernel could be downloaded."""
    script = """
        import importlib.abc, importlib.machinery, sys
        from rmr1_lite.environment import prepare_process
        prepare_process() if len(sys.argv) > 1 else None
        class Loader(importlib.machinery.SourceFileLoader):
            def exec_module(self, module):
                super().exec_module(module)
                module.has_avx512bf16 = lambda: True
        class Finder(importlib.abc.MetaPathFinder):
            def find_spec(self, name, path, target=None):
                if name != "bitsandbytes.functional":
                    return None
                spec = importlib.machinery.PathFinder.find_spec(name, path)
                spec.loader = Loader(name, spec.origin)
                return spec
        sys.meta_path.insert(0, Finder())
        import bitsandbytes
    """
    (tmp_path / "start.py").write_text(textwrap.dedent(script))
    assert "gemm_4bit_forward" in python("start.py", cwd=tmp_path).stderr, "the noise that was reported"
    assert python("start.py", "quiet", cwd=tmp_path).stderr == ""

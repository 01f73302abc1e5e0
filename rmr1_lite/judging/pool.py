"""Several judges at once without several bases: adapters of the same base share it, and requests never mix.

In PEFT the active adapter is state of the whole model. A judge therefore locks the base, activates its
adapter, generates, and releases the lock. Judges on other bases, endpoints and logs do not wait for each
other.

    pool = JudgePool(["nano-base", "nano-sft", "nano"])
    pool.judge("nano").compare(pair)
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Queue
from threading import Event, Lock, RLock, Thread
from typing import Any, Literal

from rmr1_lite.judging.engines.base import Engine, Request, Sampling
from rmr1_lite.judging.engines.local import LocalEngine
from rmr1_lite.judging.factory import change_sampling, local_engine, make_engine, make_judge
from rmr1_lite.judging.judge import Judge
from rmr1_lite.models.adapters import AdapterInfo, adapter_info, fingerprint_of
from rmr1_lite.models.judge_specs import find_folder, parse_spec
from rmr1_lite.models.loaded import Loaded
from rmr1_lite.models.loading import load
from rmr1_lite.models.lora import peft_errors
from rmr1_lite.models.thinking import AS_SAVED, settle_switch
from rmr1_lite.types import Generation


@dataclass
class _Base:
    """One loaded base, its adapters by spec, and the lock that a judge holds while generating."""

    loaded: Loaded
    engine: LocalEngine
    adapters: dict[str, str] = field(default_factory=dict)  # spec -> PEFT's name
    # a plain lock: a thread other than the one that started may consume what `generate` yields
    lock: Any = field(default_factory=Lock)


@dataclass(frozen=True)
class JudgeState:
    """The state of a judge. waiting: not used yet, or another one is being loaded. error: why it failed; the
    next use retries it."""

    name: Literal["waiting", "loading", "ready", "failed"] = "waiting"
    error: str = ""


class JudgePool:
    """Judges by spec, loaded on first use. Raises InputError then for one that cannot be loaded."""

    def __init__(
        self, specs: Sequence[str], four_bit: bool = True, batch_size: int = 16, style: str | None = None
    ) -> None:
        self.specs, self.four_bit, self.batch_size, self.style = tuple(specs), four_bit, batch_size, style
        self._bases: dict[str, _Base] = {}
        self._judges: dict[str, Judge] = {}
        self._states: dict[str, JudgeState] = {}
        self._styles: dict[str, str] = {}  # of judges that were added with their own
        self._loading = RLock()

    def judge(self, spec: str, **sampling: Any) -> Judge:
        """The judge of that spec; `sampling` changes its defaults (greedy, as many tokens as it needs)."""
        if spec not in self._judges:  # a loaded judge never waits while another one loads
            self._load(spec)
        judge = self._judges[spec]
        return replace(judge, sampling=change_sampling(judge.sampling, **sampling)) if sampling else judge

    def add(self, spec: str) -> None:
        """Offer one more judge."""
        with self._loading:
            if spec not in self.specs:
                self.specs = (*self.specs, spec)

    def set_style(self, spec: str, style: str) -> None:
        """Use this prompt style for that judge instead of the pool's; before it is loaded."""
        self._styles[spec] = style

    def style_of(self, spec: str) -> str | None:
        """The prompt style for that judge, None for its own."""
        return self._styles.get(spec, self.style)

    def state(self, spec: str) -> JudgeState:
        """The state of that judge; this does not load it."""
        return self._states.get(spec, JudgeState())

    def _load(self, spec: str) -> None:
        with self._loading:
            if spec in self._judges:
                return
            self._states[spec] = JudgeState("loading")
            try:
                self._judges[spec] = make_judge(spec, self.style_of(spec), engine=self._engine(spec))
            except BaseException as error:
                self._states[spec] = JudgeState("failed", str(error))
                raise
            self._states[spec] = JudgeState("ready")

    def shared(self, spec: str) -> SharedEngine | None:
        """The engine of a local judge, None for an endpoint or a log."""
        engine = self.judge(spec).engine
        return engine if isinstance(engine, SharedEngine) else None

    def _engine(self, spec: str) -> Engine:
        parsed = parse_spec(spec)
        if not parsed.runs_here:
            return make_engine(spec, self.style_of(spec))
        info = adapter_info(spec)
        base = self._base(info.base if info else spec)
        with base.lock:
            if info is not None and parsed.folder is not None:
                _add_adapter(base, spec, parsed.folder, info)
            style = self.style_of(spec) or (info.style if info else base.loaded.style)
            switch = settle_switch(
                base.loaded.tokenizer,
                style,
                trained=(info.thinking or AS_SAVED) if info else base.loaded.thinking,
            )
        own_style = (info.style if info else base.loaded.style) or None
        return SharedEngine(base, spec, own_style, switch, fingerprint_of(spec))

    def _base(self, name: str) -> _Base:
        key = str(find_folder(name) or name)
        if key not in self._bases:
            loaded = load(name, self.four_bit)
            self._bases[key] = _Base(loaded, local_engine(loaded, self.batch_size, name))
        return self._bases[key]


class SharedEngine:
    """A local judge on a shared base. fingerprint: of the adapter's weights, or of the base's
    without one."""

    def __init__(
        self, base: _Base, spec: str, style: str | None, thinking: str = "", fingerprint: str = ""
    ) -> None:
        self.base, self.name, self.style = base, spec, style
        self.thinking, self.fingerprint = thinking, fingerprint

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[int, Generation]]:
        """As LocalEngine; holds the base until all texts are generated."""
        with self.active():
            yield from self.base.engine.generate(requests, sampling)

    def stream(self, request: Request, sampling: Sampling) -> Generator[str, None, Generation]:
        """As LocalEngine. A separate thread holds the base and releases it when the text ends or the iterator
        is closed: a reader that disappears (a closed browser tab) blocks the base no longer than one
        text."""
        pieces: Queue[Any] = Queue()
        left = Event()
        Thread(target=self._write, args=(request, sampling, pieces, left), daemon=True).start()
        try:
            while True:
                piece = pieces.get()
                if isinstance(piece, BaseException):
                    raise piece
                if isinstance(piece, Generation):
                    return piece
                yield piece
        finally:
            left.set()

    def _write(self, request: Request, sampling: Sampling, pieces: Queue[Any], left: Event) -> None:
        """Put every piece and at the end the Generation, or the error."""
        try:
            with self.active():
                stream = self.base.engine.stream(request, sampling)
                while not left.is_set():
                    try:
                        pieces.put(next(stream))
                    except StopIteration as end:
                        return pieces.put(end.value)
                stream.close()
        except BaseException as error:  # raised again in the reader's thread
            pieces.put(error)

    @contextmanager
    def active(self) -> Iterator[Loaded]:
        """The base with only this judge's adapter switched on."""
        with self.base.lock:
            model, adapter = self.base.loaded.model, self.base.adapters.get(self.name)
            if self.thinking:
                settle_switch(self.base.loaded.tokenizer, self.style, self.thinking)
            if adapter is not None:
                model.set_adapter(adapter)
                model.base_model.enable_adapter_layers()
            elif self.base.adapters:
                model.base_model.disable_adapter_layers()
            yield self.base.loaded


def _add_adapter(base: _Base, spec: str, folder: Path, info: AdapterInfo) -> None:
    """Add one more adapter to the base."""
    from peft import PeftModel

    if spec in base.adapters:
        return
    name = f"judge{len(base.adapters)}"
    if base.adapters:
        base.loaded.model.load_adapter(str(folder), name)
    else:
        with peft_errors():
            base.loaded.model = PeftModel.from_pretrained(base.loaded.model, str(folder), adapter_name=name)
        base.engine.model, base.engine.copy = base.loaded.model, None
    base.adapters[spec] = name

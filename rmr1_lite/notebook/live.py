"""Curves drawn during a training, under the cell that started it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

from rmr1_lite.notebook.show import image
from rmr1_lite.reporting.training_curves import sheet_png


@contextmanager
def live_curves(folder: str | Path, every: float = 10.0) -> Iterator[None]:
    """Draw the run's curves every `every` seconds, and a last time when the block ends, however it ends."""
    from IPython.display import HTML, display

    handle: Any = display(HTML("<i>The curves appear after the first steps.</i>"), display_id=True)
    done = Event()

    def draw() -> None:
        sheet = sheet_png(folder)
        if sheet and handle is not None:
            handle.update(image(sheet, 900))

    def watch() -> None:
        while not done.wait(every):
            draw()

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        draw()

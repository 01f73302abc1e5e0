"""The export that `serve` makes of an adapter or a model that was not exported yet."""

from __future__ import annotations

from pathlib import Path

from rmr1_lite.integrations.export.export import export_judge
from rmr1_lite.integrations.export.request import ExportRequest
from rmr1_lite.integrations.serving.commands import ENGINES
from rmr1_lite.types import InputError


def export_for_serving(spec: str, engine: str, out: Path, style: str | None = None) -> Path:
    """Export what `spec` names into `out`, in the form that the engine serves, checked by the parity gate.
    Returns the folder. Raises InputError where too many verdicts change."""
    done = export_judge(ExportRequest(spec, ENGINES[engine].export_as, out, style=style))
    print("\n".join(done.lines()))
    if not done.kept:
        raise InputError(
            f"{spec}: too many verdicts change in the form that {engine} serves, see {done.folder}. Export "
            "it in a larger --type, and serve that folder."
        )
    return done.folder

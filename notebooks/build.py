"""NN_name.py (percent format, the source) -> NN_name.ipynb, the same bytes every time; optionally run and
rendered.

    python notebooks/build.py                       # write every .ipynb
    python notebooks/build.py --check               # fail if one differs from its source
    python notebooks/build.py --run 00 --out runs/notebooks-html      # run on this machine, write HTML to
                                                                      look at

Every notebook's first code cell is setup_cell.py, and its badges are made from the REPO_URL in there.
"""

from __future__ import annotations

import os
import re
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Optional

import jupytext
import nbformat
import typer

HERE = Path(__file__).parent
SETUP, SETUP_MARK, BADGES_MARK = HERE / "setup_cell.py", "# setup_cell.py stands here", "<!-- badges -->"
SOURCES = sorted(HERE.glob("[0-9][0-9]_*.py"))
METADATA = {
    "accelerator": "GPU",
    "colab": {"gpuType": "T4", "provenance": [], "toc_visible": True},
    "kaggle": {
        "accelerator": "nvidiaTeslaT4",
        "isGpuEnabled": True,
        "isInternetEnabled": True,
        "language": "python",
        "sourceType": "notebook",
    },
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def build_notebook(source: Path, setup: str | None = None) -> str:
    """The text of the .ipynb of one source."""
    setup = SETUP.read_text(encoding="utf-8") if setup is None else setup
    notebook = jupytext.reads(source.read_text(encoding="utf-8"), fmt="py:percent")
    address = re.search(r'^REPO_URL = "(.*)"', setup, re.MULTILINE)
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"{source.stem[:2]}-{number:02d}", {}
        if cell.source.strip() == SETUP_MARK:  # folded on Colab, Kaggle and in JupyterLab
            cell.source, cell.metadata = (
                setup.strip(),
                {"cellView": "form", "jupyter": {"source_hidden": True}},
            )
        made = badges(address[1] if address else "", source.stem)
        cell.source = cell.source.replace(f"{BADGES_MARK}\n\n", f"{made}\n\n" if made else "").strip()
    notebook.metadata, notebook.nbformat, notebook.nbformat_minor = METADATA, 4, 5
    nbformat.validate(notebook)
    return nbformat.writes(notebook, version=4, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def badges(address: str, stem: str) -> str:
    """Buttons that open the notebook on Colab and Kaggle; none while there is no address on GitHub."""
    found = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?/?", address)
    if not found:
        return ""
    page = f"github.com/{found[1]}/blob/main/notebooks/{stem}.ipynb"
    colab = f"https://colab.research.google.com/{page.replace('github.com', 'github', 1)}"
    kaggle = f"https://kaggle.com/notebooks/welcome?src=https://{page}&accelerator=nvidiaTeslaT4"
    return (
        f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab}) "
        f"[![Open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)]({kaggle})"
    )


def run(path: Path, seconds: int = 1800) -> Any:
    """The notebook with its outputs, run in its own folder in this environment. An error in a cell is
    raised."""
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=seconds,
        kernel_name="python3",
        coalesce_streams=True,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute(env={**os.environ, "JUPYTER_PLATFORM_DIRS": "1"})
    return notebook


def slow(notebook: Any, least: float = 5.0) -> dict[int, int]:
    """Cells (from 0) that took `least` seconds or more -> seconds."""
    times = {number: cell.metadata.get("execution", {}) for number, cell in enumerate(notebook.cells)}
    ends = {
        number: [datetime.fromisoformat(time[f"iopub.status.{state}"]) for state in ("busy", "idle")]
        for number, time in times.items()
        if "iopub.status.idle" in time
    }
    spent = {number: (end - begin).total_seconds() for number, (begin, end) in ends.items()}
    return {number: round(seconds) for number, seconds in spent.items() if seconds >= least}


def page(notebook: Any) -> str:
    """An HTML page of a notebook that has been run."""
    from nbconvert import HTMLExporter

    return HTMLExporter(template_name="lab").from_notebook_node(notebook)[0]


def main(
    check: Annotated[
        bool, typer.Option("--check", help="write nothing, fail when a file is out of date")
    ] = False,
    only: Annotated[Optional[list[str]], typer.Option("--run", help="numbers to run, or all")] = None,  # noqa: UP045
    out: Annotated[Path, typer.Option(help="folder for the HTML of --run")] = Path("runs/notebooks-html"),
) -> None:
    """Build every notebook; with --run also run and render some."""
    old = []
    for source in SOURCES:
        path, text = source.with_suffix(".ipynb"), build_notebook(source)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            old.append(path.name)
            if not check:
                path.write_text(text, encoding="utf-8")
    print(
        f"{len(SOURCES)} notebooks, {len(old)} {'out of date' if check else 'written'}: "
        f"{', '.join(old) or 'none'}"
    )
    for source in SOURCES:
        if only and (source.stem[:2] in only or "all" in only):
            out.mkdir(parents=True, exist_ok=True)
            done = run(source.with_suffix(".ipynb"))
            (out / f"{source.stem}.html").write_text(page(done), encoding="utf-8")
            print(f"{out}/{source.stem}.html, cells over 5 seconds: {slow(done)}")
    if check and old:
        sys.exit(1)


if __name__ == "__main__":
    typer.run(main)

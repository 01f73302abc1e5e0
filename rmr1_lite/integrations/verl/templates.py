"""The files of the folder that are written from a template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("templates")


def render_file(name: str, **values: Any) -> str:
    """The text of the file `name`, whose template is NAME.j2. Raises jinja2.UndefinedError for a value that
    is missing."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # `${#` and `{%` mean something in shell scripts
        comment_start_string="{##",
        comment_end_string="##}",
    )
    return environment.get_template(f"{name}.j2").render(**values)

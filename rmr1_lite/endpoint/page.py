"""/docs: the routes, their fields and an example each, drawn from the OpenAPI schema.

FastAPI's own page loads its scripts from elsewhere; this one loads nothing and runs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any


def docs_page(schema: dict[str, Any]) -> str:
    """HTML; everything put into it is escaped."""
    from jinja2 import Environment

    source = files("rmr1_lite.endpoint").joinpath("templates/docs.html.j2").read_text(encoding="utf-8")
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(source)
    return template.render(info=schema["info"], routes=list(_routes(schema)))


def _routes(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    models = schema["components"]["schemas"]
    for path, methods in schema["paths"].items():
        for method, about in methods.items():
            body = (
                about.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            )
            model = models.get(body.get("$ref", "").rpartition("/")[2], {})
            yield {
                "path": path,
                "method": method.upper(),
                "about": about.get("description", ""),
                "fields": list(_fields(model)),
                "example": json.dumps(model["examples"][0]) if model.get("examples") else "",
                "errors": {
                    status: answer["description"]
                    for status, answer in about["responses"].items()
                    if status >= "400" and model
                },
            }


def _fields(model: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(name, default, meaning) of each field."""
    for name, field in model.get("properties", {}).items():
        default = "required" if name in model.get("required", ()) else json.dumps(field.get("default"))
        yield name, default, field.get("description", "")

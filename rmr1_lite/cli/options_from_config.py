"""Command-line options from a flat config: one field, one option, its help from the field. No torch."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any, get_type_hints

import typer


def from_config(
    config_class: type,
    arguments: dict[str, tuple[Any, str]] | None = None,
    presets: Callable[[str], dict[str, Any]] | None = None,
    defaults_by: tuple[str, Callable[[str], dict[str, Any]]] | None = None,
    **extra: Any,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator: the command takes every field of `config_class` as an option and is called with the config.

    arguments: name -> (type, help) of positional ones. extra: option name -> (type, default, help)
    that is not a field. Both are passed on as keywords. presets: name -> values that replace the
    defaults, under --preset; options on the command line win. defaults_by: (option, its value -> the
    defaults that it brings), likewise.
    """
    if presets is not None:
        extra["preset"] = (
            str,
            "nano",
            "a set of settings: nano, smol, t4-16gb, l4-24gb, paper, or CARD:MODEL (see plan)",
        )
    placed = arguments or {}
    hints = get_type_hints(config_class)
    options = [(f.name, hints[f.name], f.default, f.metadata["help"]) for f in fields(config_class)]
    options += [(name, *rest) for name, rest in extra.items()]

    def wrap(function: Callable[..., None]) -> Callable[..., None]:
        def command(**values: Any) -> None:
            others = {name: values.pop(name) for name in (*placed, *extra)}
            context = values.pop("context", None)
            if presets is not None:
                values |= _of_preset(presets(others.pop("preset")), context)
            if defaults_by is not None:
                values |= _of_preset(defaults_by[1](values[defaults_by[0]]), context)
            function(config_class(**values), **others)

        command.__name__, command.__doc__ = function.__name__, function.__doc__
        parameters = [
            *(_argument(name, *what) for name, what in placed.items()),
            *(_parameter(*option) for option in options),
        ]
        if presets is not None or defaults_by is not None:
            parameters.append(
                inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
            )
        # the signature that inspect.signature, and so typer, sees
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        return command

    return wrap


def _of_preset(values: dict[str, Any], context: typer.Context) -> dict[str, Any]:
    """The preset's values except for the given options."""
    sources = {name: context.get_parameter_source(name) for name in values}
    return {
        name: value
        for name, value in values.items()
        if (source := sources[name]) is not None and source.name == "DEFAULT"
    }


def _parameter(name: str, kind: Any, default: Any, text: str) -> inspect.Parameter:
    option = Annotated[kind, typer.Option(help=text)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=option)


def _argument(name: str, kind: Any, text: str) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[kind, typer.Argument(help=text)]
    )

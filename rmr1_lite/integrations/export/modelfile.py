"""Ollama's Modelfile: the chat template in its own language, the context, and neutral sampling.

Ollama does not run Jinja templates. A judge's prompt is one system turn or none, and one user's turn, so
the template is derived by rendering the model's own one with marks in these places: the texts between
the marks are copied. A template that changes the turns' texts cannot be copied, and is refused.
"""

from __future__ import annotations

import json
from typing import Any

from rmr1_lite.models.render import fit_template
from rmr1_lite.types import InputError

SYSTEM, USER = "the System turn", "the User's turn"


def write_template(tokenizer: Any, name: str) -> str:
    """The template in Go's syntax, {{ .System }} and {{ .Prompt }} in their places. Raises InputError."""
    user = {"role": "user", "content": USER}
    alone = _between(_render(tokenizer, [user]), name, USER)
    both = _render(tokenizer, [{"role": "system", "content": SYSTEM}, user])
    first, middle, last = _between(both, name, SYSTEM, USER)
    head, tail = alone
    if tail != last:
        raise InputError(_REFUSED.format(name=name, why="it ends differently with a system turn"))
    bos = tokenizer.bos_token if getattr(tokenizer, "bos_token", None) else ""
    # llama.cpp puts the first token itself where the tokenizer says so
    first, head = (part.removeprefix(bos) if bos else part for part in (first, head))
    with_system = f"{_go(first)}{{{{ .System }}}}{_go(middle)}"
    opening = f"{{{{ if .System }}}}{with_system}{{{{ else }}}}{_go(head)}{{{{ end }}}}"
    return f"{opening}{{{{ .Prompt }}}}{_go(tail)}{{{{ .Response }}}}"


def write_modelfile(tokenizer: Any, name: str, file: str, context: int, tokens: int, ends: list[str]) -> str:
    """The Modelfile of a GGUF `file` next to it. context: in tokens, prompt and chain. tokens: of a
    chain. ends: texts of the tokens that end it."""
    settings = {
        "num_ctx": context,
        "num_predict": tokens,
        "temperature": 0,
        "top_k": 0,
        "top_p": 1.0,
        "min_p": 0.0,
        "repeat_penalty": 1.0,
        "seed": 0,
    }
    lines = [f"PARAMETER {key} {value}" for key, value in settings.items()]
    lines += [f"PARAMETER stop {json.dumps(end, ensure_ascii=False)}" for end in ends]
    return "\n".join([f"FROM ./{file}", f'TEMPLATE """{write_template(tokenizer, name)}"""', *lines, ""])


_REFUSED = (
    "{name}: its chat template cannot be written as an Ollama template ({why}). Use --to gguf with "
    "llama.cpp, which runs the model's own template."
)


def _render(tokenizer: Any, turns: list[dict[str, Any]]) -> str:
    return fit_template(tokenizer, turns)[1]


def _between(text: str, name: str, *marks: str) -> list[str]:
    """The texts around the marks, which must be there once and in this order."""
    parts, rest = [], text
    for mark in marks:
        if rest.count(mark) != 1:
            raise InputError(_REFUSED.format(name=name, why="it changes, repeats or leaves out a turn"))
        part, _, rest = rest.partition(mark)
        parts.append(part)
    return [*parts, rest]


def _go(text: str) -> str:
    """Literal text inside a Go template inside a Modelfile's triple quotes."""
    if '"""' in text:
        raise InputError(
            "The chat template holds three quotes in a row, which a Modelfile cannot. Use --to gguf."
        )
    return text.replace("{{", '{{ "{{" }}')

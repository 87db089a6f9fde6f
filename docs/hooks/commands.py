"""The page of all commands: written from the commands themselves when the site is built, so that it cannot be out of date."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

MARK = "<!-- commands -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Every verb with its arguments and options where the mark stands."""
    return markdown.replace(MARK, commands()) if MARK in markdown else markdown


def commands() -> str:
    """Markdown: a section for each verb."""
    from tracedge.cli import app

    return "\n\n".join(_section(" ".join(["tracedge", *names]), verb) for names, verb in verbs(get_command(app)))


def verbs(command: Any, names: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The words of each verb after `tracedge`, and its command."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield names, command
        return
    for name, each in inner.items():
        yield from verbs(each, (*names, name))


def _section(name: str, verb: Any) -> str:
    arguments = " ".join(p.make_metavar(ctx=None) if _takes_context(p) else p.human_readable_name for p in _of(verb, "argument"))
    lines = [f"## {name}", _plain(inspect.cleandoc(verb.help or "")), f"```text\n{name} {arguments} [OPTIONS]\n```"]
    rows = [_row(each) for each in (*_of(verb, "argument"), *_of(verb, "option"))]
    lines.append("\n".join(["| | default | |", "| --- | --- | --- |", *rows]))
    return "\n\n".join(lines)


def _takes_context(_: Any) -> bool:
    return False


def _of(verb: Any, kind: str) -> list[Any]:
    return [p for p in verb.params if p.param_type_name == kind and not getattr(p, "hidden", False)]


def _row(parameter: Any) -> str:
    names = parameter.human_readable_name if parameter.param_type_name == "argument" else ", ".join(
        f"`{each}`" for each in (*parameter.opts, *parameter.secondary_opts)
    )
    known = parameter.default if isinstance(parameter.default, bool | int | float | str) else None
    default = "required" if parameter.required else ("" if known is None or known is False else f"`{known}`")
    return f"| {names} | {default} | {_plain(parameter.help or '')} |"


def _plain(text: str) -> str:
    """A table's cell: no bars; what looks like a tag of HTML stays as it is."""
    return re.sub(r"\s*\n\s*(?=\S)", " ", text).replace("|", "\\|").replace("<", "&lt;")

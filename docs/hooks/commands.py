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
    parameters = [each for each in verb.params if not getattr(each, "hidden", False)]
    arguments = [each for each in parameters if each.param_type_name == "argument"]
    options = [each for each in parameters if each.param_type_name == "option"]
    usage = " ".join([name, *(each.name.upper() for each in arguments), "[OPTIONS]"])
    rows = [_row(each.name.upper(), each) for each in arguments]
    rows += [_row(", ".join(f"`{word}`" for word in (*each.opts, *each.secondary_opts)), each) for each in options]
    table = "\n".join(["| | default | |", "| --- | --- | --- |", *rows]) if rows else ""
    return "\n\n".join([f"## {name}", _plain(inspect.cleandoc(verb.help or "")), f"```text\n{usage}\n```", table])


def _row(names: str, parameter: Any) -> str:
    known = parameter.default if isinstance(parameter.default, bool | int | float | str) else None
    default = "required" if parameter.required else ("" if known is None or known is False else f"`{known}`")
    return f"| {names} | {default} | {_plain(parameter.help or '')} |"


def _plain(text: str) -> str:
    """A table's cell: no bars; what looks like a tag of HTML stays as it is."""
    return re.sub(r"\s*\n\s*(?=\S)", " ", text).replace("|", "\\|").replace("<", "&lt;")

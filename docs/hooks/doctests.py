"""Examples in docstrings stand there as `>>>`, which Markdown takes for quotations: they are fenced before the page is made."""

from __future__ import annotations

from typing import Any

import griffe


class FencedDoctests(griffe.Extension):
    """For mkdocstrings: every docstring's examples as code."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)


def fenced(docstring: str) -> str:
    """With each example, up to the next empty line, in a fence."""
    paragraphs = docstring.split("\n\n")
    return "\n\n".join(f"```pycon\n{each}\n```" if each.lstrip().startswith(">>>") else each for each in paragraphs)

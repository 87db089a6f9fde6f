"""Formulas: a block of ```math, LaTeX as GitHub shows it too, becomes MathML when the site is built. No script, no network."""

from __future__ import annotations

from typing import Any

from latex2mathml.converter import convert


def on_config(config: Any) -> Any:
    """Tell the Markdown extension that makes fenced blocks what to do with `math`."""
    fences = config.mdx_configs.setdefault("pymdownx.superfences", {}).setdefault("custom_fences", [])
    fences.append({"name": "math", "class": "formula", "format": mathml})
    return config


def mathml(source: str, *_: Any, **__: Any) -> str:
    """One displayed formula; what the converter does not know would stand there as LaTeX, so it is refused."""
    found = convert(source.strip(), display="block")
    if "\\" in found or "merror" in found:
        raise ValueError(f"this formula was not understood: {source.strip()}")
    return f'<div class="formula">{found}</div>'

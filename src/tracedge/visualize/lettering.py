"""The letters of contact sheets: names in many scripts, and an escape for what the font does not have."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

from PIL import ImageFont

Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont

NOWHERE = "\U0010fffe"  # no font has it: what is drawn for it is drawn for all that is missing


def text_font(size: int) -> Font:
    """DejaVu Sans (Latin, Greek, Cyrillic, Arabic, ...) where matplotlib, which brings it, is installed; else Pillow's own."""
    found = find_spec("matplotlib")  # looked for, not imported: that would take longer than a page
    for folder in (found.submodule_search_locations or []) if found else []:
        file = Path(folder) / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if file.is_file():
            return ImageFont.truetype(str(file), size)
    return ImageFont.load_default(size)


def written(text: str, font: Font) -> str:
    r"""The text in one line; characters that the font does not have, or that are no letters, as \uXXXX.

    >>> written("a\n.jpg", ImageFont.load_default(12))
    'a\\u000A.jpg'
    """
    return "".join(each if each.isprintable() and _has(font, each) else _escape(each) for each in text)


def _escape(character: str) -> str:
    number = ord(character)
    return f"\\u{number:04X}" if number < 0x10000 else f"\\U{number:08X}"


@lru_cache(maxsize=4096)
def _has(font: Font, character: str) -> bool:
    try:
        drawn, missing = font.getmask(character), font.getmask(NOWHERE)
    except UnicodeError:  # Pillow's font of bitmaps knows Latin-1 alone
        return character.isascii()
    return (drawn.size, bytes(drawn)) != (missing.size, bytes(missing))

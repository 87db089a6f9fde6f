"""Contact sheets: what a folder run found, many photos on a page, in an order that helps to look through them."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngImageFile, PngInfo

from tracedge.atomic import atomic_path
from tracedge.errors import DataError, ImageError, SettingsError
from tracedge.images import MAX_PIXELS
from tracedge.run_entries import RunEntry, read_entries
from tracedge.settings import check_types, choose
from tracedge.visualize.lettering import Font, text_font, written
from tracedge.visualize.thumbnails import thumbnail

Figure = Callable[[RunEntry], float | None]

SORTS: dict[str, Figure | None] = {
    "name": None,
    "most": lambda entry: -entry.count[0] if entry.count else None,
    "fewest": lambda entry: entry.count[0] if entry.count else None,
    "least-sure": lambda entry: entry.sureness,
    "surest": lambda entry: -entry.sureness if entry.sureness is not None else None,
    "slowest": lambda entry: -entry.fields["seconds"] if "seconds" in entry.fields else None,
}
"""Orders, by a figure of each photo, the smallest first."""

MARK = "tracedge sheet"  # in the file: what does not have it is somebody else's
PAPER, INK, PALE, ALARM = (255, 255, 255), (30, 30, 30), (110, 110, 110), (175, 70, 0)
GAP, LINE, HEAD, TEXT = 8, 15, 26, 11  # px


@dataclass(frozen=True)
class SheetSettings:
    """How a sheet looks: the order (`SORTS`), columns and rows of a page, and the long side of a picture in pixels."""

    sort: str = "name"
    columns: int = 6
    rows: int = 8
    side: int = 200

    def __post_init__(self) -> None:
        check_types(self)
        choose("order", self.sort, SORTS)
        if not (1 <= self.columns <= 50 and 1 <= self.rows <= 50 and 48 <= self.side <= 1024):
            raise SettingsError(
                "a page has 1 to 50 columns and rows of pictures of 48 to 1024 px, "
                f"got {self.columns} x {self.rows} of {self.side}"
            )


def write_contact_sheet(
    folder: str | os.PathLike[str],
    path: str | os.PathLike[str],
    settings: SheetSettings | None = None,
    *,
    images: str | os.PathLike[str] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> list[Path]:
    """Write the sheet of a run as one PNG, or as pages <stem>-001.png, <stem>-002.png, ... where it has several.

    Photos that failed come last, with the reason. Pages of an earlier sheet of this name are replaced, or removed where they are
    more. A page is all that is in memory at a time.

    Args:
        folder: what `tracedge edges`, `segment` or any other command over a folder wrote.
        path: of the PNG.
        images: the folder that the photos came from, to draw instances over them, and maps that have no overlay. Of photos that
            are not there (any more; those of archives are not) the maps are shown alone.

    Returns:
        The files written, in order.

    Raises:
        DataError: the folder holds no run, or a run without photos.
        SettingsError: the path does not end in .png, holds a picture that is no sheet, `images` is no folder, or holds none
            of the photos; or an order by a figure that no photo has.
    """
    settings, path = settings or SheetSettings(), Path(path)
    entries = in_order(read_entries(folder), settings.sort)
    if not entries:
        raise DataError(f"{folder} holds a run without any photo yet.")
    if images is not None and not Path(images).is_dir():
        raise SettingsError(f"{images} is no folder: expected the one that the photos came from.")
    if images is not None and not any((Path(images) / entry.file).exists() for entry in entries):
        raise SettingsError(f"{images} holds none of the photos of {folder}, such as {entries[0].file}.")
    paths = _page_paths(path, math.ceil(len(entries) / (settings.columns * settings.rows)))
    for each in (path, *paths):
        _refuse_others(each)
    show = partial(thumbnail, Path(folder), side=settings.side, max_pixels=max_pixels)
    if images is not None:
        show = partial(show, images=Path(images))
    title = Path(folder).resolve().name
    for each, page in zip(paths, contact_sheet(entries, show, settings, title=title), strict=True):
        info = PngInfo()
        info.add_text("Software", MARK)
        with atomic_path(each) as temporary:
            page.save(temporary, format="PNG", pnginfo=info, compress_level=3)
    for old in _outlived(path, paths):
        old.unlink()
    return paths


def in_order(entries: Sequence[RunEntry], sort: str) -> list[RunEntry]:
    """Sorted by an order of `SORTS`, names deciding between equals; photos without the figure after the others, failed ones last.

    Raises:
        SettingsError: an unknown order, or by a figure that no photo has.
    """
    figure = choose("order", sort, SORTS)
    by_name = sorted(entries, key=lambda entry: entry.file)
    if figure is not None:
        figures = {entry.file: figure(entry) for entry in by_name if entry.error is None}
        if figures and all(value is None for value in figures.values()):
            raise SettingsError(
                f"no photo of this run has a figure to be sorted by {sort}: take --sort name (sort='name')."
            )
        by_name.sort(key=lambda entry: math.inf if (value := figures.get(entry.file)) is None else value)
    return sorted(by_name, key=lambda entry: entry.error is not None)


def contact_sheet(
    entries: Sequence[RunEntry],
    show: Callable[[RunEntry], Image.Image],
    settings: SheetSettings | None = None,
    *,
    title: str = "",
) -> Iterator[Image.Image]:
    """The pages of these photos, RGB, one after the other. show: a photo -> its small picture; what it raises is said instead."""
    settings = settings or SheetSettings()
    per_page = settings.columns * settings.rows
    count = math.ceil(len(entries) / per_page)
    failed = sum(entry.error is not None for entry in entries)
    said = f"{title}  ·  {len(entries)} photos, {failed} failed  ·  by {settings.sort}"
    for number in range(count):
        shown = entries[number * per_page : (number + 1) * per_page]
        pictures = (_attempted(show, entry) for entry in shown)
        yield _page(shown, pictures, settings, f"{said}  ·  page {number + 1} of {count}" if count > 1 else said)


def caption(entry: RunEntry) -> str:
    """What is said of a photo under its name: how many of what, and how sure; or that it failed."""
    if entry.error is not None:
        return "failed"
    said = []
    if entry.count is not None:
        number, what = entry.count
        said.append(f"{number} {what if number != 1 else what.removesuffix('es') if what == 'classes' else what[:-1]}")
    if entry.fields.get("timestep") is not None:
        said.append(f"t* = {entry.fields['timestep']:g}")
    if entry.sureness is not None:
        said.append(f"{'score' if entry.fields.get('scores') else 'margin'} {entry.sureness:.2f}")
    return ", ".join(said)


def _attempted(show: Callable[[RunEntry], Image.Image], entry: RunEntry) -> Image.Image | str:
    """The picture, or the sentence that stands in its place."""
    if entry.error is not None:
        return entry.error
    try:
        return show(entry)
    except (DataError, ImageError, OSError) as error:
        return str(error)


def _page(
    entries: Sequence[RunEntry], pictures: Iterator[Image.Image | str], settings: SheetSettings, said: str
) -> Image.Image:
    cell_width, shown = settings.side + GAP, list(pictures)
    columns = min(settings.columns, len(entries))
    # A row is as tall as its tallest picture; a sentence has a whole square.
    sides = [settings.side if isinstance(one, str) else one.height for one in shown]
    tall = [max(sides[first : first + columns]) for first in range(0, len(sides), columns)]
    tops = [HEAD + sum(tall[:row]) + row * (2 * LINE + 2 * GAP) for row in range(len(tall) + 1)]
    page = Image.new("RGB", (max(columns * cell_width + GAP, 3 * settings.side), tops[-1] + GAP), PAPER)
    pen, font = ImageDraw.Draw(page), text_font(TEXT)
    pen.text((GAP, GAP), fitted_text(written(said, font), page.width - 2 * GAP, font), PALE, font)
    for place, (entry, picture) in enumerate(zip(entries, shown, strict=True)):
        left = GAP + place % columns * cell_width
        top, line = tops[place // columns], tops[place // columns] + tall[place // columns]
        if isinstance(picture, str):
            pen.rectangle((left, top, left + settings.side - 1, top + settings.side - 1), (244, 244, 244))
            pen.multiline_text((left + GAP, top + GAP), _wrapped(picture, settings.side, font), ALARM, font)
        else:
            page.paste(picture, (left, line - picture.height))  # on the line of its name
        below = line + 3
        pen.text((left, below), fitted_text(written(entry.file, font), settings.side, font), INK, font)
        colour = PALE if entry.error is None else ALARM
        pen.text((left, below + LINE), fitted_text(caption(entry), settings.side, font), colour, font)
    return page


def fitted_text(text: str, width: float, font: Font) -> str:
    """The text, its middle left out where it is wider than so many pixels: the end of a name tells it from others."""
    if font.getlength(text) <= width:
        return text
    kept = len(text) - 1
    while kept > 2 and font.getlength(_elided(text, kept)) > width:
        kept -= 1
    return _elided(text, kept)


def _elided(text: str, kept: int) -> str:
    return f"{text[: kept // 2]}...{text[len(text) - (kept - kept // 2) :]}"


def _wrapped(text: str, side: int, font: Font) -> str:
    """The text in lines that fit a picture's place, as many as have room in it."""
    width, lines = side - 2 * GAP, [""]
    for word in (written(each, font) for each in text.split()):
        if font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] = f"{lines[-1]} {word}".strip()
        else:
            lines.append(fitted_text(word, width, font))
    most = (side - 2 * GAP) // LINE
    kept = [line for line in lines if line]
    return "\n".join(kept[:most] if len(kept) <= most else [*kept[: most - 1], "..."])


def _page_paths(path: Path, count: int) -> list[Path]:
    if path.suffix.lower() != ".png":
        raise SettingsError(f"a sheet is a PNG, got {path.name}: give a name that ends in .png.")
    return [path] if count == 1 else [_page_path(path, number) for number in range(1, count + 1)]


def _page_path(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}-{number:03d}.png")


def _outlived(path: Path, written: Sequence[Path]) -> list[Path]:
    """What an earlier sheet of this name left: its single page, or its pages after those written, up to the first gap.

    Last first, so that what is cut off can be finished. A sheet whose name only begins so is another's.
    """
    old = [path] if path not in written and _is_sheet(path) else []
    number = 1 if path in written else len(written) + 1
    while _is_sheet(page := _page_path(path, number)):
        old.append(page)
        number += 1
    return old[::-1]


def _refuse_others(path: Path) -> None:
    if path.exists() and not _is_sheet(path):
        raise SettingsError(f"{path} is there and is no contact sheet: it is not written over.")


def _is_sheet(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return PngImageFile(stream).info.get("Software") == MARK
    except (OSError, SyntaxError, ValueError):
        return False

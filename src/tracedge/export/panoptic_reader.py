"""COCO panoptic files, read strictly: the JSON at once, each PNG when its map is asked for. Truth and predictions alike."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tracedge.categories import Category, by_id
from tracedge.errors import DataError
from tracedge.export.coco import checked_file_name
from tracedge.export.coco_reader import CocoImage, Size, images_of, of_images
from tracedge.export.json_lists import lists_of, read_json_text, saying_damage
from tracedge.export.json_records import check_keys, list_of, whole
from tracedge.export.panoptic import png_folder
from tracedge.export.png import read_rgb
from tracedge.images import MAX_PIXELS
from tracedge.panoptic_map import PanopticMap, Segment


@dataclass(frozen=True, eq=False)
class PanopticFile:
    """What a panoptic file says: its annotated images in the file's order, and the map of each when asked for.

    Args:
        path: the JSON, for messages.
        images: image id -> image; those without annotation are not among them.
        categories: in the file's order.
        settings: what a file of tracedge's own says in `info`, else empty.
        max_pixels: the largest H * W accepted of a map.
    """

    path: Path
    images: Mapping[int, CocoImage]
    categories: tuple[Category, ...]
    settings: Mapping[str, object]
    max_pixels: int
    _annotations: Mapping[int, tuple[Path, tuple[Segment, ...]]] = field(repr=False)

    def __len__(self) -> int:
        """How many annotated images there are."""
        return len(self.images)

    def png(self, image_id: int) -> Path:
        """Where the map of an image is, which may not be there.

        Raises:
            DataError: an unknown image.
        """
        if image_id not in self.images:
            raise DataError(f"{self.path} has no image {image_id!r}; it has {len(self)}.")
        return self._annotations[image_id][0]

    def content(self, image_ids: Iterable[int]) -> str:
        """What the maps of these images depend on: 16 hex digits of the SHA-256 of the JSON and of their PNGs.

        Raises:
            DataError: a file that cannot be read any more.
        """
        digest = hashlib.sha256()
        for file in (self.path, *map(self.png, image_ids)):
            try:
                digest.update(hashlib.sha256(file.read_bytes()).digest())
            except OSError as error:
                raise DataError(f"{file} cannot be read: {error}.") from error
        return digest.hexdigest()[:16]

    def read(self, image_id: int, image_hw: Size | None = None) -> PanopticMap:
        """The map of an image. Areas are counted, whatever the file says.

        Args:
            image_id: which image.
            image_hw: the size that it must have, where it is known.

        Raises:
            DataError: an unknown image, a PNG that is damaged or of another size than the image, or ids that are in the PNG or
                in the JSON only.
        """
        png, segments = self.png(image_id), self._annotations[image_id][1]
        rgb = read_rgb(png, max_pixels=self.max_pixels)
        for expected, whose in ((self.images[image_id].hw, f"{self.path} says"), (image_hw, "the image is")):
            if expected is not None and rgb.shape[:2] != tuple(expected):
                got, wanted = (f"{height} x {width}" for height, width in (rgb.shape[:2], expected))
                raise DataError(f"{png} is {got} (rows x columns), but {whose} {wanted}.")
        try:
            return PanopticMap.from_rgb(rgb, segments, self.settings)
        except DataError as error:
            raise DataError(f"{png} and {self.path.name} disagree: {error}") from error


def read_panoptic(
    path: str | os.PathLike[str],
    categories: Sequence[Category] | None = None,
    *,
    folder: str | os.PathLike[str] | None = None,
    only: Collection[int] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> PanopticFile:
    """Read a panoptic JSON, or the `panoptic.json` of a folder.

    Args:
        path: the .json, or a folder with panoptic.json.
        categories: of a prediction: those of its truth, which hold where the file itself names none. A prediction may also leave
            its images out; they are then named after their PNGs.
        folder: where the PNGs are; None: beside the JSON, in the folder that is named after it.
        only: the ids of the images wanted, which the file need not have. Of others no annotation is kept, or looked at.
        max_pixels: the largest H * W accepted of an image.

    Raises:
        DataError: no such file, no JSON, a key that is missing, an id or annotation that comes twice, an unknown image or
            category, a file name that is absolute or has "..", or a segment of nonsense.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "panoptic.json"
    pngs = png_folder(path) if folder is None else Path(folder)
    text = read_json_text(path)
    try:
        content = _content(text, only)
        annotations = list_of(content, "annotations")
        known = tuple(categories) if categories is not None and "categories" not in content else _categories(content)
        named = "images" in content or categories is None
        images = images_of(content, max_pixels) if named else _images_of(annotations)
        found = _annotations(annotations, images, by_id(known), pngs)
    except DataError as error:
        raise DataError(f"{path} is no panoptic file: {error}") from error
    info = content.get("info")
    settings = info.get("settings") if isinstance(info, dict) else None
    annotated = {number: image for number, image in images.items() if number in found}
    return PanopticFile(path, annotated, known, settings if isinstance(settings, dict) else {}, max_pixels, found)


def _content(text: str, only: Collection[int] | None) -> dict[str, Any]:
    """The object, but of its annotations those of the images in `only`, each with its place in the list."""
    content: dict[str, Any] = {}
    with saying_damage():
        for key, records in lists_of(text, content):
            content[key] = list(of_images(records, only) if key == "annotations" else records)
    return content


def _categories(content: Mapping[str, Any]) -> tuple[Category, ...]:
    found = []
    for place, entry in enumerate(list_of(content, "categories"), start=1):
        name = f"category {place} of the list"
        check_keys(entry, name, ("id", "name", "isthing"))
        number = whole(entry, "id", name)
        isthing = _zero_or_one(entry, "isthing", name)
        if number < 0 or not isinstance(entry["name"], str):
            raise DataError(
                f"{name} is {number}, {entry['name']!r:.40}, expected a whole number from 0, and a text as name."
            )
        found.append(Category(number, entry["name"], isthing))
    by_id(found)
    return tuple(found)


def _images_of(annotations: list[tuple[int, Any]]) -> dict[int, CocoImage]:
    """The images of a prediction that lists none: one an annotation, under the name of its PNG."""
    found = {}
    for place, entry in annotations:
        name = f"annotation {place} of the list"
        check_keys(entry, name, ("image_id", "file_name"))
        number = whole(entry, "image_id", name)
        found[number] = CocoImage(number, checked_file_name(entry["file_name"]), None)
    return found


def _annotations(
    entries: list[tuple[int, Any]], images: Mapping[int, CocoImage], categories: Mapping[int, Category], folder: Path
) -> dict[int, tuple[Path, tuple[Segment, ...]]]:
    """Image id -> where its PNG is, and its segments."""
    found: dict[int, tuple[Path, tuple[Segment, ...]]] = {}
    for place, entry in entries:
        name = f"annotation {place} of the list"
        check_keys(entry, name, ("image_id", "file_name", "segments_info"))
        number = whole(entry, "image_id", name)
        if number not in images:
            raise DataError(f"{name} is of image {number}, which is not among the {len(images)} images.")
        if number in found:
            raise DataError(f"image {number} has two annotations, expected one.")
        png = folder / checked_file_name(entry["file_name"])
        segments = tuple(_segment(one, number, categories) for one in list_of(entry, "segments_info"))
        if len({one.id for one in segments}) < len(segments):
            raise DataError(f"image {number} has two segments of one id.")
        found[number] = png, segments
    return found


def _segment(entry: object, image_id: int, categories: Mapping[int, Category]) -> Segment:
    name = f"a segment of image {image_id}"
    check_keys(entry, name, ("id", "category_id"))
    assert isinstance(entry, dict)  # check_keys asks for it
    number = whole(entry, "id", name)
    category = categories.get(whole(entry, "category_id", name))
    if category is None:
        raise DataError(
            f"segment {number} of image {image_id} has the unknown category {entry['category_id']}; "
            f"there are {len(categories)}."
        )
    crowd = "iscrowd" in entry and _zero_or_one(entry, "iscrowd", f"segment {number} of image {image_id}")
    try:
        return Segment(number, category.id, category.isthing, entry.get("score"), crowd)
    except DataError as error:
        raise DataError(f"of image {image_id}: {error}") from error


def _zero_or_one(entry: Mapping[str, Any], key: str, name: str) -> bool:
    value = entry[key]
    if type(value) not in (int, bool) or value not in (0, 1):
        raise DataError(f"{name} has {key} {value!r:.40}, expected 0 or 1.")
    return bool(value)

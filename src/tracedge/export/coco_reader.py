"""COCO JSON of instances or of results, read strictly: what is wrong is said in a sentence, before any mask is decoded.

Masks are decoded image by image, when asked for; a file may hold a hundred thousand of them.
"""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tracedge.errors import DataError
from tracedge.export.coco import checked_file_name
from tracedge.export.json_lists import lists_of, read_json_text, saying_damage
from tracedge.export.json_records import check_keys, check_size, list_of, read_json, whole
from tracedge.export.rle import decode, size_of
from tracedge.images import MAX_PIXELS
from tracedge.instances import Instances, Masks, refuse_too_many

Size: TypeAlias = tuple[int, int]
Images: TypeAlias = str | os.PathLike[str] | Mapping[int, tuple[str, Size | None]]


@dataclass(frozen=True)
class CocoImage:
    """An image of a COCO file: its id, its relative name with "/" between the parts, and (H, W), None if nothing says it."""

    id: int
    file_name: str
    hw: Size | None


@dataclass(frozen=True, eq=False)
class CocoFile:
    """What a COCO file says: its images in the file's order, and the instances of each when asked for.

    Args:
        path: the file, for messages.
        images: image id -> image.
        settings: what a file of tracedge's own says in `info`, else empty.
        max_pixels: the largest H * W accepted of a mask.
    """

    path: Path
    images: Mapping[int, CocoImage]
    settings: Mapping[str, object]
    max_pixels: int
    _annotations: Mapping[int, list[dict[str, Any]]] = field(repr=False)

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.images)

    def instances(self, image_id: int, image_hw: Size | None = None, *, blanks: bool = False) -> Instances:
        """The instances of an image, of all categories, in the file's order; crowds are left out.

        Args:
            image_id: which image.
            image_hw: the size of the image, where it is known.
            blanks: whether masks without a pixel are among them, as a score counts them; otherwise they are left out too.

        Raises:
            DataError: an unknown id, a segmentation that is damaged or of another size than the image, or an image without
                annotations whose size nothing says.
        """
        image = self._image(image_id)
        hw = self._size(image, image_hw)
        found = self._as_instances(self._decoded(image, hw, crowds=False), hw)
        return found if blanks else found.seen()

    def truth(self, image_id: int) -> tuple[Instances, tuple[int, ...] | None, Masks]:
        """What is known of an image, each mask decoded once.

        Returns:
            `instances(image_id, blanks=True)`: an object whose mask has no pixel is there, to be missed, as in pycocotools;
            the category id of each, None where one of them names none; and the regions marked `iscrowd`, bool (C, H, W), in
            the file's order, without those that have no pixel.

        Raises:
            DataError: as `instances`.
        """
        image = self._image(image_id)
        hw = self._size(image, None)
        objects, crowds = self._decoded(image, hw, crowds=False), self._decoded(image, hw, crowds=True)
        classes = [category for entry, _ in objects if type(category := entry.get("category_id")) is int]
        regions = np.array([mask for _, mask in crowds if mask.any()], bool).reshape(-1, *hw)
        return self._as_instances(objects, hw), tuple(classes) if len(classes) == len(objects) else None, regions

    def _as_instances(self, kept: list[tuple[dict[str, Any], NDArray[np.bool_]]], hw: Size) -> Instances:
        if not kept:
            return Instances.empty(hw, self.settings)
        scores = np.array([entry.get("score", 1.0) for entry, _ in kept], np.float64)
        return Instances(np.stack([mask for _, mask in kept]), scores, self.settings, blanks=True)

    def _image(self, image_id: int) -> CocoImage:
        if image_id not in self.images:
            raise DataError(f"{self.path} has no image {image_id!r}; it has {len(self.images)}.")
        return self.images[image_id]

    def _decoded(self, image: CocoImage, hw: Size, crowds: bool) -> list[tuple[dict[str, Any], NDArray[np.bool_]]]:
        """The entries of an image with their masks."""
        kept = []
        refuse_too_many(len(self._annotations.get(image.id, ())), hw)
        for number, entry in enumerate(self._annotations.get(image.id, ()), start=1):
            if bool(entry.get("iscrowd", 0)) != crowds:
                continue
            try:
                mask = decode(entry["segmentation"], hw, max_pixels=self.max_pixels)
            except DataError as error:
                what = f"annotation {entry['id']}" if "id" in entry else f"result {number}"
                raise DataError(f"{self.path}, {what} of image {image.id}: {error}") from error
            kept.append((entry, mask))
        return kept

    def _size(self, image: CocoImage, image_hw: Size | None) -> Size:
        """The size that the caller, the file or the first run-length encoding gives; two that differ are refused."""
        if image.hw is not None and image_hw is not None and image.hw != tuple(image_hw):
            got, expected = (f"{height} x {width}" for height, width in (image.hw, image_hw))
            raise DataError(
                f"{self.path} has masks of {got} (rows x columns) for {image.file_name}, but the image is {expected}."
            )
        named = image.hw or image_hw
        if named is None:
            segmentations = (entry["segmentation"] for entry in self._annotations.get(image.id, ()))
            named = next(filter(None, map(size_of, segmentations)), None)
        if named is None:
            raise DataError(f"nothing in {self.path} says how large image {image.id} is: give image_hw.")
        return named[0], named[1]


def read_coco(
    path: str | os.PathLike[str],
    images: Images | None = None,
    *,
    only: Collection[int] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> CocoFile:
    """Read a COCO instances file (a JSON object), or a results file (a JSON list) with the images that it is about.

    Annotations of all categories are instances; `CocoFile.truth` tells them apart. Where a file's largest score is above 1, all
    its scores are divided by it, so that they lie in [0, 1] in the same order.

    Args:
        path: the .json file.
        images: for results only: the instances file of the images, or image id -> (file name, (H, W) or None); where it is None
            the run-length encodings say the size.
        only: for an instances file: the ids of the images wanted. Of the others nothing is kept, or looked at.
        max_pixels: the largest H * W accepted of an image.

    Raises:
        DataError: no JSON, a key that is missing, an image or annotation id that comes twice, a file name that is absolute or
            has "..", an image id without image, a score that is negative or not finite, results without `images`, or a mapping
            of another form.
    """
    path = Path(path)
    if only is not None:
        return _read_part(path, frozenset(only), max_pixels)
    content = read_json(path)
    if isinstance(content, list):
        known = _images_of_results(path, images, max_pixels)
        with _naming(path, "a list of COCO results"):
            found = _by_image(enumerate(content, 1), known, "result", ("image_id", "score"))
            return CocoFile(path, known, {}, max_pixels, found)
    with _naming(path, "a COCO file of instances"):
        if images is not None:
            raise DataError("it is no list of results, and has images of its own: do not give images.")
        known = images_of(content, max_pixels)
        found = _by_image(enumerate(list_of(content, "annotations"), 1), known, "annotation", ("id", "image_id"))
        return CocoFile(path, known, _settings(content), max_pixels, found)


def read_coco_images(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> dict[int, CocoImage]:
    """Image id -> image of a COCO file of instances or of panoptic segments; what stands behind the images is not read.

    Raises:
        DataError: as `read_coco`.
    """
    path = Path(path)
    text = read_json_text(path)
    with _naming(path, "a COCO file"):
        return images_of({"images": list(_records(text, "images"))}, max_pixels)


def of_images(records: Iterable[Any], only: Collection[int] | None) -> Iterator[tuple[int, Any]]:
    """The records that are of these images (None: all), each with its place, from 1.

    Records that are no objects, or of no whole image_id, come too: whoever reads them says what is wrong.
    """
    for place, entry in enumerate(records, start=1):
        number = entry.get("image_id") if isinstance(entry, dict) else None
        if only is None or type(number) is not int or number in only:
            yield place, entry


def _read_part(path: Path, only: frozenset[int], max_pixels: int) -> CocoFile:
    text = read_json_text(path)
    with _naming(path, "a COCO file of instances"):
        images = images_of({"images": list(_records(text, "images"))}, max_pixels)
        known = {number: image for number, image in images.items() if number in only}
        if missing := sorted(only - known.keys()):
            raise DataError(f"{len(missing)} of {len(only)} images are not in it, the first of them {missing[0]}.")
        wanted = of_images(_records(text, "annotations"), only)
        return CocoFile(path, known, {}, max_pixels, _by_image(wanted, known, "annotation", ("id", "image_id")))


@contextmanager
def _naming(path: Path, kind: str) -> Iterator[None]:
    """Whatever is wrong in a file names the file."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{path} is not {kind}: {error}") from error


def _records(text: str, key: str) -> Iterator[Any]:
    """The records of the first list of that name in a JSON object."""
    with saying_damage():
        for name, records in lists_of(text):
            if name == key:
                yield from records
                return
    raise DataError(f"expected an object with a list of {key}.")


def is_results(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as COCO results do: with a JSON list."""
    path = Path(path)
    if not path.is_file() or path.suffix.lower() != ".json":
        return False
    with path.open("rb") as stream:
        return stream.read(64).removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"[")


def _images_of_results(path: Path, images: Images | None, max_pixels: int) -> dict[int, CocoImage]:
    if images is None:
        raise DataError(
            f"{path} is a list of results, which name no images: give images, their instances file or a mapping."
        )
    if not isinstance(images, Mapping):
        return read_coco_images(images, max_pixels=max_pixels)
    return _given_images(images, max_pixels)


def _given_images(images: Mapping[int, tuple[str, Size | None]], max_pixels: int) -> dict[int, CocoImage]:
    known = {}
    for number, said in images.items():
        pair = type(said) in (tuple, list) and len(said) == 2
        if type(number) is not int or not pair or not _is_size_or_none(said[1]):
            raise DataError(
                f"of images, {number!r:.40} is mapped to {said!r:.80}, expected a whole number and (file name, (H, W) or None)."
            )
        name, hw = said[0], (said[1][0], said[1][1]) if said[1] is not None else None
        if hw is not None:
            check_size(*hw, f"image {number}", max_pixels)
        known[number] = CocoImage(number, checked_file_name(name), hw)
    return known


def _is_size_or_none(value: object) -> bool:
    return value is None or (isinstance(value, tuple | list) and len(value) == 2)


def images_of(content: object, max_pixels: int) -> dict[int, CocoImage]:
    """Image id -> image, of the list `images` of a file; an id that comes twice, or a size or name of nonsense, is refused."""
    known: dict[int, CocoImage] = {}
    for place, entry in enumerate(list_of(content, "images"), start=1):
        check_keys(entry, f"image {place} of the list", ("id", "file_name", "height", "width"))
        number = whole(entry, "id", f"image {place} of the list")
        if number in known:
            raise DataError(f"image id {number} comes twice.")
        check_size(entry["height"], entry["width"], f"image {number}", max_pixels)
        known[number] = CocoImage(number, checked_file_name(entry["file_name"]), (entry["height"], entry["width"]))
    return known


def _by_image(
    entries: Iterable[tuple[int, Any]], known: Mapping[int, CocoImage], what: str, keys: tuple[str, ...]
) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    seen: set[int] = set()
    highest = 1.0
    for place, entry in entries:
        name = f"{what} {place} of the list"
        check_keys(entry, name, (*keys, "segmentation"))
        if "id" in keys:
            number = whole(entry, "id", name)
            if number in seen:
                raise DataError(f"{what} id {number} comes twice.")
            seen.add(number)
        image_id = whole(entry, "image_id", name)
        if image_id not in known:
            raise DataError(f"{name} is of image {image_id}, which is not among the {len(known)} images.")
        score = entry.get("score", 1.0)
        if type(score) not in (int, float) or not 0 <= score <= sys.float_info.max:  # a nan is in no range
            raise DataError(f"{name} has the score {score!r:.40}, expected a finite number from 0.")
        highest = max(highest, score)
        crowd = entry.get("iscrowd")
        if type(crowd) not in (int, bool, type(None)) or crowd not in (0, 1, None):
            raise DataError(f"{name} has iscrowd {crowd!r:.40}, expected 0 or 1.")
        found.setdefault(image_id, []).append(entry)
    if highest > 1:
        for entry in chain.from_iterable(found.values()):
            entry["score"] = entry.get("score", highest) / highest  # one without a score is as sure as any
    return found


def _settings(content: Mapping[str, Any]) -> Mapping[str, object]:
    info = content.get("info")
    settings = info.get("settings") if isinstance(info, dict) else None
    return settings if isinstance(settings, dict) else {}

"""What there is in each image, without where: tags from a file, from annotations, from the command line, or from a truth."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

from tracedge.categories import Category
from tracedge.errors import DataError
from tracedge.export.json_records import check_keys, list_of, read_json
from tracedge.images import IMAGE_SUFFIXES
from tracedge.panoptic_map import PanopticMap
from tracedge.semantic_map import UNKNOWN
from tracedge.semantics.classes import classes_of

MAX_XML_BYTES = 1 << 20
LOOKED_FOR = (
    "a JSON file (image name: list of class names; or COCO's images, annotations and categories), a folder of VOC's XML, "
    "or a list such as cat,dog"
)


@dataclass(frozen=True)
class Tags:
    """Category ids of images, ascending, each once. The background is none: what is not tagged may be it anyway.

    said: where they are from, for sentences. of_image: name without suffix, "/" between folders -> ids. of_all: those of every
    image, where none of them has its own.
    """

    said: str
    of_image: Mapping[str, tuple[int, ...]] = field(repr=False)
    of_all: tuple[int, ...] | None = None

    def of(self, stem: str) -> tuple[int, ...]:
        """Those of one image: by its name without suffix, relative to its folder, or else by the last part of that alone.

        Raises:
            DataError: there are none of it. (An empty list says that nothing known is there.)
        """
        if self.of_all is not None:
            return self.of_all
        for name in (stem, PurePosixPath(stem).name):
            if name in self.of_image:
                return self.of_image[name]
        raise DataError(f"{self.said} has no tags of {stem}: add them, or an empty list.")

    def require_any(self, stems: Iterable[str]) -> None:
        """Make sure that they are about these images at all.

        Raises:
            DataError: none of the images has tags.
        """
        names = list(stems)
        if self.of_all is None and not any({stem, PurePosixPath(stem).name} & self.of_image.keys() for stem in names):
            raise DataError(
                f"{self.said} has tags of {len(self.of_image)} images, and of none of these {len(names)}, of which "
                f"{names[0]} is one: images are found by their names without suffix."
            )

    @property
    def provenance(self) -> str:
        """A fingerprint of all of them."""
        content = json.dumps([self.of_all, sorted(self.of_image.items())])
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def read_tags(said: str, categories: Sequence[Category], mapping: Mapping[str, str | int | None] | None = None) -> Tags:
    """Tags of any kind, as categories.

    Args:
        said: a JSON file: an object of image name -> list of class names, or COCO annotations (instances or panoptic), of which
            the classes alone are read; or a folder of <stem>.xml as VOC's, of which object/name is read; or class names with
            commas, which are those of every image.
        categories: by whose names classes are found; see `tracedge.semantics.classes.classes_of`.
        mapping: see there.

    Raises:
        DataError: none of these, a file that cannot be read, or a class that is none of the categories.
    """
    path = Path(said) if "," not in said else Path("no file")  # a list may be longer than a name can be
    if not said.strip(" ,"):
        raise DataError(f"{said!r} is no tags: expected {LOOKED_FOR}.")
    if path.is_dir():
        names = _of_voc(path)
    elif path.suffix.lower() == ".json":
        names = _of_json(path)
    elif path.exists() or "/" in said:
        raise DataError(f"{said!r} is no tags: expected {LOOKED_FOR}.")
    else:
        everywhere = [name.strip() for name in said.split(",") if name.strip()]
        return Tags("the list of tags", {}, _found([everywhere], categories, mapping, "the list of tags")[0])
    found = _found(list(names.values()), categories, mapping, said)
    return Tags(said, dict(zip(names, found, strict=True)))


def tags_of(truth: PanopticMap, categories: Sequence[Category]) -> tuple[int, ...]:
    """The classes that a truth has, but for the background: what a person would tag."""
    background = background_of(categories)
    return tuple(sorted({segment.category_id for segment in truth.segments} - {background}))


def background_of(categories: Sequence[Category]) -> int:
    """The category that is called so, `UNKNOWN` where there is none."""
    return next((one.id for one in categories if one.name.casefold() == "background"), UNKNOWN)


def _found(
    tags: Sequence[Sequence[str]],
    categories: Sequence[Category],
    mapping: Mapping[str, str | int | None] | None,
    said: str,
) -> list[tuple[int, ...]]:
    names = sorted({name for one in tags for name in one})
    numbers = classes_of(dict(enumerate(names)), categories, mapping, where=said).of_value
    of_name = {name: numbers[value] for value, name in enumerate(names)}
    nothing = {UNKNOWN, background_of(categories)}
    return [tuple(sorted({of_name[name] for name in one} - nothing)) for one in tags]


def _of_json(path: Path) -> dict[str, list[str]]:
    content = read_json(path)
    if isinstance(content, dict) and {"annotations", "categories", "images"} <= content.keys():
        return _of_coco(content, path)
    if not isinstance(content, dict) or not content:
        raise DataError(f"{path} holds no tags: expected {LOOKED_FOR}.")
    for name, tags in content.items():
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise DataError(f"{path}: the tags of {name} are {tags!r:.60}, expected a list of class names.")
    return _by_stem(((name, tags) for name, tags in content.items()), path)


def _of_coco(content: dict[str, Any], path: Path) -> dict[str, list[str]]:
    """The classes of each image's annotations; the image without any has none."""
    try:
        names = {one["id"]: str(one["name"]) for one in _records(content, "categories", ("id", "name"))}
        files = {one["id"]: str(one["file_name"]) for one in _records(content, "images", ("id", "file_name"))}
        tags: dict[Any, list[str]] = {number: [] for number in files}
        for one in _records(content, "annotations", ("image_id",)):
            parts = one.get("segments_info", [one])
            tags[one["image_id"]] += [names[part["category_id"]] for part in parts]
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{path} has an annotation of an image or a category that it does not have: {error}."
        ) from error
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return _by_stem(((files[number], found) for number, found in tags.items()), path)


def _records(content: dict[str, Any], key: str, keys: tuple[str, ...]) -> list[dict[str, Any]]:
    records = list_of(content, key)
    for record in records:
        check_keys(record, f"one of {key}", keys)
    return records


def _of_voc(folder: Path) -> dict[str, list[str]]:
    files = sorted(folder.rglob("*.xml"))
    if not files:
        raise DataError(f"{folder} holds no .xml files of tags: expected {LOOKED_FOR}.")
    return _by_stem(((file.relative_to(folder).with_suffix("").as_posix(), _of_xml(file)) for file in files), folder)


def _of_xml(file: Path) -> list[str]:
    try:
        if (size := file.stat().st_size) > MAX_XML_BYTES:
            raise DataError(f"{file} is {size} bytes, more than the limit of {MAX_XML_BYTES} for an annotation of VOC.")
        parser = ElementTree.XMLParser(target=_NoDoctype())
        names = [one.findtext("name") for one in ElementTree.fromstring(file.read_bytes(), parser).iter("object")]
    except DataError as error:
        raise error if str(file) in str(error) else DataError(f"{file} is no annotation of VOC: {error}") from error
    except (OSError, ElementTree.ParseError, ValueError, LookupError) as error:  # the last of an encoding that is none
        raise DataError(f"{file} cannot be read as XML: {error}.") from error
    if not all(name and name.strip() for name in names):
        raise DataError(f"{file} has an object without a name.")
    return [str(name).strip() for name in names]


class _NoDoctype(ElementTree.TreeBuilder):
    """Entities are declared in a DOCTYPE: without one none can grow, or name another file."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise DataError("it has a DOCTYPE.")


def _by_stem(tags: Iterable[tuple[str, list[str]]], where: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, classes in tags:
        inside = PurePosixPath(name)
        stem = str(inside.with_suffix("")) if inside.suffix.lower() in IMAGE_SUFFIXES else str(inside)
        if stem in found:
            raise DataError(f"{where} has tags of {stem} twice.")
        found[stem] = classes
    return found

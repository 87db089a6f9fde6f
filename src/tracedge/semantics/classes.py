"""What the classes of a semantic segmentation are among the categories of panoptic maps, by name or by a mapping file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracedge.categories import COCO_PANOPTIC, VOC_PANOPTIC, Category
from tracedge.errors import DataError
from tracedge.export.json_records import read_json
from tracedge.semantic_map import UNKNOWN

TABLES: dict[str, tuple[Category, ...]] = {"coco": COCO_PANOPTIC, "voc": VOC_PANOPTIC}
"""Name -> the categories that a panoptic map may have."""

_VALUE = re.compile("[0-9]{1,9}")
VOID_VALUE = 255
"""In a map of fewer classes: nobody knows (VOC, DHR)."""

# VOC's names beside COCO's, and what is called more than one way.
_ALIKE = (
    ("aeroplane", "airplane", "plane"),
    ("motorbike", "motorcycle"),
    ("diningtable", "dining table"),
    ("pottedplant", "potted plant"),
    ("sofa", "couch"),
    ("tvmonitor", "tv", "television"),
    ("bike", "bicycle"),
    ("cellphone", "cell phone"),
    ("hairdrier", "hair drier", "hair dryer"),
)


@dataclass(frozen=True)
class Classes:
    """What the values of a semantic map mean.

    categories: all there may be. of_value: value of a pixel, or place of a class among scores -> category id, -1 (`UNKNOWN`) for
    a class that is none of them.
    """

    categories: tuple[Category, ...]
    of_value: Mapping[int, int]

    def of(self, values: NDArray[np.integer[Any]], where: str) -> NDArray[np.int32]:
        """The category of each value, of the same shape.

        Raises:
            DataError: a value that is no class; 255 is unknown where it is none.
        """
        present = np.unique(values).tolist()
        if strange := [value for value in present if value not in self.of_value and value != VOID_VALUE]:
            raise DataError(
                f"{where} has the value {strange[0]}, which is none of its {len(self.of_value)} classes "
                f"({min(self.of_value)} to {max(self.of_value)}, {VOID_VALUE} for unknown)."
            )
        table = np.array([self.of_value.get(value, UNKNOWN) for value in present], np.int32)
        return table[np.searchsorted(present, values)]


def read_class_names(path: Path) -> dict[int, str]:
    """What the values of a semantic map are called.

    A JSON file: a list of names, of which the first is value 0; an object with that list as `names` (DHR's); or an object of
    value -> name.

    Raises:
        DataError: a file that is none of these.
    """
    content = read_json(path)
    names = content.get("names", content) if isinstance(content, dict) else content
    if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
        return dict(enumerate(names))
    if (
        isinstance(names, dict)
        and names
        and all(_VALUE.fullmatch(key) and isinstance(name, str) for key, name in names.items())
        and len({int(key) for key in names}) == len(names)
    ):
        return {int(key): name for key, name in names.items()}
    raise DataError(f"{path} names no classes: expected a list of names, the same under names, or value: name.")


def read_categories(said: str) -> tuple[Category, ...]:
    """The categories of a name of `TABLES`; or those that a file of `read_class_names` lists, by the values that it gives them.

    A class of a file is stuff if COCO has stuff of that name, or if it is the background; else it is a thing.

    Raises:
        DataError: neither, a file that names no classes, or values beyond 254 (255 is unknown).
    """
    if said in TABLES:
        return TABLES[said]
    path = Path(said)
    if not path.is_file():
        raise DataError(
            f"{said!r} is no list of classes: expected one of {', '.join(TABLES)}, or a JSON file of names."
        )
    names = read_class_names(path)
    if max(names) >= VOID_VALUE:
        raise DataError(f"{path} has the value {max(names)}, expected values up to {VOID_VALUE - 1}.")
    stuff = {_bare(one.name) for one in COCO_PANOPTIC if not one.isthing} | {"background"}
    return tuple(Category(value, name, _bare(name) not in stuff) for value, name in names.items())


def read_mapping(path: Path) -> dict[str, str | int | None]:
    """A JSON object: name of a class -> name or id of a category, or null for none.

    Raises:
        DataError: a file that is none.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not all(
        to is None or isinstance(to, str) or type(to) is int for to in content.values()
    ):
        raise DataError(f"{path} maps no classes: expected an object of class name: name or id of a category, or null.")
    return dict(content)


def classes_of(
    names: Mapping[int, str],
    categories: Sequence[Category],
    mapping: Mapping[str, str | int | None] | None = None,
    *,
    where: str = "the list of classes",
) -> Classes:
    """Each class as the category that the mapping says, or else the one of its name.

    Names are compared without case, spaces, "-" and "_", and without COCO's endings -merged, -other and -stuff; VOC's names and
    COCO's are known for each other. "background" is unknown where no category is called so: there is no such thing in COCO.

    Raises:
        DataError: a class that is no category and not in the mapping, or a mapping of or to what there is not.
    """
    given = {_plain(key): (key, to) for key, to in (mapping or {}).items()}
    by_name = {_plain(one.name): one.id for one in categories}
    by_name |= {_bare(one.name): one.id for one in categories if _bare(one.name) not in by_name}
    ids = {one.id for one in categories}
    if strange := sorted(given.keys() - {_plain(name) for name in names.values()}):
        raise DataError(f"the mapping has {given[strange[0]][0]!r}, which is none of the classes of {where}.")
    found: dict[int, int] = {}
    lost: list[str] = []
    for value, name in names.items():
        _, to = given.get(_plain(name), ("", name))
        if to is None:
            found[value] = UNKNOWN
        elif isinstance(to, int) and to in ids:
            found[value] = to
        elif isinstance(to, str) and (number := _called(to, by_name)) is not None:
            found[value] = number
        elif to == name and _plain(name) in ("background", "unlabeled", "ignore", "void"):
            found[value] = UNKNOWN
        else:
            lost.append(name if to == name else f"{name} (mapped to {to!r})")
    if lost:
        listed = ", ".join(lost[:5]) + (f" and {len(lost) - 5} more" if len(lost) > 5 else "")
        raise DataError(
            f"{len(lost)} classes of {where} are none of the {len(categories)} categories: {listed}. "
            "Say by a mapping file what they are, or null."
        )
    return Classes(tuple(categories), found)


def _called(name: str, by_name: Mapping[str, int]) -> int | None:
    plain = _plain(name)
    alike = next((group for group in _ALIKE if plain in map(_plain, group)), ())
    return next((by_name[one] for one in (plain, _bare(name), *map(_plain, alike)) if one in by_name), None)


def _plain(name: str) -> str:
    return "".join(each for each in name.casefold() if each not in " -_")


def _bare(name: str) -> str:
    """COCO's stuff without the endings that its panoptic version gave it."""
    bare = name
    for ending in ("-merged", "-other", "-stuff"):
        bare = bare.removesuffix(ending)
    return _plain(bare)

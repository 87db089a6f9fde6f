"""What segments are called: the 133 categories of COCO panoptic, and Pascal VOC's 20 with the background."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tracedge.errors import DataError

MAX_CATEGORY = (1 << 31) - 1
"""The largest id that a map of int32 can hold."""


@dataclass(frozen=True)
class Category:
    """One class of segments: a number, a name, and whether its segments are things (one object each) or stuff.

    Raises:
        DataError: a value of another kind, or a number that is not in -1..2,147,483,647 (-1 is none of a data set's own).

    >>> str(Category(187, "sky-other-merged", isthing=False))
    "'sky-other-merged' (stuff)"
    """

    id: int
    name: str
    isthing: bool

    def __post_init__(self) -> None:
        if type(self.id) is not int or not -1 <= self.id <= MAX_CATEGORY:
            raise DataError(f"the id of a category is a whole number up to {MAX_CATEGORY}, got {self.id!r:.60}.")
        if not isinstance(self.name, str) or type(self.isthing) is not bool:
            raise DataError(
                f"a category has a text as name and is a thing or not, got {self.name!r:.60} and {self.isthing!r:.60}."
            )

    def __str__(self) -> str:
        """As a sentence names it."""
        return f"{self.name!r} ({'thing' if self.isthing else 'stuff'})"


def _table(text: str, isthing: bool) -> tuple[Category, ...]:
    entries = re.findall(r"(\d+) ([^,]+)", " ".join(text.split()))
    return tuple(Category(int(number), name, isthing) for number, name in entries)


COCO_PANOPTIC = _table(
    """1 person, 2 bicycle, 3 car, 4 motorcycle, 5 airplane, 6 bus, 7 train, 8 truck, 9 boat, 10 traffic light,
    11 fire hydrant, 13 stop sign, 14 parking meter, 15 bench, 16 bird, 17 cat, 18 dog, 19 horse, 20 sheep, 21 cow,
    22 elephant, 23 bear, 24 zebra, 25 giraffe, 27 backpack, 28 umbrella, 31 handbag, 32 tie, 33 suitcase,
    34 frisbee, 35 skis, 36 snowboard, 37 sports ball, 38 kite, 39 baseball bat, 40 baseball glove, 41 skateboard,
    42 surfboard, 43 tennis racket, 44 bottle, 46 wine glass, 47 cup, 48 fork, 49 knife, 50 spoon, 51 bowl,
    52 banana, 53 apple, 54 sandwich, 55 orange, 56 broccoli, 57 carrot, 58 hot dog, 59 pizza, 60 donut, 61 cake,
    62 chair, 63 couch, 64 potted plant, 65 bed, 67 dining table, 70 toilet, 72 tv, 73 laptop, 74 mouse, 75 remote,
    76 keyboard, 77 cell phone, 78 microwave, 79 oven, 80 toaster, 81 sink, 82 refrigerator, 84 book, 85 clock,
    86 vase, 87 scissors, 88 teddy bear, 89 hair drier, 90 toothbrush""",
    isthing=True,
) + _table(
    """92 banner, 93 blanket, 95 bridge, 100 cardboard, 107 counter, 109 curtain, 112 door-stuff, 118 floor-wood,
    119 flower, 122 fruit, 125 gravel, 128 house, 130 light, 133 mirror-stuff, 138 net, 141 pillow, 144 platform,
    145 playingfield, 147 railroad, 148 river, 149 road, 151 roof, 154 sand, 155 sea, 156 shelf, 159 snow,
    161 stairs, 166 tent, 168 towel, 171 wall-brick, 175 wall-stone, 176 wall-tile, 177 wall-wood, 178 water-other,
    180 window-blind, 181 window-other, 184 tree-merged, 185 fence-merged, 186 ceiling-merged,
    187 sky-other-merged, 188 cabinet-merged, 189 table-merged, 190 floor-other-merged, 191 pavement-merged,
    192 mountain-merged, 193 grass-merged, 194 dirt-merged, 195 paper-merged, 196 food-other-merged,
    197 building-other-merged, 198 rock-merged, 199 wall-other-merged, 200 rug-merged""",
    isthing=False,
)
"""COCO panoptic 2017: 80 things and 53 stuff classes, ids 1..200 with holes (the `categories` of its own files)."""

VOC_PANOPTIC = _table("0 background", isthing=False) + _table(
    """1 aeroplane, 2 bicycle, 3 bird, 4 boat, 5 bottle, 6 bus, 7 car, 8 cat, 9 chair, 10 cow, 11 diningtable, 12 dog,
    13 horse, 14 motorbike, 15 person, 16 pottedplant, 17 sheep, 18 sofa, 19 train, 20 tvmonitor""",
    isthing=True,
)
"""Pascal VOC 2012 by its own class numbers: 20 things, and the background as the one stuff class."""


def by_id(categories: Iterable[Category]) -> dict[int, Category]:
    """Id -> category.

    Raises:
        DataError: an id that comes twice.

    >>> by_id(COCO_PANOPTIC)[187].name
    'sky-other-merged'
    """
    found: dict[int, Category] = {}
    for category in categories:
        if category.id in found:
            raise DataError(f"the category id {category.id} comes twice: {found[category.id]}, {category}.")
        found[category.id] = category
    return found

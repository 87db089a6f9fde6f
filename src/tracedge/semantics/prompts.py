"""What a text tower is asked: classes as one says them, in sentences; and what a background is of."""

from __future__ import annotations

TEMPLATES = ("a photo of a {}.", "a photo of the {}.", "a photo of many {}.", "there is {} in the scene.")
"""A class is the mean of these; an empty place for the name is filled once each."""

BACKGROUND = (
    *("ground", "grass", "sand", "snow", "road", "floor", "wall", "ceiling", "building", "window", "tree", "rock"),
    *("sky", "cloud", "water", "sea", "river", "mountain", "railway", "fence", "shadow"),
)
"""Phrases that compete with tags that are things: a short list, after that of Lin et al., "CLIP is also an efficient segmenter"
(CVPR 2023, 3.2, class-related background)."""

_SPOKEN = {
    "diningtable": "dining table",
    "pottedplant": "potted plant",
    "tvmonitor": "tv monitor",
    "aeroplane": "airplane",
    "playingfield": "playing field",
    "door-stuff": "door",
    "mirror-stuff": "mirror",
    "floor-wood": "wooden floor",
    "wall-brick": "brick wall",
    "wall-stone": "stone wall",
    "wall-tile": "tiled wall",
    "wall-wood": "wooden wall",
}


def spoken(name: str) -> str:
    """A class's name as one says it.

    >>> spoken("wall-other-merged"), spoken("diningtable"), spoken("window-blind")
    ('wall', 'dining table', 'window blind')
    """
    for ending in ("-merged", "-other"):
        name = name.removesuffix(ending)
    return _SPOKEN.get(name, name.replace("-", " ").replace("_", " "))


def background_phrases(tags: list[str]) -> list[str]:
    """`BACKGROUND` without what is tagged itself, by its last word: a brick wall is a wall.

    >>> "wall" in background_phrases(["brick wall"])
    False
    """
    tagged = {tag.casefold().split()[-1] for tag in tags}
    return [phrase for phrase in BACKGROUND if phrase not in tagged]

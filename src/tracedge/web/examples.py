"""Pictures to try the page with: scenes drawn by tracedge, and scikit-image's photo of coins. None is a file of this package."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tracedge.datasets.scenes import UNSEEN_SEED, draw_scene
from tracedge.export.png import write_png8
from tracedge.web.reading import RGB

SCENES = (26, 13, 25)
"""Seeds of scenes, counted from the first that no model was trained on."""


def write_examples(folder: Path) -> list[Path]:
    """Draw them into a folder: the files, in the order in which they are shown."""
    paths = []
    for name, image in _examples().items():
        paths.append(folder / f"{name}.png")
        write_png8(paths[-1], image)
    return paths


def _examples() -> dict[str, RGB]:
    pictures = {f"scene {seed}": draw_scene(UNSEEN_SEED + seed, 512).image for seed in SCENES}
    import skimage.data

    coins: RGB = np.asarray(skimage.data.coins())  # lies in the package, is not downloaded
    return pictures | {"coins": coins}

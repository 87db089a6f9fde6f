"""Semantic maps that another tool has written: a folder of PNGs whose values are classes, or of .npz files of scores."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from tracedge.errors import DataError
from tracedge.export.archives import opened_arrays
from tracedge.export.png import read_grey
from tracedge.images import MAX_PIXELS
from tracedge.instances import MAX_MASK_BYTES
from tracedge.semantic_map import SemanticMap
from tracedge.semantics.classes import Classes

LEAST = 0.05
"""A pixel is unknown where no class has a higher score, as in DHR's files."""

_MAX_KEYS = 1 << 16  # bytes: thousands of classes
_LOOKED_FOR = (
    "<stem>.png, a palette or grey PNG whose values are classes, or <stem>.npz with keys (K,) and masks (K, H, W)"
)


@dataclass(frozen=True, eq=False)
class SemanticFolder:
    """The files of a folder. `find_semantics` makes it.

    files: stem, with "/" where they lie in folders -> file. max_pixels: the largest H * W accepted.
    """

    path: Path
    classes: Classes
    files: Mapping[str, Path] = field(repr=False)
    max_pixels: int = MAX_PIXELS

    @cached_property
    def provenance(self) -> dict[str, object]:
        """What the maps depend on, of JSON's types: the content of the files and what their classes are."""
        digest = hashlib.sha256()
        for stem, file in sorted(self.files.items()):
            digest.update(f"{stem}\0".encode())
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        classes = {str(value): number for value, number in sorted(self.classes.of_value.items())}
        return {"semantic": "files", "name": self.path.name, "content": digest.hexdigest()[:16], "classes": classes}

    def require(self, stems: Iterable[str]) -> None:
        """Make sure that there is a map of each image.

        Raises:
            DataError: of some there is none.
        """
        if missing := [stem for stem in stems if stem not in self.files]:
            raise DataError(
                f"{self.path} has no map of {len(missing)} images, of {missing[0]} for one; looked for {_LOOKED_FOR}."
            )

    def read(self, stem: str, image_hw: tuple[int, int]) -> SemanticMap:
        """The map of one image.

        Args:
            stem: its name without suffix, relative to the folder of the images.
            image_hw: its size, (H, W).

        Raises:
            DataError: no such file, a damaged one, a value that is no class, or a map of another size than the image.
        """
        self.require([stem])
        file = self.files[stem]
        found = self._scores(file) if file.suffix.lower() == ".npz" else self._values(file)
        if found.shape != tuple(image_hw):
            expected, got = (f"{height} x {width}" for height, width in (image_hw, found.shape))
            raise DataError(f"{file} is {got} (rows x columns), but the image is {expected}.")
        return found

    def _values(self, file: Path) -> SemanticMap:
        values = read_grey(
            file, ("1", "L", "P", "I;16"), "one channel, whose values are classes", max_pixels=self.max_pixels
        )
        return SemanticMap(self.classes.of(values.astype(np.int64), str(file)))

    def _scores(self, file: Path) -> SemanticMap:
        with opened_arrays(file, "scores of classes") as arrays:
            if not {"keys", "masks"} <= arrays.names:
                raise DataError(f"it has {', '.join(sorted(arrays.names)) or 'no arrays'}, expected keys and masks.")
            keys = arrays.read("keys", _MAX_KEYS)
            masks = arrays.read("masks", min(8 * self.max_pixels * max(keys.size, 1), MAX_MASK_BYTES))
            if keys.ndim != 1 or keys.dtype.kind not in "iu" or masks.ndim != 3 or not len(keys) == len(masks) > 0:
                raise DataError(
                    f"it has keys {keys.dtype} {keys.shape} and masks {masks.shape}, expected (K,) classes and (K, H, W)."
                )
            if masks.dtype.kind not in "fiub":
                raise DataError(f"it has masks of {masks.dtype}, expected scores as numbers.")
            if not 0 < masks[0].size <= self.max_pixels:
                raise DataError(f"it is {masks.shape[2]} x {masks.shape[1]} pixels, expected 1..{self.max_pixels}.")
            numbers = self.classes.of(keys.astype(np.int64), "it")
            with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
                return SemanticMap.from_scores(masks.astype(np.float32), numbers, least=LEAST)


def find_semantics(path: str | os.PathLike[str], classes: Classes, *, max_pixels: int = MAX_PIXELS) -> SemanticFolder:
    """The semantic maps of a folder, in folders below it too.

    Raises:
        DataError: no such folder, no .png or .npz in it, or two files of one image.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder of semantic maps: looked for {_LOOKED_FOR}.")
    files: dict[str, Path] = {}
    for file in sorted(folder.rglob("*")):
        inside = file.relative_to(folder)
        if file.suffix.lower() not in (".png", ".npz") or any(part.startswith(".") for part in inside.parts):
            continue
        stem = inside.with_suffix("").as_posix()
        if stem in files:
            raise DataError(f"{folder} has two maps of {stem}: {files[stem].name} and {file.name}.")
        files[stem] = file
    if not files:
        raise DataError(f"{folder} holds no semantic maps: looked for {_LOOKED_FOR}.")
    return SemanticFolder(folder, classes, files, max_pixels)

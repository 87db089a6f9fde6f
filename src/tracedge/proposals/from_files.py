"""Masks that any other tool has written, found by the names of the images that they are of."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from tracedge.datasets.selection import ends_alike
from tracedge.errors import DataError
from tracedge.export.coco_reader import CocoFile, Images, read_coco
from tracedge.export.labels import read_instances, read_labels
from tracedge.export.png import read_grey
from tracedge.images import IMAGE_SUFFIXES, MAX_PIXELS
from tracedge.instances import Instances

Size: TypeAlias = tuple[int, int]
Reader: TypeAlias = Callable[[Size], Instances]

LOOKED_FOR = (
    "a COCO .json of instances or results, a folder of label PNGs (<stem>.png or <stem>.instances.png), one of .npz files "
    "(<stem>.npz or <stem>.instances.npz), or one with a folder of binary PNGs for each image (<stem>/*.png)"
)


@dataclass(frozen=True, eq=False)
class MaskSource:
    """Masks for a set of images, read when asked for. `find_masks` makes it.

    Args:
        path: the file or folder.
        kind: what it is, for people: "COCO", "label PNGs", "npz files" or "folders of binary PNGs".
        files: all files that the masks stand in.
    """

    path: Path
    kind: str
    files: tuple[Path, ...]
    _readers: Mapping[str, Reader] = field(repr=False)

    def __len__(self) -> int:
        """How many images there are masks of, or known to have none."""
        return len(self._readers)

    @property
    def stems(self) -> tuple[str, ...]:
        """The names of the images without suffix, with "/" where they lie in folders."""
        return tuple(self._readers)

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """What masks from here depend on, of JSON's types: the content of the files, not where they lie."""
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(f"{file.relative_to(self.path).as_posix()}\0".encode())
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        return {"proposals": "files", "kind": self.kind, "name": self.path.name, "content": digest.hexdigest()[:16]}

    def read(self, name: str | os.PathLike[str], image_hw: Size, *, blanks: bool = False) -> Instances:
        """The masks of one image.

        Args:
            name: its stem or file name. Where folders are named on one side only, the rest must agree and be the only one.
            image_hw: its size, (H, W).
            blanks: whether masks without a pixel, of a COCO or .npz file, are among them, as a score counts them; otherwise they
                are left out. A black PNG is never one: so folders say that there is nothing.

        Raises:
            DataError: no such image here, several of that name, a damaged file, or masks of another size than the image.
        """
        found = self._readers[self._key(os.fspath(name))](image_hw)
        if found.shape != tuple(image_hw):
            expected, got = (f"{height} x {width}" for height, width in (image_hw, found.shape))
            raise DataError(f"{self.path} has masks of {got} (rows x columns) for {name}, but the image is {expected}.")
        return found if blanks else found.seen()

    def __contains__(self, name: object) -> bool:
        """Whether the image of this stem or file name is one of them; several of that name count as well."""
        return isinstance(name, str) and bool(self._keys(name))

    @cached_property
    def _by_last_part(self) -> Mapping[str, list[str]]:
        keys: dict[str, list[str]] = {}
        for key in self._readers:
            keys.setdefault(key.rsplit("/", 1)[-1], []).append(key)
        return keys

    def _keys(self, name: str) -> list[str]:
        posix = name.replace("\\", "/")
        stem = _stem(posix)
        for whole in (posix, stem):
            if whole in self._readers:
                return [whole]
        return [key for key in self._by_last_part.get(stem.rsplit("/", 1)[-1], ()) if ends_alike(key, stem)]

    def _key(self, name: str) -> str:
        keys = self._keys(name)
        if len(keys) > 1:
            raise DataError(f"{self.path} has masks of {len(keys)} images named {name}: {', '.join(keys[:3])}.")
        if not keys:
            example = f", such as {self.stems[0]}" if self._readers else ""
            raise DataError(f"{self.path} has no masks of {name}; it has those of {len(self)} images{example}.")
        return keys[0]


def find_masks(
    path: str | os.PathLike[str], images: Images | None = None, *, max_pixels: int = MAX_PIXELS
) -> MaskSource:
    """Masks of another tool, whatever it writes of these:

    | path | masks |
    | --- | --- |
    | a .json | COCO instances (crowds are left out), or COCO results, which need `images` |
    | a folder of .png, or one | label maps, see `read_labels`; <stem>.instances.png also in folders below |
    | a folder of .npz, or one | see `read_instances`; <stem>.instances.npz also in folders below |
    | a folder of folders | <stem>/*.png, one mask each: 0 outside, one other value inside; in the order of their numbers |

    Where a folder holds several kinds, `.instances.npz` comes before `.instances.png`, and both before all others.

    Args:
        path: the file or folder.
        images: for COCO results only: see `read_coco`.
        max_pixels: the largest H * W accepted of a mask.

    Raises:
        DataError: nothing of the above, plain .png and .npz in one folder, two images of one stem, or a COCO file that is not as
            it should be.
    """
    path = Path(path)
    if path.is_file() and path.suffix.lower() == ".json":
        return _of_coco(path, read_coco(path, images, max_pixels=max_pixels))
    if images is not None:
        raise DataError(f"{path} is no COCO file: images are for COCO results only.")
    if not path.exists():
        raise DataError(f"{path} does not exist.")
    if path.is_file():
        files = [path] if path.suffix.lower() in (".png", ".npz") else []
        suffix = path.suffix.lower()
    else:
        files, suffix = _files_of_images(path)
    if files:
        kind, read = ("npz files", _npz) if suffix.endswith("npz") else ("label PNGs", _label_map)
        named = [(_key_of(file, path, suffix), file) for file in files]
        return _source(path, kind, files, ((key, partial(read, file, max_pixels)) for key, file in named))
    folders = _folders(path)
    if not any(folders.values()):
        raise DataError(f"{path} holds no masks: looked for {LOOKED_FOR}.")
    readers = [(folder.name, partial(_binary_masks, masks, max_pixels)) for folder, masks in folders.items()]
    return _source(path, "folders of binary PNGs", [file for masks in folders.values() for file in masks], readers)


def _of_coco(path: Path, coco: CocoFile) -> MaskSource:
    readers = (
        (_stem(image.file_name), partial(coco.instances, image.id, blanks=True)) for image in coco.images.values()
    )
    return _source(path, "COCO", [path], readers)


def _source(path: Path, kind: str, files: Iterable[Path], readers: Iterable[tuple[str, Reader]]) -> MaskSource:
    known: dict[str, Reader] = {}
    for key, reader in readers:
        if key in known:
            raise DataError(f"{path} has masks of two images named {key}: rename one of them.")
        known[key] = reader
    return MaskSource(path, kind, tuple(files), known)


def _files_of_images(folder: Path) -> tuple[list[Path], str]:
    """The files of one kind that stand for an image each, and the end of their names; none if there are none."""
    if not folder.is_dir():
        return [], ""
    for suffix in (".instances.npz", ".instances.png"):
        if found := sorted(file for file in folder.rglob(f"*{suffix}") if not _is_hidden(file, folder)):
            return found, suffix
    here = sorted(file for file in folder.iterdir() if file.is_file() and not _is_hidden(file, folder))
    of_suffix = {suffix: [file for file in here if file.suffix.lower() == suffix] for suffix in (".npz", ".png")}
    if all(of_suffix.values()):
        raise DataError(f"{folder} holds .npz and .png: give a folder of one kind of masks.")
    return next(((files, suffix) for suffix, files in of_suffix.items() if files), ([], ""))


def _key_of(file: Path, path: Path, suffix: str) -> str:
    name = file.name if file == path else file.relative_to(path).as_posix()
    return re.sub(r"\.instances$", "", name[: -len(suffix)])


def _folders(path: Path) -> dict[Path, list[Path]]:
    """Each folder for an image, and the PNGs in it, 2.png before 10.png.

    Raises:
        DataError: a folder with pictures of other formats, which would look like an image without masks.
    """
    found = {}
    for folder in sorted(path.iterdir()) if path.is_dir() else ():
        if not folder.is_dir() or _is_hidden(folder, path):
            continue
        files = [file for file in folder.iterdir() if not _is_hidden(file, path)]
        masks = [file for file in files if file.suffix.lower() == ".png"]
        others = [file.name for file in files if file.suffix.lower() in IMAGE_SUFFIXES - {".png"}]
        if others and not masks:
            raise DataError(f"{folder} holds {min(others)}, expected masks as PNG; looked for {LOOKED_FOR}.")
        found[folder] = sorted(masks, key=_by_numbers)
    return found


def _by_numbers(file: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", file.name)]


def _label_map(file: Path, max_pixels: int, image_hw: Size) -> Instances:
    return read_labels(file, max_pixels=max_pixels)


def _npz(file: Path, max_pixels: int, image_hw: Size) -> Instances:
    return read_instances(file, max_pixels=max_pixels, blanks=True)


def _binary_masks(files: list[Path], max_pixels: int, image_hw: Size) -> Instances:
    masks = []
    for file in files:
        values = read_grey(file, ("1", "L", "P", "I;16"), "one channel, 0 outside of the mask", max_pixels=max_pixels)
        if values.shape != tuple(image_hw):
            expected, got = (f"{height} x {width}" for height, width in (image_hw, values.shape))
            raise DataError(f"{file} is {got} (rows x columns), but the image is {expected}.")
        present = np.unique(values)
        if np.count_nonzero(present) > 1:
            raise DataError(f"{file} has {len(present)} different values, expected 0 and one other: one mask a file.")
        if present.any():
            masks.append(values > 0)
    return Instances(np.stack(masks)) if masks else Instances.empty(image_hw)


def _stem(name: str) -> str:
    """The name without the suffix of an image; "a.b" keeps its "b"."""
    suffix = os.path.splitext(name)[1]  # noqa: PTH122  # a name of any system, with "/"
    return name[: -len(suffix)] if suffix.lower() in IMAGE_SUFFIXES else name


def _is_hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(folder).parts)

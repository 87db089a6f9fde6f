"""Panoptic maps of another tool, held against their truth before any is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tracedge.categories import by_id
from tracedge.datasets.coco import number_of, refuse_absent
from tracedge.errors import DataError
from tracedge.evaluation.panoptic_sets import LabelledPanoptic, PanopticSet
from tracedge.export.panoptic_reader import PanopticFile, read_panoptic
from tracedge.images import MAX_PIXELS
from tracedge.panoptic_map import PanopticMap


@dataclass(frozen=True, eq=False)
class PanopticPredictions:
    """The maps of a COCO panoptic file for the images of a data set; `find_predictions` makes it.

    ids: name of an image of the truth -> its id in the file; images that the file does not have are not among them.
    """

    found: PanopticFile
    ids: Mapping[str, int]

    def __call__(self, sample: LabelledPanoptic) -> PanopticMap:
        """Its map; nothing but void where the file has none.

        Raises:
            DataError: a map of another size than the truth, or a PNG that is not as it should be.
        """
        if sample.name not in self.ids:
            return PanopticMap.empty(sample.truth.shape)
        return self.found.read(self.ids[sample.name], sample.truth.shape)

    @property
    def provenance(self) -> dict[str, object]:
        """What scores depend on, of JSON's types: the content of the files, not where they lie."""
        return {"name": self.found.path.name, "content": self.found.content(self.ids.values())}


def find_predictions(path: Path, labelled: PanopticSet, *, max_pixels: int = MAX_PIXELS) -> PanopticPredictions:
    """The predictions in a COCO panoptic file or folder: by image id where the truth has ids, else by the photo's stem.

    A file that names no images or no categories is about those of the truth.

    Raises:
        DataError: as `read_panoptic`; a PNG that is missing; a category that the truth has not, or of another name or kind
            there; an image of another name there; several images of one stem where stems tell them apart.
    """
    found = read_panoptic(path, labelled.categories, max_pixels=max_pixels)
    known = by_id(labelled.categories)
    for category in found.categories:
        if (there := known.get(category.id)) != category:
            raise DataError(
                f"{found.path}: category {category.id} is {category}, but {there or 'unknown'} in the truth; "
                "use the truth's categories, or leave them out."
            )
    by_stem = _by_stem(found)
    ids: dict[str, int] = {}
    for name, number in labelled.numbers.items():
        if number is None:
            same = by_stem.get(PurePosixPath(name).stem, [])
            if len(same) > 1:
                raise DataError(f"{found.path} has {len(same)} images named {PurePosixPath(name).stem}, expected one.")
            ids |= dict.fromkeys([name] * len(same), *same)
        elif number in found.images:
            _refuse_another(found, number, name)
            ids[name] = number
    refuse_absent([found.png(number) for number in ids.values()], "PNG of panoptic ids")
    return PanopticPredictions(found, ids)


def _by_stem(found: PanopticFile) -> dict[str, list[int]]:
    stems: dict[str, list[int]] = {}
    for number, image in found.images.items():
        stems.setdefault(PurePosixPath(image.file_name).stem, []).append(number)
    return stems


def _refuse_another(found: PanopticFile, number: int, name: str) -> None:
    """One id, one image: by its stem, or by the number in COCO's own names, which differ from 2014 to 2017."""
    theirs = found.images[number].file_name
    stems = [PurePosixPath(each).stem for each in (name, theirs)]
    if stems[0] != stems[1] and not all(number_of(stem) == number for stem in stems):
        raise DataError(f"image {number} is {theirs} in {found.path}, and {name} in the truth.")

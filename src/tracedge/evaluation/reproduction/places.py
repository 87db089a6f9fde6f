"""Where a recipe is measured: the paper's data sets as far as they are there, labelled folders, drawn scenes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tracedge.atomic import atomic_path
from tracedge.datasets import bsds, coco, labelled, voc
from tracedge.datasets.layouts import Dataset, SampleList, open_dataset, provenance
from tracedge.datasets.scenes import UNSEEN_SEED, draw_scene
from tracedge.datasets.selection import Selection
from tracedge.errors import SettingsError, TracedgeError
from tracedge.evaluation.reproduction.recipe import DATA
from tracedge.evaluation.reproduction.request import Request

_OF_EDGES = ("edges", "timesteps")
_NO_SEGMENTS = (
    "drawn scenes have no panoptic segments: --small has nothing to run but labelled folders of --data with panoptic.json, "
    "and only rows whose maps are given by --files NAME=PATH"
)


@dataclass(frozen=True)
class Place:
    """A data set of a table.

    key: names it in the report and after the @ of `--files`. name: for people. paper: the key of DATA whose figures stand beside
    ours. of_the_paper: whether it is meant to be those very data. names: of the photos. truth: makes its samples; None where it
    is not there, or a scene is timed. lacks: why it is not there. said: what the figures depend on.
    """

    key: str
    name: str
    paper: str
    of_the_paper: bool
    names: tuple[str, ...] = ()
    truth: Callable[[], SampleList[Any]] | None = None
    lacks: str | None = None
    said: dict[str, object] = field(default_factory=dict)

    @property
    def like_the_paper(self) -> bool:
        """Whether a difference is one of methods alone: the paper's data, and as many images of them as there are."""
        return self.of_the_paper and len(self.names) == DATA[self.paper].images

    @property
    def unlike_the_paper(self) -> str | None:
        """In words, how the images of the paper's data set differ from it; None where they do not, or it is not there."""
        if not self.of_the_paper or self.like_the_paper or self.lacks is not None:
            return None
        wanted = DATA[self.paper]
        kind = "a part of the paper's images" if len(self.names) < wanted.images else "not the paper's images"
        return f"{kind}: {len(self.names)}, where {wanted.name} has {wanted.images}"

    def samples(self) -> SampleList[Any]:
        """Its photos and their truth."""
        assert self.truth is not None  # or no row could be run there
        return self.truth()


def find_places(request: Request) -> list[Place]:
    """The places of a recipe, also those that are not there; what `refused` names of `data` is passed over.

    Raises:
        SettingsError: two data sets of one name.
    """
    recipe = request.recipe
    if not recipe.data:
        return [Place("scene", "a drawn scene", "", False)]
    folders = [folder for path in request.data for folder in _labelled_in(path)]
    found = [_scenes(request)] if request.small else [_of_the_paper(request, key) for key in recipe.data]
    found += [_opened(request, folder, folder.name, None) for folder in folders]
    keys = Counter(place.key for place in found)
    if twice := [key for key, times in keys.items() if times > 1]:
        raise SettingsError(f"two data sets are called {twice[0]}, which names their table: rename a folder of --data.")
    return found


def refused(path: Path) -> str | None:
    """Why a folder of `data` is nothing that is known, in words; None where it is."""
    if not path.exists():
        return f"--data names {path}, which is not there."
    if not path.is_dir():
        return f"--data names {path}, which is not a folder; a data set is one."
    if _is_root(path) or _labelled_in(path):
        return None
    return f"{path} is no COCO, VOC or BSDS root and no labelled folder (images/ with masks/ or panoptic/), and none is in it."


def _labelled_in(path: Path) -> list[Path]:
    """The folder itself if it is labelled, or those in it that are; none of a COCO, VOC or BSDS root."""
    if not path.is_dir() or _is_root(path):
        return []
    if labelled.is_labelled(path):
        return [path]
    return sorted(folder for folder in path.iterdir() if folder.is_dir() and labelled.is_labelled(folder))


def _is_root(path: Path) -> bool:
    return coco.is_coco(path) or voc.find_voc(path) is not None or bsds.find_bsds(path) is not None


def _of_the_paper(request: Request, key: str) -> Place:
    wanted = DATA[key]
    fits = {"COCO": coco.is_coco, "VOC": lambda path: voc.find_voc(path) is not None}[wanted.layout]
    roots = [path for path in request.data if fits(path)]
    if not roots:
        looked = f"looked in {', '.join(map(str, request.data))}" if request.data else "no --data is given"
        return Place(key, wanted.name, key, True, lacks=f"{wanted.name}: no {wanted.layout} root, {looked}")
    places = [_opened(request, root, key, wanted.split) for root in roots]
    return next((place for place in places if place.lacks is None), places[0])


def _opened(request: Request, root: Path, key: str, split: str | None) -> Place:
    """A data set that is there, with the truth that the recipe asks for; what is wrong with it is what it lacks."""
    name = DATA[key].name if split is not None else key
    place = Place(key, name, key if split is not None else request.recipe.data[0], split is not None)
    try:
        dataset = open_dataset(root, split, _selection(request))
        truth = _truth(request, dataset)
        return replace(place, names=truth.names, truth=lambda: truth, said=provenance(dataset))
    except TracedgeError as error:
        return replace(place, lacks=f"{name}: {error}")


def _truth(request: Request, dataset: Dataset) -> SampleList[Any]:
    if request.recipe.measure == "panoptic":
        return dataset.panoptic()
    return dataset.edges() if request.recipe.measure in _OF_EDGES else dataset.instances()


def _selection(request: Request) -> Selection:
    """What is asked for; else as many images as the scale has."""
    asked = request.selection
    if asked.ids is None and asked.sample is None and asked.limit is None:
        return Selection(limit=request.scale.images)
    return asked


def _scenes(request: Request) -> Place:
    """Scenes that no model was trained on; drawn into the output folder when they are asked for."""
    if request.recipe.measure == "panoptic":
        return Place("scenes", "drawn scenes", request.recipe.data[0], False, lacks=_NO_SEGMENTS)
    root, px = request.output / f"scenes-{request.scale.scene_px}", request.scale.scene_px
    seeds = range(UNSEEN_SEED, UNSEEN_SEED + (request.selection.limit or request.scale.scenes))

    def draw() -> SampleList[Any]:
        for seed in seeds:
            scene = draw_scene(seed, px)
            for kind, picture in (("images", scene.image), ("masks", scene.labels.astype(np.uint16))):
                with atomic_path(root / kind / _scene(seed)) as path:
                    Image.fromarray(picture).save(path, format="PNG")
        return _truth(request, open_dataset(root, selection=Selection(limit=len(seeds))))

    said: dict[str, object] = {"scenes from": UNSEEN_SEED, "px": px}
    names = tuple(map(_scene, seeds))
    return Place("scenes", "drawn scenes", request.recipe.data[0], False, names, draw, None, said)


def _scene(seed: int) -> str:
    return f"scene_{seed:07d}.png"

"""The options that choose a data set's images: the same for every verb that scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tracedge.images import MAX_PIXELS

if TYPE_CHECKING:
    from tracedge.datasets.layouts import Dataset
    from tracedge.datasets.selection import Selection

LAYOUTS = "a COCO, VOC 2012 or BSDS500 root as unpacked, or a folder with images/ and masks/ or panoptic/ (and ignore/)"

IMAGES = "Which images"  # of the help

Split = Annotated[
    str | None,
    typer.Option(
        help="COCO: val2017, train2017, val2014, train2014; VOC: val, train, trainval; BSDS: test, val, train.",
        rich_help_panel=IMAGES,
    ),
]
Ids = Annotated[
    Path | None,
    typer.Option(
        help="Only these images: a file with an id or file name a line, or a COCO .json.", rich_help_panel=IMAGES
    ),
]
SampleSize = Annotated[
    int | None,
    typer.Option(
        "--sample", min=1, help="Only N images of each data set, drawn by --sample-seed.", rich_help_panel=IMAGES
    ),
]
SampleSeed = Annotated[
    int,
    typer.Option("--sample-seed", help="Seed of --sample; the same images on every machine.", rich_help_panel=IMAGES),
]


@dataclass(frozen=True, kw_only=True)
class DatasetOptions:
    """What the options say, before anything is opened. By name alone, as `PredictorOptions`."""

    split: str | None = None
    ids: Path | None = None
    sample: int | None = None
    sample_seed: int = 0
    limit: int | None = None
    max_pixels: int = MAX_PIXELS

    @property
    def selection(self) -> Selection:
        """Which images are used."""
        from tracedge.datasets.selection import Selection

        return Selection(ids=self.ids, sample=self.sample, sample_seed=self.sample_seed, limit=self.limit)

    def open(self, path: Path) -> Dataset:
        """The data set in a folder.

        Raises:
            DataError, SettingsError: as `open_dataset`.
        """
        from tracedge.datasets.layouts import open_dataset

        return open_dataset(path, self.split, self.selection, max_pixels=self.max_pixels)

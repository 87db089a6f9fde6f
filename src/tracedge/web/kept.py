"""One photo of a visit on the disk: itself, what was read of it, and the pictures that are shown."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tracedge.export.labels import read_instances, write_instances
from tracedge.export.png import write_png8
from tracedge.instances import Instances
from tracedge.maps import EdgeMap
from tracedge.web.reading import RGB, Controls, Steps


@dataclass
class KeptPhoto:
    """Arrays lie in files of the folder, so that memory does not grow with the number of visitors.

    name: the file's own, as the visitor called it. stem: what its downloads are called, no two of a visit alike. file: its name
    in files of several photos, its own where no other has it. zoom: of the edges that are kept. found_with, refined_with: the
    controls that objects and refined groups were made with; None: not made yet. refined: how many refined groups there are.
    pictures: kind -> file. steps: how the step is chosen, without its pictures, which are among `pictures`.
    """

    folder: Path
    name: str
    stem: str
    file: str
    shape: tuple[int, int]
    zoom: int | None = None
    found_with: tuple[float, float] | None = None
    refined: int | None = None
    refined_with: tuple[float, float] | None = None
    steps: Steps | None = None
    pictures: dict[str, Path] = field(default_factory=dict)
    _edges: EdgeMap | None = None

    @classmethod
    def keep(cls, folder: Path, name: str, stem: str, file: str, image: RGB) -> KeptPhoto:
        """A new one in a folder that is made for it."""
        folder.mkdir(mode=0o700)
        np.save(folder / "image.npy", image)
        return cls(folder, name, stem, file, (image.shape[0], image.shape[1]))

    def image(self) -> RGB:
        image: RGB = np.load(self.folder / "image.npy", allow_pickle=False)
        return image

    def keep_edges(self, edges: EdgeMap, zoom: int) -> None:
        """New edges: what was made with the old ones no longer counts."""
        np.save(self.folder / "edges.npy", edges.edges)
        self._edges = replace(edges, edges=np.zeros((1, 1), np.float32))  # all but the array
        self.zoom, self.found_with, self.refined_with = zoom, None, None

    def edges(self) -> EdgeMap:
        assert self._edges is not None  # of a photo that was read
        return replace(self._edges, edges=np.load(self.folder / "edges.npy", allow_pickle=False))

    def keep_objects(self, objects: Instances, controls: Controls) -> None:
        write_instances(self.folder / "objects.npz", objects)
        self.found_with = controls.of_masks

    def objects(self) -> Instances:
        return read_instances(self.folder / "objects.npz", max_pixels=self._pixels)

    def keep_groups(self, groups: Instances) -> None:
        write_instances(self.folder / "groups.npz", groups)

    def groups(self) -> Instances | None:
        """MaskCut's masks, or None if they were not made yet."""
        path = self.folder / "groups.npz"
        return read_instances(path, max_pixels=self._pixels) if path.exists() else None

    def show(self, kind: str, picture: RGB) -> Path:
        """Write a picture under a name that nobody guesses, in place of the one of its kind.

        The name is new each time, since a browser keeps what it has under the old one.
        """
        path = self.folder / f"{kind}-{secrets.token_hex(16)}.png"
        write_png8(path, picture)
        if kind in self.pictures:
            self.pictures[kind].unlink(missing_ok=True)
        self.pictures[kind] = path
        return path

    @property
    def _pixels(self) -> int:
        return self.shape[0] * self.shape[1]

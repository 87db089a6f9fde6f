"""What `segment` and `refine` share: photos, their edges and other tools' masks, made to instances in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tracedge.cli.instances_folder import InstanceFiles

if TYPE_CHECKING:
    import numpy as np

    from tracedge.cli.edge_source import EdgeOptions
    from tracedge.cli.sam_options import SamOptions
    from tracedge.instances import Instances
    from tracedge.maps import EdgeMap
    from tracedge.proposals.from_files import MaskSource
    from tracedge.segmentation import Proposes, SegmentSettings


class _Photo(NamedTuple):
    image: np.ndarray
    masks: Instances | None  # from a file
    edges: EdgeMap | None  # from a file


def segment_folder(
    paths: Sequence[str],
    output: Path,
    source: MaskSource | Proposes | None,
    of_edges: EdgeOptions,
    settings: SegmentSettings,
    sam: SamOptions | None = None,
    *,
    formats: Sequence[str],
    batch_size: int,
    force: bool,
    retry_failed: bool,
    max_pixels: int,
) -> None:
    """Ends the command with its exit code."""
    from tracedge.images import load_image
    from tracedge.proposals.from_files import MaskSource
    from tracedge.runs import find_images
    from tracedge.segmentation import MaskMaker

    # 1. Check everything that can be checked before a model is loaded.
    written = InstanceFiles(output, formats, settings.overlapping)
    jobs = find_images(paths, output=output)
    files = source if isinstance(source, MaskSource) else None
    names = {job.source: job.file for job in jobs}
    stems = {job.source: str(job.relative) for job in jobs}
    of_edges.check(stems.values())
    if sam is not None:
        sam.check()

    # 2. The model; what its instances depend on is what the run depends on.
    proposer = None if isinstance(source, MaskSource) else source
    edges = of_edges.load()
    make = MaskMaker(proposer, settings, sam.load() if sam is not None else None)
    provenance = {"edges": edges.provenance} | make.provenance
    if files is not None:
        provenance["proposals"] = files.provenance

    def load(path: Path) -> _Photo:
        image = load_image(path, max_pixels=max_pixels)
        hw = (image.shape[0], image.shape[1])
        return _Photo(image, files.read(names[path], hw) if files is not None else None, edges.read(stems[path], hw))

    def predict(photos: list[_Photo]) -> list[tuple[np.ndarray, Instances]]:
        found = edges([photo.image for photo in photos], [photo.edges for photo in photos])
        return [
            (photo.image, make(photo.image, one, photo.masks, device=edges.device))
            for photo, one in zip(photos, found, strict=True)
        ]

    # 3. Run, and say what became of it.
    written.run(jobs, provenance, load, predict, batch_size=batch_size, force=force, retry_failed=retry_failed)

"""The options that choose where masks come from: the same for `segment`, `refine` and `evaluate instances`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tracedge.cli.predictor_options import PredictorOptions, load
from tracedge.images import MAX_PIXELS

if TYPE_CHECKING:
    from tracedge.export.coco_reader import Images
    from tracedge.proposals.from_features import Proposer
    from tracedge.proposals.from_files import MaskSource
    from tracedge.rivals.zero_shot import SegmentProposer
    from tracedge.sam.automatic import SamAutomatic

SAM = "sam:"
"""Before the name of a model: SAM's automatic masks."""

Features = Annotated[
    str | None,
    typer.Option(help="Whose features maskcut and promerge group: a DINO ViT such as dino-vitb8, or mini (default)."),
]
Crf = Annotated[
    bool, typer.Option(help="Move the outlines of maskcut's and promerge's masks to the photo's colours (dense CRF).")
]
ImageIds = Annotated[
    Path | None, typer.Option(help="For COCO results (a list): the instances file that says which image an id is.")
]

Walk = Annotated[
    Literal["cells", "basins"],
    typer.Option(help="Over what pieces of masks grow: cells of a grid, or basins, for small objects and soft edges."),
]


def proposals_from(
    name: str,
    features: str | None,
    crf: bool,
    options: PredictorOptions,
    *,
    image_ids: Path | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Proposer | SegmentProposer | SamAutomatic | MaskSource | None:
    """What --proposals names: a method, the masks of a file or folder, or None for "edges", which need no proposals.

    maskcut and promerge look at the features; diffseg and diffcut at the model and the size of the other options; sam: stands
    before the name, folder or hub id of its model.

    Raises:
        SettingsError: none of these, or as `masks_from`.
        BackboneError: the model of the features cannot be had.
        DataError: the file holds no masks.
    """
    from tracedge.errors import SettingsError
    from tracedge.proposals.features import features_of
    from tracedge.proposals.from_features import METHODS, Proposer
    from tracedge.rivals import ZERO_SHOT
    from tracedge.rivals.zero_shot import SegmentProposer, zero_shot

    if name in ("edges", *METHODS, *ZERO_SHOT) or name.startswith(SAM):
        if image_ids is not None:
            raise SettingsError(f"--image-ids is for COCO results: --proposals {name} are none")
        if name == "edges":
            return None
        if name.startswith(SAM):
            return _automatic(name.removeprefix(SAM), options)
        if name in ZERO_SHOT:
            model = load(options.backbone or "mini", options.device, options.dtype, options.local_files_only)
            return SegmentProposer(zero_shot(name, model, px=options.size))
        seen = features_of(features or "mini", device=options.device, local_files_only=options.local_files_only)
        return Proposer(seen, name, crf)
    if not Path(name).exists():
        known = ", ".join(("edges", *METHODS, *ZERO_SHOT, f"{SAM}NAME"))
        raise SettingsError(f"{name!r} is no kind of proposals ({known}) and no file or folder of masks")
    return masks_from(Path(name), image_ids, max_pixels)


def _automatic(model: str, options: PredictorOptions) -> SamAutomatic:
    from tracedge.sam import load_sam
    from tracedge.sam.automatic import SamAutomatic

    return SamAutomatic(load_sam(model, device=options.device, local_files_only=options.local_files_only))


def masks_from(path: Path, image_ids: Images | None, max_pixels: int = MAX_PIXELS) -> MaskSource:
    """The masks of a file or folder.

    Raises:
        SettingsError: COCO results without --image-ids, or --image-ids for anything else.
        DataError: the file holds no masks.
    """
    from tracedge.errors import SettingsError
    from tracedge.export.coco_reader import is_results
    from tracedge.proposals.from_files import find_masks

    results = is_results(path)
    if results and image_ids is None:
        raise SettingsError(
            f"{path} is a list of COCO results, which name images by ids alone: "
            "give --image-ids, the COCO instances file of those images"
        )
    if image_ids is not None and not results:
        raise SettingsError(f"--image-ids is for COCO results, a .json that is a list: {path} is none")
    return find_masks(path, image_ids, max_pixels=max_pixels)

"""The options that choose where masks come from: the same for `segment` and `evaluate instances`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tracedge.proposals.from_features import Proposer
    from tracedge.proposals.from_files import MaskSource

Features = Annotated[str | None, typer.Option(help="What maskcut and promerge look at: a DINO ViT, or mini (default).")]
Crf = Annotated[bool, typer.Option(help="Sharpen maskcut's and promerge's masks by a dense CRF.")]

METHODS = ("maskcut", "promerge")


def proposals_from(
    name: str, features: str | None, crf: bool, device: str | None, local_files_only: bool
) -> Proposer | MaskSource | None:
    """What --proposals names: a method, the masks of a file or folder, or None for "edges", which need no proposals.

    Raises:
        SettingsError: none of these.
        BackboneError: the model of the features cannot be had.
        DataError: the file holds no masks.
    """
    from tracedge.errors import SettingsError
    from tracedge.proposals.features import BackboneFeatures, DinoFeatures
    from tracedge.proposals.from_features import Proposer
    from tracedge.proposals.from_files import find_masks

    if name == "edges":
        return None
    if name in METHODS:
        kind = BackboneFeatures if features in (None, "mini") else DinoFeatures
        seen = kind(features or "mini", device=device, local_files_only=local_files_only)
        return Proposer(seen, name, crf)
    if not Path(name).exists():
        known = ", ".join(("edges", *METHODS))
        raise SettingsError(f"{name!r} is no kind of proposals ({known}) and no file or folder of masks")
    return find_masks(Path(name))

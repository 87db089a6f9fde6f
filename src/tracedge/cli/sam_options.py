"""The options that give instances to SAM: the same for `segment` and `evaluate instances`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from tracedge.cli.predictor_options import PredictorOptions

if TYPE_CHECKING:
    from tracedge.sam.seeds import SamSeeds, SeedSettings

Sam = Annotated[
    str | None,
    typer.Option(
        help="Let Segment Anything draw the instances that were found: a name (sam-base, sam2.1-tiny, see `tracedge backbones`), "
        "folder or hub id of SAM or SAM 2."
    ),
]
SamPrompts = Annotated[
    str | None,
    typer.Option(
        help="With --sam: what each instance says, some of box, points, mask with commas; default: box,points."
    ),
]


@dataclass(frozen=True, kw_only=True)
class SamOptions:
    """What the options say of SAM, before it is loaded."""

    name: str
    settings: SeedSettings
    device: str | None
    local_files_only: bool

    def check(self) -> None:
        """Look at the model's files, which are fetched if need be.

        Raises:
            SettingsError, BackboneError: as `tracedge.sam.sam_files`.
        """
        from tracedge.sam import sam_files

        sam_files(self.name, local_files_only=self.local_files_only)

    def load(self) -> SamSeeds:
        """With the model."""
        from tracedge.sam.seeds import SamSeeds

        return SamSeeds.from_pretrained(
            self.name, settings=self.settings, device=self.device, local_files_only=self.local_files_only
        )


def sam_options(name: str | None, prompts: str | None, options: PredictorOptions) -> SamOptions | None:
    """Those of --sam and --sam-prompts; None where SAM is not asked for.

    Raises:
        SettingsError: --sam-prompts without --sam, or an unknown kind of prompts.
    """
    from tracedge.errors import SettingsError

    if name is None:
        if prompts is not None:
            raise SettingsError("--sam-prompts is what instances say to SAM: give its model by --sam")
        return None
    from tracedge.sam.seeds import SeedSettings

    said = SeedSettings() if prompts is None else SeedSettings(tuple(map(str.strip, prompts.split(","))))
    return SamOptions(name=name, settings=said, device=options.device, local_files_only=options.local_files_only)

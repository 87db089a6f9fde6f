"""The options that choose a predictor: the same for every verb that makes edges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import torch

    from tracedge.backbones.protocol import Backbone as LoadedBackbone
    from tracedge.student.predictor import EdgePredictor
    from tracedge.teacher import EdgeTeacher
    from tracedge.vision_edges import VisionEdges

    Predictor = EdgeTeacher | EdgePredictor | VisionEdges

MODEL = "The model"  # of the help

Backbone = Annotated[
    str,
    typer.Option(help="Name (see `tracedge backbones`), local folder or hub id of the model.", rich_help_panel=MODEL),
]
BackboneOrNone = Annotated[
    str | None,
    typer.Option(
        help="Name, local folder or hub id of the model; default: mini, or the student's own.", rich_help_panel=MODEL
    ),
]
Student = Annotated[
    str | None,
    typer.Option(
        help="Folder or hub id of a student (`tracedge distill` makes one): one pass of the model instead of several.",
        rich_help_panel=MODEL,
    ),
]
Timestep = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=999,
        help="Always read at this noise level (0: none) and not at the one chosen for each photo.",
        rich_help_panel=MODEL,
    ),
]
Rule = Annotated[
    str,
    typer.Option(
        help="Which timestep is chosen, of those where the attention changes most (the emergence point): first_peak, argmax "
        "(the highest, as in the paper), or bounded (the highest with little noise).",
        rich_help_panel=MODEL,
    ),
]
Stride = Annotated[
    int,
    typer.Option(min=1, max=500, help="Try every so many of the 1000 timesteps: 100 tries ten.", rich_help_panel=MODEL),
]
Size = Annotated[
    int | None,
    typer.Option(help="Long side in pixels that the model sees; default: the model's own.", rich_help_panel=MODEL),
]
Zoom = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=16,
        help="For small objects: read the photo also in tiles, this many times as large; 1: never; default: by its size.",
        rich_help_panel=MODEL,
    ),
]
Ensemble = Annotated[
    int,
    typer.Option(
        min=1, help="Average over so many draws of the noise: steadier, and as much slower.", rich_help_panel=MODEL
    ),
]
Inversion = Annotated[
    bool,
    typer.Option(
        "--inversion",
        help="Go to each timestep by the model's own predictions (DDIM inversion), not by random noise.",
        rich_help_panel=MODEL,
    ),
]
Blocks = Annotated[
    list[int] | None,
    typer.Option(
        "--block",
        help="Vision transformers (such as dinov2-base): only this self-attention block, from 0; -1: the last; may be repeated.",
        rich_help_panel=MODEL,
    ),
]
Seed = Annotated[
    int, typer.Option(help="Seed of the noise; with the picture it decides the noise.", rich_help_panel=MODEL)
]
Device = Annotated[
    str | None, typer.Option(help="Where to compute; default: a GPU if there is one.", rich_help_panel=MODEL)
]
Dtype = Annotated[
    str | None,
    typer.Option(
        help="float32, bfloat16 or float16; default: float32 on a CPU, bfloat16 on a GPU.", rich_help_panel=MODEL
    ),
]
LocalFilesOnly = Annotated[
    bool, typer.Option("--local-files-only", help="Never ask the network.", rich_help_panel=MODEL)
]
Teacher = Annotated[
    bool,
    typer.Option(
        "--teacher",
        help="Read the model's attention directly (nothing trained, several passes), although there is a student.",
        rich_help_panel=MODEL,
    ),
]
BatchSize = Annotated[int, typer.Option(min=1, help="Photos in a batch; halved when memory is short.")]
Force = Annotated[bool, typer.Option("--force", help="Replace results of other settings in the output folder.")]
RetryFailed = Annotated[
    bool,
    typer.Option("--retry-failed", help="Try again also photos that failed in an earlier run and have not changed."),
]
Overlay = Annotated[
    bool, typer.Option("--overlay", help="Also write a picture to look at: what was found, laid over the photo.")
]
MaxPixels = Annotated[int, typer.Option(min=1, help="Larger pictures are refused before they are decoded.")]


@dataclass(frozen=True, kw_only=True)
class PredictorOptions:
    """What the options say, before any model is loaded. By name alone, so that none lands in another's place."""

    backbone: str | None = None  # "mini", or what a student was distilled from
    timestep: float | None = None
    rule: str = "first_peak"
    stride: int = 100
    size: int | None = None
    zoom: int | None = None
    ensemble: int = 1
    inversion: bool = False
    seed: int = 0
    device: str | None = None
    dtype: str | None = None
    local_files_only: bool = False
    early_stop: bool = True
    snap: bool = True
    blocks: tuple[int, ...] | None = None

    @property
    def is_vision(self) -> bool:
        """Whether the model is a vision transformer and no diffusion model."""
        from tracedge.backbones.vision import is_vision

        return self.backbone is not None and is_vision(self.backbone)

    def asked_of_the_teacher(self) -> list[str]:
        """The options given, as far as they differ from what they are by default, that only the teacher has."""
        own = ("timestep", "rule", "stride", "ensemble", "inversion", "seed")
        defaults = PredictorOptions()
        return [f"--{name}" for name in own if getattr(self, name) != getattr(defaults, name)]

    def refuse_for_vision(self, *others: str) -> None:
        """Refuse what a vision transformer does not have, and these other options.

        Raises:
            SettingsError: naming them.
        """
        from tracedge.errors import SettingsError

        if asked := self.asked_of_the_teacher() + list(others):
            raise SettingsError(
                f"{', '.join(asked)} cannot be had with {self.backbone}: that is for diffusion models, and a vision "
                "transformer has no timesteps, noise or student"
            )

    def build_vision(self) -> VisionEdges:
        """Check the settings, then load the vision transformer."""
        from tracedge.vision_edges import VisionEdges, VisionSettings

        settings = VisionSettings(blocks=self.blocks, size=self.size, zoom=self.zoom, snap=self.snap)
        return VisionEdges(
            str(self.backbone),
            settings=settings,
            device=self.device,
            dtype=torch_dtype(self.dtype),
            local_files_only=self.local_files_only,
        )

    def build(self) -> EdgeTeacher:
        """Check the settings, then load the model."""
        from tracedge.errors import SettingsError
        from tracedge.teacher import EdgeTeacher, TeacherSettings

        if self.blocks:
            raise SettingsError(
                "--block is for a vision transformer: give one with --backbone, see `tracedge backbones`"
            )
        settings = TeacherSettings(
            stride=self.stride,
            rule=self.rule,
            timestep=self.timestep,
            ensemble=self.ensemble,
            inversion=self.inversion,
            early_stop=self.early_stop,
            snap=self.snap,
            size=self.size,
            zoom=self.zoom,
            seed=self.seed,
        )
        return EdgeTeacher(
            load(self.backbone or "mini", self.device, self.dtype, self.local_files_only), settings=settings
        )

    def build_student(self, name: str | None) -> EdgePredictor:
        """The student, on a backbone of its own: LoRA is merged into it.

        name: of --student; None: the one that the package has for the backbone.
        """
        from tracedge.student.predictor import EdgePredictor

        return EdgePredictor.from_pretrained(
            name or self.backbone or "mini",
            backbone=self.backbone if name is not None else None,
            size=self.size,
            zoom=self.zoom or 1,
            device=self.device,
            dtype=torch_dtype(self.dtype),
            local_files_only=self.local_files_only,
        )


def predictor(options: PredictorOptions, *, student: str | None, teacher: bool) -> Predictor:
    """The student that is asked for, or that the package has for the backbone; else the teacher, and that is said.

    A vision transformer has neither: its edges are ABDiv alone.

    Raises:
        SettingsError: a student together with an option that only the teacher has; or what a vision transformer lacks.
    """
    from tracedge.errors import SettingsError
    from tracedge.student.files import SHIPPED

    if options.is_vision:
        options.refuse_for_vision(*["--student"] * (student is not None), *["--teacher"] * teacher)
        return options.build_vision()
    asked = options.asked_of_the_teacher() + (["--teacher"] if teacher else []) + ["--block"] * bool(options.blocks)
    if student is not None and asked:
        raise SettingsError(f"{', '.join(asked)} cannot be had with --student: that is for the training-free teacher")
    backbone = options.backbone or "mini"
    if student is None and (asked or backbone not in SHIPPED):
        if not teacher:
            why = f"{', '.join(asked)} is the teacher's" if asked else f"{backbone} has no student yet"
            typer.echo(f"{why}: using the training-free teacher (--teacher)", err=True)
        return options.build()
    return options.build_student(student)


def load(backbone: str, device: str | None, dtype: str | None, local_files_only: bool) -> LoadedBackbone:
    """The diffusion model that the options name."""
    from tracedge.backbones import load_backbone

    return load_backbone(backbone, device=device, dtype=torch_dtype(dtype), local_files_only=local_files_only)


def torch_dtype(name: str | None) -> torch.dtype | None:
    """What --dtype says; None leaves the choice to the device."""
    import torch

    from tracedge.settings import choose

    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    return None if name is None else choose("dtype", name, dtypes)

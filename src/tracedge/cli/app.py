"""`tracedge app`: a page in the browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tracedge.cli import predictor_options as option

if TYPE_CHECKING:
    from tracedge.web.reading import Reader

LIMITS = "Limits"  # of the help


def app(
    host: Annotated[
        str, typer.Option(help="Where to listen: 127.0.0.1 is this machine alone, 0.0.0.0 all that can reach it.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="On which port.")] = 7860,
    root_path: Annotated[
        str | None, typer.Option(help="The path under which a proxy shows the page, such as /tracedge.")
    ] = None,
    backbone: option.BackboneOrNone = None,
    student: option.Student = None,
    teacher: option.Teacher = False,
    size: option.Size = None,
    device: option.Device = None,
    dtype: option.Dtype = None,
    local_files_only: option.LocalFilesOnly = False,
    max_pixels: Annotated[
        int, typer.Option(min=1, help="Larger photos are refused before they are decoded.", rich_help_panel=LIMITS)
    ] = 13_000_000,
    max_photos: Annotated[int, typer.Option(min=1, help="Photos of a visitor at a time.", rich_help_panel=LIMITS)] = 8,
    max_megabytes: Annotated[int, typer.Option(min=1, help="Of one uploaded file.", rich_help_panel=LIMITS)] = 20,
    queue: Annotated[
        int, typer.Option(min=1, help="Requests that wait; further ones are told to come back.", rich_help_panel=LIMITS)
    ] = 16,
    idle_minutes: Annotated[
        int, typer.Option(min=1, help="After which a visitor's photos are forgotten.", rich_help_panel=LIMITS)
    ] = 60,
) -> None:
    """A page in the browser: drop photos, see edges and objects, take the files home. Works offline; Ctrl-C ends it."""
    # 1. Check everything that can be checked before a model is loaded.
    from tracedge.web.limits import Limits
    from tracedge.web.serve import require_gradio, require_port, serve

    kept = max(Limits.kept_pixels, 4 * max_photos * max_pixels)
    limits = Limits(max_pixels, max_photos, max_megabytes, queue, kept, idle_minutes)
    require_gradio()
    require_port(host, port)

    # 2. The model.
    options = option.PredictorOptions(
        backbone=backbone, size=size, device=device, dtype=dtype, local_files_only=local_files_only
    )
    reader = _reader(options, student, teacher)

    # 3. Until it is told to stop.
    serve(reader, limits, host=host, port=port, root_path=root_path, announce=typer.echo)


def _reader(options: option.PredictorOptions, student: str | None, teacher: bool) -> Reader:
    """A student, with a teacher on the same model beside it; or the teacher alone."""
    from dataclasses import replace

    from tracedge.errors import SettingsError
    from tracedge.student.predictor import EdgePredictor, home_of
    from tracedge.vision_edges import VisionEdges
    from tracedge.web.reading import Reader

    if options.is_vision:
        raise SettingsError(
            f"the page shows how a diffusion model's step is chosen, and {options.backbone} has none: "
            "use `tracedge edges --backbone`, or a diffusion model (`tracedge backbones` lists them)"
        )
    predictor = option.predictor(options, student=student, teacher=teacher)
    assert not isinstance(predictor, VisionEdges)
    if not isinstance(predictor, EdgePredictor):
        return Reader(predictor, predictor)
    home = options.backbone or home_of(predictor.card)
    return Reader(predictor, replace(options, backbone=home).build())

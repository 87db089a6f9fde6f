"""The options that say what many images are read from and who does the work: the same for `edges`, `segment` and `teach`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from tracedge.sources import Part
    from tracedge.work import Engine as WorkEngine

SCALE = "Many images"  # of the help

Inputs = Annotated[
    list[str],
    typer.Argument(
        help="Photos, folders (walked through) or quoted globs; webdataset shards ('shards/{000..099}.tar'), .parquet files; "
        "with s3://, gs:// and the like in front those of a store."
    ),
]
Engine = Annotated[
    Literal["local", "ray"],
    typer.Option(help="Who works: this process, or workers of a Ray cluster.", rich_help_panel=SCALE),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1, help="With ray: processes that hold the model; default: one a GPU, else a core.", rich_help_panel=SCALE
    ),
]
Threads = Annotated[
    int | None, typer.Option(min=1, help="With ray: threads of a worker on a CPU; default: 1.", rich_help_panel=SCALE)
]
GpusPerWorker = Annotated[
    float | None,
    typer.Option(min=0, help="With ray: may be a fraction; default: 1 if there are GPUs.", rich_help_panel=SCALE),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        help="With ray: of a running cluster, such as auto; default: one of its own on this machine.",
        rich_help_panel=SCALE,
    ),
]
ImageColumn = Annotated[
    str | None,
    typer.Option(help="Of .parquet files: bytes, paths or URLs; default: image, path, url, ...", rich_help_panel=SCALE),
]
NameColumn = Annotated[
    str | None,
    typer.Option(
        help="Of .parquet files: what outputs are called; default: the number of the row.", rich_help_panel=SCALE
    ),
]


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """What the options say, before anything is read or started.

    Raises:
        SettingsError: an option of Ray with another engine.
    """

    engine: str = "local"
    workers: int | None = None
    threads: int | None = None
    gpus_per_worker: float | None = None
    ray_address: str | None = None
    image_column: str | None = None
    name_column: str | None = None

    def __post_init__(self) -> None:
        from tracedge.errors import SettingsError

        names = ("workers", "threads", "gpus_per_worker", "ray_address")
        asked = [f"--{name.replace('_', '-')}" for name in names if getattr(self, name) is not None]
        if asked and self.engine != "ray":
            raise SettingsError(f"{', '.join(asked)} is for a cluster: add --engine ray.")

    def parts(self, inputs: Sequence[str], output: Path, batch_size: int) -> list[Part]:
        """What the inputs are read in; errors as `find_parts`."""
        from tracedge.sources import FILES_AT_ONCE, Columns, find_parts

        columns = Columns(self.image_column, self.name_column)
        return find_parts(inputs, output=output, columns=columns, files_at_once=max(FILES_AT_ONCE, batch_size))

    def build(self) -> WorkEngine:
        """The engine, not yet started."""
        from tracedge.work import Local

        if self.engine == "local":
            return Local()
        from tracedge.scale import Cluster, RayEngine

        return RayEngine(
            Cluster(
                address=self.ray_address,
                workers=self.workers,
                gpus_per_worker=self.gpus_per_worker,
                threads=self.threads or 1,
            )
        )

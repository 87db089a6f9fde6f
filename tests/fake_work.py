"""A small work for engines: the mean of grey photos. It can kill its own process, once, as a machine that breaks would."""

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tracedge.errors import SettingsError
from tracedge.images import load_image
from tracedge.work import Steps

SUFFIX = ".mean.txt"


@dataclass(frozen=True)
class MeansWork:
    """log: each image that was predicted is a line of it, "pid value". fatal: values whose first prediction kills the process.

    full: values that find no memory in a batch. seconds: of each image. says: part of the provenance; "pid": each process says
    something else. broken: the model cannot be loaded.
    """

    log: Path
    fatal: tuple[int, ...] = ()
    full: tuple[int, ...] = ()
    seconds: float = 0.0
    says: str = "means"
    broken: bool = False

    def open(self) -> Steps:
        if self.broken:
            raise SettingsError("there is no such model.")
        said = f"{os.getpid()}" if self.says == "pid" else self.says
        return Steps(lambda task: load_image(task.source), self._predict, self._write, {"work": said})

    def _predict(self, images: list[np.ndarray]) -> list[int]:
        values = [int(image[0, 0, 0]) for image in images]
        if len(images) > 1 and set(values) & set(self.full):
            raise MemoryError("too much at once")
        for value in values:
            marker = self.log.with_name(f"killed-{value}")
            if value in self.fatal and not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(self.seconds)
            with self.log.open("a") as stream:
                stream.write(f"{os.getpid()} {value}\n")
        return values

    def _write(self, value: int, paths: Mapping[str, Path]) -> dict[str, object]:
        paths[SUFFIX].write_text(f"{value} whole")
        return {"mean": value}

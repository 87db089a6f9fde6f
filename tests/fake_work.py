"""A small work for engines: the mean of grey photos. It can kill its own process, once, as a machine that breaks would."""

import errno
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

    deadly: values of which each does. full: values that find no memory in a batch. no_room: those whose outputs find no room on
    the disk. seconds: of each image. writes: the last word of an output. says: part of the provenance; "pid": each process says
    something else. opening: seconds that loading the model takes, which begins with a file beside the log. broken: it cannot be
    loaded. stillborn: that kills the process.
    """

    log: Path
    fatal: tuple[int, ...] = ()
    deadly: tuple[int, ...] = ()
    full: tuple[int, ...] = ()
    no_room: tuple[int, ...] = ()
    seconds: float = 0.0
    writes: str = "whole"
    says: str = "means"
    opening: float = 0.0
    broken: bool = False
    stillborn: bool = False

    def open(self) -> Steps:
        if self.stillborn:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.opening:
            self.log.with_name("opening").touch()
            time.sleep(self.opening)
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
            if value in self.deadly:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(self.seconds)
            with self.log.open("a") as stream:
                stream.write(f"{os.getpid()} {value}\n")
        return values

    def _write(self, value: int, paths: Mapping[str, Path]) -> dict[str, object]:
        if value in self.no_room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(paths[SUFFIX]))
        paths[SUFFIX].write_text(f"{value} {self.writes}")
        return {"mean": value}

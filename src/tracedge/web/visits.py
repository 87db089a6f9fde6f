"""Whose photos are whose: each visit has a folder of its own under a name that nobody guesses, and ends with it."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tracedge.web.kept import KeptPhoto
from tracedge.web.limits import Limits
from tracedge.web.reading import RGB

VISITS, EXAMPLES = "visits", "examples"
"""Folders beside those that uploads are put into."""


@dataclass
class Visit:
    """One visitor's photos. tab: what is open before the visitor. used: when something was asked for last, in seconds."""

    folder: Path
    photos: list[KeptPhoto] = field(default_factory=list)
    tab: str = ""
    used: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def pixels(self) -> int:
        return sum(photo.shape[0] * photo.shape[1] for photo in self.photos)

    def add(self, name: str, image: RGB) -> KeptPhoto:
        """Keep a photo. Two of one name get stems of their own."""
        number = len(self.photos) + 1
        stem, taken = Path(name).stem or "photo", {photo.stem for photo in self.photos}
        if stem in taken:
            stem = next(f"{stem}-{n}" for n in range(2, number + 2) if f"{stem}-{n}" not in taken)
        self.photos.append(KeptPhoto.keep(self.folder / str(number), name, stem, image))
        return self.photos[-1]

    def fresh_folder(self, kind: str) -> Path:
        """A new folder under a name that nobody guesses, in place of the earlier one of its kind."""
        for old in self.folder.glob(f"{kind}-*"):
            shutil.rmtree(old, ignore_errors=True)
        path = self.folder / f"{kind}-{secrets.token_hex(16)}"
        path.mkdir(mode=0o700)
        return path

    def clear(self) -> None:
        """Forget the photos: their files go."""
        self.photos = []
        for path in self.folder.iterdir():
            shutil.rmtree(path, ignore_errors=True)


class Visits:
    """All visits, by a key that only the visitor's own page sends (gradio's session hash).

    Args:
        folder: where their folders are made; what lies beside them there, uploads that were never read, is forgotten too.
        limits: how much is kept, and how long. clock: seconds.
    """

    def __init__(self, folder: Path, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.root, self._limits, self._clock = folder, limits, clock
        self._visits: dict[str, Visit] = {}
        self._lock = threading.Lock()
        (folder / VISITS).mkdir(mode=0o700, parents=True, exist_ok=True)

    def __len__(self) -> int:
        return len(self._visits)

    @contextmanager
    def open(self, key: str) -> Iterator[Visit]:
        """The visit of a key, a new one if there is none; for one caller at a time."""
        self.sweep()
        with self._lock:
            visit = self._visits.get(key)
            if visit is None:
                visit = self._visits[key] = Visit(self.root / VISITS / secrets.token_hex(32), used=self._clock())
                visit.folder.mkdir(mode=0o700)
        with visit.lock:
            visit.used = self._clock()
            visit.folder.mkdir(mode=0o700, exist_ok=True)  # it may have ended while this caller waited
            yield visit
            visit.used = self._clock()
        self._make_room(key)

    def close(self, key: str) -> None:
        """End a visit: its folder goes. Waits for what is being done in it."""
        with self._lock:
            visit = self._visits.pop(key, None)
        if visit is not None:
            self._end([visit])

    def forget_upload(self, path: Path) -> None:
        """Remove a file if it is an upload, that is, if it lies in a folder of its own beside the visits'."""
        if path.parent.parent == self.root and path.parent.name not in (VISITS, EXAMPLES):
            shutil.rmtree(path.parent, ignore_errors=True)

    def sweep(self) -> None:
        """End visits that nobody has used for long, and remove uploads that nobody has asked to be read."""
        with self._lock:
            idle = [key for key, visit in self._visits.items() if self._age(visit) > 60 * self._limits.idle_minutes]
            gone = [self._visits.pop(key) for key in idle if not self._visits[key].lock.locked()]
        self._end(gone)
        before = time.time() - 60 * self._limits.idle_minutes
        for path in self.root.iterdir():
            with suppress(FileNotFoundError):  # somebody else was faster
                if path.name not in (VISITS, EXAMPLES) and path.stat().st_mtime < before:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _make_room(self, key: str) -> None:
        """End the visits that were idle longest while too many pixels are kept; never the one at work."""
        gone = []
        with self._lock:
            for other in sorted(self._visits, key=lambda one: self._visits[one].used):
                if sum(visit.pixels for visit in self._visits.values()) <= self._limits.kept_pixels:
                    break
                if other != key and self._visits[other].pixels and not self._visits[other].lock.locked():
                    gone.append(self._visits.pop(other))
        self._end(gone)

    def _age(self, visit: Visit) -> float:
        return self._clock() - visit.used

    @staticmethod
    def _end(visits: Sequence[Visit]) -> None:
        for visit in visits:
            with visit.lock:
                visit.photos = []
                shutil.rmtree(visit.folder, ignore_errors=True)

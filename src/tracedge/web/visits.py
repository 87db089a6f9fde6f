"""Whose photos are whose: each visit has a folder of its own under a name that nobody guesses, and ends with it."""

from __future__ import annotations

import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tracedge.errors import DataError
from tracedge.web.kept import KeptPhoto
from tracedge.web.limits import Limits
from tracedge.web.reading import RGB

VISITS, EXAMPLES = "visits", "examples"
"""Folders beside those that uploads are put into."""
RECEIVED = "received"
UPLOAD_MINUTES, HALF_MINUTES = 5, 30
"""After which an upload goes that lies where gradio put it, and one that never became whole."""


class AtWorkError(DataError):
    """Something else is being done for the visitor, and takes longer than this caller waits."""


@dataclass
class Visit:
    """One visitor's photos.

    received: files that wait to be read. sender: the address that they came from. left_out: how many more came than may. tab:
    what is open before the visitor. used: when something was asked for last, in seconds. ended: its folder goes as soon as
    nothing is done in it.
    """

    folder: Path
    photos: list[KeptPhoto] = field(default_factory=list)
    received: list[Path] = field(default_factory=list)
    sender: str = ""
    left_out: int = 0
    tab: str = ""
    ended: bool = False
    used: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def pixels(self) -> int:
        return sum(photo.shape[0] * photo.shape[1] for photo in self.photos)

    def add(self, name: str, image: RGB) -> KeptPhoto:
        """Keep a photo. One whose stem, or whose very name, is taken gets another."""
        number, suffix = len(self.photos) + 1, Path(name).suffix
        stem = _other_than({photo.stem for photo in self.photos}, Path(name).stem or "photo")
        file = _other_than({photo.file for photo in self.photos}, Path(name).stem or "photo", suffix)
        self.photos.append(KeptPhoto.keep(self.folder / str(number), name, stem, file, image))
        return self.photos[-1]

    def fresh_folder(self, kind: str) -> Path:
        """A new folder under a name that nobody guesses, in place of the earlier one of its kind."""
        for old in self.folder.glob(f"{kind}-*"):
            shutil.rmtree(old, ignore_errors=True)
        path = self.folder / f"{kind}-{secrets.token_hex(16)}"
        path.mkdir(mode=0o700)
        return path

    def clear(self) -> None:
        """Forget the photos: their files go. What was received meanwhile stays."""
        self.photos = []
        for path in self.folder.iterdir():
            if not path.name.startswith(RECEIVED):
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
    def open(self, key: str, seconds: float | None = None) -> Iterator[Visit]:
        """The visit of a key, a new one if there is none; for one caller at a time.

        Raises:
            AtWorkError: for longer than so many seconds. None: this caller waits for as long as it takes.
        """
        self.sweep()
        with self._lock:
            visit = self._of(key)
        if not visit.lock.acquire(timeout=-1 if seconds is None else seconds):
            raise AtWorkError("Your photos are still being worked on: ask again in a moment.")
        try:
            visit.used = self._clock()
            visit.folder.mkdir(mode=0o700, exist_ok=True)  # it may have ended while this caller waited
            yield visit
            visit.used = self._clock()
        finally:
            visit.lock.release()
            if visit.ended:
                self._end([visit])
        self._make_room(key)

    @contextmanager
    def open_soon(self, key: str, seconds: float) -> Iterator[Visit | None]:
        """The visit of a key; None if there is none, or if it is at work for longer than so many seconds."""
        with self._lock:
            visit = self._visits.get(key)
        if visit is None or not visit.lock.acquire(timeout=seconds):
            yield None
            return
        try:
            yield visit
        finally:
            visit.lock.release()
            if visit.ended:
                self._end([visit])

    def has_photos(self, key: str) -> bool:
        """Whether the visitor has photos, read or being read. Waits for nothing."""
        visit = self._visits.get(key)
        return visit is not None and bool(visit.photos)

    def open_tab(self, key: str, tab: str) -> None:
        """Remember what the visitor looks at. Waits for nothing."""
        with self._lock:
            self._of(key).tab = tab

    def receive(self, key: str, uploads: Sequence[Path], sender: str = "") -> None:
        """Keep uploads for the visit, to be read later, in place of what waited there. Waits for nothing.

        gradio calls an upload by its bytes: another visitor's, or another name's, may be the same file, or share its folder.
        So it is linked, and what gradio has goes by its age alone.

        Raises:
            DataError: with what waits in other visits of this sender it is more than one may have wait.
        """
        self.sweep()
        taken = uploads[: self._limits.max_photos]
        with self._lock:
            visit = self._of(key)
            others = [one for one in self._visits.values() if one.sender == sender and one is not visit]
            if _bytes(taken) + sum(_bytes(one.received) for one in others) > self._limits.max_waiting:
                raise DataError("Too many photos from your address wait to be read: drop these again in a few minutes.")
            _remove(visit.received)
            visit.received, visit.sender, visit.left_out = [], sender, len(uploads) - len(taken)
            for path in taken:
                place = visit.folder / f"{RECEIVED}-{secrets.token_hex(16)}"
                place.mkdir(mode=0o700, parents=True)
                visit.received.append(place / path.name)
                _link(path, place / path.name)

    def received(self, key: str) -> tuple[list[Path], int]:
        """What waits to be read, no longer kept by the visit; and how many more files came than may."""
        with self._lock:
            visit = self._of(key)
            files, left_out = visit.received, visit.left_out
            visit.received, visit.left_out = [], 0
        return files, left_out

    def unread_bytes(self) -> int:
        """Of all uploads that wait to be read, or to be forgotten."""
        places = [path for path in self.root.iterdir() if path.name not in (VISITS, EXAMPLES)]
        places += self.root.glob(f"{VISITS}/*/{RECEIVED}-*")
        sizes = {}
        for path in places:
            with suppress(FileNotFoundError, NotADirectoryError):
                for file in path.iterdir() if path.is_dir() else [path]:
                    stat = file.stat()
                    sizes[stat.st_ino] = stat.st_size  # a file and a link to it are one
        return sum(sizes.values())

    def close(self, key: str) -> None:
        """End a visit: its folder goes, as soon as nothing is done in it. Waits for nothing."""
        with self._lock:
            visit = self._visits.pop(key, None)
        if visit is not None:
            self._end([visit])

    def wait(self, seconds: float) -> bool:
        """Whether nothing is being done in any visit, or within so many seconds."""
        until = time.monotonic() + seconds
        while any(visit.lock.locked() for visit in list(self._visits.values())):
            if time.monotonic() > until:
                return False
            time.sleep(0.05)
        return True

    def sweep(self) -> None:
        """End visits that nobody has used for long, and remove uploads that are read, or that nobody asks to be read."""
        with self._lock:
            idle = [key for key, visit in self._visits.items() if self._age(visit) > 60 * self._limits.idle_minutes]
            gone = [self._visits.pop(key) for key in idle if not self._visits[key].lock.locked()]
        self._end(gone)
        for path in self.root.iterdir():
            with suppress(FileNotFoundError):  # somebody else was faster
                minutes = UPLOAD_MINUTES if path.is_dir() else HALF_MINUTES
                if path.name not in (VISITS, EXAMPLES) and path.stat().st_mtime < time.time() - 60 * minutes:
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

    def _of(self, key: str) -> Visit:
        """The visit of a key, a new one if there is none. The caller has the lock."""
        if key not in self._visits:
            self._visits[key] = Visit(self.root / VISITS / secrets.token_hex(32), used=self._clock())
            self._visits[key].folder.mkdir(mode=0o700)
        return self._visits[key]

    def _age(self, visit: Visit) -> float:
        return self._clock() - visit.used

    @staticmethod
    def _end(visits: Sequence[Visit]) -> None:
        """Remove their folders; where something is still being done, whoever does it comes here again."""
        for visit in visits:
            visit.ended = True
            if visit.lock.acquire(blocking=False):
                visit.photos = []
                shutil.rmtree(visit.folder, ignore_errors=True)
                visit.lock.release()


def _other_than(taken: set[str], stem: str, suffix: str = "") -> str:
    """A name that is not taken: this one, or the first with a number that is free."""
    tries = (f"{stem}-{n}{suffix}" for n in range(2, len(taken) + 3))
    return next(name for name in (stem + suffix, *tries) if name not in taken)


def _link(upload: Path, place: Path) -> None:
    """One more name for a file. One that is gone already stays so: who reads it says that it is not there."""
    with suppress(FileNotFoundError):
        try:
            os.link(upload, place)
        except PermissionError:  # a file system that has no links
            shutil.copyfile(upload, place)


def _bytes(files: Sequence[Path]) -> int:
    """Of all those that are there."""
    total = 0
    for path in files:
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def _remove(received: Sequence[Path]) -> None:
    """Received files go, each with the folder made for it."""
    for path in received:
        shutil.rmtree(path.parent, ignore_errors=True)

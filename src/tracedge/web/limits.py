"""How much of a machine the visitors of a page may take."""

from __future__ import annotations

from dataclasses import dataclass

from tracedge.errors import SettingsError
from tracedge.settings import check_types


@dataclass(frozen=True)
class Limits:
    """What the page refuses, or forgets.

    max_pixels: of one photo. max_photos: of one visitor at a time. max_megabytes: of one uploaded file (2^20 bytes). queue:
    requests that wait for the model; one more is told that the page is busy. kept_pixels: of all photos of all visitors,
    which lie on the disk (some 20 bytes a pixel); beyond it the visit that was idle longest is forgotten. idle_minutes: after
    which a visit is forgotten.

    Raises:
        SettingsError: a limit below 1, or room for less than one visitor's photos.
    """

    max_pixels: int = 13_000_000
    max_photos: int = 8
    max_megabytes: int = 20
    queue: int = 16
    kept_pixels: int = 400_000_000
    idle_minutes: int = 60

    def __post_init__(self) -> None:
        check_types(self)
        for name, value in vars(self).items():
            if value < 1:
                raise SettingsError(f"{name} of the page is at least 1, got {value}")
        if self.kept_pixels < self.max_photos * self.max_pixels:
            raise SettingsError(
                f"the page keeps at most {self.kept_pixels} pixels, less than one visitor may bring "
                f"({self.max_photos} photos of {self.max_pixels}): lower max_pixels or max_photos, or raise kept_pixels"
            )

    @property
    def max_upload(self) -> int:
        """Bytes of all files that one visitor brings at a time, and a little for what is around them."""
        return self.max_photos * self.max_bytes + 2**20

    @property
    def max_unread(self) -> int:
        """Bytes of all visitors' uploads that wait to be read: of six who bring all that they may, at least."""
        return max(6 * self.max_upload, 256 * 2**20)

    @property
    def max_fresh(self) -> int:
        """Of them, what one address may have sent in the last minutes, as long as gradio keeps it."""
        return self.max_unread // 3

    @property
    def max_waiting(self) -> int:
        """Of them, what one address may have wait for the model. With `max_fresh` that is half: the rest is for others."""
        return self.max_unread // 6

    @property
    def max_bytes(self) -> int:
        """Of one uploaded file."""
        return self.max_megabytes * 2**20

"""What a worker takes at a time, and what is known of it when a worker dies with it in hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from tracedge.earlier import Entry
from tracedge.errors import RunError
from tracedge.jobs import folded
from tracedge.outcomes import Named
from tracedge.sources import Part

TRIES = 2
"""An image that so many workers died with, each with nothing else in hand, is not tried again."""


@dataclass(frozen=True)
class InHand:
    """An image that a worker takes up alone, since an earlier one died near it."""

    task: Named
    content_hash: str | None


@dataclass
class Share:
    """A part of the input, what the manifest holds of it, and what this run knows of it.

    told: the folded names of the images that are told of; they are not done again. careful: so many of the others are taken
    up alone, each announced before. in_hand: the one that was announced and is not told of yet.
    """

    part: Part
    known: Mapping[str, Entry]
    told: set[str] = field(default_factory=set)
    careful: int = 0
    in_hand: InHand | None = None
    _suspect: InHand | None = None
    _deaths: int = 0  # since the last image was told of, or another one was suspected

    def announce(self, image: InHand) -> None:
        """A worker takes up an image alone."""
        if image != self._suspect:
            self._suspect, self._deaths = image, 0
        self.in_hand = image

    def tell(self, name: PurePosixPath) -> bool:
        """An image is told of; whether for the first time."""
        first = folded(str(name)) not in self.told
        self.told.add(folded(str(name)))
        self.in_hand, self._suspect, self._deaths = None, None, 0
        return first

    def worker_died(self, careful: int) -> InHand | None:
        """Be careful with so many images from now on; gives the one that is at fault, if there is one.

        Raises:
            RunError: workers die whenever they read the part, with no image in hand.
        """
        image, self.in_hand = self.in_hand, None
        self.careful, self._deaths = careful, self._deaths + 1
        if image is None and self._deaths > TRIES:
            raise RunError(
                f"workers died {self._deaths} times while they read what goes to {self.part.prefix or 'the output folder'}, "
                f"after {len(self.told)} images of it: look at that input, or leave it out."
            )
        return image if self._deaths >= TRIES else None


def shared_out(parts: Sequence[Part], known: Mapping[str, Entry]) -> Iterator[Share]:
    """Each part with the entries of its own images."""
    under: dict[str, dict[str, Entry]] = {folded(str(part.prefix)): {} for part in parts if part.prefix is not None}
    for name, entry in known.items() if under else ():
        cut = len(name)
        while cut > 0 and name[:cut] not in under:
            cut = name.rfind("/", 0, cut)
        if cut > 0:
            under[name[:cut]][name] = entry
    for part in parts:
        if part.prefix is not None:
            yield Share(part, under[folded(str(part.prefix))])
        else:
            names = (folded(str(task.relative)) for task in part.tasks())
            yield Share(part, {name: known[name] for name in names if name in known})

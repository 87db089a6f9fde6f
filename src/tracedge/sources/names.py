"""What outputs are called that come from members of archives: strangers chose those names.

A name is made harmless and not refused: two names that become one are told apart by a number, so that each image has its
outputs. The same names in the same order are called the same.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePosixPath

from tracedge.images import IMAGE_SUFFIXES
from tracedge.jobs import folded

LONGEST = 150  # bytes of one part of a name; file systems take 255, and outputs add their suffixes
DEEPEST = 16  # parts

# What some file system takes for something else: separators, drives, streams, wildcards, control characters.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|\ud800-\udfff]')


def safe_name(name: str) -> PurePosixPath:
    """A relative name without a suffix of images, of parts that are plain on every file system.

    >>> safe_name("train/0001.jpg")
    PurePosixPath('train/0001')
    >>> safe_name("/../etc/passwd.png")
    PurePosixPath('_/etc/passwd')
    """
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    if parts:
        parts[-1] = _stem(parts[-1])
    return PurePosixPath(*(_safe_part(part) for part in parts[-DEEPEST:])) if parts else PurePosixPath("_")


def image_suffix(name: str) -> str:
    """The suffix by which a name is known as one of an image, "" if it is none.

    >>> image_suffix("a.b.JPG"), image_suffix("a.json")
    ('.JPG', '')
    """
    suffix = PurePosixPath(name.replace("\\", "/")).suffix
    return suffix if suffix.lower() in IMAGE_SUFFIXES else ""


class Names:
    """Names under one prefix, each given once.

    >>> names = Names(PurePosixPath("shard"))
    >>> [str(names.of(name)) for name in ("a.jpg", "a.png", "../a.jpg")]
    ['shard/a', 'shard/a~2', 'shard/_/a']
    """

    def __init__(self, prefix: PurePosixPath) -> None:
        self.prefix = prefix
        self._given: dict[str, int] = {}  # folded name -> the last number that it was told apart by

    def of(self, name: str) -> PurePosixPath:
        """The name under which the outputs of a member go."""
        safe = candidate = safe_name(name)
        first = key = folded(str(safe))
        number = self._given.get(first, 1)
        while key in self._given:
            number += 1
            candidate = safe.with_name(f"{safe.name}~{number}")
            key = folded(str(candidate))
        self._given[key] = 1
        self._given[first] = number
        return self.prefix / candidate


def _stem(name: str) -> str:
    return name[: -len(suffix)] if (suffix := image_suffix(name)) else name


def _safe_part(part: str) -> str:
    if part == "..":
        return "_"
    plain = _UNSAFE.sub("_", part)
    # Hidden files are ours (the lock, temporary files); a space or a dot at the end is lost on Windows.
    plain = re.sub(r"^\.|[. ]$", "_", plain)
    if len(plain.encode()) <= LONGEST:
        return plain
    cut = plain.encode()[: LONGEST - 17].decode(errors="ignore")
    return f"{cut}~{hashlib.sha256(plain.encode()).hexdigest()[:16]}"

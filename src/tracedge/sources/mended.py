"""Archives that could not be read to their end, as the manifest tells of them, until a later run can."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tracedge.jobs import folded
from tracedge.jsonlines import encode
from tracedge.sources import shards, tables
from tracedge.sources.member import Part

Entry = Mapping[str, Any]  # a line of the manifest


def torn_archives(parts: Iterable[Part], known: Mapping[str, Entry]) -> dict[str, Entry]:
    """The entries of those that some parts are, or are of, and that an earlier run could not read to the end; by folded name."""
    names = {folded(str(one)) for part in parts if part.prefix for one in (part.prefix, *part.prefix.parents)}
    return {name: known[name] for name in names if name in known and _is_torn(known[name])}


def mended(entry: Entry) -> bytes:
    """The line that an archive could be read to its end by now. It has no outputs of its own."""
    return encode({**entry, "status": "ok", "error": None, "lasting": None, "suffixes": []})


def is_archive(entry: Entry) -> bool:
    """Whether an entry tells of an archive itself, and of no image."""
    suffix = str(entry["file"]).removeprefix(str(entry["output"]))
    return suffix in (*shards.SUFFIXES, *tables.SUFFIXES)


def _is_torn(entry: Entry) -> bool:
    return entry["status"] == "failed" and is_archive(entry)

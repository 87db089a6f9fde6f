"""Braces in names: shards/{000..099}.tar means a hundred files, {train,val}/a.tar two."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tracedge.errors import SettingsError

MOST = 1_000_000
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


def expanded(name: str) -> list[str]:
    """All names that a name with braces means, in order; the name itself if it has none.

    Raises:
        SettingsError: a range that runs backwards, or more than `MOST` names.

    >>> expanded("s/{08..10}.tar")
    ['s/08.tar', 's/09.tar', 's/10.tar']
    >>> expanded("{a,b}/{0..1}")
    ['a/0', 'a/1', 'b/0', 'b/1']
    """
    names: list[str] = []
    for one in _expand(name):
        names.append(one)
        if len(names) > MOST:
            raise SettingsError(f"{name} means more than {MOST} names: split it over several runs.")
    return names


def has_braces(name: str) -> bool:
    """Whether a name means others: {a,b} or {0..9}; other braces are just characters.

    >>> has_braces("s/{0..9}.tar"), has_braces("{id}.tar")
    (True, False)
    """
    return any(_choices(found[1]) is not None for found in _BRACES.finditer(name))


def _expand(name: str) -> Iterator[str]:
    for found in _BRACES.finditer(name):
        choices = _choices(found[1])
        if choices is not None:
            rest = list(_expand(name[found.end() :])) if has_braces(name[found.end() :]) else [name[found.end() :]]
            for choice in choices:
                yield from (f"{name[: found.start()]}{choice}{ending}" for ending in rest)
            return
    yield name


def _choices(inside: str) -> Iterator[str] | None:
    """What stands for a brace, None if it is no choice."""
    if found := _RANGE.fullmatch(inside):
        first, last = int(found[1]), int(found[2])
        if first > last:
            raise SettingsError(f"{{{inside}}} runs backwards: write the smaller number first.")
        return (f"{number:0{len(found[1])}d}" for number in range(first, last + 1))
    return iter(inside.split(",")) if "," in inside else None

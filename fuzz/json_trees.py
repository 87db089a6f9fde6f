"""JSON files damaged as trees: they stay JSON, and say what nobody should."""

from __future__ import annotations

import copy
import json
from random import Random
from typing import Any

from fuzz.mutations import damaged


class Raw(str):
    """Text that is put into the file as it is."""


class Pairs(list[Any]):
    """An object as [key, value] lists, so that a key can come twice."""


HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 255, 1 << 31, 1 << 32, 1 << 63, 1 << 64, 0.5, -0.5, "", ".", "..", "a\0b",
    "a\nb", "\x1b[2J", "../../up.png", "/etc/passwd", "C:\\a.png", "a/../../b.png", "\ud800", "caf\udce9.png",
    "x" * 3000, "½", "٣", [], Pairs(), [[]], Raw("-0"), Raw("-0.0"), Raw("1e999"), Raw("-1e999"), Raw("1e-999"),
    Raw("NaN"), Raw("-Infinity"), Raw("1.0"), Raw("1E2"), Raw("9" * 400), Raw("9" * 5000),
    Raw("[" * 200 + "]" * 200), Raw("[" * 100_000), Raw('{"a":' * 2000 + "1" + "}" * 2000),
)  # fmt: skip


def damaged_json(content: bytes, chance: Random) -> bytes:
    """A valid JSON file with one to four nodes exchanged, doubled, left out or renamed; now and then in another encoding."""
    try:
        whole = [parsed(content)]
        for _ in range(chance.choice((1, 1, 2, 4))):
            _change(whole, chance)
        text = "".join(map(as_text, whole[:1]))
    except (ValueError, RecursionError):  # it is none, or too deep
        return damaged(content, chance)
    encoding = chance.choice(("utf-8",) * 8 + ("utf-8-sig", "utf-16", "utf-32", "cp500"))
    made = text.encode(encoding, "replace")
    return damaged(made, chance) if chance.randrange(6) == 0 else made


def parsed(content: bytes) -> Any:
    """A file as lists and `Pairs`."""
    return json.loads(content, object_pairs_hook=lambda pairs: Pairs(map(list, pairs)))


def as_text(node: Any) -> str:
    """The way back."""
    if isinstance(node, Raw):
        return str(node)
    if isinstance(node, Pairs):
        return "{" + ",".join(f"{json.dumps(key)}:{as_text(value)}" for key, value in node) + "}"
    if isinstance(node, list):
        return "[" + ",".join(map(as_text, node)) + "]"
    return json.dumps(node)


def _slots(node: Any, found: list[tuple[list[Any], int]]) -> list[tuple[list[Any], int]]:
    """Every place where a value stands, as (list, index)."""
    for index, each in enumerate(node):
        where = (each, 1) if isinstance(node, Pairs) else (node, index)
        found.append(where)
        if isinstance(where[0][where[1]], list):
            _slots(where[0][where[1]], found)
    return found


def _change(whole: list[Any], chance: Random) -> None:
    slots = _slots(whole, [])
    holder, index = chance.choice(slots)
    kind = chance.randrange(8)
    if kind <= 2:
        holder[index] = chance.choice(HOSTILE)
    elif kind == 3:
        other, at = chance.choice(slots)
        holder[index] = copy.deepcopy(other[at])
    elif kind == 4 and isinstance(holder[index], list) and holder[index]:
        del holder[index][chance.randrange(len(holder[index]))]
    elif kind == 5 and isinstance(holder[index], list) and holder[index]:
        holder[index].insert(chance.randrange(len(holder[index]) + 1), chance.choice(list(holder[index])))
    elif kind == 6 and isinstance(holder[index], Pairs) and holder[index]:
        chance.choice(list(holder[index]))[0] = chance.choice(("", "id", "\ud800", "x" * 3000, "a\nb"))
    elif type(holder[index]) is int:
        holder[index] += chance.choice((-1, 1, 256, 1 << 24))
    else:
        holder[index] = [holder[index]]

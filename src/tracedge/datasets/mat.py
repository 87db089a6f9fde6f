"""As much of Matlab's files (format 5) as BSDS needs: a field of whole numbers of each struct of a cell array, and nothing else.

SciPy reads all of the format, but a damaged file can end the process in its compiled code, and a small compressed one can grow
to gigabytes. Here every length is checked, what unpacks is bounded, and nothing nests deeper than cell, struct, array.

    file      128 bytes of header, then elements
    element   kind and length (4 bytes each; or 2 each, and 4 bytes of content), then content, filled up to 8 bytes
    matrix    an element of elements: flags (class), sides, name; then its numbers, its cells, or its names and its fields
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_UNPACKED = 1 << 26
"""Bytes that all compressed elements of a file may unpack to; those of BSDS500 take some 3 MB."""

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT = 1, 2
_WHOLE = {8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}  # class of a matrix -> its type
_STORED = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}  # kind of an element
_Elements = list[tuple[int, memoryview]]


def fields_of(content: bytes, variable: str, field: str) -> list[NDArray[Any] | None] | None:
    """Of each struct of the cell array `variable` that field, an array of whole numbers; None for a cell without.

    None instead of a list: there is no such cell array.

    Raises:
        ValueError, struct.error, zlib.error: a file that is damaged, of another format, or unpacks to more than MAX_UNPACKED.
    """
    if len(content) < _HEADER or content[126:128] not in (b"IM", b"MI"):
        raise ValueError("it is no file of Matlab's format 5")
    order = "<" if content[126:128] == b"IM" else ">"
    if struct.unpack(order + "H", content[124:126]) != (0x0100,):
        raise ValueError("it is of another version than Matlab's format 5 (7.3 is HDF5)")
    for matrix in _variables(memoryview(content)[_HEADER:], order):
        kind, sides, name, parts = _matrix(matrix, order)
        if name == variable and kind == _CELL:
            if math.prod(sides) != len(parts):
                raise ValueError(f"a cell array of {math.prod(sides)} holds {len(parts)} elements")
            return [_field(part, field, order) for part in parts]
    return None


def _variables(data: memoryview, order: str) -> Iterator[memoryview]:
    left = MAX_UNPACKED
    for kind, content in _elements(data, order):
        if kind == _MATRIX:
            yield content
        elif kind == _COMPRESSED:
            unpacking = zlib.decompressobj()
            unpacked = unpacking.decompress(content, left + 1)
            left -= len(unpacked)
            if left < 0:
                raise ValueError(f"it unpacks to more than {MAX_UNPACKED} bytes")
            if not unpacking.eof:
                raise ValueError("a compressed element is cut short")
            yield from (inner for one, inner in _elements(memoryview(unpacked), order) if one == _MATRIX)


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    at = 0
    while at < len(data):
        kind, length = struct.unpack_from(f"{order}II", data, at)
        start, room = at + 8, len(data) - at - 8
        if kind >> 16:  # both in the first four bytes, the content in the next
            start, room, length, kind = at + 4, 4, kind >> 16, kind & 0xFFFF
        if length > room:
            raise ValueError("an element is longer than what it is in")
        yield kind, data[start : start + length]
        at = start + length if kind == _COMPRESSED else at + 8 + (length + 7 & ~7 if start == at + 8 else 0)


def _matrix(data: memoryview, order: str) -> tuple[int, tuple[int, ...], str, _Elements]:
    """The class, the sides, the name, and the elements after these."""
    parts = list(_elements(data, order))
    if len(parts) < 3 or len(parts[0][1]) != 8:
        return 0, (), "", []
    kind = struct.unpack_from(f"{order}I", parts[0][1])[0] & 0xFF
    sides = tuple(np.frombuffer(parts[1][1], f"{order}i4").tolist())
    if min(sides, default=0) < 0:
        raise ValueError(f"a matrix has the sides {sides}")
    return kind, sides, bytes(parts[2][1]).decode("latin-1"), parts[3:]


def _field(cell: tuple[int, memoryview], field: str, order: str) -> NDArray[Any] | None:
    """A field of a cell that is one struct, where it is an array of whole numbers."""
    if cell[0] != _MATRIX:
        return None
    kind, sides, _, parts = _matrix(cell[1], order)
    if kind != _STRUCT or math.prod(sides) != 1 or len(parts) < 2 or len(parts[0][1]) != 4:
        return None
    (width,) = struct.unpack(f"{order}i", parts[0][1])
    values = dict(zip(_cut(parts[1][1], width), parts[2:], strict=False))
    wanted = values.get(field.encode())
    return None if wanted is None or wanted[0] != _MATRIX else _numbers(wanted[1], order)


def _cut(names: memoryview, width: int) -> list[bytes]:
    """Names of one length, each up to its first zero."""
    if width < 1:
        raise ValueError(f"the names of a struct's fields take {width} bytes")
    return [bytes(names[at : at + width]).split(b"\0")[0] for at in range(0, len(names), width)]


def _numbers(data: memoryview, order: str) -> NDArray[Any] | None:
    kind, sides, _, parts = _matrix(data, order)
    if kind not in _WHOLE or len(parts) != 1 or parts[0][0] not in _STORED:
        return None
    stored, content = np.dtype(order + _STORED[parts[0][0]]), parts[0][1]
    if math.prod(sides) * stored.itemsize != len(content) or stored.kind == "f":
        raise ValueError(f"an array of the sides {sides} holds {len(content)} bytes of {stored}")
    flat = np.frombuffer(content, stored) if len(content) else np.zeros(0, stored)
    return flat.astype(_WHOLE[kind]).reshape(sides, order="F")

"""Damage that any file may take: bits, cuts, splices, numbers and words that readers trip over."""

from __future__ import annotations

import struct
from random import Random

WORDS = (
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\n", b"\r\n", b"\x1b[31m", b"../", b"/etc/passwd", b"..\\", b"NaN",
    b"-0", b"1e999", b"-1", b"\"", b"[", b"{", b"]", b"}", b",", b"\xed\xa0\x80", b"\xf0\x9f\x92\xa9", b"9" * 40,
    b"\\ud800", b"'''", b"<!DOCTYPE a>",
)  # fmt: skip
NUMBERS = (0, 1, -1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def damaged(content: bytes, chance: Random, other: bytes = b"") -> bytes:
    """One to four strokes of damage; pieces may come from `other`."""
    found = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 4))):
        chance.choice(_STROKES)(found, chance, other or content)
    return bytes(found)


def _place(found: bytearray, chance: Random) -> int:
    return chance.randrange(len(found) + 1)


def _flip(found: bytearray, chance: Random, other: bytes) -> None:
    if found:
        found[chance.randrange(len(found))] ^= 1 << chance.randrange(8)


def _cut(found: bytearray, chance: Random, other: bytes) -> None:
    del found[_place(found, chance) :]


def _leave_out(found: bytearray, chance: Random, other: bytes) -> None:
    at = _place(found, chance)
    del found[at : at + chance.choice((1, 2, 4, 16, 64))]


def _repeat(found: bytearray, chance: Random, other: bytes) -> None:
    at = _place(found, chance)
    found[at:at] = found[at : at + chance.choice((1, 4, 16, 64))] * chance.choice((1, 1, 8))


def _splice(found: bytearray, chance: Random, other: bytes) -> None:
    at, start = _place(found, chance), chance.randrange(len(other) + 1)
    piece = other[start : start + chance.choice((4, 16, 64, 256))]
    found[at : at + chance.choice((0, len(piece)))] = piece


def _word(found: bytearray, chance: Random, other: bytes) -> None:
    at = _place(found, chance)
    found[at:at] = chance.choice(WORDS)


def _number(found: bytearray, chance: Random, other: bytes) -> None:
    at, order = _place(found, chance), chance.choice("<>")
    width, code = chance.choice(((1, "B"), (2, "H"), (4, "I"), (8, "Q")))
    found[at : at + width] = struct.pack(order + code, chance.choice(NUMBERS) & ((1 << 8 * width) - 1))


_STROKES = (_flip, _cut, _leave_out, _repeat, _splice, _word, _number)

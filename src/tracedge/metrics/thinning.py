"""Morphological thinning of a binary map to lines one pixel wide, sixty-four pixels to a machine word."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Words = NDArray[Any]  # of uint64; numpy's stubs lose the width in (a & b) | (c & d)

_WORD = 64
_ONE, _LAST = np.uint64(1), np.uint64(_WORD - 1)


def thin(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Thin a binary map until nothing changes.

    Pixels are deleted in two alternating passes; with its eight neighbours x1..x8 counter-clockwise from the east, a
    pixel goes if

        (G1) exactly one of ``not x(2i-1) and (x(2i) or x(2i+1))``, i = 1..4, holds: it joins one piece only
        (G2) 2 <= min(n1, n2) <= 3, n1 = sum of ``x(2i-1) or x(2i)``, n2 = sum of ``x(2i) or x(2i+1)``
        (G3) ``(x2 or x3 or not x8) and x1`` is false; in the second pass ``(x6 or x7 or not x4) and x5`` is false

    The result equals ``skimage.morphology.thin`` pixel for pixel, ten to twenty times sooner: an evaluation thins each
    map up to 99 times, and most of its time went there.

    Args:
        mask: (H, W) bool.

    Returns:
        (H, W) bool, a subset of ``mask`` in as many 8-connected pieces.

    Source: Guo and Hall, 1989; Lam, Lee and Suen, "Thinning methodologies", 1992, algorithm A1.

    >>> bar = np.zeros((5, 7), bool)
    >>> bar[1:4, 1:6] = True
    >>> thin(bar)[2].astype(int)
    array([0, 0, 1, 1, 1, 0, 0])
    """
    if mask.size == 0:
        return mask.copy()
    padded = _pack(mask)
    words, stride = padded.ravel(), padded.shape[1]
    # A word need only be looked at again if one around it has changed since the last pass of the same kind.
    at = before = np.flatnonzero(words)
    turn = 0  # the second pass is the first one turned by half a turn
    while at.size:
        x = _neighbours(words, at, stride)
        gone = words[at] & _joins_one_piece(x) & _is_on_the_border(x) & ~_survives(x, turn)
        hit = gone != 0
        changed = at[hit]
        words[changed] ^= gone[hit]
        at = _around(np.concatenate([changed, before]), words, stride)
        before, turn = changed, 4 - turn
    return _unpack(padded, mask.shape[1])


def _pack(mask: NDArray[np.bool_]) -> Words:
    """(H, W) bool -> (H + 2, ceil(W / 64) + 2) words, the first pixel in the lowest bit, a word of nothing all around."""
    height, width = mask.shape
    count = -(-width // _WORD)
    rows = np.zeros((height, count * _WORD // 8), np.uint8)
    rows[:, : -(-width // 8)] = np.packbits(mask, axis=1, bitorder="little")
    words = np.zeros((height + 2, count + 2), np.uint64)
    words[1:-1, 1:-1] = rows.view("<u8")
    return words


def _unpack(words: Words, width: int) -> NDArray[np.bool_]:
    rows = np.ascontiguousarray(words[1:-1, 1:-1]).astype("<u8", copy=False).view(np.uint8)
    return np.unpackbits(rows, axis=1, count=width, bitorder="little").view(np.bool_)


def _around(at: NDArray[np.intp], words: Words, stride: int) -> NDArray[np.intp]:
    """The words at these places and the eight around each, but for those with no pixel left; ascending."""
    near = np.zeros(words.size, np.bool_)
    near[at] = True
    wide = near.copy()
    wide[1:] |= near[:-1]
    wide[:-1] |= near[1:]
    near[:] = wide
    near[stride:] |= wide[:-stride]
    near[:-stride] |= wide[stride:]
    found = np.flatnonzero(near)
    return found[words[found] != 0]


def _neighbours(words: Words, at: NDArray[np.intp], stride: int) -> list[Words]:
    """x1..x8 of the words at these places: for each pixel its neighbour to the east, north-east, north ... south-east."""

    def row(shift: int) -> tuple[Words, Words, Words]:
        """Western, same and eastern column of the row above (-stride), of this one or of that below."""
        middle = words[at + shift]
        west = (middle << _ONE) | (words[at + (shift - 1)] >> _LAST)
        east = (middle >> _ONE) | (words[at + (shift + 1)] << _LAST)
        return west, middle, east

    (north_west, north, north_east), (west, _, east) = row(-stride), row(0)
    south_west, south, south_east = row(stride)
    return [east, north_east, north, north_west, west, south_west, south, south_east]


def _joins_one_piece(x: list[Words]) -> Words:
    """G1, exactly one of four: an odd number of them, and not three (of three, one of the two pairs is complete)."""
    a, b, c, d = (~x[i] & (x[i + 1] | x[(i + 2) % 8]) for i in (0, 2, 4, 6))
    return (a ^ b ^ c ^ d) & ~((a & b) | (c & d))


def _is_on_the_border(x: list[Words]) -> Words:
    """G2: both counts at least two, and not both of them four."""
    a, b, c, d = (x[i] | x[i + 1] for i in (0, 2, 4, 6))
    e, f, g, h = (x[i + 1] | x[(i + 2) % 8] for i in (0, 2, 4, 6))
    return _two_of(a, b, c, d) & _two_of(e, f, g, h) & ~(a & b & c & d & e & f & g & h)


def _two_of(a: Words, b: Words, c: Words, d: Words) -> Words:
    return (a & b) | (c & d) | ((a | b) & (c | d))


def _survives(x: list[Words], turn: int) -> Words:
    """The condition of G3 that keeps a pixel; ``turn`` is 0 in the first pass and 4 neighbours in the second."""
    return x[turn] & (x[(1 + turn) % 8] | x[(2 + turn) % 8] | ~x[(7 + turn) % 8])

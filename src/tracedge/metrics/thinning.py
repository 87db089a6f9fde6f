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
    words = _pack(mask)
    while True:
        before = words
        for turn in (0, 4):  # the second pass is the first one turned by half a turn
            x = _neighbours(words)
            words = words & ~(_joins_one_piece(x) & _is_on_the_border(x) & ~_survives(x, turn))
        if np.array_equal(words, before):
            return _unpack(words, mask.shape[0])


def _pack(mask: NDArray[np.bool_]) -> Words:
    """(H, W) bool -> (W, ceil(H / 64)) words: a word is a run of rows in one column, its lowest bit on top."""
    height, width = mask.shape
    columns = np.zeros((width, -(-height // _WORD) * _WORD), bool)
    columns[:, :height] = mask.T
    return np.packbits(columns, axis=1, bitorder="little").view("<u8").astype(np.uint64)


def _unpack(words: Words, height: int) -> NDArray[np.bool_]:
    columns = np.unpackbits(words.astype("<u8").view(np.uint8), axis=1, count=height, bitorder="little")
    return np.ascontiguousarray(columns.T).astype(bool)


def _neighbours(words: Words) -> list[Words]:
    """x1..x8: for each pixel its neighbour to the east, north-east, north ... south-east; outside the map is False."""
    above = words << _ONE
    above[:, 1:] |= words[:, :-1] >> _LAST
    below = words >> _ONE
    below[:, :-1] |= words[:, 1:] << _LAST

    def east(of: Words) -> Words:
        return np.concatenate([of[1:], np.zeros_like(of[:1])])

    def west(of: Words) -> Words:
        return np.concatenate([np.zeros_like(of[:1]), of[:-1]])

    return [east(words), east(above), above, west(above), west(words), west(below), below, east(below)]


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

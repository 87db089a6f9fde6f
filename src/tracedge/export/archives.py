"""Archives of arrays (.npz) from strangers: plain numbers and text, each member judged by its size before it is unpacked.

NumPy's own reader takes memory for whatever shape a header names, evaluates headers as Python, and warns of old ones.
"""

from __future__ import annotations

import math
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracedge.errors import DataError
from tracedge.jsonlines import decode

_MAGIC = b"\x93NUMPY"
_MAX_SETTINGS = 1 << 22
_HEADER = 16_384  # bytes that a header may take
_LENGTHS = {b"\x01\x00": "<H", b"\x02\x00": "<I"}  # of the header, by the version of the format
_KIND = re.compile(r"""['"]descr['"]\s*:\s*['"]([<>|=]?[biufSU][0-9]{1,9})['"]""")
_ORDER = re.compile(r"""['"]fortran_order['"]\s*:\s*(True|False)\b""")
_SHAPE = re.compile(r"""['"]shape['"]\s*:\s*\(([0-9L,\s]{0,200})\)""")  # Python 2 wrote 3L
_DAMAGE = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    RuntimeError,
    MemoryError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


class Arrays:
    """The arrays of an open archive.

    Attributes:
        names: of all arrays, without .npy.
    """

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.names = frozenset(name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy"))

    def read(self, name: str, most: int) -> NDArray[Any]:
        """One array, read-only.

        Args:
            name: one of `names`.
            most: bytes that it may take.

        Raises:
            DataError: it takes more, or holds something else than whole numbers, floats, booleans or text.
        """
        member = self._archive.getinfo(f"{name}.npy")
        if member.file_size > most + _HEADER:
            raise DataError(f"its {name} take {member.file_size} bytes, expected at most {most}.")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(f"its {name} are compressed in a way that NumPy does not write.")
        return _array(self._archive.read(member), name)


@contextmanager
def opened_arrays(path: str | os.PathLike[str], what: str) -> Iterator[Arrays]:
    """The arrays of a file, for the length of the block; what is wrong with them names the file.

    Args:
        path: the .npz file.
        what: they should be, for the sentence: "an edge map".

    Raises:
        DataError: the file is missing, damaged or no archive; or whatever the block refuses.
    """
    try:
        with Path(path).open("rb") as stream, zipfile.ZipFile(stream) as archive:
            yield Arrays(archive)
    except DataError as error:
        raise DataError(f"{path} cannot be read as {what}: {error}") from error
    except _DAMAGE as error:
        raise DataError(f"{path} cannot be read as {what}: {error}.") from error


def settings_of(arrays: Arrays) -> dict[str, Any]:
    """What stands as JSON in the text `settings`.

    Raises:
        DataError: no text, no JSON, or no object.
    """
    text = arrays.read("settings", _MAX_SETTINGS)
    if text.shape != () or text.dtype.kind != "U":
        raise DataError(f"its settings are {text.dtype} {text.shape}, expected a text.")
    settings = decode(str(text))
    if not isinstance(settings, dict):
        raise DataError(f"its settings are {type(settings).__name__}, expected a mapping.")
    return settings


def _array(content: bytes, name: str) -> NDArray[Any]:
    """An array of NumPy's format, which must be exactly as long as its header says."""
    code = _LENGTHS.get(content[6:8])
    if not content.startswith(_MAGIC) or code is None:
        raise DataError(f"its {name} are no array of NumPy's format 1 or 2.")
    start = 8 + struct.calcsize(code)
    (length,) = struct.unpack(code, content[8:start])
    header, numbers = content[start : start + min(length, _HEADER)].decode("latin-1"), content[start + length :]
    kind, order, shape = _KIND.search(header), _ORDER.search(header), _SHAPE.search(header)
    if kind is None or order is None or shape is None:
        raise DataError(f"its {name} are no plain array of numbers or text: {header.strip()!r:.100}.")
    try:
        dtype = np.dtype(kind[1])
    except TypeError as error:
        raise DataError(f"its {name} are of the unknown type {kind[1]}.") from error
    sides = [int(side) for side in re.findall("[0-9]+", shape[1])]
    if math.prod(sides) * dtype.itemsize != len(numbers):
        raise DataError(f"its {name} hold {len(numbers)} bytes, not {dtype} of the shape ({shape[1]}).")
    flat = np.frombuffer(numbers, dtype) if numbers else np.zeros(math.prod(sides), dtype)
    return flat.reshape(sides, order="F" if order[1] == "True" else "C")
